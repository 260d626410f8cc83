"""All pages of the cloud in one router."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import Route

from cloud.settings import Settings
from cloud.web import (
    board_pages,
    data_request_pages,
    gateway_pages,
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

ROUTERS = (
    sign_in_pages.router,
    member_pages.router,
    tariff_pages.router,
    gateway_pages.router,
    # No tender is called `new`, `drafts`, `settlements` or `shares`.
    tender_pages.router,
    settlement_pages.router,
    board_pages.router,
    data_request_pages.router,
    # Pages that open votes come first: `/votes/new` is no vote, `/projects/votes` no project.
    vote_opening_pages.router,
    vote_pages.router,
    project_vote_pages.router,
    project_pages.router,
    record_pages.router,
)
"""Routers of the pages; add yours here."""


def add_pages(app: FastAPI, settings: Settings) -> None:
    """Add what pages share, and their static files, to the application."""
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
