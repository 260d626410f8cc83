"""How far a group's shape lies from a standard profile that suppliers buy by.

None is shipped, because their numbers belong to those who publish them. A standard is any load
profile of a year: BDEW's H25 of 2025 (in the open package `demandlib`), Elexon's profile class 1, or a
supplier's own. `flat_cells` is the one that needs no source.
"""

from collections.abc import Collection
from datetime import date, datetime

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.errors import InsufficientProfile
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.profiles.load_profile import (
    CELLS,
    DAY_TYPES,
    HOURS,
    typical_day_cells,
    typical_day_profile,
)

Floats = NDArray[np.float64]


def standard_cells(
    standard: LoadProfile,
    *,
    start: datetime,
    step_s: int,
    count: int,
    timezone: str,
    holidays: Collection[date] = (),
) -> Floats:
    """Give a standard's energy by month, day type and hour over the time of other homes.

    Its mean power per cell is taken as often as the cell occurs there, so that another year, or a
    part of one, does not count as a difference of shape.

    Args:
        standard: The standard profile; any scale.
        start: Start of the homes' first interval, aware.
        step_s: Their step [s].
        count: Their number of intervals.
        timezone: IANA zone of the local calendar.
        holidays: Local dates that count as weekend.

    Returns:
        Energy per cell [Wh], shape (576,), as `home_cells` has it.

    Raises:
        InsufficientProfile: The standard says nothing of a cell in which the homes use energy.
        InvalidProfile: As for `typical_day_profile`.
    """
    energy = np.where(standard.missing_mask, np.nan, standard.import_wh)[None, :]
    typical = typical_day_profile(
        energy * (1e6 / max(float(np.nanmax(energy)), 1e-9)),
        start=standard.start,
        step_s=standard.step_s,
        timezone=timezone,
        holidays=holidays,
    )
    hours = flat_cells(
        start=start, step_s=step_s, count=count, timezone=timezone, holidays=holidays
    )
    mean_w = typical.mean_w_per_home().ravel()
    unknown = np.isnan(mean_w) & (hours > 0)
    if unknown.any():
        month, rest = divmod(int(unknown.argmax()), len(DAY_TYPES) * HOURS)
        raise InsufficientProfile(
            reasons=[
                (
                    f"the standard profile has nothing for month {month + 1}, "
                    f"{DAY_TYPES[rest // HOURS]}, hour {rest % HOURS}; give one of a whole year"
                )
            ]
        )
    cells: Floats = np.nan_to_num(mean_w) * hours
    return cells


def flat_cells(
    *,
    start: datetime,
    step_s: int,
    count: int,
    timezone: str,
    holidays: Collection[date] = (),
) -> Floats:
    """Give the energy per cell of a load of one watt [Wh], shape (576,): the hours in each cell."""
    cells = typical_day_cells(
        start=start, step_s=step_s, count=count, timezone=timezone, holidays=holidays
    )
    return np.bincount(cells, minlength=CELLS) * np.float64(step_s / 3600)
