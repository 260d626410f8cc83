"""Loads reduced on one wall clock, for all the tariffs that keep it."""

from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.cells import (
    COARSE_DAYS,
    CellGrid,
    LoadCells,
    Loads,
    Portfolio,
    cell_grid,
    reduce_loads,
)
from tariff_bargainer.billing.kernels import highest_by_group, run_sums
from tariff_bargainer.billing.metered_energy import month_seconds
from tariff_bargainer.profiles.calendar import DAY_KINDS
from tariff_bargainer.tariffs.schedule import ScheduleTable, schedule_table
from tariff_bargainer.tariffs.tariff import DemandCharge, Period, Tariff

Floats = NDArray[np.float64]
FINE_DAYS = tuple((kind,) for kind in DAY_KINDS)
YEARS_AHEAD = 40
"""Years after a portfolio's start for which recurring holidays are laid out."""


def table_of(periods: tuple[Period, ...], tariff: Tariff) -> ScheduleTable:
    """Lay out the schedule of a charge."""
    return schedule_table(tuple(p.windows for p in periods), holidays=tariff.has_holidays)


def periods_of(tariff: Tariff) -> list[tuple[Period, ...]]:
    """List the periods of every charge of a tariff."""
    directed = [charge.periods for charge in (*tariff.energy, *tariff.export)]
    return directed + [charge.periods for charge in tariff.demand]


def holidays_for(tariff: Tariff, portfolio: Portfolio) -> frozenset[date]:
    """Lay out a tariff's holidays over the years a portfolio may cover."""
    year = portfolio.start.year
    return tariff.holidays_between(year - 1, year + YEARS_AHEAD)


@dataclass(slots=True, eq=False)
class Reduction:
    """Loads reduced on one wall clock, shared by the tariffs that keep it."""

    portfolio: Portfolio
    compiled: bool | None
    tariffs: list[Tariff] = field(default_factory=list)
    grid: CellGrid = field(init=False)
    imported: dict[int, LoadCells] = field(default_factory=dict)
    exported: LoadCells | None = None
    shares: list[Fraction] = field(default_factory=list)
    peaks: dict[tuple[int, bytes], Floats] = field(default_factory=dict)
    hours: dict[str, Floats] = field(default_factory=dict)

    def want(self, tariff: Tariff) -> None:
        """Ask for what a tariff needs."""
        self.tariffs.append(tariff)

    def window_s(self, charge: DemandCharge) -> int:
        """Demand window of a charge, never finer than the intervals [s]."""
        return max((charge.window_min or 0) * 60, self.portfolio.step_s)

    def reduce(self) -> None:
        """Go over the intervals."""
        slot, coarse = 60, True
        for tariff in self.tariffs:
            for periods in periods_of(tariff):
                table = table_of(periods, tariff)
                slot = int(np.gcd(slot, table.slot_minutes))
                coarse &= _weekdays_are_alike(table)
        first = self.tariffs[0]
        self.grid = cell_grid(
            self.portfolio,
            first.timezone,
            holidays=holidays_for(first, self.portfolio),
            slot_minutes=max(slot, self.portfolio.step_s // 60),
            day_classes=COARSE_DAYS if coarse else FINE_DAYS,
        )
        windows = {self.window_s(c) for tariff in self.tariffs for c in tariff.demand}
        for window_s in sorted(windows) or [self.portfolio.step_s]:
            self.imported[window_s] = self._cells(self.portfolio.import_wh, window_s)
        if self.portfolio.export_wh is not None:
            self.exported = self._cells(self.portfolio.export_wh, self.portfolio.step_s)
        counts = np.bincount(self.grid.calendar.month_index, minlength=self.grid.n_months)
        self.shares = [
            Fraction(int(count) * self.portfolio.step_s, month_seconds(*month, first.timezone))
            for month, count in zip(self.grid.calendar.months, counts, strict=True)
        ]

    def _cells(self, loads: Loads, window_s: int) -> LoadCells:
        return reduce_loads(
            loads, self.grid, self.portfolio.step_s, window_s=window_s, numba=self.compiled
        )

    def cells(self, direction: str) -> LoadCells | None:
        """Cells of import or export; None when nothing is exported."""
        return next(iter(self.imported.values())) if direction == "import" else self.exported

    def loads(self, direction: str) -> Loads:
        """Import or export per interval [Wh]; export must be metered."""
        loads = self.portfolio.import_wh if direction == "import" else self.portfolio.export_wh
        assert loads is not None  # noqa: S101 - callers ask only for what is metered
        return loads

    def hourly_kwh(self, direction: str) -> Floats:
        """Energy by home and run [kWh], made once when first needed."""
        if direction not in self.hours:
            loads = self.portfolio.import_wh if direction == "import" else self.portfolio.export_wh
            assert loads is not None  # noqa: S101 - callers ask only for what is metered
            energy = run_sums(loads, self.grid.run_start, compiled=self.compiled)
            energy /= 1000.0
            self.hours[direction] = energy
        return self.hours[direction]

    def peaks_kw(self, window_s: int, period: NDArray[np.int16], n_periods: int) -> Floats:
        """Highest window by home, month and period [kW]."""
        key = (window_s, period.tobytes())
        if key not in self.peaks:
            cells = self.imported[window_s]
            months = np.repeat(np.arange(self.grid.n_months), self.grid.cells_per_month)
            group = months * n_periods + period
            found = highest_by_group(
                cells.peak_kw, group, self.grid.n_months * n_periods, compiled=self.compiled
            )
            self.peaks[key] = found.reshape(-1, self.grid.n_months, n_periods)
        return self.peaks[key]


def _weekdays_are_alike(table: ScheduleTable) -> bool:
    weekdays, weekend = table.period[:, :5], table.period[:, 5:7]
    return bool((weekdays == weekdays[:, :1]).all() and (weekend == weekend[:, :1]).all())
