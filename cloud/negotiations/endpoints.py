"""Tenders over HTTP: what suppliers may see, and the door for their offers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cloud.errors import BadInput, NotFound
from cloud.members.access import require_role
from cloud.members.roles import Person, Role
from cloud.negotiations import pack_answer, repository, usecases
from cloud.negotiations.pricing import OFFER_BYTES_MAX
from cloud.negotiations.released_load import released_energy_wh, released_homes
from cloud.negotiations.repository import StoredOffer, Tender
from cloud.services import ServicesDep

router = APIRouter(prefix="/api/v1", tags=["tenders"])

SupplierDep = Annotated[Person, Depends(require_role(Role.SUPPLIER))]


class TenderAnswer(BaseModel):
    """A tender as suppliers see it: no floor, no target, no walk-away, no home."""

    tender_id: str
    title: str
    state: str
    supply_from: datetime
    closes_at: datetime
    currency: str
    homes: int
    energy_wh: int
    load: dict[str, Any]
    rounds_max: int
    green_share_min: str


class OfferAnswer(BaseModel):
    """A receipt for an offer, and our answer if there is one."""

    offer_number: int
    round: int
    sha256: str
    received_at: datetime
    price_per_kwh: str
    our_ask_per_kwh: str | None = None


@router.get("/tenders", operation_id="tenders_list")
def get_tenders(services: ServicesDep, _person: SupplierDep) -> list[TenderAnswer]:
    """All tenders, newest first."""
    with services.database.reading() as connection:
        return [_tender(tender) for tender in repository.all_tenders(connection)]


@router.get("/tenders/{tender_id}", operation_id="tender")
def get_tender(services: ServicesDep, _person: SupplierDep, tender_id: str) -> TenderAnswer:
    """One tender, with the released load profile."""
    with services.database.reading() as connection:
        tender = repository.tender_row(connection, tender_id)
    if tender is None:
        raise NotFound(f"tender {tender_id}")
    return _tender(tender)


@router.get(
    "/tenders/{tender_id}/pack.json", operation_id="tender_pack_json", response_class=Response
)
def get_pack_json(services: ServicesDep, _person: SupplierDep, tender_id: str) -> Response:
    """The tender pack for programs: rules, deadlines, released load, schema of an offer."""
    return pack_answer.answer(services, tender_id, pack_answer.PackForm.JSON)


@router.get(
    "/tenders/{tender_id}/pack.csv", operation_id="tender_pack_csv", response_class=Response
)
def get_pack_csv(services: ServicesDep, _person: SupplierDep, tender_id: str) -> Response:
    """The released load of the tender pack, a line per season and hour."""
    return pack_answer.answer(services, tender_id, pack_answer.PackForm.CSV)


@router.get("/tenders/{tender_id}/offers", operation_id="own_offers")
def get_offers(services: ServicesDep, person: SupplierDep, tender_id: str) -> list[OfferAnswer]:
    """The own offers, oldest first; with the newest comes our ask, if we made one."""
    supplier = person.supplier or ""
    with services.database.reading() as connection:
        tender = repository.tender_row(connection, tender_id)
        if tender is None:
            raise NotFound(f"tender {tender_id}")
        offers = repository.offers_of(connection, tender_id, supplier=supplier)
        asks = usecases.talk_with(connection, tender, supplier).our_prices
    answers = [_offer(offer) for offer in offers]
    for answer, ask in zip(answers, asks, strict=False):
        answer.our_ask_per_kwh = str(ask)
    return answers


@router.post("/tenders/{tender_id}/offers", status_code=201, operation_id="offer_submit")
async def post_offer(
    request: Request,
    services: ServicesDep,
    person: SupplierDep,
    tender_id: str,
    final: bool = False,
) -> OfferAnswer:
    """Send an offer in the documented JSON form; the same bytes again are the same offer."""
    body = await request.body()
    if len(body) > OFFER_BYTES_MAX:
        raise BadInput(f"an offer may take {OFFER_BYTES_MAX} bytes; send less")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise BadInput("the offer is not UTF-8 text") from fault
    offer = await run_in_threadpool(
        usecases.submit_offer,
        services.database,
        services.store,
        tender_id=tender_id,
        text=text,
        person=person,
        now=services.clock(),
        final=final,
    )
    return _offer(offer)


def _tender(tender: Tender) -> TenderAnswer:
    return TenderAnswer(
        tender_id=tender.tender_id,
        title=tender.title,
        state=tender.state,
        supply_from=tender.supply_from,
        closes_at=tender.closes_at,
        currency=tender.currency,
        homes=released_homes(tender),
        energy_wh=released_energy_wh(tender),
        load=tender.load,
        rounds_max=tender.rounds_max,
        green_share_min=str(tender.mandate["green_share_min"]),
    )


def _offer(offer: StoredOffer) -> OfferAnswer:
    return OfferAnswer(
        offer_number=offer.offer_number,
        round=offer.round,
        sha256=offer.sha256,
        received_at=offer.received_at,
        price_per_kwh=offer.price_per_kwh,
    )
