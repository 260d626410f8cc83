"""All pages of the cloud in one router."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route

from cloud.settings import Settings
from cloud.web import (
    board_pages,
    data_request_pages,
    member_pages,
    project_pages,
    project_vote_pages,
    record_pages,
    settlement_pages,
    sign_in_pages,
    tariff_pages,
    tender_pages,
    vote_opening_pages,
    vote_pages,
)
from cloud.web.page_route import answer_http_fault
from cloud.web.pages import Pages


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Add pages and their static files to the application."""
    pages = Pages(
        coop_name=settings.coop_name,
        zone=settings.timezone,
        currency=settings.currency,
        demo=settings.demo,
    )
    app.state.pages = pages
    app.router.routes.append(
        Route("/static/{tree}/{name:path}", pages.static.answer, methods=["GET"])
    )
    app.add_exception_handler(HTTPException, answer_http_fault)
    router = APIRouter()
    # Pages that open votes come first: `/votes/new` is no vote, `/projects/votes` no project.
    for part in (
        sign_in_pages,
        member_pages,
        tariff_pages,
        # No tender is called `new`, `drafts`, `settlements` or `shares`.
        tender_pages,
        settlement_pages,
        board_pages,
        data_request_pages,
        vote_opening_pages,
        vote_pages,
        project_vote_pages,
        project_pages,
        record_pages,
    ):
        router.include_router(part.router)
    app.include_router(router)
