"""Loads reduced on one wall clock, for all the tariffs that keep it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date

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
from tariff_bargainer.billing.metered_energy import month_shares
from tariff_bargainer.profiles.calendar import DAY_KINDS
from tariff_bargainer.tariffs.schedule import ScheduleTable, schedule_table
from tariff_bargainer.tariffs.tariff import DemandCharge, Period, Tariff

Floats = NDArray[np.float64]
FINE_DAYS = tuple((kind,) for kind in DAY_KINDS)
YEARS_AHEAD = 40
"""Years after a portfolio's start for which recurring holidays are laid out."""


_TABLES: dict[tuple[int, bool], tuple[tuple[Period, ...], ScheduleTable]] = {}
TABLES_MAX = 4_096


def table_of(periods: tuple[Period, ...], tariff: Tariff) -> ScheduleTable:
    """Lay out the schedule of a charge.

    Kept by identity, because hashing every window of a tariff takes longer than pricing it. The
    periods are held beside the table, so that their identity is not given away again.
    """
    key = (id(periods), tariff.has_holidays)
    found = _TABLES.get(key)
    if found is None:
        windows = tuple(period.windows for period in periods)
        if len(_TABLES) >= TABLES_MAX:
            _TABLES.clear()
        found = (periods, schedule_table(windows, holidays=tariff.has_holidays))
        _TABLES[key] = found
    return found[1]


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
    tariffs: list[Tariff]
    grid: CellGrid = field(init=False)
    imported: dict[int, LoadCells] = field(default_factory=dict)
    exported: LoadCells | None = None
    shares: Floats = field(default_factory=lambda: np.zeros(0))
    peaks: dict[tuple[int, bytes], Floats] = field(default_factory=dict)
    hours: dict[str, Floats] = field(default_factory=dict)
    cell_periods: dict[int, tuple[tuple[Period, ...], NDArray[np.int16]]] = field(
        default_factory=dict
    )

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
        shares = month_shares(self.grid.calendar, self.portfolio.step_s)
        self.shares = np.array([float(share) for share in shares])

    def _cells(self, loads: Loads, window_s: int) -> LoadCells:
        return reduce_loads(
            loads, self.grid, self.portfolio.step_s, window_s=window_s, numba=self.compiled
        )

    @property
    def import_cells(self) -> LoadCells:
        """Cells of import, of any window."""
        return next(iter(self.imported.values()))

    def cells(self, direction: str) -> LoadCells:
        """Cells of import or export; export must be metered."""
        if direction == "import" or self.exported is None:
            return self.import_cells
        return self.exported

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

    def period_of_cell(self, periods: tuple[Period, ...], tariff: Tariff) -> NDArray[np.int16]:
        """Period of a charge in each cell, kept because charges ask more than once."""
        key = id(periods)
        if key not in self.cell_periods:
            found = self.grid.period_of_cell(table_of(periods, tariff))
            # The periods are kept beside the result, so that their id is not given away again.
            self.cell_periods[key] = (periods, found)
        return self.cell_periods[key][1]

    def find_peaks(self, wanted: Iterable[tuple[int, NDArray[np.int16]]]) -> None:
        """Find the highest windows for many charges in one pass over the cells."""
        fresh: dict[int, dict[bytes, NDArray[np.int16]]] = {}
        for window_s, period in wanted:
            if (window_s, period.tobytes()) not in self.peaks:
                fresh.setdefault(window_s, {})[period.tobytes()] = period
        months = np.repeat(np.arange(self.grid.n_months), self.grid.cells_per_month)
        for window_s, by_key in fresh.items():
            if window_s not in self.imported:
                self.imported[window_s] = self._cells(self.portfolio.import_wh, window_s)
            n_periods = max(int(period.max()) for period in by_key.values()) + 1
            found = highest_by_group(
                self.imported[window_s].peak_kw,
                np.stack([months * n_periods + period for period in by_key.values()]),
                self.grid.n_months * n_periods,
                compiled=self.compiled,
            )
            shape = (self.portfolio.n_homes, self.grid.n_months, n_periods)
            for key, highest in zip(by_key, found, strict=True):
                self.peaks[window_s, key] = highest.reshape(shape)

    def peaks_kw(self, window_s: int, period: NDArray[np.int16]) -> Floats:
        """Highest window by home, month and period [kW]."""
        self.find_peaks([(window_s, period)])
        return self.peaks[window_s, period.tobytes()]


def _weekdays_are_alike(table: ScheduleTable) -> bool:
    weekdays, weekend = table.period[:, :5], table.period[:, 5:7]
    return bool((weekdays == weekdays[:, :1]).all() and (weekend == weekend[:, :1]).all())
