"""Forecasts: quantiles in order, honest intervals, and skill over the best plain forecast."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.forecast import (
    forecast_day_ahead,
    forecast_season,
    pinball,
    score_forecast,
)
from tariff_bargainer.profiles.intervals import LoadProfile

START = datetime(2023, 1, 1, tzinfo=UTC)


def weather_pool(days: int, seed: int = 3) -> tuple[LoadProfile, np.ndarray]:
    """A pool that follows season, weekday and a slow weather, with noise: known to be forecast."""
    rng = np.random.default_rng(seed)
    hours = days * 24
    hour, day = np.arange(hours) % 24, np.arange(hours) // 24
    weather = np.zeros(days)
    for number in range(1, days):
        weather[number] = 0.85 * weather[number - 1] + rng.normal()
    temperature = 10 - 8 * np.cos(2 * np.pi * day / 365) + 2 * weather[day]
    evening = np.exp(-(((hour - 19) / 3) ** 2))
    weekend = 0.15 * ((day % 7) >= 5)
    level = 8000 + 250 * np.maximum(0, 16 - temperature)
    load = level * (0.6 + evening + weekend) * rng.lognormal(0, 0.08, size=hours)
    return LoadProfile(start=START, step_s=3600, import_wh=np.rint(load)), temperature


def test_a_weather_driven_pool_is_forecast_with_skill_and_honest_intervals():
    pool, temperature = weather_pool(330)
    forecast = forecast_day_ahead(
        pool, timezone="UTC", first_day=280, days=50, temperature_c=temperature
    )
    assert (np.diff(forecast.quantiles_wh, axis=1) >= 0).all()
    score = score_forecast(pool, forecast)
    assert score.skill >= 0.25
    assert 0.85 <= score.coverage_90 <= 0.95
    assert abs(score.energy_error) < 0.02


def test_a_forecast_knows_nothing_of_its_own_day_or_later():
    pool, _ = weather_pool(120)
    changed = np.array(pool.import_wh)
    changed[115 * 24 :] *= 3
    other = LoadProfile(start=START, step_s=3600, import_wh=changed)
    kwargs = {"timezone": "UTC", "first_day": 115, "days": 1, "calibration_days": 21}
    np.testing.assert_array_equal(
        forecast_day_ahead(pool, **kwargs).quantiles_wh,
        forecast_day_ahead(other, **kwargs).quantiles_wh,
    )


def test_a_gap_in_the_temperature_does_not_stop_the_forecast():
    pool, temperature = weather_pool(110)
    temperature[50 * 24 : 51 * 24] = np.nan
    temperature[106 * 24 :] = np.nan
    forecast = forecast_day_ahead(
        pool, timezone="UTC", first_day=106, days=1, calibration_days=14, temperature_c=temperature
    )
    assert np.isfinite(forecast.quantiles_wh).all()
    assert 0.8 < forecast.median_wh().mean() / pool.import_wh[100 * 24 : 106 * 24].mean() < 1.25


@given(st.integers(0, 1000))
def test_pinball_is_least_at_the_true_quantile(seed):
    sample = np.random.default_rng(seed).normal(size=500)
    for level in (0.1, 0.5, 0.9):
        best = pinball(sample, np.full((500, 1), np.quantile(sample, level)), [level])
        for other in (-1.0, 0.0, 1.5):
            assert best <= pinball(sample, np.full((500, 1), other), [level]) + 1e-3


def test_pinball_by_hand():
    assert pinball([10.0], [[8.0, 13.0]], [0.1, 0.9]) == pytest.approx((0.2 + 0.3) / 2)


def test_a_season_repeats_last_years_weeks_at_the_new_level():
    pool, _ = weather_pool(364 + 28 + 364, seed=8)
    past = LoadProfile(start=START, step_s=3600, import_wh=pool.import_wh[: (364 + 28) * 24])
    forecast = forecast_season(past, days=364)
    assert forecast.index[0].to_pydatetime() == past.end
    actual = np.asarray(pool.import_wh[(364 + 28) * 24 :])
    assert abs(forecast.quantiles_wh.mean() / actual.mean() - 1) < 0.05
    assert (np.diff(forecast.quantiles_wh, axis=1) >= 0).all()


def test_with_two_years_of_history_a_seasons_intervals_hold_what_they_promise():
    pool, _ = weather_pool(3 * 364 + 28, seed=9)
    known = (2 * 364 + 28) * 24
    past = LoadProfile(start=START, step_s=3600, import_wh=pool.import_wh[:known])
    forecast = forecast_season(past, days=364)
    actual = np.asarray(pool.import_wh[known:])
    inside = (actual >= forecast.quantiles_wh[:, 0]) & (actual <= forecast.quantiles_wh[:, -1])
    assert 0.82 <= inside.mean() <= 0.97
    assert (np.diff(forecast.quantiles_wh, axis=1) >= 0).all()


def test_a_year_that_repeats_itself_is_forecast_exactly():
    week = np.random.default_rng(1).integers(100, 900, size=168)
    pool = LoadProfile(start=START, step_s=3600, import_wh=np.tile(week, 60))
    forecast = forecast_season(pool, days=14)
    np.testing.assert_allclose(forecast.median_wh(), np.tile(week, 2))


def test_too_little_history_and_wrong_levels_are_refused():
    pool, _ = weather_pool(150)
    with pytest.raises(InsufficientProfile, match="at least 140"):
        forecast_day_ahead(pool, timezone="UTC", first_day=100, days=1)
    with pytest.raises(InvalidProfile, match="levels"):
        forecast_day_ahead(pool, timezone="UTC", first_day=145, days=1, levels=[0.9, 0.1])
    with pytest.raises(InvalidProfile, match="beyond the profile"):
        forecast_day_ahead(pool, timezone="UTC", first_day=145, days=10)
    with pytest.raises(InsufficientProfile, match="392"):
        forecast_season(pool, days=7)


def test_the_frame_names_quantiles():
    week = np.arange(1, 169)
    pool = LoadProfile(start=START, step_s=3600, import_wh=np.tile(week, 60))
    frame = forecast_season(pool, days=1, levels=(0.1, 0.5, 0.9)).to_frame()
    assert list(frame.columns) == ["q10", "q50", "q90"]
    assert str(frame.index.tz) == "UTC"
