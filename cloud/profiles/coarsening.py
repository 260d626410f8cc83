"""The steps by which a profile is made coarser until it passes the privacy floor. Pure.

Group profile: the step asked for, then hours, then local days, then the whole period.
Typical day: month by day type by hour (576 cells), then season by day type by hour (192), season
by day type by six-hour block (32), and the year by day type (2).

A home counts in a coarse cell of the group profile only if it has every reading in it: missing is
not zero. In a typical day a home counts in a cell if it has a reading there; the mean power of a
home says what the sum alone would hide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cloud.profiles.privacy_floor import Cells
from tariff_bargainer.profiles.calendar import local_calendar
from tariff_bargainer.profiles.load_profile import (
    CELLS,
    DAY_TYPES,
    HOURS,
    GroupProfile,
    TypicalDayProfile,
    frame_to_array,
    group_profile,
    typical_day_cells,
    typical_day_profile,
)

SEASONS = ("winter", "spring", "summer", "autumn")
"""December to February, March to May, June to August, September to November."""

BANDS = ("night", "day", "evening")

_HOUR_S = 3600
_BLOCK_HOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shape:
    """A profile at one of its steps.

    Attributes:
        step: Name of the step, such as `PT1H` or `season-hour`.
        cells: What the floor judges.
        frame: What would be released: never the largest home's share, which times the sum is that
            home's reading.
        profile: The profile as the bargainer's type, at its finest step only.
    """

    step: str
    cells: Cells
    frame: pd.DataFrame
    profile: GroupProfile | TypicalDayProfile | None = None


ShapeStep = Callable[[], Shape]


def group_shapes(frame: pd.DataFrame, *, timezone: str) -> list[ShapeStep]:
    """Ways to show a group's load over a period, fine to coarse, each made when it is called.

    Args:
        frame: Energy per home [Wh], aware UTC index, NaN missing.
        timezone: IANA zone of the local days.
    """
    energy, start, step_s = frame_to_array(frame)
    steps: list[ShapeStep] = [lambda: _by_interval(energy, start, step_s)]
    intervals = energy.shape[1]
    if step_s < _HOUR_S and _HOUR_S % step_s == 0 and start.minute == start.second == 0:
        per_hour = _HOUR_S // step_s
        if intervals % per_hour == 0:
            hourly = energy.reshape(len(energy), -1, per_hour)
            steps.append(lambda: _by_interval(hourly.sum(axis=2), start, _HOUR_S))
    calendar = local_calendar(start, step_s, intervals, timezone)
    steps.append(
        lambda: _by_span(energy, start, step_s, calendar.day_index.astype(np.int64), "P1D")
    )
    whole = np.zeros(intervals, dtype=np.int64)
    steps.append(lambda: _by_span(energy, start, step_s, whole, "period"))
    return steps


def typical_day_shapes(
    frame: pd.DataFrame, *, timezone: str, holidays: Collection[date] = ()
) -> list[ShapeStep]:
    """Ways to show a group's typical days, fine to coarse, each made when it is called.

    Args:
        frame: Energy per home [Wh], aware UTC index, NaN missing.
        timezone: IANA zone of the calendar, with its summer time.
        holidays: Local dates that count as weekend.
    """
    energy, start, step_s = frame_to_array(frame)
    count = energy.shape[1]
    cells = typical_day_cells(
        start=start, step_s=step_s, count=count, timezone=timezone, holidays=holidays
    )
    finest = typical_cuts()["month-hour"].index

    def by_month() -> Shape:
        profile = typical_day_profile(
            energy, start=start, step_s=step_s, timezone=timezone, holidays=holidays
        )
        touched = profile.hours.ravel() > 0
        folded = _Folded(
            energy_wh=profile.energy_wh.ravel()[touched],
            homes=profile.homes.ravel()[touched],
            top_share=profile.top_share.ravel()[touched],
            hours=profile.hours.ravel()[touched],
            home_hours=profile.home_hours.ravel()[touched],
        )
        return _typical_shape("month-hour", folded, finest[touched], profile)

    def coarser(name: str, cut: TypicalCut) -> ShapeStep:
        def make() -> Shape:
            touched, folded = _fold(energy, cut.labels[cells], step_s)
            return _typical_shape(name, folded, cut.index[touched])

        return make

    cuts = typical_cuts()
    return [by_month, *(coarser(name, cuts[name]) for name in list(cuts)[1:])]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TypicalCut:
    """A way to lay the 576 typical-day cells together.

    Attributes:
        index: Names of the cells.
        labels: Position in `index` of each of the 576 cells, shape (576,).
    """

    index: pd.MultiIndex
    labels: NDArray[np.int64]


def typical_cuts() -> dict[str, TypicalCut]:
    """All ways, fine to coarse, by the name of the step."""
    month, rest = np.divmod(np.arange(CELLS), len(DAY_TYPES) * HOURS)
    day_type, hour = np.divmod(rest, HOURS)
    season = (month + 1) // 3 % 4
    blocks = range(0, HOURS, _BLOCK_HOURS)
    types = len(DAY_TYPES)
    hours = ["season", "day_type", "hour"]
    return {
        "month-hour": TypicalCut(
            index=pd.MultiIndex.from_product(
                [range(1, 13), DAY_TYPES, range(HOURS)], names=["month", "day_type", "hour"]
            ),
            labels=np.arange(CELLS),
        ),
        "season-hour": TypicalCut(
            index=pd.MultiIndex.from_product([SEASONS, DAY_TYPES, range(HOURS)], names=hours),
            labels=(season * types + day_type) * HOURS + hour,
        ),
        "season-block": TypicalCut(
            index=pd.MultiIndex.from_product([SEASONS, DAY_TYPES, blocks], names=hours),
            labels=(season * types + day_type) * len(blocks) + hour // _BLOCK_HOURS,
        ),
        "year-daytype": TypicalCut(
            index=pd.MultiIndex.from_product([["year"], DAY_TYPES], names=["season", "day_type"]),
            labels=day_type,
        ),
    }


def noised_cuts() -> dict[str, TypicalCut]:
    """The cuts above, and three with few cells, whose noise is small: for uses outside the co-op.

    Bands of local hours are night (22 to 6), day (6 to 17) and evening (17 to 22).
    """
    month, rest = np.divmod(np.arange(CELLS), len(DAY_TYPES) * HOURS)
    hour = rest % HOURS
    band = np.select([(hour >= 6) & (hour < 17), (hour >= 17) & (hour < 22)], [1, 2], 0)
    months = range(1, 13)
    return typical_cuts() | {
        "month-band": TypicalCut(
            index=pd.MultiIndex.from_product([months, BANDS], names=["month", "band"]),
            labels=month * len(BANDS) + band,
        ),
        "month": TypicalCut(
            index=pd.MultiIndex.from_product([months], names=["month"]), labels=month
        ),
        "year": TypicalCut(
            index=pd.MultiIndex.from_product([["year"]], names=["period"]),
            labels=np.zeros(CELLS, dtype=np.int64),
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Folded:
    energy_wh: NDArray[np.int64]
    homes: NDArray[np.int64]
    top_share: NDArray[np.float64]
    hours: NDArray[np.float64]
    home_hours: NDArray[np.float64]


def _by_interval(energy: NDArray[np.float64], start: datetime, step_s: int) -> Shape:
    profile = group_profile(energy, start=start, step_s=step_s)
    index = profile.index().rename("interval_start")
    frame = pd.DataFrame(
        {
            "interval_end": index + pd.Timedelta(seconds=step_s),
            "energy_wh": profile.energy_wh,
            "homes": profile.homes,
        },
        index=index,
    )
    name = {900: "PT15M", _HOUR_S: "PT1H"}.get(step_s, f"PT{step_s}S")
    return Shape(step=name, cells=_cells_of(profile), frame=frame, profile=profile)


def _by_span(
    energy: NDArray[np.float64],
    start: datetime,
    step_s: int,
    labels: NDArray[np.int64],
    name: str,
) -> Shape:
    """Add up runs of intervals; NaN anywhere in a run makes the home's sum NaN."""
    firsts = np.flatnonzero(np.diff(labels, prepend=-1))
    summed = np.add.reduceat(energy, firsts, axis=1)
    profile = group_profile(summed, start=start, step_s=step_s)
    step = pd.Timedelta(seconds=step_s)
    origin = pd.Timestamp(start).tz_convert("UTC")
    index = pd.DatetimeIndex([origin + step * int(first) for first in firsts])
    edges = [*firsts[1:], labels.size]
    frame = pd.DataFrame(
        {
            "interval_end": pd.DatetimeIndex([origin + step * int(edge) for edge in edges]),
            "energy_wh": profile.energy_wh,
            "homes": profile.homes,
        },
        index=index.rename("interval_start"),
    )
    return Shape(step=name, cells=_cells_of(profile), frame=frame)


def _fold(
    energy: NDArray[np.float64], labels: NDArray[np.int64], step_s: int
) -> tuple[NDArray[np.int64], _Folded]:
    """Add homes up by label; returns the labels that occur, and their sums."""
    order = np.argsort(labels, kind="stable")
    touched, firsts = np.unique(labels[order], return_index=True)
    readings = ~np.isnan(energy)
    per_home = np.add.reduceat(np.where(readings, energy, 0.0)[:, order], firsts, axis=1)
    seen = np.add.reduceat(readings[:, order], firsts, axis=1, dtype=np.int64)
    total = cast("NDArray[np.float64]", per_home.sum(axis=0))
    share = np.ones(total.shape)
    np.divide(per_home.max(axis=0), total, out=share, where=total > 0)
    step_h = step_s / _HOUR_S
    return touched, _Folded(
        energy_wh=np.rint(total).astype(np.int64),
        homes=(seen > 0).sum(axis=0),
        top_share=share,
        hours=np.diff([*firsts, labels.size]) * step_h,
        home_hours=seen.sum(axis=0) * step_h,
    )


def _typical_shape(
    name: str,
    folded: _Folded,
    index: pd.MultiIndex,
    profile: TypicalDayProfile | None = None,
) -> Shape:
    home_hours = np.where(folded.home_hours > 0, folded.home_hours, np.nan)
    frame = pd.DataFrame(
        {
            "energy_wh": folded.energy_wh,
            "homes": folded.homes,
            "hours": folded.hours,
            "home_hours": folded.home_hours,
            "mean_w_per_home": folded.energy_wh / home_hours,
        },
        index=index,
    )
    return Shape(step=name, cells=_cells_of(folded), frame=frame, profile=profile)


def _cells_of(sums: Any) -> Cells:
    return Cells(energy_wh=sums.energy_wh, homes=sums.homes, top_share=sums.top_share)
