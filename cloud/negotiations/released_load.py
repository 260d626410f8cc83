"""The load of a tender: what a released typical day becomes for the page and the pack. Pure.

Every figure that was released is kept, at the step at which it passed the privacy floor: by month,
by season, by six-hour block, or by the year. Nothing here makes it finer or coarser.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from cloud.profiles.release import Released

if TYPE_CHECKING:
    from cloud.negotiations.repository import Tender

WINTER_MONTHS, SUMMER_MONTHS = (12, 1, 2), (6, 7, 8)
EVENING_HOURS = (17, 18, 19, 20)
STEP_WORDS = {
    "month-hour": "month by month, by kind of day and hour",
    "season-hour": "season by season, by kind of day and hour",
    "season-block": "season by season, by kind of day and block of six hours",
    "year-daytype": "over the year, by kind of day",
}
"""Steps of a typical day in words, fine to coarse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow:
    """One released figure.

    Attributes:
        part: Month 1 to 12, season, or `year`.
        day_type: `weekday`, or `weekend` with holidays.
        hour: Local hour at which it begins; None where the figure is of whole days.
        mean_w: Mean power of all homes together [W].
        energy_wh: Energy of all homes in the window [Wh].
        hours: Hours of the window that it covers [h].
        homes: Homes in it.
    """

    part: int | str
    day_type: str
    hour: int | None
    mean_w: float
    energy_wh: int
    hours: float
    homes: int


def load_of(released: Released, *, timezone: str) -> dict[str, Any]:
    """What a tender keeps of a released typical day.

    Args:
        released: As the privacy floor let it through.
        timezone: IANA zone of its hours.
    """
    cells = released.frame.reset_index()
    cells["mean_w"] = (cells["mean_w_per_home"] * cells["homes"]).round(1)
    names = ("month", "season", "day_type", "hour", "mean_w", "energy_wh", "hours", "homes")
    kept: dict[str, Any] = {
        "step": released.step,
        "finer_steps_refused": list(
            dict.fromkeys(_step_of(text) for text in released.made_coarser)
        ),
        "timezone": timezone,
        "homes": released.homes,
        "energy_wh": int(cells["energy_wh"].sum()),
        "columns": {name: cells[name].tolist() for name in names if name in cells},
        "peak_w": round(float(cells["mean_w"].max()), 1),
    }
    if "hour" in cells:
        kept |= _working_day(cells)
    return kept


def _step_of(reason: str) -> str:
    """A reason says which step did not pass; how far it fell short stays with the board."""
    return reason.partition(":")[0]


def _working_day(cells: pd.DataFrame) -> dict[str, Any]:
    """Mean power by hour of working days in winter and summer, and the share of the evening."""
    workdays = cells[cells["day_type"] == "weekday"]
    by_month = "month" in cells
    part = cells.columns[0]
    winter, summer = (WINTER_MONTHS, SUMMER_MONTHS) if by_month else (("winter",), ("summer",))

    def by_hour(chosen: pd.DataFrame) -> list[float]:
        totals = chosen.groupby("hour")[["energy_wh", "hours"]].sum()
        hourly = (totals["energy_wh"] / totals["hours"]).reindex(range(24)).ffill().bfill()
        return [round(float(watts), 1) for watts in hourly]

    evening = cells["hour"].isin(EVENING_HOURS)
    seasons = {
        name: workdays[workdays[part].isin(parts)]
        for name, parts in (("winter", winter), ("summer", summer))
    }
    drawn: dict[str, Any] = {
        "cells_w": {name: by_hour(chosen) for name, chosen in seasons.items() if len(chosen)}
    }
    if cells["hour"].nunique() == 24:
        drawn["evening_share"] = round(
            float(cells.loc[evening, "energy_wh"].sum() / cells["energy_wh"].sum()), 4
        )
    return drawn


def load_rows(load: Mapping[str, Any]) -> Iterator[LoadRow]:
    """The released figures of a tender, in order; none for a tender without a released load."""
    columns = load.get("columns") or {}
    parts = columns.get("month") or columns.get("season") or ()
    hours = columns.get("hour") or [None] * len(parts)
    for at, part in enumerate(parts):
        yield LoadRow(
            part=part,
            day_type=columns["day_type"][at],
            hour=hours[at],
            mean_w=float(columns["mean_w"][at]),
            energy_wh=int(columns["energy_wh"][at]),
            hours=float(columns["hours"][at]),
            homes=int(columns["homes"][at]),
        )


def released_homes(tender: Tender) -> int:
    """Homes of the load that suppliers were shown; fewer may be left in a later tender on it."""
    return int(tender.load.get("homes", tender.homes))


def released_energy_wh(tender: Tender) -> int:
    """Energy of the load that suppliers were shown [Wh].

    Never the sum over the homes left in the tender: two of those would tell what one home used.
    """
    return int(tender.load.get("energy_wh", tender.energy_wh))


def step_in_words(load: Mapping[str, Any]) -> str:
    """Say how fine the released load is, and why it is not finer."""
    step = str(load.get("step", ""))
    if step not in STEP_WORDS:
        return ""
    refused = [STEP_WORDS[one] for one in load.get("finer_steps_refused", ()) if one in STEP_WORDS]
    why = "it is the finest step there is"
    if refused:
        why = f"a finer one ({refused[-1]}) did not pass the cooperative’s privacy floor"
    return f"The load is given {STEP_WORDS[step]}; {why}."
