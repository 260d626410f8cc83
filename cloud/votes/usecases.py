"""Opening a vote on projects, casting ballots, counting, and setting the grants aside."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from cloud.errors import BadInput, NotAllowed, NotFound, StateConflict
from cloud.fund.usecases import reserve_grant
from cloud.transparency.usecases import record
from cloud.votes import repository
from cloud.votes.publication import (
    keep_published,
    options_of,
    paper_hash,
    published_content,
    question_of,
    rule_of,
)
from cloud.votes.repository import BallotRow, ElectionRow, Project
from solar_fund.errors import FundError
from solar_fund.voting.ballots import Ballot, BallotProject, Election
from solar_fund.voting.equal_shares import equal_shares
from solar_fund.voting.greedy import greedy
from solar_fund.voting.outcome import Outcome
from solar_fund.voting.pabulib import write_pb
from solar_fund.voting.receipts import (
    NONCE_BYTES,
    BallotList,
    canonical_ballot,
    publish,
    receipt_of,
)
from solar_fund.voting.report import outcome_report
from solar_fund.voting.tie_break import draw_lot

APPROVALS_MAX = 100
TOKEN_BYTES = 32
LOT_SEED_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CastReceipt:
    """What a member takes home.

    Args:
        token: The voting token; whoever holds it may replace the ballot until the close.
        receipt: What to look for in the published list, hex.
        nonce: Opens the receipt, hex.
    """

    token: str
    receipt: str
    nonce: str


def open_election(
    connection: Connection,
    election: ElectionRow,
    projects: list[Project],
    roll: list[str],
    *,
    now: datetime,
) -> ElectionRow:
    """Open a vote on projects; returns it with its lot.

    The lot for ties is drawn from a seed before the first ballot, and seed and order go into the
    log with the paper, so that nobody can choose it by the ballots and anyone can draw it again. An
    order that was drawn in public, without a seed, may be handed in instead.

    Raises:
        StateConflict: It exists already.
        BadInput: The times, the paper, the roll or the lot make no sense.
    """
    if repository.election_row(connection, election.election_id) is not None:
        raise StateConflict(f"a vote {election.election_id} exists already")
    if election.opens_at >= election.closes_at:
        raise BadInput("a vote must close after it opens")
    if not projects or not roll or election.budget_minor <= 0:
        raise BadInput("a vote needs projects, members who may vote, and money to spend")
    election = _with_lot(election, [project.project_id for project in projects])
    repository.insert_election(connection, election, projects, roll)
    record(
        connection,
        kind="vote.opened",
        facts={
            "budget_minor": election.budget_minor,
            "closes_at": election.closes_at.isoformat(),
            "election": election.election_id,
            "lot": list(election.lot),
            "lot_seed": election.lot_seed,
            "paper_sha256": paper_hash(
                {"question": question_of(election, projects), "rule": rule_of(election)}
            ),
            "quorum_votes": election.quorum,
            "roll": len(roll),
        },
        at=now,
    )
    return election


def _with_lot(election: ElectionRow, names: list[str]) -> ElectionRow:
    if not election.lot:
        seed = election.lot_seed or new_lot_seed()
        return replace(election, lot=draw_lot(names, seed), lot_seed=seed)
    if sorted(election.lot) != sorted(names):
        raise BadInput("the lot must name each project once")
    if election.lot_seed and draw_lot(names, election.lot_seed) != election.lot:
        raise BadInput("the lot is not the one its seed gives; leave one of them out")
    return election


def new_lot_seed() -> str:
    """Draw what a lot is drawn from."""
    return secrets.token_hex(LOT_SEED_BYTES)


def cast_ballot(
    connection: Connection,
    *,
    election_id: str,
    household: str,
    approvals: Sequence[str],
    token: str | None,
    now: datetime,
) -> CastReceipt:
    """Put a ballot in the box; a later one with the same token replaces it.

    Args:
        connection: The caller's transaction.
        election_id: Which vote.
        household: Which membership votes.
        approvals: Project ids that are supported.
        token: The token from an earlier cast, or None for the first.
        now: The clock.

    Raises:
        NotFound: No such vote.
        NotAllowed: The home is not on the roll, or voted already and the token is another's.
        StateConflict: The vote is not open.
        BadInput: A project is not on the paper.
    """
    election = open_for_ballots(
        connection, election_id, household, kind=repository.PROJECTS, now=now
    )
    known = {project.project_id for project in repository.projects_of(connection, election_id)}
    chosen = sorted(set(approvals))
    if len(approvals) > APPROVALS_MAX or not set(chosen) <= known:
        raise BadInput("a project on this ballot is not on the paper; load the page again")
    return put_in_box(
        connection, election, household=household, ballot={"approve": chosen}, token=token
    )


def open_for_ballots(
    connection: Connection, election_id: str, household: str, *, kind: str, now: datetime
) -> ElectionRow:
    """Return a vote that a home may cast a ballot in now.

    Raises:
        NotFound: No such vote of this kind.
        StateConflict: The vote is not open.
        NotAllowed: The home is not on the roll.
    """
    election = _require(connection, election_id)
    if election.kind != kind:
        raise NotFound(f"vote {election_id} on {kind}")
    if election.closed_at is not None or not election.opens_at <= now < election.closes_at:
        raise StateConflict(f"the vote {election_id} is not open")
    if repository.token_issued(connection, election_id, household) is None:
        raise NotAllowed("this membership is not on the roll of this vote")
    return election


def put_in_box(
    connection: Connection,
    election: ElectionRow,
    *,
    household: str,
    ballot: Mapping[str, Any],
    token: str | None,
) -> CastReceipt:
    """Put a ballot in the box under the home's token; a first ballot makes the token.

    Args:
        connection: The caller's transaction.
        election: As `open_for_ballots` gave it.
        household: Which membership votes; the box never holds it.
        ballot: What is voted, as JSON values, checked against the paper.
        token: The token from an earlier cast, or None for the first.

    Raises:
        NotAllowed: The home voted already, and the token is another's.
    """
    election_id = election.election_id
    if repository.token_issued(connection, election_id, household):
        token_hash = _hash(token or "")
        if repository.ballot_of_token(connection, election_id, token_hash) is None:
            raise NotAllowed(
                "this membership has voted already, from another browser; to change the ballot "
                "use that browser"
            )
    else:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        token_hash = _hash(token)
        repository.mark_token_issued(connection, election_id, household)
    nonce = secrets.token_bytes(NONCE_BYTES)
    written = canonical_ballot(ballot)
    receipt = receipt_of(election_id, written, nonce).hex()
    repository.put_ballot(
        connection,
        election_id,
        token_hash,
        BallotRow(ballot=written, nonce=nonce, receipt=receipt),
    )
    return CastReceipt(token=token or "", receipt=receipt, nonce=nonce.hex())


def own_ballot(
    connection: Connection, election_id: str, token: str | None
) -> tuple[dict[str, Any], str] | None:
    """The ballot of a token, as JSON values, and its receipt."""
    if not token:
        return None
    row = repository.ballot_of_token(connection, election_id, _hash(token))
    return None if row is None else (json.loads(row.ballot), row.receipt)


def close_election(connection: Connection, election_id: str, *, now: datetime) -> Outcome | None:
    """Count a vote on projects, publish its ballots' root, and set the winners' grants aside.

    Below the quorum it is closed all the same, and nothing is bought: the ballots are published, so
    that everybody can see that theirs was in the box.

    Returns:
        The outcome; None below the quorum.

    Raises:
        NotFound: No such vote on projects.
        StateConflict: It has not closed, it was counted, or the fund cannot pay what won.
    """
    election = ready_to_count(connection, election_id, kinds=(repository.PROJECTS,), now=now)
    ballots = repository.ballots_in_box(connection, election_id)
    projects = repository.projects_of(connection, election_id)
    outcome: Outcome | None = None
    try:
        listed = publish(election_id, [(row.ballot, row.nonce) for row in ballots])
        if not ballots or len(ballots) < election.quorum:
            result = _no_result(election, len(ballots))
        else:
            paper = counted_election(election, projects, ballots)
            outcome = equal_shares(paper, options_of(election))
            result = _result(outcome, greedy(paper, lot=election.lot))
    except FundError as fault:
        raise StateConflict(f"the vote {election_id} cannot be counted: {fault}") from fault
    root = listed.root.hex()
    repository.close_election_row(
        connection,
        election_id,
        result=result,
        ballots_root=root,
        now=now,
    )
    published_sha256 = keep_published(
        connection, election_id, published_content(election, projects, ballots, result)
    )
    record(
        connection,
        kind="vote.closed",
        facts={
            "ballots": len(ballots),
            "ballots_root": root,
            "election": election_id,
            "published_sha256": published_sha256,
            "quorum_reached": outcome is not None,
            "selected": list(result["selected"]),
        },
        at=now,
    )
    costs = {project.project_id: project.cost_minor for project in projects}
    for project_id in result["selected"]:
        reserve_grant(
            connection,
            election_id=election_id,
            project_id=project_id,
            amount_minor=costs[project_id],
            currency=election.currency,
            evidence=root,
            now=now,
        )
    return outcome


def ready_to_count(
    connection: Connection, election_id: str, *, kinds: Sequence[str], now: datetime
) -> ElectionRow:
    """Return a vote whose time is over and that was not counted.

    Raises:
        NotFound: No such vote of these kinds.
        StateConflict: It has not closed, or it was counted.
    """
    election = _require(connection, election_id)
    if election.kind not in kinds:
        raise NotFound(f"vote {election_id} of this kind")
    if election.closed_at is not None:
        raise StateConflict(f"the vote {election_id} was counted already")
    if now < election.closes_at:
        raise StateConflict(f"the vote {election_id} has not closed: counts are sealed until then")
    return election


def count_again(connection: Connection, election_id: str) -> Outcome:
    """Count a closed vote anew from its ballots.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    election = _require_projects(connection, election_id)
    if election.closed_at is None:
        raise StateConflict("counts are sealed until the close")
    projects = repository.projects_of(connection, election_id)
    ballots = repository.ballots_in_box(connection, election_id)
    return equal_shares(counted_election(election, projects, ballots), options_of(election))


def published_ballots(connection: Connection, election_id: str) -> BallotList:
    """The anonymised ballots of a closed vote, with the root over them.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    election = _require(connection, election_id)
    if election.closed_at is None:
        raise StateConflict("ballots are published at the close")
    rows = repository.ballots_in_box(connection, election_id)
    return publish(election_id, [(row.ballot, row.nonce) for row in rows])


def pabulib_file(connection: Connection, election_id: str) -> str:
    """The ballots of a closed vote as a PaBuLib file, for anyone to count again.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    outcome_of = _require_projects(connection, election_id)
    if outcome_of.closed_at is None or outcome_of.result is None:
        raise StateConflict("ballots are published at the close")
    projects = repository.projects_of(connection, election_id)
    ballots = repository.ballots_in_box(connection, election_id)
    paper = counted_election(outcome_of, projects, ballots)
    return write_pb(paper, outcome_of.result["selected"])


def counted_election(
    election: ElectionRow, projects: list[Project], ballots: list[BallotRow]
) -> Election:
    """A vote in the form the counting rules take; a voter is known by the receipt alone.

    Amounts are in minor units.
    """
    groups = (election.paper or {}).get("groups", {})
    return Election(
        projects=tuple(
            BallotProject(
                project_id=project.project_id,
                cost=Fraction(project.cost_minor),
                name=project.name,
                group=groups.get(project.project_id, ""),
            )
            for project in projects
        ),
        ballots=tuple(
            Ballot(row.receipt, tuple(json.loads(row.ballot)["approve"])) for row in ballots
        ),
        budget=Fraction(election.budget_minor),
        currency=election.currency,
        meta={"description": election.title},
    )


def _no_result(election: ElectionRow, ballots: int) -> dict[str, Any]:
    return {
        "selected": [],
        "cost": 0,
        "budget": election.budget_minor,
        "voters": ballots,
        "quorum_votes": election.quorum,
        "quorum_reached": False,
    }


def _result(outcome: Outcome, by_votes: Outcome) -> dict[str, Any]:
    return outcome_report(outcome) | {
        "most_votes_first": {
            "selected": list(by_votes.selected),
            "served_voters": by_votes.served_voters,
        }
    }


def _require(connection: Connection, election_id: str) -> ElectionRow:
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    return election


def _require_projects(connection: Connection, election_id: str) -> ElectionRow:
    election = _require(connection, election_id)
    if election.kind != repository.PROJECTS:
        raise NotFound(f"vote on projects {election_id}")
    return election


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
