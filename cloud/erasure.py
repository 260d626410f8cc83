"""Erasing a home everywhere: who it was, its gateways, its salts, and all its readings.

What stays is nameless: consent events under a pseudonym that points nowhere any more (they prove
that past use was allowed), commitments in the log that nothing opens, and bookings that the law
asks to be kept. Backups made before still hold the home: `erased_homes.txt` says which homes to
erase again after a restore.

Source: GDPR articles 17(1)(b), 17(3)(b) and (e).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete

from cloud import idempotency
from cloud.consents import repository as consents
from cloud.consents.usecases import ALL_PURPOSES
from cloud.data_requests import repository as data_requests
from cloud.errors import NotFound
from cloud.gateways import repository as gateways
from cloud.members import repository as members
from cloud.notices import repository as notices
from cloud.profiles import repository as profiles
from cloud.transparency import repository as log_repository
from cloud.transparency.usecases import record

ERASED_FILE = "erased_homes.txt"

Eraser = Callable[[Connection, str, datetime], int]
"""Forgets what a domain folder keeps of a home; returns how many rows."""

MORE_ERASERS: tuple[Eraser, ...] = (
    lambda connection, household, _now: profiles.forget_home(connection, household),
    data_requests.forget_household,
)
"""Erasers of other domain folders; add yours here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedHome:
    """What was erased in the database.

    Args:
        household: Which home.
        people: People who were forgotten.
        gateways: Gateways that count no more.
        salts: Commitments that nothing opens any more.
        rows: Rows other folders forgot.
    """

    household: str
    people: int
    gateways: int
    salts: int
    rows: int


def erase_home(connection: Connection, household: str, *, now: datetime) -> ErasedHome:
    """Erase a home in the database, and order the erasure of its readings.

    From the commit on, its gateways are refused; the server erases the readings right after, and
    once more two minutes later.

    Raises:
        NotFound: There is no such home, or it was erased before.
    """
    home = members.household_row(connection, household)
    if home is None or home.erased_at is not None:
        raise NotFound(f"household {household}")
    people = members.people_of_household(connection, household)
    for person in people:
        notices.delete_letters_to(connection, person.email)
        connection.execute(
            delete(idempotency.answers).where(idempotency.answers.c.person_id == person.person_id)
        )
        members.forget_person(connection, person.person_id)
    erased = ErasedHome(
        household=household,
        people=len(people),
        gateways=gateways.forget_gateways(connection, household, now),
        salts=log_repository.erase_openings(connection, household),
        rows=sum(eraser(connection, household, now) for eraser in MORE_ERASERS),
    )
    members.mark_household_erased(connection, household, now)
    consents.insert_erasure(connection, household=household, purpose=ALL_PURPOSES, asked_at=now)
    record(
        connection,
        kind="erasure.asked",
        facts={"people": erased.people, "gateways": erased.gateways, "salts": erased.salts},
        at=now,
    )
    return erased


def note_erased(data_dir: Path, household: str) -> None:
    """Add a home to the list that a restore goes through."""
    with (data_dir / ERASED_FILE).open("a", encoding="ascii") as listed:
        listed.write(f"{household}\n")


def erased_homes(file: Path) -> list[str]:
    """Pseudonyms in a list of erased homes; none if there is no list."""
    if not file.is_file():
        return []
    return [line.strip() for line in file.read_text("ascii").splitlines() if line.strip()]
