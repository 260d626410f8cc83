"""The expected load of the next day: several forecasts of whole days, and how far to trust each.

A day is one row. Ridge regressions see the day before as it ended, the level of the last days, the
same kind of day in the weeks before and, if given, the weather; they are fitted again every day on
all days before. Plain forecasts stand beside them. Weights that are not negative and sum to one are
chosen each day by the squared errors of the days before, so that where nothing beats a plain
forecast, it is the plain forecast that is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DAYS_BEFORE_FIT = 45
"""Days that must lie before the first day a regression forecasts."""
DAYS_BEFORE_FEATURES = 16
"""Days before the first one that a regression learns from: means are too young until then."""
DAYS_BEFORE_POINT = DAYS_BEFORE_FIT + 7
"""Days before the first weighted forecast."""
WEIGHT_WINDOW_DAYS = 120
WEIGHT_SHRINKAGE = 0.05
"""Pull of the weights towards each other, as a share of the mean squared error."""
LEVEL_HALF_LIFE_DAYS = 7.0
SAME_KIND_DAYS = 8
SAME_KIND_DECAY = 0.9
BLOCKS = 12
"""Parts of a day that a regression tells apart in what happened before."""
LAST_SHARES = (1 / 24, 1 / 12, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Last parts of the day before whose means are features."""
WEATHER_PARTS = 8
HEATING_BELOW_C = 15.0
COOLING_ABOVE_C = 20.0
LOG_DEPARTURE_MAX = 1.5
"""Farthest a regression on logarithms may lead away from its base: a factor of 4.5."""
LOG_FLOOR = 0.02
"""Least load on the log scale, as a share of the first four weeks' mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRegression:
    """One way to regress tomorrow on what is known today.

    Attributes:
        log: On logarithms, where load moves in proportion, or on energy.
        same_kind: How much of the base is the habit of the kind of day [0..1].
        penalty: Ridge penalty, in units of the typical squared departure.
        weather: Whether temperature is a feature.
    """

    log: bool
    same_kind: float
    penalty: float = 1.0
    weather: bool = False


REGRESSIONS = (
    DayRegression(log=True, same_kind=0.0),
    DayRegression(log=False, same_kind=0.0),
    DayRegression(log=True, same_kind=0.5),
    DayRegression(log=False, same_kind=0.5),
    DayRegression(log=True, same_kind=1.0, penalty=0.1),
)
WEATHER_REGRESSIONS = (
    DayRegression(log=True, same_kind=0.5, weather=True),
    DayRegression(log=False, same_kind=1.0, penalty=0.1, weather=True),
)


def candidate_days(energy: Floats, kinds: Ints, temperature_c: Floats | None) -> Floats:
    """Forecast every day from the days before it, in several ways.

    Args:
        energy: Energy per day and interval [Wh], shape (days, per_day).
        kinds: Kind of each day, 0 Monday ... 6 Sunday or a holiday, shape (days,).
        temperature_c: Outdoor temperature [deg C], shape (days, per_day), or None.

    Returns:
        Forecasts [Wh], shape (days, per_day, ways); NaN on the first 45 days.
    """
    ways = list(REGRESSIONS)
    if temperature_c is not None:
        ways += WEATHER_REGRESSIONS
    forecasts = [_regressed(energy, kinds, temperature_c, way) for way in ways]
    frame = pd.DataFrame(energy)
    plain = [
        np.mean([_days_before(energy, 7 * weeks) for weeks in (1, 2, 3, 4)], axis=0),
        frame.rolling(28).mean().shift(1).to_numpy(),
        frame.expanding(28).mean().shift(1).to_numpy(),
    ]
    candidates = np.stack([*forecasts, *plain], axis=-1)
    candidates[:DAYS_BEFORE_FIT] = np.nan
    return candidates


def weighted_days(energy: Floats, candidates: Floats) -> Floats:
    """Weigh the candidates of each day by their errors on the days before.

    Args:
        energy: Energy per day and interval [Wh], shape (days, per_day).
        candidates: From `candidate_days`.

    Returns:
        Expected load [Wh], shape (days, per_day); NaN on the first 52 days.

    Source: stacked regressions, L. Breiman, Machine Learning 24, 1996.
    """
    days, per_day = energy.shape
    ways = candidates.shape[2]
    level = pd.Series(energy.mean(axis=1)).rolling(28, min_periods=7).mean().shift(1).to_numpy()
    products = np.zeros((days, ways, ways))
    for day in range(DAYS_BEFORE_FIT, days):
        misses = (candidates[day] - energy[day][:, None]) / max(level[day], 1e-9)
        products[day] = misses.T @ misses / per_day
    expected = np.full((days, per_day), np.nan)
    for day in range(DAYS_BEFORE_POINT, days):
        first = max(DAYS_BEFORE_FIT, day - WEIGHT_WINDOW_DAYS)
        expected[day] = candidates[day] @ _weights(products[first:day].mean(axis=0))
    return expected


def _weights(product: Floats) -> Floats:
    """Return weights >= 0 that sum to one and make the mean squared error least."""
    ways = len(product)
    size = float(np.mean(np.diag(product)))
    if size <= 0:
        return np.full(ways, 1 / ways)
    penalised = product / size + (WEIGHT_SHRINKAGE + 1e-9) * np.eye(ways)
    # A heavy row that asks for a sum of one turns the problem into plain non-negative least
    # squares; what little is missing to one is put right afterwards.
    heavy = 100.0
    rows = np.vstack([np.linalg.cholesky(penalised).T, np.full((1, ways), heavy)])
    found, _ = nnls(rows, np.append(np.zeros(ways), heavy))
    weights: Floats = found / found.sum()
    return weights


def _regressed(
    energy: Floats, kinds: Ints, temperature_c: Floats | None, way: DayRegression
) -> Floats:
    """Forecast each day by one ridge regression for all its intervals, fitted on all days before."""
    days, per_day = energy.shape
    scale = float(energy[:28].mean()) or 1.0
    load = np.log(np.maximum(energy / scale, LOG_FLOOR)) if way.log else energy / scale
    level = _recent_mean(load, LEVEL_HALF_LIFE_DAYS)
    habit = _habit(load - level, kinds)
    base = level + way.same_kind * habit
    departure = np.nan_to_num(load - base)
    typical = float(np.abs(departure[DAYS_BEFORE_FEATURES:60]).mean())
    features = _features(departure, habit, kinds, typical)
    if way.weather and temperature_c is not None:
        features = np.hstack([features, 4.0 * typical * _weather(temperature_c)])
    forecast = np.full((days, per_day), np.nan)
    penalty = max(2.4 * way.penalty * typical**2, 1e-12) * np.eye(features.shape[1])
    # Sums of products grow by one day at a time, so that a fit costs one small solve.
    squares = np.zeros((features.shape[1], features.shape[1]))
    crossed = np.zeros((features.shape[1], per_day))
    sum_features, sum_target = np.zeros(features.shape[1]), np.zeros(per_day)
    for day in range(DAYS_BEFORE_FEATURES, days):
        if day >= DAYS_BEFORE_FIT:
            known = day - DAYS_BEFORE_FEATURES
            mean, mean_target = sum_features / known, sum_target / known
            slopes = np.linalg.solve(
                squares - known * np.outer(mean, mean) + known * penalty,
                crossed - known * np.outer(mean, mean_target),
            )
            led = mean_target + (features[day] - mean) @ slopes
            if way.log:
                led = np.clip(led, -LOG_DEPARTURE_MAX, LOG_DEPARTURE_MAX)
            forecast[day] = base[day] + led
        squares += np.outer(features[day], features[day])
        crossed += np.outer(features[day], departure[day])
        sum_features += features[day]
        sum_target += departure[day]
    expected: Floats = scale * (np.exp(forecast) if way.log else np.maximum(forecast, 0.0))
    return expected


def _features(departure: Floats, habit: Floats, kinds: Ints, typical: float) -> Floats:
    """Return what is known by the end of the day before, shape (days, features)."""
    per_day = departure.shape[1]
    parts = _parts(departure, BLOCKS)
    finer = np.sqrt(24 / parts.shape[1])
    yesterday = _days_before(departure, 1, fill=0.0)
    last = [yesterday[:, -max(1, round(share * per_day)) :].mean(axis=1) for share in LAST_SHARES]
    daily = departure.mean(axis=1, keepdims=True)
    columns = [
        finer * _days_before(parts, 1, fill=0.0),
        finer * np.nan_to_num(_recent_mean(parts, 2.0)),
        2.0 * np.column_stack(last),
        2.0 * np.hstack([np.nan_to_num(_recent_mean(daily, days)) for days in (1.0, 2, 4, 10)]),
        finer * np.nan_to_num(_parts(habit, BLOCKS)),
        4.0 * typical * np.eye(7)[kinds],
    ]
    return np.hstack(columns)


def _weather(temperature_c: Floats) -> Floats:
    """Return how the day's weather departs from that of the last days, shape (days, features)."""
    parts = _parts(temperature_c, WEATHER_PARTS)
    by_part = np.hstack(
        [np.maximum(HEATING_BELOW_C - parts, 0), np.maximum(parts - COOLING_ABOVE_C, 0), parts]
    )
    by_day = 3.0 * np.column_stack(
        [
            np.maximum(HEATING_BELOW_C - temperature_c, 0).mean(axis=1),
            np.maximum(temperature_c - COOLING_ABOVE_C, 0).mean(axis=1),
            temperature_c.mean(axis=1),
        ]
    )
    changes = [
        by_part - _recent_mean(by_part, LEVEL_HALF_LIFE_DAYS),
        by_day - _recent_mean(by_day, LEVEL_HALF_LIFE_DAYS),
        by_day - _days_before(by_day, 1),
    ]
    # A gap in the temperature counts as weather like that of the days before.
    return np.nan_to_num(np.hstack(changes) / 10.0)


def _habit(departure: Floats, kinds: Ints) -> Floats:
    """Return how the last days of the same kind departed from their level, newest heaviest."""
    habit = np.full(departure.shape, np.nan)
    seen: dict[int, list[int]] = {}
    for day, kind in enumerate(kinds.tolist()):
        same: Sequence[int] = seen.get(kind, [])[-SAME_KIND_DAYS:]
        if same:
            weights = SAME_KIND_DECAY ** np.arange(len(same) - 1, -1, -1.0)
            habit[day] = np.average(departure[same], axis=0, weights=weights)
        if day >= 2:
            seen.setdefault(kind, []).append(day)
    return habit


def _parts(rows: Floats, count: int) -> Floats:
    """Return means over equal parts of each row, shape (days, at most `count`)."""
    parts = np.array_split(rows, min(count, rows.shape[1]), axis=1)
    return np.column_stack([part.mean(axis=1) for part in parts])


def _recent_mean(rows: Floats, half_life_days: float) -> Floats:
    """Return the exponentially weighted mean of the days before each day."""
    mean: Floats = pd.DataFrame(rows).ewm(halflife=half_life_days).mean().shift(1).to_numpy()
    return mean


def _days_before(rows: Floats, days: int, fill: float = np.nan) -> Floats:
    before = np.full(rows.shape, fill)
    before[days:] = rows[:-days]
    return before
