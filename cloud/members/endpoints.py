"""Signing in and out over HTTP. The link in the mail opens a page; only its button signs in."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from cloud.members import usecases
from cloud.members.access import BROWSER_COOKIE, SESSION_COOKIE, PersonDep, SessionDep
from cloud.members.usecases import SESSION_LIFETIME, OpenSession
from cloud.security import check_same_site, csrf_token_of
from cloud.services import Services, ServicesDep

BROWSER_LIFETIME_S = 3600

router = APIRouter(prefix="/api/v1", tags=["members"])


class SignInRequest(BaseModel):
    """Whom to send a link."""

    email: Annotated[str, Field(min_length=3, max_length=320)]


class LinkToken(BaseModel):
    """The token from the mail."""

    token: Annotated[str, Field(min_length=20, max_length=200)]


class SentAnswer(BaseModel):
    """The same for known and unknown addresses."""

    detail: str = "if this address is known, a link is on its way; it works for 15 minutes"


class MeAnswer(BaseModel):
    """Who is signed in."""

    person_id: str
    name: str
    email: str
    household: str | None
    roles: list[str]
    csrf_token: str


@router.post("/sign-in", status_code=202, operation_id="sign_in")
def post_sign_in(
    request: Request, response: Response, services: ServicesDep, wanted: SignInRequest
) -> SentAnswer:
    """Ask for a sign-in link by e-mail."""
    check_same_site(request.headers, services.settings.base_url)
    start_sign_in(request, response, services, wanted.email)
    return SentAnswer()


@router.post("/sign-in/complete", operation_id="sign_in_complete")
def post_complete(
    request: Request, response: Response, services: ServicesDep, link: LinkToken
) -> MeAnswer:
    """Turn a link into a session cookie."""
    check_same_site(request.headers, services.settings.base_url)
    opened = finish_sign_in(request, response, services, link.token)
    return _me(opened.token, opened.person)


@router.post("/sign-out", status_code=204, operation_id="sign_out")
def post_sign_out(services: ServicesDep, session: SessionDep) -> Response:
    """End the session."""
    with services.database.transaction() as connection:
        usecases.sign_out(connection, session.session_token)
    response = Response(status_code=204)
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


@router.get("/me", operation_id="me")
def get_me(session: SessionDep) -> MeAnswer:
    """Who is signed in, and the token that requests that change something must carry."""
    return _me(session.session_token, session.person)


def start_sign_in(request: Request, response: Response, services: Services, email: str) -> None:
    """Count the try, bind the browser by a cookie, and send the link. Pages call it too."""
    now = services.clock()
    services.limits.sign_in_by_address.take(address_of(request), now)
    services.limits.sign_in_by_person.take(email.lower(), now)
    browser = request.cookies.get(BROWSER_COOKIE) or secrets.token_urlsafe(32)
    with services.database.transaction() as connection:
        usecases.ask_for_sign_in(
            connection,
            email=email,
            browser=browser,
            base_url=services.settings.base_url,
            now=now,
        )
    response.set_cookie(
        BROWSER_COOKIE,
        browser,
        max_age=BROWSER_LIFETIME_S,
        httponly=True,
        samesite="lax",
        secure=services.settings.is_https,
        path="/",
    )


def finish_sign_in(
    request: Request, response: Response, services: Services, token: str
) -> OpenSession:
    """Turn a link into a session and set its cookie. Pages call it too."""
    now = services.clock()
    services.limits.link_tries.take(address_of(request), now)
    with services.database.transaction() as connection:
        opened = usecases.complete_sign_in(
            connection, token=token, browser=request.cookies.get(BROWSER_COOKIE), now=now
        )
    response.set_cookie(
        SESSION_COOKIE,
        opened.token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=services.settings.is_https,
        path="/",
    )
    return opened


def address_of(request: Request) -> str:
    """Network address of the caller, for rate limits only."""
    return request.client.host if request.client else "unknown"


def _me(session_token: str, person: PersonDep) -> MeAnswer:
    return MeAnswer(
        person_id=person.person_id,
        name=person.name,
        email=person.email,
        household=person.household,
        roles=sorted(person.roles),
        csrf_token=csrf_token_of(session_token),
    )
