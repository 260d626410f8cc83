"""A member's gateways: a claim code to pair one, which are paired, and an end for a lost one."""

from __future__ import annotations

import segno
from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from cloud.errors import NotFound
from cloud.gateways import claim_code, repository, usecases
from cloud.members.access import HouseholdDep, PersonDep, SessionDep, SignedIn, require_own
from cloud.services import Services, ServicesDep
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

LOCAL_PAGE = "http://gateway.local:8480"
"""Where a gateway's own page is by its shipped settings; the code can be typed anywhere else."""


@router.get("/home/gateway")
def get_gateway(
    request: Request, services: ServicesDep, session: SessionDep, household: HouseholdDep
) -> Response:
    """What is paired, and how to pair."""
    return _page(request, services, session, household, code="")


@router.post("/home/gateway/claim")
def post_claim(
    request: Request, services: ServicesDep, session: SessionDep, household: HouseholdDep
) -> Response:
    """Make a claim code and show it, this once."""
    now = services.clock()
    services.limits.claims_made.take(household, now)
    with services.database.transaction() as connection:
        code = usecases.make_claim(connection, household=household, now=now)
    return _page(request, services, session, household, code=code)


@router.post("/home/gateway/{gateway}/revoke")
def post_revoke(
    services: ServicesDep, person: PersonDep, household: HouseholdDep, gateway: str
) -> Response:
    """Let the key of a gateway of the own home count no more."""
    with services.database.transaction() as connection:
        found = repository.gateway_row(connection, gateway)
        if found is None or found.household != household:
            raise NotFound("gateway")
        require_own(person, found.household, "gateway")
        usecases.revoke_gateway(connection, gateway, now=services.clock())
    return RedirectResponse("/home/gateway", status_code=303)


def code_picture(code: str) -> str:
    """An SVG of a QR code that opens the gateway's own page with the claim code filled in."""
    drawn = segno.make(f"{LOCAL_PAGE}/settings?code={code}", error="m")
    picture: str = drawn.svg_inline(
        scale=5,
        border=4,
        dark="#000",
        light="#fff",
        title="Opens your gateway’s page with this code",
    )
    return picture


def _page(
    request: Request, services: Services, session: SignedIn, household: str, *, code: str
) -> Response:
    with services.database.reading() as connection:
        found = repository.gateways_of(connection, household)
    shown = shell(request, session) | {
        "gateways": sorted(found, key=lambda gateway: gateway.revoked_at is not None),
        "code": code,
        "picture": code_picture(code) if code else "",
        "minutes": int(claim_code.LIFETIME.total_seconds()) // 60,
    }
    return pages_of(request).render("home_gateway.html", shown)
