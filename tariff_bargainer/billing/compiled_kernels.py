"""The same inner loops as in `kernels`, compiled by numba. Imported only when numba is there.

The order of floating-point operations is that of the numpy versions; keep it so.
"""

from threading import Lock

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from tariff_bargainer.billing.kernels import BlocksInOrder

ONE_AT_A_TIME = Lock()
"""Parallel kernels share one pool of threads, which not every back end lets two callers use."""

LANES = 8
"""Rows that are worked on side by side: one cache line of 64-bit floats."""

Floats = NDArray[np.float64]
Loads = NDArray[np.float32] | NDArray[np.float64]


def reduce_to_cells(
    loads: Loads,
    run_start: NDArray[np.int64],
    run_cell: NDArray[np.int32],
    n_cells: int,
    per_window: int,
    scales: tuple[float, float],
) -> tuple[Floats, Floats]:
    """See `kernels.reduce_to_cells`; `scales` are its divisor and its factor."""
    sums = np.empty((len(loads), n_cells))
    highest = np.empty((len(loads), n_cells))
    lengths = np.diff(run_start)
    cuts = np.flatnonzero(np.diff(run_cell) != 1) + 1
    segments = np.concatenate(([0], cuts, [len(run_cell)])).astype(np.int64)
    with ONE_AT_A_TIME:
        if per_window == 1 and (lengths == 4).all():
            _reduce_quarters(loads, segments, run_cell, scales, sums, highest)
        else:
            _reduce_any(loads, run_start, run_cell, per_window, scales, sums, highest)
    return sums, highest


@njit(parallel=True, cache=True)
def _reduce_quarters(
    loads: Loads,
    segments: NDArray[np.int64],
    run_cell: NDArray[np.int32],
    scales: tuple[float, float],
    sums: Floats,
    highest: Floats,
) -> None:
    """Reduce runs of four intervals, the common case of quarter-hours in hours.

    The year of a home is first folded to runs, which stay in cache and which the compiler turns
    into vector instructions, and then added day by day to the cells.
    """
    n_runs = len(run_cell)
    for home in prange(loads.shape[0]):
        row = loads[home]
        sums[home] = 0.0
        highest[home] = 0.0
        run_sum = np.empty(n_runs, np.float64)
        run_top = np.empty(n_runs, loads.dtype)
        for run in range(n_runs):
            at = run * 4
            a = row[at]
            b = row[at + 1]
            c = row[at + 2]
            d = row[at + 3]
            run_sum[run] = ((np.float64(a) + np.float64(b)) + np.float64(c)) + np.float64(d)
            left = max(a, b)
            right = max(c, d)
            run_top[run] = max(left, right)
        for segment in range(len(segments) - 1):
            first = segments[segment]
            length = segments[segment + 1] - first
            base = run_cell[first]
            cell_sum = sums[home, base : base + length]
            cell_top = highest[home, base : base + length]
            day_sum = run_sum[first : first + length]
            day_top = run_top[first : first + length]
            for cell in range(length):
                cell_sum[cell] += day_sum[cell]
            for cell in range(length):
                cell_top[cell] = max(np.float64(day_top[cell]), cell_top[cell])
        sums[home] /= scales[0]
        highest[home] *= scales[1]


@njit(parallel=True, cache=True)
def _reduce_any(
    loads: Loads,
    run_start: NDArray[np.int64],
    run_cell: NDArray[np.int32],
    per_window: int,
    scales: tuple[float, float],
    sums: Floats,
    highest: Floats,
) -> None:
    """Reduce runs of any length."""
    for home in prange(loads.shape[0]):
        sums[home] = 0.0
        highest[home] = 0.0
        for run in range(len(run_cell)):
            total = 0.0
            window = 0.0
            top = 0.0
            for step in range(run_start[run + 1] - run_start[run]):
                energy = np.float64(loads[home, run_start[run] + step])
                total += energy
                window = energy if step % per_window == 0 else window + energy
                top = max(top, window)
            cell = run_cell[run]
            sums[home, cell] += total
            highest[home, cell] = max(highest[home, cell], top)
        sums[home] /= scales[0]
        highest[home] *= scales[1]


def run_sums(loads: Loads, run_start: NDArray[np.int64]) -> Floats:
    """See `kernels.run_sums`."""
    sums = np.zeros((len(loads), len(run_start) - 1))
    with ONE_AT_A_TIME:
        if (np.diff(run_start) == 4).all():
            _sum_quarters(loads, sums)
        else:
            _sum_runs(loads, run_start, sums)
    return sums


@njit(parallel=True, cache=True)
def _sum_quarters(loads: Loads, sums: Floats) -> None:
    """Add runs of four intervals."""
    for home in prange(loads.shape[0]):
        row = loads[home]
        target = sums[home]
        for run in range(len(target)):
            at = run * 4
            a = np.float64(row[at])
            b = np.float64(row[at + 1])
            c = np.float64(row[at + 2])
            target[run] = ((a + b) + c) + np.float64(row[at + 3])


@njit(parallel=True, cache=True)
def _sum_runs(loads: Loads, run_start: NDArray[np.int64], sums: Floats) -> None:
    """Add runs of any length."""
    for home in prange(loads.shape[0]):
        for run in range(sums.shape[1]):
            total = 0.0
            for at in range(run_start[run], run_start[run + 1]):
                total += np.float64(loads[home, at])
            sums[home, run] = total


def highest_by_group(values: Floats, groups: NDArray[np.int64], n_groups: int) -> Floats:
    """See `kernels.highest_by_group`."""
    highest = np.zeros((len(groups), len(values), n_groups))
    # Neighbouring columns are mostly of one group, so each grouping becomes a few stretches.
    starts, stretch_groups, offsets = [], [], [0]
    for group in groups:
        first = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        starts.append(np.append(first, len(group)))
        stretch_groups.append(np.append(group[first], 0))
        offsets.append(offsets[-1] + len(first) + 1)
    with ONE_AT_A_TIME:
        _highest_by_group(
            values,
            np.concatenate(starts).astype(np.int64),
            np.concatenate(stretch_groups).astype(np.int64),
            np.array(offsets, dtype=np.int64),
            highest,
        )
    return highest


@njit(parallel=True, cache=True, fastmath={"nnan", "nsz"})
def _highest_by_group(
    values: Floats,
    starts: NDArray[np.int64],
    stretch_groups: NDArray[np.int64],
    offsets: NDArray[np.int64],
    highest: Floats,
) -> None:
    """Keep the highest value of each stretch, for `LANES` rows side by side.

    Stretches are short, so the compiler finds its vectors across rows; a block of rows is turned
    once and stays in cache for all groupings.
    """
    n_rows, n_columns = values.shape
    n_groups = highest.shape[2]
    for block in prange((n_rows + LANES - 1) // LANES):
        first_row = block * LANES
        n_here = min(LANES, n_rows - first_row)
        turned = np.zeros((n_columns, LANES))
        turned[:, :n_here] = values[first_row : first_row + n_here].T
        found = np.empty((n_groups, LANES))
        top = np.empty(LANES)
        for grouping in range(len(offsets) - 1):
            found[:] = 0.0
            for stretch in range(offsets[grouping], offsets[grouping + 1] - 1):
                top[:] = 0.0
                for column in range(starts[stretch], starts[stretch + 1]):
                    for lane in range(LANES):
                        top[lane] = max(top[lane], turned[column, lane])
                group = stretch_groups[stretch]
                for lane in range(LANES):
                    found[group, lane] = max(top[lane], found[group, lane])
            highest[grouping, first_row : first_row + n_here] = found[:, :n_here].T


def chronological_cost(
    energy: Floats, month_start: NDArray[np.int64], charge: BlocksInOrder, cost: Floats
) -> None:
    """See `kernels.chronological_cost`; adds the cost of one charge to `cost`."""
    with ONE_AT_A_TIME:
        _chronological(
            energy,
            month_start,
            charge.fresh,
            charge.period.astype(np.uint16),
            charge.edges,
            charge.rates,
            charge.scale,
            charge.own_counters,
            cost,
        )


@njit(cache=True)
def _cross(
    before: float,
    after: float,
    tier: int,
    edges: Floats,
    rates: Floats,
    factor: float,
    spent: float,
) -> tuple[float, int]:
    """Price one run that leaves its block; give the new sum and the block it ends in."""
    while True:
        last = tier + 1 == len(rates)
        top = np.inf if last else edges[tier + 1] * factor
        part = min(after, top) - max(before, edges[tier] * factor)
        if part > 0.0:
            spent += part * rates[tier]
        if after <= top:
            return spent, tier
        tier += 1


@njit(cache=True)
def _open_first(
    edges: Floats,
    rates: Floats,
    factor: float,
    block: NDArray[np.int64],
    high: Floats,
    rate: Floats,
) -> None:
    """Start every period in its first block."""
    for p in range(len(rates)):
        block[p] = 0
        high[p] = edges[p, 1] * factor if rates.shape[1] > 1 else np.inf
        rate[p] = rates[p, 0]


@njit(parallel=True, cache=True)
def _chronological(
    energy: Floats,
    month_start: NDArray[np.int64],
    fresh: NDArray[np.bool_],
    period: NDArray[np.uint16],
    edges: Floats,
    rates: Floats,
    scale: Floats,
    own_counters: bool,
    cost: Floats,
) -> None:
    """Fill blocks run by run; each period remembers its open block, so most runs cost one test."""
    n_periods, n_tiers = rates.shape
    for home in prange(energy.shape[0]):
        counter = np.zeros(n_periods)
        block = np.zeros(n_periods, np.int64)
        high = np.zeros(n_periods)
        rate = np.zeros(n_periods)
        row = energy[home]
        shared = 0.0
        for month in range(len(month_start) - 1):
            factor = scale[home, month]
            spent = 0.0
            # Limits may change with the month, so that the open blocks are found anew.
            _open_first(edges, rates, factor, block, high, rate)
            for run in range(month_start[month], month_start[month + 1]):
                here = period[run]
                if fresh[run]:
                    shared = 0.0
                    counter[:] = 0.0
                    _open_first(edges, rates, factor, block, high, rate)
                # The sum of all periods stays in a register; a period's own is in memory.
                before = counter[here] if own_counters else shared
                after = before + row[run]
                if own_counters:
                    counter[here] = after
                else:
                    shared = after
                if after <= high[here]:
                    spent += (after - before) * rate[here]
                    continue
                spent, tier = _cross(
                    before, after, block[here], edges[here], rates[here], factor, spent
                )
                block[here] = tier
                high[here] = edges[here, tier + 1] * factor if tier + 1 < n_tiers else np.inf
                rate[here] = rates[here, tier]
            cost[home, month] += spent
