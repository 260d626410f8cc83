"""Filling short gaps as estimates that stay visible.

Only gaps up to a stated length are filled, with the median of the same clock time in the weeks
around, and every filled interval is marked. When a counter tells how much energy a gap held, the
estimate is scaled to it, so that the total is measured and only its place is guessed. Longer gaps
stay gaps.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.intervals import LoadProfile

WEEK_S = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CleanedProfile:
    """A profile with short gaps filled.

    Attributes:
        profile: The profile; long gaps are still missing.
        estimated: True where an interval is an estimate, shape (n,).
        estimated_wh: Energy in estimated intervals [Wh].
        left_missing: Intervals still missing.
    """

    profile: LoadProfile
    estimated: NDArray[np.bool_]
    estimated_wh: float
    left_missing: int


def fill_short_gaps(
    profile: LoadProfile,
    *,
    gap_h_max: float = 6.0,
    weeks_around: int = 4,
    gap_energy_wh: Mapping[int, float] | None = None,
) -> CleanedProfile:
    """Estimate gaps of at most a given length; measured intervals are never touched.

    Args:
        profile: Import per interval [Wh] with gaps. Export with gaps is left as it is.
        gap_h_max: Longest gap that is filled [h].
        weeks_around: Weeks before and after whose same clock time is looked at.
        gap_energy_wh: Energy a gap held by the meter's counter [Wh], by the gap's first interval.

    Raises:
        InvalidProfile: A counter's energy is given for an interval at which no gap starts.
    """
    import_wh = np.where(profile.missing_mask, np.nan, profile.import_wh)
    missing = np.isnan(import_wh)
    gaps = _gaps(missing)
    known = dict(gap_energy_wh or {})
    wrong = sorted(set(known) - {first for first, _ in gaps})
    if wrong:
        raise InvalidProfile(f"no gap starts at interval {wrong[0]}: name the gap's first interval")
    filled = import_wh.copy()
    estimated = np.zeros(missing.size, dtype=np.bool_)
    for first, last in gaps:
        if (last - first) * profile.step_s > gap_h_max * 3600:
            continue
        guess = _same_times(import_wh, np.arange(first, last), profile.step_s, weeks_around)
        if first in known:
            guess = _scaled(guess, known[first])
        if np.isnan(guess).any():
            continue
        filled[first:last] = guess
        estimated[first:last] = True
    still = np.isnan(filled)
    return CleanedProfile(
        profile=LoadProfile(
            start=profile.start,
            step_s=profile.step_s,
            import_wh=filled,
            export_wh=profile.export_wh,
        ),
        estimated=estimated,
        estimated_wh=float(filled[estimated].sum()),
        left_missing=int(still.sum()),
    )


def _gaps(missing: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], missing.astype(np.int8), [0]))))
    return [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]


def _same_times(
    import_wh: NDArray[np.float64], places: NDArray[np.int64], step_s: int, weeks_around: int
) -> NDArray[np.float64]:
    """Return the median of the same weekday and time in the weeks around; NaN when there is none."""
    per_week = WEEK_S // step_s
    shifts = np.array([week for week in range(-weeks_around, weeks_around + 1) if week]) * per_week
    at = places[:, None] + shifts[None, :]
    inside = (at >= 0) & (at < import_wh.size)
    found = np.where(inside, import_wh[np.clip(at, 0, import_wh.size - 1)], np.nan)
    guess = np.full(places.size, np.nan)
    some = ~np.isnan(found).all(axis=1)
    guess[some] = np.nanmedian(found[some], axis=1)
    return guess


def _scaled(guess: NDArray[np.float64], energy_wh: float) -> NDArray[np.float64]:
    """Give a gap its measured total; without a shape to go by, spread it evenly."""
    if np.isnan(guess).any() or guess.sum() <= 0:
        return np.full(guess.size, energy_wh / guess.size)
    scaled: NDArray[np.float64] = guess * (energy_wh / guess.sum())
    return scaled
