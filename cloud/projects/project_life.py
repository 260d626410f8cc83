"""What the events of a project add up to. Pure; the rules are those of the fund's `lifecycle`.

```
proposed ─► screened ─► appraised ─► voted ─► granted ─► built ─► operating ─► closed
    └────────────┴──────────┴─────► rejected     └─────────┴────► lapsed
                            ▲          │
                            └──────────┘ not chosen: appraise again, stand again
```

Beside the states there are events that change none: a first signature of two, a milestone paid,
a metered month, a place on a ballot paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

from cloud.errors import BadInput, StateConflict
from cloud.projects.repository import StoredEvent
from solar_fund.errors import ProjectInvalid
from solar_fund.projects.lifecycle import (
    MILESTONE_SHARES,
    Milestone,
    MonthCheck,
    ProjectLife,
    State,
    advance,
    forecast_versus_metered,
    propose,
    release_milestone,
)

SIGNED, PAID, METERED = "signed", "paid", "metered"
LISTED, UNLISTED = "listed", "unlisted"
"""Kinds of events that are no states; a vote without a result takes its projects off the paper."""

LAPSE = "lapse"
ACTS: tuple[str, ...] = (*MILESTONE_SHARES, LAPSE)
"""What two of the board sign for: each milestone, and giving a project up."""

MONTH_WH_MAX = 10**13
STATES: tuple[State, ...] = get_args(State)


def life_of(events: Sequence[StoredEvent]) -> ProjectLife:
    """Fold the events of a project into its life."""
    first, *later = events
    life = propose(first.project_id, first.at, first.evidence)
    for event in later:
        life = _with(life, event)
    return life


def life_after(events: Sequence[StoredEvent], event: StoredEvent) -> ProjectLife:
    """The life with one more event.

    Raises:
        StateConflict: It does not follow.
    """
    try:
        return _with(life_of(events), event)
    except ProjectInvalid as fault:
        raise StateConflict(str(fault)) from fault


def _with(life: ProjectLife, event: StoredEvent) -> ProjectLife:
    if event.kind == PAID:
        milestone: Milestone = event.details["milestone"]
        return release_milestone(life, milestone, event.at, event.evidence)
    if event.kind not in STATES:
        return life
    state: State = event.kind
    return advance(life, state, event.at, event.evidence, int(event.details.get("grant_minor", 0)))


def open_minor(life: ProjectLife) -> int:
    """What of the grant is still set aside [minor units]; a project that ended holds nothing."""
    return 0 if life.state == "closed" else life.open_minor


def due_milestone(life: ProjectLife) -> Milestone | None:
    """The milestone that is paid next; None before the grant and after the last."""
    if not life.grant_minor or life.state in ("lapsed", "closed"):
        return None
    left = list(MILESTONE_SHARES)[len(life.payments) :]
    return left[0] if left else None


def waiting_signature(events: Sequence[StoredEvent], act: str) -> StoredEvent | None:
    """The signature that waits for a second one: the newest, if somebody signed anew."""
    return next(
        (one for one in reversed(events) if one.kind == SIGNED and one.details["act"] == act), None
    )


def newest_appraisal(events: Sequence[StoredEvent]) -> StoredEvent | None:
    """The appraisal that counts: the last one."""
    return next((event for event in reversed(events) if event.kind == "appraised"), None)


def grant_of(events: Sequence[StoredEvent]) -> StoredEvent | None:
    """The event of the grant."""
    return next((event for event in events if event.kind == "granted"), None)


def metered_months(events: Sequence[StoredEvent]) -> dict[str, StoredEvent]:
    """The newest entry for each metered month, by month."""
    return {
        str(event.details["month"]): event
        for event in sorted(events, key=lambda one: one.event_number)
        if event.kind == METERED
    }


def first_month_of(events: Sequence[StoredEvent]) -> str | None:
    """The month of commissioning, `YYYY-MM`."""
    return next(
        (str(event.details["first_month"]) for event in events if event.kind == "operating"), None
    )


def month_checks(events: Sequence[StoredEvent]) -> tuple[MonthCheck, ...]:
    """Forecast beside meter, month by month, by the appraisal that was voted on."""
    first_month, appraisal = first_month_of(events), newest_appraisal(events)
    if first_month is None or appraisal is None:
        return ()
    report = appraisal.details["report"]
    return forecast_versus_metered(
        [round(month_kwh * 1000) for month_kwh in report["monthly_energy_kwh"]],
        {month: event.details["energy_wh"] for month, event in metered_months(events).items()},
        first_month,
        float(appraisal.details["degradation"]),
    )


def check_month(events: Sequence[StoredEvent], month: str, now: datetime, zone: ZoneInfo) -> None:
    """Refuse a month that is none, not over, or before commissioning.

    Raises:
        BadInput: It is.
        StateConflict: The project does not operate.
    """
    first_month = first_month_of(events)
    if first_month is None:
        raise StateConflict("energy is metered once the project operates")
    require_month(month)
    if month >= f"{now.astimezone(zone):%Y-%m}":
        raise BadInput(f"the month {month} is not over yet")
    if month < first_month:
        raise BadInput(f"{month} lies before commissioning in {first_month}")


def require_month(month: str) -> None:
    """Refuse what is no month.

    Raises:
        BadInput: It is none.
    """
    parts = month.split("-")
    if (
        [len(part) for part in parts] != [4, 2]
        or not all(part.isascii() and part.isdecimal() for part in parts)
        or not 1 <= int(parts[1]) <= 12
        or int(parts[0]) < 1900
    ):
        raise BadInput(f"{month[:10]!r} is no month; write it as 2026-10")
