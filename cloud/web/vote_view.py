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
from cloud.projects.repository import held_up, project_row
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
    has_page: bool


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
    no_result: str
    rules: Sequence[str]


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
    elif (election.result or {}).get("quorum_reached") is False:
        state = "no quorum"
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
    may_see_projects: bool = False,
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
                has_page=may_see_projects
                and project_row(connection, project.project_id) is not None,
            )
            for project in projects
        ],
        turnout=repository.turnout(connection, election_id),
        receipt=receipt,
        chosen=chosen,
        result=None
        if election.closed_at is None or _lacks_quorum(election)
        else gather_result(connection, election, receipt),
        no_result=_why_no_result(connection, election, now),
        rules=rules_in_words(election, {one.project_id: one.name for one in projects}),
    )


def _lacks_quorum(election: ElectionRow) -> bool:
    return (election.result or {}).get("quorum_reached") is False


def _why_no_result(connection: Connection, election: ElectionRow, now: datetime) -> str:
    if election.result is not None and _lacks_quorum(election):
        return (
            f"{election.result['voters']} of {election.roll_size} voted, {election.quorum} were "
            "needed. Nothing was bought; the money stays in the fund, and the projects may stand "
            "in the next vote."
        )
    if election.closed_at is None and now >= election.closes_at:
        reason = held_up(connection, election.election_id)
        if reason is None:
            return "The time is over. The server counts within a minute."
        return f"The time is over, but it cannot be counted yet: {reason}. It is tried again."
    return ""


def rules_in_words(election: ElectionRow, names: Mapping[str, str]) -> list[str]:
    """What the board chose beyond the usual way of counting, in sentences."""
    paper = election.paper or {}
    rule, groups = paper.get("rule", {}), paper.get("groups", {})
    said = []
    if paper.get("carry_over_minor"):
        said.append("What the last vote left over is part of the money.")
    if rule.get("utility") == "cardinality":
        said.append("Each project counts one to a supporter, whatever it costs.")
    if rule.get("completion") == "none":
        said.append("Slices are not raised when money is left.")
    if rule.get("then") == "none":
        said.append("What the slices leave over stays in the fund.")
    if rule.get("must_fund"):
        must = ", ".join(names[one] for one in rule["must_fund"] if one in names)
        said.append(f"Paid first, before the rest is shared: {must}.")
    if rule.get("min_support"):
        said.append(f"A project needs at least {rule['min_support']} supporters.")
    for group in sorted(set(groups.values())):
        members = ", ".join(names[one] for one in sorted(groups) if groups[one] == group)
        said.append(f"At most one of these is bought ({group}): {members}.")
    return said


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
    if step["kind"] == "must fund":
        text = f"{step['supporters']} supporters; paid first, before the rest was shared."
    elif share is None:
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
        "another of its group won": "another of its group was bought",
        "below minimum support": f"{loss['votes_missing']} short of the least support",
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
