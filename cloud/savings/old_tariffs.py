"""The tariff a home had before: entered by the member, frozen by hash when the home joins.

A home joins when a tender that counts it opens, or with its first group tariff. Until then its
member may enter and correct the old tariff at will. From then on savings are measured against it,
so it is never changed back: the member may only add one that holds from a later day on, such as a
published change of the price, and a mistake in the past is corrected by the operator, from the
paper, with a reason. Every change is a new row and an entry in the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotFound, StateConflict
from cloud.members.repository import household_row, people_of_household
from cloud.negotiations.repository import counted_since
from cloud.notices.ports import Letter
from cloud.notices.usecases import write_letter
from cloud.savings import repository
from cloud.savings.repository import HomeTariff
from cloud.savings.usecases import GROUP, OLD, read_tariff_text, set_tariff
from tariff_bargainer.bargaining.dated_bill import bill_by_dates_minor
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.catalogue_index import catalogue_names, catalogue_text
from tariff_bargainer.tariffs.tariff import Tariff
from tariff_bargainer.tariffs.tariff_file import FORMAT

OPERATOR = "operator"
TARIFF_BYTES_MAX = 64 * 1024
EARLIEST = date(2000, 1, 1)
AHEAD_DAYS_MAX = 731
REASON_CHARS_MIN, REASON_CHARS_MAX = 10, 500
TARIFFS_MAX = 200
"""Most old tariffs one home may have on record."""
SAMPLE_KWH, SAMPLE_DAYS = 250, 30
"""The use that a tariff is tried on, and shown with: 250 kWh, evenly over 30 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffDraft:
    """An old tariff as somebody hands it in.

    Args:
        text: The tariff in our form.
        form: `toml` or `json`.
        valid_from: First local day on which it holds.
        reason: Why, once the home has joined.
    """

    text: str
    form: str
    valid_from: date
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldTariffs:
    """What is on record for a home.

    Args:
        current: The old tariff that holds now, or the next one; None if there is none.
        history: All rows, newest first.
        group: The group's tariff that holds now or next.
        joined_at: Since when the old tariff is frozen; None before the home joins.
    """

    current: HomeTariff | None
    history: tuple[HomeTariff, ...]
    group: HomeTariff | None
    joined_at: datetime | None


def old_tariffs(connection: Connection, household: str, now: datetime) -> OldTariffs:
    """What is on record for a home."""
    history = tuple(repository.tariffs_of_home(connection, household, OLD))
    group = repository.tariffs_of_home(connection, household, GROUP)
    current = repository.tariff_at(connection, household, OLD, now)
    group_now = repository.tariff_at(connection, household, GROUP, now)
    return OldTariffs(
        current=current or (history[0] if history else None),
        history=history,
        group=group_now or (group[0] if group else None),
        joined_at=joined_at(connection, household),
    )


def joined_at(connection: Connection, household: str) -> datetime | None:
    """Since when a home's old tariff is frozen; None if it has not joined."""
    moments = [
        moment
        for moment in (
            counted_since(connection, household),
            repository.first_recorded(connection, household, GROUP),
        )
        if moment is not None
    ]
    return min(moments, default=None)


def enter_own_tariff(
    connection: Connection,
    draft: TariffDraft,
    *,
    household: str,
    person_id: str,
    currency: str,
    zone: str,
    now: datetime,
) -> HomeTariff:
    """Take the old tariff that a member enters.

    Raises:
        BadInput: It cannot be read or billed, or its day makes no sense.
        StateConflict: The home has joined, and the tariff would hold from a day that is not later.
    """
    valid_from = _check(draft, currency=currency, zone=zone, now=now)
    same = _same_on_record(connection, household, draft, valid_from)
    if same is not None:
        return same
    if joined_at(connection, household) is not None:
        if valid_from <= now:
            raise StateConflict(
                "your home has joined, so its old tariff is frozen: a new one can hold from "
                "tomorrow at the earliest; to correct a mistake, bring the co-op your old bill"
            )
        _require_reason(draft.reason)
    return _set(connection, draft, household, valid_from, set_by=person_id, now=now)


def enter_from_paper(
    connection: Connection,
    draft: TariffDraft,
    *,
    household: str,
    currency: str,
    zone: str,
    now: datetime,
) -> HomeTariff:
    """Take the old tariff of a home from a paper form; the operator may correct the past.

    The people of the home are told by letter.

    Raises:
        NotFound: There is no such home.
        BadInput: It cannot be read or billed; or the home has joined and no reason is given.
    """
    home = household_row(connection, household)
    if home is None or home.erased_at is not None:
        raise NotFound(f"household {household}")
    valid_from = _check(draft, currency=currency, zone=zone, now=now)
    same = _same_on_record(connection, household, draft, valid_from)
    if same is not None:
        return same
    if joined_at(connection, household) is not None:
        _require_reason(draft.reason)
    frozen = _set(connection, draft, household, valid_from, set_by=OPERATOR, now=now)
    for person in people_of_household(connection, household):
        letter = Letter(
            to=person.email,
            subject="Your old tariff was recorded",
            text=(
                f"The co-op recorded an old tariff of your home that holds from "
                f"{draft.valid_from:%d %B %Y}"
                + (f", because: {draft.reason}" if draft.reason else "")
                + ".\n\nYour page shows it under “Your old tariff”. If it is wrong, answer with "
                "your old bill.\n"
            ),
        )
        write_letter(connection, letter, now=now)
    return frozen


def flat_tariff_text(
    *,
    supplier: str,
    price_per_kwh: Decimal,
    standing_per_month: Decimal,
    currency: str,
    zone: str,
) -> str:
    """A tariff of one price and a standing charge, in our form.

    Args:
        supplier: Who sold it, and its name.
        price_per_kwh: All taxes included [currency/kWh].
        standing_per_month: All taxes included [currency/month].
        currency: ISO 4217 code.
        zone: IANA zone of the home.
    """
    table: dict[str, Any] = {
        "format": FORMAT,
        "name": supplier,
        "supplier": supplier,
        "currency": currency,
        "timezone": zone,
        "source": "entered by the member, taxes included",
        "energy": [{"name": "energy", "rate_per_kwh": str(price_per_kwh)}],
    }
    if standing_per_month:
        table["standing"] = [
            {"name": "standing charge", "amount": str(standing_per_month), "per": "month"}
        ]
    return json.dumps(table, ensure_ascii=False)


def catalogue_choices(currency: str) -> Mapping[str, Tariff]:
    """Real tariffs of the catalogue in a currency, by name; made-up examples are left out."""
    found = {
        name: read_tariff_text(catalogue_text(name), "toml")
        for name in catalogue_names()
        if not name.endswith("_example")
    }
    return {name: tariff for name, tariff in found.items() if tariff.currency == currency}


def sample_bill_minor(tariff: Tariff) -> int:
    """What 250 kWh, used evenly over the 30 days of June, cost under a tariff [minor units].

    Raises:
        BargainerError: It cannot be billed from the readings alone.
    """
    hours = SAMPLE_DAYS * 24
    each, rest = divmod(SAMPLE_KWH * 1000, hours)
    profile = LoadProfile(
        start=datetime(2026, 6, 1, tzinfo=ZoneInfo(tariff.timezone)).astimezone(UTC),
        step_s=3600,
        import_wh=np.array([each + 1] * rest + [each] * (hours - rest), dtype=np.int64),
    )
    return bill_by_dates_minor(profile, (tariff,))


def _check(draft: TariffDraft, *, currency: str, zone: str, now: datetime) -> datetime:
    if len(draft.text.encode()) > TARIFF_BYTES_MAX:
        raise BadInput(f"a tariff may take {TARIFF_BYTES_MAX} bytes; send less")
    tariff = read_tariff_text(draft.text, draft.form)
    if tariff.currency != currency:
        raise _bad("/tariff/currency", f"it is in {tariff.currency}; bills here are in {currency}")
    try:
        sample_bill_minor(tariff)
    except BargainerError as fault:
        raise _bad(
            "/tariff", f"no bill can be made of it from meter readings alone: {fault}"
        ) from fault
    if len(draft.reason) > REASON_CHARS_MAX:
        raise _bad("/reason", f"write at most {REASON_CHARS_MAX} characters")
    latest = now.date() + timedelta(days=AHEAD_DAYS_MAX)
    if not EARLIEST <= draft.valid_from <= latest:
        raise _bad("/valid_from", f"give a day from {EARLIEST} to {latest}")
    local = datetime.combine(draft.valid_from, datetime.min.time(), tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


def _same_on_record(
    connection: Connection, household: str, draft: TariffDraft, valid_from: datetime
) -> HomeTariff | None:
    """The newest row for this day, if it has the same rules: sending twice adds nothing."""
    rows = repository.tariffs_of_home(connection, household, OLD)
    if len(rows) >= TARIFFS_MAX:
        raise StateConflict(f"{TARIFFS_MAX} old tariffs of this home are on record; ask the co-op")
    newest = next((row for row in rows if row.valid_from == valid_from), None)
    wanted = read_tariff_text(draft.text, draft.form).content_hash
    return newest if newest is not None and newest.tariff_hash == wanted else None


def _set(
    connection: Connection,
    draft: TariffDraft,
    household: str,
    valid_from: datetime,
    *,
    set_by: str,
    now: datetime,
) -> HomeTariff:
    return set_tariff(
        connection,
        household=household,
        kind=OLD,
        text=draft.text,
        form=draft.form,
        valid_from=valid_from,
        now=now,
        set_by=set_by,
        reason=draft.reason,
    )


def _require_reason(reason: str) -> None:
    if not REASON_CHARS_MIN <= len(reason.strip()) <= REASON_CHARS_MAX:
        raise _bad(
            "/reason",
            f"this home has joined: say why in {REASON_CHARS_MIN} to {REASON_CHARS_MAX} "
            "characters, such as the letter that announced the change",
        )


def _bad(pointer: str, problem: str) -> BadInput:
    return BadInput(
        f"the old tariff cannot be taken: {problem}",
        faults=(FieldFault(pointer=pointer, problem=problem),),
    )
