"""What the pages of solar projects show: how far each is, its money, and forecast beside meter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from cloud.members.repository import person_by_id
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.appraising import FUNDED, LOAD, WEATHER
from cloud.projects.project_life import (
    LAPSE,
    LISTED,
    due_milestone,
    life_of,
    month_checks,
    newest_appraisal,
    open_minor,
    waiting_signature,
)
from cloud.projects.repository import SolarProject, StoredEvent, StoredFile
from cloud.projects.usecases import require_project
from cloud.web.charts import Bar, Tick, axis, round_up
from solar_fund.projects.lifecycle import (
    MILESTONE_SHARES,
    MonthCheck,
    ProjectLife,
    milestone_amounts,
)

CHART_WIDTH, CHART_HEIGHT = 700.0, 200.0
MONTHS_SHOWN = 24

STATE_WORDS = {
    "proposed": "Waits for the board to look at it",
    "screened": "Waits for its appraisal",
    "appraised": "Ready for a vote",
    "voted": "Not chosen; may stand again after a new appraisal",
    "granted": "Granted, to be built",
    "built": "Built, not yet in operation",
    "operating": "In operation",
    "closed": "Closed",
    "rejected": "Turned down",
    "lapsed": "Given up; what was not paid went back to the fund",
}
WAY = ("proposed", "screened", "appraised", "voted", "granted", "built", "operating", "closed")
GROUPS = (
    ("In operation", ("operating",)),
    ("Being built", ("granted", "built")),
    ("Ready for a vote", ("appraised",)),
    ("Being looked at", ("proposed", "screened")),
    ("Not chosen", ("voted",)),
    ("Ended", ("closed", "lapsed", "rejected")),
)
EVENT_WORDS = {
    "proposed": "Proposed by a member",
    "screened": "Looked at and let pass",
    "appraised": "Appraised",
    "listed": "On the ballot paper",
    "unlisted": "The vote had no quorum; off the paper again",
    "granted": "Granted; the money is set aside",
    "built": "Built",
    "operating": "In operation",
    "closed": "Closed",
    "rejected": "Turned down",
    "lapsed": "Given up",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLine:
    """A project in the list."""

    project: SolarProject
    words: str
    annual_energy_kwh: float | None
    paid_minor: int
    grant_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectGroup:
    """Projects that are equally far."""

    title: str
    lines: Sequence[ProjectLine]


@dataclass(frozen=True, slots=True, kw_only=True)
class WayStep:
    """A step of the way: done, now or ahead."""

    label: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """Something that happened, in words.

    Args:
        text: What.
        words: What somebody said about it.
        who: Who did it, where that is for everybody: the board.
        at: When.
        evidence: SHA-256 of what it rests on.
        election_id: The vote it is about, or empty.
        is_main: Whether the state changed or money moved.
    """

    text: str
    words: str
    who: str
    at: datetime
    evidence: str
    election_id: str
    is_main: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestoneLine:
    """A part of the grant."""

    name: str
    percent: int
    amount_minor: int
    paid_at: datetime | None
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureAsked:
    """What the board can sign for now.

    Args:
        act: A milestone or `lapse`.
        amount_minor: What is paid, or given back.
        first: The signature that waits, if one does.
        first_name: Who gave it.
        is_own: Whether it is this person's.
    """

    act: str
    amount_minor: int
    first: StoredEvent | None
    first_name: str
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastChart:
    """Forecast beside meter as bars in pairs."""

    forecast: Sequence[Bar]
    metered: Sequence[Bar]
    gaps: Sequence[Bar]
    ticks: Sequence[Tick]
    labels: Sequence[Tick]
    top_kwh: float
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectView:
    """Everything on the page of one project."""

    project: SolarProject
    life: ProjectLife
    state_words: str
    way: Sequence[WayStep]
    events: Sequence[EventLine]
    report: Mapping[str, Any] | None
    appraisal: StoredEvent | None
    weather: StoredFile | None
    load: StoredFile | None
    after: Sequence[str]
    stated: Sequence[Mapping[str, str]]
    usual: Sequence[Mapping[str, str]]
    milestones: Sequence[MilestoneLine]
    open_minor: int
    checks: Sequence[MonthCheck]
    chart: ForecastChart | None
    forecast_wh: int
    metered_wh: int
    asked: Sequence[SignatureAsked]
    may_decide: bool
    is_listed: bool
    proposer: str
    weathers: Sequence[StoredFile]
    loads: Sequence[StoredFile]


def gather_projects(connection: Connection) -> list[ProjectGroup]:
    """All projects, by how far they are."""
    events = repository.events_by_project(connection)
    lines: dict[str, list[ProjectLine]] = {}
    for project in repository.all_projects(connection):
        own = events[project.project_id]
        life, appraisal = life_of(own), newest_appraisal(own)
        lines.setdefault(life.state, []).append(
            ProjectLine(
                project=project,
                words="On the ballot paper of an open vote"
                if own[-1].kind == LISTED
                else STATE_WORDS[life.state],
                annual_energy_kwh=None
                if appraisal is None
                else appraisal.details["report"]["annual_energy_kwh"],
                paid_minor=life.paid_minor,
                grant_minor=life.grant_minor,
            )
        )
    groups = [
        ProjectGroup(title=title, lines=[line for state in states for line in lines.get(state, [])])
        for title, states in GROUPS
    ]
    return [group for group in groups if group.lines]


def gather_project(connection: Connection, project_id: str, person: Person) -> ProjectView:
    """The page of one project, with the forms that this person may use.

    Raises:
        NotFound: There is none.
    """
    project, events = require_project(connection, project_id)
    life, appraisal = life_of(events), newest_appraisal(events)
    details: Mapping[str, Any] = {} if appraisal is None else appraisal.details
    assumptions = details.get("report", {}).get("assumptions", [])
    checks = month_checks(events)
    known = [check for check in checks if check.metered_wh is not None]
    may_decide = person.has(Role.BOARD) and person.person_id != project.proposed_by
    files = repository.all_files(connection) if may_decide else []
    names = {one.project_id: one.name for one in repository.all_projects(connection)}
    proposer = person_by_id(connection, project.proposed_by)
    return ProjectView(
        project=project,
        life=life,
        state_words=STATE_WORDS[life.state],
        way=_way(life),
        events=[_line(connection, event) for event in reversed(events)],
        report=details.get("report"),
        appraisal=appraisal,
        weather=repository.file_row(connection, details.get("weather_sha256") or ""),
        load=repository.file_row(connection, details.get("load_sha256") or ""),
        after=[names[one] for one in details.get("after", ())],
        stated=[line for line in assumptions if not _is_usual(line)],
        usual=[line for line in assumptions if _is_usual(line)],
        milestones=_milestones(life),
        open_minor=open_minor(life),
        checks=list(reversed(checks)),
        chart=forecast_chart(checks[-MONTHS_SHOWN:]) if checks else None,
        forecast_wh=sum(check.forecast_wh for check in known),
        metered_wh=sum(check.metered_wh or 0 for check in known),
        asked=_asked(connection, life, events, person) if may_decide else [],
        may_decide=may_decide,
        is_listed=events[-1].kind == LISTED,
        proposer=proposer.name if proposer and person.has(Role.BOARD) else "",
        weathers=[file for file in files if file.kind == WEATHER],
        loads=[file for file in files if file.kind == LOAD],
    )


def forecast_chart(checks: Sequence[MonthCheck]) -> ForecastChart:
    """Two bars a month: what was forecast, what was metered; a gap is shown as one."""
    top_kwh = round_up(
        max(max(check.forecast_wh, check.metered_wh or 0) for check in checks) / 1000
    )
    step = CHART_WIDTH / len(checks)
    wide = min(step * 0.36, 26.0)
    forecast, metered, gaps, labels = [], [], [], []

    def bar(x: float, energy_wh: int, kind: str) -> Bar:
        height = energy_wh / 1000 / top_kwh * CHART_HEIGHT
        return Bar(
            x=round(x, 1),
            y=round(CHART_HEIGHT - height, 1),
            width=round(wide, 1),
            height=round(height, 1),
            kind=kind,
        )

    for place, check in enumerate(checks):
        middle = (place + 0.5) * step
        forecast.append(bar(middle - wide - 1, check.forecast_wh, "mute"))
        if check.metered_wh is None:
            gaps.append(bar(middle + 1, check.forecast_wh, "hatch"))
        else:
            metered.append(bar(middle + 1, check.metered_wh, "solar"))
        if place % max(1, len(checks) // 12) == 0:
            labels.append(Tick(at=round(middle, 1), label=check.month))
    known = [check for check in checks if check.metered_wh is not None]
    made = sum(check.metered_wh or 0 for check in known) / 1000
    expected = sum(check.forecast_wh for check in known) / 1000
    return ForecastChart(
        forecast=forecast,
        metered=metered,
        gaps=gaps,
        ticks=axis(0, top_kwh, length=CHART_HEIGHT, steps=4),
        labels=labels,
        top_kwh=top_kwh,
        summary=f"{len(checks)} months; where metered, {made:,.0f} kWh of {expected:,.0f} kWh "
        "that were forecast",
    )


def _is_usual(assumption: Mapping[str, str]) -> bool:
    """Whether a figure of an appraisal comes from this program and not from the project file."""
    return assumption["source"].startswith("default")


def _way(life: ProjectLife) -> list[WayStep]:
    reached = {event.state for event in life.events}
    steps = []
    for state in WAY:
        kind = "now" if state == life.state else "done" if state in reached else ""
        steps.append(WayStep(label=state, kind=kind))
    if life.state in ("rejected", "lapsed"):
        passed = [step for step in steps if step.kind == "done"]
        return [*passed, WayStep(label=life.state, kind="bad")]
    return steps


def _milestones(life: ProjectLife) -> list[MilestoneLine]:
    if not life.grant_minor:
        return []
    paid = {payment.milestone: payment for payment in life.payments}
    return [
        MilestoneLine(
            name=name,
            percent=MILESTONE_SHARES[name],
            amount_minor=amount_minor,
            paid_at=paid[name].at if name in paid else None,
            evidence=paid[name].evidence_hash if name in paid else "",
        )
        for name, amount_minor in milestone_amounts(life.grant_minor).items()
    ]


def _asked(
    connection: Connection, life: ProjectLife, events: Sequence[StoredEvent], person: Person
) -> list[SignatureAsked]:
    acts: list[tuple[str, int]] = []
    due = due_milestone(life)
    if due is not None and life.state in FUNDED:
        acts.append((due, milestone_amounts(life.grant_minor)[due]))
    if life.state in ("granted", "built"):
        acts.append((LAPSE, life.open_minor))
    asked = []
    for act, amount_minor in acts:
        first = waiting_signature(events, act)
        asked.append(
            SignatureAsked(
                act=act,
                amount_minor=amount_minor,
                first=first,
                first_name=_name(connection, first) if first else "",
                is_own=first is not None and first.person_id == person.person_id,
            )
        )
    return asked


def _line(connection: Connection, event: StoredEvent) -> EventLine:
    details = event.details
    text = EVENT_WORDS.get(event.kind, event.kind)
    if event.kind == "voted":
        text = "Chosen in the vote" if details["won"] else "Not chosen in the vote"
    elif event.kind == "signed":
        text = f"First signature: {_act(details['act'])}"
    elif event.kind == "paid":
        text = f"Paid: {details['milestone']}"
    elif event.kind == "metered":
        energy_wh = details["energy_wh"]
        shown = "a gap" if energy_wh is None else f"{energy_wh / 1000:,.0f} kWh"
        text = f"Metered {details['month']}: {shown}"
    elif event.kind == "operating":
        text = f"In operation since {details['first_month']}"
    return EventLine(
        text=text,
        words=event.words,
        who="" if event.kind == "proposed" else _name(connection, event),
        at=event.at,
        evidence=event.evidence,
        election_id=str(details.get("election", "")),
        is_main=event.kind not in ("signed", "listed", "unlisted", "metered"),
    )


def _act(act: str) -> str:
    return "giving it up" if act == LAPSE else act


def _name(connection: Connection, event: StoredEvent) -> str:
    if event.person_id is None:
        return "the server, by the vote"
    person = person_by_id(connection, event.person_id)
    return person.name if person else ""
