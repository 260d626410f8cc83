"""A month of metered use against the old tariffs: worked out first, then written as a revision.

Reads the billing streams and computes without a lock; writing takes one short transaction. The
same readings, tariffs and engine give the same evidence, so running it again adds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, StateConflict
from cloud.members.repository import household_row
from cloud.readings.ports import ReadingStore
from cloud.savings import repository
from cloud.savings.public_sums import public_sums
from cloud.savings.repository import HomeSaving, Settlement
from cloud.savings.usecases import GROUP, OLD, read_tariff_text
from cloud.transparency.usecases import record
from gateway.wire.reading import Purpose, Quality, Quantity
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.savings import monthly_savings, statement_root
from tariff_bargainer.tariffs.tariff import Tariff

SETTLEMENT_STEP_S = 3600


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkedOut:
    """What the homes on the group tariff saved in a month, before it is written down.

    Args:
        month: Which.
        currency: ISO 4217 code.
        savings: Per home, sorted; their revision is not set yet.
        root: Hash over every home's evidence.
        left_out: Homes whose billing readings have gaps, and that were never settled this month.
        kept: Homes whose readings are gone; they keep what they were settled on.
    """

    month: Month
    currency: str
    savings: tuple[HomeSaving, ...]
    root: str
    left_out: int
    kept: int

    @property
    def saving_minor(self) -> int:
        """Of all homes together [minor units]."""
        return sum(saving.saving_minor for saving in self.savings)

    @property
    def sigma_minor(self) -> int:
        """What of the savings rests on estimated hours, taken as their standard error, rounded up.

        An upper bound: it treats all of it as uncertain, and all homes as erring together.
        """
        hours = int((self.month.end - self.month.start) / timedelta(seconds=SETTLEMENT_STEP_S))
        weighted = sum(
            abs(saving.saving_minor) * saving.estimated_intervals for saving in self.savings
        )
        return -(-weighted // hours)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Homes:
    """Who is settled, on which tariffs, and what was settled before."""

    old: Mapping[str, Tariff]
    group: Mapping[str, Tariff]
    before: Mapping[str, HomeSaving]


def work_out_month(
    database: Database,
    store: ReadingStore,
    *,
    month: Month,
    currency: str,
    leave_out_incomplete: bool = False,
) -> WorkedOut:
    """Work out what each home on the group tariff saved in a month. Nothing is written.

    A home whose readings are gone by now, because it left, keeps what it was settled on.

    Args:
        database: Where tariffs and earlier settlements are.
        store: Where the billing readings are.
        month: Which.
        currency: ISO 4217 code.
        leave_out_incomplete: Go on without homes that miss readings; a later run takes them in.

    Raises:
        StateConflict: No home is on the group tariff, readings are missing, or a home has no old
            tariff; says how many and what to do.
    """
    with database.reading() as connection:
        homes = _homes_of(connection, month)
    if not homes.group:
        raise StateConflict(f"no home was on the group tariff in {month.name}")
    usage, estimated = billing_usage(store, list(homes.group), month)
    missing = homes.group.keys() - usage.keys()
    kept = [homes.before[home] for home in sorted(missing & homes.before.keys())]
    left_out = len(missing) - len(kept)
    if left_out and not leave_out_incomplete:
        raise StateConflict(
            f"{month.name} cannot be settled yet: {left_out} of {len(homes.group)} homes miss "
            "billing readings; wait for their gateways, or settle without them: a later run takes "
            "them in"
        )
    if not usage and not kept:
        raise StateConflict(f"no home has all its billing readings of {month.name}")
    try:
        statement = monthly_savings(
            month.name,
            usage,
            {home: homes.old[home] for home in usage},
            {home: homes.group[home] for home in usage},
            currency=currency,
            estimated_intervals=estimated,
        )
    except BargainerError as fault:
        raise StateConflict(f"{month.name} cannot be settled: {fault}") from fault
    measured = [
        HomeSaving(
            month=month.name,
            revision=0,
            household=member.member,
            currency=currency,
            old_minor=member.counterfactual_minor,
            actual_minor=member.actual_minor,
            energy_wh=int(usage[member.member].import_wh.sum()),
            estimated_intervals=member.estimated_intervals,
            evidence=member.evidence.result,
        )
        for member in statement.members
    ]
    savings = tuple(sorted([*measured, *kept], key=lambda saving: saving.household))
    return WorkedOut(
        month=month,
        currency=currency,
        savings=savings,
        root=statement_root(month.name, currency, [saving.evidence for saving in savings]),
        left_out=left_out,
        kept=len(kept),
    )


def write_month(
    connection: Connection, worked: WorkedOut, *, now: datetime
) -> tuple[Settlement, bool]:
    """Write a month down as its next revision, unless the newest one rests on the same evidence.

    Returns:
        The newest revision, and whether it was added now.
    """
    newest = repository.newest_settlement(connection, worked.month.name)
    if newest is not None and newest.evidence_root == worked.root:
        return newest, False
    draft = next_settlement(connection, worked, now=now)
    savings = [replace(saving, revision=draft.revision) for saving in worked.savings]
    number = repository.insert_settlement(connection, draft, savings)
    record(
        connection,
        kind="savings.settled",
        facts={
            "evidence": worked.root,
            "month": worked.month.name,
            "revision": draft.revision,
            **public_sums(
                draft.revision,
                homes=len(savings),
                left_out=worked.left_out,
                saving_minor=worked.saving_minor,
            ),
        },
        at=now,
    )
    return replace(draft, settlement_number=number), True


def next_settlement(connection: Connection, worked: WorkedOut, *, now: datetime) -> Settlement:
    """A month as it would be written down: its next revision, without a number yet."""
    return Settlement(
        settlement_number=0,
        month=worked.month.name,
        revision=repository.next_revision(connection, worked.month.name),
        currency=worked.currency,
        saving_minor=worked.saving_minor,
        homes=len(worked.savings),
        evidence_root=worked.root,
        settled_at=now,
    )


def billing_usage(
    store: ReadingStore, homes: list[str], month: Month
) -> tuple[dict[str, LoadProfile], dict[str, int]]:
    """Each home's metered use in a month, from its billing stream, and its estimated hours.

    Homes with gaps are left out.
    """
    frame = store.home_matrix(
        homes,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.BILLING,
        start=month.start,
        end=month.end,
        step_s=SETTLEMENT_STEP_S,
    )
    complete = [home for home in homes if not frame[home].isna().any()]
    usage = {
        home: LoadProfile(
            start=month.start,
            step_s=SETTLEMENT_STEP_S,
            import_wh=frame[home].to_numpy().astype(np.int64),
        )
        for home in complete
    }
    return usage, {home: _estimated_hours(store, home, month) for home in complete}


def _estimated_hours(store: ReadingStore, home: str, month: Month) -> int:
    rows = store.home_readings(home, start=month.start, end=month.end, purpose=Purpose.BILLING)
    estimated = rows[
        (rows["quality"] == Quality.ESTIMATED) & (rows["quantity"] == Quantity.IMPORT_WH)
    ]
    starts = pd.DatetimeIndex(estimated["start"])
    return int(starts.floor(f"{SETTLEMENT_STEP_S}s").nunique())


def _homes_of(connection: Connection, month: Month) -> _Homes:
    newest = repository.newest_settlement(connection, month.name)
    before = (
        {}
        if newest is None
        else {
            saving.household: saving
            for saving in repository.savings_of(connection, newest.settlement_number)
        }
    )
    old: dict[str, Tariff] = {}
    group: dict[str, Tariff] = {}
    without = 0
    for home in repository.households_with_tariff(connection, GROUP, month.start):
        row = household_row(connection, home)
        if home not in before and (row is None or row.erased_at is not None):
            continue
        before_it = repository.tariff_at(connection, home, OLD, month.start)
        with_it = repository.tariff_at(connection, home, GROUP, month.start)
        if before_it is None or with_it is None:
            without += 1
            continue
        old[home] = read_tariff_text(before_it.tariff_text, before_it.form)
        group[home] = read_tariff_text(with_it.tariff_text, with_it.form)
    if without:
        raise StateConflict(
            f"{month.name} cannot be settled yet: {without} homes on the group tariff had no old "
            "tariff then; record it with coop-cloud tariff set"
        )
    return _Homes(old=old, group=group, before=before)
