"""The board's negotiation room."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from starlette.responses import RedirectResponse

from cloud.errors import BadInput
from cloud.members.access import SessionDep, require_role
from cloud.members.roles import Person, Role
from cloud.negotiations import pack_answer, repository, usecases
from cloud.negotiations.draft_record import waiting_tenders
from cloud.services import ServicesDep
from cloud.web.board_view import advice_in_words, gather_board
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]


@router.get("/board")
def get_board(
    request: Request, services: ServicesDep, session: SessionDep, _person: BoardDep
) -> Response:
    """The newest tender, or a page that says how to open one."""
    with services.database.reading() as connection:
        tenders = repository.all_tenders(connection)
        waiting = waiting_tenders(connection)
    if tenders:
        return RedirectResponse(f"/board/{tenders[0].tender_id}", status_code=303)
    shown = shell(request, session) | {"waiting": waiting}
    return pages_of(request).render("board_empty.html", shown)


@router.get("/board/{tender_id}")
def get_tender(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    _person: BoardDep,
    tender_id: str,
    supplier: str | None = None,
) -> Response:
    """One tender, looking at one supplier."""
    with services.database.reading() as connection:
        view = gather_board(connection, tender_id, supplier)
        waiting = waiting_tenders(connection)
    shown = shell(request, session) | {
        "view": view,
        "waiting": waiting,
        "advice_text": advice_in_words(view.advice) if view.advice else "",
    }
    return pages_of(request).render("board_negotiation.html", shown)


@router.get("/board/{tender_id}/pack.{form}")
def get_pack(
    services: ServicesDep, _person: BoardDep, tender_id: str, form: pack_answer.PackForm
) -> Response:
    """The tender pack as suppliers have it, to save or print."""
    return pack_answer.answer(services, tender_id, form)


@router.post("/board/{tender_id}/counter")
def post_counter(
    services: ServicesDep,
    person: BoardDep,
    tender_id: str,
    supplier: Annotated[str, Form(max_length=64)],
    price_cents: Annotated[str, Form(max_length=20)],
) -> Response:
    """Send a counter-offer."""
    try:
        price = Decimal(price_cents.replace(",", ".")) / 100
    except InvalidOperation as fault:
        raise BadInput(f"{price_cents!r} is no price; write cents such as 27.2") from fault
    if not price.is_finite():
        raise BadInput("write the price in cents such as 27.2")
    usecases.answer_offer(
        services.database,
        tender_id=tender_id,
        supplier=supplier,
        price_per_kwh=price,
        person=person,
        now=services.clock(),
    )
    return RedirectResponse(f"/board/{tender_id}?supplier={supplier}", status_code=303)


@router.post("/board/{tender_id}/accept")
def post_accept(
    services: ServicesDep,
    person: BoardDep,
    tender_id: str,
    offer_number: Annotated[int, Form()],
) -> Response:
    """Sign for an offer."""
    usecases.accept(
        services.database,
        tender_id=tender_id,
        offer_number=offer_number,
        person=person,
        now=services.clock(),
    )
    return RedirectResponse(f"/board/{tender_id}", status_code=303)


@router.post("/board/{tender_id}/walk-away")
def post_walk_away(services: ServicesDep, person: BoardDep, tender_id: str) -> Response:
    """End the tender without a deal."""
    usecases.give_up(services.database, tender_id=tender_id, person=person, now=services.clock())
    return RedirectResponse(f"/board/{tender_id}", status_code=303)
