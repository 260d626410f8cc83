"""Proposals to use data, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud.data_requests import repository, usecases
from cloud.data_requests.fees import book_fee
from cloud.data_requests.figures import deviation_wh
from cloud.data_requests.home_uses import RequestOfHome, uses_of_home
from cloud.data_requests.proposal import ProposalText, Review
from cloud.data_requests.releasing import fetch_result, sign_release
from cloud.data_requests.repository import StoredProposal
from cloud.data_requests.voting import ProposalVote, open_vote
from cloud.errors import NotFound
from cloud.idempotency import OnceDep
from cloud.members.access import HouseholdDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
from cloud.votes.endpoints import Share, read_share
from gateway.wire.codec import decode

router = APIRouter(prefix="/api/v1/data-requests", tags=["data requests"])

RequesterDep = Annotated[Person, Depends(require_role(Role.REQUESTER))]
BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[
    Person, Depends(require_role(Role.MEMBER, Role.BOARD, Role.AUDITOR, Role.REQUESTER))
]


class ProposalAnswer(BaseModel):
    """A proposal as everybody concerned may see it; a requester sees only the own ones."""

    proposal_id: str
    state: str
    text: dict[str, Any]
    text_sha256: str
    submitted_at: datetime
    notice_from: datetime | None
    cohort_size: int | None
    cohort_root: str | None
    output_sha256: str | None
    election_id: str | None
    refusal: str | None
    fee_booked_at: datetime | None
    noise_deviation_wh: float


class ReviewRequest(BaseModel):
    """A board member's opinion; the reasons are published."""

    model_config = ConfigDict(extra="forbid")

    is_for: bool
    reasons: Annotated[str, Field(min_length=10, max_length=4_000)]


class ProposalVoteRequest(BaseModel):
    """How a proposal is voted on; without a time it closes when the notice ends."""

    model_config = ConfigDict(extra="forbid")

    closes_at: AwareDatetime | None = None
    quorum: Share = "3/10"
    threshold: Share = "1/2"
    above: bool = True


class FeeRequest(BaseModel):
    """Where the fee was seen."""

    model_config = ConfigDict(extra="forbid")

    bank_evidence: Annotated[str, Field(min_length=64, max_length=64)]


class RequestOfHomeAnswer(BaseModel):
    """A request to use data, as it concerns the own home."""

    proposal_id: str
    state: str
    title: str
    recipient: str
    election_id: str | None
    is_left_out: bool
    is_in: bool
    homes: int | None
    earned_minor: int


class ExactReleaseAnswer(BaseModel):
    """An exact sum of a group with the own home in it."""

    release_no: int
    purpose: str
    audience: str
    homes: int
    step: str
    output_sha256: str
    at: datetime
    log_index: int


class HomeUsesAnswer(BaseModel):
    """What the own home's data were used for, and what that earned."""

    currency: str
    earned_minor: int
    asked_now: list[RequestOfHomeAnswer]
    requests: list[RequestOfHomeAnswer]
    releases: list[ExactReleaseAnswer]


async def proposal_text(request: Request) -> ProposalText:
    """What is proposed, from the body.

    Raises:
        MalformedMessage: It is no proposal; the place is named.
    """
    return decode(await request.body(), ProposalText)


@router.post("", status_code=201, operation_id="data_request_submit")
def post_proposal(
    services: ServicesDep,
    person: RequesterDep,
    once: OnceDep,
    text: Annotated[ProposalText, Depends(proposal_text)],
) -> JSONResponse:
    """Propose a use of data. Body: a `ProposalText`; needs an Idempotency-Key."""
    now = services.clock()
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {
                "proposal_id": usecases.submit_proposal(
                    connection, requester=person.person_id, text=text, now=now
                ).proposal_id
            },
            now=now,
        )


@router.get("", operation_id="data_requests_list")
def get_proposals(services: ServicesDep, person: WatcherDep) -> list[ProposalAnswer]:
    """Proposals, newest first."""
    with services.database.reading() as connection:
        found = repository.all_proposals(connection)
    return [_shown(proposal) for proposal in found if may_see(person, proposal)]


@router.get("/uses", operation_id="data_uses_of_home")
def get_uses(services: ServicesDep, household: HouseholdDep) -> HomeUsesAnswer:
    """What the own home's data were used for, what is asked now, and what it earned."""
    with services.database.reading() as connection:
        uses = uses_of_home(connection, household, now=services.clock())
    return HomeUsesAnswer(
        currency=services.settings.currency,
        earned_minor=uses.earned_minor,
        asked_now=[_request_of_home(one) for one in uses.asked_now],
        requests=[_request_of_home(one) for one in uses.requests],
        releases=[
            ExactReleaseAnswer.model_validate(one, from_attributes=True) for one in uses.releases
        ],
    )


@router.get("/{proposal_id}", operation_id="data_request_show")
def get_proposal(services: ServicesDep, person: WatcherDep, proposal_id: str) -> ProposalAnswer:
    """One proposal."""
    with services.database.reading() as connection:
        found = usecases.find_proposal(connection, proposal_id)
    if not may_see(person, found):
        raise NotFound("proposal")
    return _shown(found)


@router.post("/{proposal_id}/reviews", operation_id="data_request_review")
def post_review(
    services: ServicesDep, person: BoardDep, proposal_id: str, opinion: ReviewRequest
) -> ProposalAnswer:
    """Vet a proposal; two of one mind decide."""
    review = Review(person_id=person.person_id, is_for=opinion.is_for, reasons=opinion.reasons)
    with services.database.transaction() as connection:
        usecases.review_proposal(
            connection,
            proposal_id,
            reviewer=person,
            review=review,
            now=services.clock(),
            base_url=services.settings.base_url,
        )
        found = usecases.find_proposal(connection, proposal_id)
    return _shown(found)


@router.post("/{proposal_id}/opt-out", status_code=204, operation_id="data_request_opt_out")
def post_opt_out(services: ServicesDep, household: HouseholdDep, proposal_id: str) -> Response:
    """Leave the own home out; nothing else changes for it."""
    return _leave(services, household, proposal_id, is_out=True)


@router.post("/{proposal_id}/opt-in", status_code=204, operation_id="data_request_opt_in")
def post_opt_in(services: ServicesDep, household: HouseholdDep, proposal_id: str) -> Response:
    """Take the own home in again."""
    return _leave(services, household, proposal_id, is_out=False)


@router.post("/{proposal_id}/vote", status_code=201, operation_id="data_request_vote")
def post_vote(
    services: ServicesDep, person: BoardDep, proposal_id: str, wanted: ProposalVoteRequest
) -> ProposalAnswer:
    """Open the members' vote on a vetted proposal; it closes 14 days after they were told."""
    del person
    vote = ProposalVote(
        closes_at=wanted.closes_at,
        quorum=read_share("quorum", wanted.quorum),
        threshold=read_share("threshold", wanted.threshold),
        above=wanted.above,
    )
    with services.database.transaction() as connection:
        open_vote(connection, proposal_id, vote, now=services.clock())
        found = usecases.find_proposal(connection, proposal_id)
    return _shown(found)


@router.post("/{proposal_id}/signatures", operation_id="data_request_sign")
def post_signature(services: ServicesDep, person: BoardDep, proposal_id: str) -> ProposalAnswer:
    """Sign for the release; the second signature releases, or says why the floor refuses."""
    return _shown(
        sign_release(
            services.database,
            services.store,
            proposal_id,
            person=person,
            privacy=services.settings.privacy,
            zone=services.settings.timezone,
            now=services.clock(),
        )
    )


@router.get("/{proposal_id}/result.csv", operation_id="data_request_result")
def get_result(services: ServicesDep, person: RequesterDep, proposal_id: str) -> Response:
    """The released figures, for the one who asked; each download is logged."""
    with services.database.transaction() as connection:
        content = fetch_result(connection, proposal_id, person=person, now=services.clock())
    headers = {
        "Content-Disposition": f'attachment; filename="{proposal_id}.csv"',
        "Cache-Control": "no-store",
    }
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/{proposal_id}/fee", operation_id="data_request_fee")
def post_fee(
    services: ServicesDep, person: BoardDep, proposal_id: str, paid: FeeRequest
) -> ProposalAnswer:
    """Book the fee of a released request, with the hash of the bank statement."""
    del person
    with services.database.transaction() as connection:
        book_fee(
            connection,
            proposal_id,
            bank_evidence=paid.bank_evidence,
            currency=services.settings.currency,
            now=services.clock(),
        )
        found = usecases.find_proposal(connection, proposal_id)
    return _shown(found)


@router.post("/{proposal_id}/freeze", operation_id="data_request_freeze")
def post_freeze(services: ServicesDep, person: BoardDep, proposal_id: str) -> ProposalAnswer:
    """Fix the cohort of an approved proposal; with too few homes it is cancelled."""
    del person
    with services.database.transaction() as connection:
        found = usecases.freeze_cohort(
            connection,
            proposal_id,
            homes_min=services.settings.privacy.group_min_outside,
            now=services.clock(),
        )
    return _shown(found)


def _leave(services: ServicesDep, household: str, proposal_id: str, *, is_out: bool) -> Response:
    with services.database.transaction() as connection:
        usecases.leave_out(
            connection, proposal_id, household=household, is_out=is_out, now=services.clock()
        )
    return Response(status_code=204)


def may_see(person: Person, proposal: StoredProposal) -> bool:
    """Whether somebody may read a proposal: requesters only their own."""
    return proposal.requester == person.person_id or person.has(
        Role.MEMBER, Role.BOARD, Role.AUDITOR
    )


def _shown(proposal: StoredProposal) -> ProposalAnswer:
    text = usecases.text_of(proposal)
    return ProposalAnswer(
        proposal_id=proposal.proposal_id,
        state=proposal.state.value,
        text=msgspec.to_builtins(text),
        text_sha256=proposal.text_sha256,
        submitted_at=proposal.submitted_at,
        notice_from=proposal.notice_from,
        cohort_size=proposal.cohort_size,
        cohort_root=proposal.cohort_root,
        output_sha256=proposal.output_sha256,
        election_id=proposal.election_id,
        refusal=proposal.refusal,
        fee_booked_at=proposal.fee_booked_at,
        noise_deviation_wh=deviation_wh(text),
    )


def _request_of_home(one: RequestOfHome) -> RequestOfHomeAnswer:
    return RequestOfHomeAnswer(
        proposal_id=one.proposal.proposal_id,
        state=one.proposal.state.value,
        title=one.text.title,
        recipient=one.text.recipient,
        election_id=one.proposal.election_id,
        is_left_out=one.is_left_out,
        is_in=one.is_in,
        homes=one.proposal.cohort_size,
        earned_minor=one.earned_minor,
    )
