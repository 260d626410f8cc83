"""Tables of frozen cohorts, and of every release and refusal."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from cloud.database import UtcTime, metadata
from cloud.transparency.usecases import Fact, record
from gateway.wire.reading import Purpose, Quantity

profile_cohorts = Table(
    "profile_cohorts",
    metadata,
    Column("cohort_id", String(32), primary_key=True),
    Column("purpose", String(32), nullable=False),
    Column("quantity", String(32), nullable=False),
    Column("period_start", UtcTime, nullable=False),
    Column("period_end", UtcTime, nullable=False),
    Column("root", String(64), nullable=False),
    Column("homes", Integer, nullable=False),
    Column("frozen_at", UtcTime, nullable=False),
    Index("ix_profile_cohorts_period_start", "period_start"),
)

profile_cohort_homes = Table(
    "profile_cohort_homes",
    metadata,
    Column("cohort_id", ForeignKey("profile_cohorts.cohort_id"), primary_key=True),
    Column("household", String(64), primary_key=True),
    Column("salt", String(64), nullable=False),
    Column("place", Integer, nullable=False),
    Index("ix_profile_cohort_homes_household", "household"),
)

profile_releases = Table(
    "profile_releases",
    metadata,
    Column("release_no", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(20), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("quantity", String(32), nullable=False),
    Column("audience", String(10), nullable=False),
    Column("period_start", UtcTime, nullable=False),
    Column("period_end", UtcTime, nullable=False),
    Column("cohort_id", ForeignKey("profile_cohorts.cohort_id")),
    Column("homes", Integer, nullable=False),
    Column("is_released", Boolean, nullable=False),
    Column("step", String(20), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("output_sha256", String(64), nullable=False),
    Column("step_s", Integer, nullable=False),
    Column("presence", LargeBinary, nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("log_index", Integer, nullable=False),
    Index("ix_profile_releases_period_start", "period_start"),
)

privacy_spends = Table(
    "privacy_spends",
    metadata,
    Column("household", String(64), primary_key=True),
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("release_no", ForeignKey("profile_releases.release_no"), primary_key=True),
    Column("rho", String(60), nullable=False),
)

NOISED = "noised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Homes frozen for a period.

    Attributes:
        cohort_id: Random name.
        root: Root over the salted commitments, hex; this is what the log shows.
        households: The homes in the order they were frozen; an erased one is a random name that
            stays the same everywhere.
    """

    cohort_id: str
    root: str
    households: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRelease:
    """An exact release that later ones must be checked against.

    Attributes:
        release_no: Its number.
        households: Its homes, in the order of `presence`.
        period_start: Start of its time.
        step_s: Step at which readings were looked at [s].
        presence: Packed by `presence.pack`: which readings were in it.
    """

    release_no: int
    households: tuple[str, ...]
    period_start: datetime
    step_s: int
    presence: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """A release or refusal on record.

    Attributes:
        release_no: Its number.
        kind: `group` or `typical_day`.
        purpose: Under which purpose.
        quantity: Of what.
        audience: `inside` or `outside`.
        period_start: Start of the time it covers.
        period_end: End of the time it covers.
        homes: Homes in it.
        is_released: False for a refusal.
        step: The step at which it was released; empty for a refusal.
        reasons: Why it was refused or made coarser, in words.
        output_sha256: Hash of what was released; empty for a refusal.
        at: When.
        log_index: Its entry in the transparency log.
    """

    release_no: int
    kind: str
    purpose: Purpose
    quantity: Quantity
    audience: str
    period_start: datetime
    period_end: datetime
    homes: int
    is_released: bool
    step: str
    reasons: tuple[str, ...]
    output_sha256: str
    at: datetime
    log_index: int


class DatabaseLog:
    """The co-op's transparency log, within a transaction."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        self._connection = connection
        self._at = at

    def record(self, kind: str, facts: Mapping[str, Fact]) -> int:
        """See `TransparencyLog.record`."""
        return record(self._connection, kind=kind, facts=facts, at=self._at)


def insert_cohort(
    connection: Connection,
    *,
    purpose: Purpose,
    quantity: Quantity,
    period_start: datetime,
    period_end: datetime,
    root: str,
    salts: Mapping[str, str],
    now: datetime,
) -> Cohort:
    """Keep a frozen cohort."""
    cohort_id = secrets.token_hex(8)
    connection.execute(
        profile_cohorts.insert().values(
            cohort_id=cohort_id,
            purpose=purpose.value,
            quantity=quantity.value,
            period_start=period_start,
            period_end=period_end,
            root=root,
            homes=len(salts),
            frozen_at=now,
        )
    )
    connection.execute(
        profile_cohort_homes.insert(),
        [
            {"cohort_id": cohort_id, "household": household, "salt": salt, "place": place}
            for place, (household, salt) in enumerate(sorted(salts.items()))
        ],
    )
    return Cohort(cohort_id=cohort_id, root=root, households=tuple(sorted(salts)))


def cohorts_of_period(
    connection: Connection,
    *,
    purpose: Purpose,
    quantity: Quantity,
    period_start: datetime,
    period_end: datetime,
) -> list[Cohort]:
    """Cohorts frozen for exactly this period, the first one first."""
    rows = connection.execute(
        select(profile_cohorts)
        .where(
            profile_cohorts.c.purpose == purpose.value,
            profile_cohorts.c.quantity == quantity.value,
            profile_cohorts.c.period_start == period_start,
            profile_cohorts.c.period_end == period_end,
        )
        .order_by(profile_cohorts.c.frozen_at, profile_cohorts.c.cohort_id)
    )
    return [
        Cohort(
            cohort_id=row.cohort_id,
            root=row.root,
            households=_homes_of(connection, row.cohort_id),
        )
        for row in rows
    ]


def exact_releases_over(
    connection: Connection, *, quantity: Quantity, start: datetime, end: datetime
) -> list[ExactRelease]:
    """Every exact release of a quantity that overlaps in time, whatever its purpose."""
    rows = connection.execute(
        select(profile_releases)
        .where(
            profile_releases.c.quantity == quantity.value,
            profile_releases.c.is_released,
            profile_releases.c.kind != NOISED,
            profile_releases.c.period_start < end,
            profile_releases.c.period_end > start,
        )
        .order_by(profile_releases.c.release_no)
    ).all()
    homes = {row.cohort_id: _homes_of(connection, row.cohort_id) for row in rows}
    return [
        ExactRelease(
            release_no=row.release_no,
            households=homes[row.cohort_id],
            period_start=row.period_start,
            step_s=row.step_s,
            presence=row.presence,
        )
        for row in rows
    ]


def insert_release(
    connection: Connection,
    *,
    kind: str,
    purpose: Purpose,
    quantity: Quantity,
    audience: str,
    period_start: datetime,
    period_end: datetime,
    cohort_id: str | None,
    homes: int,
    step: str,
    reasons: Sequence[str],
    output_sha256: str,
    step_s: int,
    presence: bytes,
    asked_by: str,
    at: datetime,
    log_index: int,
) -> int:
    """Keep a release, or a refusal (no step), and return its number."""
    result = connection.execute(
        profile_releases.insert().values(
            kind=kind,
            purpose=purpose.value,
            quantity=quantity.value,
            audience=audience,
            period_start=period_start,
            period_end=period_end,
            cohort_id=cohort_id,
            homes=homes,
            is_released=bool(step),
            step=step,
            reasons=json.dumps(list(reasons), ensure_ascii=False),
            output_sha256=output_sha256,
            step_s=step_s,
            presence=presence,
            asked_by=asked_by,
            at=at,
            log_index=log_index,
        )
    )
    (number,) = result.inserted_primary_key or (0,)
    return int(number)


def newest_releases(connection: Connection, count: int = 50) -> list[ReleaseRow]:
    """Releases and refusals, newest first."""
    rows = connection.execute(
        select(profile_releases).order_by(profile_releases.c.release_no.desc()).limit(count)
    )
    return [_release(row) for row in rows]


def forget_home(connection: Connection, household: str) -> int:
    """Put a random name in place of an erased home, the same in all cohorts, and drop its salts.

    The cohorts keep their shape, so that later releases can still be checked against them, but
    nothing leads back to the home.
    """
    connection.execute(delete(privacy_spends).where(privacy_spends.c.household == household))
    ghost = f"erased-{secrets.token_hex(8)}"
    return connection.execute(
        update(profile_cohort_homes)
        .where(profile_cohort_homes.c.household == household)
        .values(household=ghost, salt="")
    ).rowcount


def insert_spends(
    connection: Connection,
    *,
    households: Sequence[str],
    years: Sequence[int],
    release_no: int,
    rho: Fraction,
) -> None:
    """Charge a release to each home's budget of each year it touches."""
    connection.execute(
        privacy_spends.insert(),
        [
            {"household": household, "year": year, "release_no": release_no, "rho": str(rho)}
            for household in households
            for year in years
        ],
    )


def spent_by_home(connection: Connection, years: Sequence[int]) -> dict[str, Fraction]:
    """What each home has spent in the year, of these, in which it spent most."""
    rows = connection.execute(
        select(privacy_spends.c.household, privacy_spends.c.year, privacy_spends.c.rho).where(
            privacy_spends.c.year.in_(list(years))
        )
    )
    by_year: dict[tuple[str, int], Fraction] = {}
    for row in rows:
        key = (row.household, row.year)
        by_year[key] = by_year.get(key, Fraction(0)) + Fraction(row.rho)
    spent: dict[str, Fraction] = {}
    for (household, _), rho in by_year.items():
        spent[household] = max(spent.get(household, Fraction(0)), rho)
    return spent


def homes_charged(connection: Connection, release_no: int) -> tuple[str, ...]:
    """Homes whose readings are in a noised release; erased ones are not among them any more."""
    return tuple(
        connection.scalars(
            select(privacy_spends.c.household)
            .where(privacy_spends.c.release_no == release_no)
            .distinct()
            .order_by(privacy_spends.c.household)
        )
    )


def exact_releases_of_home(connection: Connection, household: str) -> list[ReleaseRow]:
    """Exact releases whose cohort a home is in, newest first."""
    rows = connection.execute(
        select(profile_releases)
        .join(
            profile_cohort_homes, profile_cohort_homes.c.cohort_id == profile_releases.c.cohort_id
        )
        .where(profile_cohort_homes.c.household == household, profile_releases.c.is_released)
        .order_by(profile_releases.c.release_no.desc())
    )
    return [_release(row) for row in rows]


def _homes_of(connection: Connection, cohort_id: str) -> tuple[str, ...]:
    return tuple(
        connection.scalars(
            select(profile_cohort_homes.c.household)
            .where(profile_cohort_homes.c.cohort_id == cohort_id)
            .order_by(profile_cohort_homes.c.place)
        )
    )


def _release(row: Row[tuple[object, ...]]) -> ReleaseRow:
    return ReleaseRow(
        release_no=row.release_no,
        kind=row.kind,
        purpose=Purpose(row.purpose),
        quantity=Quantity(row.quantity),
        audience=row.audience,
        period_start=row.period_start,
        period_end=row.period_end,
        homes=row.homes,
        is_released=row.is_released,
        step=row.step,
        reasons=tuple(json.loads(row.reasons)),
        output_sha256=row.output_sha256,
        at=row.at,
        log_index=row.log_index,
    )
