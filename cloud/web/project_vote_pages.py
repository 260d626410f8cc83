"""The board prepares a vote on appraised projects, and a second one of the board opens it."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from cloud.errors import BadInput
from cloud.members.access import SessionDep, require_role
from cloud.members.repository import memberships, person_by_id
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.solar_votes import (
    GROUP_CHARS_MAX,
    PROJECTS_MAX,
    Completion,
    SolarVotePlan,
    Then,
    Utility,
    free_for_votes,
    open_prepared_vote,
    plan_of,
    prepare_vote,
    ready_projects,
    require_draft,
    withdraw_vote,
)
from cloud.services import ServicesDep
from cloud.web.page_route import PageRoute
from cloud.web.project_forms import FormDep, SentForm
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]

DAYS_USUAL = 14
_KEY = re.compile(r"[0-9a-f]{12}")


@router.get("/projects/votes/new")
def get_new_vote(
    request: Request, services: ServicesDep, session: SessionDep, _person: BoardDep
) -> Response:
    """The form that prepares a vote."""
    now, currency = services.clock(), services.settings.currency
    today = now.astimezone(services.settings.zone).date()
    with services.database.reading() as connection:
        shown = {
            "projects": ready_projects(connection),
            "free_minor": free_for_votes(connection, currency, now),
            "homes": len(memberships(connection)),
            "closes_on": today + timedelta(days=DAYS_USUAL),
            "today": today,
            "vote_key": secrets.token_hex(6),
            "group_chars_max": GROUP_CHARS_MAX,
        }
    return pages_of(request).render("project_vote_new.html", shell(request, session) | shown)


@router.post("/projects/votes")
async def post_vote(services: ServicesDep, person: BoardDep, form: FormDep) -> Response:
    """Prepare a vote; sending the form twice prepares one."""
    plan = _plan(form, services)

    def prepare() -> None:
        with services.database.transaction() as connection:
            if repository.draft_row(connection, plan.election_id or "") is None:
                prepare_vote(connection, plan, person=person, now=services.clock())

    await run_in_threadpool(prepare)
    return RedirectResponse(f"/projects/votes/{plan.election_id}", status_code=303)


@router.get("/projects/votes/{draft_id}")
def get_draft(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    person: BoardDep,
    draft_id: str,
) -> Response:
    """A prepared vote, for a second one of the board to look at and open."""
    now, currency = services.clock(), services.settings.currency
    with services.database.reading() as connection:
        draft = require_draft(connection, draft_id)
        plan = plan_of(draft)
        found = [repository.project_row(connection, one) for one in plan.project_ids]
        author = person_by_id(connection, draft.prepared_by)
        shown = {
            "draft": draft,
            "plan": plan,
            "projects": [project for project in found if project is not None],
            "free_minor": free_for_votes(connection, currency, now),
            "homes": len(memberships(connection)),
            "author": author.name if author else "",
            "is_own": draft.prepared_by == person.person_id,
            "quorum_percent": float(plan.quorum),
        }
    return pages_of(request).render("project_vote.html", shell(request, session) | shown)


@router.post("/projects/votes/{draft_id}/open")
def post_open(
    services: ServicesDep, _session: SessionDep, person: BoardDep, draft_id: str
) -> Response:
    """Open a vote that another of the board prepared."""
    with services.database.transaction() as connection:
        open_prepared_vote(
            connection,
            draft_id,
            person=person,
            currency=services.settings.currency,
            now=services.clock(),
        )
    return RedirectResponse(f"/votes/{draft_id}", status_code=303)


@router.post("/projects/votes/{draft_id}/withdraw")
def post_withdraw(
    services: ServicesDep, _session: SessionDep, person: BoardDep, draft_id: str
) -> Response:
    """Give a prepared vote up."""
    with services.database.transaction() as connection:
        withdraw_vote(connection, draft_id, person=person, now=services.clock())
    return RedirectResponse("/projects", status_code=303)


def _plan(form: SentForm, services: ServicesDep) -> SolarVotePlan:
    key = form.text("vote_key", least=0, most=12)
    if not _KEY.fullmatch(key):
        raise BadInput("this form is damaged; load the page again")
    zone, now = services.settings.zone, services.clock()
    closes_at = form.end_of_day("closes_on", zone)
    if closes_at is None:
        raise BadInput("closes_on: write the last day, such as 2026-10-31")
    record_at = form.end_of_day("record_on", zone)
    on_paper = form.several("project", most=PROJECTS_MAX)
    groups = {one: form.text(f"group-{one}", least=0, most=GROUP_CHARS_MAX) for one in on_paper}
    return SolarVotePlan(
        title=form.text("title", least=3, most=200),
        closes_at=closes_at,
        project_ids=on_paper,
        record_at=None if record_at is None else min(record_at, now),
        quorum=form.percent("quorum_percent"),
        utility=cast("Utility", form.choice("utility", ("cost", "cardinality"))),
        completion=cast("Completion", form.choice("completion", ("add1", "none"))),
        then=cast("Then", form.choice("then", ("utilitarian", "none"))),
        must_fund=tuple(one for one in form.several("must", most=PROJECTS_MAX) if one in on_paper),
        groups={name: group for name, group in groups.items() if group},
        min_support=form.number("min_support", least=0, most=1_000_000),
        election_id=f"projects-{key}",
    )
