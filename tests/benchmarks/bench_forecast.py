"""Skill, coverage and energy of the day-ahead and the seasonal forecast, on windows of two months.

Every row is a backtest of 60 days by rolling origin: what is shown was never seen by the fit. The
windows start every 28 days from the first day that can be forecast. The seasonal rows forecast a
year from several origins and compare its energy with what came, beside the plain year before.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tariff_bargainer.profiles.forecast import (
    forecast_day_ahead,
    forecast_season,
    score_forecast,
)
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.benchmarks.open_load import OpenPool, open_pools, street_pool

WINDOW_DAYS = 60
FIRST_DAY = 140
WINDOW_STEP_DAYS = 28
YEAR_DAYS = 364
SEASON_STEP_DAYS = 84


def run() -> Iterator[dict[str, Any]]:
    """Run all forecast benchmarks, one row per window and one for the worst of each pool."""
    for pool in open_pools():
        yield from _day_ahead(pool)
    for seed in (7, 8):
        yield from _seasons(street_pool(homes=20, days=4 * YEAR_DAYS, seed=seed))


def _day_ahead(pool: OpenPool) -> Iterator[dict[str, Any]]:
    rows = []
    whole_days = len(pool.profile) * pool.profile.step_s // 86_400
    for first_day in range(FIRST_DAY, whole_days - WINDOW_DAYS + 1, WINDOW_STEP_DAYS):
        started = time.perf_counter()
        forecast = forecast_day_ahead(
            pool.profile,
            timezone=pool.timezone,
            first_day=first_day,
            days=WINDOW_DAYS,
            temperature_c=pool.temperature_c,
        )
        seconds = time.perf_counter() - started
        score = score_forecast(pool.profile, forecast)
        row = {
            "name": f"{pool.name}, days {first_day}-{first_day + WINDOW_DAYS}",
            "skill": round(score.skill, 3),
            **{f"over {name}": round(skill, 3) for name, skill in score.skills.items()},
            "coverage of 90 %": round(score.coverage_90, 3),
            "crossings": int((np.diff(forecast.quantiles_wh, axis=1) < 0).sum()),
            "energy error": round(score.energy_error, 4),
            "seconds": round(seconds, 1),
        }
        rows.append(row)
        yield row
    coverages = [row["coverage of 90 %"] for row in rows]
    yield {
        "name": f"{pool.name}, {len(rows)} windows",
        "least skill": min(row["skill"] for row in rows),
        "mean skill": float(np.mean([row["skill"] for row in rows])),
        "coverage": f"{min(coverages)} to {max(coverages)}",
        "worst energy error": max(abs(row["energy error"]) for row in rows),
    }


def _seasons(pool: OpenPool) -> Iterator[dict[str, Any]]:
    load = np.asarray(pool.profile.import_wh, dtype=np.float64)
    per_day = 86_400 // pool.profile.step_s
    errors, plain, covered = [], [], []
    for day in range(YEAR_DAYS + 28, load.size // per_day - YEAR_DAYS + 1, SEASON_STEP_DAYS):
        past = LoadProfile(
            start=pool.profile.start,
            step_s=pool.profile.step_s,
            import_wh=load[: day * per_day],
        )
        quantiles = forecast_season(past, days=YEAR_DAYS).quantiles_wh
        actual = load[day * per_day : (day + YEAR_DAYS) * per_day]
        errors.append(quantiles.mean() / actual.mean() - 1)
        plain.append(load[(day - YEAR_DAYS) * per_day : day * per_day].sum() / actual.sum() - 1)
        covered.append(((actual >= quantiles[:, 0]) & (actual <= quantiles[:, -1])).mean())
    yield {
        "name": f"{pool.name}, a year ahead from {len(errors)} origins",
        "worst energy error": float(np.abs(errors).max()),
        "root mean square": float(np.sqrt(np.mean(np.square(errors)))),
        "of the plain year before": float(np.sqrt(np.mean(np.square(plain)))),
        "least coverage of 90 %": float(min(covered)),
    }
