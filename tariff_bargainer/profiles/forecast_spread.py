"""How far the load may stray from what is expected: quantile trees, then conformal intervals.

Misses are first measured in units of the interval's usual miss. Their quantiles are the mean of two
views: trees that know the hour, the day and where the forecasts disagree, and the plain quantiles of
the past misses. Both are too sure of themselves, so they are moved until the past holds what the
levels promise (split conformal, rolled on day by day), and after each day a step further in the
direction of what that day missed, so that intervals keep their promise when the season turns.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from tariff_bargainer.profiles.forecast_points import DAYS_BEFORE_POINT, Floats, Ints

FITTED_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Levels that get trees of their own; those between are interpolated before calibration."""
REFIT_DAYS = 28
"""Days after which the trees are fitted again on everything known by then."""
ROWS_MAX = 12_000
"""Rows that trees learn from; of more, a sample is drawn."""
PLAIN_WINDOW_DAYS = 120
CALIBRATION_WINDOW_DAYS = 56
"""Most recent days that calibrate: long enough to rank, short enough to follow the season."""
DAILY_STEP = 0.1
"""Share of the spread by which a level moves for each whole share of a day it missed."""
STEP_AFTER_DAYS = 10
"""Days that calibrate before the first step: with fewer the ranks themselves still wander."""
USUAL_MISS_HALF_LIFE_DAYS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastForecasts:
    """Days, what was expected of them, and how; each row knows only the days before it.

    Attributes:
        energy: What happened [Wh], shape (days, per_day).
        expected: Weighted forecast [Wh], shape (days, per_day).
        candidates: The forecasts that were weighted [Wh], shape (days, per_day, ways).
        kinds: Kind of each day, shape (days,).
    """

    energy: Floats
    expected: Floats
    candidates: Floats
    kinds: Ints

    def usual_miss(self) -> Floats:
        """Return the recent mean of |miss| for each interval [Wh], shape (days, per_day).

        It follows the expected level, and neighbouring hours share what they missed.
        """
        per_day = self.energy.shape[1]
        least = max(1e-6 * float(self.energy[:28].mean()), 1e-6)
        expected = np.maximum(self.expected, least)
        relative = np.abs(self.energy - self.expected) / expected
        hour = max(1, per_day // 24)
        near = range(-hour, hour + 1)
        smooth = np.mean([np.roll(relative, shift, axis=1) for shift in near], axis=0)
        recent = pd.DataFrame(smooth).ewm(halflife=USUAL_MISS_HALF_LIFE_DAYS).mean().shift(1)
        usual = recent.to_numpy()
        usual = np.maximum(usual, 1e-3 * usual.mean(axis=1, keepdims=True))
        scaled: Floats = np.maximum(usual * expected, least)
        return scaled


def calibrated_quantiles(
    past: PastForecasts, *, held_out: int, first_day: int, levels: Floats, seed: int
) -> Floats:
    """Give quantiles of the days from `first_day` on, each from what is known before it.

    Args:
        past: Days up to the last one to forecast.
        held_out: First day that calibrates; trees that forecast it learnt from days before it.
        first_day: First day to forecast.
        levels: Rising levels in (0, 1).
        seed: Seed of the trees and of the sample they learn from.

    Returns:
        Energy at each level [Wh], shape (days from first_day, per_day, levels), not negative.

    Source: Y. Romano, E. Patterson, E. Candes, "Conformalized quantile regression", NeurIPS 2019;
    the daily step: I. Gibbs, E. Candes, "Adaptive conformal inference under distribution shift",
    NeurIPS 2021.
    """
    usual = past.usual_miss()
    missed = (past.energy - past.expected) / usual
    days = len(missed)
    guessed, spread = _guessed_quantiles(past, usual, missed, held_out, levels, seed)
    # How far each miss lay beyond each guessed quantile, in units of the guessed spread.
    beyond = (missed[held_out:, :, None] - guessed) / spread
    step = np.zeros(levels.size)
    quantiles = []
    for day in range(held_out + 1, days):
        at = day - held_out
        recent = beyond[max(0, at - CALIBRATION_WINDOW_DAYS) : at].reshape(-1, levels.size)
        moved = _ranked(recent, levels) + step
        if day >= first_day:
            of_day = guessed[at] + moved * spread[at]
            energy = past.expected[day][:, None] + usual[day][:, None] * of_day
            quantiles.append(np.maximum(np.sort(energy, axis=1), 0.0))
        if at >= STEP_AFTER_DAYS:
            step = step + DAILY_STEP * (levels - (beyond[at] <= moved).mean(axis=0))
    return np.stack(quantiles)


def moved_by_misses(past: Floats, actual: Floats, ahead: Floats, levels: Floats) -> Floats:
    """Move quantiles by how far past ones were off, in units of the spread (split conformal).

    Args:
        past: Quantiles of past intervals, shape (n, levels).
        actual: What happened in them, shape (n,).
        ahead: Quantiles to move, shape (m, levels).
        levels: Rising levels in (0, 1).
    """
    least = max(1e-3 * float(np.abs(actual).mean()), 1e-9)
    spread_past = np.maximum(past[:, -1:] - past[:, :1], least)
    spread_ahead = np.maximum(ahead[:, -1:] - ahead[:, :1], least)
    moved: Floats = ahead + _ranked((actual[:, None] - past) / spread_past, levels) * spread_ahead
    return moved


def _ranked(misses: Floats, levels: Floats) -> Floats:
    """Return the level-quantile of a sample that includes the new, unseen one, per level."""
    count = len(misses)
    ranks = np.clip(np.ceil(levels * (count + 1)).astype(int) - 1, 0, count - 1)
    ordered = np.sort(misses, axis=0)
    moves: Floats = ordered[ranks, np.arange(levels.size)]
    return moves


def _guessed_quantiles(
    past: PastForecasts, usual: Floats, missed: Floats, held_out: int, levels: Floats, seed: int
) -> tuple[Floats, Floats]:
    """Return quantiles of the misses before calibration, and their spread, from `held_out` on."""
    days = len(missed)
    features = _features(past, usual, missed)
    guessed, spread = [], []
    for day in range(held_out, days, REFIT_DAYS):
        ahead = slice(day, min(day + REFIT_DAYS, days))
        known = slice(DAYS_BEFORE_POINT + 8, day)
        trees = _quantile_trees(features[known], missed[known], features[ahead], seed)
        recent = missed[max(known.start, day - PLAIN_WINDOW_DAYS) : day].ravel()
        plain = np.quantile(recent, FITTED_LEVELS)
        fitted = np.sort((trees + plain) / 2, axis=2)
        guessed.append(_between(fitted, levels))
        spread.append(np.maximum(fitted[:, :, -1:] - fitted[:, :, :1], 1e-3))
    return np.concatenate(guessed), np.concatenate(spread)


def _quantile_trees(known: Floats, missed: Floats, ahead: Floats, seed: int) -> Floats:
    """Fit one model per level; return its quantiles, shape (days, per_day, fitted levels)."""
    rows, target = known.reshape(-1, known.shape[2]), missed.ravel()
    if len(rows) > ROWS_MAX:
        drawn = np.random.default_rng(seed).choice(len(rows), ROWS_MAX, replace=False)
        rows, target = rows[drawn], target[drawn]
    asked = ahead.reshape(-1, ahead.shape[2])
    forecasts = []
    # A few thousand rows are fitted faster by one thread than by several that wait for each other.
    with threadpool_limits(limits=1, user_api="openmp"):
        for level in FITTED_LEVELS:
            model = HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                max_iter=50,
                learning_rate=0.06,
                max_leaf_nodes=6,
                min_samples_leaf=80,
                l2_regularization=1.0,
                random_state=seed,
            )
            forecasts.append(model.fit(rows, target).predict(asked))
    return np.stack(forecasts, axis=-1).reshape(*ahead.shape[:2], len(FITTED_LEVELS))


def _features(past: PastForecasts, usual: Floats, missed: Floats) -> Floats:
    """Return what trees may know of each interval, shape (days, per_day, features)."""
    days, per_day = past.energy.shape
    hour = np.broadcast_to(np.arange(per_day) * 24 / per_day, (days, per_day))
    kind = np.broadcast_to(past.kinds[:, None].astype(np.float64), (days, per_day))
    level = pd.Series(past.energy.mean(axis=1)).rolling(28).mean().shift(1).to_numpy()[:, None]
    disagreement = (past.candidates - past.expected[:, :, None]) / usual[:, :, None]
    evening = missed[:, -max(1, per_day // 6) :].mean(axis=1)
    of_yesterday = np.column_stack([np.abs(missed).mean(axis=1), missed.mean(axis=1), evening])
    of_yesterday = np.vstack([np.full((1, 3), np.nan), of_yesterday[:-1]])
    single = np.stack(
        [
            hour,
            kind,
            past.expected / np.maximum(level, 1e-6),
            usual / np.maximum(past.expected, 1e-6),
        ],
        axis=-1,
    )
    repeated = np.broadcast_to(of_yesterday[:, None, :], (days, per_day, 3))
    return np.concatenate([single, disagreement, repeated], axis=2)


def _between(fitted: Floats, levels: Floats) -> Floats:
    """Interpolate fitted quantiles to other levels, on the scale of a normal distribution."""
    known = np.array([NormalDist().inv_cdf(level) for level in FITTED_LEVELS])
    asked = np.array([NormalDist().inv_cdf(level) for level in levels])
    place = np.clip(np.searchsorted(known, asked) - 1, 0, known.size - 2)
    share: NDArray[np.float64] = (asked - known[place]) / (known[place + 1] - known[place])
    between: Floats = fitted[..., place] * (1 - share) + fitted[..., place + 1] * share
    return between
