"""Who is asking: FastAPI dependencies that deny by default.

Every endpoint for people takes one of these. A request that changes something must come from our
own pages and carry the session's token; one that only looks needs the session alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from cloud.errors import NotAllowed, NotFound, NotSignedIn
from cloud.members import usecases
from cloud.members.roles import Person, Role
from cloud.security import (
    CSRF_FIELD,
    CSRF_HEADER,
    SAFE_METHODS,
    check_csrf_token,
    check_same_site,
)
from cloud.services import Services, services_of

SESSION_COOKIE = "commonwatt_session"
BROWSER_COOKIE = "commonwatt_browser"
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A person and the session the request came with.

    Args:
        person: Who.
        session_token: The cookie's secret; `security.csrf_token_of` makes the forms' token of it.
    """

    person: Person
    session_token: str


async def current_session(request: Request) -> SignedIn:
    """The session of a request.

    Raises:
        NotSignedIn: There is none, or it ended.
        ForgeryRefused: It changes something, and came from elsewhere or without its token.
    """
    services = services_of(request)
    session_token = request.cookies.get(SESSION_COOKIE, "")
    if not session_token:
        raise NotSignedIn
    person = await run_in_threadpool(_find, services, session_token)
    if person is None:
        raise NotSignedIn
    if request.method not in SAFE_METHODS:
        check_same_site(request.headers, services.settings.base_url)
        check_csrf_token(session_token, await _sent_token(request))
    return SignedIn(person=person, session_token=session_token)


async def optional_session(request: Request) -> SignedIn | None:
    """The session, or None for pages that anybody may see.

    Raises:
        ForgeryRefused: As `current_session`.
    """
    try:
        return await current_session(request)
    except NotSignedIn:
        return None


async def current_person(session: Annotated[SignedIn, Depends(current_session)]) -> Person:
    """Who is asking."""
    return session.person


def require_role(*roles: Role) -> Callable[[Person], Awaitable[Person]]:
    """A dependency that lets in people with at least one of the roles.

    Raises:
        NotAllowed: (the dependency) The person has none of them.
    """

    async def check(person: Annotated[Person, Depends(current_person)]) -> Person:
        if not person.has(*roles):
            raise NotAllowed(f"this needs the role {' or '.join(roles)}")
        return person

    return check


async def current_household(person: Annotated[Person, Depends(current_person)]) -> str:
    """The home of the member who is asking.

    Raises:
        NotAllowed: The person is no member with a home.
    """
    if person.household is None or not person.has(Role.MEMBER):
        raise NotAllowed("only a member with a household has this")
    return person.household


def require_own(person: Person, household: str | None, thing: str) -> None:
    """Object-level check: a thing of another home looks as if it did not exist.

    Raises:
        NotFound: It is not this person's.
    """
    if household is None or person.household != household or not person.has(Role.MEMBER):
        raise NotFound(thing)


PersonDep = Annotated[Person, Depends(current_person)]
SessionDep = Annotated[SignedIn, Depends(current_session)]
HouseholdDep = Annotated[str, Depends(current_household)]


def _find(services: Services, session_token: str) -> Person | None:
    with services.database.reading() as connection:
        return usecases.find_session(connection, session_token, services.clock())


async def _sent_token(request: Request) -> str | None:
    header = request.headers.get(CSRF_HEADER)
    if header is not None:
        return header
    if request.headers.get("content-type", "").startswith(_FORM_TYPES):
        field = (await request.form()).get(CSRF_FIELD)
        return field if isinstance(field, str) else None
    return None
