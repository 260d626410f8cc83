"""Votes on policies (yes, no, abstain) and on slates (quadratic credits): open, cast, count.

Roll, ballot box, receipts and published file are those of every vote. What is voted on stands in
the election's paper as it will be published, and its hash goes into the log at the opening, so that
nobody can change the question afterwards.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from cloud.errors import BadInput, StateConflict
from cloud.fund.usecases import parameters_in_force, proposed_parameters
from cloud.members.repository import memberships
from cloud.transparency.usecases import record
from cloud.votes import repository
from cloud.votes.publication import keep_published, paper_hash
from cloud.votes.repository import POLICY, SLATE, ElectionRow
from cloud.votes.usecases import (
    CastReceipt,
    new_lot_seed,
    open_for_ballots,
    put_in_box,
    ready_to_count,
)
from solar_fund.errors import BallotInvalid, ElectionInvalid, FundError
from solar_fund.voting.policy import PolicyRule, freeze_roll, quorum_votes
from solar_fund.voting.published_vote import published_vote
from solar_fund.voting.quadratic import check_credits
from solar_fund.voting.tie_break import draw_lot

CHOICES = ("yes", "no", "abstain")
QUORUM_DEFAULT = Fraction(3, 10)
OPEN_FOR_MAX = timedelta(days=366)
ITEMS_MAX = 30
CREDITS_MAX = 10_000
_ITEM_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VotePlan:
    """When a vote runs and who may take part.

    Args:
        title: As people call it.
        opens_at: From when on ballots are taken.
        closes_at: Until when.
        record_at: The record date: members of that moment are on the roll.
        waiting_days: How long a home must have belonged at the record date [days].
        quorum: Share of the roll that must take part.
        election_id: Its name in addresses; None draws one.
    """

    title: str
    opens_at: datetime
    closes_at: datetime
    record_at: datetime
    waiting_days: int = 0
    quorum: Fraction = QUORUM_DEFAULT
    election_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A question for yes or no.

    Args:
        text: The question, in words members understand.
        threshold: Share of yes among yes and no.
        above: Whether the share must exceed the threshold or only reach it.
        parameters: Changes to the waterfall that a yes puts in force, as decimals in text.
        data_request: The proposal to use data that is voted on, with the hash of its text.
    """

    text: str
    threshold: Fraction = Fraction(1, 2)
    above: bool = True
    parameters: Mapping[str, str] | None = None
    data_request: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slate:
    """Several proposals that members weigh against each other.

    Args:
        text: What the choice is about.
        items: What each proposal says, by a short name in small letters.
        credit_limit: What each member may spend; v votes cost v² [credits].
    """

    text: str
    items: Mapping[str, str]
    credit_limit: int = 100


def open_policy_vote(
    connection: Connection, plan: VotePlan, policy: Policy, *, now: datetime
) -> ElectionRow:
    """Open a vote on a policy; its roll is frozen and its question is fixed from here on.

    Raises:
        BadInput: The times, shares or parameters make no sense.
        StateConflict: Nobody could vote, or another vote on parameters is open.
    """
    try:
        PolicyRule(quorum=plan.quorum, threshold=policy.threshold, above=policy.above)
    except ElectionInvalid as fault:
        raise BadInput(str(fault)) from fault
    question: dict[str, Any] = {"title": plan.title, "text": policy.text}
    if policy.parameters is not None:
        _refuse_second_vote_on_parameters(connection)
        current, _voted = parameters_in_force(connection, now)
        question["parameters_before"] = proposed_parameters(current, {})
        question["parameters"] = proposed_parameters(current, policy.parameters)
    if policy.data_request is not None:
        question["data_request"] = dict(policy.data_request)
    rule = {
        "name": "majority",
        "quorum": str(plan.quorum),
        "threshold": str(policy.threshold),
        "above": policy.above,
    }
    return _open(connection, plan, POLICY, {"question": question, "rule": rule}, now=now)


def open_slate_vote(
    connection: Connection, plan: VotePlan, slate: Slate, *, now: datetime
) -> ElectionRow:
    """Open a vote on a slate; a drawn lot decides in which order equal totals stand.

    Raises:
        BadInput: The times, the quorum, the items or the credits make no sense.
        StateConflict: Nobody could vote.
    """
    if not 2 <= len(slate.items) <= ITEMS_MAX:
        raise BadInput(f"a slate has 2 to {ITEMS_MAX} proposals")
    wrong = [name for name in slate.items if not _ITEM_NAME.fullmatch(name)]
    if wrong:
        raise BadInput(
            f"proposal {wrong[0][:40]!r}: name it with small letters, digits and hyphens"
        )
    if not 1 <= slate.credit_limit <= CREDITS_MAX:
        raise BadInput(f"give each member 1 to {CREDITS_MAX} credits")
    if not 0 <= plan.quorum <= 1:
        raise BadInput(f"the quorum is {plan.quorum}: it must be between 0 and 1")
    seed = new_lot_seed()
    lot = draw_lot(sorted(slate.items), seed)
    question = {
        "title": plan.title,
        "text": slate.text,
        "names": list(lot),
        "texts": dict(slate.items),
    }
    rule = {"name": "quadratic", "credits": slate.credit_limit, "quorum": str(plan.quorum)}
    paper = {"question": question, "rule": rule}
    return _open(connection, plan, SLATE, paper, now=now, lot=lot, lot_seed=seed)


def cast_choice(
    connection: Connection,
    *,
    election_id: str,
    household: str,
    choice: str,
    token: str | None,
    now: datetime,
) -> CastReceipt:
    """Vote yes, no or abstain; a later ballot with the same token replaces it until the close.

    Raises:
        NotFound: No such vote on a policy.
        NotAllowed: The home is not on the roll, or voted already and the token is another's.
        StateConflict: The vote is not open.
        BadInput: It is no choice.
    """
    election = open_for_ballots(connection, election_id, household, kind=POLICY, now=now)
    if choice not in CHOICES:
        raise BadInput(f"choose one of {', '.join(CHOICES)}")
    return put_in_box(
        connection, election, household=household, ballot={"choice": choice}, token=token
    )


def cast_credits(
    connection: Connection,
    *,
    election_id: str,
    household: str,
    votes: Mapping[str, int],
    token: str | None,
    now: datetime,
) -> CastReceipt:
    """Spend credits on a slate; negative votes are against.

    Raises:
        NotFound: No such vote on a slate.
        NotAllowed: The home is not on the roll, or voted already and the token is another's.
        StateConflict: The vote is not open.
        BadInput: It spends too much, or names what is not on the slate.
    """
    election = open_for_ballots(connection, election_id, household, kind=SLATE, now=now)
    paper = election.paper or {}
    given = {name: count for name, count in votes.items() if count}
    try:
        check_credits(given, paper["question"]["names"], paper["rule"]["credits"])
    except BallotInvalid as fault:
        raise BadInput(str(fault)) from fault
    return put_in_box(
        connection, election, household=household, ballot={"votes": given}, token=token
    )


def count_policy_vote(connection: Connection, election_id: str, *, now: datetime) -> dict[str, Any]:
    """Count a vote on a policy or a slate and publish it; what it decides is for the caller.

    Without a quorum it is closed all the same, and nothing is decided.

    Returns:
        What was published, with `result` and `merkle_root`.

    Raises:
        NotFound: No such vote.
        StateConflict: It has not closed, or it was counted.
    """
    election = ready_to_count(connection, election_id, kinds=(POLICY, SLATE), now=now)
    content = _count(connection, election)
    result, root = content["result"], content["merkle_root"]
    repository.close_election_row(
        connection, election_id, result=result, ballots_root=root, now=now
    )
    published_sha256 = keep_published(connection, election_id, content)
    decided = (
        {"passed": result["passed"]}
        if election.kind == POLICY
        else {"accepted": result["accepted"]}
    )
    record(
        connection,
        kind="vote.closed",
        facts={
            "ballots": content["turnout"],
            "ballots_root": root,
            "election": election_id,
            "kind": election.kind,
            "published_sha256": published_sha256,
            "quorum_reached": result["quorum_reached"],
        }
        | decided,
        at=now,
    )
    return content | {"published_sha256": published_sha256}


def _count(connection: Connection, election: ElectionRow) -> dict[str, Any]:
    paper = election.paper or {}
    ballots = repository.ballots_in_box(connection, election.election_id)
    try:
        return published_vote(
            election_id=election.election_id,
            kind="policy" if election.kind == POLICY else "slate",
            question=paper["question"],
            rule=paper["rule"],
            ballots=[(row.ballot, row.nonce) for row in ballots],
            roll_size=election.roll_size,
            lot=election.lot,
            lot_seed=election.lot_seed,
        )
    except FundError as fault:
        raise StateConflict(
            f"the vote {election.election_id} cannot be counted: {fault}"
        ) from fault


def _open(
    connection: Connection,
    plan: VotePlan,
    kind: str,
    paper: dict[str, Any],
    *,
    now: datetime,
    lot: tuple[str, ...] = (),
    lot_seed: str = "",
) -> ElectionRow:
    _check_times(plan, now)
    try:
        roll = freeze_roll(memberships(connection), plan.record_at, plan.waiting_days)
    except ElectionInvalid as fault:
        raise StateConflict(f"{fault}: no member belonged long enough") from fault
    election_id = plan.election_id or f"{kind}-{secrets.token_hex(6)}"
    if repository.election_row(connection, election_id) is not None:
        raise StateConflict(f"a vote {election_id} exists already")
    election = ElectionRow(
        election_id=election_id,
        title=plan.title,
        opens_at=plan.opens_at,
        closes_at=plan.closes_at,
        budget_minor=0,
        currency="",
        quorum=quorum_votes(len(roll.member_ids), plan.quorum),
        roll_size=len(roll.member_ids),
        lot=lot,
        kind=kind,
        lot_seed=lot_seed,
        record_at=plan.record_at,
        paper=paper,
    )
    repository.insert_election(connection, election, [], sorted(roll.member_ids))
    record(
        connection,
        kind="vote.opened",
        facts={
            "closes_at": plan.closes_at.isoformat(),
            "election": election_id,
            "kind": kind,
            "lot": list(lot),
            "lot_seed": lot_seed,
            "paper_sha256": paper_hash(paper),
            "record_at": plan.record_at.isoformat(),
            "roll": election.roll_size,
        },
        at=now,
    )
    return election


def _check_times(plan: VotePlan, now: datetime) -> None:
    if plan.opens_at >= plan.closes_at:
        raise BadInput("a vote must close after it opens")
    if plan.closes_at <= now or plan.closes_at - plan.opens_at > OPEN_FOR_MAX:
        raise BadInput(f"a vote closes in the future, after {OPEN_FOR_MAX.days} days at most")
    if plan.record_at > min(now, plan.opens_at):
        raise BadInput("the record date of the roll lies in the past when a vote is opened")


def _refuse_second_vote_on_parameters(connection: Connection) -> None:
    for one in repository.all_elections(connection):
        if one.closed_at is None and "parameters" in (one.paper or {}).get("question", {}):
            raise StateConflict(
                f"the vote {one.election_id} on parameters is not counted yet; wait for it, because "
                "each such vote decides on all parameters together"
            )
