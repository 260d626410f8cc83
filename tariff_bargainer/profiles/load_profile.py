"""A group's load, per interval and as a typical day of each month.

Both forms carry, cell by cell, what a privacy floor must know before anything leaves the group:
how many homes are inside and how much of the sum belongs to the largest one.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.calendar import local_calendar
from tariff_bargainer.profiles.intervals import ENERGY_WH_MAX, LoadProfile, start_and_step

MONTHS = 12
DAY_TYPES = ("weekday", "weekend")
"""Second axis of a typical-day profile; a holiday counts as weekend."""
HOURS = 24
CELLS = MONTHS * len(DAY_TYPES) * HOURS
STACKED_MAX = 1_000_000_000
"""Most readings that are laid side by side: 8 GB."""
_HOMES_PER_BLOCK = 256
"""Homes reduced at a time: bounds the working copy to a few hundred megabytes at 15 minutes."""
_UNDISCLOSED_SHARE = 1.0
"""Largest share of an empty or all-zero cell: a zero sum tells every home's reading exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProfile:
    """The sum over homes for each interval.

    Attributes:
        start: Start of the first interval, UTC.
        step_s: Interval length [s].
        energy_wh: Sum over the homes that have a reading [Wh], shape (n_intervals,).
        homes: Homes with a reading in the interval, shape (n_intervals,).
        top_share: Largest home's share of the interval's sum [0..1]; 1 where the sum is zero,
            because a sum of zero discloses each home.
        homes_total: Homes in the group, with or without readings.
        own_peaks_w: Sum over homes of each home's own highest mean power [W].
    """

    start: datetime
    step_s: int
    energy_wh: NDArray[np.int64]
    homes: NDArray[np.int64]
    top_share: NDArray[np.float64]
    homes_total: int
    own_peaks_w: float

    def index(self) -> pd.DatetimeIndex:
        """Return the interval starts as an aware UTC index."""
        return _utc_index(self.start, self.step_s, self.energy_wh.size)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per interval: `energy_wh`, `homes`, `top_share`."""
        return pd.DataFrame(
            {"energy_wh": self.energy_wh, "homes": self.homes, "top_share": self.top_share},
            index=self.index(),
        )

    def _repr_html_(self) -> str:
        metrics = load_metrics(self)
        return (
            f"<p><b>Group profile</b>: {self.homes_total} homes, {self.energy_wh.size} intervals "
            f"of {self.step_s // 60} min from {self.start.isoformat()}; "
            f"{metrics.energy_wh / 1e6:,.2f} MWh, peak {metrics.peak_w / 1e3:,.1f} kW, "
            f"load factor {metrics.load_factor:.2f}</p>"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalDayProfile:
    """Energy by month, day type and local hour: 12 x 2 x 24 = 576 cells.

    Attributes:
        timezone: IANA name of the calendar the cells are cut by.
        energy_wh: Sum over homes and days [Wh], shape (12, 2, 24).
        homes: Homes with at least one reading in the cell, shape (12, 2, 24).
        top_share: Largest home's share of the cell's sum [0..1]; 1 where the sum is zero.
        hours: Clock hours of the profile that fall into the cell [h]. The hour skipped in
            spring counts 0 and the repeated hour of autumn counts 2 on that day.
        home_hours: Hours with a reading, summed over homes [home-h].
        homes_total: Homes in the group.
    """

    timezone: str
    energy_wh: NDArray[np.int64]
    homes: NDArray[np.int64]
    top_share: NDArray[np.float64]
    hours: NDArray[np.float64]
    home_hours: NDArray[np.float64]
    homes_total: int

    def mean_w_per_home(self) -> NDArray[np.float64]:
        """Return the mean power of one home while it was read [W]; NaN where nothing was read."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.home_hours > 0, self.energy_wh / self.home_hours, np.nan)

    def to_frame(self) -> pd.DataFrame:
        """Return 576 rows indexed by `month` (1-12), `day_type` and `hour` (0-23)."""
        index = pd.MultiIndex.from_product(
            [range(1, MONTHS + 1), DAY_TYPES, range(HOURS)], names=["month", "day_type", "hour"]
        )
        return pd.DataFrame(
            {
                "energy_wh": self.energy_wh.ravel(),
                "homes": self.homes.ravel(),
                "top_share": self.top_share.ravel(),
                "hours": self.hours.ravel(),
                "home_hours": self.home_hours.ravel(),
                "mean_w_per_home": self.mean_w_per_home().ravel(),
            },
            index=index,
        )

    def _repr_html_(self) -> str:
        rows = pd.MultiIndex.from_product([range(1, MONTHS + 1), DAY_TYPES])
        table = pd.DataFrame(self.mean_w_per_home().reshape(-1, HOURS), index=rows).round(0)
        return (
            f"<p><b>Typical days</b> ({self.timezone}), {self.homes_total} homes: mean W per home "
            f"by hour</p>{table.to_html()}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadMetrics:
    """What a supplier asks first about a load.

    Attributes:
        energy_wh: Total over the profile [Wh].
        peak_w: Highest mean power over one interval [W].
        peak_start: Start of that interval, UTC.
        load_factor: Mean power over peak power [0..1].
        coincidence: Group peak over the sum of own peaks [0..1]; low means diverse homes.
    """

    energy_wh: int
    peak_w: float
    peak_start: datetime
    load_factor: float
    coincidence: float


def group_profile(import_wh: ArrayLike, *, start: datetime, step_s: int) -> GroupProfile:
    """Add homes together, interval by interval.

    Args:
        import_wh: Energy per home and interval [Wh], shape (homes, n_intervals). NaN is a gap:
            it is left out of the sum and out of the count of homes, never read as zero.
        start: Start of the first interval, aware.
        step_s: Interval length [s].

    Raises:
        InvalidProfile: The array is not two-dimensional, is empty or holds infinities or
            negative energy, or `start` has no time zone.
    """
    energy = _checked(import_wh, start, step_s)
    readings = ~np.isnan(energy)
    filled = np.where(readings, energy, 0.0)
    total = filled.sum(axis=0)
    return GroupProfile(
        start=start.astimezone(UTC),
        step_s=step_s,
        energy_wh=np.rint(total).astype(np.int64),
        homes=readings.sum(axis=0).astype(np.int64),
        top_share=_share(filled.max(axis=0), total),
        homes_total=energy.shape[0],
        own_peaks_w=float(filled.max(axis=1).sum()) * 3600 / step_s,
    )


def typical_day_profile(
    import_wh: ArrayLike,
    *,
    start: datetime,
    step_s: int,
    timezone: str,
    holidays: Collection[date] = (),
) -> TypicalDayProfile:
    """Fold homes into month, day type and local hour.

    Args:
        import_wh: As for `group_profile`.
        start: Start of the first interval, aware.
        step_s: Interval length [s]; must divide an hour.
        timezone: IANA zone of the local calendar, with its summer time.
        holidays: Local dates that count as weekend.

    Raises:
        InvalidProfile: As for `group_profile`, or the step does not divide an hour.
    """
    energy = _checked(import_wh, start, step_s)
    cells = _cells_of(energy, start, step_s, timezone, holidays)
    order = np.argsort(cells, kind="stable")
    present, firsts = np.unique(cells[order], return_index=True)
    total = np.zeros(CELLS)
    top = np.zeros(CELLS)
    homes = np.zeros(CELLS, dtype=np.int64)
    counts = np.zeros(CELLS)
    for first in range(0, energy.shape[0], _HOMES_PER_BLOCK):
        block = energy[first : first + _HOMES_PER_BLOCK, order]
        readings = ~np.isnan(block)
        per_home = np.add.reduceat(np.where(readings, block, 0.0), firsts, axis=1)
        seen = np.add.reduceat(readings, firsts, axis=1, dtype=np.int64)
        total[present] += per_home.sum(axis=0)
        top[present] = np.maximum(top[present], per_home.max(axis=0))
        homes[present] += (seen > 0).sum(axis=0)
        counts[present] += seen.sum(axis=0)
    shape = (MONTHS, len(DAY_TYPES), HOURS)
    step_h = step_s / 3600
    return TypicalDayProfile(
        timezone=timezone,
        energy_wh=np.rint(total).astype(np.int64).reshape(shape),
        homes=homes.reshape(shape),
        top_share=_share(top, total).reshape(shape),
        hours=np.bincount(cells, minlength=CELLS).reshape(shape) * np.float64(step_h),
        home_hours=(counts * step_h).reshape(shape),
        homes_total=energy.shape[0],
    )


def home_cells(
    import_wh: ArrayLike,
    *,
    start: datetime,
    step_s: int,
    timezone: str,
    holidays: Collection[date] = (),
) -> NDArray[np.float64]:
    """Fold each home into typical days of its own: energy per cell [Wh], shape (homes, 576).

    A gap takes nothing into its cell, so homes with many gaps should be left out beforehand.

    Args:
        import_wh: As for `group_profile`.
        start: Start of the first interval, aware.
        step_s: Interval length [s]; must divide an hour.
        timezone: IANA zone of the local calendar.
        holidays: Local dates that count as weekend.

    Raises:
        InvalidProfile: As for `typical_day_profile`.
    """
    energy = _checked(import_wh, start, step_s)
    cells = _cells_of(energy, start, step_s, timezone, holidays)
    order = np.argsort(cells, kind="stable")
    present, firsts = np.unique(cells[order], return_index=True)
    folded = np.zeros((energy.shape[0], CELLS))
    for first in range(0, energy.shape[0], _HOMES_PER_BLOCK):
        block = np.nan_to_num(energy[first : first + _HOMES_PER_BLOCK, order])
        folded[first : first + _HOMES_PER_BLOCK, present] = np.add.reduceat(block, firsts, axis=1)
    return folded


def group_profile_from_frame(frame: pd.DataFrame) -> GroupProfile:
    """Add the columns (homes) of a frame whose index is aware UTC and regular, in [Wh]."""
    import_wh, start, step_s = frame_to_array(frame)
    return group_profile(import_wh, start=start, step_s=step_s)


def typical_day_profile_from_frame(
    frame: pd.DataFrame, *, timezone: str, holidays: Collection[date] = ()
) -> TypicalDayProfile:
    """Fold the columns (homes) of a frame whose index is aware UTC and regular, in [Wh]."""
    import_wh, start, step_s = frame_to_array(frame)
    return typical_day_profile(
        import_wh, start=start, step_s=step_s, timezone=timezone, holidays=holidays
    )


def pool_profile(homes: Iterable[LoadProfile]) -> LoadProfile:
    """Add homes into one profile; an interval that any home misses is missing.

    Raises:
        InvalidProfile: There is no home, or the homes' steps or grids differ.
    """
    stacked, start, step_s = stack_profiles(homes)
    return LoadProfile(start=start, step_s=step_s, import_wh=stacked.sum(axis=0))


def load_metrics(profile: GroupProfile) -> LoadMetrics:
    """Describe a group profile by peak, load factor and coincidence.

    Source: definitions of load factor and coincidence factor as in IEC 60050, 691-10-02 and
    691-10-03.
    """
    power_w = profile.energy_wh * (3600 / profile.step_s)
    at = int(power_w.argmax())
    peak_w = float(power_w[at])
    return LoadMetrics(
        energy_wh=int(profile.energy_wh.sum()),
        peak_w=peak_w,
        peak_start=profile.start + timedelta(seconds=profile.step_s * at),
        load_factor=float(power_w.mean()) / peak_w if peak_w > 0 else 0.0,
        coincidence=peak_w / profile.own_peaks_w if profile.own_peaks_w > 0 else 0.0,
    )


def typical_day_cells(
    *,
    start: datetime,
    step_s: int,
    count: int,
    timezone: str,
    holidays: Collection[date] = (),
) -> NDArray[np.int64]:
    """Return the cell number (month, day type, hour; 0..575) of each interval.

    An interval belongs to the local clock hour in which it starts.
    """
    calendar = local_calendar(start, step_s, count, timezone, holidays)
    free = (calendar.day_type > 0).astype(np.int64)
    month = calendar.month_of_year.astype(np.int64) - 1
    return (month * len(DAY_TYPES) + free) * HOURS + calendar.hour.astype(np.int64)


def stack_profiles(profiles: Iterable[LoadProfile]) -> tuple[NDArray[np.float64], datetime, int]:
    """Lay homes over one time axis: (homes x intervals import [Wh], start, step [s]).

    A home that starts later or ends earlier than another is NaN there, as are its gaps.

    Raises:
        InvalidProfile: There is no home, or the homes' steps or grids differ.
    """
    homes = list(profiles)
    if not homes:
        raise InvalidProfile("there is no home to add: give at least one profile")
    step_s = homes[0].step_s
    start = min(home.start for home in homes)
    end = max(home.end for home in homes)
    step = timedelta(seconds=step_s)
    if len(homes) * ((end - start) // step) > STACKED_MAX:
        raise InvalidProfile(
            f"{len(homes)} homes from {start.date()} to {end.date()} make more than {STACKED_MAX:,} "
            "readings: add them in parts, and check that no home begins in a wrong year"
        )
    stacked = np.full((len(homes), (end - start) // step), np.nan)
    for number, home in enumerate(homes):
        offset, rest = divmod(home.start - start, step)
        if home.step_s != step_s or rest:
            raise InvalidProfile(
                f"home {number} has {home.step_s} s intervals from {home.start.isoformat()}, which "
                f"do not fit {step_s} s intervals from {start.isoformat()}: bring all homes to one "
                "step first"
            )
        measured = np.where(home.missing_mask, np.nan, home.import_wh)
        stacked[number, offset : offset + len(home)] = measured
    return stacked, start, step_s


def frame_to_array(frame: pd.DataFrame) -> tuple[NDArray[np.float64], datetime, int]:
    """Return (homes x intervals [Wh], start, step [s]) of a frame with an aware, regular index.

    Raises:
        InvalidProfile: The index is naive, not rising, or not evenly spaced.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InvalidProfile("this is no DataFrame: give one column of energy [Wh] per home")
    start, step_s = start_and_step(frame.index)
    try:
        energy = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        # Extension types of numbers came through above, so the first other column is at fault.
        wrong = next(name for name, kind in frame.dtypes.items() if kind.kind not in "iuf")
        raise InvalidProfile(
            f"column {wrong!r} holds something else than numbers: give energy [Wh] per home"
        ) from None
    return energy.T, start.astimezone(UTC), step_s


def _checked(import_wh: ArrayLike, start: datetime, step_s: int) -> NDArray[np.float64]:
    energy = np.asarray(import_wh, dtype=np.float64)
    if energy.ndim != 2 or 0 in energy.shape:
        raise InvalidProfile(
            f"a group's energy must have the shape (homes, intervals) with at least one of each, "
            f"not {energy.shape}"
        )
    if start.tzinfo is None:
        raise InvalidProfile(f"the start {start.isoformat()} has no time zone: give aware UTC")
    if step_s <= 0:
        raise InvalidProfile(f"the step must be positive, not {step_s} s")
    for fault, name in (
        (np.isinf(energy), "infinite"),
        (energy < 0, "negative"),
        (energy > ENERGY_WH_MAX, "too large"),
    ):
        if fault.any():
            home, interval = (int(place[0]) for place in np.nonzero(fault))
            raise InvalidProfile(
                f"home {home}, interval {interval} holds {name} energy: export has its own field, "
                "and a missing reading is NaN"
            )
    return energy


def _cells_of(
    energy: NDArray[np.float64],
    start: datetime,
    step_s: int,
    timezone: str,
    holidays: Collection[date],
) -> NDArray[np.int64]:
    if 3600 % step_s:
        raise InvalidProfile(
            f"a step of {step_s} s does not divide an hour: typical days need 60-minute or finer "
            "intervals"
        )
    return typical_day_cells(
        start=start, step_s=step_s, count=energy.shape[1], timezone=timezone, holidays=holidays
    )


def _share(top: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    share = np.full(total.shape, _UNDISCLOSED_SHARE)
    np.divide(top, total, out=share, where=total > 0)
    return share


def _utc_index(start: datetime, step_s: int, count: int) -> pd.DatetimeIndex:
    return pd.date_range(
        start=pd.Timestamp(start).tz_convert("UTC"),
        periods=count,
        freq=pd.Timedelta(seconds=step_s),
    )
