"""The life of a project: proposal, screening, appraisal, vote, grant, building, operation, end.

Nothing is overwritten: each step is an event with its time and the hash of what it rests on, and
the state is what the events add up to. Money follows three milestones of the grant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from solar_fund.errors import ProjectInvalid
from solar_fund.money import split_minor

State = Literal[
    "proposed",
    "screened",
    "appraised",
    "voted",
    "granted",
    "built",
    "operating",
    "closed",
    "rejected",
    "lapsed",
]
Milestone = Literal["contract signed", "installed", "metered for a month"]

NEXT: Mapping[State, frozenset[State]] = {
    "proposed": frozenset({"screened", "rejected"}),
    "screened": frozenset({"appraised", "rejected"}),
    # A wrong file or newly funded roofs ask for a new appraisal; the last one counts.
    "appraised": frozenset({"appraised", "voted", "rejected"}),
    # A project that did not win may stand again after a new appraisal.
    "voted": frozenset({"granted", "appraised", "rejected"}),
    "granted": frozenset({"built", "lapsed"}),
    "built": frozenset({"operating", "lapsed"}),
    "operating": frozenset({"closed"}),
    "closed": frozenset(),
    "rejected": frozenset(),
    "lapsed": frozenset(),
}
"""Which states may follow which."""

MILESTONE_SHARES: Mapping[Milestone, int] = {
    "contract signed": 30,
    "installed": 60,
    "metered for a month": 10,
}
"""Percent of the grant paid at each milestone, in the order they must come."""

# A milestone may be paid from this state on.
_EARNED_IN: Mapping[Milestone, State] = {
    "contract signed": "granted",
    "installed": "built",
    "metered for a month": "operating",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectEvent:
    """One step.

    Attributes:
        state: The state reached.
        at: When, aware UTC.
        evidence_hash: SHA-256 in hex of what it rests on: appraisal, vote root, photo, reading.
    """

    state: State
    at: datetime
    evidence_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MilestonePayment:
    """Part of a grant that became due."""

    milestone: Milestone
    amount_minor: int
    at: datetime
    evidence_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLife:
    """A project and all that happened to it.

    Attributes:
        project_id: Short name.
        events: Steps, first first; the first is always "proposed".
        grant_minor: What the vote granted, 0 before [minor units].
        payments: Milestones released so far.
    """

    project_id: str
    events: tuple[ProjectEvent, ...]
    grant_minor: int = 0
    payments: tuple[MilestonePayment, ...] = ()

    @property
    def state(self) -> State:
        """The state the events add up to."""
        return self.events[-1].state

    @property
    def paid_minor(self) -> int:
        """Released so far [minor units]."""
        return sum(payment.amount_minor for payment in self.payments)

    @property
    def open_minor(self) -> int:
        """Still reserved for this project [minor units]; a lapsed one returns it to the fund."""
        if self.state in {"lapsed", "rejected"}:
            return 0
        return self.grant_minor - self.paid_minor

    @property
    def returned_minor(self) -> int:
        """What a lapsed project gives back to the fund [minor units]."""
        return self.grant_minor - self.paid_minor if self.state == "lapsed" else 0


def propose(project_id: str, at: datetime, evidence_hash: str) -> ProjectLife:
    """Begin a project's life.

    Raises:
        ProjectInvalid: The time has no zone or the evidence is no SHA-256.
    """
    event = _event("proposed", at, evidence_hash, None)
    return ProjectLife(project_id=project_id, events=(event,))


def advance(
    life: ProjectLife, state: State, at: datetime, evidence_hash: str, grant_minor: int = 0
) -> ProjectLife:
    """Take the next step.

    Args:
        life: The project so far.
        state: Where it goes.
        at: When, aware UTC, not before the last step.
        evidence_hash: SHA-256 in hex of what the step rests on.
        grant_minor: What was granted [minor units]; for the step to "granted" only.

    Raises:
        ProjectInvalid: The step does not follow, or something it needs is missing.
    """
    allowed = NEXT[life.state]
    if state not in allowed:
        ways = ", ".join(sorted(allowed)) or "nothing; it has ended"
        raise ProjectInvalid(
            f"project {life.project_id} is {life.state}: {state} cannot follow, only {ways}"
        )
    if (state == "granted") != (grant_minor > 0):
        raise ProjectInvalid("give the granted sum with the step to granted, and only there")
    event = _event(state, at, evidence_hash, life.events[-1].at)
    return replace(
        life,
        events=(*life.events, event),
        grant_minor=grant_minor if state == "granted" else life.grant_minor,
    )


def milestone_amounts(grant_minor: int) -> dict[Milestone, int]:
    """Split a grant over its milestones; the parts add up to the grant exactly."""
    parts = split_minor(grant_minor, list(MILESTONE_SHARES.values()))
    return dict(zip(MILESTONE_SHARES, parts, strict=True))


def release_milestone(
    life: ProjectLife, milestone: Milestone, at: datetime, evidence_hash: str
) -> ProjectLife:
    """Release the next part of the grant.

    Raises:
        ProjectInvalid: It is not the next milestone, or the project is not that far.
    """
    order = list(MILESTONE_SHARES)
    if len(life.payments) == len(order):
        raise ProjectInvalid(f"project {life.project_id}: the grant is paid in full")
    due = order[len(life.payments)]
    if milestone != due:
        raise ProjectInvalid(
            f"project {life.project_id}: the next milestone is {due}, not {milestone}"
        )
    if life.state in {"lapsed", "rejected"} or not any(
        event.state == _EARNED_IN[milestone] for event in life.events
    ):
        raise ProjectInvalid(
            f"project {life.project_id} is {life.state}: {milestone} is paid once it is"
            f" {_EARNED_IN[milestone]}"
        )
    checked = _event(life.state, at, evidence_hash, life.events[-1].at)
    payment = MilestonePayment(
        milestone=milestone,
        amount_minor=milestone_amounts(life.grant_minor)[milestone],
        at=checked.at,
        evidence_hash=checked.evidence_hash,
    )
    return replace(life, payments=(*life.payments, payment))


def _event(
    state: State, at: datetime, evidence_hash: str, not_before: datetime | None
) -> ProjectEvent:
    if at.tzinfo is None:
        raise ProjectInvalid(f"the time of {state} carries no zone")
    if not_before is not None and at < not_before:
        raise ProjectInvalid(f"{state} at {at.isoformat()} lies before the last step")
    if len(evidence_hash) != 64 or set(evidence_hash) - set("0123456789abcdef"):
        raise ProjectInvalid(f"the evidence of {state} is no SHA-256 in hex: {evidence_hash!r}")
    return ProjectEvent(state=state, at=at, evidence_hash=evidence_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthCheck:
    """Forecast beside metered energy of one month.

    Attributes:
        month: "YYYY-MM".
        forecast_wh: What the appraisal expected, worn by age [Wh].
        metered_wh: What the meter counted, or None where it has a gap [Wh].
        difference_wh: Metered less forecast, or None.
        ratio: Metered over forecast, or None.
    """

    month: str
    forecast_wh: int
    metered_wh: int | None
    difference_wh: int | None
    ratio: float | None


def forecast_versus_metered(
    monthly_forecast_wh: Sequence[int],
    metered_wh: Mapping[str, int | None],
    first_month: str,
    degradation_share: float = 0.0,
) -> tuple[MonthCheck, ...]:
    """Set the meter beside the appraisal, month by month.

    Args:
        monthly_forecast_wh: Energy of a typical first year, January first [Wh], length 12.
        metered_wh: Metered energy by month "YYYY-MM" [Wh]; None marks a month with gaps, which
            is missing, not zero.
        first_month: Month of commissioning; wear counts in whole years from it.
        degradation_share: Yearly loss of yield, as a share.

    Raises:
        ProjectInvalid: There are not twelve forecasts, or a month is before commissioning.
    """
    if len(monthly_forecast_wh) != 12:
        raise ProjectInvalid(f"{len(monthly_forecast_wh)} monthly forecasts instead of 12")
    first = _month_number(first_month)
    checks = []
    for month in sorted(metered_wh):
        age_months = _month_number(month) - first
        if age_months < 0:
            raise ProjectInvalid(f"{month} lies before commissioning in {first_month}")
        wear = (1 - degradation_share) ** (age_months // 12)
        forecast_wh = round(monthly_forecast_wh[int(month[5:]) - 1] * wear)
        metered = metered_wh[month]
        known = metered is not None and forecast_wh > 0
        checks.append(
            MonthCheck(
                month=month,
                forecast_wh=forecast_wh,
                metered_wh=metered,
                difference_wh=None if metered is None else metered - forecast_wh,
                ratio=metered / forecast_wh if known and metered is not None else None,
            )
        )
    return tuple(checks)


def _month_number(month: str) -> int:
    """Count months, so that they can be subtracted."""
    try:
        moment = datetime.strptime(f"{month}-01+0000", "%Y-%m-%d%z")
    except ValueError:
        raise ProjectInvalid(f"month {month!r}: write YYYY-MM") from None
    return moment.year * 12 + moment.month
