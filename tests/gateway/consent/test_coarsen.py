"""Coarsening keeps energy to the Wh, and withholds what is not whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent.coarsen import add_reading, cut_at_periods, period_of
from gateway.wire.reading import Quality, Quantity, Reading, Resolution

VIENNA = ZoneInfo("Europe/Vienna")
MINUTE = timedelta(minutes=1)


def reading(start: datetime, energy_wh: int, *, length: timedelta = MINUTE, **more) -> Reading:
    return Reading(
        meter="grid",
        quantity=Quantity.IMPORT_WH,
        start=start,
        end=start + length,
        energy_wh=energy_wh,
        **more,
    )


def run(readings, resolution: Resolution, zone: ZoneInfo = VIENNA):
    period, closed, withheld = None, [], []
    for each in readings:
        added = add_reading(period, each, resolution, zone)
        period = added.open_period
        closed += added.closed
        withheld += added.withheld
    return period, closed, withheld


@pytest.mark.parametrize(
    ("day", "hours"),
    [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)],
)
def test_a_local_day_has_as_many_hours_as_the_clock_gives_it(day: str, hours: int) -> None:
    noon = datetime.fromisoformat(f"{day}T10:00:00+00:00")
    start, end = period_of(noon, Resolution.DAY, VIENNA)
    assert (end - start) == timedelta(hours=hours)
    assert start.astimezone(VIENNA).isoformat()[:16] == f"{day}T00:00"


def test_a_month_begins_and_ends_at_local_midnight() -> None:
    start, end = period_of(datetime(2026, 3, 31, 22, 30, tzinfo=UTC), Resolution.MONTH, VIENNA)
    assert (start.month, start.day, start.hour) == (3, 31, 22)
    assert end == datetime(2026, 4, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize("resolution", list(Resolution))
@given(
    moment=st.integers(1_577_836_800, 2_051_222_400).map(
        lambda s: datetime.fromtimestamp(s, tz=UTC)
    ),
    zone=st.sampled_from(
        ["Europe/Vienna", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "UTC"]
    ),
)
def test_periods_hold_their_moment_and_meet_their_neighbours(
    resolution: Resolution, moment: datetime, zone: str
) -> None:
    start, end = period_of(moment, resolution, ZoneInfo(zone))
    assert start <= moment < end
    assert period_of(end, resolution, ZoneInfo(zone))[0] == end
    assert period_of(end - timedelta(microseconds=1), resolution, ZoneInfo(zone))[0] == start


@given(
    energies=st.lists(st.none() | st.integers(0, 5_000), min_size=1, max_size=200),
    offset=st.integers(0, 90),
    resolution=st.sampled_from([Resolution.MINUTE, Resolution.QUARTER_HOUR, Resolution.HOUR]),
)
def test_energy_in_is_energy_closed_withheld_or_still_open(
    energies: list[int | None], offset: int, resolution: Resolution
) -> None:
    begin = datetime(2026, 10, 25, 0, 0, tzinfo=UTC) + offset * MINUTE
    readings = [
        reading(begin + place * MINUTE, energy_wh)
        for place, energy_wh in enumerate(energies)
        if energy_wh is not None
    ]
    period, closed, withheld = run(readings, resolution)
    still_open = 0 if period is None else period.energy_wh
    total = sum(each.energy_wh for each in readings)
    assert total == still_open + sum(each.energy_wh for each in (*closed, *withheld))
    for each in closed:
        inside = [r for r in readings if each.start <= r.start < each.end]
        assert sum((r.end - r.start for r in inside), timedelta()) == each.end - each.start
        assert each.energy_wh == sum(r.energy_wh for r in inside)


def test_a_period_with_a_hole_is_withheld_and_not_filled_with_zeros() -> None:
    begin = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    minutes = [place for place in range(30) if place != 7]
    period, closed, withheld = run(
        [reading(begin + place * MINUTE, 10) for place in minutes], Resolution.QUARTER_HOUR
    )
    assert [each.energy_wh for each in closed] == [150]
    assert [each.energy_wh for each in withheld] == [140]
    assert [each.readings for each in [*closed, *withheld]] == [15, 14]
    assert period is None


@pytest.mark.parametrize("quality", [Quality.GAP, Quality.PARTIAL])
def test_a_reading_that_is_not_whole_spoils_its_period(quality: Quality) -> None:
    begin = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    readings = [
        reading(begin + place * MINUTE, 0, quality=quality if place == 3 else Quality.MEASURED)
        for place in range(15)
    ]
    _, closed, withheld = run(readings, Resolution.QUARTER_HOUR)
    assert (len(closed), len(withheld)) == (0, 1)


def test_an_estimate_inside_makes_the_whole_an_estimate() -> None:
    begin = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    readings = [
        reading(
            begin + place * MINUTE, 1, quality=Quality.ESTIMATED if place == 3 else Quality.MEASURED
        )
        for place in range(15)
    ]
    _, (closed,), _ = run(readings, Resolution.QUARTER_HOUR)
    assert closed.quality is Quality.ESTIMATED


@given(
    energy_wh=st.integers(0, 100_000),
    minutes=st.integers(1, 3_000),
    offset=st.integers(0, 1_440),
    resolution=st.sampled_from(list(Resolution)),
)
def test_pieces_of_a_long_reading_add_up_and_stay_within_periods(
    energy_wh: int, minutes: int, offset: int, resolution: Resolution
) -> None:
    long = reading(
        datetime(2026, 3, 28, tzinfo=UTC) + offset * MINUTE, energy_wh, length=minutes * MINUTE
    )
    pieces = list(cut_at_periods(long, resolution, VIENNA))
    assert sum(piece.energy_wh for piece in pieces) == energy_wh
    assert (pieces[0].start, pieces[-1].end) == (long.start, long.end)
    for piece, following in pairwise(pieces):
        assert piece.end == following.start
    for piece in pieces:
        assert piece.end <= period_of(piece.start, resolution, VIENNA)[1]


def test_a_reading_that_was_added_already_is_refused() -> None:
    begin = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    first = add_reading(None, reading(begin, 5), Resolution.HOUR, VIENNA)
    with pytest.raises(ValueError, match="already added"):
        add_reading(first.open_period, reading(begin, 5), Resolution.HOUR, VIENNA)


def test_a_reading_from_before_the_open_hour_is_refused() -> None:
    begin = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    first = add_reading(None, reading(begin, 5), Resolution.HOUR, VIENNA)
    with pytest.raises(ValueError, match="before the open period"):
        add_reading(first.open_period, reading(begin - MINUTE, 5), Resolution.HOUR, VIENNA)


def test_a_reading_over_two_hours_has_to_be_cut_first() -> None:
    begin = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    with pytest.raises(ValueError, match="spans two periods"):
        add_reading(None, reading(begin, 5, length=60 * MINUTE), Resolution.HOUR, VIENNA)


@pytest.mark.parametrize(
    ("zone", "moment", "begins"),
    [
        ("Asia/Kolkata", "2026-11-22T12:10:00+00:00", "2026-11-22T11:30:00+00:00"),
        ("Asia/Kathmandu", "2026-11-22T12:10:00+00:00", "2026-11-22T11:15:00+00:00"),
        ("Europe/London", "2026-11-22T12:10:00+00:00", "2026-11-22T12:00:00+00:00"),
    ],
)
def test_an_hour_is_an_hour_of_the_household_s_clock(zone: str, moment: str, begins: str) -> None:
    start, end = period_of(datetime.fromisoformat(moment), Resolution.HOUR, ZoneInfo(zone))
    assert start == datetime.fromisoformat(begins)
    assert start.astimezone(ZoneInfo(zone)).minute == 0
    assert end - start == timedelta(hours=1)


@pytest.mark.parametrize("day", ["2026-04-05", "2026-10-04"])
def test_half_an_hour_that_a_clock_change_leaves_over_belongs_to_the_hour_before(day: str) -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=zone).astimezone(UTC)
    last = period_of(start, Resolution.DAY, zone)[1]
    lengths = []
    while start < last:
        begun, end = period_of(start, Resolution.HOUR, zone)
        assert begun == start
        for inside in (begun + timedelta(minutes=31), end - timedelta(microseconds=1)):
            assert period_of(inside, Resolution.HOUR, zone) == (begun, end)
        assert end.astimezone(zone).minute == 0
        lengths.append((end - begun).total_seconds())
        start = end
    assert sorted(lengths) == [3600.0] * (len(lengths) - 1) + [5400.0]
