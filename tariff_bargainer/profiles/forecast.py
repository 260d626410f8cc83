"""A pool's load ahead of time, as quantiles: stacked regressions, quantile trees, conformal intervals.

Day ahead, the expected load is a weighted mean of ridge regressions and plain forecasts
(`forecast_points`), the spread around it comes from quantile gradient boosting and is calibrated on
held-out days, day by day (`forecast_spread`). A season is the year before at a level carried on
with caution. The skill is always measured against the best of three plain forecasts, never against
a weak one.

What no method can do: a pool of few homes is mostly chance. Each home adds its own, and below some
twenty homes (or where a plain mean already says all there is to know, as in much simulated load)
less than a quarter of the best plain forecast's loss can be saved. A year differs from the year
before by its weather, 3 % to 6 % where homes are heated or cooled electrically; one year of load
cannot tell next year's weather, so a season's energy is within 2 % only where weather matters less.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.calendar import HOLIDAY_KIND, LocalCalendar, local_calendar
from tariff_bargainer.profiles.forecast_points import candidate_days, weighted_days
from tariff_bargainer.profiles.forecast_spread import (
    PastForecasts,
    calibrated_quantiles,
    moved_by_misses,
)
from tariff_bargainer.profiles.intervals import LoadProfile

LEVELS = tuple(level / 20 for level in range(1, 20))
"""Quantile levels 0.05 ... 0.95."""
TRAIN_DAYS_MIN = 84
CALIBRATION_DAYS_MIN = 14
HISTORY_DAYS_MAX = 1100
"""Days before the first forecast day that are looked at: three years hold what is still of use."""
YEAR_DAYS = 364
"""A year of whole weeks, so that weekdays meet."""
SUNDAY = 6
LASTING_CHANGE = 0.02
"""How much a pool's level usually changes from year to year, weather aside; a judgement."""
SKEW_MAX = 0.05
"""Most by which a season's quantiles are scaled so that their mean is the expected load."""
MONTH_SCATTER = 0.05
"""How much the weather of a month usually moves the load, also where its weeks agree; a judgement."""
PASSING_DAYS = 21.0
"""Days after which a departure from the year before has faded to a third."""
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
        table = self.to_frame().round(0).astype(np.int64).to_html(max_rows=24)
        return f"<p><b>Load forecast</b>: energy per interval at each level [Wh]</p>{table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastScore:
    """How good a forecast was on days it had not seen.

    Attributes:
        pinball_wh: Mean pinball loss over levels and intervals [Wh].
        baseline: Name of the best plain forecast.
        baseline_pinball_wh: Its loss [Wh].
        skill: 1 - loss over the baseline's loss; 0.25 means a quarter less.
        skills: The same over each plain forecast, by name.
        coverage_90: Share of actual values between the 5 % and 95 % quantiles; NaN without these.
        energy_error: Sum of the expected load over the actual sum, less 1.
    """

    pinball_wh: float
    baseline: str
    baseline_pinball_wh: float
    skill: float
    skills: dict[str, float]
    coverage_90: float
    energy_error: float


def forecast_day_ahead(
    pool: LoadProfile,
    *,
    timezone: str,
    first_day: int | None = None,
    days: int = 1,
    temperature_c: ArrayLike | None = None,
    holidays: Collection[date] = (),
    levels: Sequence[float] = LEVELS,
    calibration_days: int = 56,
    seed: int = 0,
) -> LoadForecast:
    """Forecast whole days, each from what is known when the day before ends.

    Regressions and their weights are fitted again every day and the trees every 28 days, each on
    the days known by then; intervals are calibrated on the last eight weeks and moved a step each
    day. Nothing of a day or after it takes part in its forecast.

    Args:
        pool: The pool's import [Wh] over past and forecast days; the forecast of a day uses only
            intervals before that day.
        timezone: IANA zone of the pool's clock.
        first_day: Number of whole days (from the profile's start) before the first forecast day.
        days: Days to forecast, each from the days before it; past the profile's end only one.
        temperature_c: Outdoor temperature per interval [deg C], forecast or measured; optional. It
            may go on past the profile's end, and is used as far as it helped on the days before.
        holidays: Local dates that are like Sundays.
        levels: Quantile levels in (0, 1), rising.
        calibration_days: Days forecast beforehand to calibrate on, at least 14.
        seed: Seed of the fit.

    Raises:
        InsufficientProfile: Less than twelve weeks and the calibration days before `first_day`.
        InvalidProfile: Gaps, levels out of order, too few calibration days, or days beyond the
            profile.
    """
    per_day = 86_400 // pool.step_s
    load = _gapless(pool)
    known_days = load.size // per_day
    # Tomorrow follows on the last reading, so that what is no whole day is left out at the start.
    cut = load.size % per_day if first_day is None else 0
    begin = pool.start + timedelta(seconds=pool.step_s * cut)
    load = load[cut:]
    if first_day is None:
        first_day = known_days
    end = (first_day + days) * per_day
    _check_asked(first_day, days, known_days, calibration_days, levels)
    temperature = _temperature(temperature_c, len(pool), cut, end)
    # A day that has not happened stands as zeros, which its own forecast never looks at.
    load = np.append(load, np.zeros(max(0, end - load.size)))
    earliest = max(0, first_day - max(HISTORY_DAYS_MAX, TRAIN_DAYS_MIN + calibration_days))
    rows = slice(earliest * per_day, end)
    calendar = local_calendar(begin, pool.step_s, load.size, timezone, holidays)
    past = _past_forecasts(
        load[rows].reshape(-1, per_day),
        None if temperature is None else temperature[rows].reshape(-1, per_day),
        kinds=_kinds(calendar, per_day)[earliest : first_day + days],
        shifts=_clock_shifts(calendar, per_day)[earliest : first_day + days],
    )
    quantiles = calibrated_quantiles(
        past,
        held_out=first_day - calibration_days - earliest,
        first_day=first_day - earliest,
        levels=np.asarray(levels),
        seed=seed,
    )
    return LoadForecast(
        index=pd.date_range(
            pd.Timestamp(begin) + pd.Timedelta(days=first_day),
            periods=days * per_day,
            freq=pd.Timedelta(seconds=pool.step_s),
        ),
        levels=tuple(levels),
        quantiles_wh=quantiles.reshape(-1, len(levels)),
    )


def forecast_season(
    pool: LoadProfile, *, days: int, levels: Sequence[float] = LEVELS
) -> LoadForecast:
    """Forecast the days after the profile's end from the same weeks of the year before.

    Each day takes the same weekday of the five weeks around it a year before. Of the change since
    then, as much is carried on as its weekly scatter lets one believe to last, less from day to day
    as the days of a year before come nearer; half of what the last four weeks add to it fades
    within weeks, as weather does.
    With two years or more, the last one, forecast from the one before, calibrates the intervals;
    with less, they hold what days scatter around the weeks beside them, and not how years differ.

    A year's energy is within 2 % where homes differ little from year to year. Weather moves it: on
    simulated homes with electric heating and cooling, years differ by up to 6 % and this forecast
    misses them by 3.5 % (root mean square), the plain year before by 3.7 %. No history of load can
    promise more, because next year's weather is not in it.

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
    if known < 2 * YEAR_DAYS + 28:
        before = _from_weeks_around(by_day, levels)
        actual = by_day[14:-14].ravel()
    else:
        # The last year, forecast as if it were still ahead, shows how wide the spread must be; that
        # it was a cold or a warm one as a whole says nothing of the next.
        before = _from_last_year(by_day[:-YEAR_DAYS], YEAR_DAYS, levels)
        actual = by_day[-YEAR_DAYS:].ravel()
        actual = actual * (before.mean() / actual.mean() if actual.any() else 1.0)
    quantiles = moved_by_misses(before, actual, quantiles, np.asarray(levels))
    if tuple(levels) == LEVELS and actual.any():
        # Evenly spaced quantiles of a skewed load do not average to its mean: a pool's miss it by
        # a few per cent, which a year's energy must not. One home's miss it by more; it stays so.
        mean = moved_by_misses(before, actual, before, np.asarray(levels)).mean() / actual.mean()
        quantiles /= np.clip(mean, 1 - SKEW_MAX, 1 + SKEW_MAX)
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

    Raises:
        InvalidProfile: The forecast days, or the four weeks before them, are not in the profile.
    """
    load = _gapless(pool)
    begin = int((forecast.index[0] - pd.Timestamp(pool.start)).total_seconds()) // pool.step_s
    end = begin + len(forecast.index)
    if begin < 28 * 86_400 // pool.step_s or end > load.size:
        raise InvalidProfile(
            f"the forecast from {forecast.index[0].isoformat()} cannot be scored: the profile must "
            "hold four weeks before its first day, and what happened until its last"
        )
    actual = load[begin:end]
    levels = np.asarray(forecast.levels)
    losses = {
        name: pinball(actual, _plain(name, load, begin, end, pool.step_s, levels), levels)
        for name in BASELINES
    }
    best = min(losses, key=lambda name: losses[name])
    loss = pinball(actual, forecast.quantiles_wh, levels)
    inside = np.full(actual.size, np.nan)
    if np.isclose(levels, 0.05).any() and np.isclose(levels, 0.95).any():
        low = forecast.quantiles_wh[:, int(np.argmin(np.abs(levels - 0.05)))]
        high = forecast.quantiles_wh[:, int(np.argmin(np.abs(levels - 0.95)))]
        inside = ((actual >= low) & (actual <= high)).astype(np.float64)
    # Evenly spaced quantiles average to the mean, which the median of a skewed load is not.
    expected = forecast.quantiles_wh.mean(axis=1).sum()
    return ForecastScore(
        pinball_wh=loss,
        baseline=best,
        baseline_pinball_wh=losses[best],
        skill=1 - loss / losses[best] if losses[best] else 0.0,
        skills={name: 1 - loss / worse if worse else 0.0 for name, worse in losses.items()},
        coverage_90=float(inside.mean()),
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
    lasting, passing = _changes_since_last_year(by_day.sum(axis=1))
    quantiles = np.empty((days, per_day, len(levels)))
    for day in range(days):
        # One earlier year only: the calibrating year could see no more than that either.
        near = known + day - YEAR_DAYS + np.array([-14, -7, 0, 7, 14])
        # The days of a year ago come nearer to now day by day, and with them most of the change.
        left = lasting * (1 - day / YEAR_DAYS)
        change = np.exp(left + 0.5 * passing * np.exp(-day / PASSING_DAYS))
        analogs = by_day[near[(near >= 0) & (near < known)]] * change
        quantiles[day] = np.quantile(analogs, levels, axis=0).T
    return quantiles.reshape(days * per_day, len(levels))


def _from_weeks_around(by_day: Floats, levels: Sequence[float]) -> Floats:
    """Return quantiles of each day, but the first and last 14, over its weekday beside it."""
    near = np.stack([by_day[14 + shift : len(by_day) - 14 + shift] for shift in (-14, -7, 7, 14)])
    around: Floats = np.moveaxis(np.quantile(near, levels, axis=0), 0, -1)
    return around.reshape(-1, len(levels))


def _changes_since_last_year(daily: Floats) -> tuple[float, float]:
    """Return the change of the log level that will last, and what the last weeks add to it.

    A mean change over few, scattered weeks is mostly weather. The part to believe is what a normal
    prior of `LASTING_CHANGE` leaves of it, with neighbouring weeks correlated by a half.
    """
    weeks = min((daily.size - YEAR_DAYS) // 7, 52)
    now = daily[-7 * weeks :].reshape(weeks, 7).sum(axis=1)
    before = daily[-7 * weeks - YEAR_DAYS : -YEAR_DAYS].reshape(weeks, 7).sum(axis=1)
    least = max(float(daily.mean()) * 1e-3, 1e-9)
    changes = np.clip(np.log(np.maximum(now, least) / np.maximum(before, least)), -1.0, 1.0)
    variance = max(3.0 * float(changes.var()), 4 * MONTH_SCATTER**2) / weeks
    lasting = LASTING_CHANGE**2 / (LASTING_CHANGE**2 + variance) * float(changes.mean())
    return lasting, float(changes[-4:].mean()) - lasting


def _past_forecasts(
    energy: Floats, temperature_c: Floats | None, *, kinds: NDArray[np.int64], shifts: Floats
) -> PastForecasts:
    """Forecast each day from the days before it, as the wall clock of that day reads them."""
    candidates = np.empty(0)
    for shift in np.unique(shifts):
        # Summer time moves habits against UTC: days before the change are turned to its clock.
        turns = (shifts - shift).astype(int)
        found = candidate_days(
            _turned(energy, turns),
            kinds,
            None if temperature_c is None else _turned(temperature_c, turns),
        )
        candidates = candidates if candidates.size else found
        candidates[shifts == shift] = found[shifts == shift]
    return PastForecasts(
        energy=energy,
        expected=weighted_days(energy, candidates),
        candidates=candidates,
        kinds=kinds,
    )


def _turned(rows: Floats, turns: NDArray[np.int64]) -> Floats:
    """Turn each row by its own number of intervals."""
    turned = rows.copy()
    for turn in np.unique(turns[turns != 0]):
        turned[turns == turn] = np.roll(rows[turns == turn], turn, axis=1)
    return turned


def _kinds(calendar: LocalCalendar, per_day: int) -> NDArray[np.int64]:
    """Return the kind of each whole day at its middle, a holiday being a Sunday."""
    kinds = calendar.day_kind[calendar.day_index[per_day // 2 :: per_day]].astype(np.int64)
    return np.where(kinds == HOLIDAY_KIND, SUNDAY, kinds)


def _clock_shifts(calendar: LocalCalendar, per_day: int) -> Floats:
    """Return by how many intervals the wall clock of each day is ahead of the first day's."""
    minutes = calendar.minute_of_day[per_day // 2 :: per_day].astype(np.float64)
    ahead = (minutes - minutes[0] + 720) % 1440 - 720
    shifts: Floats = np.rint(ahead * per_day / 1440)
    return shifts


def _check_asked(
    first_day: int, days: int, known_days: int, calibration_days: int, levels: Sequence[float]
) -> None:
    """Refuse a day-ahead forecast that cannot be made."""
    if calibration_days < CALIBRATION_DAYS_MIN:
        raise InvalidProfile(
            f"calibration_days is {calibration_days}; give {CALIBRATION_DAYS_MIN} or more"
        )
    if first_day < TRAIN_DAYS_MIN + calibration_days:
        raise InsufficientProfile(
            reasons=[
                f"{first_day} days before the first forecast day, at least "
                + str(TRAIN_DAYS_MIN + calibration_days)
            ]
        )
    if days < 1 or first_day > known_days or first_day + days > max(known_days, first_day + 1):
        raise InvalidProfile(
            f"{days} days from day {first_day} on lie beyond the profile's {known_days} days: day "
            "ahead reaches one day past its end, and forecast_season further"
        )
    if not levels or list(levels) != sorted(set(levels)) or not 0 < levels[0] <= levels[-1] < 1:
        raise InvalidProfile("quantile levels must rise and lie between 0 and 1")


def _temperature(temperature_c: ArrayLike | None, known: int, cut: int, end: int) -> Floats | None:
    """Return the temperature without its first intervals, NaN where it is not known till `end`."""
    if temperature_c is None:
        return None
    temperature = np.asarray(temperature_c, dtype=np.float64)
    if temperature.ndim != 1 or temperature.size < known:
        raise InvalidProfile(
            f"temperature_c has shape {temperature.shape}; give one value for each of the "
            f"{known} intervals, and if there are, for those to forecast"
        )
    missing: Floats = np.full(max(0, cut + end - temperature.size), np.nan)
    return np.append(temperature[cut:], missing)


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
            reasons=[
                (
                    f"the pool misses {missing} of {len(pool)} intervals, because some home does; "
                    "fill short gaps (fill_short_gaps, clean --fill-h), leave homes out, or cut "
                    "the span"
                )
            ]
        )
    return np.asarray(pool.import_wh, dtype=np.float64)
