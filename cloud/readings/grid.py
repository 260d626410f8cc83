"""Intervals on one regular grid: what fills a cell, and what a home with several meters sums to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloud.errors import BadReadingsQuery
from cloud.readings.coverage import to_us

CELLS_MAX = 150_000_000
"""Homes times steps of one answer: 1.2 GB of floats."""

MICRO = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Regular half-open steps from `start_us` on.

    Attributes:
        start_us: Start of the first step, microseconds since 1970.
        step_us: Length of a step [µs].
        steps: How many.
    """

    start_us: int
    step_us: int
    steps: int

    @property
    def end_us(self) -> int:
        """End of the last step, microseconds since 1970."""
        return self.start_us + self.step_us * self.steps

    def index(self) -> pd.DatetimeIndex:
        """Starts of the steps, aware UTC."""
        starts = np.arange(self.steps, dtype=np.int64) * self.step_us + self.start_us
        stamps = pd.DatetimeIndex(starts.view("datetime64[us]"), name="interval_start")
        return stamps.tz_localize(UTC)


def grid_of(start: datetime, end: datetime, step_s: int, homes: int) -> Grid:
    """Check a question's window.

    Raises:
        BadReadingsQuery: Naive times, no whole number of steps, or too large an answer.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise BadReadingsQuery("start and end must be aware times; add an offset")
    if step_s <= 0:
        raise BadReadingsQuery(f"step_s is {step_s}; give a positive number of seconds")
    start_us, end_us = to_us(start), to_us(end)
    steps, rest = divmod(end_us - start_us, step_s * MICRO)
    if steps <= 0 or rest:
        raise BadReadingsQuery(
            f"{start.isoformat()} to {end.isoformat()} is no whole number of steps of {step_s} s; "
            "move the end"
        )
    if steps * max(homes, 1) > CELLS_MAX:
        raise BadReadingsQuery(
            f"{homes} homes by {steps} steps is more than {CELLS_MAX} cells; ask for fewer homes, "
            "a shorter time or a coarser step"
        )
    return Grid(start_us=start_us, step_us=step_s * MICRO, steps=steps)


def sum_meters(
    per_meter_wh: NDArray[np.float64], spans_us: Sequence[tuple[int, int]], grid: Grid
) -> NDArray[np.float64]:
    """Add the meters of one home; missing where a meter in service is missing.

    A meter is in service between the start of its first and the end of its last energy.

    Args:
        per_meter_wh: Energy per meter and step [Wh], NaN missing, shape (meters, steps).
        spans_us: Start of the first and end of the last energy of each meter.
        grid: The steps.

    Returns:
        Energy of the home per step [Wh], shape (steps,).
    """
    step_starts = np.arange(grid.steps, dtype=np.int64) * grid.step_us + grid.start_us
    is_missing = np.isnan(per_meter_wh)
    total = np.zeros(grid.steps)
    for meter_wh in np.where(is_missing, 0.0, per_meter_wh):
        total += meter_wh
    is_unknown = is_missing.all(axis=0)
    for meter, (first_us, last_us) in enumerate(spans_us):
        in_service = (step_starts + grid.step_us > first_us) & (step_starts < last_us)
        is_unknown |= is_missing[meter] & in_service
    total[is_unknown] = np.nan
    return total
