"""A pool's load ahead of time, as quantiles: gradient boosting with conformal intervals.

Trees give the spread; their middle is drawn towards a linear forecast per hour, which follows load
and weather further than trees can.

Quantile trees alone are too sure of themselves, so the spread they give is stretched on held-out
days until the intervals hold what they promise, hour of day by hour of day (split conformal), and
quantiles are sorted so that they never cross. The skill is always measured against the best of
three plain forecasts, never against a weak one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.calendar import local_calendar
from tariff_bargainer.profiles.intervals import LoadProfile

FITTED_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Levels that get trees of their own; those between are interpolated before calibration."""
LEVELS = tuple(level / 20 for level in range(1, 20))
"""Quantile levels 0.05 ... 0.95."""
LINEAR_SHARE = 0.4
"""How far the middle of the trees moves towards a linear forecast."""
RIDGE_ALPHA = 20.0
TRAIN_DAYS_MIN = 84
REFIT_DAYS = 28
"""Days after which the model is fitted again on everything known by then."""
CALIBRATION_WINDOW_DAYS = 42
"""Most recent days that calibrate: long enough to rank, short enough to follow the season."""
YEAR_DAYS = 364
"""A year of whole weeks, so that weekdays meet."""
LAGS_DAYS = (1, 2, 3, 4, 5, 6, 7)
BASELINES = ("weekly_naive", "four_week_mean", "climatology")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadForecast:
    """Quantiles of load per interval.

    Attributes:
        index: Starts of the intervals, aware UTC.
        levels: Rising quantile levels in (0, 1).
        quantiles_wh: Energy at each level [Wh], shape (n_intervals, levels); rising along levels.
    """

    index: pd.DatetimeIndex
    levels: tuple[float, ...]
    quantiles_wh: Floats

    def to_frame(self) -> pd.DataFrame:
        """Give one column per level, named `q05` ... `q95` [Wh]."""
        names = [f"q{round(level * 100):02d}" for level in self.levels]
        return pd.DataFrame(self.quantiles_wh, index=self.index, columns=names)

    def median_wh(self) -> Floats:
        """Return the middle quantile [Wh], shape (n_intervals,)."""
        middle: Floats = self.quantiles_wh[:, int(np.argmin(np.abs(np.array(self.levels) - 0.5)))]
        return middle

    def _repr_html_(self) -> str:
        return str(self.to_frame().round(0).to_html(max_rows=24))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastScore:
    """How good a forecast was on days it had not seen.

    Attributes:
        pinball_wh: Mean pinball loss over levels and intervals [Wh].
        baseline: Name of the best plain forecast.
        baseline_pinball_wh: Its loss [Wh].
        skill: 1 - loss over the baseline's loss; 0.25 means a quarter less.
        coverage_90: Share of actual values between the 5 % and 95 % quantiles.
        energy_error: Sum of the expected load over the actual sum, less 1.
    """

    pinball_wh: float
    baseline: str
    baseline_pinball_wh: float
    skill: float
    coverage_90: float
    energy_error: float


def forecast_day_ahead(
    pool: LoadProfile,
    *,
    timezone: str,
    first_day: int,
    days: int,
    temperature_c: ArrayLike | None = None,
    levels: Sequence[float] = LEVELS,
    calibration_days: int = 56,
    seed: int = 0,
) -> LoadForecast:
    """Forecast whole days, each from what is known when the day before ends.

    The model is fitted every 28 days on the days known by then, from `calibration_days` before
    `first_day` on, so that its errors on days it had not seen calibrate the intervals.

    Args:
        pool: The pool's import [Wh] over past and forecast days; the forecast of a day uses only
            intervals before that day.
        timezone: IANA zone of the pool's clock.
        first_day: Number of whole days (from the profile's start) before the first forecast day.
        days: Days to forecast.
        temperature_c: Outdoor temperature per interval [deg C], forecast or measured; optional.
        levels: Quantile levels in (0, 1), rising.
        calibration_days: Days forecast beforehand to calibrate on.
        seed: Seed of the fit.

    Raises:
        InsufficientProfile: Less than twelve weeks and the calibration days before `first_day`.
        InvalidProfile: Gaps, levels out of order, or days beyond the profile.

    Source: split conformal prediction for quantile regression, Y. Romano, E. Patterson,
    E. Candes, "Conformalized quantile regression", NeurIPS 2019.
    """
    per_day = 86_400 // pool.step_s
    load = _gapless(pool)
    if first_day < TRAIN_DAYS_MIN + calibration_days:
        raise InsufficientProfile(
            reasons=[
                f"{first_day} days before the first forecast day, at least "
                + str(TRAIN_DAYS_MIN + calibration_days)
            ]
        )
    if days < 1 or (first_day + days) * per_day > load.size:
        raise InvalidProfile("the forecast days lie beyond the profile: extend it or ask for fewer")
    if not levels or list(levels) != sorted(set(levels)) or not 0 < levels[0] <= levels[-1] < 1:
        raise InvalidProfile("quantile levels must rise and lie between 0 and 1")
    features = _features(pool, load, timezone, temperature_c)
    recent = _recent_mean(load, per_day)
    features = np.column_stack([features, recent])
    scale = float(load[: first_day * per_day].mean()) or 1.0
    held_out = first_day - calibration_days
    fitted = []
    for day in range(held_out, first_day + days, REFIT_DAYS):
        known = slice(28 * per_day, day * per_day)
        ahead = slice(day * per_day, min(day + REFIT_DAYS, first_day + days) * per_day)
        # Trees cannot go beyond what they saw, so they learn the departure from a recent mean.
        fitted.append(
            _quantile_trees(features[known], (load - recent)[known] / scale, features[ahead], seed)
        )
    actual = load[held_out * per_day : (first_day + days) * per_day]
    raw = recent[held_out * per_day : (first_day + days) * per_day, None]
    raw = raw + scale * _between(np.vstack(fitted), np.asarray(levels))
    calibrated = np.empty((days * per_day, len(levels)))
    for day in range(days):
        stop = (calibration_days + day) * per_day
        past = slice(max(0, stop - CALIBRATION_WINDOW_DAYS * per_day), stop)
        ahead = slice(stop, stop + per_day)
        calibrated[day * per_day : (day + 1) * per_day] = _conformal(
            raw[past], actual[past], raw[ahead], np.asarray(levels)
        )
    return LoadForecast(
        index=pool.index[first_day * per_day : (first_day + days) * per_day],
        levels=tuple(levels),
        quantiles_wh=np.maximum(np.sort(calibrated, axis=1), 0.0),
    )


def forecast_season(
    pool: LoadProfile, *, days: int, levels: Sequence[float] = LEVELS
) -> LoadForecast:
    """Forecast the days after the profile's end from the same weeks of the year before.

    Each day takes the same weekday of the five weeks around it a year before, and the
    level of the last four weeks over the same weeks a year before, half of which is carried on.
    With two years or more, the last one calibrates the intervals; with less they are too narrow.
    Calibration knows one year's surprises only, so a year unlike it falls outside more often.

    Args:
        pool: At least 56 weeks of import [Wh], without gaps.
        days: Days to forecast, at most 364.
        levels: Quantile levels in (0, 1), rising.

    Raises:
        InsufficientProfile: Less than 56 weeks.
        InvalidProfile: More than 364 days, or gaps.
    """
    per_day = 86_400 // pool.step_s
    load = _gapless(pool)
    by_day = load[load.size % per_day :].reshape(-1, per_day)
    known = by_day.shape[0]
    if known < YEAR_DAYS + 28:
        raise InsufficientProfile(
            reasons=[f"the pool covers {known} days; a season needs {YEAR_DAYS + 28}"]
        )
    if not 1 <= days <= YEAR_DAYS:
        raise InvalidProfile(f"{days} days cannot be forecast: ask for 1 to {YEAR_DAYS}")
    quantiles = _from_last_year(by_day, days, levels)
    if known >= 2 * YEAR_DAYS + 28:
        # The last year, forecast as if it were still ahead, shows how wide the spread must be.
        before = _from_last_year(by_day[:-YEAR_DAYS], YEAR_DAYS, levels)
        quantiles = _conformal(before, by_day[-YEAR_DAYS:].ravel(), quantiles, np.asarray(levels))
    start = pd.Timestamp(pool.end)
    return LoadForecast(
        index=pd.date_range(start, periods=days * per_day, freq=pd.Timedelta(seconds=pool.step_s)),
        levels=tuple(levels),
        quantiles_wh=np.maximum(np.sort(quantiles, axis=1), 0.0),
    )


def score_forecast(pool: LoadProfile, forecast: LoadForecast) -> ForecastScore:
    """Measure a forecast against what happened, and against three plain forecasts.

    Args:
        pool: The profile that was forecast, with the days before and the actual values.
        forecast: Its forecast.
    """
    load = _gapless(pool)
    begin = int((forecast.index[0] - pd.Timestamp(pool.start)).total_seconds()) // pool.step_s
    end = begin + len(forecast.index)
    actual = load[begin:end]
    levels = np.asarray(forecast.levels)
    losses = {
        name: pinball(actual, _plain(name, load, begin, end, pool.step_s, levels), levels)
        for name in BASELINES
    }
    best = min(losses, key=lambda name: losses[name])
    loss = pinball(actual, forecast.quantiles_wh, levels)
    low = forecast.quantiles_wh[:, int(np.argmin(np.abs(levels - 0.05)))]
    high = forecast.quantiles_wh[:, int(np.argmin(np.abs(levels - 0.95)))]
    # Evenly spaced quantiles average to the mean, which the median of a skewed load is not.
    expected = forecast.quantiles_wh.mean(axis=1).sum()
    return ForecastScore(
        pinball_wh=loss,
        baseline=best,
        baseline_pinball_wh=losses[best],
        skill=1 - loss / losses[best] if losses[best] else 0.0,
        coverage_90=float(((actual >= low) & (actual <= high)).mean()),
        energy_error=float(expected / actual.sum() - 1) if actual.sum() else 0.0,
    )


def pinball(actual: ArrayLike, quantiles: ArrayLike, levels: ArrayLike) -> float:
    """Return the mean pinball loss, in the unit of the values.

    Args:
        actual: What happened, shape (n,).
        quantiles: Forecast at each level, shape (n, levels).
        levels: Levels in (0, 1), shape (levels,).

    Source: R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46, 1978.
    """
    missed = np.asarray(actual)[:, None] - np.asarray(quantiles)
    tau = np.asarray(levels)[None, :]
    return float(np.maximum(tau * missed, (tau - 1) * missed).mean())


def _from_last_year(by_day: Floats, days: int, levels: Sequence[float]) -> Floats:
    """Return quantiles over the same weeks of the year before, shape (days x per_day, levels)."""
    known, per_day = by_day.shape
    year_before = by_day[known - 28 - YEAR_DAYS : known - YEAR_DAYS].sum()
    drift = by_day[-28:].sum() / year_before if year_before else 1.0
    level = float(np.clip(drift, 0.5, 2.0)) ** 0.5
    quantiles = np.empty((days, per_day, len(levels)))
    for day in range(days):
        # One earlier year only: the calibrating year could see no more than that either.
        near = known + day - YEAR_DAYS + np.array([-14, -7, 0, 7, 14])
        analogs = by_day[near[(near >= 0) & (near < known)]] * level
        quantiles[day] = np.quantile(analogs, levels, axis=0).T
    return quantiles.reshape(days * per_day, len(levels))


def _recent_mean(load: Floats, per_day: int) -> Floats:
    """Return the mean of the same clock time over the seven days before."""
    means: Floats = np.mean([_lagged(load, days * per_day) for days in LAGS_DAYS], axis=0)
    return means


def _between(fitted: Floats, levels: Floats) -> Floats:
    """Interpolate fitted quantiles to other levels, on the scale of a normal distribution."""
    known = np.array([NormalDist().inv_cdf(level) for level in FITTED_LEVELS])
    asked = np.array([NormalDist().inv_cdf(level) for level in levels])
    place = np.clip(np.searchsorted(known, asked) - 1, 0, known.size - 2)
    share = (asked - known[place]) / (known[place + 1] - known[place])
    between: Floats = fitted[:, place] * (1 - share) + fitted[:, place + 1] * share
    return between


def _quantile_trees(features: Floats, target: Floats, ahead: Floats, seed: int) -> Floats:
    """Fit one model per level and return its forecasts, sorted along levels."""
    forecasts = []
    # A few thousand rows are fitted faster by one thread than by several that wait for each other.
    with threadpool_limits(limits=1, user_api="openmp"):
        for level in FITTED_LEVELS:
            model = HistGradientBoostingRegressor(
                loss="quantile",
                quantile=level,
                max_iter=80,
                learning_rate=0.06,
                max_leaf_nodes=12,
                min_samples_leaf=40,
                l2_regularization=1.0,
                random_state=seed,
            )
            forecasts.append(model.fit(features, target).predict(ahead))
    trees = np.sort(np.column_stack(forecasts), axis=1)
    middle = trees[:, FITTED_LEVELS.index(0.5)]
    drawn: Floats = trees + LINEAR_SHARE * (_linear(features, target, ahead) - middle)[:, None]
    return drawn


def _linear(features: Floats, target: Floats, ahead: Floats) -> Floats:
    """Fit one ridge regression per clock time and return its forecasts.

    Lines follow load and weather beyond what trees have seen; the first feature is the clock time.
    """
    forecast = np.zeros(len(ahead))
    for minute in np.unique(ahead[:, 0]):
        rows, wanted = features[:, 0] == minute, ahead[:, 0] == minute
        # A feature that is missing, such as a gap in the temperature, counts as its mean.
        missing = SimpleImputer(strategy="constant", fill_value=0.0)
        model = make_pipeline(StandardScaler(), missing, Ridge(alpha=RIDGE_ALPHA))
        forecast[wanted] = model.fit(features[rows], target[rows]).predict(ahead[wanted])
    return forecast


def _features(
    pool: LoadProfile, load: Floats, timezone: str, temperature_c: ArrayLike | None
) -> Floats:
    """Return what is known by the end of the day before, shape (n_intervals, features)."""
    calendar = local_calendar(pool.start, pool.step_s, len(pool), timezone)
    per_day = 86_400 // pool.step_s
    minute = calendar.minute_of_day.astype(np.float64)
    weekday = calendar.day_kind[calendar.day_index].astype(np.float64)
    day_number = np.arange(load.size) // per_day
    season = 2 * np.pi * day_number / 365.25
    columns = [
        minute,
        weekday,
        (calendar.day_type > 0).astype(np.float64),
        np.sin(season),
        np.cos(season),
    ]
    lags = [_lagged(load, days * per_day) for days in (1, 2, 3, 7, 14, 21, 28)]
    columns += lags[:5]
    columns.append(np.mean(lags[3:], axis=0))
    columns.append(np.mean(lags[:3], axis=0))
    by_day = load[: load.size // per_day * per_day].reshape(-1, per_day)
    # Level and spread of the last whole days, known at midnight.
    for days in (1, 7):
        mean = pd.Series(by_day.mean(axis=1)).rolling(days).mean().shift(1).to_numpy()
        columns.append(mean[np.minimum(day_number, mean.size - 1)])
    evening = pd.Series(by_day[:, -per_day // 6 :].mean(axis=1)).shift(1).to_numpy()
    columns.append(evening[np.minimum(day_number, evening.size - 1)])
    if temperature_c is not None:
        temperature = np.asarray(temperature_c, dtype=np.float64)
        if temperature.shape != load.shape:
            raise InvalidProfile("temperature_c must give one value for each interval")
        series = pd.Series(temperature)
        columns += [temperature, series.rolling(per_day, min_periods=1).mean().to_numpy()]
    return np.column_stack(columns)


def _lagged(series: Floats, steps: int) -> Floats:
    shifted = np.full(series.size, np.nan)
    shifted[steps:] = series[:-steps]
    return shifted


def _conformal(past: Floats, actual: Floats, ahead: Floats, levels: Floats) -> Floats:
    """Move each quantile by how far the past ones were off, in units of the forecast's spread.

    The hours of the day share one correction, because spread already follows the hour.
    """
    spread_past = np.maximum(past[:, -1:] - past[:, :1], 1e-9)
    spread_ahead = np.maximum(ahead[:, -1:] - ahead[:, :1], 1e-9)
    misses = np.sort((actual[:, None] - past) / spread_past, axis=0)
    count = misses.shape[0]
    # Rank of the level-quantile in a sample that includes the new, unseen one.
    upper = np.ceil(levels * (count + 1)).astype(int) - 1
    rank = np.clip(upper, 0, count - 1)
    moves = misses[rank, np.arange(levels.size)]
    moved: Floats = ahead + moves[None, :] * spread_ahead
    return moved


def _plain(name: str, load: Floats, begin: int, end: int, step_s: int, levels: Floats) -> Floats:
    """Return a plain forecast with the spread of its own past errors, per hour of the day."""
    per_day = 86_400 // step_s
    week = 7 * per_day
    point = np.full(end, np.nan)
    if name == "weekly_naive":
        point[week:] = load[: end - week]
    elif name == "four_week_mean":
        first = 4 * week
        point[first:] = np.mean(
            [load[first - lag * week : end - lag * week] for lag in (1, 2, 3, 4)], axis=0
        )
    slot = np.arange(end) % per_day
    quantiles = np.empty((end - begin, levels.size))
    for place in range(per_day):
        past = np.flatnonzero((slot[:begin] == place) & (np.arange(begin) >= 4 * week))
        ahead = np.flatnonzero(slot[begin:] == place)
        if name == "climatology":
            quantiles[ahead] = np.quantile(load[past], levels)[None, :]
        else:
            errors = np.quantile(load[past] - point[past], levels)
            quantiles[ahead] = point[begin + ahead][:, None] + errors[None, :]
    return quantiles


def _gapless(pool: LoadProfile) -> Floats:
    missing = int(pool.missing_mask.sum())
    if missing:
        raise InsufficientProfile(
            reasons=[f"the pool misses {missing} intervals; fill them, flagged, or cut the span"]
        )
    return np.asarray(pool.import_wh, dtype=np.float64)
