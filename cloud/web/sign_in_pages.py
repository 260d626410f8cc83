"""Signing in by a link, and out again, as pages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from cloud.members.access import SESSION_COOKIE, SessionDep, SignedIn, optional_session
from cloud.members.endpoints import finish_sign_in, start_sign_in
from cloud.members.roles import Role
from cloud.members.usecases import sign_out
from cloud.security import check_same_site
from cloud.services import ServicesDep
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

OptionalSession = Annotated[SignedIn | None, Depends(optional_session)]


@router.get("/")
def get_start(session: OptionalSession) -> Response:
    """Go to where this person begins."""
    if session is None:
        return RedirectResponse("/sign-in", status_code=303)
    if session.person.has(Role.BOARD):
        return RedirectResponse("/board", status_code=303)
    if session.person.has(Role.MEMBER):
        return RedirectResponse("/home", status_code=303)
    if session.person.has(Role.REQUESTER):
        return RedirectResponse("/data-requests", status_code=303)
    return RedirectResponse("/log", status_code=303)


@router.get("/sign-in")
def get_sign_in(request: Request, session: OptionalSession) -> Response:
    """The form that asks for a link, or the button that uses one."""
    return pages_of(request).render("sign_in.html", shell(request, session) | {"sent": False})


@router.post("/sign-in")
def post_sign_in(
    request: Request, services: ServicesDep, email: Annotated[str, Form(max_length=320)]
) -> Response:
    """Send a link; the answer is the same for known and unknown addresses."""
    check_same_site(request.headers, services.settings.base_url)
    page = pages_of(request).render("sign_in.html", shell(request, None) | {"sent": True})
    start_sign_in(request, page, services, email)
    return page


@router.get("/sign-in/{token}")
def get_link(request: Request, token: str) -> Response:
    """What a link opens: one button. Looking at it uses nothing up."""
    shown = shell(request, None) | {"token": token[:200]}
    return pages_of(request).render("sign_in_link.html", shown)


@router.post("/sign-in/complete")
def post_link(
    request: Request, services: ServicesDep, token: Annotated[str, Form(max_length=200)]
) -> Response:
    """Use the link up and open a session."""
    check_same_site(request.headers, services.settings.base_url)
    answer = RedirectResponse("/", status_code=303)
    finish_sign_in(request, answer, services, token)
    return answer


@router.post("/sign-out")
def post_sign_out(services: ServicesDep, session: SessionDep) -> Response:
    """End the session."""
    with services.database.transaction() as connection:
        sign_out(connection, session.session_token)
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(SESSION_COOKIE, path="/")
    return answer
