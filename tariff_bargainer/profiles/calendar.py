"""The local clock of a tariff: which day, hour and kind of day each interval falls in.

Intervals are kept in UTC. A tariff is written on the wall clock of its zone, where a day has 23,
24 or 25 hours and where holidays are counted. This module is the only place that crosses over.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from datetime import timezone as fixed_zone
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tariff_bargainer.errors import InvalidProfile

DAY_KINDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
"""Kinds of day a tariff window may name; a holiday is no weekday and no weekend."""

WEEKDAYS = DAY_KINDS[:5]
WEEKEND = DAY_KINDS[5:7]
HOLIDAY_KIND = 7

DAY_TYPES = ("weekday", "weekend", "holiday")
"""Coarse day types of typical-day profiles."""

MINUTES_PER_DAY = 1440
FIXED_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d\d?)(?::?(\d\d))?")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalCalendar:
    """Calendar vectors of a regular series on the wall clock of one zone.

    Attributes:
        timezone: IANA name of the zone.
        days: Local dates touched by the series, in order.
        day_index: Position in `days` of each interval's start, shape (n,).
        minute_of_day: Wall-clock minute [0, 1440) of each interval's start, shape (n,).
        months: Local (year, month) pairs touched, in order.
        month_index: Position in `months` of each interval, shape (n,).
        day_kind: Position in `DAY_KINDS` of each day, shape (len(days),).
        day_month_index: Position in `months` of each day, shape (len(days),).
    """

    timezone: str
    days: tuple[date, ...]
    day_index: NDArray[np.int32]
    minute_of_day: NDArray[np.int16]
    months: tuple[tuple[int, int], ...]
    month_index: NDArray[np.int32]
    day_kind: NDArray[np.int8]
    day_month_index: NDArray[np.int32]

    @property
    def hour(self) -> NDArray[np.int8]:
        """Wall-clock hour of each interval's start, shape (n,)."""
        return (self.minute_of_day // 60).astype(np.int8)

    @property
    def month_of_year(self) -> NDArray[np.int8]:
        """Month 1..12 of each interval, shape (n,)."""
        numbers = np.array([month for _, month in self.months], dtype=np.int8)
        return numbers[self.month_index]

    @property
    def day_type(self) -> NDArray[np.int8]:
        """Position in `DAY_TYPES` of each interval, shape (n,)."""
        coarse = np.array([0, 0, 0, 0, 0, 1, 1, 2], dtype=np.int8)
        return coarse[self.day_kind[self.day_index]]


def zone(timezone: str) -> tzinfo:
    """Look up a zone: an IANA name, or a fixed offset such as `UTC-07:00`.

    Raises:
        InvalidProfile: No such zone is known.
    """
    if not isinstance(timezone, str):
        raise InvalidProfile(
            f"time zone {timezone!r} is no text; give its name, as 'Europe/Berlin'"
        )
    fixed = FIXED_OFFSET.fullmatch(timezone)
    if fixed and int(fixed[2]) < 24 and int(fixed[3] or 0) < 60:
        offset = timedelta(hours=int(fixed[2]), minutes=int(fixed[3] or 0))
        return fixed_zone(-offset if fixed[1] == "-" else offset)
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidProfile(
            f"time zone {timezone!r} is not known; use an IANA name such as 'Europe/Berlin', or "
            "a fixed offset such as 'UTC-07:00'"
        ) from None


def local_calendar(
    start: datetime,
    step_s: int,
    n_intervals: int,
    timezone: str,
    holidays: Iterable[date] = (),
) -> LocalCalendar:
    """Place every interval of a regular UTC series on a zone's wall clock.

    Args:
        start: Start of the first interval, aware.
        step_s: Length of every interval [s].
        n_intervals: Number of intervals.
        timezone: IANA name of the zone.
        holidays: Local dates that count as holidays.

    Raises:
        InvalidProfile: The zone is not known or the start is naive.
    """
    if start.tzinfo is None:
        raise InvalidProfile("the start of a series must carry a time zone; add an offset or UTC")
    return _local_calendar(start, step_s, n_intervals, timezone, frozenset(holidays))


@lru_cache(maxsize=32)
def _local_calendar(
    start: datetime, step_s: int, n_intervals: int, timezone: str, holidays: frozenset[date]
) -> LocalCalendar:
    known = zone(timezone)
    instants = pd.date_range(
        pd.Timestamp(start).tz_convert("UTC"),
        periods=n_intervals,
        freq=pd.Timedelta(seconds=step_s),
    )
    local = instants.tz_convert(known)
    ordinal = local.tz_localize(None).normalize().to_numpy().astype("datetime64[D]")
    day_numbers, day_index = np.unique(ordinal, return_inverse=True)
    days = tuple(day.item() for day in day_numbers)
    months = tuple(sorted({(day.year, day.month) for day in days}))
    position = {month: index for index, month in enumerate(months)}
    day_month = np.array([position[day.year, day.month] for day in days], dtype=np.int32)
    kinds = [HOLIDAY_KIND if day in holidays else day.weekday() for day in days]
    minute = np.asarray(local.hour, dtype=np.int16) * np.int16(60) + np.asarray(
        local.minute, dtype=np.int16
    )
    vectors = (
        day_index.astype(np.int32),
        minute.astype(np.int16),
        day_month[day_index],
        np.array(kinds, dtype=np.int8),
        day_month,
    )
    for vector in vectors:
        # The result is cached and shared, so nobody may write into it.
        vector.flags.writeable = False
    return LocalCalendar(
        timezone=timezone,
        days=days,
        day_index=vectors[0],
        minute_of_day=vectors[1],
        months=months,
        month_index=vectors[2],
        day_kind=vectors[3],
        day_month_index=vectors[4],
    )
