"""Counters: what rises becomes energy, exactly; what jumps never does."""

import itertools
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decode.counters import (
    SILENCE_MAX,
    Advance,
    CounterLimits,
    CounterReading,
    CounterState,
    EnergyInterval,
    Verdict,
    advance,
    close_epoch,
)
from gateway.wire.reading import Quality

NOON = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
LIMITS = CounterLimits(power_w_max=43_470.0, resolution_wh=1.0)


def reading(seconds: float, total_wh: int, identity: str | None = None) -> CounterReading:
    return CounterReading(
        at=NOON + timedelta(seconds=seconds), total_wh=total_wh, identity=identity
    )


class Meter:
    """Feeds readings and remembers what came out."""

    def __init__(self, limits: CounterLimits = LIMITS) -> None:
        self.limits = limits
        self.state: CounterState | None = None
        self.intervals: list[EnergyInterval] = []
        self.verdicts: list[Verdict] = []
        self.last: Advance | None = None

    def read(self, seconds: float, total_wh: int, identity: str | None = None) -> Verdict:
        self.last = advance(self.state, reading(seconds, total_wh, identity), self.limits)
        self.state = self.last.state
        self.intervals += self.last.intervals
        self.verdicts.append(self.last.verdict)
        return self.last.verdict

    @property
    def energy_wh(self) -> int:
        return sum(interval.energy_wh for interval in self.intervals)

    @property
    def open_wh(self) -> int:
        assert self.state is not None
        return self.state.open_wh


def test_the_first_reading_is_no_energy() -> None:
    meter = Meter()
    assert meter.read(0, 53_700_000) is Verdict.FIRST
    assert meter.intervals == []
    assert meter.open_wh == 0


def test_energy_between_readings_is_spread_evenly_over_minutes() -> None:
    meter = Meter()
    meter.read(0, 1000)
    assert meter.read(120, 1100) is Verdict.OK
    assert [interval.energy_wh for interval in meter.intervals] == [50, 50]
    assert meter.intervals[0].start == NOON
    assert meter.intervals[0].end == meter.intervals[1].start == NOON + timedelta(seconds=60)
    assert {interval.quality for interval in meter.intervals} == {Quality.MEASURED}


def test_parts_of_a_watt_hour_are_carried_into_the_next_interval() -> None:
    meter = Meter()
    meter.read(0, 0)
    for minute in range(1, 31):
        meter.read(60 * minute, minute // 3)
    assert meter.energy_wh == 10
    meter = Meter(CounterLimits(power_w_max=43_470, resolution_wh=1.0, bridge_s=600))
    meter.read(0, 0)
    meter.read(180, 10)
    assert [interval.energy_wh for interval in meter.intervals] == [3, 3, 4]


def test_an_interval_that_began_before_the_first_reading_is_partial() -> None:
    meter = Meter()
    meter.read(20, 1000)
    meter.read(80, 1060)
    meter.read(140, 1120)
    assert [interval.quality for interval in meter.intervals] == [
        Quality.PARTIAL,
        Quality.MEASURED,
    ]
    assert [interval.energy_wh for interval in meter.intervals] == [40, 60]


def test_a_silence_is_bridged_by_the_counter_and_called_an_estimate() -> None:
    meter = Meter()
    meter.read(0, 1000)
    meter.read(60, 1010)
    meter.read(3660, 1610)
    meter.read(3720, 1620)
    qualities = [interval.quality for interval in meter.intervals]
    assert qualities == [Quality.MEASURED] + [Quality.ESTIMATED] * 60 + [Quality.MEASURED]
    assert meter.energy_wh == 620


@pytest.mark.parametrize("glitch_wh", [0, 1, 900_000])
def test_a_momentary_low_reading_never_becomes_energy(glitch_wh: int) -> None:
    meter = Meter()
    meter.read(0, 53_700_000)
    meter.read(10, 53_700_005)
    assert meter.read(20, glitch_wh) is Verdict.SUSPECT_LOW
    assert meter.read(30, 53_700_015) is Verdict.OK
    assert meter.read(60, 53_700_030) is Verdict.OK
    assert meter.energy_wh == 30
    assert {interval.epoch for interval in meter.intervals} == {0}


@pytest.mark.parametrize("spike_wh", [53_701_000, 99_999_999, 10**11])
def test_a_spike_never_becomes_energy(spike_wh: int) -> None:
    meter = Meter()
    meter.read(0, 53_700_000)
    meter.read(10, 53_700_005)
    assert meter.read(20, spike_wh) is Verdict.SUSPECT_HIGH
    assert meter.read(30, 53_700_015) is Verdict.OK
    assert meter.read(60, 53_700_030) is Verdict.OK
    assert meter.energy_wh == 30


def test_a_zero_before_the_true_total_never_books_the_whole_total() -> None:
    meter = Meter()
    meter.read(0, 0)
    for tick in range(1, 30):
        meter.read(10 * tick, 53_700_000 + 5 * tick)
    assert Verdict.RESET in meter.verdicts
    assert meter.energy_wh + meter.open_wh < 200


def test_a_spike_small_enough_to_be_believed_is_not_counted_twice() -> None:
    meter = Meter()
    meter.read(0, 1000)
    meter.read(60, 1010)
    assert meter.read(120, 1700) is Verdict.OK
    for minute in range(3, 100):
        meter.read(60 * minute, 1010 + 10 * (minute - 1))
    assert meter.energy_wh == 1010 + 10 * 98 - 1000
    assert meter.state is not None
    assert meter.state.epoch == 0


def test_one_step_back_of_a_coarse_counter_is_not_a_reset() -> None:
    meter = Meter(CounterLimits(power_w_max=43_470, resolution_wh=100.0))
    meter.read(0, 500_000)
    meter.read(60, 500_100)
    assert meter.read(120, 500_000) is Verdict.OK
    meter.read(180, 500_100)
    meter.read(240, 500_200)
    assert meter.energy_wh == 200
    assert meter.verdicts.count(Verdict.RESET) == 0


def test_a_reset_is_believed_after_three_rising_readings_and_opens_an_epoch() -> None:
    meter = Meter()
    meter.read(0, 8_000_000)
    meter.read(60, 8_000_010)
    assert meter.read(120, 4) is Verdict.SUSPECT_LOW
    assert meter.read(180, 14) is Verdict.SUSPECT_LOW
    assert meter.read(240, 24) is Verdict.RESET
    meter.read(300, 34)
    assert meter.energy_wh == 10 + 30
    assert [interval.epoch for interval in meter.intervals] == [0, 1, 1, 1]
    assert meter.state is not None
    assert meter.state.epoch == 1


def test_a_reset_tells_both_edge_totals() -> None:
    meter = Meter()
    meter.read(0, 8_000_000)
    for tick in range(1, 4):
        meter.read(60 * tick, 4 + tick)
    assert meter.last is not None
    assert meter.last.verdict is Verdict.RESET
    assert (meter.last.old_wh, meter.last.new_wh) == (8_000_000, 5)


def test_a_lasting_zero_that_does_not_rise_needs_longer_to_be_believed() -> None:
    meter = Meter()
    meter.read(0, 8_000_000)
    for tick in range(1, 90):
        assert meter.read(10 * tick, 0) is Verdict.SUSPECT_LOW
    meter.read(1000, 0)
    assert Verdict.RESET in meter.verdicts
    assert meter.energy_wh == 0


def test_a_new_serial_number_is_another_meter_at_once() -> None:
    meter = Meter()
    meter.read(0, 8_000_000, "A1")
    meter.read(60, 8_000_010, "A1")
    assert meter.read(90, 20, "B2") is Verdict.SWAPPED
    meter.read(150, 30, "B2")
    assert meter.energy_wh + meter.open_wh == 20


def test_a_rollover_goes_on_counting_only_when_its_modulus_is_known() -> None:
    limits = CounterLimits(power_w_max=43_470, resolution_wh=1.0, rollover_wh=1_000_000)
    meter = Meter(limits)
    meter.read(0, 999_990)
    assert meter.read(60, 5) is Verdict.ROLLOVER
    assert meter.read(120, 15) is Verdict.OK
    assert meter.energy_wh == 25
    unknown = Meter()
    unknown.read(0, 999_990)
    assert unknown.read(60, 5) is Verdict.SUSPECT_LOW


def test_a_repeated_reading_is_stale_and_changes_nothing() -> None:
    meter = Meter()
    meter.read(0, 1000)
    meter.read(60, 1010)
    for _ in range(10):
        assert meter.read(60, 1010) is Verdict.STALE
    meter.read(120, 1020)
    assert meter.energy_wh == 20


def test_a_clock_set_back_opens_an_epoch_and_loses_no_energy() -> None:
    meter = Meter()
    for minute in range(60, 71):
        meter.read(60 * minute, 1000 + 10 * minute)
    for minute in range(11, 21):
        meter.read(60 * minute, 1600 + 10 * minute)
    assert Verdict.CLOCK_SET_BACK in meter.verdicts
    assert meter.energy_wh + meter.open_wh == 200
    starts = [(interval.epoch, interval.start) for interval in meter.intervals]
    assert len(starts) == len(set(starts))


def test_a_month_of_silence_is_not_spread_over_time() -> None:
    meter = Meter()
    meter.read(0, 1000)
    late_s = SILENCE_MAX.total_seconds() + 60
    assert meter.read(late_s, 900_000) is Verdict.RESUMED
    assert meter.energy_wh == 0


def test_a_float32_counter_may_step_back_by_its_own_coarseness() -> None:
    limits = CounterLimits(
        power_w_max=43_470, resolution_wh=1.0, float32_unit_wh=1000.0, step_back_wh=0
    )
    assert limits.coarseness_wh(70_000_000) == pytest.approx(7.8, abs=0.1)
    meter = Meter(limits)
    meter.read(0, 70_000_008)
    assert meter.read(60, 70_000_000) is Verdict.OK
    assert meter.read(120, 70_000_016) is Verdict.OK
    assert meter.energy_wh == 8


def test_state_survives_being_written_down() -> None:
    meter = Meter()
    meter.read(5, 1000, "A1")
    meter.read(65, 1010, "A1")
    meter.read(75, 0, "A1")
    kept = msgspec.json.decode(msgspec.json.encode(meter.state), type=CounterState)
    assert kept == meter.state
    result = advance(kept, reading(3600, 1600, "A1"), LIMITS)
    assert (
        sum(interval.energy_wh for interval in result.intervals) + result.state.open_wh + 9 == 600
    )


@pytest.mark.parametrize(("rise_wh", "verdict"), [(3602, "ok"), (3603, "suspect_high")])
def test_the_most_that_is_believed_is_the_fuse_for_the_time_and_two_steps(
    rise_wh: int, verdict: str
) -> None:
    limits = CounterLimits(power_w_max=3600, margin=1, update_lag_s=0, resolution_wh=1)
    meter = Meter(limits)
    meter.read(0, 0)
    assert meter.read(3600, rise_wh) == verdict


@pytest.mark.parametrize("last_s", [3620, 3640])
def test_the_minute_in_which_a_silence_ends_is_an_estimate_however_often_it_is_read(
    last_s: int,
) -> None:
    meter = Meter()
    meter.read(0, 1000)
    meter.read(3620, 1600)
    meter.read(last_s, 1600 if last_s == 3620 else 1605)
    meter.read(3680, 1610)
    meter.read(3720, 1620)
    assert [interval.quality for interval in meter.intervals[-2:]] == [
        Quality.ESTIMATED,
        Quality.MEASURED,
    ]


@pytest.mark.parametrize(("total_wh", "is_held"), [(99_800, False), (99_799, True)])
def test_a_step_back_of_up_to_200_wh_is_waited_out_and_a_larger_one_is_weighed(
    total_wh: int, is_held: bool
) -> None:
    meter = Meter()
    meter.read(0, 100_000)
    assert meter.read(10, total_wh) is Verdict.SUSPECT_LOW
    assert meter.state is not None
    assert (meter.state.quarantine is not None) == is_held


def test_a_repeated_reading_confirms_nothing() -> None:
    meter = Meter()
    meter.read(0, 100_000)
    for seconds in (10, 10, 30):
        meter.read(seconds, seconds)
    assert meter.verdicts[1:] == [Verdict.SUSPECT_LOW] * 3
    assert meter.read(50, 50) is Verdict.RESET


def test_two_readings_may_be_enough_to_confirm() -> None:
    meter = Meter(CounterLimits(power_w_max=43_470, resolution_wh=1, confirm_count=2))
    meter.read(0, 100_000)
    assert meter.read(10, 10) is Verdict.SUSPECT_LOW
    assert meter.read(30, 30) is Verdict.RESET


@pytest.mark.parametrize("limits", [{"power_w_max": 0}, {"step_s": 0}, {"step_s": 7}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="power_w_max must be positive and step_s"):
        CounterLimits(**{"power_w_max": 1, **limits})


def test_one_reading_never_confirms_and_a_time_has_a_zone() -> None:
    with pytest.raises(ValueError, match="confirm_count"):
        CounterLimits(power_w_max=1, confirm_count=1)
    with pytest.raises(ValueError, match="UTC"):
        advance(None, CounterReading(at=datetime(2026, 1, 1), total_wh=1), LIMITS)  # noqa: DTZ001 - naive on purpose


rises = st.lists(
    st.tuples(
        st.integers(min_value=1, max_value=3_000_000_000),
        st.floats(min_value=0, max_value=1, allow_nan=False),
    ),
    min_size=1,
    max_size=40,
)


@given(start_us=st.integers(0, 86_400_000_000), rises=rises, step_s=st.sampled_from([1, 60, 900]))
def test_energy_in_is_energy_out(
    start_us: int, rises: list[tuple[int, float]], step_s: int
) -> None:
    limits = CounterLimits(power_w_max=43_470, resolution_wh=1.0, step_s=step_s)
    at = NOON + timedelta(microseconds=start_us)
    total_wh = first_wh = 8_000_000
    state = advance(None, CounterReading(at=at, total_wh=total_wh), limits).state
    intervals: list[EnergyInterval] = []
    for wait_us, load in rises:
        at += timedelta(microseconds=wait_us)
        total_wh += int(43_470 * load * wait_us / 3_600_000_000)
        step = advance(state, CounterReading(at=at, total_wh=total_wh), limits)
        assert step.verdict is Verdict.OK
        state = step.state
        intervals += step.intervals
    assert sum(i.energy_wh for i in intervals) + state.open_wh == total_wh - first_wh
    assert sum(i.energy_wh for i in (*intervals, *close_epoch(state, limits))) == (
        total_wh - first_wh
    )
    assert all(i.energy_wh >= 0 for i in intervals)
    assert all(a.end == b.start for a, b in itertools.pairwise(intervals))


@given(
    readings=st.lists(
        st.tuples(st.integers(-120, 7200), st.integers(0, 10**10)), min_size=1, max_size=60
    )
)
def test_no_sequence_of_readings_makes_more_energy_than_the_fuse_lets_through(
    readings: list[tuple[int, int]],
) -> None:
    state: CounterState | None = None
    intervals: list[EnergyInterval] = []
    at_s = elapsed_s = 0
    for wait_s, total_wh in readings:
        at_s += wait_s
        elapsed_s += abs(wait_s)
        step = advance(state, reading(at_s, total_wh), LIMITS)
        state = step.state
        intervals += step.intervals
    assert state is not None
    energy_wh = sum(interval.energy_wh for interval in intervals) + state.open_wh
    allowed_wh = 43_470 * 1.25 * (elapsed_s + 10 * len(readings)) / 3600 + 4 * len(readings)
    assert 0 <= energy_wh <= allowed_wh
    keys = [(interval.epoch, interval.start) for interval in intervals]
    assert len(keys) == len(set(keys))
    assert all(interval.energy_wh >= 0 for interval in intervals)
