"""Votes over HTTP as JSON; the pages for people are in `cloud.web`."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotFound
from cloud.idempotency import OnceDep
from cloud.jobs.count_votes import count_vote
from cloud.members.access import HouseholdDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
from cloud.votes import casting, policy_votes, repository, usecases
from cloud.votes.casting import Marks
from cloud.votes.policy_votes import Policy, Slate, VotePlan
from cloud.votes.repository import ElectionRow

router = APIRouter(prefix="/api/v1/votes", tags=["votes"])

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[Person, Depends(require_role(Role.MEMBER, Role.BOARD, Role.AUDITOR))]

_SHARE = re.compile(r"\d{1,3}(\.\d{1,9})?|\d{1,9}/[1-9]\d{0,8}")
Share = Annotated[str, Field(max_length=20, examples=["3/10", "0.5"])]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=3, max_length=200)]
    text: Annotated[str, Field(min_length=10, max_length=8_000)]
    closes_at: AwareDatetime
    opens_at: AwareDatetime | None = None
    record_at: AwareDatetime | None = None
    waiting_days: Annotated[int, Field(ge=0, le=3_660)] = 0
    quorum: Share = "3/10"


class PolicyVoteRequest(_Plan):
    """A question for yes or no; `parameters` are changes to the waterfall that a yes makes."""

    threshold: Share = "1/2"
    above: bool = True
    parameters: Annotated[dict[Name, Share] | None, Field(min_length=1, max_length=20)] = None


class SlateVoteRequest(_Plan):
    """Proposals that members weigh against each other with quadratic credits."""

    items: Annotated[
        dict[Name, Annotated[str, Field(min_length=3, max_length=1_000)]],
        Field(min_length=2, max_length=policy_votes.ITEMS_MAX),
    ]
    credit_limit: Annotated[int, Field(ge=1, le=policy_votes.CREDITS_MAX, alias="credits")] = 100


class BallotRequest(BaseModel):
    """One of three, as the vote's kind asks for; `token` replaces an earlier ballot."""

    model_config = ConfigDict(extra="forbid")

    approve: Annotated[list[Name] | None, Field(max_length=usecases.APPROVALS_MAX)] = None
    choice: Annotated[str, Field(max_length=20)] | None = None
    votes: Annotated[
        dict[Name, Annotated[int, Field(ge=-100, le=100)]] | None,
        Field(max_length=policy_votes.ITEMS_MAX),
    ] = None
    token: Annotated[str, Field(max_length=100)] | None = None


class BallotAnswer(BaseModel):
    """What a member keeps: the token changes the ballot, receipt and nonce prove it."""

    token: str
    receipt: str
    nonce: str


class VoteAnswer(BaseModel):
    """A vote as everybody may see it: turnout is open, counts are sealed until the close."""

    election_id: str
    kind: str
    title: str
    opens_at: datetime
    closes_at: datetime
    record_at: datetime | None
    roll_size: int
    quorum_votes: int
    turnout: int
    paper: dict[str, Any] | None
    lot: list[str]
    lot_seed: str
    closed_at: datetime | None
    result: dict[str, Any] | None
    ballots_root: str | None


@router.post("/policies", status_code=201, operation_id="vote_policy_open")
def post_policy(
    services: ServicesDep, _person: BoardDep, once: OnceDep, wanted: PolicyVoteRequest
) -> JSONResponse:
    """Open a vote on a policy; needs an Idempotency-Key."""
    now = services.clock()
    plan = _plan(wanted, now)
    policy = Policy(
        text=wanted.text,
        threshold=read_share("threshold", wanted.threshold),
        above=wanted.above,
        parameters=wanted.parameters,
    )
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {
                "election_id": policy_votes.open_policy_vote(
                    connection, plan, policy, now=now
                ).election_id
            },
            now=now,
        )


@router.post("/slates", status_code=201, operation_id="vote_slate_open")
def post_slate(
    services: ServicesDep, _person: BoardDep, once: OnceDep, wanted: SlateVoteRequest
) -> JSONResponse:
    """Open a vote on a slate with quadratic credits; needs an Idempotency-Key."""
    now = services.clock()
    plan = _plan(wanted, now)
    slate = Slate(text=wanted.text, items=wanted.items, credit_limit=wanted.credit_limit)
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {
                "election_id": policy_votes.open_slate_vote(
                    connection, plan, slate, now=now
                ).election_id
            },
            now=now,
        )


@router.get("", operation_id="votes_list")
def get_votes(services: ServicesDep, _person: WatcherDep) -> list[VoteAnswer]:
    """All votes, the one that closes last first."""
    with services.database.reading() as connection:
        return [
            _shown(one, repository.turnout(connection, one.election_id))
            for one in repository.all_elections(connection)
        ]


@router.get("/{election_id}", operation_id="vote_show")
def get_vote(services: ServicesDep, _person: WatcherDep, election_id: str) -> VoteAnswer:
    """One vote."""
    with services.database.reading() as connection:
        return _shown(*_found(connection, election_id))


@router.post("/{election_id}/ballot", operation_id="vote_cast")
def post_ballot(
    services: ServicesDep, household: HouseholdDep, election_id: str, marks: BallotRequest
) -> BallotAnswer:
    """Cast the household's ballot, or replace it with the token of the first."""
    with services.database.transaction() as connection:
        receipt = casting.cast(
            connection,
            election_id=election_id,
            household=household,
            marks=Marks(approve=marks.approve, choice=marks.choice, votes=marks.votes),
            token=marks.token,
            now=services.clock(),
        )
    return BallotAnswer(token=receipt.token, receipt=receipt.receipt, nonce=receipt.nonce)


@router.post("/{election_id}/count", operation_id="vote_count")
def post_count(services: ServicesDep, _person: BoardDep, election_id: str) -> VoteAnswer:
    """Count a vote whose time is over, publish it, and carry out what it decided."""
    with services.database.transaction() as connection:
        count_vote(connection, election_id, now=services.clock())
        return _shown(*_found(connection, election_id))


def read_share(field: str, written: str) -> Fraction:
    """Read a share of one, as a decimal or a fraction.

    Raises:
        BadInput: It is neither, or not between 0 and 1.
    """
    share = Fraction(written) if _SHARE.fullmatch(written) else Fraction(2)
    if not 0 <= share <= 1:
        problem = "give a share between 0 and 1, such as 0.3 or 3/10"
        raise BadInput(
            f"{field}: {problem}", faults=(FieldFault(pointer=f"/{field}", problem=problem),)
        )
    return share


def _plan(wanted: _Plan, now: datetime) -> VotePlan:
    return VotePlan(
        title=wanted.title,
        opens_at=wanted.opens_at or now,
        closes_at=wanted.closes_at,
        record_at=wanted.record_at or min(now, wanted.opens_at or now),
        waiting_days=wanted.waiting_days,
        quorum=read_share("quorum", wanted.quorum),
    )


def _found(connection: Connection, election_id: str) -> tuple[ElectionRow, int]:
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    return election, repository.turnout(connection, election_id)


def _shown(election: ElectionRow, turnout: int) -> VoteAnswer:
    return VoteAnswer(
        election_id=election.election_id,
        kind=election.kind,
        title=election.title,
        opens_at=election.opens_at,
        closes_at=election.closes_at,
        record_at=election.record_at,
        roll_size=election.roll_size,
        quorum_votes=election.quorum,
        turnout=turnout,
        paper=election.paper,
        lot=list(election.lot),
        lot_seed=election.lot_seed,
        closed_at=election.closed_at,
        result=election.result,
        ballots_root=election.ballots_root,
    )
