"""Freezing a home's old tariff, putting it on the group's, and settling a month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, FieldFault, NotFound, StateConflict
from cloud.readings.ports import ReadingStore
from cloud.savings import repository
from cloud.savings.repository import HomeSaving, HomeTariff, Settlement
from cloud.transparency.usecases import record
from gateway.wire.reading import Purpose, Quantity
from tariff_bargainer.bargaining.offer_file import load_table
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.savings import SavingsStatement, monthly_savings
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import tariff_from_table

SETTLEMENT_STEP_S = 3600
OLD, GROUP = "old", "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A calendar month of the co-op's zone.

    Args:
        name: `2026-10`.
        start: First moment, aware UTC.
        end: First moment after it, aware UTC.
    """

    name: str
    start: datetime
    end: datetime

    @classmethod
    def named(cls, name: str, zone: str) -> Month:
        """Read `2026-10` as a month of a zone.

        Raises:
            BadInput: It is not of that form.
        """
        try:
            first = datetime.strptime(f"{name}-01", "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
        except ValueError as fault:
            raise BadInput(f"month {name!r} is not of the form 2026-10") from fault
        after = (
            first.replace(year=first.year + 1, month=1)
            if first.month == 12
            else first.replace(month=first.month + 1)
        )
        utc = ZoneInfo("UTC")
        return cls(name=name, start=first.astimezone(utc), end=after.astimezone(utc))


def read_tariff_text(text: str, form: str) -> Tariff:
    """Read a tariff as TOML or JSON text.

    Raises:
        BadInput: It breaks the form; the fault names key and remedy.
    """
    try:
        return tariff_from_table(load_table(text, form=form))
    except BargainerError as fault:
        raise BadInput(
            "the tariff cannot be read",
            faults=(FieldFault(pointer="/tariff", problem=str(fault)),),
        ) from fault


def set_tariff(
    connection: Connection,
    *,
    household: str,
    kind: str,
    text: str,
    form: str,
    valid_from: datetime,
    now: datetime,
    set_by: str = "",
    reason: str = "",
) -> HomeTariff:
    """Freeze a tariff of a home; later changes are new rows, never edits.

    Whether a home may still choose its old tariff is decided in `old_tariffs`.

    Raises:
        BadInput: The tariff cannot be read.
    """
    tariff = read_tariff_text(text, form)
    frozen = HomeTariff(
        household=household,
        kind=kind,
        form=form,
        tariff_text=text,
        tariff_hash=tariff.content_hash,
        valid_from=valid_from,
        set_by=set_by,
        reason=reason,
    )
    repository.insert_tariff(connection, frozen, now)
    record(
        connection,
        kind="tariff.frozen",
        facts={"has_reason": bool(reason), "kind": kind, "tariff": tariff.content_hash},
        at=now,
    )
    return frozen


def tariff_of(connection: Connection, household: str, kind: str, at: datetime) -> Tariff:
    """The tariff of a kind that a home has at a moment.

    Raises:
        NotFound: It has none.
    """
    found = repository.tariff_at(connection, household, kind, at)
    if found is None:
        raise NotFound(f"{kind} tariff of this home")
    return read_tariff_text(found.tariff_text, found.form)


def settle_month(
    database: Database, store: ReadingStore, *, month: Month, currency: str, now: datetime
) -> tuple[Settlement, SavingsStatement]:
    """Work out what each home on the group tariff saved in a month, and write it down.

    Uses the billing stream of each home. Reads first, computes without a lock, then writes in one
    transaction. A later run of the same month adds a revision and changes nothing.

    Raises:
        StateConflict: No home is on the group tariff, or a home's billing readings have gaps.
    """
    with database.reading() as connection:
        homes = repository.households_with_tariff(connection, GROUP, month.start)
        old = {home: tariff_of(connection, home, OLD, month.start) for home in homes}
        group = {home: tariff_of(connection, home, GROUP, month.start) for home in homes}
    if not homes:
        raise StateConflict(f"no home was on the group tariff in {month.name}")
    usage = billing_usage(store, homes, month)
    try:
        statement = monthly_savings(month.name, usage, old, group, currency=currency)
    except BargainerError as fault:
        raise StateConflict(f"{month.name} cannot be settled: {fault}") from fault
    with database.transaction() as connection:
        settlement = _write(connection, statement, usage, now)
    return settlement, statement


def billing_usage(store: ReadingStore, homes: list[str], month: Month) -> dict[str, LoadProfile]:
    """Each home's metered use in a month, from its billing stream.

    Raises:
        StateConflict: Intervals are missing; says how many homes and what to do.
    """
    frame = store.home_matrix(
        homes,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.BILLING,
        start=month.start,
        end=month.end,
        step_s=SETTLEMENT_STEP_S,
    )
    incomplete = int(frame.isna().any(axis=0).sum())
    if incomplete:
        raise StateConflict(
            f"{month.name} cannot be settled yet: {incomplete} of {len(homes)} homes miss billing "
            "readings; wait for their gateways, or enter estimates"
        )
    return {
        home: LoadProfile(
            start=month.start,
            step_s=SETTLEMENT_STEP_S,
            import_wh=frame[home].to_numpy().astype(np.int64),
        )
        for home in homes
    }


def _write(
    connection: Connection,
    statement: SavingsStatement,
    usage: Mapping[str, LoadProfile],
    now: datetime,
) -> Settlement:
    revision = repository.next_revision(connection, statement.period)
    draft = Settlement(
        settlement_number=0,
        month=statement.period,
        revision=revision,
        currency=statement.currency,
        saving_minor=statement.saving_minor,
        homes=len(statement.members),
        evidence_root=statement.root,
        settled_at=now,
    )
    savings = [
        HomeSaving(
            month=statement.period,
            revision=revision,
            household=member.member,
            currency=statement.currency,
            old_minor=member.counterfactual_minor,
            actual_minor=member.actual_minor,
            energy_wh=int(usage[member.member].import_wh.sum()),
            estimated_intervals=member.estimated_intervals,
            evidence=member.evidence.result,
        )
        for member in statement.members
    ]
    repository.insert_settlement(connection, draft, savings)
    record(
        connection,
        kind="savings.settled",
        facts={
            "evidence": statement.root,
            "homes": len(savings),
            "month": statement.period,
            "revision": revision,
            "saving_minor": statement.saving_minor,
        },
        at=now,
    )
    settled = repository.newest_settlement(connection, statement.period)
    if settled is None:
        raise NotFound(f"settlement of {statement.period}")
    return settled
