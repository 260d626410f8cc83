"""Rate structures and 12 x 24 schedules of a URDB rate, as blocks and windows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.profiles.calendar import WEEKDAYS, WEEKEND
from tariff_bargainer.tariffs.schedule import ALL_MONTHS, Window
from tariff_bargainer.tariffs.strict_table import StrictTable
from tariff_bargainer.tariffs.tariff import Period, Tier

OPEN_END = Decimal("1e12")
"""An upper end from here on means that the block is open; PySAM writes 1e38."""

Schedule = list[list[int]]
Blocks = list[tuple[Tier, Decimal | None, str]]
"""Blocks of one period, each with its sell rate and its unit."""


def read_structure(table: StrictTable, key: str, units: Mapping[str, object]) -> list[Blocks]:
    """Read a rate structure: per period its blocks, each with its sell rate and unit."""
    structure = []
    for p, entries in enumerate(table.items(key)):
        if not isinstance(entries, list) or not entries:
            raise table.fault(f"{key}[{p}]", "is no list of blocks", "give at least one block")
        blocks = []
        for t, entry in enumerate(entries):
            place = f"{key}[{p}][{t}]"
            block = StrictTable(entry, place)
            upto = block.optional_limit("max", OPEN_END)
            found = block.optional_decimal("rate")
            adjustment = block.optional_decimal("adj")
            if found is None and adjustment is None:
                raise UnsupportedRate(field=f"{place}.rate", problem="a block without a rate")
            unit = str(block.take("unit") or next(iter(units))).strip().lower()
            if unit not in units:
                raise UnsupportedRate(field=f"{place}.unit", problem=f"{unit!r} cannot be priced")
            sell = block.optional_decimal("sell")
            if not block.keys() <= {"id"}:
                extra = min(block.keys())
                raise UnsupportedRate(field=f"{place}.{extra}", problem="is not a known field")
            rate = (found or Decimal(0)) + (adjustment or Decimal(0))
            if upto is None and t < len(entries) - 1:
                raise UnsupportedRate(
                    field=f"{place}.max", problem="is missing before the last block"
                )
            blocks.append((Tier(rate=rate, upto=upto), sell, unit))
        structure.append(blocks)
    return structure


def periods_of(
    key: str, windows: dict[int, tuple[Window, ...]], structure: Sequence[Sequence[Tier]]
) -> tuple[Period, ...]:
    """Make the periods that are used, with everything else of the structure left out.

    Raises:
        UnsupportedRate: A block ends below the one before it, in the same unit.
    """
    for number in sorted(windows):
        ends: dict[str | None, Decimal] = {}
        for t, tier in enumerate(structure[number]):
            if tier.upto is not None and tier.upto < ends.setdefault(tier.basis, Decimal(0)):
                raise UnsupportedRate(
                    field=f"{key}[{number}][{t}].max",
                    problem=f"is {tier.upto}, below {ends[tier.basis]} of the block before it",
                    remedy="URDB counts every end from zero; write the sums",
                )
            if tier.upto is not None:
                ends[tier.basis] = tier.upto
    return tuple(
        Period(name=f"period {number}", tiers=tuple(structure[number]), windows=windows[number])
        for number in sorted(windows)
    )


def read_schedule(table: StrictTable, key: str, n_periods: int) -> Schedule:
    """Read a 12 x 24 schedule of period numbers; some files hold them as floats."""
    rows = table.items(key)
    if not rows:
        if n_periods > 1:
            raise table.missing(key, "12 rows of 24 period numbers")
        return [[0] * 24 for _ in ALL_MONTHS]
    if len(rows) != 12 or any(not isinstance(row, list) or len(row) != 24 for row in rows):
        raise table.fault(key, "is not 12 rows of 24 hours", "give every month and hour")
    schedule = []
    for month, row in enumerate(rows):
        for hour, number in enumerate(row):
            valid = isinstance(number, (int, Decimal)) and number == int(number)
            # Zeros without a structure are how the service writes that there is no such charge.
            if not valid or not 0 <= number < max(1, n_periods):
                raise table.fault(
                    f"{key}[{month}][{hour}]",
                    f"is {number!r}, no period of the rate structure",
                    f"give a whole number below {max(1, n_periods)}",
                )
        schedule.append([int(number) for number in row])
    return schedule


def windows_of(weekday: Schedule, weekend: Schedule) -> dict[int, tuple[Window, ...]]:
    """Turn 12 x 24 schedules into windows per period, months with the same hours together."""
    runs: dict[int, dict[tuple[tuple[str, ...], int, int], list[int]]] = {}
    for days, schedule in ((WEEKDAYS, weekday), (WEEKEND, weekend)):
        for month, row in zip(ALL_MONTHS, schedule, strict=True):
            hour = 0
            while hour < 24:
                end = hour
                while end < 24 and row[end] == row[hour]:
                    end += 1
                key = (days, hour * 60, end * 60)
                runs.setdefault(row[hour], {}).setdefault(key, []).append(month)
                hour = end
    return {
        period: tuple(
            Window(months=tuple(months), days=days, from_minute=low, to_minute=high)
            for (days, low, high), months in groups.items()
        )
        for period, groups in runs.items()
    }


def read_number(found: Any) -> Decimal:
    """Parse one number of a list; null means zero."""
    if found is None:
        return Decimal(0)
    if isinstance(found, bool) or not isinstance(found, (int, Decimal)):
        raise TypeError(found)
    return StrictTable({"number": found}, "").decimal("number")


def read_whole(found: Any) -> int:
    """Parse one whole number of a list; some files hold them as floats."""
    number = read_number(found)
    if number != int(number):
        raise ValueError(found)
    return int(number)


def is_nothing(found: Any) -> bool:
    """Whether a value, however deep, holds no number other than zero."""
    if isinstance(found, dict):
        return all(is_nothing(value) for key, value in found.items() if key not in {"unit", "max"})
    if isinstance(found, list):
        return all(is_nothing(entry) for entry in found)
    return found in {None, False, "", "kW"} or found == 0
