"""Cleaning: short gaps become marked estimates, everything measured stays as it is."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.cleaning import fill_short_gaps
from tariff_bargainer.profiles.intervals import LoadProfile

START = datetime(2025, 1, 1, tzinfo=UTC)


def profile(energy: np.ndarray) -> LoadProfile:
    return LoadProfile(start=START, step_s=3600, import_wh=energy)


@given(st.integers(0, 10_000), st.floats(0, 0.5))
def test_measured_intervals_stay_and_estimates_are_counted(seed, missing_share):
    rng = np.random.default_rng(seed)
    energy = rng.integers(0, 3000, size=24 * 28).astype(float)
    energy[rng.random(energy.size) < missing_share] = np.nan
    measured = ~np.isnan(energy)
    cleaned = fill_short_gaps(profile(energy))
    after = cleaned.profile.import_wh
    np.testing.assert_array_equal(after[measured], energy[measured])
    assert not (cleaned.estimated & measured).any()
    assert cleaned.estimated_wh == pytest.approx(np.nansum(after) - np.nansum(energy))
    assert cleaned.estimated.sum() + cleaned.left_missing == (~measured).sum()


def test_a_gap_takes_the_same_weekday_and_time():
    week = np.arange(168, dtype=float)
    energy = np.tile(week, 6)
    energy[400:404] = np.nan
    cleaned = fill_short_gaps(profile(energy))
    np.testing.assert_array_equal(cleaned.profile.import_wh, np.tile(week, 6))
    assert cleaned.estimated.sum() == 4


def test_a_long_gap_stays_a_gap():
    energy = np.ones(24 * 28)
    energy[100:107] = np.nan
    cleaned = fill_short_gaps(profile(energy), gap_h_max=6)
    assert cleaned.left_missing == 7
    assert not cleaned.estimated.any()


@given(st.floats(0, 1e6))
def test_the_counters_energy_is_kept_exactly(energy_wh):
    energy = np.tile(np.arange(168, dtype=float), 6)
    energy[400:404] = np.nan
    cleaned = fill_short_gaps(profile(energy), gap_energy_wh={400: energy_wh})
    assert cleaned.estimated_wh == pytest.approx(energy_wh)


def test_energy_for_a_gap_that_is_not_there_is_refused():
    with pytest.raises(InvalidProfile, match="interval 5"):
        fill_short_gaps(profile(np.ones(50)), gap_energy_wh={5: 100.0})
