"""Firms, tariffs, prices and projects of the demo. All of it is made up.

Prices are in the range of European household tariffs of the middle of the 2020s, so that the
figures look familiar; none of them is any firm's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from cloud.demo.street import ZONE

CURRENCY = "EUR"
COOP_NAME = "Harbour Lane Energy (demo)"

_HEAD = {"format": "commonwatt-tariff/1", "currency": CURRENCY, "timezone": ZONE}
_NIGHT = [{"days": ["all"], "from": "22:00", "to": "06:00"}]

OLD_TARIFFS: dict[str, dict[str, Any]] = {
    "default": {
        **_HEAD,
        "name": "Default supply",
        "energy": [{"name": "energy", "rate_per_kwh": "0.2890"}],
        "standing": [{"name": "standing charge", "amount": "11.90", "per": "month"}],
    },
    "night": {
        **_HEAD,
        "name": "Old night tariff",
        "energy": [
            {
                "name": "energy",
                "periods": [
                    {"name": "night", "rate_per_kwh": "0.2010", "windows": _NIGHT},
                    {"name": "day", "rate_per_kwh": "0.3120"},
                ],
            }
        ],
        "standing": [{"name": "standing charge", "amount": "13.50", "per": "month"}],
    },
    "green": {
        **_HEAD,
        "name": "Green fixed",
        "energy": [{"name": "energy", "rate_per_kwh": "0.2970"}],
        "standing": [{"name": "standing charge", "amount": "9.90", "per": "month"}],
    },
}
"""What the homes paid before, by name."""

MANDATE: dict[str, Any] = {
    "format": "commonwatt-mandate/1",
    "currency": CURRENCY,
    "saving_share_min": "0.04",
    "losers_share_max": "0.10",
    "loss_limit": "40",
    "green_share_min": "0.5",
    "term_months_max": 36,
}
"""What the members allow the board to accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    """A made-up supplier.

    Args:
        name: Its name.
        tariff_name: Name of what it offers.
        term_months: Length of its contract.
        green_share: Share of renewable energy.
        standing_per_month: Its standing charge [currency].
        evening_factor: Evening rate over its base rate; 1 for a flat rate.
        night_factor: Night rate over its base rate.
        seed: Seed of its moods.
    """

    name: str
    tariff_name: str
    term_months: int
    green_share: str
    standing_per_month: str
    evening_factor: Decimal
    night_factor: Decimal
    seed: int


FIRMS = (
    Firm(
        name="Nordwind",
        tariff_name="Fixed",
        term_months=24,
        green_share="1",
        standing_per_month="9.50",
        evening_factor=Decimal(1),
        night_factor=Decimal(1),
        seed=11,
    ),
    Firm(
        name="Tide Power",
        tariff_name="Three time bands",
        term_months=24,
        green_share="1",
        standing_per_month="8.90",
        evening_factor=Decimal("1.30"),
        night_factor=Decimal("0.80"),
        seed=12,
    ),
    Firm(
        name="Meridian",
        tariff_name="Fixed, half green",
        term_months=36,
        green_share="0.62",
        standing_per_month="7.90",
        evening_factor=Decimal(1),
        night_factor=Decimal(1),
        seed=13,
    ),
    Firm(
        name="Stadtwerk K.",
        tariff_name="Fixed, local sun",
        term_months=24,
        green_share="1",
        standing_per_month="11.50",
        evening_factor=Decimal(1),
        night_factor=Decimal(1),
        seed=14,
    ),
)

SHARE_OF_ENERGY = {"evening": Decimal("0.27"), "night": Decimal("0.30")}
"""What firms guess of the group's shape from the released profile when they set three rates."""


def offer_of(firm: Firm, price_per_kwh: Decimal, kwh_per_home_year: Decimal) -> dict[str, Any]:
    """The offer by which a firm reaches an all-in price for the group.

    Args:
        firm: Who offers.
        price_per_kwh: The all-in average it aims at [currency/kWh].
        kwh_per_home_year: Average use of a home, from the released profile [kWh].
    """
    standing_per_kwh = Decimal(firm.standing_per_month) * 12 / kwh_per_home_year
    energy_per_kwh = price_per_kwh - standing_per_kwh
    mean_factor = (
        SHARE_OF_ENERGY["evening"] * firm.evening_factor
        + SHARE_OF_ENERGY["night"] * firm.night_factor
        + (1 - SHARE_OF_ENERGY["evening"] - SHARE_OF_ENERGY["night"])
    )
    base = energy_per_kwh / mean_factor

    def rate(factor: Decimal) -> str:
        return str((base * factor).quantize(Decimal("0.0001")))

    charge: dict[str, Any] = {"name": "energy", "rate_per_kwh": rate(Decimal(1))}
    if firm.evening_factor != 1:
        charge = {
            "name": "energy",
            "periods": [
                {
                    "name": "evening",
                    "rate_per_kwh": rate(firm.evening_factor),
                    "windows": [{"days": ["all"], "from": "17:00", "to": "21:00"}],
                },
                {"name": "night", "rate_per_kwh": rate(firm.night_factor), "windows": _NIGHT},
                {"name": "day", "rate_per_kwh": rate(Decimal(1))},
            ],
        }
    return {
        "format": "commonwatt-offer/1",
        "supplier": firm.name,
        "id": f"{firm.name}-{price_per_kwh}",
        "term_months": firm.term_months,
        "green_share": firm.green_share,
        "tariff": {
            "name": firm.tariff_name,
            "currency": CURRENCY,
            "timezone": ZONE,
            "energy": [charge],
            "standing": [
                {"name": "standing charge", "amount": firm.standing_per_month, "per": "month"}
            ],
        },
    }


def spot_prices_per_mwh(start: datetime, steps: int, step_s: int, seed: int) -> list[float]:
    """A made-up day-ahead price with the usual shape: dear mornings and evenings, cheap noons.

    Args:
        start: First step, aware UTC.
        steps: Number of steps.
        step_s: Step [s].
        seed: Same seed, same prices.
    """
    dice = np.random.default_rng((seed, 99))
    local_h = (start.astimezone(ZoneInfo(ZONE)).hour + np.arange(steps) * step_s / 3600) % 24
    day = (np.arange(steps) * step_s // 86_400).astype(int)
    year_turn = 2 * math.pi * (start.timetuple().tm_yday + day) / 365.25
    shape = (
        78
        + 22 * np.cos(year_turn)
        + 26 * np.exp(-((local_h - 8) ** 2) / 4)
        + 42 * np.exp(-((local_h - 19) ** 2) / 5)
        - (34 - 18 * np.cos(year_turn)) * np.exp(-((local_h - 13) ** 2) / 8)
    )
    mood = dice.normal(0, 11, int(day[-1]) + 1)[day]
    return [round(float(price), 2) for price in shape + mood]


FLOOR_ASSUMPTIONS: dict[str, float] = {
    "forward_premium_share": 0.03,
    "imbalance_spread_per_mwh": 14.0,
    "risk_weight": 0.3,
    "scenarios": 200,
    "serving_per_meter_year": 28.0,
    "acquisition_per_meter": 18.0,
    "term_months": 24,
    "pass_through_per_kwh": 0.146,
    "pass_through_per_meter_year": 62.0,
    "margin_per_kwh": 0.004,
    "uncertainty_share": 0.08,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUpProject:
    """A made-up solar project.

    Args:
        project_id: Short name.
        name: Title.
        site: Where, in words.
        kwp: Size [kWp].
        tilt_deg: Tilt of the panels.
        azimuth_deg: 180 is south.
        capex: Cost [currency].
        words: One sentence for the card.
        liked_by: How likely a home supports it.
    """

    project_id: str
    name: str
    site: str
    kwp: float
    tilt_deg: float
    azimuth_deg: float
    capex: int
    words: str
    liked_by: float


PROJECTS = (
    MadeUpProject(
        project_id="linden-school",
        name="Linden School roof",
        site="two flat roofs",
        kwp=4.2,
        tilt_deg=15,
        azimuth_deg=180,
        capex=4_600,
        words="The school buys half of the power.",
        liked_by=0.62,
    ),
    MadeUpProject(
        project_id="quay-court",
        name="Quay Court balconies",
        site="roof and balconies",
        kwp=2.5,
        tilt_deg=70,
        azimuth_deg=190,
        capex=2_300,
        words="Twelve flats, nine of them rented.",
        liked_by=0.48,
    ),
    MadeUpProject(
        project_id="hill-dairy",
        name="Hill Dairy shed",
        site="east and west",
        kwp=3.4,
        tilt_deg=20,
        azimuth_deg=260,
        capex=3_100,
        words="The dairy uses most of it on site.",
        liked_by=0.34,
    ),
    MadeUpProject(
        project_id="ferry-hall",
        name="Ferry Hall",
        site="pitched roof",
        kwp=1.7,
        tilt_deg=35,
        azimuth_deg=170,
        capex=1_850,
        words="A warm room for everybody in winter.",
        liked_by=0.41,
    ),
    MadeUpProject(
        project_id="park-canopy",
        name="Park-and-ride canopy",
        site="over four bays",
        kwp=5.0,
        tilt_deg=10,
        azimuth_deg=180,
        capex=6_900,
        words="Two charge points, planning still open.",
        liked_by=0.37,
    ),
)


WINTER_PROJECTS = (
    MadeUpProject(
        project_id="mill-lane",
        name="Mill Lane garages",
        site="a row of nine garages",
        kwp=2.9,
        tilt_deg=12,
        azimuth_deg=165,
        capex=2_700,
        words="The cable is there already, from the old workshop.",
        liked_by=0.45,
    ),
    MadeUpProject(
        project_id="tram-stop",
        name="Tram stop shelters",
        site="two shelters",
        kwp=1.2,
        tilt_deg=5,
        azimuth_deg=200,
        capex=1_500,
        words="Everybody would see it every day.",
        liked_by=0.38,
    ),
)
"""Proposed after the first round was counted."""


def project_file(project: MadeUpProject) -> str:
    """A project as the file a member proposes (docs/formats/project.md)."""
    return f"""id = "{project.project_id}"
name = "{project.name}"
currency = "{CURRENCY}"

[site]
timezone = "{ZONE}"

[[array]]
peak_kw = {project.kwp}
tilt_deg = {project.tilt_deg}
azimuth_deg = {project.azimuth_deg}

[cost]
capex = {project.capex}
running_per_year = {round(project.kwp * 14)}

[value]
own_use_price_per_kwh = "0.26"
export_price_per_kwh = "0.07"
"""
