"""One tariff priced on reduced loads: every home at once, month by month."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.bill import is_chronological
from tariff_bargainer.billing.cells import LoadCells, Loads, reduce_loads
from tariff_bargainer.billing.index_cost import IndexSeries, linked_prices
from tariff_bargainer.billing.kernels import chronological_cost
from tariff_bargainer.billing.reduction import Reduction, table_of
from tariff_bargainer.billing.sweep_charges import HomeMonths, add_month_charges, days_in
from tariff_bargainer.errors import MissingInput
from tariff_bargainer.tariffs.tariff import (
    DemandCharge,
    EnergyCharge,
    Metering,
    Period,
    Tariff,
)

Floats = NDArray[np.float64]


def price_on_cells(
    reduction: Reduction,
    tariff: Tariff,
    metering: Metering,
    index: Mapping[str, IndexSeries],
    conditions: AbstractSet[str],
) -> HomeMonths:
    """Price every home under one tariff that `why_exact` has nothing against."""
    grid = reduction.grid
    amounts = HomeMonths.empty(reduction.portfolio.n_homes, grid.n_months)
    pricing = _CellPricing(reduction=reduction, tariff=tariff, metering=metering, index=index)
    for charge in tariff.energy:
        amounts.energy += pricing.energy(charge, "import")
    if metering == "net-billing" and reduction.exported is not None:
        for charge in tariff.export:
            amounts.export_credit += pricing.energy(charge, "export")
    for demand in tariff.demand:
        amounts.demand += pricing.demand(demand)
    imported = reduction.cells("import")
    assert imported is not None  # noqa: S101 - import is always reduced
    add_month_charges(
        amounts,
        tariff,
        grid.calendar.months,
        reduction.shares,
        imported.month_kwh if tariff.taxes else np.zeros((1, grid.n_months)),
        conditions,
    )
    return amounts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _CellPricing:
    """One tariff on a reduction."""

    reduction: Reduction
    tariff: Tariff
    metering: Metering
    index: Mapping[str, IndexSeries]

    def period_of_cell(self, periods: tuple[Period, ...]) -> NDArray[np.int16]:
        """Period of a charge in each cell."""
        return self.reduction.grid.period_of_cell(table_of(periods, self.tariff))

    def energy(self, charge: EnergyCharge, direction: str) -> Floats:
        """Cost by home and month."""
        if not charge.tiered:
            cost = self._plain(charge, direction)
        elif is_chronological(charge, self.tariff, self.metering) or charge.tier_scope == "period":
            cost = self._in_order(charge, direction)
        else:
            cost = self._pro_rata(charge, direction)
        if charge.index:
            cost += self._linked(charge, direction)
        return cost

    def _plain(self, charge: EnergyCharge, direction: str) -> Floats:
        cells = self.reduction.cells(direction)
        assert cells is not None  # noqa: S101 - checked by the caller
        rates = np.array([float(period.tiers[0].rate) for period in charge.periods])
        per_cell = rates[self.period_of_cell(charge.periods)]
        return _by_month(cells, per_cell[:, None])[:, :, 0]

    def _pro_rata(self, charge: EnergyCharge, direction: str) -> Floats:
        cells = self.reduction.cells(direction)
        assert cells is not None  # noqa: S101 - checked by the caller
        period = self.period_of_cell(charge.periods)
        member = (period[:, None] == np.arange(len(charge.periods))).astype(np.float64)
        energy = _by_month(cells, member)
        total = energy.sum(axis=2)
        before = self._counted_before(charge, total)
        scale = self._limit_scale(charge)
        share = np.divide(
            energy, total[:, :, None], out=np.zeros(energy.shape), where=total[:, :, None] > 0
        )
        cost = np.zeros(total.shape)
        for position, priced in enumerate(charge.periods):
            edges = [0.0, *(float(t.upto) for t in priced.tiers if t.upto is not None)]
            for (low, high), tier in zip(pairwise([*edges, np.inf]), priced.tiers, strict=True):
                top = scale * high if np.isfinite(high) else np.inf
                width = np.minimum(before + total, top) - np.maximum(before, scale * low)
                cost += np.maximum(width, 0.0) * share[:, :, position] * float(tier.rate)
        return cost

    def _counted_before(self, charge: EnergyCharge, month_kwh: Floats) -> Floats:
        before = np.zeros(month_kwh.shape)
        groups = self._month_groups(charge)
        for index in range(1, month_kwh.shape[1]):
            if groups[index] == groups[index - 1]:
                before[:, index] = before[:, index - 1] + month_kwh[:, index - 1]
        return before

    def _month_groups(self, charge: EnergyCharge) -> list[int]:
        """Number of the counting group of each month."""
        months = self.reduction.grid.calendar.months
        if charge.tier_basis == "quarter":
            return [year * 4 + (month - 1) // 3 for year, month in months]
        if charge.tier_basis == "year":
            return [year for year, _ in months]
        return list(range(len(months)))

    def _limit_scale(self, charge: EnergyCharge) -> Floats:
        """Multiplier of block limits by home and month."""
        grid = self.reduction.grid
        scale = np.ones((self.reduction.portfolio.n_homes, grid.n_months))
        if charge.tier_basis in {"month-daily", "month-per-kw-daily"}:
            scale *= np.array([days_in(month) for month in grid.calendar.months])
        if charge.tier_basis in {"month-per-kw", "month-per-kw-daily"}:
            scale *= self._billed_peaks_kw()
        return scale

    def _billed_peaks_kw(self) -> Floats:
        step_s = self.reduction.portfolio.step_s
        if step_s not in self.reduction.imported:
            self.reduction.imported[step_s] = reduce_loads(
                self.reduction.portfolio.import_wh, self.reduction.grid, step_s,
                numba=self.reduction.compiled,
            )  # fmt: skip
        alone = np.zeros(self.reduction.grid.n_cells, dtype=np.int16)
        peaks = self.reduction.peaks_kw(step_s, alone, 1)[:, :, 0]
        for charge in self.tariff.demand:
            if charge.ratchet and charge.ratchet.across_periods:
                return self._ratcheted(charge, peaks)
        return peaks

    def _in_order(self, charge: EnergyCharge, direction: str) -> Floats:
        grid = self.reduction.grid
        n_tiers = max(len(period.tiers) for period in charge.periods)
        edges = np.full((len(charge.periods), n_tiers + 1), np.inf)
        edges[:, 0] = 0.0
        rates = np.zeros((len(charge.periods), n_tiers))
        for position, priced in enumerate(charge.periods):
            for index, tier in enumerate(priced.tiers):
                rates[position, index] = float(tier.rate)
                if tier.upto is not None:
                    edges[position, index + 1] = float(tier.upto)
        month = grid.month_of_run
        reset = np.array(self._month_groups(charge), dtype=np.int64)[month]
        if charge.tier_basis == "day":
            reset = grid.calendar.day_index[grid.run_start[:-1]].astype(np.int64)
        return chronological_cost(
            self.reduction.hourly_kwh(direction),
            month,
            reset,
            self.period_of_cell(charge.periods)[grid.run_cell],
            edges,
            rates,
            self._limit_scale(charge),
            own_counters=charge.tier_scope == "period",
            compiled=self.reduction.compiled,
        )

    def _linked(self, charge: EnergyCharge, direction: str) -> Floats:
        link = charge.index
        assert link is not None  # noqa: S101 - checked by the caller
        if link.series not in self.index:
            raise MissingInput(
                name=link.series, kind="price series", remedy="give it with the sweep, by this name"
            )
        grid, portfolio = self.reduction.grid, self.reduction.portfolio
        n_intervals = portfolio.import_wh.shape[1]
        found = self.index[link.series].over(portfolio.start, portfolio.step_s, n_intervals)
        starts = grid.run_start[:-1]
        lowest = np.minimum.reduceat(found, starts)
        same = bool((lowest == np.maximum.reduceat(found, starts)).all())
        prices, scale = linked_prices(link, found[starts] if same else found)
        price = np.array([float(p) for p in prices]) / scale
        energy: Loads
        if same:
            energy, month = self.reduction.hourly_kwh(direction), grid.month_of_run
        else:
            energy, month = self.reduction.loads(direction), grid.calendar.month_index
            price /= 1000.0
        edges = np.searchsorted(month, np.arange(grid.n_months + 1))
        return np.stack(
            [energy[:, low:high] @ price[low:high] for low, high in pairwise(edges)], axis=1
        )

    def demand(self, charge: DemandCharge) -> Floats:
        """Cost of peaks by home and month."""
        grid = self.reduction.grid
        window_s = self.reduction.window_s(charge)
        period = self.period_of_cell(charge.periods)
        across = charge.ratchet is not None and charge.ratchet.across_periods
        alone = np.zeros(len(period), dtype=np.int16)
        peaks = (
            self.reduction.peaks_kw(window_s, alone, 1)
            if across
            else self.reduction.peaks_kw(window_s, period, len(charge.periods))
        )
        occurs = np.zeros((grid.n_months, len(charge.periods)), dtype=np.bool_)
        occurs[grid.month_of_run, period[grid.run_cell]] = True
        cost = np.zeros(peaks.shape[:2])
        for position, priced in enumerate(charge.periods):
            found = peaks[:, :, 0 if across else position]
            if charge.ratchet:
                found = self._ratcheted(charge, found)
            billed = np.maximum(found, float(charge.minimum_kw))
            low = 0.0
            for tier in priced.tiers:
                high = np.inf if tier.upto is None else float(tier.upto)
                block = np.clip(billed, low, high) - low
                cost += block * float(tier.rate) * occurs[:, position]
                low = high
        return cost

    def _ratcheted(self, charge: DemandCharge, peaks: Floats) -> Floats:
        ratchet = charge.ratchet
        assert ratchet is not None  # noqa: S101 - checked by the caller
        months = self.reduction.grid.calendar.months
        raised = peaks.copy()
        for index, (_, month) in enumerate(months):
            first = max(0, index - ratchet.lookback_months)
            earlier = [p for p in range(first, index) if months[p][1] in ratchet.peak_months]
            if earlier and month in ratchet.apply_months:
                floor = peaks[:, earlier].max(axis=1) * (float(ratchet.percent) / 100)
                raised[:, index] = np.maximum(peaks[:, index], floor)
        return raised


def _by_month(cells: LoadCells, per_cell: Floats) -> Floats:
    """Multiply cells with columns of factors, month by month, (n_homes, n_months, n_columns)."""
    grid = cells.grid
    result = np.empty((len(cells.energy_kwh), grid.n_months, per_cell.shape[1]))
    for month in range(grid.n_months):
        here = slice(month * grid.cells_per_month, (month + 1) * grid.cells_per_month)
        result[:, month] = cells.energy_kwh[:, here] @ per_cell[here]
    return result
