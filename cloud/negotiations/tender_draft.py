"""What the board fills in before a tender: dates, mandate, spot prices and the floor's assumptions.

Pure. The window is the real use that offers are replayed on; spot prices cover all of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from cloud.errors import BadInput, FieldFault
from tariff_bargainer.bargaining.offers import Mandate
from tariff_bargainer.bargaining.price_csv import parse_price_csv
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import BargainerError

TENDER_ID = re.compile(r"tender-[a-z0-9]+(-[a-z0-9]+)*")
TENDER_ID_CHARS_MAX = 64
ROUNDS_MAX = 20
SCENARIOS_MAX = 5_000
"""More bootstrap years than this would keep the server busy for too long."""
WINDOW_MIN, WINDOW_MAX = timedelta(days=28), timedelta(days=731)
STEPS_S = (900, 1800, 3600)
MOMENTS = ("supply_from", "window_start", "window_end", "closes_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenderDraft:
    """A tender before a second person approved it.

    Args:
        tender_id: Its name in addresses, `tender-…`.
        title: As people call it.
        supply_from: When supply begins, aware.
        window_start: Start of the real use that offers are replayed on, aware.
        window_end: End of it, in the past.
        closes_at: Offers after it are refused.
        step_s: Step of the readings used [s].
        mandate: What the members allow.
        rounds_max: Most rounds with one supplier.
        spot_per_mwh: Spot price of each step of the window [currency/MWh].
        assumptions: What the supplier's floor rests on beside load and spot price.
        power: The co-op's bargaining power [0..1].
        leave_out_incomplete: Whether homes without old tariff or with gaps are left out.
    """

    tender_id: str
    title: str
    supply_from: datetime
    window_start: datetime
    window_end: datetime
    closes_at: datetime
    step_s: int
    mandate: Mandate
    rounds_max: int
    spot_per_mwh: tuple[float, ...]
    assumptions: FloorAssumptions
    power: Decimal = Decimal("0.6")
    leave_out_incomplete: bool = False

    def __post_init__(self) -> None:
        """Bring all moments to UTC: lengths between local ones would miss the hour of a clock change."""
        for name in MOMENTS:
            object.__setattr__(self, name, getattr(self, name).astimezone(UTC))


def check_draft(draft: TenderDraft, now: datetime) -> None:
    """Refuse a draft that makes no sense.

    Raises:
        BadInput: Every fault is named with its field.
    """
    length = draft.window_end - draft.window_start
    steps = length / timedelta(seconds=draft.step_s)
    wrong = {
        "/tender_id": (
            len(draft.tender_id) > TENDER_ID_CHARS_MAX or not TENDER_ID.fullmatch(draft.tender_id),
            f"write tender- and small letters, digits, hyphens, {TENDER_ID_CHARS_MAX} in all",
        ),
        "/title": (not 1 <= len(draft.title.strip()) <= 200, "give 1 to 200 characters"),
        "/step_s": (draft.step_s not in STEPS_S, f"give one of {', '.join(map(str, STEPS_S))}"),
        "/window_end": (
            draft.window_end > now or not WINDOW_MIN <= length <= WINDOW_MAX,
            f"the window lies in the past and takes {WINDOW_MIN.days} to {WINDOW_MAX.days} days",
        ),
        "/supply_from": (
            draft.supply_from < draft.window_end,
            "supply begins when the window is over, or later",
        ),
        "/closes_at": (draft.closes_at <= now, "the last moment for offers lies in the future"),
        "/rounds_max": (not 1 <= draft.rounds_max <= ROUNDS_MAX, f"give 1 to {ROUNDS_MAX}"),
        "/power": (not 0 <= draft.power <= 1, "give a number from 0 to 1"),
        "/floor/scenarios": (
            draft.assumptions.scenarios > SCENARIOS_MAX,
            f"give at most {SCENARIOS_MAX} here",
        ),
        "/spot": (
            len(draft.spot_per_mwh) != steps,
            f"{len(draft.spot_per_mwh)} prices were given for {steps:g} steps of the window",
        ),
    }
    faults = tuple(
        FieldFault(pointer=pointer, problem=problem)
        for pointer, (is_wrong, problem) in wrong.items()
        if is_wrong
    )
    if faults:
        raise BadInput(
            "the tender cannot be prepared: "
            + "; ".join(f"{fault.pointer[1:]}: {fault.problem}" for fault in faults),
            faults=faults,
        )


def tender_id_of(title: str) -> str:
    """A name for addresses, from a title."""
    plain = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    plain = plain.removeprefix("tender-").removesuffix("tender").strip("-")
    return f"tender-{plain}"[:TENDER_ID_CHARS_MAX].strip("-")


def spot_from_csv(text: str, *, start: datetime, end: datetime, step_s: int) -> tuple[float, ...]:
    """Spot prices of a window from a CSV in the documented form [currency/MWh].

    Coarser prices hold for all their steps; finer ones are averaged.

    Raises:
        BadInput: It is no such CSV, or does not cover the window.
    """
    try:
        series = parse_price_csv(text.lstrip("\ufeff").splitlines(keepends=True))
    except BargainerError as fault:
        raise _bad_spot(str(fault)) from fault
    return spot_from_series(series, start=start, end=end, step_s=step_s)


def spot_from_series(
    series: IndexSeries, *, start: datetime, end: datetime, step_s: int
) -> tuple[float, ...]:
    """Spot prices of a window, step by step [currency/MWh].

    Raises:
        BadInput: The series does not cover the window, or steps do not fit.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    prices = np.where(series.missing, np.nan, series.price_nano_per_kwh / 1e6)
    if series.step_s >= step_s and series.step_s % step_s == 0:
        prices = np.repeat(prices, series.step_s // step_s)
    elif step_s % series.step_s == 0:
        each = step_s // series.step_s
        prices = prices[: len(prices) // each * each].reshape(-1, each).mean(axis=1)
    else:
        raise _bad_spot(f"their step of {series.step_s} s does not fit steps of {step_s} s")
    offset, rest = divmod(round((start - series.start).total_seconds()), step_s)
    count = round((end - start).total_seconds()) // step_s
    window = prices[max(offset, 0) : max(offset, 0) + count]
    if offset < 0 or rest or len(window) < count:
        raise _bad_spot(f"they do not cover {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
    empty = np.flatnonzero(np.isnan(window))
    if empty.size:
        first = start + timedelta(seconds=int(empty[0]) * step_s)
        raise _bad_spot(f"{empty.size} of them are empty, the first at {first:%Y-%m-%d %H:%M} UTC")
    return tuple(round(float(price), 6) for price in window)


def draft_text(draft: TenderDraft) -> str:
    """A draft as JSON text, as it is kept."""
    return json.dumps(
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(draft).items()
        },
        default=str,
        sort_keys=True,
    )


def read_draft(text: str) -> TenderDraft:
    """Read a draft back."""
    kept: dict[str, Any] = json.loads(text)
    for name in MOMENTS:
        kept[name] = datetime.fromisoformat(kept[name])
    kept["mandate"] = _mandate(kept["mandate"])
    kept["assumptions"] = FloorAssumptions(**kept["assumptions"])
    kept["power"] = Decimal(kept["power"])
    kept["spot_per_mwh"] = tuple(kept["spot_per_mwh"])
    return TenderDraft(**kept)


def _mandate(kept: Mapping[str, Any]) -> Mandate:
    shares = ("saving_share_min", "losers_share_max", "green_share_min")
    return Mandate(
        **{name: Decimal(kept[name]) for name in shares},
        loss_limit_minor=kept["loss_limit_minor"],
        term_months_max=kept["term_months_max"],
    )


def _bad_spot(problem: str) -> BadInput:
    return BadInput(
        f"the spot prices cannot be taken: {problem}",
        faults=(FieldFault(pointer="/spot", problem=problem),),
    )
