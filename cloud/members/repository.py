"""Tables of people, households, roles, sign-in links and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    delete,
    func,
    select,
    update,
)

from cloud.database import UtcTime, metadata
from cloud.members.roles import Person, Role

households = Table(
    "households",
    metadata,
    Column("household", String(64), primary_key=True),
    Column("label", String(200), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("consent_events", Integer, nullable=False, default=0),
    Column("erased_at", UtcTime),
)

people = Table(
    "people",
    metadata,
    Column("person_id", String(64), primary_key=True),
    Column("email", String(320), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("household", ForeignKey("households.household")),
    Column("supplier", String(64)),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_people_household", "household"),
)

person_roles = Table(
    "person_roles",
    metadata,
    Column("person_id", ForeignKey("people.person_id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(20), primary_key=True),
)

sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("person_id", ForeignKey("people.person_id", ondelete="CASCADE"), nullable=False),
    Column("browser_hash", String(64)),
    Column("expires_at", UtcTime, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("person_id", ForeignKey("people.person_id", ondelete="CASCADE"), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Index("ix_sessions_person_id", "person_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """A home that belongs to the co-op.

    Args:
        household: Its pseudonym.
        label: What the member calls it.
        consent_events: How many consent events are on record; rises with each.
        erased_at: When it was erased, if it was.
    """

    household: str
    label: str
    consent_events: int
    erased_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInLink:
    """A link that was taken out of the table, and so can never be used again."""

    person_id: str
    browser_hash: str | None
    expires_at: datetime


def insert_household(connection: Connection, *, household: str, label: str, now: datetime) -> None:
    """Add a home."""
    connection.execute(
        households.insert().values(
            household=household, label=label, created_at=now, consent_events=0
        )
    )


def household_row(connection: Connection, household: str) -> Household | None:
    """Find a home."""
    row = connection.execute(
        select(households).where(households.c.household == household)
    ).one_or_none()
    return None if row is None else _household(row)


def all_households(connection: Connection) -> list[Household]:
    """All homes that were not erased."""
    rows = connection.execute(
        select(households)
        .where(households.c.erased_at.is_(None))
        .order_by(households.c.created_at, households.c.household)
    )
    return [_household(row) for row in rows]


def memberships(connection: Connection) -> dict[str, datetime]:
    """Homes that belong to the co-op through a member, with the moment each joined."""
    rows = connection.execute(
        select(households.c.household, households.c.created_at)
        .join(people, people.c.household == households.c.household)
        .join(person_roles, person_roles.c.person_id == people.c.person_id)
        .where(households.c.erased_at.is_(None), person_roles.c.role == Role.MEMBER.value)
        .distinct()
    )
    return {row.household: row.created_at for row in rows}


def mark_household_erased(connection: Connection, household: str, now: datetime) -> None:
    """Forget what a home was called, and when."""
    connection.execute(
        update(households)
        .where(households.c.household == household)
        .values(label="erased", erased_at=now)
    )


def count_consent_event(connection: Connection, household: str) -> None:
    """Note that a home's consents changed, so that nobody trusts an older fold."""
    connection.execute(
        update(households)
        .where(households.c.household == household)
        .values(consent_events=households.c.consent_events + 1)
    )


def insert_person(connection: Connection, person: Person, now: datetime) -> None:
    """Add a person with roles."""
    connection.execute(
        people.insert().values(
            person_id=person.person_id,
            email=person.email,
            name=person.name,
            household=person.household,
            supplier=person.supplier,
            created_at=now,
        )
    )
    for role in person.roles:
        insert_role(connection, person.person_id, role)


def insert_role(connection: Connection, person_id: str, role: Role) -> None:
    """Give a role."""
    connection.execute(person_roles.insert().values(person_id=person_id, role=role.value))


def delete_role(connection: Connection, person_id: str, role: Role) -> None:
    """Take a role away."""
    connection.execute(
        delete(person_roles).where(
            person_roles.c.person_id == person_id, person_roles.c.role == role.value
        )
    )


def person_by_id(connection: Connection, person_id: str) -> Person | None:
    """Find a person by id."""
    return _person(
        connection,
        connection.execute(select(people).where(people.c.person_id == person_id)).one_or_none(),
    )


def person_by_email(connection: Connection, email: str) -> Person | None:
    """Find a person by e-mail address."""
    return _person(
        connection,
        connection.execute(select(people).where(people.c.email == email.lower())).one_or_none(),
    )


def people_of_household(connection: Connection, household: str) -> list[Person]:
    """People of a home."""
    rows = connection.execute(select(people).where(people.c.household == household)).all()
    return [person for row in rows if (person := _person(connection, row))]


def all_people(connection: Connection) -> list[Person]:
    """Everybody, by age of the account."""
    rows = connection.execute(select(people).order_by(people.c.created_at, people.c.person_id))
    return [person for row in rows.all() if (person := _person(connection, row))]


def forget_person(connection: Connection, person_id: str) -> None:
    """Forget who a person was. The row stays, nameless, because votes and entries point to it."""
    connection.execute(delete(sessions).where(sessions.c.person_id == person_id))
    connection.execute(delete(sign_in_links).where(sign_in_links.c.person_id == person_id))
    connection.execute(delete(person_roles).where(person_roles.c.person_id == person_id))
    connection.execute(
        update(people)
        .where(people.c.person_id == person_id)
        .values(email=f"{person_id}@erased.invalid", name="erased", supplier=None)
    )


def insert_link(
    connection: Connection,
    *,
    token_hash: str,
    person_id: str,
    browser_hash: str | None,
    expires_at: datetime,
) -> None:
    """Keep a sign-in link."""
    connection.execute(
        sign_in_links.insert().values(
            token_hash=token_hash,
            person_id=person_id,
            browser_hash=browser_hash,
            expires_at=expires_at,
        )
    )


def find_link(connection: Connection, token_hash: str) -> SignInLink | None:
    """Look a link up."""
    row = connection.execute(
        select(sign_in_links).where(sign_in_links.c.token_hash == token_hash)
    ).one_or_none()
    if row is None:
        return None
    return SignInLink(
        person_id=row.person_id, browser_hash=row.browser_hash, expires_at=row.expires_at
    )


def delete_link(connection: Connection, token_hash: str) -> None:
    """Use a link up."""
    connection.execute(delete(sign_in_links).where(sign_in_links.c.token_hash == token_hash))


def insert_session(
    connection: Connection,
    *,
    token_hash: str,
    person_id: str,
    created_at: datetime,
    expires_at: datetime,
) -> None:
    """Open a session."""
    connection.execute(
        sessions.insert().values(
            token_hash=token_hash,
            person_id=person_id,
            created_at=created_at,
            expires_at=expires_at,
        )
    )


def person_of_session(connection: Connection, token_hash: str, now: datetime) -> Person | None:
    """Who a session belongs to, while it lasts."""
    person_id = connection.scalar(
        select(sessions.c.person_id).where(
            sessions.c.token_hash == token_hash, sessions.c.expires_at > now
        )
    )
    return None if person_id is None else person_by_id(connection, person_id)


def delete_session(connection: Connection, token_hash: str) -> None:
    """Close a session."""
    connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))


def delete_expired(connection: Connection, now: datetime) -> None:
    """Forget links and sessions whose time is over."""
    connection.execute(delete(sign_in_links).where(sign_in_links.c.expires_at <= now))
    connection.execute(delete(sessions).where(sessions.c.expires_at <= now))


def count_people(connection: Connection) -> int:
    """How many can sign in."""
    return connection.scalar(select(func.count()).select_from(people)) or 0


def _household(row: Row[tuple[object, ...]]) -> Household:
    return Household(
        household=row.household,
        label=row.label,
        consent_events=row.consent_events,
        erased_at=row.erased_at,
    )


def _person(connection: Connection, row: Row[tuple[object, ...]] | None) -> Person | None:
    if row is None:
        return None
    roles = connection.scalars(
        select(person_roles.c.role).where(person_roles.c.person_id == row.person_id)
    )
    return Person(
        person_id=row.person_id,
        email=row.email,
        name=row.name,
        household=row.household,
        roles=frozenset(Role(role) for role in roles),
        supplier=row.supplier,
    )
