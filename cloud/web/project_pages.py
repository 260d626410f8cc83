"""Solar projects: the list, one project, proposing one, and what the board does step by step."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from cloud.errors import NotAllowed
from cloud.members.access import HouseholdDep, PersonDep, SessionDep, require_role
from cloud.members.roles import Person, Role
from cloud.projects import appraising, signing, usecases
from cloud.projects.plan_file import PLAN_BYTES_MAX
from cloud.projects.project_life import ACTS
from cloud.projects.repository import waiting_drafts
from cloud.projects.usecases import Proposal
from cloud.services import Services, ServicesDep
from cloud.web.page_route import PageRoute
from cloud.web.project_forms import FormDep
from cloud.web.project_view import gather_project, gather_projects
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[Person, Depends(require_role(Role.MEMBER, Role.BOARD, Role.AUDITOR))]

WH_PER_KWH = 1_000
MONTH_KWH_MAX = 10_000_000


@router.get("/projects")
def get_projects(
    request: Request, services: ServicesDep, session: SessionDep, person: WatcherDep
) -> Response:
    """All projects, by how far they are."""
    is_board = person.has(Role.BOARD)
    with services.database.reading() as connection:
        shown = {
            "groups": gather_projects(connection),
            "may_propose": person.has(Role.MEMBER) and person.household is not None,
            "is_board": is_board,
            "drafts": waiting_drafts(connection) if is_board else [],
        }
    return pages_of(request).render("projects.html", shell(request, session) | shown)


@router.get("/projects/new")
def get_new_project(
    request: Request, services: ServicesDep, session: SessionDep, _household: HouseholdDep
) -> Response:
    """The form of a proposal."""
    shown = {"example": _example(services), "bytes_max": PLAN_BYTES_MAX}
    return pages_of(request).render("project_new.html", shell(request, session) | shown)


@router.post("/projects/new")
async def post_project(
    services: ServicesDep, person: PersonDep, _household: HouseholdDep, form: FormDep
) -> Response:
    """Propose a project; a chosen file counts before the text."""
    plan_text = form.text("project_file", least=0, most=PLAN_BYTES_MAX)
    if getattr(form.fields.get("plan"), "size", None):
        _name, content = await form.file("plan", bytes_max=PLAN_BYTES_MAX)
        plan_text = content.decode("utf-8-sig", "replace")
    proposal = Proposal(
        name=form.text("name", least=3, most=200),
        site=form.text("site", least=3, most=200),
        words=form.text("words", least=10, most=4_000),
        plan_text=plan_text,
    )

    def propose() -> str:
        with services.database.transaction() as connection:
            return usecases.propose_project(
                connection,
                proposal,
                person=person,
                currency=services.settings.currency,
                now=services.clock(),
            ).project_id

    return _to(await run_in_threadpool(propose))


@router.post("/projects/files")
async def post_file(services: ServicesDep, person: BoardDep, form: FormDep) -> Response:
    """Keep a weather or load file."""
    kind = form.choice("kind", appraising.FILE_KINDS)
    back = form.text("project_id", least=0, most=40)
    name, content = await form.file("file", bytes_max=appraising.FILE_BYTES_MAX)
    await run_in_threadpool(
        appraising.keep_file,
        services.database,
        kind=kind,
        name=name,
        content=content,
        person=person,
        now=services.clock(),
    )
    return _to(back, "#board") if back.isascii() and back else _to("")


@router.get("/projects/files/{sha256}")
def get_file(services: ServicesDep, person: WatcherDep, sha256: str) -> Response:
    """A file that appraisals rest on, as it was given."""
    with services.database.reading() as connection:
        file, content = appraising.file_for(connection, sha256, person)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/projects/{project_id}")
def get_project(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    person: WatcherDep,
    project_id: str,
) -> Response:
    """One project: story, appraisal, money, forecast beside meter, and the board's forms."""
    with services.database.reading() as connection:
        view = gather_project(connection, project_id, person)
    now = services.clock().astimezone(services.settings.zone)
    last_month = f"{now.year - (now.month == 1)}-{(now.month - 2) % 12 + 1:02d}"
    shown = {"view": view, "this_month": f"{now:%Y-%m}", "last_month": last_month}
    return pages_of(request).render("project.html", shell(request, session) | shown)


@router.post("/projects/{project_id}/screen")
async def post_screen(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """Let a proposal pass, or turn a project down; with the reason that everybody sees."""
    words = form.text("words", least=10, most=4_000)
    decision = form.choice("decision", ("pass", "reject"))
    step = usecases.screen_project if decision == "pass" else usecases.reject_project

    def decide() -> None:
        with services.database.transaction() as connection:
            step(connection, project_id, words=words, person=person, now=services.clock())

    await run_in_threadpool(decide)
    return _to(project_id)


@router.post("/projects/{project_id}/appraise")
async def post_appraise(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """Compute the appraisal."""
    await run_in_threadpool(
        appraising.appraise_project,
        services.database,
        project_id,
        weather_sha256=form.text("weather", least=64, most=64),
        load_sha256=form.text("load", least=0, most=64) or None,
        person=person,
        now=services.clock(),
    )
    return _to(project_id, "#appraisal")


@router.post("/projects/{project_id}/sign")
async def post_sign(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """Sign for a milestone or for giving the project up."""
    act, evidence = form.choice("act", ACTS), await form.evidence()

    def sign() -> None:
        with services.database.transaction() as connection:
            signing.sign_for(
                connection,
                project_id,
                act=act,
                evidence=evidence,
                person=person,
                now=services.clock(),
            )

    await run_in_threadpool(sign)
    return _to(project_id, "#money")


@router.post("/projects/{project_id}/step")
async def post_step(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """Note that a project was built, or that it operates."""
    state = form.choice("state", ("built", "operating"))
    evidence = await form.evidence()
    first_month = form.text("first_month", least=7, most=7) if state == "operating" else ""

    def note() -> None:
        with services.database.transaction() as connection:
            now = services.clock()
            if state == "built":
                usecases.note_built(
                    connection, project_id, evidence=evidence, person=person, now=now
                )
            else:
                usecases.note_operating(
                    connection,
                    project_id,
                    first_month=first_month,
                    evidence=evidence,
                    person=person,
                    now=now,
                )

    await run_in_threadpool(note)
    return _to(project_id)


@router.post("/projects/{project_id}/months")
async def post_month(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """Enter a metered month."""
    month, evidence = form.text("month", least=7, most=7), await form.evidence()
    energy_wh = None
    if not form.several("gap", most=1):
        energy_wh = form.number("energy_kwh", least=0, most=MONTH_KWH_MAX) * WH_PER_KWH

    def meter() -> None:
        with services.database.transaction() as connection:
            usecases.meter_month(
                connection,
                project_id,
                month=month,
                energy_wh=energy_wh,
                evidence=evidence,
                person=person,
                now=services.clock(),
                zone=services.settings.zone,
            )

    await run_in_threadpool(meter)
    return _to(project_id, "#metered")


@router.post("/projects/{project_id}/close")
async def post_close(
    services: ServicesDep, person: BoardDep, project_id: str, form: FormDep
) -> Response:
    """End an operating project."""
    words = form.text("words", least=10, most=4_000)

    def close() -> None:
        with services.database.transaction() as connection:
            usecases.close_project(
                connection, project_id, words=words, person=person, now=services.clock()
            )

    await run_in_threadpool(close)
    return _to(project_id)


def _to(project_id: str, place: str = "") -> Response:
    if project_id and not project_id.replace("-", "").isalnum():
        raise NotAllowed("this form is damaged; load the page again")
    return RedirectResponse(f"/projects/{project_id}{place}".rstrip("/"), status_code=303)


def _example(services: Services) -> str:
    """A project file to begin with."""
    settings = services.settings
    return f"""id = "my-roof"
currency = "{settings.currency}"

[site]
timezone = "{settings.timezone}"
# latitude_deg = 52.5
# longitude_deg = 13.4

[[array]]
peak_kw = 10.0
tilt_deg = 30
azimuth_deg = 180

[cost]
capex = "12000.00"
running_per_year = "150.00"

[value]
own_use_price_per_kwh = "0.30"
export_price_per_kwh = "0.08"
own_use_share = 0.5
"""
