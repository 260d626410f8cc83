"""Votes on appraised projects: prepared by one of the board, opened by another, carried out.

The budget is what the fund has free at the opening, less what votes not yet counted may still spend;
what the last vote left over is part of it. The roll is frozen and the lot for ties is drawn at the
opening, before the first ballot.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, Literal, get_args

from sqlalchemy import Connection

from cloud.errors import BadInput, NotAllowed, NotFound, StateConflict
from cloud.fund import grants
from cloud.fund.usecases import fund_state
from cloud.members.repository import memberships
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.project_life import LISTED, UNLISTED, life_of, newest_appraisal
from cloud.projects.repository import SolarProject, StoredEvent, VoteDraft
from cloud.projects.usecases import hash_of, put_event, put_state, require_project
from cloud.transparency.usecases import record
from cloud.votes import repository as votes
from cloud.votes.repository import ElectionRow, Project
from cloud.votes.usecases import open_election
from solar_fund.errors import ElectionInvalid
from solar_fund.money import exponent_of
from solar_fund.voting.policy import freeze_roll, quorum_votes

Utility = Literal["cost", "cardinality"]
Completion = Literal["add1", "none"]
Then = Literal["utilitarian", "none"]

OPEN_FOR_MAX = timedelta(days=366)
PROJECTS_MAX = 100
DRAFTS_MAX = 20
GROUP_CHARS_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarVotePlan:
    """A vote on projects, as one of the board prepares it.

    Args:
        title: As people call it.
        closes_at: Until when ballots are taken, aware.
        project_ids: The paper.
        record_at: The record date of the roll, aware; None is the moment of the opening.
        quorum: Share of the roll that must take part.
        waiting_days: How long a home must have belonged at the record date [days].
        utility: Whether a project is worth its cost to a supporter, or counts one.
        completion: Whether slices are raised while money is left.
        then: Whether what is still left goes by most votes.
        must_fund: Projects that are paid before the rest is shared.
        groups: Name of a group by project; at most one of a group is bought.
        min_support: Ballots a project needs to be counted at all.
        election_id: Its name in addresses; None draws one.
    """

    title: str
    closes_at: datetime
    project_ids: tuple[str, ...]
    record_at: datetime | None = None
    quorum: Fraction = Fraction(3, 10)
    waiting_days: int = 0
    utility: Utility = "cost"
    completion: Completion = "add1"
    then: Then = "utilitarian"
    must_fund: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    min_support: int = 0
    election_id: str | None = None


def prepare_vote(
    connection: Connection, plan: SolarVotePlan, *, person: Person, now: datetime
) -> str:
    """Keep a vote for a second member of the board to open; returns its name.

    Raises:
        NotAllowed: The person is not of the board.
        BadInput: The plan makes no sense.
        NotFound: There is no such project.
        StateConflict: A project is not appraised or on another paper, or too many votes wait.
    """
    _require_board(person)
    _check_plan(plan, now)
    for project_id in plan.project_ids:
        _require_ready(connection, project_id)
    if len(repository.waiting_drafts(connection)) >= DRAFTS_MAX:
        raise StateConflict(f"{DRAFTS_MAX} prepared votes wait; open or withdraw one of them")
    draft_id = plan.election_id or f"projects-{secrets.token_hex(6)}"
    if (
        repository.draft_row(connection, draft_id) is not None
        or votes.election_row(connection, draft_id) is not None
    ):
        raise StateConflict(f"a vote {draft_id} exists already")
    written = asdict(plan) | {
        "closes_at": plan.closes_at.isoformat(),
        "record_at": None if plan.record_at is None else plan.record_at.isoformat(),
        "quorum": str(plan.quorum),
        "groups": dict(plan.groups),
        "election_id": draft_id,
    }
    repository.insert_draft(
        connection, draft_id, plan=written, prepared_by=person.person_id, now=now
    )
    record(
        connection,
        kind="vote.prepared",
        facts={"election": draft_id, "projects": list(plan.project_ids)},
        at=now,
    )
    return draft_id


def plan_of(draft: VoteDraft) -> SolarVotePlan:
    """The plan of a prepared vote."""
    written = dict(draft.plan)
    record_at = written["record_at"]
    return SolarVotePlan(
        **written
        | {
            "closes_at": datetime.fromisoformat(written["closes_at"]),
            "record_at": None if record_at is None else datetime.fromisoformat(record_at),
            "quorum": Fraction(written["quorum"]),
            "project_ids": tuple(written["project_ids"]),
            "must_fund": tuple(written["must_fund"]),
        }
    )


def open_prepared_vote(
    connection: Connection,
    draft_id: str,
    *,
    person: Person,
    currency: str,
    now: datetime,
    lot_seed: str = "",
) -> ElectionRow:
    """Open a vote that another of the board prepared.

    Args:
        connection: A transaction that may write.
        draft_id: Which.
        person: Who opens it.
        currency: ISO 4217 code of the fund.
        now: The time.
        lot_seed: What the lot for ties is drawn from; empty draws a seed. It goes into the log.

    Raises:
        NotFound: There is no such vote.
        NotAllowed: The person is not of the board, or prepared it.
        BadInput: Its time is over.
        StateConflict: It was opened or withdrawn, a project is not ready any more, nobody could
            vote, or the fund has no money free.
    """
    _require_board(person)
    draft = require_draft(connection, draft_id)
    if draft.prepared_by == person.person_id:
        raise NotAllowed("you prepared this vote; a second member of the board opens it")
    plan = plan_of(draft)
    _check_plan(plan, now)
    ready = [_require_ready(connection, project_id) for project_id in plan.project_ids]
    budget_minor = free_for_votes(connection, currency, now)
    must_minor = sum(
        project.cost_minor for project, _facts in ready if project.project_id in plan.must_fund
    )
    if budget_minor <= 0 or must_minor > budget_minor:
        raise StateConflict(
            "the fund has not enough money free for this vote: wait for the next settlement, or "
            "for votes that are not counted yet"
        )
    record_at = plan.record_at or now
    try:
        roll = freeze_roll(memberships(connection), record_at, plan.waiting_days)
    except ElectionInvalid as fault:
        raise StateConflict(f"{fault}: no member belonged long enough") from fault
    election = ElectionRow(
        election_id=draft_id,
        title=plan.title,
        opens_at=now,
        closes_at=plan.closes_at,
        budget_minor=budget_minor,
        currency=currency,
        quorum=quorum_votes(len(roll.member_ids), plan.quorum),
        roll_size=len(roll.member_ids),
        lot_seed=lot_seed,
        record_at=record_at,
        paper=_paper(plan, currency, min(_left_over(connection), budget_minor)),
    )
    paper = [
        Project(
            project_id=project.project_id,
            name=project.name,
            cost_minor=project.cost_minor,
            facts=facts,
        )
        for project, facts in ready
    ]
    election = open_election(connection, election, paper, sorted(roll.member_ids), now=now)
    repository.finish_draft(connection, draft_id, election_id=draft_id)
    for project in paper:
        _put_note(connection, project.project_id, LISTED, draft_id, person.person_id, now)
    return election


def withdraw_vote(connection: Connection, draft_id: str, *, person: Person, now: datetime) -> None:
    """Give a prepared vote up before it opens.

    Raises:
        NotFound: There is no such vote.
        NotAllowed: The person is not of the board.
        StateConflict: It was opened or withdrawn.
    """
    _require_board(person)
    require_draft(connection, draft_id)
    repository.finish_draft(connection, draft_id, withdrawn_at=now)
    record(connection, kind="vote.withdrawn", facts={"election": draft_id}, at=now)


def note_result(connection: Connection, election_id: str, *, now: datetime) -> None:
    """Carry a counted vote out: projects were voted on, and those that won are granted.

    Without a quorum the projects are off the paper again, and may stand in the next vote.

    Raises:
        NotFound: There is no such vote.
    """
    election = votes.election_row(connection, election_id)
    if election is None or election.result is None or election.ballots_root is None:
        raise NotFound(f"counted vote {election_id}")
    repository.let_go(connection, election_id)
    selected = election.result["selected"]
    for listed in votes.projects_of(connection, election_id):
        project = repository.project_row(connection, listed.project_id)
        if project is None:
            continue
        if election.result.get("quorum_reached") is False:
            _put_note(connection, project.project_id, UNLISTED, election_id, None, now)
            continue
        put_state(
            connection,
            StoredEvent(
                project_id=project.project_id,
                kind="voted",
                at=now,
                person_id=None,
                evidence=election.ballots_root,
                details={"election": election_id, "won": project.project_id in selected},
            ),
            election=election_id,
        )
        grant_seq = grants.grant_number(
            connection, election_id=election_id, project_id=project.project_id, now=now
        )
        if grant_seq is not None:
            put_state(
                connection,
                StoredEvent(
                    project_id=project.project_id,
                    kind="granted",
                    at=now,
                    person_id=None,
                    evidence=election.ballots_root,
                    details={
                        "election": election_id,
                        "grant_minor": listed.cost_minor,
                        "grant_seq": grant_seq,
                    },
                ),
                amount_minor=listed.cost_minor,
                election=election_id,
                ledger_seq=grant_seq,
            )


def free_for_votes(connection: Connection, currency: str, now: datetime) -> int:
    """What a new vote may spend: free in the fund, less what open votes may [minor units]."""
    promised_minor = sum(
        election.budget_minor
        for election in votes.all_elections(connection)
        if election.kind == votes.PROJECTS and election.closed_at is None
    )
    return fund_state(connection, currency, now).available_minor - promised_minor


def ready_projects(connection: Connection) -> list[SolarProject]:
    """Projects that may stand in a vote: appraised, and on no other paper; newest first."""
    by_project = repository.events_by_project(connection)
    return [
        project
        for project in repository.all_projects(connection)
        if _why_not_ready(by_project[project.project_id]) == ""
    ]


def require_draft(connection: Connection, draft_id: str) -> VoteDraft:
    """A prepared vote that still waits.

    Raises:
        NotFound: There is none.
        StateConflict: It was opened or withdrawn.
    """
    draft = repository.draft_row(connection, draft_id)
    if draft is None:
        raise NotFound("prepared vote")
    if draft.election_id is not None or draft.withdrawn_at is not None:
        raise StateConflict("this vote was opened or withdrawn already")
    return draft


def _check_plan(plan: SolarVotePlan, now: datetime) -> None:
    known = set(plan.project_ids)
    faults = (
        (plan.closes_at.tzinfo is None, "the close needs a time zone"),
        (not known, "put at least one project on the paper"),
        (len(known) != len(plan.project_ids), "a project stands twice on the paper"),
        (len(known) > PROJECTS_MAX, f"a paper takes {PROJECTS_MAX} projects"),
        (not 0 <= plan.quorum <= 1, "the quorum is a share from 0 to 1"),
        (plan.utility not in get_args(Utility), "the utility is cost or cardinality"),
        (plan.completion not in get_args(Completion), "the completion is add1 or none"),
        (plan.then not in get_args(Then), "what is left goes by utilitarian or none"),
        (not set(plan.must_fund) <= known, "what must be funded stands on the paper too"),
        (not set(plan.groups) <= known, "a group names a project that is not on the paper"),
        (
            any(not 1 <= len(group) <= GROUP_CHARS_MAX for group in plan.groups.values()),
            f"the name of a group has 1 to {GROUP_CHARS_MAX} characters",
        ),
        (
            _two_of_a_group(plan),
            "two projects that must be funded are of one group, of which only one is bought",
        ),
        (plan.min_support < 0 or plan.waiting_days < 0, "give numbers that are not negative"),
    )
    for is_wrong, problem in faults:
        if is_wrong:
            raise BadInput(problem)
    if not now < plan.closes_at <= now + OPEN_FOR_MAX:
        raise BadInput(f"a vote closes in the future, after {OPEN_FOR_MAX.days} days at most")
    if plan.record_at is not None and plan.record_at > now:
        raise BadInput("the record date of the roll lies in the past when a vote is opened")


def _two_of_a_group(plan: SolarVotePlan) -> bool:
    groups = [plan.groups[name] for name in plan.must_fund if name in plan.groups]
    return len(set(groups)) != len(groups)


def _paper(plan: SolarVotePlan, currency: str, carry_over_minor: int) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "utility": plan.utility,
        "completion": plan.completion,
        "then": plan.then,
        # Slices are raised by one whole unit of the currency.
        "increment": str(10 ** exponent_of(currency)),
    }
    if plan.must_fund:
        rule["must_fund"] = list(plan.must_fund)
    if plan.min_support:
        rule["min_support"] = plan.min_support
    return {"rule": rule, "groups": dict(plan.groups), "carry_over_minor": carry_over_minor}


def _left_over(connection: Connection) -> int:
    """What the last counted vote on projects did not spend [minor units]."""
    counted = [
        election
        for election in votes.all_elections(connection)
        if election.kind == votes.PROJECTS and election.closed_at is not None
    ]
    last = max(counted, key=lambda one: one.closed_at or one.closes_at, default=None)
    if last is None or last.result is None:
        return 0
    return last.budget_minor - int(last.result["cost"])


def _require_ready(connection: Connection, project_id: str) -> tuple[SolarProject, dict[str, Any]]:
    project, events = require_project(connection, project_id)
    problem = _why_not_ready(events)
    if problem:
        raise StateConflict(f"{project_id} {problem}")
    appraisal = newest_appraisal(events)
    return project, paper_facts(project, appraisal.details["report"] if appraisal else {})


def _why_not_ready(events: list[StoredEvent]) -> str:
    state = life_of(events).state
    if state != "appraised":
        return f"is {state}; only appraised projects stand in a vote"
    if events[-1].kind == LISTED:
        return "is on the paper of another vote"
    return ""


def paper_facts(project: SolarProject, report: Mapping[str, Any]) -> dict[str, Any]:
    """What the ballot paper says of a project."""
    return {
        "kwp": report["peak_kw"],
        "site": project.site,
        "words": project.words,
        "annual_energy_kwh": report["annual_energy_kwh"],
        "p90_energy_kwh": report["annual_energy_p90_kwh"],
        "monthly_energy_kwh": report["monthly_energy_kwh"],
        "payback_years": report["payback_years"],
        "irr": report["irr"],
        "npv_minor": report["npv_minor"],
        "self_consumption_share": report["self_consumption_share"],
    }


def _put_note(
    connection: Connection,
    project_id: str,
    kind: str,
    election_id: str,
    person_id: str | None,
    now: datetime,
) -> None:
    put_event(
        connection,
        StoredEvent(
            project_id=project_id,
            kind=kind,
            at=now,
            person_id=person_id,
            evidence=hash_of(election_id),
            details={"election": election_id},
        ),
        election=election_id,
    )


def _require_board(person: Person) -> None:
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board prepare and open votes")
