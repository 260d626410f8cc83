"""A member's own page: the year, the switches, where data went, and what was earned."""

from __future__ import annotations

import gzip
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response
from starlette.responses import RedirectResponse

from cloud.consents.usecases import erase_what_was_withdrawn, withdraw_consent
from cloud.errors import NotFound
from cloud.members.access import HouseholdDep, SessionDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
from cloud.web.member_view import SLOTS_PER_DAY, carpet_of, gather_home, net_by_interval
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SCALE_W = 4_000
MemberDep = Annotated[Person, Depends(require_role(Role.MEMBER))]


@router.get("/home")
def get_home(
    request: Request, services: ServicesDep, session: SessionDep, household: HouseholdDep
) -> Response:
    """The member's home page."""
    settings = services.settings
    with services.database.reading() as connection:
        view = gather_home(
            connection,
            services.store,
            household=household,
            zone=settings.timezone,
            currency=settings.currency,
            now=services.clock(),
        )
    shown = shell(request, session) | {"view": view, "slots": SLOTS_PER_DAY, "scale_w": SCALE_W}
    return pages_of(request).render("member_home.html", shown)


@router.get("/home/carpet.bin")
def get_carpet(request: Request, services: ServicesDep, household: HouseholdDep) -> Response:
    """The year's net power as 16-bit little-endian watts, a day after a day."""
    frame = net_by_interval(
        services.store, household, zone=services.settings.timezone, now=services.clock()
    )
    if frame.empty:
        raise NotFound("readings for your own insight")
    content = carpet_of(frame).watts.astype("<i2").tobytes()
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, 6, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/home/months.csv")
def get_months(services: ServicesDep, household: HouseholdDep) -> Response:
    """The readings behind the carpet, as CSV."""
    frame = net_by_interval(
        services.store, household, zone=services.settings.timezone, now=services.clock()
    ).dropna(subset=["import_wh"])
    frame.index.name = "interval_start"
    text = frame.astype("int64").to_csv(date_format="%Y-%m-%dT%H:%M:%S%z")
    headers = {
        "Content-Disposition": 'attachment; filename="my-readings.csv"',
        "Cache-Control": "no-store",
    }
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/home/consents/{consent_id}/withdraw")
def post_withdraw(
    services: ServicesDep,
    household: HouseholdDep,
    consent_id: str,
    after: BackgroundTasks,
) -> Response:
    """Turn a switch off. The gateway obeys at its next sync; the stream is erased here."""
    now = services.clock()
    with services.database.transaction() as connection:
        withdraw_consent(
            connection,
            household=household,
            consent_id=consent_id,
            key=services.keys.coop,
            now=now,
            actor="member on the web",
        )
    after.add_task(erase_what_was_withdrawn, services.database, services.store, now)
    return RedirectResponse("/home#consents", status_code=303, background=after)
