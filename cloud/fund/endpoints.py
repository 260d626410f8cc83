"""Settlements and shares over HTTP: sums for board and auditors, never one home."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cloud.errors import NotFound
from cloud.fund.shares import book_shares, read_shares
from cloud.idempotency import OnceDep
from cloud.jobs import settlement as settling
from cloud.jobs.settlement_run import Costs, RunOfMonth, Stage, runs_of
from cloud.members.access import require_role
from cloud.members.roles import Person, Role
from cloud.savings.months import Month, WorkedOut, work_out_month
from cloud.services import Services, ServicesDep
from solar_fund.money import AMOUNT_MINOR_MAX

router = APIRouter(prefix="/api/v1", tags=["settlements"])

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
WatcherDep = Annotated[Person, Depends(require_role(Role.BOARD, Role.AUDITOR))]
MonthName = Annotated[str, Field(pattern="^[0-9]{4}-[0-9]{2}$")]
CostMinor = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SettlementRequest(BaseModel):
    """Which month to settle, and its costs [minor units]."""

    model_config = ConfigDict(extra="forbid")

    month: MonthName
    costs_minor: CostMinor = 0
    monthly_costs_minor: CostMinor = 0
    leave_out_incomplete: bool = False


class SignRequest(BaseModel):
    """The figures that were seen and are signed for."""

    model_config = ConfigDict(extra="forbid")

    figures_sha256: Sha256


class PaymentRequest(BaseModel):
    """A payment of the supplier as the bank statement has it; negative went back to the supplier."""

    model_config = ConfigDict(extra="forbid")

    revision: Annotated[int, Field(ge=1, le=10_000)]
    amount_minor: Annotated[int, Field(ge=-AMOUNT_MINOR_MAX, le=AMOUNT_MINOR_MAX)]
    bank_evidence: Sha256


class SharesRequest(BaseModel):
    """Shares that arrived at the bank."""

    model_config = ConfigDict(extra="forbid")

    call: Annotated[str, Field(min_length=2, max_length=64)]
    bank_evidence: Sha256
    shares: Annotated[str, Field(max_length=1_000_000, description="CSV: household,amount")]


class SettlementAnswer(BaseModel):
    """A month on its way into the books; `totals_minor` by account, debits positive."""

    month: str
    revision: int
    stage: Stage
    adds_nothing: bool
    currency: str
    saving_minor: int
    homes: int
    left_out: int
    kept: int
    evidence_root: str
    is_correction: bool
    totals_minor: dict[str, int]
    figures_sha256: str
    receivable_minor: int
    vote: str | None
    proposed_by: str | None
    signed_by: str | None
    booked_at: datetime | None
    paid_at: datetime | None


@router.get("/settlements", operation_id="settlements_list")
def get_settlements(services: ServicesDep, _person: WatcherDep) -> list[SettlementAnswer]:
    """Every revision of every month, newest first, and how far it has come."""
    with services.database.reading() as connection:
        return [_shown(run) for run in runs_of(connection, services.clock())]


@router.get("/settlements/{month}", operation_id="settlement")
def get_settlement(
    services: ServicesDep, _person: WatcherDep, month: str
) -> list[SettlementAnswer]:
    """All revisions of a month, newest first."""
    with services.database.reading() as connection:
        found = runs_of(connection, services.clock(), month)
    if not found:
        raise NotFound("settlement of this month")
    return [_shown(run) for run in found]


@router.get("/settlements/{month}/preview", operation_id="settlement_preview")
def get_preview(
    services: ServicesDep,
    _person: BoardDep,
    month: Annotated[str, Path(pattern="^[0-9]{4}-[0-9]{2}$")],
    costs_minor: Annotated[int, Query(ge=0, le=AMOUNT_MINOR_MAX)] = 0,
    monthly_costs_minor: Annotated[int, Query(ge=0, le=AMOUNT_MINOR_MAX)] = 0,
    leave_out_incomplete: bool = False,
) -> SettlementAnswer:
    """What would be booked for a month; nothing is written."""
    wanted = SettlementRequest(
        month=month,
        costs_minor=costs_minor,
        monthly_costs_minor=monthly_costs_minor,
        leave_out_incomplete=leave_out_incomplete,
    )
    worked = work_out(services, wanted)
    with services.database.reading() as connection:
        return _shown(settling.look_ahead(connection, worked, _costs(wanted), now=services.clock()))


@router.post(
    "/settlements",
    status_code=201,
    operation_id="settlement_propose",
    response_model=SettlementAnswer,
)
def post_settlement(
    services: ServicesDep, person: BoardDep, once: OnceDep, wanted: SettlementRequest
) -> JSONResponse:
    """Settle a month and propose to book it: the first signature. Needs an Idempotency-Key."""
    worked, now = work_out(services, wanted), services.clock()
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: _document(
                settling.propose(connection, worked, _costs(wanted), person=person, now=now)
            ),
            now=now,
        )


@router.post(
    "/settlements/{month}/sign",
    status_code=201,
    operation_id="settlement_sign",
    response_model=SettlementAnswer,
)
def post_sign(
    services: ServicesDep, person: BoardDep, once: OnceDep, month: str, seen: SignRequest
) -> JSONResponse:
    """Sign as the second person; the figures are posted. Needs an Idempotency-Key."""
    now = services.clock()
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: _document(
                settling.book(
                    connection,
                    month,
                    figures_sha256=seen.figures_sha256,
                    person=person,
                    base_url=services.settings.base_url,
                    now=now,
                )
            ),
            now=now,
        )


@router.post(
    "/settlements/{month}/payment",
    status_code=201,
    operation_id="settlement_payment",
    response_model=SettlementAnswer,
)
def post_payment(
    services: ServicesDep, person: BoardDep, once: OnceDep, month: str, paid: PaymentRequest
) -> JSONResponse:
    """Record the supplier's payment of a booked revision. Needs an Idempotency-Key."""
    now = services.clock()
    with services.database.transaction() as connection:
        return once.do(
            connection,
            lambda: _document(
                settling.record_payment(
                    connection,
                    month,
                    paid.revision,
                    amount_minor=paid.amount_minor,
                    bank_evidence=paid.bank_evidence,
                    person=person,
                    now=now,
                )
            ),
            now=now,
        )


@router.post("/shares", status_code=201, operation_id="shares_book")
def post_shares(
    services: ServicesDep, person: BoardDep, once: OnceDep, list_of: SharesRequest
) -> JSONResponse:
    """Book members' shares from a CSV of the bank. Needs an Idempotency-Key."""
    now, currency = services.clock(), services.settings.currency
    shares_minor = read_shares(list_of.shares, currency)

    with services.database.transaction() as connection:

        def work() -> Mapping[str, Any]:
            paid = book_shares(
                connection,
                shares_minor,
                call=list_of.call,
                bank_evidence=list_of.bank_evidence,
                currency=currency,
                person=person,
                now=now,
            )
            return {
                "call": paid.call,
                "added": paid.added,
                "known": paid.known,
                "added_minor": paid.added_minor,
                "currency": paid.currency,
            }

        return once.do(connection, work, now=now)


def work_out(services: Services, wanted: SettlementRequest) -> WorkedOut:
    """Work a month out from the billing readings; nothing is written. Pages call it too."""
    return work_out_month(
        services.database,
        services.store,
        month=Month.named(wanted.month, services.settings.timezone),
        currency=services.settings.currency,
        leave_out_incomplete=wanted.leave_out_incomplete,
    )


def _costs(wanted: SettlementRequest) -> Costs:
    return Costs(direct_minor=wanted.costs_minor, usual_minor=wanted.monthly_costs_minor)


def _shown(run: RunOfMonth) -> SettlementAnswer:
    return SettlementAnswer.model_validate(run, from_attributes=True)


def _document(run: RunOfMonth) -> dict[str, Any]:
    return _shown(run).model_dump(mode="json")
