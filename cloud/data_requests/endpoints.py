"""Proposals to use data, over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cloud.data_requests import repository, usecases
from cloud.data_requests.proposal import ProposalText, Review
from cloud.data_requests.repository import StoredProposal
from cloud.idempotency import OnceDep
from cloud.members.access import HouseholdDep, PersonDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
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


class ReviewRequest(BaseModel):
    """A board member's opinion; the reasons are published."""

    model_config = ConfigDict(extra="forbid")

    is_for: bool
    reasons: Annotated[str, Field(min_length=10, max_length=4_000)]


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
    return [_shown(proposal) for proposal in found if _may_see(person, proposal)]


@router.post("/{proposal_id}/reviews", operation_id="data_request_review")
def post_review(
    services: ServicesDep, person: BoardDep, proposal_id: str, opinion: ReviewRequest
) -> ProposalAnswer:
    """Vet a proposal; two of one mind decide."""
    review = Review(person_id=person.person_id, is_for=opinion.is_for, reasons=opinion.reasons)
    with services.database.transaction() as connection:
        usecases.review_proposal(
            connection, proposal_id, reviewer=person, review=review, now=services.clock()
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


def _may_see(person: PersonDep, proposal: StoredProposal) -> bool:
    return proposal.requester == person.person_id or person.has(
        Role.MEMBER, Role.BOARD, Role.AUDITOR
    )


def _shown(proposal: StoredProposal) -> ProposalAnswer:
    return ProposalAnswer(
        proposal_id=proposal.proposal_id,
        state=proposal.state.value,
        text=msgspec.to_builtins(usecases.text_of(proposal)),
        text_sha256=proposal.text_sha256,
        submitted_at=proposal.submitted_at,
        notice_from=proposal.notice_from,
        cohort_size=proposal.cohort_size,
        cohort_root=proposal.cohort_root,
        output_sha256=proposal.output_sha256,
    )
