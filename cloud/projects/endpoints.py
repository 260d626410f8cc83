"""Solar projects over HTTP as JSON; the pages for people are in `cloud.web`."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from cloud.idempotency import OnceDep
from cloud.members.access import HouseholdDep, PersonDep, require_role
from cloud.members.roles import Person, Role
from cloud.projects import appraising, repository, signing, usecases
from cloud.projects.plan_file import PLAN_BYTES_MAX
from cloud.projects.project_life import life_of, month_checks, newest_appraisal, open_minor
from cloud.projects.repository import SolarProject, StoredEvent, details_text
from cloud.projects.usecases import Proposal, require_project
from cloud.services import ServicesDep

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[Person, Depends(require_role(Role.MEMBER, Role.BOARD, Role.AUDITOR))]
CheckerDep = Annotated[Person, Depends(require_role(Role.BOARD, Role.AUDITOR))]

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Month = Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}$")]
Reason = Annotated[str, Field(min_length=10, max_length=4_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ProposalRequest(_Body):
    """A proposal; `project_file` is the text of a file as docs/formats/project.md describes it."""

    name: Annotated[str, Field(min_length=3, max_length=200)]
    site: Annotated[str, Field(min_length=3, max_length=200)]
    words: Annotated[str, Field(min_length=10, max_length=4_000)]
    project_file: Annotated[str, Field(max_length=PLAN_BYTES_MAX)]


class ReasonRequest(_Body):
    """A decision and why; everybody sees it."""

    words: Reason


class EvidenceRequest(_Body):
    """A step that rests on a document, which stays with the board."""

    evidence: Sha256


class OperatingRequest(EvidenceRequest):
    """When a project begins to feed energy."""

    first_month: Month


class SignatureRequest(EvidenceRequest):
    """A signature for a milestone, or for giving the project up."""

    act: Literal["contract signed", "installed", "metered for a month", "lapse"]


class MonthRequest(EvidenceRequest):
    """A metered month; null means that the meter has a gap."""

    month: Month
    energy_wh: Annotated[int, Field(ge=0, le=10**13)] | None


class AppraisalRequest(_Body):
    """Which files an appraisal rests on, by their SHA-256."""

    weather_sha256: Sha256
    load_sha256: Sha256 | None = None


class EventAnswer(BaseModel):
    """Something that happened."""

    kind: str
    at: datetime
    evidence: str
    words: str
    details: dict[str, Any]


class ProjectAnswer(BaseModel):
    """A project, short."""

    project_id: str
    name: str
    site: str
    state: str
    cost_minor: int
    currency: str
    grant_minor: int
    paid_minor: int
    open_minor: int
    proposed_at: datetime


class MonthAnswer(BaseModel):
    """A month's forecast beside what was metered; null where the meter has a gap."""

    month: str
    forecast_wh: int
    metered_wh: int | None
    difference_wh: int | None


class WholeProjectAnswer(ProjectAnswer):
    """A project with all that happened to it."""

    words: str
    project_file: str
    events: list[EventAnswer]
    appraisal: dict[str, Any] | None
    months: list[MonthAnswer]


class FileAnswer(BaseModel):
    """A file that appraisals rest on."""

    sha256: str
    kind: str
    name: str
    size_bytes: int
    at: datetime


@router.post("", status_code=201, operation_id="project_propose")
def post_proposal(
    services: ServicesDep,
    person: PersonDep,
    _household: HouseholdDep,
    once: OnceDep,
    proposal: ProposalRequest,
) -> JSONResponse:
    """Propose a project; needs an Idempotency-Key."""
    now = services.clock()
    wanted = Proposal(
        name=proposal.name,
        site=proposal.site,
        words=proposal.words,
        plan_text=proposal.project_file,
    )
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {
                "project_id": usecases.propose_project(
                    connection,
                    wanted,
                    person=person,
                    currency=services.settings.currency,
                    now=now,
                ).project_id
            },
            now=now,
        )


@router.get("", operation_id="projects_list")
def get_projects(services: ServicesDep, _person: WatcherDep) -> list[ProjectAnswer]:
    """All projects, newest first."""
    with services.database.reading() as connection:
        events = repository.events_by_project(connection)
        return [
            ProjectAnswer(**_short(project, events[project.project_id]))
            for project in repository.all_projects(connection)
        ]


@router.get("/files", operation_id="project_files_list")
def get_files(services: ServicesDep, _person: WatcherDep) -> list[FileAnswer]:
    """Weather and load files, newest first."""
    with services.database.reading() as connection:
        return [
            FileAnswer(**{name: getattr(file, name) for name in FileAnswer.model_fields})
            for file in repository.all_files(connection)
        ]


async def sent_file(request: Request, _person: BoardDep) -> bytes:
    """The body as it came, read only for one of the board."""
    return await request.body()


@router.post("/files", status_code=201, operation_id="project_file_keep")
async def post_file(
    services: ServicesDep,
    person: BoardDep,
    content: Annotated[bytes, Depends(sent_file)],
    kind: Literal["weather", "load"],
    name: Annotated[str, Query(min_length=1, max_length=100)],
) -> FileAnswer:
    """Keep a weather or load file. Body: the file as it is, up to 4 MiB."""
    file = await run_in_threadpool(
        appraising.keep_file,
        services.database,
        kind=kind,
        name=name,
        content=content,
        person=person,
        now=services.clock(),
    )
    return FileAnswer(**{name: getattr(file, name) for name in FileAnswer.model_fields})


@router.get("/files/{sha256}", operation_id="project_file", response_class=Response)
def get_file(services: ServicesDep, person: WatcherDep, sha256: str) -> Response:
    """A file as it was given, to run `solar-fund appraise` on; loads are for board and auditor."""
    with services.database.reading() as connection:
        file, content = appraising.file_for(connection, sha256, person)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/{project_id}", operation_id="project")
def get_project(services: ServicesDep, _person: WatcherDep, project_id: str) -> WholeProjectAnswer:
    """One project with its events, its appraisal, and forecast beside meter."""
    with services.database.reading() as connection:
        return _whole(connection, project_id)


@router.get(
    "/{project_id}/appraisal.json", operation_id="project_appraisal", response_class=Response
)
def get_appraisal(services: ServicesDep, _person: WatcherDep, project_id: str) -> Response:
    """The newest appraisal byte by byte; its SHA-256 is the event's evidence."""
    with services.database.reading() as connection:
        _project, events = require_project(connection, project_id)
    appraisal = newest_appraisal(events)
    written = "{}" if appraisal is None else details_text(appraisal.details)
    return Response(written, media_type="application/json")


@router.get("/{project_id}/project.toml", operation_id="project_file_text", response_class=Response)
def get_plan(services: ServicesDep, _person: WatcherDep, project_id: str) -> Response:
    """The project file, word for word."""
    with services.database.reading() as connection:
        project, _events = require_project(connection, project_id)
    headers = {"Content-Disposition": f'attachment; filename="{project.project_id}.toml"'}
    return Response(
        project.plan_text, media_type="application/toml; charset=utf-8", headers=headers
    )


@router.post("/{project_id}/screen", operation_id="project_screen")
def post_screen(
    services: ServicesDep, person: BoardDep, project_id: str, decision: ReasonRequest
) -> WholeProjectAnswer:
    """Let a proposal pass to the appraisal."""
    with services.database.transaction() as connection:
        usecases.screen_project(
            connection, project_id, words=decision.words, person=person, now=services.clock()
        )
        return _whole(connection, project_id)


@router.post("/{project_id}/reject", operation_id="project_reject")
def post_reject(
    services: ServicesDep, person: BoardDep, project_id: str, decision: ReasonRequest
) -> WholeProjectAnswer:
    """Turn a project down."""
    with services.database.transaction() as connection:
        usecases.reject_project(
            connection, project_id, words=decision.words, person=person, now=services.clock()
        )
        return _whole(connection, project_id)


@router.post("/{project_id}/appraise", operation_id="project_appraise")
def post_appraise(
    services: ServicesDep, person: BoardDep, project_id: str, wanted: AppraisalRequest
) -> WholeProjectAnswer:
    """Compute the appraisal from the project file and files on record."""
    appraising.appraise_project(
        services.database,
        project_id,
        weather_sha256=wanted.weather_sha256,
        load_sha256=wanted.load_sha256,
        person=person,
        now=services.clock(),
    )
    with services.database.reading() as connection:
        return _whole(connection, project_id)


@router.post("/{project_id}/signatures", operation_id="project_sign")
def post_signature(
    services: ServicesDep,
    person: BoardDep,
    once: OnceDep,
    project_id: str,
    signature: SignatureRequest,
) -> JSONResponse:
    """Sign for a milestone or for giving up; two of the board do. Needs an Idempotency-Key."""
    now = services.clock()
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: {
                "is_done": signing.sign_for(
                    connection,
                    project_id,
                    act=signature.act,
                    evidence=signature.evidence,
                    person=person,
                    now=now,
                )
            },
            now=now,
        )


@router.post("/{project_id}/built", operation_id="project_built")
def post_built(
    services: ServicesDep, person: BoardDep, project_id: str, step: EvidenceRequest
) -> WholeProjectAnswer:
    """Note that a granted project stands."""
    with services.database.transaction() as connection:
        usecases.note_built(
            connection, project_id, evidence=step.evidence, person=person, now=services.clock()
        )
        return _whole(connection, project_id)


@router.post("/{project_id}/operating", operation_id="project_operating")
def post_operating(
    services: ServicesDep, person: BoardDep, project_id: str, step: OperatingRequest
) -> WholeProjectAnswer:
    """Note that a built project feeds energy."""
    with services.database.transaction() as connection:
        usecases.note_operating(
            connection,
            project_id,
            first_month=step.first_month,
            evidence=step.evidence,
            person=person,
            now=services.clock(),
        )
        return _whole(connection, project_id)


@router.post("/{project_id}/months", operation_id="project_month")
def post_month(
    services: ServicesDep, person: BoardDep, project_id: str, metered: MonthRequest
) -> WholeProjectAnswer:
    """Enter a metered month; a later entry corrects an earlier one, and both stay on record."""
    with services.database.transaction() as connection:
        usecases.meter_month(
            connection,
            project_id,
            month=metered.month,
            energy_wh=metered.energy_wh,
            evidence=metered.evidence,
            person=person,
            now=services.clock(),
            zone=services.settings.zone,
        )
        return _whole(connection, project_id)


@router.post("/{project_id}/close", operation_id="project_close")
def post_close(
    services: ServicesDep, person: BoardDep, project_id: str, decision: ReasonRequest
) -> WholeProjectAnswer:
    """End an operating project; what of its grant was not paid goes back to the fund."""
    with services.database.transaction() as connection:
        usecases.close_project(
            connection, project_id, words=decision.words, person=person, now=services.clock()
        )
        return _whole(connection, project_id)


def _short(project: SolarProject, events: list[StoredEvent]) -> dict[str, Any]:
    life = life_of(events)
    return {
        "project_id": project.project_id,
        "name": project.name,
        "site": project.site,
        "state": life.state,
        "cost_minor": project.cost_minor,
        "currency": project.currency,
        "grant_minor": life.grant_minor,
        "paid_minor": life.paid_minor,
        "open_minor": open_minor(life),
        "proposed_at": project.proposed_at,
    }


def _whole(connection: Connection, project_id: str) -> WholeProjectAnswer:
    project, events = require_project(connection, project_id)
    appraisal = newest_appraisal(events)
    return WholeProjectAnswer(
        **_short(project, events),
        words=project.words,
        project_file=project.plan_text,
        events=[
            EventAnswer(
                kind=event.kind,
                at=event.at,
                evidence=event.evidence,
                words=event.words,
                details={} if event.kind == "appraised" else dict(event.details),
            )
            for event in events
        ],
        appraisal=None if appraisal is None else json.loads(details_text(appraisal.details)),
        months=[
            MonthAnswer(**{name: getattr(check, name) for name in MonthAnswer.model_fields})
            for check in month_checks(events)
        ],
    )
