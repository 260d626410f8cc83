"""Counter totals to energy of intervals: a small state machine that distrusts jumps.

A meter's counter should only rise, and no faster than the fuse allows. What does not fit is put in
quarantine and never becomes energy: a momentary zero or a spike is forgotten when the next reading
fits again, and a lasting change opens a new epoch, the next life of the counter, after several
readings agree. Between two accepted readings energy is spread evenly over time, and an interval
gets the whole Wh that its edges differ by; what is left of a Wh stays in the open interval, so that
intervals always add up to exactly what the counter rose by.

`advance` is a pure function. Its state is a plain record that can be kept (`msgspec.json`) so that
a restart bridges the time the gateway was away: the counter knows the energy, though not its shape.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway.decode.meter_map import MeterMap
from gateway.decode.quantities import UNITS
from gateway.decode.registers import RegisterType, float32_step
from gateway.wire.reading import Quality, require_utc

SILENCE_MAX = timedelta(days=31)
"""After a longer silence the counter starts anew: its energy can no longer be placed in time."""

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Verdict(enum.StrEnum):
    """What was made of a counter reading."""

    FIRST = "first"
    OK = "ok"
    STALE = "stale"
    SUSPECT_LOW = "suspect_low"
    SUSPECT_HIGH = "suspect_high"
    RESET = "reset"
    ROLLOVER = "rollover"
    SWAPPED = "swapped"
    CLOCK_SET_BACK = "clock_set_back"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterReading:
    """A total at a moment.

    Args:
        at: Aware UTC.
        total_wh: What the counter showed [Wh].
        identity: Serial number of the meter, if it tells it.
    """

    at: datetime
    total_wh: int
    identity: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterLimits:
    """What a counter can do.

    Args:
        power_w_max: Most the connection can carry [W].
        margin: Factor allowed on top, for meters that update late and fuses that are slow.
        update_lag_s: How late the meter may update its counter [s].
        resolution_wh: Smallest step of the counter [Wh].
        float32_unit_wh: Unit of the register [Wh] if the counter is a 32-bit float, which coarsens
            as it grows; None otherwise.
        rollover_wh: Total at which the counter starts again from zero, if that is known.
        step_back_wh: A step back of up to this much is noise and only waited out [Wh].
        confirm_count: Readings that must agree before a new level is believed.
        confirm_s: Time they must span at least [s].
        confirm_flat_s: The same if the new level does not rise [s].
        step_s: Length of the intervals [s]; divides a day.
        bridge_s: If readings are further apart [s], the shape between them is an estimate.
    """

    power_w_max: float
    margin: float = 1.25
    update_lag_s: float = 5.0
    resolution_wh: float = 10.0
    float32_unit_wh: float | None = None
    rollover_wh: int | None = None
    step_back_wh: int = 200
    confirm_count: int = 3
    confirm_s: float = 20.0
    confirm_flat_s: float = 900.0
    step_s: int = 60
    bridge_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse limits under which nothing sensible can be said."""
        if self.power_w_max <= 0 or self.step_s <= 0 or 86_400 % self.step_s:
            raise ValueError("power_w_max must be positive and step_s must divide a day")
        if self.confirm_count < 2:
            raise ValueError("confirm_count must be at least 2: one reading confirms nothing")

    def coarseness_wh(self, total_wh: int) -> float:
        """Smallest step of the counter at a total [Wh]."""
        if self.float32_unit_wh is None:
            return self.resolution_wh
        step = float32_step(total_wh / self.float32_unit_wh) * self.float32_unit_wh
        return max(self.resolution_wh, step)

    def rise_wh_max(self, elapsed: timedelta, total_wh: int) -> float:
        """The most a counter can rise in a time [Wh]."""
        hours = (elapsed.total_seconds() + self.update_lag_s) / 3600
        return self.power_w_max * self.margin * hours + 2 * self.coarseness_wh(total_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Readings that agree with each other but not with what was accepted before."""

    first: CounterReading
    last: CounterReading
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterState:
    """All that must be known to judge the next reading.

    Args:
        epoch: Which life of the counter this is.
        last: The last accepted reading; its total goes on rising through rollovers.
        offset_wh: What rollovers added so far [Wh].
        edge: Start of the open interval; everything before it has been given out.
        edge_wh: Total at that edge [Wh].
        partial: Whether the open interval was not covered from its start.
        estimated: Whether a long silence lies in the open interval.
        rise_wh: What the last accepted reading added [Wh].
        quarantine: Readings too low or too high so far.
        behind: Readings that are older than the last, though they follow it.
    """

    epoch: int
    last: CounterReading
    edge: datetime
    edge_wh: int
    offset_wh: int = 0
    partial: bool = False
    estimated: bool = False
    rise_wh: int = 0
    quarantine: Quarantine | None = None
    behind: Quarantine | None = None

    @property
    def open_wh(self) -> int:
        """Energy since the last edge that no interval has yet [Wh]."""
        return self.last.total_wh - self.edge_wh


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyInterval:
    """Energy over `[start, end)`, from one life of a counter."""

    start: datetime
    end: datetime
    energy_wh: int
    quality: Quality
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What came of a reading.

    Args:
        state: To be handed in with the next one.
        verdict: What was made of it.
        intervals: Intervals that are now complete, oldest first.
        old_wh: Last total of the epoch that ended, where one did [Wh].
        new_wh: First total of the epoch that began, where one did [Wh].
    """

    state: CounterState
    verdict: Verdict
    intervals: tuple[EnergyInterval, ...] = ()
    old_wh: int | None = None
    new_wh: int | None = None


def limits_for(
    meter_map: MeterMap,
    quantity: str,
    *,
    fuse_a: float,
    voltage_v: float = 230.0,
    bridge_s: float = 120.0,
) -> CounterLimits:
    """Limits of a counter behind a fuse, with what its map says about its steps.

    Args:
        meter_map: Map of the meter.
        quantity: Name of the counter.
        fuse_a: Main fuse per phase [A].
        voltage_v: Phase to neutral [V].
        bridge_s: See `CounterLimits`.
    """
    names = [name for _, name in meter_map.derived.get(quantity, ((1, quantity),))]
    points = [meter_map.points[name] for name in names if name in meter_map.points]
    floats = [float(point.factor) for point in points if point.type is RegisterType.FLOAT32]
    rollovers = [
        round(point.rollover * UNITS[point.unit][1])
        for point in points
        if point.rollover is not None and len(points) == 1
    ]
    return CounterLimits(
        power_w_max=fuse_a * voltage_v * meter_map.phases,
        resolution_wh=meter_map.resolution_wh(quantity, 0),
        float32_unit_wh=max(floats) if floats else None,
        rollover_wh=rollovers[0] if rollovers else None,
        bridge_s=bridge_s,
    )


def advance(
    state: CounterState | None,
    reading: CounterReading,
    limits: CounterLimits,
    *,
    epoch: int = 0,
) -> Advance:
    """Judge a reading and give out the intervals it completes.

    Args:
        state: From the reading before; None for the very first.
        reading: A total at a moment.
        limits: What the counter can do.
        epoch: Where to begin if there is no state; above any epoch given out before.

    Raises:
        ValueError: The moment is not aware UTC.
    """
    require_utc(reading.at)
    if state is None:
        return Advance(state=_begin(reading, epoch, limits), verdict=Verdict.FIRST)
    if _is_other_meter(state, reading):
        return _next_epoch(state, reading, limits, Verdict.SWAPPED)
    if reading.at <= state.last.at:
        return _behind(state, reading, limits)
    if reading.at - state.last.at > SILENCE_MAX:
        return _next_epoch(state, reading, limits, Verdict.RESUMED)
    return _weigh(replace(state, behind=None), reading, limits)


def close_epoch(state: CounterState, limits: CounterLimits) -> tuple[EnergyInterval, ...]:
    """The open interval as it stands, called partial; nothing if it covers no time and no energy."""
    if state.last.at <= state.edge and state.open_wh == 0:
        return ()
    return (
        EnergyInterval(
            start=state.edge,
            end=state.edge + timedelta(seconds=limits.step_s),
            energy_wh=state.open_wh,
            quality=Quality.PARTIAL,
            epoch=state.epoch,
        ),
    )


def _weigh(state: CounterState, reading: CounterReading, limits: CounterLimits) -> Advance:
    """Judge a reading of the same meter that came after the last one, and not too late."""
    rise_wh = reading.total_wh + state.offset_wh - state.last.total_wh
    rise_wh_max = limits.rise_wh_max(reading.at - state.last.at, state.last.total_wh)
    if rise_wh > rise_wh_max:
        return _quarantine(state, reading, limits, Verdict.SUSPECT_HIGH)
    if rise_wh >= 0:
        return _accept(state, reading, rise_wh, limits, Verdict.OK)
    if limits.rollover_wh is not None and 0 <= rise_wh + limits.rollover_wh <= rise_wh_max:
        state = replace(state, offset_wh=state.offset_wh + limits.rollover_wh)
        return _accept(state, reading, rise_wh + limits.rollover_wh, limits, Verdict.ROLLOVER)
    if -rise_wh <= 2 * limits.coarseness_wh(state.last.total_wh):
        return _accept(state, reading, 0, limits, Verdict.OK)
    # A small step back, or one that takes back what the last reading added: wait until the counter
    # has caught up with the highest total seen, instead of counting the same energy twice.
    if -rise_wh <= max(limits.step_back_wh, state.rise_wh):
        return _accept(state, reading, 0, limits, Verdict.SUSPECT_LOW)
    return _quarantine(state, reading, limits, Verdict.SUSPECT_LOW)


def _begin(reading: CounterReading, epoch: int, limits: CounterLimits) -> CounterState:
    edge = _floor(reading.at, limits.step_s)
    return CounterState(
        epoch=epoch,
        last=reading,
        edge=edge,
        edge_wh=reading.total_wh,
        partial=reading.at > edge,
    )


def _is_other_meter(state: CounterState, reading: CounterReading) -> bool:
    known, now = state.last.identity, reading.identity
    return known is not None and now is not None and known != now


def _accept(
    state: CounterState,
    reading: CounterReading,
    rise_wh: int,
    limits: CounterLimits,
    verdict: Verdict,
) -> Advance:
    accepted = CounterReading(
        at=reading.at,
        total_wh=state.last.total_wh + rise_wh,
        identity=reading.identity or state.last.identity,
    )
    moved, intervals = _spread(state, accepted, limits)
    # While a step back is waited out, the rise it may be taking back must stay known. A rise over
    # a long silence is not such a rise.
    long = (reading.at - state.last.at).total_seconds() > limits.bridge_s
    rise_kept_wh = state.rise_wh if verdict is Verdict.SUSPECT_LOW else 0 if long else rise_wh
    return Advance(
        state=replace(moved, rise_wh=rise_kept_wh, quarantine=None, behind=None),
        verdict=verdict,
        intervals=intervals,
    )


def _spread(
    state: CounterState, reading: CounterReading, limits: CounterLimits
) -> tuple[CounterState, tuple[EnergyInterval, ...]]:
    """Give out the intervals between the last reading and this one."""
    since = state.last
    span = (reading.at - since.at) // _MICROSECOND
    rise_wh = reading.total_wh - since.total_wh
    long = (reading.at - since.at).total_seconds() > limits.bridge_s
    step = timedelta(seconds=limits.step_s)
    edge, edge_wh, partial, estimated = state.edge, state.edge_wh, state.partial, state.estimated
    intervals: list[EnergyInterval] = []
    while edge + step <= reading.at:
        # In whole microseconds and Wh, so that no rounding is ever lost or made up.
        next_wh = since.total_wh + rise_wh * ((edge + step - since.at) // _MICROSECOND) // span
        intervals.append(
            EnergyInterval(
                start=edge,
                end=edge + step,
                energy_wh=next_wh - edge_wh,
                quality=_quality(partial=partial, estimated=estimated or long),
                epoch=state.epoch,
            )
        )
        edge, edge_wh, partial, estimated = edge + step, next_wh, False, False
    moved = replace(
        state,
        last=reading,
        edge=edge,
        edge_wh=edge_wh,
        partial=partial,
        estimated=estimated or (long and reading.at > edge),
    )
    return moved, tuple(intervals)


def _quality(*, partial: bool, estimated: bool) -> Quality:
    if partial:
        return Quality.PARTIAL
    return Quality.ESTIMATED if estimated else Quality.MEASURED


def _quarantine(
    state: CounterState, reading: CounterReading, limits: CounterLimits, verdict: Verdict
) -> Advance:
    held = _joined(state.quarantine, reading, limits)
    if not _is_believed(held, limits):
        return Advance(state=replace(state, quarantine=held), verdict=verdict)
    return _next_epoch(state, held.first, limits, Verdict.RESET, then=held.last)


def _behind(state: CounterState, reading: CounterReading, limits: CounterLimits) -> Advance:
    """A reading from before the last one: a repeat, or the clock was set back."""
    held = _joined(state.behind, reading, limits)
    if held.count < limits.confirm_count or _span_s(held) < limits.confirm_s:
        return Advance(state=replace(state, behind=held), verdict=Verdict.STALE)
    first = replace(held.first, total_wh=held.first.total_wh + state.offset_wh)
    goes_on = (
        0
        <= first.total_wh - state.last.total_wh
        <= limits.rise_wh_max(reading.at - held.first.at, first.total_wh)
    )
    if not goes_on:
        return _next_epoch(state, held.first, limits, Verdict.CLOCK_SET_BACK, then=held.last)
    # Same counter, other clock: the new epoch takes up the total where the old one left it.
    moved = _next_epoch(
        state,
        replace(held.first, total_wh=state.last.total_wh),
        limits,
        Verdict.CLOCK_SET_BACK,
        then=replace(held.last, total_wh=held.last.total_wh + state.offset_wh),
    )
    return replace(moved, state=replace(moved.state, offset_wh=state.offset_wh))


def _joined(held: Quarantine | None, reading: CounterReading, limits: CounterLimits) -> Quarantine:
    if held is not None and reading.at > held.last.at:
        rise_wh = reading.total_wh - held.last.total_wh
        if 0 <= rise_wh <= limits.rise_wh_max(reading.at - held.last.at, held.last.total_wh):
            return replace(held, last=reading, count=held.count + 1)
    return Quarantine(first=reading, last=reading)


def _span_s(held: Quarantine) -> float:
    return (held.last.at - held.first.at).total_seconds()


def _is_believed(held: Quarantine, limits: CounterLimits) -> bool:
    rose = held.last.total_wh > held.first.total_wh
    needed_s = limits.confirm_s if rose else limits.confirm_flat_s
    return held.count >= limits.confirm_count and _span_s(held) >= needed_s


def _next_epoch(
    state: CounterState,
    first: CounterReading,
    limits: CounterLimits,
    verdict: Verdict,
    then: CounterReading | None = None,
) -> Advance:
    """End this life of the counter and begin the next, giving out what each knows."""
    closed = close_epoch(state, limits)
    begun = _begin(first, state.epoch + 1, limits)
    intervals: tuple[EnergyInterval, ...] = ()
    if then is not None and then.at > first.at:
        begun, intervals = _spread(begun, then, limits)
    return Advance(
        state=begun,
        verdict=verdict,
        intervals=closed + intervals,
        old_wh=state.last.total_wh,
        new_wh=first.total_wh,
    )


def _floor(moment: datetime, step_s: int) -> datetime:
    seconds = (moment - _EPOCH_START) // timedelta(seconds=1)
    return _EPOCH_START + timedelta(seconds=seconds - seconds % step_s)
