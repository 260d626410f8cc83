"""The load of a tender pack: typical days at the finest step that passes the privacy floor.

Month by kind of day and hour; else season by kind of day and hour; else season by kind of day and
six hours; else the year by kind of day. A step passes when every figure of it does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.errors import NegotiationFault
from tariff_bargainer.profiles.load_profile import (
    CELLS,
    DAY_TYPES,
    HOURS,
    TypicalDayProfile,
)

SEASONS = ("winter", "spring", "summer", "autumn")
"""December to February, March to May, June to August, September to November."""
BLOCK_HOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TenderLoad:
    """What may be published of a load.

    Attributes:
        step: Such as `month-hour`.
        why_coarser: Why finer steps may not be, each in a sentence; empty for the finest.
        rows: One per figure: `month` or `season`, `day_type`, `hour` where it has one,
            `energy_kwh` and `hours`.
        row_of_cell: Which row each of the 576 cells is part of; -1 for cells without hours.
    """

    step: str
    why_coarser: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    row_of_cell: NDArray[np.int64]

    def mean_home_wh(
        self, cells: NDArray[np.int64], *, step_s: int, homes: int
    ) -> NDArray[np.int64]:
        """Return the load of a home that uses as much as all do on average [Wh].

        It says no more than the rows do: every interval of a figure holds the same.

        Args:
            cells: Cell of each interval; see `typical_day_cells`.
            step_s: Interval length [s].
            homes: Homes that the rows are a sum over.
        """
        mean_wh = np.array([row["energy_kwh"] * 1000 / row["hours"] for row in self.rows])
        spread: NDArray[np.float64] = mean_wh[self.row_of_cell[cells]] * (step_s / 3600 / homes)
        return np.rint(spread).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Folded:
    step: str
    keys: list[dict[str, Any]]
    energy_wh: NDArray[np.int64]
    hours: NDArray[np.float64]
    homes: NDArray[np.int64]
    top_share: NDArray[np.float64]
    labels: NDArray[np.int64]


def finest_load(
    load: TypicalDayProfile,
    home_cells_wh: NDArray[np.float64] | None,
    *,
    homes_min: int,
    top_share_max: float,
) -> TenderLoad:
    """Find the finest step at which every figure passes.

    Args:
        load: Typical days of the group.
        home_cells_wh: The same by home [Wh], shape (homes, 576), which coarser steps need; without
            it only the finest step is looked at.
        homes_min: Least homes in any figure.
        top_share_max: Largest share of one home in any figure [0..1].

    Raises:
        NegotiationFault: No step passes; says why the coarsest does not.
    """
    faults: list[str] = []
    for folded in _steps(load, home_cells_wh):
        fault = _fault(folded, homes_min, top_share_max)
        if not fault:
            kept = np.flatnonzero(folded.hours > 0)
            rows = tuple(
                {
                    **folded.keys[at],
                    "energy_kwh": int(folded.energy_wh[at]) / 1000,
                    "hours": float(folded.hours[at]),
                }
                for at in kept.tolist()
            )
            places = np.full(folded.hours.size, -1)
            places[kept] = np.arange(kept.size)
            return TenderLoad(
                step=folded.step,
                why_coarser=tuple(faults),
                rows=rows,
                row_of_cell=places[folded.labels],
            )
        faults.append(f"{folded.step}: {fault}")
    raise NegotiationFault(
        f"{faults[-1]}: form a larger group, or release a noised profile; nothing was written"
    )


def _fault(folded: _Folded, homes_min: int, top_share_max: float) -> str:
    used = folded.hours > 0
    fewest = int(folded.homes[used].min(initial=homes_min))
    largest = float(folded.top_share[used].max(initial=0.0))
    if fewest < homes_min:
        return f"a cell of the load holds {fewest} homes, at least {homes_min} are needed"
    if largest > top_share_max:
        return f"one home makes {largest:.0%} of a cell, at most {top_share_max:.0%} may be"
    return ""


def _steps(load: TypicalDayProfile, by_home: NDArray[np.float64] | None) -> Iterator[_Folded]:
    month, rest = np.divmod(np.arange(CELLS), len(DAY_TYPES) * HOURS)
    day, hour = np.divmod(rest, HOURS)
    season = (month + 1) // 3 % 4
    yield _Folded(
        step="month-hour",
        keys=[
            {"month": int(m) + 1, "day_type": DAY_TYPES[d], "hour": int(h)}
            for m, d, h in zip(month, day, hour, strict=True)
        ],
        energy_wh=load.energy_wh.ravel(),
        hours=load.hours.ravel(),
        homes=load.homes.ravel(),
        top_share=load.top_share.ravel(),
        labels=np.arange(CELLS),
    )
    if by_home is None:
        return
    kinds = list(enumerate(DAY_TYPES))
    blocks = range(0, HOURS, BLOCK_HOURS)
    yield _fold(
        "season-hour",
        [
            {"season": s, "day_type": name, "hour": h}
            for s in SEASONS for _, name in kinds for h in range(HOURS)
        ],
        (season * len(DAY_TYPES) + day) * HOURS + hour,
        load,
        by_home,
    )  # fmt: skip
    yield _fold(
        "season-block",
        [
            {"season": s, "day_type": name, "hour": h}
            for s in SEASONS for _, name in kinds for h in blocks
        ],
        (season * len(DAY_TYPES) + day) * len(blocks) + hour // BLOCK_HOURS,
        load,
        by_home,
    )  # fmt: skip
    yield _fold(
        "year-daytype",
        [{"season": "year", "day_type": name} for _, name in kinds],
        day,
        load,
        by_home,
    )


def _fold(
    step: str,
    keys: list[dict[str, Any]],
    labels: NDArray[np.int64],
    load: TypicalDayProfile,
    by_home: NDArray[np.float64],
) -> _Folded:
    """Lay cells together; a home without any use in a figure does not count in it."""
    member = (labels[:, None] == np.arange(len(keys))).astype(np.float64)
    energy = by_home @ member
    total = energy.sum(axis=0)
    share = np.ones(total.shape)
    np.divide(energy.max(axis=0), total, out=share, where=total > 0)
    return _Folded(
        step=step,
        keys=keys,
        energy_wh=np.rint(total).astype(np.int64),
        hours=load.hours.ravel() @ member,
        homes=(energy > 0).sum(axis=0),
        top_share=share,
        labels=labels,
    )
