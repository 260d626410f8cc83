"""When a rate holds: windows of months, kinds of day and wall-clock hours, and their lookup."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.profiles.calendar import (
    DAY_KINDS,
    HOLIDAY_KIND,
    MINUTES_PER_DAY,
    LocalCalendar,
)

ALL_MONTHS = tuple(range(1, 13))
DAYS_IN_MONTH_MAX = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
UNCOVERED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the year's wall-clock time, `[from_minute, to_minute)` of each day it names.

    A window whose end is not after its start runs over midnight; the hours after midnight belong
    to the named kind of day too.

    Attributes:
        months: Months 1..12 it holds in.
        days: Kinds of day it holds on, out of `DAY_KINDS`.
        from_minute: First wall-clock minute.
        to_minute: Minute after the last, at most 1440.
        season: First and last (month, day) it holds on, both included; may run over new year.
    """

    months: tuple[int, ...] = ALL_MONTHS
    days: tuple[str, ...] = DAY_KINDS
    from_minute: int = 0
    to_minute: int = MINUTES_PER_DAY
    season: tuple[tuple[int, int], tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        """Refuse windows that name no time."""
        if not self.months or not set(self.months) <= set(ALL_MONTHS):
            raise ValueError(f"months {self.months} must be some of 1 to 12")
        if not self.days or not set(self.days) <= set(DAY_KINDS):
            raise ValueError(f"days {self.days} must be some of {', '.join(DAY_KINDS)}")
        if not 0 <= self.from_minute < MINUTES_PER_DAY or not 0 < self.to_minute <= MINUTES_PER_DAY:
            raise ValueError("hours must lie between 00:00 and 24:00")
        if self.from_minute == self.to_minute:
            raise ValueError("a window must not be empty; write 00:00 to 24:00 for the whole day")
        for month, day in self.season or ():
            if month not in ALL_MONTHS or not 1 <= day <= DAYS_IN_MONTH_MAX[month - 1]:
                raise ValueError(f"season has no day {month:02d}-{day:02d} in any year")

    def holds_on(self, month: int, day: int) -> bool:
        """Whether the window holds on this day of the year."""
        if month not in self.months:
            return False
        if self.season is None:
            return True
        first, last = self.season
        if first <= last:
            return first <= (month, day) <= last
        return (month, day) >= first or (month, day) <= last


@dataclass(frozen=True, slots=True, eq=False)
class ScheduleTable:
    """Periods by kind of date, kind of day and slot of the day.

    Attributes:
        slot_minutes: Length of a slot; divides every boundary of the windows.
        class_of_day: Row of `period` for month and day, shape (12, 31).
        period: Position of the period, shape (n_classes, 8, 1440 / slot_minutes).
    """

    slot_minutes: int
    class_of_day: NDArray[np.int16]
    period: NDArray[np.int16]


class ScheduleFault(ValueError):
    """Windows of the periods of one charge leave a gap or overlap."""


@lru_cache(maxsize=256)
def schedule_table(windows: tuple[tuple[Window, ...], ...], *, holidays: bool) -> ScheduleTable:
    """Lay the windows of all periods of one charge over the year.

    Args:
        windows: One tuple of windows per period; an empty tuple means every other time.
        holidays: Whether the tariff has holidays, so that holiday hours must be covered.

    Raises:
        ScheduleFault: Two periods claim an hour, or none does.
    """
    every = [window for group in windows for window in group]
    slot = MINUTES_PER_DAY
    for window in every:
        slot = gcd(slot, gcd(window.from_minute, window.to_minute))
    otherwise = [index for index, group in enumerate(windows) if not group]
    if len(otherwise) > 1:
        raise ScheduleFault("two periods have no windows; only one may hold at all other times")
    rest = otherwise[0] if otherwise else UNCOVERED
    classes: dict[tuple[bool, ...], int] = {}
    class_of_day = np.zeros((12, 31), dtype=np.int16)
    representative: list[tuple[int, int]] = []
    for month in ALL_MONTHS:
        for day in range(1, DAYS_IN_MONTH_MAX[month - 1] + 1):
            key = tuple(window.holds_on(month, day) for window in every)
            if key not in classes:
                classes[key] = len(classes)
                representative.append((month, day))
            class_of_day[month - 1, day - 1] = classes[key]
    table = np.full((len(classes), 8, MINUTES_PER_DAY // slot), rest, dtype=np.int16)
    claimed = np.zeros(table.shape, dtype=np.bool_)
    for position, group in enumerate(windows):
        for window in group:
            _claim(table, claimed, window, position, representative, slot)
    kinds = len(DAY_KINDS) if holidays else HOLIDAY_KIND
    if (table[:, :kinds] == UNCOVERED).any():
        row, kind, column = (int(x[0]) for x in np.nonzero(table[:, :kinds] == UNCOVERED))
        month, _ = representative[row]
        raise ScheduleFault(
            f"no period covers {DAY_KINDS[kind]} {_clock(column * slot)} in month {month}; give "
            "one period no windows so that it holds at all other times"
        )
    table[table == UNCOVERED] = 0
    return ScheduleTable(slot, class_of_day, table)


def _claim(
    table: NDArray[np.int16],
    claimed: NDArray[np.bool_],
    window: Window,
    position: int,
    representative: Sequence[tuple[int, int]],
    slot: int,
) -> None:
    rows = [index for index, day in enumerate(representative) if window.holds_on(*day)]
    kinds = [DAY_KINDS.index(name) for name in window.days]
    first, last = window.from_minute // slot, window.to_minute // slot
    slots = (
        list(range(first, last))
        if first < last
        else [*range(first, MINUTES_PER_DAY // slot), *range(last)]
    )
    here = np.ix_(rows, kinds, slots)
    taken = claimed[here] & (table[here] != position)
    if taken.any():
        row, kind, column = (int(x[0]) for x in np.nonzero(taken))
        raise ScheduleFault(
            f"two periods claim {DAY_KINDS[kinds[kind]]} {_clock(slots[column] * slot)} in month "
            f"{representative[rows[row]][0]}; let their windows not overlap"
        )
    table[here] = position
    claimed[here] = True


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def period_of_interval(
    table: ScheduleTable, calendar: LocalCalendar, step_s: int
) -> tuple[NDArray[np.int16], int]:
    """Find the period each interval falls in, and count intervals that straddle two periods.

    Args:
        table: The laid-out schedule.
        calendar: The series on the tariff's wall clock, n intervals.
        step_s: Length of every interval [s].

    Returns:
        Position of the period at each interval's start, shape (n,), and the number of intervals
        in which the period changes before the interval ends.
    """
    day_class = np.array(
        [table.class_of_day[day.month - 1, day.day - 1] for day in calendar.days], dtype=np.int32
    )
    slots = table.period.shape[2]
    flat = table.period.reshape(-1)
    row = (day_class * 8 + calendar.day_kind) * slots
    base = row[calendar.day_index]
    slot = calendar.minute_of_day // table.slot_minutes
    period = flat[base + slot]
    step_min = max(1, step_s // 60)
    last_slot = (calendar.minute_of_day.astype(np.int32) + step_min - 1) // table.slot_minutes
    straddling = 0
    if (last_slot != slot).any():
        # Intervals longer than a slot must stay within one period to be priced exactly.
        for ahead in range(1, int((last_slot - slot).max()) + 1):
            inside = (slot + ahead <= last_slot) & (slot + ahead < slots)
            changed = flat[base + np.minimum(slot + ahead, slots - 1)] != period
            straddling += int((inside & changed).sum())
    return period, straddling
