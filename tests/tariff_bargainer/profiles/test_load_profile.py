"""The group's profile: sums, counts, the largest home, and the local calendar."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.profiles.load_profile import (
    frame_to_array,
    group_profile,
    group_profile_from_frame,
    load_metrics,
    stack_profiles,
    typical_day_profile,
    typical_day_profile_from_frame,
)

START = datetime(2025, 3, 1, tzinfo=UTC)

energies = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 6), st.integers(1, 200)),
    elements=st.integers(0, 10_000),
)


@given(energies)
def test_no_watt_hour_is_lost_or_made_in_either_form(import_wh):
    group = group_profile(import_wh, start=START, step_s=3600)
    typical = typical_day_profile(import_wh, start=START, step_s=3600, timezone="Europe/Vienna")
    assert group.energy_wh.sum() == import_wh.sum() == typical.energy_wh.sum()
    assert typical.hours.sum() == import_wh.shape[1]
    assert typical.home_hours.sum() == import_wh.size


@given(energies, st.integers(0, 2**32 - 1))
def test_gaps_leave_the_sum_and_the_count_but_never_become_zero(import_wh, seed):
    rng = np.random.default_rng(seed)
    gaps = rng.random(import_wh.shape) < 0.3
    with_gaps = np.where(gaps, np.nan, import_wh)
    group = group_profile(with_gaps, start=START, step_s=900)
    assert (group.homes == (~gaps).sum(axis=0)).all()
    assert group.energy_wh.sum() == import_wh[~gaps].sum()
    typical = typical_day_profile(with_gaps, start=START, step_s=900, timezone="UTC")
    assert typical.home_hours.sum() == pytest.approx((~gaps).sum() / 4)


def test_the_largest_home_of_a_cell_is_found_over_all_its_days():
    # Home 0 leads on one day, home 1 on the other; over the cell they are equal.
    import_wh = np.zeros((2, 48), dtype=np.int64)
    import_wh[0, 12], import_wh[1, 12] = 300, 100
    import_wh[0, 36], import_wh[1, 36] = 100, 300
    monday = datetime(2025, 3, 3, tzinfo=UTC)
    typical = typical_day_profile(import_wh, start=monday, step_s=3600, timezone="UTC")
    assert typical.top_share[2, 0, 12] == 0.5
    group = group_profile(import_wh, start=monday, step_s=3600)
    assert group.top_share[12] == 0.75


def test_a_zero_sum_counts_as_disclosing_every_home():
    group = group_profile(np.zeros((5, 2)), start=START, step_s=3600)
    assert (group.top_share == 1.0).all()


def test_many_homes_are_reduced_in_blocks_with_the_same_result():
    rng = np.random.default_rng(3)
    import_wh = rng.integers(0, 2000, size=(600, 24 * 9))
    typical = typical_day_profile(import_wh, start=START, step_s=3600, timezone="UTC")
    frame = pd.DataFrame(
        import_wh.T, index=pd.date_range(START, periods=24 * 9, freq="h"), columns=range(600)
    )
    by_cell = frame.groupby(
        [frame.index.month, frame.index.day_of_week >= 5, frame.index.hour]
    ).sum()
    assert typical.energy_wh[2, 0, 7] == by_cell.loc[(3, False, 7)].sum()
    assert typical.top_share[2, 1, 20] == pytest.approx(
        by_cell.loc[(3, True, 20)].max() / by_cell.loc[(3, True, 20)].sum()
    )


def test_the_spring_day_skips_an_hour_and_the_autumn_day_repeats_one():
    year = np.ones((1, 8760), dtype=np.int64)
    start = datetime(2024, 12, 31, 23, tzinfo=UTC)  # New Year in Vienna.
    typical = typical_day_profile(year, start=start, step_s=3600, timezone="Europe/Vienna")
    march, october = typical.hours[2, 1], typical.hours[9, 1]
    assert march[2] == march[1] - 1  # 30 March 2025, a Sunday, had no 02:00.
    assert october[2] == october[1] + 1  # 26 October 2025 had 02:00 twice.
    assert typical.hours.sum() == 8760


def test_a_holiday_counts_as_weekend():
    import_wh = np.full((1, 24), 100)
    monday = datetime(2025, 4, 21, tzinfo=UTC)
    typical = typical_day_profile(
        import_wh, start=monday, step_s=3600, timezone="UTC", holidays=[date(2025, 4, 21)]
    )
    assert typical.energy_wh[3, 1].sum() == 2400
    assert typical.energy_wh[3, 0].sum() == 0


def test_frames_go_in_and_come_out():
    index = pd.date_range("2025-01-01", periods=96, freq="15min", tz="Europe/Vienna")
    frame = pd.DataFrame({"a": np.arange(96), "b": 5}, index=index)
    group = group_profile_from_frame(frame)
    back = group.to_frame()
    assert str(back.index.tz) == "UTC"
    assert back["energy_wh"].tolist() == (np.arange(96) + 5).tolist()
    typical = typical_day_profile_from_frame(frame, timezone="Europe/Vienna").to_frame()
    assert len(typical) == 576
    assert typical.loc[(1, "weekday", 0), "energy_wh"] == 0 + 1 + 2 + 3 + 20
    assert "homes" in group._repr_html_()


def test_a_naive_or_broken_index_is_refused():
    naive = pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2025-01-01", periods=2, freq="h"))
    with pytest.raises(InvalidProfile, match="aware"):
        frame_to_array(naive)
    holed = pd.DataFrame(
        {"a": [1, 2, 3]},
        index=pd.DatetimeIndex(["2025-01-01T00Z", "2025-01-01T01Z", "2025-01-01T03Z"]),
    )
    with pytest.raises(InvalidProfile, match="skips intervals after 2025-01-01T01"):
        frame_to_array(holed)


def test_a_frame_that_is_not_of_numbers_names_its_column():
    index = pd.date_range("2025-01-01", periods=2, freq="h", tz="UTC")
    with pytest.raises(InvalidProfile, match="column 'b'"):
        frame_to_array(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}, index=index))
    with pytest.raises(InvalidProfile, match="no DataFrame"):
        group_profile_from_frame(pd.Series([1, 2], index=index))


def test_homes_of_different_centuries_are_not_laid_side_by_side():
    homes = [
        LoadProfile(start=datetime(year, 1, 1, tzinfo=UTC), step_s=1, import_wh=np.ones(2))
        for year in (1970, 2025)
    ]
    with pytest.raises(InvalidProfile, match="wrong year"):
        stack_profiles(homes)


@pytest.mark.parametrize(
    ("energy", "says"),
    [
        ([1.0, 2.0], "shape"),
        ([[1.0, -2.0]], "negative"),
        ([[np.inf]], "infinite"),
        ([[1e300]], "too large"),
    ],
)
def test_wrong_arrays_are_refused_with_the_place(energy, says):
    with pytest.raises(InvalidProfile, match=says):
        group_profile(energy, start=START, step_s=3600)


def test_metrics_of_two_homes_that_never_peak_together():
    import_wh = np.array([[1000, 0, 0, 0], [0, 1000, 0, 0]])
    metrics = load_metrics(group_profile(import_wh, start=START, step_s=900))
    assert metrics.peak_w == 4000
    assert metrics.coincidence == 0.5
    assert metrics.load_factor == 0.5
    assert metrics.peak_start == START


def test_homes_with_different_spans_are_stacked_with_gaps():
    early = LoadProfile(start=START, step_s=3600, import_wh=np.array([1, 2, 3]))
    late = LoadProfile(start=START + timedelta(hours=2), step_s=3600, import_wh=np.array([7, 8]))
    stacked, start, step_s = stack_profiles([late, early])
    assert (start, step_s) == (START, 3600)
    np.testing.assert_array_equal(stacked, [[np.nan, np.nan, 7, 8], [1, 2, 3, np.nan]])
    with pytest.raises(InvalidProfile, match="one step first"):
        stack_profiles([early, LoadProfile(start=START, step_s=900, import_wh=np.array([1]))])
