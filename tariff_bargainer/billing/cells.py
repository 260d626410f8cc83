"""Loads of many homes, reduced once to what tariffs can tell apart.

A tariff only sees the month, the kind of day and the hour. So a year of intervals becomes
12 x day classes x hours cells per home, once, and any number of tariffs is then priced from the
cells. Next to the energy, each cell keeps its highest window for demand charges.

These are floats for comparing many tariffs quickly. Bills that money is paid on come from
`billing.bill`, which is exact.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import gcd

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.kernels import reduce_to_cells
from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.calendar import (
    DAY_KINDS,
    MINUTES_PER_DAY,
    LocalCalendar,
    local_calendar,
)
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.schedule import ScheduleTable

Loads = NDArray[np.float32] | NDArray[np.float64]
COARSE_DAYS = (("mon", "tue", "wed", "thu", "fri"), ("sat", "sun"), ("holiday",))
HOMES_MAX = 200_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portfolio:
    """Loads of many homes over the same intervals.

    Attributes:
        start: Start of the first interval, aware UTC.
        step_s: Length of every interval [s].
        import_wh: Import per home and interval [Wh], shape (n_homes, n), C-contiguous.
        export_wh: Export per home and interval [Wh], shape (n_homes, n), or None.
    """

    start: datetime
    step_s: int
    import_wh: Loads
    export_wh: Loads | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit, and gaps."""
        if self.start.tzinfo is None:
            raise InvalidProfile("start is naive; give an aware datetime, in UTC")
        object.__setattr__(self, "start", self.start.astimezone(UTC))
        if self.import_wh.ndim != 2 or not 0 < len(self.import_wh) <= HOMES_MAX:
            raise InvalidProfile(f"import_wh must have shape (homes, n), up to {HOMES_MAX} homes")
        for name in ("import_wh", "export_wh"):
            loads = getattr(self, name)
            if loads is None:
                continue
            if loads.shape != self.import_wh.shape or loads.dtype not in {
                np.dtype(np.float32),
                np.dtype(np.float64),
            }:
                raise InvalidProfile(f"{name} must be float32 or float64 in the shape of import_wh")
            # One sum per home finds any gap without a mask of the whole array.
            if not np.isfinite(loads.sum(axis=1, dtype=np.float64)).all():
                raise InsufficientProfile(
                    reasons=(f"{name} has missing intervals; leave these homes out or fill them",)
                )
            object.__setattr__(self, name, np.ascontiguousarray(loads))

    @property
    def n_homes(self) -> int:
        """Number of homes."""
        return len(self.import_wh)

    @classmethod
    def of(cls, profiles: Sequence[LoadProfile]) -> "Portfolio":
        """Stack profiles of homes over the same intervals.

        Raises:
            InvalidProfile: The profiles do not cover the same intervals.
            InsufficientProfile: One has gaps.
        """
        if not profiles:
            raise InvalidProfile("a portfolio needs one profile or more")
        first = profiles[0]
        span = (first.start, first.step_s, len(first))
        if any((p.start, p.step_s, len(p)) != span for p in profiles):
            raise InvalidProfile("profiles of a portfolio must cover the same intervals")
        if any(profile.missing_mask.any() for profile in profiles):
            raise InsufficientProfile(reasons=("a profile of the portfolio has gaps",))
        export = None
        if any(profile.export_wh is not None for profile in profiles):
            nothing = np.zeros(len(first))
            export = np.stack(
                [nothing if p.export_wh is None else p.export_wh for p in profiles]
            ).astype(np.float64)
        return cls(
            start=first.start,
            step_s=first.step_s,
            import_wh=np.stack([p.import_wh for p in profiles]).astype(np.float64),
            export_wh=export,
        )

    def profile(self, home: int) -> LoadProfile:
        """Take one home out."""
        export = None if self.export_wh is None else self.export_wh[home].astype(np.float64)
        return LoadProfile(
            start=self.start,
            step_s=self.step_s,
            import_wh=self.import_wh[home].astype(np.float64),
            export_wh=export,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellGrid:
    """The cells that intervals fall into, on one wall clock.

    A cell is a local month, a class of days and a slot of the day. Intervals of one slot follow
    each other as a run; runs of neighbouring cells follow each other as a segment (a day).

    Attributes:
        calendar: The intervals on the wall clock.
        day_classes: Names out of `DAY_KINDS` that each class joins.
        slot_minutes: Length of a slot.
        run_start: First interval of each run and the end of the last, shape (n_runs + 1,).
        run_cell: Cell of each run, shape (n_runs,).
    """

    calendar: LocalCalendar
    day_classes: tuple[tuple[str, ...], ...]
    slot_minutes: int
    run_start: NDArray[np.int64]
    run_cell: NDArray[np.int32]

    @property
    def n_months(self) -> int:
        """Number of local months touched."""
        return len(self.calendar.months)

    @property
    def slots(self) -> int:
        """Slots of a day."""
        return MINUTES_PER_DAY // self.slot_minutes

    @property
    def cells_per_month(self) -> int:
        """Cells of one month."""
        return len(self.day_classes) * self.slots

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return self.n_months * self.cells_per_month

    @property
    def month_of_run(self) -> NDArray[np.int32]:
        """Position of the month of each run, shape (n_runs,)."""
        month: NDArray[np.int32] = self.run_cell // np.int32(self.cells_per_month)
        return month

    def period_of_cell(self, table: ScheduleTable) -> NDArray[np.int16]:
        """Period of a schedule in each cell, shape (n_cells,)."""
        fine = np.repeat(table.period, table.slot_minutes // self.slot_minutes, axis=2)
        months = [table.class_of_day[month - 1, 0] for _, month in self.calendar.months]
        kinds = [DAY_KINDS.index(names[0]) for names in self.day_classes]
        period: NDArray[np.int16] = fine[np.ix_(months, kinds, range(self.slots))].reshape(-1)
        return period


def cell_grid(
    portfolio: Portfolio,
    timezone: str,
    *,
    holidays: Iterable[date] = (),
    slot_minutes: int = 60,
    day_classes: tuple[tuple[str, ...], ...] = COARSE_DAYS,
) -> CellGrid:
    """Lay the cells of a portfolio on a wall clock.

    Args:
        portfolio: The loads.
        timezone: IANA zone of the tariffs.
        holidays: Local dates that count as holidays.
        slot_minutes: Length of a slot; must divide a day and hold whole intervals.
        day_classes: Kinds of day that need not be told apart.

    Raises:
        InsufficientProfile: Intervals do not fall into whole slots of this clock.
    """
    n_intervals = portfolio.import_wh.shape[1]
    calendar = local_calendar(portfolio.start, portfolio.step_s, n_intervals, timezone, holidays)
    straddles = (calendar.minute_of_day % slot_minutes) * 60 + portfolio.step_s > slot_minutes * 60
    if straddles.any():
        raise InsufficientProfile(
            reasons=(
                (
                    f"intervals of {portfolio.step_s} s do not fit slots of {slot_minutes} min in "
                    f"{timezone}; give a finer step or the right zone"
                ),
            )
        )
    class_of_kind = np.zeros(len(DAY_KINDS), dtype=np.int32)
    for position, names in enumerate(day_classes):
        for name in names:
            class_of_kind[DAY_KINDS.index(name)] = position
    slots = MINUTES_PER_DAY // slot_minutes
    row = (
        calendar.month_index * len(day_classes)
        + class_of_kind[calendar.day_kind][calendar.day_index]
    )
    cell = (row * slots + calendar.minute_of_day // slot_minutes).astype(np.int32)
    # An hour repeated in autumn is a run of its own, because its day index is the same but the
    # clock went back; comparing minutes finds it.
    minute = calendar.minute_of_day.astype(np.int32)
    changes = (np.diff(cell) != 0) | (np.diff(minute) < 0)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    return CellGrid(
        calendar=calendar,
        day_classes=day_classes,
        slot_minutes=slot_minutes,
        run_start=np.append(starts, n_intervals).astype(np.int64),
        run_cell=cell[starts],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadCells:
    """Energy and highest windows of many homes by cell.

    Attributes:
        grid: The cells.
        energy_kwh: Energy per home and cell [kWh], shape (n_homes, n_cells).
        peak_kw: Highest window per home and cell [kW], shape (n_homes, n_cells).
        window_s: Length of a demand window [s].
    """

    grid: CellGrid
    energy_kwh: NDArray[np.float64]
    peak_kw: NDArray[np.float64]
    window_s: int

    @property
    def month_kwh(self) -> NDArray[np.float64]:
        """Energy per home and month [kWh], shape (n_homes, n_months)."""
        shape = (len(self.energy_kwh), self.grid.n_months, self.grid.cells_per_month)
        total: NDArray[np.float64] = self.energy_kwh.reshape(shape).sum(axis=2)
        return total


def reduce_loads(
    loads_wh: Loads,
    grid: CellGrid,
    step_s: int,
    *,
    window_s: int | None = None,
    numba: bool | None = None,
) -> LoadCells:
    """Reduce loads to cells in one pass.

    Args:
        loads_wh: Energy per home and interval [Wh], shape (n_homes, n).
        grid: The cells.
        step_s: Length of an interval [s].
        window_s: Length of a demand window [s]; None takes the interval. A window must hold whole
            intervals and fit a slot.
        numba: Whether to use compiled kernels; None does so when numba is installed. The result
            is the same to the last bit.
    """
    window_s = window_s or step_s
    if window_s % step_s or (grid.slot_minutes * 60) % window_s:
        raise InsufficientProfile(
            reasons=(
                (
                    f"demand windows of {window_s} s do not hold whole intervals of {step_s} s inside "
                    f"slots of {grid.slot_minutes} min; give a finer profile"
                ),
            )
        )
    energy, peak = reduce_to_cells(
        loads_wh,
        grid.run_start,
        grid.run_cell,
        grid.n_cells,
        window_s // step_s,
        sum_divisor=1000.0,
        highest_factor=3.6 / window_s,  # from Wh per window to kW
        compiled=numba,
    )
    return LoadCells(grid=grid, energy_kwh=energy, peak_kw=peak, window_s=window_s)


def slot_for(minutes: Iterable[int]) -> int:
    """Longest slot, at most an hour, that holds every boundary."""
    slot = 60
    for minute in minutes:
        slot = gcd(slot, minute)
    return slot
