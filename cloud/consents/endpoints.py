"""Consents over HTTP: look, narrow, withdraw, and take away what proves it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, BackgroundTasks
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud.consents import repository, usecases
from cloud.consents.record_27560 import Controller, consent_record
from cloud.consents.repository import StoredEvent
from cloud.consents.usecases import Narrowing
from cloud.errors import NotFound
from cloud.members.access import HouseholdDep
from cloud.services import Services, ServicesDep
from cloud.transparency import repository as log_repository
from cloud.transparency.usecases import checkpoint_now, prove_inclusion, write_proof_file
from gateway.wire.consent import Grant, Release
from gateway.wire.reading import Quantity, Resolution

router = APIRouter(prefix="/api/v1", tags=["consents"])


class ConsentAnswer(BaseModel):
    """What a consent adds up to."""

    consent_id: str
    version: int
    state: str
    live: bool
    since: datetime
    terms: dict[str, Any]


class EventAnswer(BaseModel):
    """An event as signed."""

    version: int
    payload: str
    key: str
    sig: str
    authority: str
    received_at: datetime
    log_index: int


class NarrowRequest(BaseModel):
    """What shall be narrower; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    meters: Annotated[list[str], Field(min_length=1, max_length=32)] | None = None
    quantities: Annotated[list[Quantity], Field(min_length=1, max_length=8)] | None = None
    resolution: Resolution | None = None
    recipients: Annotated[list[str], Field(min_length=1, max_length=16)] | None = None
    release: Release | None = None
    group_min: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    valid_to: AwareDatetime | None = None
    retention_days: Annotated[int, Field(ge=1, le=36_525)] | None = None


class ReceiptAnswer(BaseModel):
    """What a member keeps: it verifies without us.

    `entry` is the log's leaf; its `commitment` is SHA-256 over `salt` and the event's payload;
    `proof` is a C2SP tlog-proof that the leaf is in the log.
    """

    event: EventAnswer
    entry: str
    commitment: str
    salt: str
    proof: str
    gateway_receipts: list[dict[str, Any]]


@router.get("/offers", operation_id="offers_list")
def get_offers(services: ServicesDep) -> JSONResponse:
    """What the co-op asks for, with the exact texts. Open to all."""
    with services.database.reading() as connection:
        offers = usecases.offers_today(connection, services.clock())
    return JSONResponse([msgspec.to_builtins(offer) for offer in offers])


@router.get("/consents", operation_id="consents_list")
def get_consents(services: ServicesDep, household: HouseholdDep) -> list[ConsentAnswer]:
    """Consents of the own household."""
    with services.database.reading() as connection:
        grants = usecases.grants_of(connection, household)
    return [_shown(grant) for grant in grants.values()]


@router.get("/consents/{consent_id}/events", operation_id="consent_events")
def get_events(
    services: ServicesDep, household: HouseholdDep, consent_id: str
) -> list[EventAnswer]:
    """All events of a consent, as signed."""
    return [_event(event) for event in _events(services, household, consent_id)]


@router.post("/consents/{consent_id}/withdraw", operation_id="consent_withdraw")
def post_withdraw(
    services: ServicesDep, household: HouseholdDep, consent_id: str, after: BackgroundTasks
) -> EventAnswer:
    """Withdraw a consent. Gateways obey at their next sync; its streams are erased here."""
    now = services.clock()
    with services.database.transaction() as connection:
        event = usecases.withdraw_consent(
            connection,
            household=household,
            consent_id=consent_id,
            key=services.keys.coop,
            now=now,
        )
    after.add_task(usecases.erase_what_was_withdrawn, services.database, services.store, now)
    return _event(event)


@router.post("/consents/{consent_id}/narrow", operation_id="consent_narrow")
def post_narrow(
    services: ServicesDep, household: HouseholdDep, consent_id: str, wanted: NarrowRequest
) -> EventAnswer:
    """Make a consent give less. More can only be given at home, on the gateway's own page."""
    with services.database.transaction() as connection:
        event = usecases.narrow_consent(
            connection,
            household=household,
            consent_id=consent_id,
            narrowing=Narrowing(changes=_changes(wanted)),
            key=services.keys.coop,
            now=services.clock(),
        )
    return _event(event)


@router.get("/consents/{consent_id}/record", operation_id="consent_record")
def get_record(services: ServicesDep, household: HouseholdDep, consent_id: str) -> JSONResponse:
    """The consent as an ISO/IEC TS 27560 record in JSON-LD."""
    events = _events(services, household, consent_id)
    with services.database.reading() as connection:
        grant = usecases.grants_of(connection, household)[consent_id]
    settings = services.settings
    document = consent_record(
        grant,
        [event.payload for event in events],
        Controller(
            name=settings.coop_name,
            contact=settings.coop_contact or settings.base_url,
            url=settings.base_url,
            jurisdiction=settings.jurisdiction,
        ),
    )
    return JSONResponse(document, media_type="application/ld+json")


@router.get("/consents/{consent_id}/receipts/{version}", operation_id="consent_receipt")
def get_receipt(
    services: ServicesDep, household: HouseholdDep, consent_id: str, version: int
) -> ReceiptAnswer:
    """A receipt for one event, to keep and to check without the co-op."""
    events = _events(services, household, consent_id)
    event = next((item for item in events if item.version == version), None)
    if event is None:
        raise NotFound(f"version of consent {consent_id!r}")
    with services.database.reading() as connection:
        opening = log_repository.opening_of(connection, event.commitment)
        proof = prove_inclusion(connection, event.log_index)
        note = checkpoint_now(
            connection, origin=services.settings.log_origin, key=services.keys.log
        )
        receipts = repository.receipts_of(connection, household, consent_id)
    if opening is None:
        raise NotFound("salt of this event; it was erased")
    return ReceiptAnswer(
        event=_event(event),
        entry=proof.entry,
        commitment=opening.commitment,
        salt=opening.salt,
        proof=write_proof_file(proof, note),
        gateway_receipts=[msgspec.to_builtins(item) for item in receipts],
    )


def _events(services: Services, household: str, consent_id: str) -> list[StoredEvent]:
    with services.database.reading() as connection:
        events = repository.events_of(connection, household, consent_id)
    if not events:
        raise NotFound(f"consent {consent_id!r}")
    return events


def _changes(wanted: NarrowRequest) -> dict[str, Any]:
    given = wanted.model_dump(exclude_none=True)
    return {
        name: tuple(change) if isinstance(change, list) else change
        for name, change in given.items()
    }


def _shown(grant: Grant) -> ConsentAnswer:
    return ConsentAnswer(
        consent_id=grant.consent_id,
        version=grant.version,
        state=grant.state.value,
        live=not grant.is_dead,
        since=grant.since,
        terms=msgspec.to_builtins(grant.terms),
    )


def _event(event: StoredEvent) -> EventAnswer:
    return EventAnswer(
        version=event.version,
        payload=event.message.payload,
        key=event.message.key,
        sig=event.message.sig,
        authority=event.authority.value,
        received_at=event.received_at,
        log_index=event.log_index,
    )
