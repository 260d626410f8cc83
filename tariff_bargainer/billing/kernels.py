"""The inner loops over intervals: numpy always, numba when it is installed.

Both do the same floating-point operations in the same order, so their results are equal to the
last bit; a test holds them to that. Loads are added in 64-bit floats, interval by interval.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

HOMES_PER_CHUNK = 64
"""Homes that numpy works on at a time, so that temporary arrays stay small."""
COMPILE_FROM_VALUES = 2_000_000
"""Below this many values compiling would take longer than it saves."""

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.float32] | NDArray[np.float64]


def use_compiled(values: int, compiled: bool | None) -> bool:
    """Decide whether compiled kernels are used."""
    if compiled is None:
        return values >= COMPILE_FROM_VALUES and _has_numba()
    return compiled


@cache
def _has_numba() -> bool:
    """Look for numba once; a look costs milliseconds."""
    return find_spec("numba") is not None


def reduce_to_cells(
    loads: AnyFloats,
    run_start: NDArray[np.int64],
    run_cell: NDArray[np.int32],
    n_cells: int,
    per_window: int,
    *,
    sum_divisor: float = 1.0,
    highest_factor: float = 1.0,
    compiled: bool | None = None,
) -> tuple[Floats, Floats]:
    """Add loads by cell and keep the highest window of each cell.

    Args:
        loads: Energy per home and interval, shape (n_homes, n).
        run_start: First interval of each run of one cell, and the end, shape (n_runs + 1,).
        run_cell: Cell of each run, shape (n_runs,).
        n_cells: Number of cells.
        per_window: Intervals of a demand window; windows do not cross runs.
        sum_divisor: Number that finished sums are divided by, for their unit.
        highest_factor: Number that highest windows are multiplied by, for their unit.
        compiled: Whether to use numba; None decides by size.

    Returns:
        Sums and highest windows, each of shape (n_homes, n_cells).
    """
    if use_compiled(loads.size, compiled):
        from tariff_bargainer.billing import compiled_kernels  # noqa: PLC0415 - optional numba

        scales = (sum_divisor, highest_factor)
        return compiled_kernels.reduce_to_cells(
            loads, run_start, run_cell, n_cells, per_window, scales
        )
    sums = np.zeros((len(loads), n_cells))
    highest = np.zeros((len(loads), n_cells))
    for low in range(0, len(loads), HOMES_PER_CHUNK):
        chunk = slice(low, low + HOMES_PER_CHUNK)
        run_sums, run_highest = _runs(loads[chunk], run_start, per_window)
        for first, last in _segments(run_cell):
            cells = slice(run_cell[first], run_cell[first] + last - first)
            sums[chunk, cells] += run_sums[:, first:last]
            peaks = highest[chunk, cells]
            np.maximum(peaks, run_highest[:, first:last], out=peaks)
    sums /= sum_divisor
    highest *= highest_factor
    return sums, highest


def run_sums(
    loads: AnyFloats, run_start: NDArray[np.int64], *, compiled: bool | None = None
) -> Floats:
    """Add loads by run, shape (n_homes, n_runs)."""
    if use_compiled(loads.size, compiled):
        from tariff_bargainer.billing import compiled_kernels  # noqa: PLC0415 - optional numba

        return compiled_kernels.run_sums(loads, run_start)
    return np.concatenate(
        [
            _runs(loads[low : low + HOMES_PER_CHUNK], run_start, 1)[0]
            for low in range(0, len(loads), HOMES_PER_CHUNK)
        ]
    )


def _runs(loads: AnyFloats, run_start: NDArray[np.int64], per_window: int) -> tuple[Floats, Floats]:
    """Sum and highest window of each run, interval after interval."""
    lengths = np.diff(run_start)
    sums = np.zeros((len(loads), len(lengths)))
    highest = np.zeros((len(loads), len(lengths)))
    window = np.zeros((len(loads), len(lengths)))
    for step in range(int(lengths.max())):
        here = np.flatnonzero(lengths > step)
        values = loads[:, run_start[here] + step].astype(np.float64)
        sums[:, here] += values
        if step % per_window == 0:
            window[:, here] = values
        else:
            window[:, here] += values
        # An unfinished window is lower than the finished one, as energy is never negative.
        highest[:, here] = np.maximum(highest[:, here], window[:, here])
    return sums, highest


def _segments(run_cell: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Cut runs into stretches of neighbouring, rising cells."""
    cuts = np.flatnonzero(np.diff(run_cell) != 1) + 1
    edges = [0, *cuts.tolist(), len(run_cell)]
    return list(itertools.pairwise(edges))


def highest_by_group(
    values: Floats, groups: NDArray[np.int64], n_groups: int, *, compiled: bool | None = None
) -> Floats:
    """Keep the highest value of each group of columns, under several groupings.

    Args:
        values: Values that are not negative, shape (n_rows, n_columns).
        groups: Group of each column under each grouping, shape (n_groupings, n_columns).
        n_groups: Number of groups.
        compiled: Whether to use numba; None decides by size.

    Returns:
        Highest values, zero for a group without columns, shape (n_groupings, n_rows, n_groups).
    """
    if use_compiled(values.size * len(groups), compiled):
        from tariff_bargainer.billing import compiled_kernels  # noqa: PLC0415 - optional numba

        return compiled_kernels.highest_by_group(values, groups, n_groups)
    highest = np.zeros((len(groups), len(values), n_groups))
    for target, group in zip(highest, groups, strict=True):
        order = np.argsort(group, kind="stable")
        present, starts = np.unique(group[order], return_index=True)
        target[:, present] = np.maximum.reduceat(values[:, order], starts, axis=1)
    return highest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlocksInOrder:
    """Blocks of one charge, to be filled in the order of use.

    Attributes:
        fresh: True for the runs at which blocks start anew, shape (n_runs,).
        period: Period of each run, shape (n_runs,).
        edges: Edges of the blocks per period from 0 to infinity, shape (n_periods, n_tiers + 1).
        rates: Price of each block, shape (n_periods, n_tiers).
        scale: Multiplier of the edges per home and month, shape (n_homes, n_months).
        own_counters: Whether each period counts on its own.
    """

    fresh: NDArray[np.bool_]
    period: NDArray[np.int16]
    edges: Floats
    rates: Floats
    scale: Floats
    own_counters: bool


def chronological_cost(
    energy: Floats,
    month_start: NDArray[np.int64],
    charges: Sequence[BlocksInOrder],
    *,
    compiled: bool | None = None,
) -> Floats:
    """Price blocks in the order of use, for several charges.

    Args:
        energy: Energy per home and run, shape (n_homes, n_runs).
        month_start: First run of each month, and the end, shape (n_months + 1,).
        charges: The charges.
        compiled: Whether to use numba; None decides by size.

    Returns:
        Cost per charge, home and month, shape (n_charges, n_homes, n_months).
    """
    cost = np.zeros((len(charges), len(energy), len(month_start) - 1))
    if use_compiled(energy.size * len(charges), compiled):
        from tariff_bargainer.billing import compiled_kernels  # noqa: PLC0415 - optional numba

        for target, charge in zip(cost, charges, strict=True):
            compiled_kernels.chronological_cost(energy, month_start, charge, target)
        return cost
    for target, charge in zip(cost, charges, strict=True):
        _chronological(energy, month_start, charge, target)
    return cost


def _chronological(
    energy: Floats, month_start: NDArray[np.int64], charge: BlocksInOrder, cost: Floats
) -> None:
    n_tiers = charge.rates.shape[1]
    counter = np.zeros((len(energy), len(charge.rates)))
    for month in range(len(month_start) - 1):
        factor = charge.scale[:, month]
        for run in range(month_start[month], month_start[month + 1]):
            if charge.fresh[run]:
                counter[:] = 0.0
            here = int(charge.period[run])
            column = here if charge.own_counters else 0
            before = counter[:, column].copy()
            after = before + energy[:, run]
            counter[:, column] = after
            for tier in range(n_tiers):
                low = charge.edges[here, tier] * factor
                high = charge.edges[here, tier + 1] * factor if tier + 1 < n_tiers else np.inf
                part = np.minimum(after, high) - np.maximum(before, low)
                cost[:, month] += np.maximum(part, 0.0) * charge.rates[here, tier]
