"""What the vote pages show: the paper, the count in steps, and where a slice went."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from cloud.errors import NotFound
from cloud.votes import repository, usecases
from cloud.votes.publication import content_of
from cloud.votes.repository import ElectionRow, Project
from cloud.web.charts import Bar, month_bars
from cloud.web.roof_plan import RoofPlan, roof_plan
from solar_fund.voting.published_vote import recount

BAR_WIDTH = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectCard:
    """A project on the paper."""

    project: Project
    bars: Sequence[Bar]
    roof: RoofPlan
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A project won or lost, with its bar of money."""

    name: str
    cost_minor: int
    is_bought: bool
    text: str
    parts: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceLine:
    """What of a member's slice went where [minor units]."""

    name: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
    """A counted vote."""

    election: ElectionRow
    lines: Sequence[StepLine]
    voters: int
    slice_minor: int
    served: int
    served_by_votes: int
    leftover_minor: int
    own_slice: Sequence[SliceLine]
    receipt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteView:
    """Everything on the page of one vote."""

    election: ElectionRow
    is_open: bool
    cards: Sequence[ProjectCard]
    turnout: int
    receipt: str
    chosen: Sequence[str]
    result: ResultView | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteLine:
    """A vote in the list."""

    election: ElectionRow
    about: str
    state: str
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecountView:
    """A closed vote counted anew.

    Args:
        election: The vote.
        faults: What differs from what was published, in words; empty when all agrees.
        outcome: The new count in a sentence.
        ballots: Ballots in the box.
        root: Merkle root over them, hex.
    """

    election: ElectionRow
    faults: Sequence[str]
    outcome: str
    ballots: int
    root: str


ABOUT = {
    repository.PROJECTS: "Solar projects",
    repository.POLICY: "Yes or no",
    repository.SLATE: "Several proposals",
}


def vote_line(election: ElectionRow, now: datetime) -> VoteLine:
    """Say in a word how far a vote is."""
    is_open = election.closed_at is None and election.opens_at <= now < election.closes_at
    question = (election.paper or {}).get("question", {})
    about = "Use of data" if "data_request" in question else ABOUT[election.kind]
    if "parameters" in question:
        about = "How savings are split"
    if election.closed_at is None:
        state = "open" if is_open else "opens later" if now < election.opens_at else "to be counted"
    elif election.kind == repository.POLICY:
        state = "passed" if (election.result or {})["passed"] else "not passed"
    else:
        state = "counted"
    return VoteLine(election=election, about=about, state=state, is_open=is_open)


def gather_recount(connection: Connection, election_id: str) -> RecountView:
    """Count a closed vote anew from the ballot box, and compare with what was published.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    published = content_of(connection, election_id)
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    ballots = repository.ballots_in_box(connection, election_id)
    from_box = published | {
        "ballots": [{"ballot": json.loads(row.ballot), "nonce": row.nonce.hex()} for row in ballots]
    }
    found = recount(from_box)
    return RecountView(
        election=election,
        faults=found.faults,
        outcome=_in_words(election, found.result),
        ballots=found.ballots,
        root=found.root,
    )


def _in_words(election: ElectionRow, result: Mapping[str, Any]) -> str:
    if election.kind == repository.POLICY:
        return str(result["reason"])
    if election.kind == repository.SLATE:
        return ", ".join(result["accepted"]) or "nothing accepted"
    return ", ".join(result["selected"]) or "nothing bought"


def gather_vote(
    connection: Connection,
    election_id: str,
    *,
    household: str | None,
    token: str | None,
    now: datetime,
) -> VoteView:
    """Gather the page of one vote for one member.

    Raises:
        NotFound: No such vote.
    """
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    ballot, receipt = usecases.own_ballot(connection, election_id, token) or ({}, "")
    chosen = list(ballot.get("approve", ()))
    projects = repository.projects_of(connection, election_id)
    # A different order for each member, but the same each time: no project is always first.
    random.Random(f"{election_id}/{household}").shuffle(projects)  # noqa: S311 - fairness, not secrecy
    return VoteView(
        election=election,
        is_open=election.closed_at is None and election.opens_at <= now < election.closes_at,
        cards=[
            ProjectCard(
                project=project,
                bars=month_bars(project.facts["monthly_energy_kwh"]),
                roof=roof_plan(project.project_id, float(project.facts["kwp"])),
                is_chosen=project.project_id in chosen,
            )
            for project in projects
        ],
        turnout=repository.turnout(connection, election_id),
        receipt=receipt,
        chosen=chosen,
        result=gather_result(connection, election, receipt) if election.closed_at else None,
    )


def gather_result(connection: Connection, election: ElectionRow, receipt: str) -> ResultView:
    """The count of a closed vote in words, and one member's slice."""
    result = election.result or {}
    names = {
        project.project_id: project.name
        for project in repository.projects_of(connection, election.election_id)
    }
    lines: list[StepLine] = []
    spent = 0.0
    for step in result["steps"]:
        lines.append(_bought(step, names, spent, float(result["budget"])))
        spent += float(step["cost"])
    lines += [_not_bought(loss, names) for loss in result["not_selected"]]
    own: list[SliceLine] = []
    if receipt:
        outcome = usecases.count_again(connection, election.election_id)
        # Amounts of the count are minor units already, so one unit is one minor unit.
        parts = outcome.slice_minor(receipt, minor_per_unit=1)
        own = [
            SliceLine(name=names.get(key, "Left over, kept in the fund"), amount_minor=amount)
            for key, amount in parts.items()
        ]
    return ResultView(
        election=election,
        lines=lines,
        voters=result["voters"],
        slice_minor=round(Fraction(result["per_voter_budget"])),
        served=result["served_voters"],
        served_by_votes=result["most_votes_first"]["served_voters"],
        leftover_minor=round(Fraction(str(result["leftover"]))),
        own_slice=own,
        receipt=receipt,
    )


def _bought(
    step: Mapping[str, Any], names: Mapping[str, str], spent: float, budget: float
) -> StepLine:
    share = step["share"]
    if share is None:
        text = f"{step['supporters']} supporters; bought with what was left, most votes first."
    elif step["gave_all_left"]:
        text = (
            f"{step['supporters']} supporters. {step['gave_all_left']} gave all they had left, "
            f"the other {step['paid_full_share']} the same amount each."
        )
    else:
        text = f"{step['supporters']} supporters paid the same amount each."
    before, own = spent / budget * BAR_WIDTH, float(step["cost"]) / budget * BAR_WIDTH
    return StepLine(
        name=names[step["project"]],
        cost_minor=round(Fraction(str(step["cost"]))),
        is_bought=True,
        text=text,
        parts=(
            Bar(x=0, y=0, width=round(before, 1), height=14, kind="mute"),
            Bar(x=round(before, 1), y=0, width=round(own, 1), height=14, kind="good"),
        ),
    )


def _not_bought(loss: Mapping[str, Any], names: Mapping[str, str]) -> StepLine:
    cost = float(loss["cost"])
    had = float(loss["supporters_money_left"])
    reason = {
        "supporters short": "had too little left together",
        "over the budget": "had enough support, but it would overspend the fund",
        "no supporters": "nobody supported it",
        "ranked too low": "others were ahead",
    }.get(loss["reason"], str(loss["reason"]))
    return StepLine(
        name=names[loss["project"]],
        cost_minor=round(Fraction(str(loss["cost"]))),
        is_bought=False,
        text=f"{loss['supporters']} supporters; {reason}.",
        parts=(
            Bar(
                x=0,
                y=0,
                width=round(min(had / cost, 1.0) * BAR_WIDTH, 1) if cost else 0,
                height=14,
                kind="warn",
            ),
        ),
    )
