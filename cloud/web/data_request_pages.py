"""Requests to use data: asking, vetting, voting, releasing; and what one's own data were used for."""

from __future__ import annotations

import json
import secrets
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from cloud.data_requests import endpoints, repository, usecases
from cloud.data_requests.fees import book_fee
from cloud.data_requests.home_uses import uses_of_home
from cloud.data_requests.proposal import Modifier, ProposalText, Review, Template
from cloud.data_requests.releasing import sign_release
from cloud.data_requests.voting import ProposalVote, open_vote
from cloud.errors import BadInput, NotFound
from cloud.idempotency import OnceDep
from cloud.members.access import HouseholdDep, SessionDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import ServicesDep
from cloud.web.data_request_view import (
    MODIFIER_WORDS,
    PURPOSE_WORDS,
    QUANTITY_WORDS,
    STATE_WORDS,
    TEMPLATE_WORDS,
    gather_request,
    release_words,
    request_line,
)
from cloud.web.formats import CURRENCY_DECIMALS
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
RequesterDep = Annotated[Person, Depends(require_role(Role.REQUESTER))]
WatcherDep = Annotated[
    Person, Depends(require_role(Role.MEMBER, Role.BOARD, Role.AUDITOR, Role.REQUESTER))
]


@router.get("/data-requests")
def get_requests(
    request: Request, services: ServicesDep, session: SessionDep, person: WatcherDep
) -> Response:
    """Requests to use data; a requester sees the own ones."""
    with services.database.reading() as connection:
        found = repository.all_proposals(connection)
    shown = {
        "lines": [request_line(one) for one in found if endpoints.may_see(person, one)],
        "may_ask": person.has(Role.REQUESTER),
    }
    return pages_of(request).render("data_requests.html", shell(request, session) | shown)


@router.get("/data-requests/new")
def get_new_request(
    request: Request, services: ServicesDep, session: SessionDep, _person: RequesterDep
) -> Response:
    """The form in which somebody asks."""
    shown = {
        "key": secrets.token_hex(16),
        "templates": [(one.value, words) for one, words in TEMPLATE_WORDS.items()],
        "purposes": [(one.value, words) for one, words in PURPOSE_WORDS.items()],
        "quantities": [(one.value, words) for one, words in QUANTITY_WORDS.items()],
        "promises": [(one.value, words) for one, words in MODIFIER_WORDS.items()],
        "needed": Modifier.NO_LINK.value,
        "today": services.clock().astimezone(ZoneInfo(services.settings.timezone)).date(),
        "homes_min": services.settings.privacy.group_min_outside,
    }
    return pages_of(request).render("data_request_new.html", shell(request, session) | shown)


def request_text(
    services: ServicesDep,
    title: Annotated[str, Form(min_length=1, max_length=200)],
    question: Annotated[str, Form(min_length=20, max_length=4_000)],
    purpose: Annotated[str, Form(max_length=40)],
    template: Annotated[Template, Form()],
    quantity: Annotated[str, Form(max_length=40)],
    first_day: Annotated[date, Form()],
    last_day: Annotated[date, Form()],
    recipient: Annotated[str, Form(min_length=1, max_length=200)],
    retention_days: Annotated[int, Form(ge=1, le=3_660)],
    price: Annotated[str, Form(max_length=20)],
    promise: Annotated[list[Modifier] | None, Form()] = None,
    homes_min: Annotated[int, Form(ge=0, le=1_000_000)] = 0,
) -> ProposalText:
    """What is proposed, from the form; days are whole local ones.

    Raises:
        BadInput: A field does not fit.
    """
    zone = ZoneInfo(services.settings.timezone)
    try:
        return msgspec.convert(
            {
                "title": title,
                "question": question.replace("\r\n", "\n"),
                "purpose": purpose,
                "template": template.value,
                "period_start": _midnight(first_day, zone),
                "period_end": _midnight(last_day, zone) + timedelta(days=1),
                "recipient": recipient,
                "retention_days": retention_days,
                "modifiers": [one.value for one in promise or []],
                "price_minor": _minor(price, services.settings.currency),
                "quantity": quantity,
                "homes_min": homes_min,
            },
            type=ProposalText,
        )
    except (msgspec.ValidationError, OverflowError) as fault:
        raise BadInput(f"the request does not fit: {fault}") from fault


@router.post("/data-requests")
def post_request(
    services: ServicesDep,
    person: RequesterDep,
    once: OnceDep,
    text: Annotated[ProposalText, Depends(request_text)],
) -> Response:
    """Ask; sending the form twice asks once."""
    now = services.clock()
    with services.database.transaction() as connection:
        answer = once.do(
            connection,
            lambda: {
                "proposal_id": usecases.submit_proposal(
                    connection, requester=person.person_id, text=text, now=now
                ).proposal_id
            },
            now=now,
        )
    return _to_page(json.loads(bytes(answer.body))["proposal_id"])


@router.get("/data-requests/{proposal_id}")
def get_request(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    person: WatcherDep,
    proposal_id: str,
) -> Response:
    """One request, with what the person who looks may do now."""
    with services.database.reading() as connection:
        proposal = usecases.find_proposal(connection, proposal_id)
        if not endpoints.may_see(person, proposal):
            raise NotFound("proposal")
        view = gather_request(connection, proposal, person=person)
    return pages_of(request).render("data_request.html", shell(request, session) | {"view": view})


@router.post("/data-requests/{proposal_id}/review")
def post_review(
    services: ServicesDep,
    person: BoardDep,
    proposal_id: str,
    opinion: Annotated[str, Form(pattern="^(for|against)$")],
    reasons: Annotated[str, Form(min_length=10, max_length=4_000)],
) -> Response:
    """Vet a request."""
    review = Review(person_id=person.person_id, is_for=opinion == "for", reasons=reasons)
    with services.database.transaction() as connection:
        usecases.review_proposal(
            connection,
            proposal_id,
            reviewer=person,
            review=review,
            now=services.clock(),
            base_url=services.settings.base_url,
        )
    return _to_page(proposal_id)


@router.post("/data-requests/{proposal_id}/vote")
def post_vote(services: ServicesDep, _person: BoardDep, proposal_id: str) -> Response:
    """Put a request to the members' vote, with the usual quorum and threshold."""
    with services.database.transaction() as connection:
        open_vote(connection, proposal_id, ProposalVote(), now=services.clock())
    return _to_page(proposal_id)


@router.post("/data-requests/{proposal_id}/freeze")
def post_freeze(services: ServicesDep, _person: BoardDep, proposal_id: str) -> Response:
    """Fix which homes take part."""
    with services.database.transaction() as connection:
        usecases.freeze_cohort(
            connection,
            proposal_id,
            homes_min=services.settings.privacy.group_min_outside,
            now=services.clock(),
        )
    return _to_page(proposal_id)


@router.post("/data-requests/{proposal_id}/sign")
def post_sign(services: ServicesDep, person: BoardDep, proposal_id: str) -> Response:
    """Sign for the release; the second signature releases."""
    sign_release(
        services.database,
        services.store,
        proposal_id,
        person=person,
        privacy=services.settings.privacy,
        zone=services.settings.timezone,
        now=services.clock(),
    )
    return _to_page(proposal_id)


@router.post("/data-requests/{proposal_id}/fee")
def post_fee(
    services: ServicesDep,
    _person: BoardDep,
    proposal_id: str,
    bank_evidence: Annotated[str, Form(max_length=100)],
) -> Response:
    """Book the fee."""
    with services.database.transaction() as connection:
        book_fee(
            connection,
            proposal_id,
            bank_evidence=bank_evidence.strip().lower(),
            currency=services.settings.currency,
            now=services.clock(),
        )
    return _to_page(proposal_id)


@router.post("/data-requests/{proposal_id}/leave")
def post_leave(
    services: ServicesDep,
    household: HouseholdDep,
    proposal_id: str,
    choice: Annotated[str, Form(pattern="^(out|in)$")],
) -> Response:
    """Leave the own home out of a request, or take it in again."""
    with services.database.transaction() as connection:
        usecases.leave_out(
            connection,
            proposal_id,
            household=household,
            is_out=choice == "out",
            now=services.clock(),
        )
    return _to_page(proposal_id)


@router.get("/data-use")
def get_data_use(
    request: Request, services: ServicesDep, session: SessionDep, household: HouseholdDep
) -> Response:
    """What the own home's data were used for, and what that earned."""
    with services.database.reading() as connection:
        uses = uses_of_home(connection, household, now=services.clock())
    shown = {
        "uses": uses,
        "state_words": STATE_WORDS,
        "figures": TEMPLATE_WORDS,
        "releases": [(one, release_words(one)) for one in uses.releases],
    }
    return pages_of(request).render("data_use.html", shell(request, session) | shown)


def _to_page(proposal_id: str) -> Response:
    return RedirectResponse(f"/data-requests/{proposal_id}", status_code=303)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _minor(written: str, currency: str) -> int:
    """Read a price in whole currency units, such as 1200 or 1200.50."""
    exponent = CURRENCY_DECIMALS.get(currency, 2)
    try:
        minor = Decimal(written.strip().replace(",", ".")).scaleb(exponent)
    except InvalidOperation as fault:
        raise BadInput(f"{written!r} is no price; write one such as 1200.50") from fault
    if not minor.is_finite() or minor != int(minor) or minor < 0:
        raise BadInput("write the price with no more decimals than the currency has")
    return int(minor)
