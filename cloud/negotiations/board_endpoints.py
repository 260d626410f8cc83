"""The board opens tenders over HTTP: one person prepares, a second one approves."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cloud.errors import BadInput, FieldFault, NotFound
from cloud.members.access import require_role
from cloud.members.roles import Person, Role
from cloud.negotiations import draft_record, preparing
from cloud.negotiations.draft_record import PreparedTender
from cloud.negotiations.preparing import Readiness
from cloud.negotiations.repository import Tender
from cloud.negotiations.tender_draft import (
    TenderDraft,
    spot_from_csv,
    spot_from_series,
    tender_id_of,
)
from cloud.services import Services, ServicesDep
from tariff_bargainer.bargaining.offer_file import (
    FLOOR_FORMAT,
    MANDATE_FORMAT,
    floor_from_table,
    mandate_from_table,
)
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import BargainerError

router = APIRouter(prefix="/api/v1", tags=["tenders of the board"])

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
PRICES_MAX = 80_000
"""Two years of quarter hours, and some."""


class SpotPrices(BaseModel):
    """Spot prices as a column [currency/MWh]."""

    model_config = ConfigDict(extra="forbid")

    start: AwareDatetime
    step_s: Literal[900, 1800, 3600]
    price_per_mwh: Annotated[
        list[Annotated[float, Field(ge=-100_000, le=100_000)]],
        Field(min_length=1, max_length=PRICES_MAX),
    ]


class TenderRequest(BaseModel):
    """A tender to prepare; see docs/formats/tender.md."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, Field(min_length=1, max_length=200)]
    tender_id: Annotated[str, Field(max_length=64)] = ""
    supply_from: AwareDatetime
    window_start: AwareDatetime
    window_end: AwareDatetime
    closes_at: AwareDatetime
    step_s: Literal[900, 1800, 3600] = 900
    rounds_max: Annotated[int, Field(ge=1, le=20)] = 4
    power: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.6")
    mandate: dict[str, Any]
    floor: dict[str, Any]
    spot: SpotPrices | None = None
    spot_csv: Annotated[str, Field(max_length=1_000_000)] | None = None
    leave_out_incomplete: bool = False


class ReadinessAnswer(BaseModel):
    """How many homes can be in it, and why it could not be opened now; no home is named."""

    consenting: int
    without_tariff: int
    without_readings: int
    homes_min: int
    ready: int
    reasons: list[str]


class PreparedAnswer(BaseModel):
    """A tender that waits for a second person, or was opened or dropped."""

    tender_id: str
    title: str
    state: str
    asked_at: datetime
    refusal: str
    readiness: ReadinessAnswer | None = None


class OpenedAnswer(BaseModel):
    """An opened tender as the board sees it, in sums."""

    tender_id: str
    title: str
    state: str
    homes: int
    old_minor: int
    currency: str
    load_step: str
    finer_steps_refused: list[str]
    floor_per_kwh: str
    target_per_kwh: str
    walk_away_per_kwh: str


@router.post("/tenders", status_code=201, operation_id="tender_prepare")
def post_tender(services: ServicesDep, person: BoardDep, wanted: TenderRequest) -> PreparedAnswer:
    """Prepare a tender: the first of two steps. The same again adds nothing."""
    draft = draft_of(wanted)
    prepared = preparing.prepare_tender(
        services.database, draft, person=person, now=services.clock()
    )
    return _shown(prepared, _readiness(services, draft))


@router.get("/tender-drafts", operation_id="tender_drafts")
def get_prepared(services: ServicesDep, _person: BoardDep) -> list[PreparedAnswer]:
    """Prepared tenders that wait for a second person."""
    with services.database.reading() as connection:
        return [_shown(one) for one in draft_record.waiting_tenders(connection)]


@router.get("/tender-drafts/{tender_id}", operation_id="tender_draft")
def get_one_prepared(services: ServicesDep, _person: BoardDep, tender_id: str) -> PreparedAnswer:
    """A prepared tender, and how many homes it could have now."""
    with services.database.reading() as connection:
        prepared = draft_record.prepared_row(connection, tender_id)
    if prepared is None:
        raise NotFound("prepared tender")
    return _shown(prepared, _readiness(services, prepared.draft))


@router.post("/tender-drafts/{tender_id}/approve", status_code=201, operation_id="tender_approve")
def post_approve(services: ServicesDep, person: BoardDep, tender_id: str) -> OpenedAnswer:
    """Approve as the second person: the load is released, and the tender opens."""
    tender = approve(services, person, tender_id)
    return OpenedAnswer(
        tender_id=tender.tender_id,
        title=tender.title,
        state=tender.state,
        homes=tender.homes,
        old_minor=tender.old_minor,
        currency=tender.currency,
        load_step=str(tender.load.get("step", "")),
        finer_steps_refused=list(tender.load.get("finer_steps_refused", ())),
        floor_per_kwh=tender.price_range["floor"],
        target_per_kwh=tender.price_range["target"],
        walk_away_per_kwh=tender.price_range["walk_away"],
    )


@router.post("/tender-drafts/{tender_id}/drop", operation_id="tender_drop")
def post_drop(services: ServicesDep, person: BoardDep, tender_id: str) -> PreparedAnswer:
    """Put a prepared tender aside; nothing of it has left."""
    preparing.drop_tender(services.database, tender_id, person=person, now=services.clock())
    with services.database.reading() as connection:
        prepared = draft_record.prepared_row(connection, tender_id)
    if prepared is None:
        raise NotFound("prepared tender")
    return _shown(prepared)


def draft_of(wanted: TenderRequest) -> TenderDraft:
    """Read a request into a draft. Pages call it too.

    Raises:
        BadInput: Mandate, floor or prices break their form; the fault names key and remedy.
    """
    if (wanted.spot is None) == (wanted.spot_csv is None):
        raise BadInput(
            "give the spot prices once: spot or spot_csv",
            faults=(FieldFault(pointer="/spot", problem="give one of the two"),),
        )
    window = {"start": wanted.window_start, "end": wanted.window_end, "step_s": wanted.step_s}
    if wanted.window_start >= wanted.window_end:
        raise BadInput("the window ends before it begins")
    if wanted.spot is not None:
        nano = np.array(wanted.spot.price_per_mwh) * 1e6
        series = IndexSeries(
            start=wanted.spot.start,
            step_s=wanted.spot.step_s,
            price_nano_per_kwh=np.rint(nano).astype(np.int64),
            missing=np.zeros(len(nano), dtype=bool),
        )
        spot = spot_from_series(series, **window)  # type: ignore[arg-type]  # the window is whole
    else:
        spot = spot_from_csv(wanted.spot_csv or "", **window)  # type: ignore[arg-type]  # the same
    try:
        mandate = mandate_from_table({"format": MANDATE_FORMAT} | wanted.mandate)
    except BargainerError as fault:
        raise _bad("/mandate", fault) from fault
    try:
        assumptions = floor_from_table({"format": FLOOR_FORMAT} | wanted.floor)
    except BargainerError as fault:
        raise _bad("/floor", fault) from fault
    return TenderDraft(
        tender_id=wanted.tender_id or tender_id_of(wanted.title),
        title=wanted.title.strip(),
        supply_from=wanted.supply_from,
        window_start=wanted.window_start,
        window_end=wanted.window_end,
        closes_at=wanted.closes_at,
        step_s=wanted.step_s,
        mandate=mandate,
        rounds_max=wanted.rounds_max,
        spot_per_mwh=spot,
        assumptions=assumptions,
        power=wanted.power,
        leave_out_incomplete=wanted.leave_out_incomplete,
    )


def approve(services: Services, person: Person, tender_id: str) -> Tender:
    """Approve with the server's settings. Pages call it too."""
    return preparing.approve_tender(
        services.database,
        services.store,
        tender_id,
        person=person,
        privacy=services.settings.privacy,
        currency=services.settings.currency,
        zone=services.settings.timezone,
        now=services.clock(),
    )


def _readiness(services: Services, draft: TenderDraft) -> ReadinessAnswer:
    found: Readiness = preparing.readiness(
        services.database, services.store, draft, privacy=services.settings.privacy
    )
    return ReadinessAnswer(
        consenting=found.consenting,
        without_tariff=found.without_tariff,
        without_readings=found.without_readings,
        homes_min=found.homes_min,
        ready=found.ready,
        reasons=list(found.why_not(leave_out_incomplete=draft.leave_out_incomplete)),
    )


def _shown(prepared: PreparedTender, found: ReadinessAnswer | None = None) -> PreparedAnswer:
    return PreparedAnswer(
        tender_id=prepared.draft.tender_id,
        title=prepared.draft.title,
        state=prepared.state,
        asked_at=prepared.asked_at,
        refusal=prepared.refusal,
        readiness=found,
    )


def _bad(pointer: str, fault: BargainerError) -> BadInput:
    return BadInput(
        f"{pointer[1:]} cannot be read: {fault}",
        faults=(FieldFault(pointer=pointer, problem=str(fault)),),
    )
