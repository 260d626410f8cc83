"""Tariffs priced on reduced loads: every home at once, month by month, and alike work together."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.bill import is_chronological
from tariff_bargainer.billing.cells import LoadCells
from tariff_bargainer.billing.index_cost import IndexSeries, linked_floats
from tariff_bargainer.billing.kernels import BlocksInOrder, chronological_cost
from tariff_bargainer.billing.reduction import Reduction
from tariff_bargainer.billing.sweep_charges import (
    HomeMonths,
    add_month_charges,
    days_in,
    parts_of,
)
from tariff_bargainer.errors import MissingInput
from tariff_bargainer.tariffs.tariff import (
    DemandCharge,
    EnergyCharge,
    IndexLink,
    Metering,
    Tariff,
)

Floats = NDArray[np.float64]
ONE_THREAD_PRODUCTS = 250_000
"""Multiplications below which OpenBLAS does not start threads."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Job:
    """One energy charge of one tariff in one direction."""

    tariff: Tariff
    charge: EnergyCharge
    chronological: bool
    target: Floats


def price_on_cells(
    reduction: Reduction,
    tariffs: Sequence[tuple[Tariff, Metering]],
    index: Mapping[str, IndexSeries],
    conditions: AbstractSet[str],
) -> Iterator[HomeMonths]:
    """Price every home under tariffs that `why_exact` has nothing against, in their order."""
    grid = reduction.grid
    n_homes = reduction.portfolio.n_homes
    nothing = np.zeros((n_homes, grid.n_months))
    nothing.setflags(write=False)
    amounts = [
        HomeMonths.empty(
            nothing,
            parts_of(tariff, exports=metering == "net-billing" and reduction.exported is not None),
        )
        for tariff, metering in tariffs
    ]
    jobs: dict[str, list[_Job]] = {"import": [], "export": []}
    for (tariff, metering), target in zip(tariffs, amounts, strict=True):
        for charge in tariff.energy:
            ordered = is_chronological(charge, tariff, metering)
            jobs["import"].append(
                _Job(tariff=tariff, charge=charge, chronological=ordered, target=target.energy)
            )
        if metering == "net-billing" and reduction.exported is not None:
            for charge in tariff.export:
                ordered = is_chronological(charge, tariff, metering)
                earned = target.export_credit
                jobs["export"].append(
                    _Job(tariff=tariff, charge=charge, chronological=ordered, target=earned)
                )
    reduction.find_peaks(
        (reduction.window_s(demand), _demand_period(reduction, demand, tariff))
        for tariff, _ in tariffs
        for demand in tariff.demand
    )
    for direction, wanted in jobs.items():
        _EnergyPricing(reduction=reduction, direction=direction, index=index).price(wanted)
    for (tariff, _), target in zip(tariffs, amounts, strict=True):
        for demand in tariff.demand:
            target.demand += demand_cost(reduction, demand, tariff)
        month_kwh = reduction.import_cells.month_kwh if tariff.taxes else np.zeros((1, 1))
        add_month_charges(
            target, tariff, grid.calendar.months, reduction.shares, month_kwh, conditions
        )
        yield target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _EnergyPricing:
    """Energy charges of all tariffs in one direction."""

    reduction: Reduction
    direction: str
    index: Mapping[str, IndexSeries]

    def price(self, jobs: Sequence[_Job]) -> None:
        """Add what every job costs to its target."""
        plain = [job for job in jobs if not job.charge.tiered]
        tiered = [job for job in jobs if job.charge.tiered]
        ordered = [job for job in tiered if job.chronological or job.charge.tier_scope == "period"]
        if plain:
            self._plain(plain)
        if ordered:
            self._in_order(ordered)
        for job in tiered:
            if not (job.chronological or job.charge.tier_scope == "period"):
                self._pro_rata(job)
        linked = [job for job in jobs if job.charge.index]
        if linked:
            self._linked(linked)

    @property
    def _cells(self) -> LoadCells:
        return self.reduction.cells(self.direction)

    def _period_of_cell(self, job: _Job) -> NDArray[np.int16]:
        return self.reduction.period_of_cell(job.charge.periods, job.tariff)

    def _plain(self, jobs: Sequence[_Job]) -> None:
        columns = []
        for job in jobs:
            rates = np.array([float(period.tiers[0].rate) for period in job.charge.periods])
            columns.append(rates[self._period_of_cell(job)])
        cost = _by_month(self._cells, np.stack(columns, axis=1))
        for position, job in enumerate(jobs):
            job.target[:] += cost[:, :, position]

    def _pro_rata(self, job: _Job) -> None:
        charge = job.charge
        member = self._period_of_cell(job)[:, None] == np.arange(len(charge.periods))
        energy = _by_month(self._cells, member.astype(np.float64))
        total = energy.sum(axis=2)
        before = _counted_before(_month_groups(self.reduction, charge), total)
        scale = _limit_scale(self.reduction, charge, job.tariff)
        share = np.divide(
            energy, total[:, :, None], out=np.zeros(energy.shape), where=total[:, :, None] > 0
        )
        for position, priced in enumerate(charge.periods):
            edges = [0.0, *(float(t.upto) for t in priced.tiers if t.upto is not None), np.inf]
            for (low, high), tier in zip(pairwise(edges), priced.tiers, strict=True):
                top = scale * high if np.isfinite(high) else np.inf
                width = np.minimum(before + total, top) - np.maximum(before, scale * low)
                job.target[:] += np.maximum(width, 0.0) * share[:, :, position] * float(tier.rate)

    def _in_order(self, jobs: Sequence[_Job]) -> None:
        grid = self.reduction.grid
        cost = chronological_cost(
            self.reduction.hourly_kwh(self.direction),
            np.searchsorted(grid.month_of_run, np.arange(grid.n_months + 1)).astype(np.int64),
            [self._blocks(job) for job in jobs],
            compiled=self.reduction.compiled,
        )
        for job, found in zip(jobs, cost, strict=True):
            job.target[:] += found

    def _blocks(self, job: _Job) -> BlocksInOrder:
        grid, charge = self.reduction.grid, job.charge
        n_tiers = max(len(period.tiers) for period in charge.periods)
        edges = np.full((len(charge.periods), n_tiers + 1), np.inf)
        edges[:, 0] = 0.0
        rates = np.zeros((len(charge.periods), n_tiers))
        for position, priced in enumerate(charge.periods):
            for tier, block in enumerate(priced.tiers):
                rates[position, tier] = float(block.rate)
                if block.upto is not None:
                    edges[position, tier + 1] = float(block.upto)
        reset = np.array(_month_groups(self.reduction, charge))[grid.month_of_run]
        if charge.tier_basis == "day":
            reset = grid.calendar.day_index[grid.run_start[:-1]]
        return BlocksInOrder(
            fresh=np.diff(reset, prepend=reset[0] - 1) != 0,
            period=self._period_of_cell(job)[grid.run_cell],
            edges=edges,
            rates=rates,
            scale=_limit_scale(self.reduction, charge, job.tariff),
            own_counters=charge.tier_scope == "period",
        )

    def _linked(self, jobs: Sequence[_Job]) -> None:
        grid, portfolio = self.reduction.grid, self.reduction.portfolio
        prices: dict[IndexLink, Floats] = {}
        for job in jobs:
            link = job.charge.index
            if link is None or link in prices:
                continue
            if link.series not in self.index:
                raise MissingInput(
                    name=link.series, kind="price series", remedy="give it with the sweep"
                )
            n_intervals = portfolio.import_wh.shape[1]
            nano = self.index[link.series].over(portfolio.start, portfolio.step_s, n_intervals)
            prices[link] = linked_floats(link, nano)
        columns = np.stack(list(prices.values()), axis=1)
        per_run = columns[grid.run_start[:-1]]
        if (np.repeat(per_run, np.diff(grid.run_start), axis=0) == columns).all():
            cost = _by_month_of(
                self.reduction.hourly_kwh(self.direction), grid.month_of_run, per_run
            )
        else:
            energy_wh = self.reduction.loads(self.direction)
            cost = _by_month_of(energy_wh, grid.calendar.month_index, columns / 1000.0)
        position = {link: column for column, link in enumerate(prices)}
        for job in jobs:
            if job.charge.index:
                job.target[:] += cost[:, :, position[job.charge.index]]


def _counted_before(groups: Sequence[int], month_kwh: Floats) -> Floats:
    """Energy that quarterly and yearly blocks counted before each month."""
    before = np.zeros(month_kwh.shape)
    for index in range(1, month_kwh.shape[1]):
        if groups[index] == groups[index - 1]:
            before[:, index] = before[:, index - 1] + month_kwh[:, index - 1]
    return before


def _month_groups(reduction: Reduction, charge: EnergyCharge) -> list[int]:
    """Number of the counting group of each month."""
    months = reduction.grid.calendar.months
    if charge.tier_basis == "quarter":
        return [year * 4 + (month - 1) // 3 for year, month in months]
    if charge.tier_basis == "year":
        return [year for year, _ in months]
    return list(range(len(months)))


def _limit_scale(reduction: Reduction, charge: EnergyCharge, tariff: Tariff) -> Floats:
    """Multiplier of block limits by home and month."""
    grid = reduction.grid
    scale = np.ones((reduction.portfolio.n_homes, grid.n_months))
    if charge.tier_basis in {"month-daily", "month-per-kw-daily"}:
        scale *= np.array([days_in(month) for month in grid.calendar.months])
    if charge.tier_basis in {"month-per-kw", "month-per-kw-daily"}:
        alone = np.zeros(grid.n_cells, dtype=np.int16)
        peaks = reduction.peaks_kw(reduction.portfolio.step_s, alone)[:, :, 0]
        across = (d for d in tariff.demand if d.ratchet and d.ratchet.across_periods)
        billed = next(across, None)
        scale *= peaks if billed is None else _ratcheted(reduction, billed, peaks)
    return scale


def _demand_period(reduction: Reduction, charge: DemandCharge, tariff: Tariff) -> NDArray[np.int16]:
    """Period of each cell as far as peaks are concerned; one for all when they bill together."""
    if charge.ratchet and charge.ratchet.across_periods:
        return np.zeros(reduction.grid.n_cells, dtype=np.int16)
    return reduction.period_of_cell(charge.periods, tariff)


def demand_cost(reduction: Reduction, charge: DemandCharge, tariff: Tariff) -> Floats:
    """Cost of peaks by home and month."""
    grid = reduction.grid
    period = reduction.period_of_cell(charge.periods, tariff)
    across = charge.ratchet is not None and charge.ratchet.across_periods
    measured = _demand_period(reduction, charge, tariff)
    peaks = reduction.peaks_kw(reduction.window_s(charge), measured)
    occurs = np.zeros((grid.n_months, len(charge.periods)), dtype=np.bool_)
    occurs[grid.month_of_run, period[grid.run_cell]] = True
    cost = np.zeros(peaks.shape[:2])
    for position, priced in enumerate(charge.periods):
        if not occurs[:, position].any():
            continue
        found = peaks[:, :, 0 if across else position]
        if charge.ratchet:
            found = _ratcheted(reduction, charge, found)
        billed = np.maximum(found, float(charge.minimum_kw)) if charge.minimum_kw else found
        if len(priced.tiers) == 1:
            cost += billed * (float(priced.tiers[0].rate) * occurs[:, position])
            continue
        low = 0.0
        for tier in priced.tiers:
            high = np.inf if tier.upto is None else float(tier.upto)
            block = np.minimum(billed, high)
            np.maximum(block, low, out=block)
            block -= low
            block *= float(tier.rate) * occurs[:, position]
            cost += block
            low = high
    return cost


def _ratcheted(reduction: Reduction, charge: DemandCharge, peaks: Floats) -> Floats:
    """Raise each month's demand to a share of the highest peak in the months before."""
    ratchet = charge.ratchet
    if ratchet is None:
        return peaks
    months = reduction.grid.calendar.months
    raised = peaks.copy()
    for index, (_, month) in enumerate(months):
        first = max(0, index - ratchet.lookback_months)
        earlier = [past for past in range(first, index) if months[past][1] in ratchet.peak_months]
        if earlier and month in ratchet.apply_months:
            shares = np.array([float(ratchet.share_of(months[past][1])) for past in earlier]) / 100
            floor = (peaks[:, earlier] * shares).max(axis=1)
            raised[:, index] = np.maximum(peaks[:, index], floor)
    return raised


def _by_month(cells: LoadCells, per_cell: Floats) -> Floats:
    """Multiply cells with columns of factors, month by month, (n_homes, n_months, n_columns)."""
    grid = cells.grid
    month = np.repeat(np.arange(grid.n_months), grid.cells_per_month)
    return _by_month_of(cells.energy_kwh, month, per_cell)


def _by_month_of(
    energy: NDArray[np.float32] | Floats, month: NDArray[np.integer], factors: Floats
) -> Floats:
    """Multiply energy with columns of factors, month by month."""
    edges = np.searchsorted(month, np.arange(int(month[-1]) + 2)).tolist()
    result = np.empty((len(energy), len(edges) - 1, factors.shape[1]))
    for position, (low, high) in enumerate(pairwise(edges)):
        # Small products stay on one thread of the BLAS, whose waiting threads would otherwise
        # cost more than they help.
        rows = max(8, ONE_THREAD_PRODUCTS // max(1, (high - low) * factors.shape[1]))
        for first in range(0, len(energy), rows):
            homes = slice(first, first + rows)
            result[homes, position] = energy[homes, low:high] @ factors[low:high]
    return result
