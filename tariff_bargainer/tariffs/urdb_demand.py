"""Demand charges of a URDB rate: by time of use, flat by month, coincident, and the ratchet."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

from tariff_bargainer.errors import TariffFileError, UnsupportedRate
from tariff_bargainer.profiles.calendar import MINUTES_PER_DAY
from tariff_bargainer.tariffs.schedule import ALL_MONTHS
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import DemandCharge, Period, Ratchet, Tier
from tariff_bargainer.tariffs.urdb_structure import (
    Blocks,
    Schedule,
    is_nothing,
    periods_of,
    read_number,
    read_schedule,
    read_structure,
    read_whole,
    windows_of,
)

OLDER_RATCHET = "demandratchetpercentage"
IN_KW = frozenset({"kw", "kw daily"})
IN_KVA = frozenset({"kva", "kva daily"})
BLOCK_UNITS = dict.fromkeys(("kw", "kw daily", "kva", "kva daily"), "")


def read_demand(
    table: StrictTable, *, system_peaks: bool = False, power_factor: Decimal | None = None
) -> tuple[DemandCharge, ...]:
    """Take every demand field of a rate.

    Args:
        table: The rate.
        system_peaks: Whether the instants of the system's peaks are known.
        power_factor: Active by apparent power of the load, above 0 and at most 1, with which
            prices per kVA and per kvar become prices per kW; None if it is not known.

    Raises:
        TariffFileError: The power factor is none.
        UnsupportedRate: A field cannot be represented, such as kVA without a power factor.
    """
    if power_factor is not None and not 0 < power_factor <= 1:
        raise TariffFileError(
            where="--power-factor",
            problem=f"is {power_factor}",
            remedy="give a number above 0 and at most 1, such as 0.95",
        )
    window_min = table.optional_whole("demandwindow") or None
    if window_min and (window_min < 0 or MINUTES_PER_DAY % window_min):
        raise UnsupportedRate(
            field="demandwindow",
            problem=f"{window_min} minutes do not fill a day",
            remedy="give minutes that divide a day, such as 15, 30 or 60",
        )
    ratchet = _ratchet(table)
    charges = [*_reactive(table, window_min, power_factor)]
    charges += _coincident(table, window_min, system_peaks=system_peaks, power_factor=power_factor)
    structure = _read_blocks(table, "demandratestructure")
    weekday = read_schedule(table, "demandweekdayschedule", len(structure))
    weekend = read_schedule(table, "demandweekendschedule", len(structure))
    per, blocks = _per_kw(table, ("demandrateunit",), structure, power_factor)
    if structure:
        periods = periods_of("demandratestructure", windows_of(weekday, weekend), blocks)
        charges.append(
            DemandCharge(name="demand by time of use", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    flat = _read_blocks(table, "flatdemandstructure")
    months = table.each("flatdemandmonths", read_whole, "12 period numbers")
    per, blocks = _per_kw(table, ("flatdemandunit", "flatdemandunits"), flat, power_factor)
    if flat:
        schedule = _flat_schedule(table, months, len(flat))
        periods = periods_of("flatdemandstructure", windows_of(schedule, schedule), blocks)
        charges.append(
            DemandCharge(name="flat demand", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    return tuple(charges)


def _read_blocks(table: StrictTable, key: str) -> list[Blocks]:
    """Read the blocks of a demand structure; what exported power earns is refused."""
    structure = read_structure(table, key, BLOCK_UNITS)
    for p, blocks in enumerate(structure):
        for t, (_, sell, _) in enumerate(blocks):
            if sell:
                raise UnsupportedRate(
                    field=f"{key}[{p}][{t}].sell", problem="what exported kW earn is not billed"
                )
    return structure


def _reactive(
    table: StrictTable, window_min: int | None, power_factor: Decimal | None
) -> tuple[DemandCharge, ...]:
    """Take the price per kvar of the month's peak, as a price per kW of it."""
    key = "demandreactivepowercharge"
    if is_nothing(table.look(key)):
        table.take(key)
        return ()
    rate = table.decimal(key)
    if power_factor is None:
        raise UnsupportedRate(
            field=key,
            problem="a load file has no reactive power",
            remedy="give the load's power factor (--power-factor)",
        )
    kvar_per_kw = (1 / power_factor**2 - 1).sqrt()
    period = Period(name="all", tiers=(Tier(rate=rate * kvar_per_kw),))
    return (DemandCharge(name="reactive power", periods=(period,), window_min=window_min),)


def _coincident(
    table: StrictTable,
    window_min: int | None,
    *,
    system_peaks: bool,
    power_factor: Decimal | None,
) -> tuple[DemandCharge, ...]:
    """Take the demand at the time of the system's peak, at the rate of that hour and month."""
    key = "coincidentratestructure"
    found = _read_blocks(table, key)
    schedule = read_schedule(table, "coincidentrateschedule", len(found))
    per, blocks = _per_kw(table, ("coincidentrateunit",), found, power_factor)
    if per == "day":
        raise UnsupportedRate(
            field="coincidentrateunit", problem="a coincident peak is one of the month"
        )
    if not any(tier.rate for blocks in found for tier, _, _ in blocks):
        return ()
    if not system_peaks:
        raise UnsupportedRate(
            field=key,
            problem="URDB does not say when the system peaked",
            remedy="give the instants of its peaks (--system-peak)",
        )
    periods = periods_of("coincidentratestructure", windows_of(schedule, schedule), blocks)
    return (
        DemandCharge(
            name="coincident demand", periods=periods, window_min=window_min, coincident=True
        ),
    )


def _per_kw(
    table: StrictTable,
    keys: Sequence[str],
    structure: list[Blocks],
    power_factor: Decimal | None,
) -> tuple[Literal["month", "day"], list[list[Tier]]]:
    """Find the unit of a demand structure, and give its blocks per kW.

    Apparent power is active power by the power factor, so that an end in kVA lies at fewer kW, and
    a price per kVA is a higher one per kW.
    """
    units = {unit for blocks in structure for _, _, unit in blocks if unit}
    for key in keys:
        found = str(table.take(key) or "").strip().lower()
        if found and structure and (not units or units == {"kw"}):
            units = {found}
    unit = units.pop() if units else "kw"
    if units:
        raise UnsupportedRate(field=keys[0], problem="blocks are in more than one unit")
    if unit not in IN_KW | IN_KVA:
        raise UnsupportedRate(field=keys[0], problem=f"{unit!r} cannot be priced")
    if unit in IN_KVA and power_factor is None:
        raise UnsupportedRate(
            field=keys[0],
            problem=f"{unit!r} cannot be priced without reactive power",
            remedy="give the load's power factor (--power-factor)",
        )
    per: Literal["month", "day"] = "day" if unit.endswith("daily") else "month"
    blocks = [[tier for tier, _, _ in period] for period in structure]
    if unit in IN_KW or power_factor is None:
        return per, blocks
    return per, [[_kva_to_kw(tier, power_factor) for tier in period] for period in blocks]


def _kva_to_kw(tier: Tier, power_factor: Decimal) -> Tier:
    upto = None if tier.upto is None else tier.upto * power_factor
    return Tier(rate=tier.rate / power_factor, upto=upto)


def _flat_schedule(table: StrictTable, months: list[int], n_periods: int) -> Schedule:
    if not months and n_periods > 1:
        raise table.missing("flatdemandmonths", "12 period numbers")
    if not months:
        months = [0] * 12
    if len(months) != 12 or any(not 0 <= number < n_periods for number in months):
        raise table.fault(
            "flatdemandmonths", "is not 12 period numbers", f"give 12 numbers below {n_periods}"
        )
    return [[number] * 24 for number in months]


def _ratchet(table: StrictTable) -> Ratchet | None:
    newer, older = _shares(table, "lookbackpercent"), _shares(table, OLDER_RATCHET)
    if any(newer) and any(older) and set(newer) != set(older):
        raise UnsupportedRate(field=OLDER_RATCHET, problem="contradicts lookbackpercent")
    shares = newer if any(newer) else older
    months = table.each("lookbackmonths", _flag, "12 true or false")
    reach = table.optional_whole("lookbackrange") or 0
    if not any(shares):
        return None
    if months and len(months) != 12:
        raise table.fault("lookbackmonths", f"has {len(months)} entries", "give one per month")
    flagged = tuple(month for month, counts in zip(ALL_MONTHS, months, strict=False) if counts)
    if not 0 <= reach <= 12:
        raise UnsupportedRate(
            field="lookbackrange", problem=f"{reach} months have no sense", remedy="give 1 to 12"
        )
    return Ratchet(
        percent=max(shares) * 100,
        percent_by_month=tuple(share * 100 for share in shares) if len(set(shares)) > 1 else (),
        lookback_months=reach or 11,
        peak_months=flagged or ALL_MONTHS,
        across_periods=True,
    )


def ratchet_remark(table: StrictTable) -> tuple[str, ...]:
    """Say how shares that differ by month are read, which URDB leaves open; look, not take."""
    found = table.look(OLDER_RATCHET)
    shares = set(found) if isinstance(found, list) else set()
    if len(shares) < 2:
        return ()
    remark = (
        f"the shares of {OLDER_RATCHET} are read by the month of the earlier peak, as the SAM "
        "engine reads its own twelve; URDB does not say it"
    )
    return (remark,)


def _shares(table: StrictTable, key: str) -> list[Decimal]:
    """Take one share, or one for each month of an earlier peak.

    URDB says of `demandratchetpercentage` only that there is one for each month. That a share
    belongs to the month of the peak follows from the fields that took its place, `lookbackmonths`
    and `lookbackpercent`, and from the SAM engine, whose rows of
    `ur_billing_demand_lookback_percentages` are the months of the peaks.
    """
    found = table.take(key)
    shares = [read_number(entry) for entry in _listed(found, table, key)]
    for share in shares:
        if not 0 <= share <= 1:
            raise UnsupportedRate(
                field=key,
                problem=f"{share} is no share between 0 and 1",
                remedy="write 80 % as 0.8",
            )
    return shares or [Decimal(0)]


def _listed(found: Any, table: StrictTable, key: str) -> list[Any]:
    entries = found if isinstance(found, list) else [found]
    numbers = all(
        entry is None or (isinstance(entry, (int, Decimal)) and not isinstance(entry, bool))
        for entry in entries
    )
    if len(entries) not in {0, 1, 12} or not numbers:
        raise table.fault(key, "is no share, nor one for each month", "give 12 numbers")
    return entries


def _flag(found: Any) -> bool:
    if isinstance(found, bool) or found in {0, 1}:
        return bool(found)
    raise ValueError(found)
