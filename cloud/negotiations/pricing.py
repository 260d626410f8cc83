"""Replaying offers on real use: the part of a tender that only reads and computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from cloud.errors import BadInput, FieldFault, StateConflict
from cloud.negotiations.repository import Tender
from cloud.readings.ports import ReadingStore
from gateway.wire.reading import Purpose, Quantity
from tariff_bargainer.bargaining.counter_offer import BargainingRange, bargaining_range
from tariff_bargainer.bargaining.offer_file import load_table, mandate_from_table, offer_from_table
from tariff_bargainer.bargaining.offers import Mandate, Offer, OfferEvaluation, evaluate_offer
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions, estimate_floor
from tariff_bargainer.errors import BargainerError
from tariff_bargainer.profiles.intervals import LoadProfile

OFFER_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TenderPlan:
    """What the board decides when it opens a tender.

    Args:
        tender_id: Its name in addresses.
        title: As people call it.
        households: The frozen cohort.
        supply_from: When supply begins, aware.
        window_start: Start of the real use that offers are replayed on.
        window_end: End of it.
        closes_at: Offers after it are refused.
        step_s: Step of the readings used [s].
        mandate: What the members allow.
        rounds_max: Most rounds with one supplier.
        spot_per_mwh: Spot price of each step of the window [currency/MWh].
        assumptions: What the supplier's floor rests on beside load and spot price.
        load: The released typical day that suppliers and the board's page are shown.
        power: The co-op's bargaining power [0..1].
    """

    tender_id: str
    title: str
    households: Sequence[str]
    supply_from: datetime
    window_start: datetime
    window_end: datetime
    closes_at: datetime
    step_s: int
    mandate: Mandate
    rounds_max: int
    spot_per_mwh: Sequence[float]
    assumptions: FloorAssumptions
    load: Mapping[str, Any]
    power: Decimal = Decimal("0.6")


def profiles_of(store: ReadingStore, plan: TenderPlan) -> dict[str, LoadProfile]:
    """Real use of each home over a tender's window.

    Raises:
        StateConflict: Intervals are missing.
    """
    return _profiles(store, list(plan.households), plan.window_start, plan.window_end, plan.step_s)


def limits_of(
    homes: Mapping[str, LoadProfile],
    old_minor: Mapping[str, int],
    plan: TenderPlan,
    *,
    currency: str,
    zone: str,
) -> tuple[dict[str, Any], BargainingRange]:
    """Estimate the supplier's floor, line by line, and the range in which a deal helps both."""
    pool = LoadProfile(
        start=plan.window_start,
        step_s=plan.step_s,
        import_wh=np.sum([profile.import_wh for profile in homes.values()], axis=0),
    )
    floor = estimate_floor(
        pool,
        np.asarray(plan.spot_per_mwh),
        currency=currency,
        timezone=zone,
        meters=len(homes),
        assumptions=plan.assumptions,
    )
    limits = bargaining_range(
        alternatives_minor=old_minor,
        energy_kwh=floor.energy_kwh,
        currency=currency,
        floor_low=floor.rate_low_per_kwh,
        floor=floor.rate_per_kwh,
        floor_high=floor.rate_high_per_kwh,
        power=plan.power,
    )
    return {
        "rate_per_kwh": str(floor.rate_per_kwh),
        "lines": [
            {"key": line.key, "text": line.text, "amount": str(line.amount)} for line in floor.lines
        ],
    }, limits


def read_offer(text: str) -> Offer:
    """Read an offer as JSON text in the documented form.

    Raises:
        BadInput: It breaks the form; the fault names key and remedy.
    """
    if len(text.encode()) > OFFER_BYTES_MAX:
        raise BadInput(f"an offer may take {OFFER_BYTES_MAX} bytes; send less")
    try:
        return offer_from_table(load_table(text, form="json"))
    except BargainerError as fault:
        raise BadInput(
            "the offer cannot be read", faults=(FieldFault(pointer="/", problem=str(fault)),)
        ) from fault


def evaluate(
    store: ReadingStore, tender: Tender, offer: Offer, old_minor: dict[str, int]
) -> OfferEvaluation:
    """Replay an offer on the real use of every home of a tender.

    Raises:
        BadInput: The offer cannot be priced.
        StateConflict: Readings are missing.
    """
    step_s = int(tender.mandate["step_s"])
    homes = _profiles(store, list(old_minor), tender.window_start, tender.window_end, step_s)
    try:
        return evaluate_offer(offer, homes, {}, mandate_of(tender), old_bills_minor=old_minor)
    except BargainerError as fault:
        raise BadInput(
            "the offer cannot be priced on the group's use",
            faults=(FieldFault(pointer="/tariff", problem=str(fault)),),
        ) from fault


def mandate_of(tender: Tender) -> Mandate:
    """What the members allow in a tender."""
    stored = tender.mandate
    return Mandate(
        saving_share_min=Decimal(stored["saving_share_min"]),
        losers_share_max=Decimal(stored["losers_share_max"]),
        loss_limit_minor=int(stored["loss_limit_minor"]),
        green_share_min=Decimal(stored["green_share_min"]),
        term_months_max=stored["term_months_max"],
    )


def read_mandate(text: str) -> Mandate:
    """Read a mandate as JSON text.

    Raises:
        BadInput: It breaks the form.
    """
    try:
        return mandate_from_table(load_table(text, form="json"))
    except BargainerError as fault:
        raise BadInput(f"the mandate cannot be read: {fault}") from fault


def cents(price_per_kwh: str) -> str:
    """Write a price per kWh in hundredths of the currency, such as `27.94 ct/kWh`."""
    return f"{Decimal(price_per_kwh) * 100:.2f} ct/kWh"


def plain_values(values: dict[str, Any]) -> dict[str, Any]:
    """Values as JSON has them: decimals become text."""
    return {
        key: str(value) if isinstance(value, Decimal) else value for key, value in values.items()
    }


def _profiles(
    store: ReadingStore, homes: list[str], start: datetime, end: datetime, step_s: int
) -> dict[str, LoadProfile]:
    frame = store.home_matrix(
        homes,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=start,
        end=end,
        step_s=step_s,
    )
    incomplete = int(frame.isna().any(axis=0).sum())
    if incomplete:
        raise StateConflict(
            f"{incomplete} of {len(homes)} homes miss readings between {start:%Y-%m-%d} and "
            f"{end:%Y-%m-%d}; leave them out or choose another window"
        )
    return {
        home: LoadProfile(
            start=start, step_s=step_s, import_wh=frame[home].to_numpy().astype(np.int64)
        )
        for home in homes
    }
