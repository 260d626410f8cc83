from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.calendar import DAY_KINDS, local_calendar
from tariff_bargainer.profiles.intervals import LoadProfile

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_naive_start_is_refused() -> None:
    with pytest.raises(InvalidProfile, match="naive"):
        LoadProfile(start=datetime(2024, 1, 1), step_s=900, import_wh=np.ones(4))  # noqa: DTZ001


@pytest.mark.parametrize("step_s", [0, -900, 1001])
def test_step_must_divide_a_day(step_s: int) -> None:
    with pytest.raises(InvalidProfile, match="divides a day"):
        LoadProfile(start=START, step_s=step_s, import_wh=np.ones(4))


@pytest.mark.parametrize("bad", [[-1.0], [float("inf")], [1e11], []])
def test_impossible_energy_is_refused(bad: list[float]) -> None:
    with pytest.raises(InvalidProfile):
        LoadProfile(start=START, step_s=900, import_wh=np.array(bad))


def test_energy_of_text_or_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidProfile, match="not numbers"):
        LoadProfile(start=START, step_s=900, import_wh=np.array(["1"]))  # type: ignore[arg-type]
    with pytest.raises(InvalidProfile, match="shape"):
        LoadProfile(start=START, step_s=900, import_wh=np.ones(2), export_wh=np.ones(3))


def test_profile_keeps_its_own_frozen_copy() -> None:
    given_wh = np.ones(3)
    profile = LoadProfile(start=START, step_s=900, import_wh=given_wh)
    given_wh[0] = 7
    assert profile.import_wh[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        profile.import_wh[0] = 7


def test_missing_is_not_zero() -> None:
    profile = LoadProfile(start=START, step_s=900, import_wh=np.array([1.0, np.nan, 0.0]))
    assert profile.missing_mask.tolist() == [False, True, False]
    masked = LoadProfile(
        start=START, step_s=900, import_wh=np.array([1, 2]), missing=np.array([True, False])
    )
    assert np.isnan(masked.to_frame()["import_wh"].iloc[0])


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=50), st.sampled_from([60, 900, 3600]))
def test_frame_and_profile_are_one(values: list[int], step_s: int) -> None:
    profile = LoadProfile(start=START, step_s=step_s, import_wh=np.array(values))
    again = LoadProfile.from_frame(profile.to_frame())
    assert again.start == profile.start
    assert again.step_s == step_s
    assert again.import_wh.tolist() == values


def test_frames_must_be_aware_and_regular() -> None:
    frame = pd.DataFrame({"import_wh": [1, 2, 3]})
    frame.index = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04"])
    with pytest.raises(InvalidProfile, match="zone"):
        LoadProfile.from_frame(frame)
    with pytest.raises(InvalidProfile, match="skips intervals after 2024-01-02"):
        LoadProfile.from_frame(frame.tz_localize("UTC"))


def test_days_of_23_and_25_hours_and_a_leap_day() -> None:
    calendar = local_calendar(
        datetime(2023, 12, 31, 23, tzinfo=UTC), 3600, 366 * 24, "Europe/Berlin"
    )
    hours = np.bincount(calendar.day_index)
    lengths = dict(zip(calendar.days, hours, strict=True))
    assert lengths[date(2024, 3, 31)] == 23
    assert lengths[date(2024, 10, 27)] == 25
    assert lengths[date(2024, 2, 29)] == 24
    assert hours.sum() == 366 * 24
    assert calendar.months == tuple((2024, month) for month in range(1, 13))


def test_holidays_are_a_kind_of_their_own() -> None:
    calendar = local_calendar(START, 3600, 72, "UTC", [date(2024, 1, 2)])
    assert [DAY_KINDS[kind] for kind in calendar.day_kind] == ["mon", "holiday", "wed"]
    assert calendar.day_type[[0, 24, 48]].tolist() == [0, 2, 0]


def test_unknown_zone_is_named() -> None:
    with pytest.raises(InvalidProfile, match="'Mars/Olympus'"):
        local_calendar(START, 3600, 1, "Mars/Olympus")


@pytest.mark.parametrize("name", ["UTC-07:00", "-0700", "GMT-7", "Etc/GMT+7"])
def test_fixed_offsets_have_several_spellings(name: str) -> None:
    calendar = local_calendar(START, 3600, 2, name)
    assert calendar.days[0] == date(2023, 12, 31)
    assert calendar.hour.tolist() == [17, 18]


@pytest.mark.parametrize("name", ["UTC-99:00", "UTC+01:75", ""])
def test_impossible_offsets_are_refused(name: str) -> None:
    with pytest.raises(InvalidProfile):
        local_calendar(START, 3600, 2, name)


def test_a_profile_shows_itself_in_words_not_in_arrays() -> None:
    profile = LoadProfile(
        start=START,
        step_s=900,
        import_wh=np.array([500.0, np.nan, 1500.0]),
        export_wh=np.array([0.0, 0.0, 250.0]),
    )
    shown = profile._repr_html_()
    assert "3 intervals of 15 min" in shown
    assert "2.0 kWh imported, 0.2 kWh exported, 1 missing" in shown
