"""What a tariff must be beyond its types: rising blocks, full windows, sane limits."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from tariff_bargainer.errors import InvalidProfile, TariffFileError
from tariff_bargainer.profiles.calendar import zone
from tariff_bargainer.tariffs.schedule import ScheduleFault, schedule_table

if TYPE_CHECKING:
    # The model calls these checks, so it cannot be imported while it is being made.
    from tariff_bargainer.tariffs.tariff import DemandCharge, EnergyCharge, Period, Tariff

CHARGES_MAX = 64
PERIODS_MAX = 128
TIERS_MAX = 64


def check_tariff(tariff: "Tariff") -> None:
    """Check everything that the types of a tariff cannot say.

    Raises:
        TariffFileError: The first contradiction found, with the path of the key.
    """
    if not re.fullmatch(r"[A-Z]{3}", tariff.currency):
        raise TariffFileError(
            where="currency",
            problem=f"{tariff.currency!r} is no currency code",
            remedy="use three capital letters of ISO 4217, such as 'EUR'",
        )
    try:
        zone(tariff.timezone)
    except InvalidProfile as unknown:
        problem, _, remedy = str(unknown).partition("; ")
        raise TariffFileError(where="timezone", problem=problem, remedy=remedy) from None
    if tariff.effective_from and tariff.effective_to:
        _require(
            tariff.effective_from < tariff.effective_to,
            "effective_to",
            "is not after effective_from",
            "give the first day on which the tariff no longer holds",
        )
    places = tariff.rounding.places
    _require(
        places is None or 0 <= places <= 6,
        "rounding.places",
        f"is {places}",
        "give 0 to 6 decimal places",
    )
    groups: tuple[tuple[str, Sequence[EnergyCharge | DemandCharge]], ...] = (
        ("energy", tariff.energy),
        ("export", tariff.export),
        ("demand", tariff.demand),
    )
    for key, charges in groups:
        _require(len(charges) <= CHARGES_MAX, key, "has too many charges", f"{CHARGES_MAX} at most")
        for index, charge in enumerate(charges):
            _check_periods(charge.periods, f"{key}[{index}]", holidays=tariff.has_holidays)
    _check_charges(tariff)


def _check_charges(tariff: "Tariff") -> None:
    for key, directed in (("energy", tariff.energy), ("export", tariff.export)):
        for index, charge in enumerate(directed):
            _check_block_bases(charge, f"{key}[{index}]")
    for index, demand in enumerate(tariff.demand):
        _check_demand(demand, f"demand[{index}]")
    for index, charge in enumerate((*tariff.energy, *tariff.export)):
        link = charge.index
        if link and link.cap_per_kwh is not None and link.floor_per_kwh is not None:
            _require(
                link.floor_per_kwh <= link.cap_per_kwh,
                f"energy[{index}].index",
                "has a floor above its cap",
                "swap floor_per_kwh and cap_per_kwh",
            )


def _check_block_bases(charge: "EnergyCharge", where: str) -> None:
    own = {tier.basis for period in charge.periods for tier in period.tiers if tier.basis}
    _require(
        not own or all(basis.startswith("month") for basis in (charge.tier_basis, *own)),
        f"{where}.tiers",
        "mixes blocks of a month with blocks of another time",
        "give blocks of their own basis only beside month, month-daily or month-per-kw",
    )


def _check_demand(charge: "DemandCharge", where: str) -> None:
    window = charge.window_min
    _require(
        window is None or (window > 0 and 1440 % window == 0),
        f"{where}.window_min",
        f"is {window}",
        "give minutes that divide a day, such as 15, 30 or 60",
    )
    _require(
        1 <= charge.n_highest <= 366,
        f"{where}.n_highest",
        f"is {charge.n_highest}",
        "give 1 to 366 peaks to average",
    )
    if charge.ratchet:
        shares = (charge.ratchet.percent, *charge.ratchet.percent_by_month)
        _require(
            all(0 <= share <= 100 for share in shares)
            and 1 <= charge.ratchet.lookback_months <= 12,
            f"{where}.ratchet",
            "has a percent outside 0 to 100 or a lookback outside 1 to 12 months",
            "correct them",
        )
        _require(
            len(charge.ratchet.percent_by_month) in {0, 12},
            f"{where}.ratchet.percent_by_month",
            f"has {len(charge.ratchet.percent_by_month)} entries",
            "give one for each month, January first",
        )


def _check_periods(periods: "tuple[Period, ...]", where: str, *, holidays: bool) -> None:
    _require(
        0 < len(periods) <= PERIODS_MAX,
        f"{where}.periods",
        f"has {len(periods)} periods",
        f"give 1 to {PERIODS_MAX}",
    )
    for index, period in enumerate(periods):
        place = f"{where}.periods[{index}].tiers"
        _require(0 < len(period.tiers) <= TIERS_MAX, place, "is empty or too long", "give blocks")
        limits = [tier.upto for tier in period.tiers]
        rising = [limit for limit in limits[:-1] if limit is not None]
        _require(
            len(rising) == len(limits) - 1,
            place,
            "has an open block before the last",
            "give every block but the last its upper end",
        )
        for basis in {tier.basis for tier in period.tiers}:
            alike = [t.upto for t in period.tiers if t.basis == basis and t.upto is not None]
            _require(
                alike == sorted(alike) and min(alike, default=Decimal(0)) >= 0,
                place,
                "has an upper end below the one before it",
                "sort the blocks by their upper end",
            )
    try:
        schedule_table(tuple(period.windows for period in periods), holidays=holidays)
    except ScheduleFault as fault:
        problem, _, remedy = str(fault).partition("; ")
        raise TariffFileError(where=f"{where}.periods", problem=problem, remedy=remedy) from None


def _require(condition: bool, where: str, problem: str, remedy: str) -> None:
    if not condition:
        raise TariffFileError(where=where, problem=problem, remedy=remedy)
