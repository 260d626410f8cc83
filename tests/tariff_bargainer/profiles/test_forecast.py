"""Forecasts: quantiles in order, honest intervals, and skill over the best plain forecast."""

import os
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.forecast import (
    LoadForecast,
    forecast_day_ahead,
    forecast_season,
    pinball,
    score_forecast,
)
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.benchmarks.open_load import OpenPool, citylearn_pool

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


def assert_holds_its_line(pool: LoadProfile, forecast: LoadForecast) -> None:
    """The bounds that these windows of sixty days keep."""
    assert (np.diff(forecast.quantiles_wh, axis=1) >= 0).all()
    score = score_forecast(pool, forecast)
    assert score.skill >= 0.25
    assert min(score.skills.values()) == score.skill
    assert 0.87 <= score.coverage_90 <= 0.93
    assert abs(score.energy_error) < 0.02


@pytest.mark.parametrize("first_day", [140, 225, 300])
def test_a_weather_driven_pool_is_forecast_with_skill_and_honest_intervals(first_day):
    pool, temperature = weather_pool(360)
    forecast = forecast_day_ahead(
        pool, timezone="UTC", first_day=first_day, days=60, temperature_c=temperature
    )
    assert_holds_its_line(pool, forecast)


def measured_homes() -> OpenPool:
    """The 17 CityLearn homes; `make test` installs them, and then they may not be missing."""
    homes = citylearn_pool()
    if homes is None:
        say = "pip install --no-deps --require-hashes -r requirements-open-data.txt for 17 homes"
        if os.environ.get("COMMONWATT_OPEN_DATA") == "required":
            pytest.fail(say)
        pytest.skip(say)
    return homes


@pytest.mark.parametrize("first_day", [196, 300])
def test_measured_homes_are_forecast_with_skill_and_honest_intervals(first_day):
    homes = measured_homes()
    forecast = forecast_day_ahead(
        homes.profile, timezone=homes.timezone, first_day=first_day, days=60
    )
    assert_holds_its_line(homes.profile, forecast)


def test_measured_homes_are_forecast_with_skill_over_baselines_that_learn_every_day():
    """Scored by other code than ours, whose baselines take each day's misses in, over all days."""
    homes = measured_homes()
    first, levels = 140, np.arange(1, 20) / 20
    whole_days = len(homes.profile) // 24
    load = np.asarray(homes.profile.import_wh[: whole_days * 24], float).reshape(whole_days, 24)
    days = whole_days - first
    quantiles = forecast_day_ahead(
        homes.profile, timezone=homes.timezone, first_day=first, days=days
    ).quantiles_wh.reshape(days, 24, 19)

    def loss(guess: np.ndarray) -> float:
        missed = load[first:, :, None] - guess
        return float(np.where(missed >= 0, levels * missed, (levels - 1) * missed).mean())

    def with_past_misses(point: np.ndarray) -> np.ndarray:
        missed = load - point
        spread = [np.quantile(missed[28:day], levels, axis=0).T for day in range(first, len(load))]
        return point[first:, :, None] + np.stack(spread)

    week_ago, month = np.roll(load, 7, axis=0), np.zeros_like(load)
    for weeks in (1, 2, 3, 4):
        month += np.roll(load, 7 * weeks, axis=0) / 4
    all_past = [np.quantile(load[:day], levels, axis=0).T for day in range(first, len(load))]
    plain = [with_past_misses(week_ago), with_past_misses(month), np.stack(all_past)]
    assert 1 - loss(quantiles) / min(loss(guess) for guess in plain) >= 0.25
    inside = (load[first:] >= quantiles[:, :, 0]) & (load[first:] <= quantiles[:, :, -1])
    assert 0.87 <= inside.mean() <= 0.93
    assert (np.diff(quantiles, axis=2) >= 0).all()
    assert abs(quantiles.mean() / load[first:].mean() - 1) < 0.02


def test_where_the_past_tells_nothing_the_forecast_is_as_good_as_the_best_plain_one():
    rng = np.random.default_rng(5)
    shape = 800 + 400 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    load = np.rint(np.tile(shape, 200) * rng.lognormal(0, 0.4, size=200 * 24))
    pool = LoadProfile(start=START, step_s=3600, import_wh=load)
    score = score_forecast(
        pool, forecast_day_ahead(pool, timezone="UTC", first_day=140, days=60, calibration_days=56)
    )
    assert score.skill > -0.03
    assert 0.87 <= score.coverage_90 <= 0.93


def clock_pool(days: int, timezone: str, feast_days: frozenset[int] = frozenset()) -> LoadProfile:
    """Habits by the wall clock; feasts are like Sundays."""
    index = pd.date_range(START, periods=days * 24, freq="h").tz_convert(timezone)
    feast = np.isin(np.arange(days * 24) // 24, list(feast_days))
    free = (np.asarray(index.day_of_week) == 6) | feast
    hour = np.asarray(index.hour)
    load = 1000 + 3000 * np.exp(-(((hour - np.where(free, 12, 19)) / 2) ** 2))
    noise = np.random.default_rng(2).lognormal(0, 0.05, size=load.size)
    return LoadProfile(start=START, step_s=3600, import_wh=np.rint(load * noise))


def test_summer_time_moves_the_habits_of_the_days_before():
    changed = 84  # 26 March 2023, when clocks in Vienna go forward
    pool = clock_pool(120 + 7, "Europe/Vienna")
    shifted = LoadProfile(
        start=START - timedelta(days=40),
        step_s=3600,
        import_wh=np.concatenate([pool.import_wh[: 40 * 24], pool.import_wh]),
    )
    kwargs = {"first_day": changed + 41, "days": 3, "calibration_days": 21}
    losses = {
        timezone: score_forecast(
            shifted, forecast_day_ahead(shifted, timezone=timezone, **kwargs)
        ).pinball_wh
        for timezone in ("Europe/Vienna", "UTC")
    }
    assert losses["Europe/Vienna"] < 0.6 * losses["UTC"]


def test_a_holiday_is_forecast_like_a_sunday():
    feast = 122  # 3 May 2023, a Wednesday
    pool = clock_pool(126, "UTC", frozenset({feast}))
    kwargs = {"timezone": "UTC", "first_day": feast, "days": 1, "calibration_days": 21}
    told = forecast_day_ahead(pool, holidays=[date(2023, 5, 3)], **kwargs)
    untold = forecast_day_ahead(pool, **kwargs)
    assert score_forecast(pool, told).pinball_wh < 0.5 * score_forecast(pool, untold).pinball_wh


def test_a_pool_at_rest_or_asleep_is_forecast_without_a_word():
    for load in (np.full(130 * 24, 500.0), np.zeros(130 * 24)):
        pool = LoadProfile(start=START, step_s=3600, import_wh=load)
        forecast = forecast_day_ahead(
            pool, timezone="UTC", first_day=128, days=2, calibration_days=28
        )
        np.testing.assert_allclose(forecast.quantiles_wh, load[0], atol=1e-2)


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


def test_tomorrow_is_forecast_as_it_would_be_in_hindsight():
    pool, temperature = weather_pool(111)
    known = LoadProfile(start=START, step_s=3600, import_wh=pool.import_wh[: 110 * 24])
    kwargs = {"timezone": "Europe/Vienna", "calibration_days": 21}
    for told in (None, temperature):
        ahead = forecast_day_ahead(known, temperature_c=told, **kwargs)
        hindsight = forecast_day_ahead(pool, first_day=110, days=1, temperature_c=told, **kwargs)
        assert ahead.index[0].to_pydatetime() == known.end
        np.testing.assert_array_equal(ahead.quantiles_wh, hindsight.quantiles_wh)
    longer = LoadProfile(
        start=START - timedelta(hours=5),
        step_s=3600,
        import_wh=np.append(np.ones(5), known.import_wh),
    )
    told = np.append(np.zeros(5), temperature)
    same = forecast_day_ahead(longer, temperature_c=told, **kwargs)
    assert same.index[0].to_pydatetime() == known.end
    np.testing.assert_array_equal(same.quantiles_wh, ahead.quantiles_wh)
    with pytest.raises(InvalidProfile, match="cannot be scored"):
        score_forecast(known, ahead)


def test_an_80_percent_interval_is_not_called_a_90_percent_one():
    pool, _ = weather_pool(110)
    made = forecast_day_ahead(
        pool, timezone="UTC", first_day=108, days=2, calibration_days=14, levels=(0.1, 0.5, 0.9)
    )
    assert np.isnan(score_forecast(pool, made).coverage_90)


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
    assert abs(forecast.quantiles_wh.mean() / actual.mean() - 1) < 0.02
    inside = (actual >= forecast.quantiles_wh[:, 0]) & (actual <= forecast.quantiles_wh[:, -1])
    assert 0.82 <= inside.mean() <= 0.95
    assert (np.diff(forecast.quantiles_wh, axis=1) >= 0).all()


def test_a_few_cold_weeks_are_not_carried_on_for_a_year():
    pool, _ = weather_pool(364 + 28 + 364, seed=8)
    load = np.array(pool.import_wh)
    load[364 * 24 : (364 + 28) * 24] *= 1.3
    past = LoadProfile(start=START, step_s=3600, import_wh=load[: (364 + 28) * 24])
    forecast = forecast_season(past, days=364)
    calm = forecast_season(
        LoadProfile(start=START, step_s=3600, import_wh=pool.import_wh[: (364 + 28) * 24]), days=364
    )
    first_week = slice(0, 7 * 24)
    assert forecast.median_wh()[first_week].mean() > 1.1 * calm.median_wh()[first_week].mean()
    assert abs(forecast.quantiles_wh.mean() / calm.quantiles_wh.mean() - 1) < 0.06


def test_a_step_a_year_ago_is_not_taken_for_a_trend_without_end():
    week = np.random.default_rng(1).integers(100, 900, size=168)
    load = np.concatenate([np.tile(week, 56), 1.1 * np.tile(week, 52)])
    pool = LoadProfile(start=START, step_s=3600, import_wh=load)
    forecast = forecast_season(pool, days=364)
    assert 1.0 < forecast.quantiles_wh.mean() / (1.1 * week.mean()) < 1.1


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
    with pytest.raises(InvalidProfile, match="beyond the profile's 150 days"):
        forecast_day_ahead(pool, timezone="UTC", first_day=145, days=10)
    with pytest.raises(InsufficientProfile, match="392"):
        forecast_season(pool, days=7)
    with pytest.raises(InvalidProfile, match="calibration_days"):
        forecast_day_ahead(pool, timezone="UTC", first_day=145, days=1, calibration_days=3)


def test_the_frame_names_quantiles():
    week = np.arange(1, 169)
    pool = LoadProfile(start=START, step_s=3600, import_wh=np.tile(week, 60))
    frame = forecast_season(pool, days=1, levels=(0.1, 0.5, 0.9)).to_frame()
    assert list(frame.columns) == ["q10", "q50", "q90"]
    assert str(frame.index.tz) == "UTC"
