"""Beside every assumption of a floor: its unit, and whether somebody stated it and from where."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions

OURS = "our assumption"
NO_SOURCE = "stated without a source"
UNITS = {
    "forward_premium_share": "share of the blocks",
    "imbalance_spread_per_mwh": "{currency}/MWh",
    "risk_weight": "share",
    "risk_tail_share": "share of years",
    "scenarios": "years",
    "window_weeks": "weeks",
    "serving_per_meter_year": "{currency} per home and year",
    "acquisition_per_meter": "{currency} per home",
    "term_months": "months",
    "credit_days": "days",
    "credit_rate_per_year": "1/year",
    "validity_days": "days",
    "forward_volatility_per_year": "1/sqrt(year)",
    "pass_through_per_kwh": "{currency}/kWh",
    "pass_through_per_meter_year": "{currency} per home and year",
    "margin_per_kwh": "{currency}/kWh",
    "uncertainty_share": "share, either way",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumptionNote:
    """One assumption, for whoever inspects a floor.

    Attributes:
        key: Its key in the file of assumptions.
        value: What the floor was computed with.
        unit: Its unit.
        source: Where the figure is from, or `OURS` when the file leaves it out.
    """

    key: str
    value: float
    unit: str
    source: str


def assumption_notes(
    assumptions: FloorAssumptions, sources: Mapping[str, str], *, currency: str
) -> tuple[AssumptionNote, ...]:
    """List every assumption with its unit and source.

    Args:
        assumptions: What the floor was computed with.
        sources: Source of each key that was stated, empty where none was named.
        currency: ISO 4217 code of the assumptions.
    """
    return tuple(
        AssumptionNote(
            key=field.name,
            value=getattr(assumptions, field.name),
            unit=UNITS[field.name].format(currency=currency),
            source=(sources[field.name] or NO_SOURCE) if field.name in sources else OURS,
        )
        for field in fields(assumptions)
    )


def notes_json(notes: tuple[AssumptionNote, ...]) -> list[dict[str, Any]]:
    """Give notes as JSON values."""
    return [asdict(note) for note in notes]
