"""Tables of the homes' tariffs and of what each home saved each month."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
)

from cloud.database import UtcTime, metadata

home_tariffs = Table(
    "home_tariffs",
    metadata,
    Column("tariff_number", Integer, primary_key=True, autoincrement=True),
    Column("household", ForeignKey("households.household"), nullable=False, index=True),
    Column("kind", String(10), nullable=False),
    Column("form", String(10), nullable=False),
    Column("tariff_text", Text, nullable=False),
    Column("tariff_hash", String(64), nullable=False),
    Column("valid_from", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("set_by", String(64), nullable=False, server_default=""),
    Column("reason", String(500), nullable=False, server_default=""),
)

settlements = Table(
    "settlements",
    metadata,
    Column("settlement_number", Integer, primary_key=True, autoincrement=True),
    Column("month", String(7), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("saving_minor", BigInteger, nullable=False),
    Column("homes", Integer, nullable=False),
    Column("evidence_root", String(64), nullable=False),
    Column("settled_at", UtcTime, nullable=False),
    UniqueConstraint("month", "revision", name="uq_settlements_month"),
)

home_savings = Table(
    "home_savings",
    metadata,
    Column("settlement_number", ForeignKey("settlements.settlement_number"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("old_minor", BigInteger, nullable=False),
    Column("actual_minor", BigInteger, nullable=False),
    Column("energy_wh", BigInteger, nullable=False),
    Column("estimated_intervals", Integer, nullable=False),
    Column("evidence", String(64), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeTariff:
    """A tariff of a home, frozen when it was recorded.

    Args:
        household: Whose.
        kind: `old` for what it had before, `group` for what the co-op bargained.
        form: `toml` or `json`.
        tariff_text: The tariff as given.
        tariff_hash: Content hash of its rules.
        valid_from: From when on, aware.
        set_by: Who recorded it: a person's id, `operator` or empty for the co-op itself.
        reason: Why it was changed after the home had joined.
    """

    household: str
    kind: str
    form: str
    tariff_text: str
    tariff_hash: str
    valid_from: datetime
    set_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeSaving:
    """What one home saved in one month.

    Args:
        month: `2026-10`.
        revision: 1 at first; corrections add the next.
        household: Whose.
        currency: ISO 4217 code.
        old_minor: Bill the old tariff would have made [minor units].
        actual_minor: The bill [minor units].
        energy_wh: Energy bought [Wh].
        estimated_intervals: How many intervals were estimates.
        evidence: Hash over readings, tariffs, engine and money.
    """

    month: str
    revision: int
    household: str
    currency: str
    old_minor: int
    actual_minor: int
    energy_wh: int
    estimated_intervals: int
    evidence: str

    @property
    def saving_minor(self) -> int:
        """Old less actual; negative when the home paid more [minor units]."""
        return self.old_minor - self.actual_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A settled month.

    Args:
        settlement_number: Its number.
        month: `2026-10`.
        revision: 1 at first; corrections add the next.
        currency: ISO 4217 code.
        saving_minor: Of all homes together [minor units].
        homes: How many.
        evidence_root: Hash over every home's evidence.
        settled_at: When.
    """

    settlement_number: int
    month: str
    revision: int
    currency: str
    saving_minor: int
    homes: int
    evidence_root: str
    settled_at: datetime


def insert_tariff(connection: Connection, tariff: HomeTariff, now: datetime) -> None:
    """Freeze a tariff of a home."""
    connection.execute(
        home_tariffs.insert().values(
            household=tariff.household,
            kind=tariff.kind,
            form=tariff.form,
            tariff_text=tariff.tariff_text,
            tariff_hash=tariff.tariff_hash,
            valid_from=tariff.valid_from,
            recorded_at=now,
            set_by=tariff.set_by,
            reason=tariff.reason,
        )
    )


def tariff_at(connection: Connection, household: str, kind: str, at: datetime) -> HomeTariff | None:
    """The tariff of a kind in force at a moment."""
    row = connection.execute(
        select(home_tariffs)
        .where(
            home_tariffs.c.household == household,
            home_tariffs.c.kind == kind,
            home_tariffs.c.valid_from <= at,
        )
        .order_by(home_tariffs.c.valid_from.desc(), home_tariffs.c.tariff_number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _tariff(row)


def tariffs_of_home(connection: Connection, household: str, kind: str) -> list[HomeTariff]:
    """All tariffs of a kind that a home ever had on record, newest record first."""
    return [
        _tariff(row)
        for row in connection.execute(
            select(home_tariffs)
            .where(home_tariffs.c.household == household, home_tariffs.c.kind == kind)
            .order_by(home_tariffs.c.tariff_number.desc())
        )
    ]


def first_recorded(connection: Connection, household: str, kind: str) -> datetime | None:
    """When a home's first tariff of a kind was recorded."""
    first: datetime | None = connection.scalar(
        select(func.min(home_tariffs.c.recorded_at)).where(
            home_tariffs.c.household == household, home_tariffs.c.kind == kind
        )
    )
    return first


def households_with_tariff(connection: Connection, kind: str, at: datetime) -> list[str]:
    """Homes that have a tariff of a kind at a moment."""
    return list(
        connection.scalars(
            select(home_tariffs.c.household)
            .where(home_tariffs.c.kind == kind, home_tariffs.c.valid_from <= at)
            .distinct()
            .order_by(home_tariffs.c.household)
        )
    )


def next_revision(connection: Connection, month: str) -> int:
    """Number of the next settlement of a month."""
    last = connection.scalar(
        select(func.max(settlements.c.revision)).where(settlements.c.month == month)
    )
    return (last or 0) + 1


def insert_settlement(
    connection: Connection, settlement: Settlement, savings: list[HomeSaving]
) -> int:
    """Add a settlement with its homes; returns its number."""
    number = connection.execute(
        settlements.insert()
        .values(
            month=settlement.month,
            revision=settlement.revision,
            currency=settlement.currency,
            saving_minor=settlement.saving_minor,
            homes=settlement.homes,
            evidence_root=settlement.evidence_root,
            settled_at=settlement.settled_at,
        )
        .returning(settlements.c.settlement_number)
    ).scalar_one()
    connection.execute(
        home_savings.insert(),
        [
            {
                "settlement_number": number,
                "household": saving.household,
                "old_minor": saving.old_minor,
                "actual_minor": saving.actual_minor,
                "energy_wh": saving.energy_wh,
                "estimated_intervals": saving.estimated_intervals,
                "evidence": saving.evidence,
            }
            for saving in savings
        ],
    )
    return int(number)


def newest_settlement(connection: Connection, month: str | None = None) -> Settlement | None:
    """The newest settlement, of a month or of all."""
    query = select(settlements).order_by(settlements.c.month.desc(), settlements.c.revision.desc())
    if month is not None:
        query = query.where(settlements.c.month == month)
    row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _settlement(row)


def first_revision_of_newest_month(connection: Connection) -> Settlement | None:
    """The first settlement of the newest settled month: what may be told in sums."""
    newest = newest_settlement(connection)
    if newest is None:
        return None
    return all_settlements(connection, newest.month)[-1]


def settlement_row(connection: Connection, settlement_number: int) -> Settlement | None:
    """A settlement by its number."""
    row = connection.execute(
        select(settlements).where(settlements.c.settlement_number == settlement_number)
    ).one_or_none()
    return None if row is None else _settlement(row)


def all_settlements(connection: Connection, month: str | None = None) -> list[Settlement]:
    """All revisions, of a month or of all, newest month and revision first."""
    query = select(settlements).order_by(settlements.c.month.desc(), settlements.c.revision.desc())
    if month is not None:
        query = query.where(settlements.c.month == month)
    return [_settlement(row) for row in connection.execute(query)]


def savings_of(connection: Connection, settlement_number: int) -> list[HomeSaving]:
    """All homes' savings of a settlement."""
    rows = connection.execute(
        select(home_savings, settlements.c.month, settlements.c.revision, settlements.c.currency)
        .join(settlements)
        .where(home_savings.c.settlement_number == settlement_number)
        .order_by(home_savings.c.household)
    )
    return [_saving(row) for row in rows]


def savings_of_home(connection: Connection, household: str) -> list[HomeSaving]:
    """A home's savings, newest revision of each month, oldest month first."""
    rows = connection.execute(
        select(home_savings, settlements.c.month, settlements.c.revision, settlements.c.currency)
        .join(settlements)
        .where(home_savings.c.household == household)
        .order_by(settlements.c.month, settlements.c.revision)
    )
    return list({row.month: _saving(row) for row in rows}.values())


def _tariff(row: Row[tuple[object, ...]]) -> HomeTariff:
    return HomeTariff(
        household=row.household,
        kind=row.kind,
        form=row.form,
        tariff_text=row.tariff_text,
        tariff_hash=row.tariff_hash,
        valid_from=row.valid_from,
        set_by=row.set_by,
        reason=row.reason,
    )


def _saving(row: Row[tuple[object, ...]]) -> HomeSaving:
    return HomeSaving(
        month=row.month,
        revision=row.revision,
        household=row.household,
        currency=row.currency,
        old_minor=row.old_minor,
        actual_minor=row.actual_minor,
        energy_wh=row.energy_wh,
        estimated_intervals=row.estimated_intervals,
        evidence=row.evidence,
    )


def _settlement(row: Row[tuple[object, ...]]) -> Settlement:
    return Settlement(
        settlement_number=row.settlement_number,
        month=row.month,
        revision=row.revision,
        currency=row.currency,
        saving_minor=row.saving_minor,
        homes=row.homes,
        evidence_root=row.evidence_root,
        settled_at=row.settled_at,
    )
