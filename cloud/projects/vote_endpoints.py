"""Votes on projects over HTTP as JSON: prepared by one of the board, opened by another."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud.idempotency import OnceDep
from cloud.members.access import require_role
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.plan_file import PROJECT_ID_PATTERN
from cloud.projects.solar_votes import (
    GROUP_CHARS_MAX,
    PROJECTS_MAX,
    Completion,
    SolarVotePlan,
    Then,
    Utility,
    open_prepared_vote,
    prepare_vote,
    withdraw_vote,
)
from cloud.services import ServicesDep

router = APIRouter(prefix="/api/v1/projects/votes", tags=["projects"])

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
Share = Annotated[str, Field(pattern=r"^(\d{1,3}(\.\d{1,9})?|\d{1,9}/[1-9]\d{0,8})$")]
ProjectId = Annotated[str, Field(pattern=f"^{PROJECT_ID_PATTERN}$")]
Group = Annotated[str, Field(min_length=1, max_length=GROUP_CHARS_MAX)]


class VoteRequest(BaseModel):
    """A vote on appraised projects; everything but title, close and paper has a usual value."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=3, max_length=200)]
    closes_at: AwareDatetime
    projects: Annotated[list[ProjectId], Field(min_length=1, max_length=PROJECTS_MAX)]
    record_at: AwareDatetime | None = None
    quorum: Share = "3/10"
    waiting_days: Annotated[int, Field(ge=0, le=3_660)] = 0
    utility: Utility = "cost"
    completion: Completion = "add1"
    then: Then = "utilitarian"
    must_fund: Annotated[list[ProjectId], Field(max_length=PROJECTS_MAX)] = []
    groups: Annotated[dict[ProjectId, Group], Field(max_length=PROJECTS_MAX)] = {}
    min_support: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class DraftAnswer(BaseModel):
    """A vote that waits for a second member of the board."""

    draft_id: str
    plan: dict[str, Any]
    prepared_by: str
    prepared_at: datetime


class OpenedAnswer(BaseModel):
    """A vote that is open now."""

    election_id: str
    budget_minor: int
    currency: str
    quorum: int
    roll_size: int
    lot: list[str]
    lot_seed: str
    closes_at: datetime


@router.post("", status_code=201, operation_id="project_vote_prepare")
def post_vote(
    services: ServicesDep, person: BoardDep, once: OnceDep, wanted: VoteRequest
) -> JSONResponse:
    """Prepare a vote; needs an Idempotency-Key."""
    now = services.clock()
    plan = SolarVotePlan(
        title=wanted.title,
        closes_at=wanted.closes_at,
        project_ids=tuple(wanted.projects),
        record_at=wanted.record_at,
        quorum=Fraction(wanted.quorum),
        waiting_days=wanted.waiting_days,
        utility=wanted.utility,
        completion=wanted.completion,
        then=wanted.then,
        must_fund=tuple(wanted.must_fund),
        groups=wanted.groups,
        min_support=wanted.min_support,
    )
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {"draft_id": prepare_vote(connection, plan, person=person, now=now)},
            now=now,
        )


@router.get("", operation_id="project_votes_prepared")
def get_votes(services: ServicesDep, _person: BoardDep) -> list[DraftAnswer]:
    """Votes that wait for a second member of the board, newest first."""
    with services.database.reading() as connection:
        return [
            DraftAnswer(
                draft_id=draft.draft_id,
                plan=dict(draft.plan),
                prepared_by=draft.prepared_by,
                prepared_at=draft.prepared_at,
            )
            for draft in repository.waiting_drafts(connection)
        ]


@router.post("/{draft_id}/open", operation_id="project_vote_open")
def post_open(services: ServicesDep, person: BoardDep, draft_id: str) -> OpenedAnswer:
    """Open a vote that another of the board prepared."""
    with services.database.transaction() as connection:
        opened = open_prepared_vote(
            connection,
            draft_id,
            person=person,
            currency=services.settings.currency,
            now=services.clock(),
        )
    return OpenedAnswer(
        election_id=opened.election_id,
        budget_minor=opened.budget_minor,
        currency=opened.currency,
        quorum=opened.quorum,
        roll_size=opened.roll_size,
        lot=list(opened.lot),
        lot_seed=opened.lot_seed,
        closes_at=opened.closes_at,
    )


@router.post("/{draft_id}/withdraw", status_code=204, operation_id="project_vote_withdraw")
def post_withdraw(services: ServicesDep, person: BoardDep, draft_id: str) -> Response:
    """Give a prepared vote up."""
    with services.database.transaction() as connection:
        withdraw_vote(connection, draft_id, person=person, now=services.clock())
    return Response(status_code=204)
