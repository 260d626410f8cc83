"""Joining, signing in by a single-use link, and signing out."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cloud.errors import BadInput, BadSignInLink, FieldFault, NotFound, StateConflict
from cloud.members import repository
from cloud.members.roles import Person, Role
from cloud.notices.ports import Letter
from cloud.notices.usecases import write_letter
from cloud.security import hash_secret

LINK_LIFETIME = timedelta(minutes=15)
SESSION_LIFETIME = timedelta(days=14)
TOKEN_BYTES = 32
_EMAIL = re.compile(r"[^@\s<>\"(),:;\[\]\\]{1,64}@[^@\s<>\"(),:;\\]{1,250}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that was just opened.

    Args:
        person: Whose.
        token: The secret for the cookie; only its hash is stored.
        expires_at: When it ends.
    """

    person: Person
    token: str
    expires_at: datetime


def add_household(connection: Connection, *, label: str, now: datetime) -> str:
    """Add a home and return its new pseudonym."""
    household = f"h-{secrets.token_hex(8)}"
    repository.insert_household(
        connection, household=household, label=_name(label, "/label"), now=now
    )
    return household


def add_person(
    connection: Connection,
    *,
    email: str,
    name: str,
    roles: Iterable[Role],
    now: datetime,
    household: str | None = None,
    supplier: str | None = None,
) -> Person:
    """Add somebody who can sign in.

    Raises:
        BadInput: The address is none, the name is empty, or roles and bindings do not fit.
        NotFound: There is no such household.
        StateConflict: The address is known already.
    """
    given = frozenset(roles)
    if not _EMAIL.fullmatch(email):
        raise BadInput(
            "this is no e-mail address",
            faults=(FieldFault(pointer="/email", problem="write it as name@example.org"),),
        )
    if (Role.SUPPLIER in given) != (supplier is not None):
        raise BadInput("a supplier's person needs the supplier's name, and only such a person")
    if Role.MEMBER in given and household is None:
        raise BadInput("a member belongs to a household; name it")
    if household is not None and repository.household_row(connection, household) is None:
        raise NotFound(f"household {household}")
    if repository.person_by_email(connection, email) is not None:
        raise StateConflict("somebody with this e-mail address is known already")
    person = Person(
        person_id=f"p-{secrets.token_hex(8)}",
        email=email.lower(),
        name=_name(name, "/name"),
        household=household,
        roles=given,
        supplier=supplier,
    )
    repository.insert_person(connection, person, now)
    return person


def add_member(connection: Connection, *, email: str, name: str, now: datetime) -> Person:
    """Add a member with a home of their own."""
    household = add_household(connection, label=f"Home of {name}", now=now)
    return add_person(
        connection, email=email, name=name, roles=[Role.MEMBER], household=household, now=now
    )


def ask_for_sign_in(
    connection: Connection, *, email: str, browser: str, base_url: str, now: datetime
) -> None:
    """Send a single-use link, if somebody has this address; nobody can tell from the answer.

    Args:
        connection: A transaction that may write.
        email: As typed.
        browser: Random secret in a cookie of the browser that asks; the link works only there.
        base_url: Address people use.
        now: The time.
    """
    repository.delete_expired(connection, now)
    person = repository.person_by_email(connection, email)
    if person is None:
        return
    token = make_sign_in_link(connection, person_id=person.person_id, browser=browser, now=now)
    write_letter(
        connection,
        Letter(
            to=person.email,
            subject="Your sign-in link",
            text=(
                f"Hello {person.name},\n\n"
                "open this link within 15 minutes, in the browser where you asked for it:\n\n"
                f"{base_url}/sign-in/{token}\n\n"
                "If you did not ask, nothing happened and you need do nothing.\n"
            ),
        ),
        now=now,
        useless_after=now + LINK_LIFETIME,
    )


def make_sign_in_link(
    connection: Connection, *, person_id: str, browser: str | None, now: datetime
) -> str:
    """Make a single-use link and return its token.

    Args:
        connection: A transaction that may write.
        person_id: Who will be signed in.
        browser: The asking browser's secret; None for a link the operator hands over.
        now: The time.
    """
    token = secrets.token_urlsafe(TOKEN_BYTES)
    repository.insert_link(
        connection,
        token_hash=hash_secret(token),
        person_id=person_id,
        browser_hash=None if browser is None else hash_secret(browser),
        expires_at=now + LINK_LIFETIME,
    )
    return token


def complete_sign_in(
    connection: Connection, *, token: str, browser: str | None, now: datetime
) -> OpenSession:
    """Turn a link into a session. The link is used up only by the browser it was made for.

    Raises:
        BadSignInLink: Unknown, used, too old, or asked for by another browser.
    """
    token_hash = hash_secret(token)
    link = repository.find_link(connection, token_hash)
    if link is None or link.expires_at <= now:
        raise BadSignInLink
    if link.browser_hash is not None and not hmac.compare_digest(
        link.browser_hash, hash_secret(browser or "")
    ):
        raise BadSignInLink
    repository.delete_link(connection, token_hash)
    person = repository.person_by_id(connection, link.person_id)
    if person is None:
        raise BadSignInLink
    return open_session(connection, person=person, now=now)


def open_session(connection: Connection, *, person: Person, now: datetime) -> OpenSession:
    """Open a session for somebody whose identity has just been shown."""
    session_token = secrets.token_urlsafe(TOKEN_BYTES)
    expires_at = now + SESSION_LIFETIME
    repository.insert_session(
        connection,
        token_hash=hash_secret(session_token),
        person_id=person.person_id,
        created_at=now,
        expires_at=expires_at,
    )
    return OpenSession(person=person, token=session_token, expires_at=expires_at)


def find_session(connection: Connection, session_token: str, now: datetime) -> Person | None:
    """Who a cookie belongs to, or None."""
    return repository.person_of_session(connection, hash_secret(session_token), now)


def sign_out(connection: Connection, session_token: str) -> None:
    """Close a session."""
    repository.delete_session(connection, hash_secret(session_token))


def _name(text: str, pointer: str) -> str:
    cleaned = " ".join(text.split())
    if not 1 <= len(cleaned) <= 200 or not cleaned.isprintable():
        raise BadInput(
            "a name is missing or too long",
            faults=(FieldFault(pointer=pointer, problem="give 1 to 200 printable characters"),),
        )
    return cleaned
