"""From minutes to the step agreed for a stream: whole periods or nothing.

Hours, days and months are those of the household's own clock and calendar: a day may have 23 or
25 hours, and where the zone is half an hour off, so are its hours.
A period that was not seen from its first to its last second is withheld; it is never filled up
with zeros. Energy is neither made nor lost: what goes in is closed, withheld or still open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.wire.reading import Quality, Reading, Resolution

MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_QUARTER = timedelta(minutes=15)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a stream has gathered of one period so far.

    Args:
        start: Start of the period, aware UTC.
        end: End of the period, aware UTC.
        covered_to: How far it has been seen without a hole from its start.
        energy_wh: Energy so far [Wh].
        quality: The poorest quality of what was added.
        epoch: Life of the counter of the newest addition.
        readings: How many readings were added.
        whole: Whether it has been seen without a hole so far.
    """

    start: datetime
    end: datetime
    covered_to: datetime
    energy_wh: int = 0
    quality: Quality = Quality.MEASURED
    epoch: int = 0
    readings: int = 0
    whole: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been seen."""
        return self.whole and self.covered_to == self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Coarsened:
    """What adding one reading did to a stream.

    Args:
        open_period: What is still being gathered; None right after a period closed.
        closed: Whole periods, in order.
        withheld: Periods that can never be whole, in order.
    """

    open_period: Period | None
    closed: tuple[Period, ...] = ()
    withheld: tuple[Period, ...] = ()


def period_of(
    moment: datetime, resolution: Resolution, zone: ZoneInfo
) -> tuple[datetime, datetime]:
    """Find the period that holds a moment.

    Args:
        moment: Aware UTC.
        resolution: Step of the stream.
        zone: The household's time zone; hours, days and months are local.

    Returns:
        Start and end, aware UTC, `start <= moment < end`.
    """
    step_s = resolution.step_s
    if resolution is Resolution.HOUR:
        return _local_hour(moment, zone)
    if step_s is not None:
        start = datetime.fromtimestamp(int(moment.timestamp()) // step_s * step_s, tz=UTC)
        return start, start + timedelta(seconds=step_s)
    local = moment.astimezone(zone)
    if resolution is Resolution.DAY:
        first = local.date()
        after = first + timedelta(days=1)
    else:
        first = local.date().replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return _local_midnight(first.year, first.month, first.day, zone), _local_midnight(
        after.year, after.month, after.day, zone
    )


def add_reading(
    open_period: Period | None, reading: Reading, resolution: Resolution, zone: ZoneInfo
) -> Coarsened:
    """Add one reading to a stream.

    The reading must lie within one period; cut it with `cut_at_periods` first if it may not.

    Args:
        open_period: What the stream has gathered so far.
        reading: The next reading, in order of time. A gap breaks the period.
        resolution: Step of the stream.
        zone: The household's time zone.

    Raises:
        ValueError: The reading spans two periods or lies before what was gathered.
    """
    start, end = period_of(reading.start, resolution, zone)
    if reading.end > end:
        raise ValueError(
            f"reading {reading.start}..{reading.end} spans two periods of {resolution}"
        )
    withheld: tuple[Period, ...] = ()
    current = open_period
    if current is not None and current.start != start:
        if start < current.start:
            raise ValueError(f"reading at {reading.start} lies before the open period")
        withheld, current = (current,), None
    if current is None:
        current = Period(start=start, end=end, covered_to=start)
    elif reading.start < current.covered_to:
        raise ValueError(f"reading at {reading.start} was already added")
    current = _with(current, reading)
    if reading.end < end:
        return Coarsened(open_period=current, withheld=withheld)
    if current.is_complete:
        return Coarsened(open_period=None, closed=(current,), withheld=withheld)
    return Coarsened(open_period=None, withheld=(*withheld, current))


def cut_at_periods(reading: Reading, resolution: Resolution, zone: ZoneInfo) -> Iterator[Reading]:
    """Cut a long reading where periods meet, sharing its energy by time.

    A piece of a longer reading is an estimate and says so. The pieces add up to the reading.

    Args:
        reading: Any reading.
        resolution: Step of the stream.
        zone: The household's time zone.
    """
    whole_us = _microseconds(reading.end - reading.start)
    start, given_wh = reading.start, 0
    while start < reading.end:
        end = min(period_of(start, resolution, zone)[1], reading.end)
        if start == reading.start and end == reading.end:
            yield reading
            return
        passed_us = _microseconds(end - reading.start)
        until_wh = reading.energy_wh * passed_us // whole_us
        yield Reading(
            meter=reading.meter,
            quantity=reading.quantity,
            start=start,
            end=end,
            energy_wh=until_wh - given_wh,
            quality=poorer(reading.quality, Quality.ESTIMATED),
            epoch=reading.epoch,
        )
        start, given_wh = end, until_wh


def poorer(one: Quality, other: Quality) -> Quality:
    """The one of two qualities that promises less."""
    order = (Quality.MEASURED, Quality.ESTIMATED, Quality.PARTIAL, Quality.GAP)
    return max(one, other, key=order.index)


def _with(period: Period, reading: Reading) -> Period:
    whole = (
        period.whole
        and reading.start == period.covered_to
        and reading.quality in (Quality.MEASURED, Quality.ESTIMATED)
    )
    return Period(
        start=period.start,
        end=period.end,
        covered_to=reading.end,
        energy_wh=period.energy_wh + reading.energy_wh,
        quality=poorer(period.quality, reading.quality),
        epoch=reading.epoch,
        readings=period.readings + 1,
        whole=whole,
    )


def _local_hour(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The hour of the household's clock that holds a moment.

    Where the clock is set by less than an hour (Lord Howe Island: half an hour), the piece of an
    hour that is left over belongs to the hour before, so that no interval is finer than an hour.
    """
    past_s = _past_the_hour_s(moment, zone)
    start = _floor_hour(moment, past_s)
    end = start + _HOUR
    if _past_the_hour_s(start, zone) != past_s:
        quarters = (start + _QUARTER * count for count in range(1, 5))
        set_at = next(each for each in quarters if _past_the_hour_s(each, zone) == past_s)
        return _local_hour(set_at - _SECOND, zone)[0], end
    past_end_s = _past_the_hour_s(end, zone)
    if past_end_s != past_s:
        end = _floor_hour(end + _HOUR - _SECOND, past_end_s)
    return start, end


def _floor_hour(moment: datetime, past_s: int) -> datetime:
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - (seconds + past_s) % 3600, tz=UTC)


def _past_the_hour_s(moment: datetime, zone: ZoneInfo) -> int:
    """By how much the zone's offset is past a whole hour [s]."""
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) % 3600 if offset else 0


def _local_midnight(year: int, month: int, day: int, zone: ZoneInfo) -> datetime:
    return datetime(year, month, day, tzinfo=zone).astimezone(UTC)


def _microseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
