"""Demand charges of a URDB rate: by time of use, flat by month, coincident, and the ratchet."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any

from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.tariffs.schedule import ALL_MONTHS
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import DemandCharge, Ratchet
from tariff_bargainer.tariffs.urdb_structure import (
    Blocks,
    Schedule,
    periods_of,
    read_number,
    read_schedule,
    read_structure,
    read_whole,
    refuse_unless_zero,
    windows_of,
)


def read_demand(table: StrictTable, *, system_peaks: bool = False) -> tuple[DemandCharge, ...]:
    """Take every demand field of a rate.

    Args:
        table: The rate.
        system_peaks: Whether the instants of the system's peaks are known.

    Raises:
        UnsupportedRate: A field cannot be represented, such as reactive power.
    """
    window_min = table.optional_whole("demandwindow") or None
    ratchet = _ratchet(table)
    refuse_unless_zero(table, "demandreactivepowercharge", "reactive power is not metered here")
    charges = [*_coincident(table, window_min, system_peaks=system_peaks)]
    structure = read_structure(table, "demandratestructure", {"kw": "", "kw daily": ""})
    weekday = read_schedule(table, "demandweekdayschedule", len(structure))
    weekend = read_schedule(table, "demandweekendschedule", len(structure))
    per = _demand_per(table, ("demandrateunit",), structure)
    if structure:
        periods = periods_of(
            "demandratestructure",
            windows_of(weekday, weekend),
            [[tier for tier, _, _ in blocks] for blocks in structure],
        )
        charges.append(
            DemandCharge(name="demand by time of use", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    flat = read_structure(table, "flatdemandstructure", {"kw": "", "kw daily": ""})
    months = table.each("flatdemandmonths", read_whole, "12 period numbers")
    per = _demand_per(table, ("flatdemandunit", "flatdemandunits"), flat)
    if flat:
        schedule = _flat_schedule(table, months, len(flat))
        periods = periods_of(
            "flatdemandstructure",
            windows_of(schedule, schedule),
            [[tier for tier, _, _ in blocks] for blocks in flat],
        )
        charges.append(
            DemandCharge(name="flat demand", periods=periods, per=per,
                         window_min=window_min, ratchet=ratchet)
        )  # fmt: skip
    return tuple(charges)


def _coincident(
    table: StrictTable, window_min: int | None, *, system_peaks: bool
) -> tuple[DemandCharge, ...]:
    """Take the demand at the time of the system's peak, at the rate of that hour and month."""
    key = "coincidentratestructure"
    found = read_structure(table, key, {"kw": ""})
    schedule = read_schedule(table, "coincidentrateschedule", len(found))
    _demand_per(table, ("coincidentrateunit",), found, known=frozenset({"kw"}))
    if not any(tier.rate for blocks in found for tier, _, _ in blocks):
        return ()
    if not system_peaks:
        raise UnsupportedRate(
            field=key,
            problem="URDB does not say when the system peaked",
            remedy="give the instants of its peaks (--system-peak)",
        )
    periods = periods_of(
        "coincidentratestructure",
        windows_of(schedule, schedule),
        [[tier for tier, _, _ in blocks] for blocks in found],
    )
    return (
        DemandCharge(
            name="coincident demand", periods=periods, window_min=window_min, coincident=True
        ),
    )


def _demand_per(
    table: StrictTable,
    keys: Sequence[str],
    structure: list[Blocks],
    known: AbstractSet[str] = frozenset({"kw", "kw daily"}),
) -> Any:
    units = {unit for blocks in structure for _, _, unit in blocks}
    for key in keys:
        found = str(table.take(key) or "").strip().lower()
        if found and structure:
            if found not in known:
                raise UnsupportedRate(field=key, problem=f"{found!r} cannot be priced")
            units = {found} if units <= {"kw"} else units
    if len(units) > 1:
        raise UnsupportedRate(field=keys[0], problem="blocks bill by month and by day")
    return "day" if units == {"kw daily"} else "month"


def _flat_schedule(table: StrictTable, months: list[int], n_periods: int) -> Schedule:
    if not months:
        months = [0] * 12
    if len(months) != 12 or any(not 0 <= number < n_periods for number in months):
        raise table.fault(
            "flatdemandmonths", "is not 12 period numbers", f"give 12 numbers below {n_periods}"
        )
    return [[number] * 24 for number in months]


def _ratchet(table: StrictTable) -> Ratchet | None:
    shares = _lookback_shares(table)
    by_month = _ratchet_share(table)
    if any(shares) and by_month and set(shares) != {by_month}:
        raise UnsupportedRate(
            field="demandratchetpercentage", problem="contradicts lookbackpercent"
        )
    shares = shares if any(shares) else [by_month]
    months = table.each("lookbackmonths", _flag, "12 true or false")
    reach = table.optional_whole("lookbackrange") or 0
    if not any(shares):
        return None
    if months and len(months) != 12:
        raise table.fault("lookbackmonths", f"has {len(months)} entries", "give one per month")
    flagged = tuple(month for month, counts in zip(ALL_MONTHS, months, strict=False) if counts)
    if not all(0 <= share <= 1 for share in shares) or not 0 <= reach <= 12:
        raise UnsupportedRate(
            field="lookbackpercent",
            problem=f"a share of {max(shares)} over {reach} months has no sense",
        )
    return Ratchet(
        percent=max(shares) * 100,
        percent_by_month=tuple(share * 100 for share in shares) if len(set(shares)) > 1 else (),
        lookback_months=reach or 11,
        peak_months=flagged or ALL_MONTHS,
        across_periods=True,
    )


def _lookback_shares(table: StrictTable) -> list[Decimal]:
    """Take `lookbackpercent`: one share, or one for each month of an earlier peak.

    Source: it is the first column of the SAM engine's `ur_billing_demand_lookback_percentages`,
    whose rows are the months of the peaks.
    """
    found = table.take("lookbackpercent")
    shares = [read_number(entry) for entry in _listed(found, table, "lookbackpercent")]
    return shares or [Decimal(0)]


def _ratchet_share(table: StrictTable) -> Decimal:
    """Take `demandratchetpercentage`: one share for all months, or twelve that are equal.

    Twelve that differ are refused, because nothing says whether a share belongs to the month of
    the peak or to the month that is billed; and one above 1, which may be meant in per cent.
    """
    key = "demandratchetpercentage"
    found = table.take(key)
    shares = {read_number(entry) for entry in _listed(found, table, key)}
    if len(shares) > 1:
        raise UnsupportedRate(
            field=key,
            problem="differs by month, and nothing says whether a share belongs to the month of "
            "the peak or to the month billed; if to the peak's, write it as lookbackpercent",
        )
    share = shares.pop() if shares else Decimal(0)
    if not 0 <= share <= 1:
        raise UnsupportedRate(field=key, problem=f"{share} is no share between 0 and 1")
    return share


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
