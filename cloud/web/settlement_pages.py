"""The board's page of settlements: look ahead, propose, sign, record payments; and members' shares."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response, UploadFile
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from cloud.errors import BadInput, StateConflict
from cloud.fund.endpoints import SettlementRequest, work_out
from cloud.fund.shares import book_shares, read_shares
from cloud.idempotency import Once, OnceDep
from cloud.jobs import settlement as settling
from cloud.jobs.settlement_run import Costs, RunOfMonth, runs_of
from cloud.members.access import SessionDep, require_role
from cloud.members.roles import Person, Role
from cloud.services import Services, ServicesDep
from cloud.web.formats import local_time, money, plural
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell
from solar_fund.ledger.accounts import (
    CAPITAL,
    COSTS_PAYABLE,
    EQUALISATION,
    MEASUREMENT_RESERVE,
    POCKET,
    RESERVE,
    SUPPLIER_RECEIVABLE,
)
from solar_fund.money import exponent_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
Money = Annotated[str, Form(max_length=20)]
SHARES_BYTES_MAX = 1_000_000
STAGES = {
    "worked_out": "worked out",
    "settled": "not proposed",
    "proposed": "waits for the second signature",
    "booked": "booked",
    "paid": "booked and paid",
}
LINES = (
    (SUPPLIER_RECEIVABLE, "The supplier owes", "The supplier gets back", 1),
    (EQUALISATION, "Carried by the equalisation account", "Repaid to the equalisation account", 1),
    (MEASUREMENT_RESERVE, "Held back until it is measured", "Released from the hold-back", -1),
    (COSTS_PAYABLE, "Direct costs", "Direct costs given back", -1),
    (RESERVE, "Reserve", "Taken from the reserve", -1),
    (CAPITAL, "Solar fund, as members’ capital", "Taken from members’ capital", -1),
    (POCKET, "Members’ pockets", "Taken from members’ pockets", -1),
)
"""Account, words when the amount is positive, words when it is negative, and which side is which."""


@router.get("/board/settlements")
def get_settlements(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    _person: BoardDep,
    month: Annotated[str, Query(max_length=7)] = "",
    costs: Annotated[str, Query(max_length=20)] = "0",
    usual: Annotated[str, Query(max_length=20)] = "0",
    leave_out: Annotated[str, Query(max_length=3)] = "",
) -> Response:
    """All months, and what would be booked for one."""
    now, currency = services.clock(), services.settings.currency
    ahead, refused = None, ""
    if month:
        wanted = _wanted(month, costs, usual, leave_out, currency)
        try:
            worked = work_out(services, wanted)
            with services.database.reading() as connection:
                ahead = settling.look_ahead(connection, worked, _costs(wanted), now=now)
        except (StateConflict, BadInput) as fault:
            refused = str(fault)
    with services.database.reading() as connection:
        runs = runs_of(connection, now)
    today = local_time(now, services.settings.timezone).date()
    last_month = (today.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    shown = shell(request, session) | {
        "runs": runs,
        "ahead": ahead,
        "refused": refused,
        "month": month or last_month,
        "last_month": last_month,
        "costs": costs,
        "usual": usual,
        "leave_out": bool(leave_out),
        "stages": STAGES,
        "lines_of": lines_of,
        "new_key": lambda: secrets.token_hex(16),
    }
    return pages_of(request).render("board_settlements.html", shown)


@router.post("/board/settlements")
def post_propose(
    services: ServicesDep,
    person: BoardDep,
    once: OnceDep,
    month: Annotated[str, Form(max_length=7)],
    costs: Money = "0",
    usual: Money = "0",
    leave_out: Annotated[str, Form(max_length=3)] = "",
) -> Response:
    """The first signature."""
    wanted = _wanted(month, costs, usual, leave_out, services.settings.currency)
    worked, now = work_out(services, wanted), services.clock()
    with services.database.transaction() as connection:
        once.do(
            connection,
            lambda: _done(
                settling.propose(connection, worked, _costs(wanted), person=person, now=now)
            ),
            now=now,
        )
    return RedirectResponse("/board/settlements#h-runs", status_code=303)


@router.post("/board/settlements/{month}/sign")
def post_sign(
    services: ServicesDep,
    person: BoardDep,
    once: OnceDep,
    month: str,
    figures_sha256: Annotated[str, Form(max_length=64)],
) -> Response:
    """The second signature; the figures that were shown are posted."""
    now = services.clock()
    with services.database.transaction() as connection:
        once.do(
            connection,
            lambda: _done(
                settling.book(
                    connection,
                    month,
                    figures_sha256=figures_sha256,
                    person=person,
                    base_url=services.settings.base_url,
                    now=now,
                )
            ),
            now=now,
        )
    return RedirectResponse("/board/settlements#h-runs", status_code=303)


@router.post("/board/settlements/{month}/payment")
def post_payment(
    services: ServicesDep,
    person: BoardDep,
    once: OnceDep,
    month: str,
    revision: Annotated[int, Form()],
    amount_minor: Annotated[int, Form()],
    bank_evidence: Annotated[str, Form(max_length=64)],
) -> Response:
    """Record the supplier's payment."""
    now = services.clock()
    with services.database.transaction() as connection:
        once.do(
            connection,
            lambda: _done(
                settling.record_payment(
                    connection,
                    month,
                    revision,
                    amount_minor=amount_minor,
                    bank_evidence=bank_evidence,
                    person=person,
                    now=now,
                )
            ),
            now=now,
        )
    return RedirectResponse("/board/settlements#h-runs", status_code=303)


@router.get("/board/shares")
def get_shares(
    request: Request,
    session: SessionDep,
    _person: BoardDep,
    done: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """The form for a list from the bank."""
    shown = shell(request, session) | {"done": done, "new_key": lambda: secrets.token_hex(16)}
    return pages_of(request).render("board_shares.html", shown)


@router.post("/board/shares")
async def post_shares(
    services: ServicesDep,
    person: BoardDep,
    once: OnceDep,
    call: Annotated[str, Form(max_length=64)],
    bank_evidence: Annotated[str, Form(max_length=64)],
    list_file: Annotated[UploadFile, Form(alias="list")],
) -> Response:
    """Book a list of shares."""
    content = await list_file.read(SHARES_BYTES_MAX + 1)
    if len(content) > SHARES_BYTES_MAX:
        raise BadInput(f"a list may take {SHARES_BYTES_MAX} bytes; send it in parts")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise BadInput("the list is not UTF-8 text; save it as CSV in UTF-8") from fault
    said = await run_in_threadpool(
        _book_shares, services, person, once, call=call, bank_evidence=bank_evidence, text=text
    )
    return RedirectResponse(f"/board/shares?{urlencode({'done': said})}", status_code=303)


def lines_of(run: RunOfMonth) -> list[tuple[str, int]]:
    """What is or would be booked, in words, with positive amounts [minor units]."""
    return [
        (plus if run.totals_minor[account] * sign > 0 else minus, abs(run.totals_minor[account]))
        for account, plus, minus, sign in LINES
        if account in run.totals_minor
    ]


def _book_shares(
    services: Services, person: Person, once: Once, *, call: str, bank_evidence: str, text: str
) -> str:
    currency, now = services.settings.currency, services.clock()
    shares_minor = read_shares(text, currency)
    with services.database.transaction() as connection:

        def work() -> Mapping[str, Any]:
            paid = book_shares(
                connection,
                shares_minor,
                call=call.strip(),
                bank_evidence=bank_evidence,
                currency=currency,
                person=person,
                now=now,
            )
            return {"added": paid.added, "known": paid.known, "added_minor": paid.added_minor}

        answer = once.do(connection, work, now=now)
    del answer
    total_minor = sum(shares_minor.values())
    homes = plural(len(shares_minor), "share", "shares")
    return f"{homes} of {money(total_minor, currency)} are in the books."


def _wanted(month: str, costs: str, usual: str, leave_out: str, currency: str) -> SettlementRequest:
    try:
        return SettlementRequest(
            month=month,
            costs_minor=_minor(costs, currency),
            monthly_costs_minor=_minor(usual, currency),
            leave_out_incomplete=leave_out == "yes",
        )
    except ValidationError as fault:
        raise BadInput("write the month as 2026-10, and costs from 0 up") from fault


def _minor(text: str, currency: str) -> int:
    try:
        amount = Decimal((text.strip() or "0").replace(",", "."))
        minor = amount.scaleb(exponent_of(currency))
        if not minor.is_finite() or minor != minor.to_integral_value():
            raise BadInput(f"{text[:20]!r} is no amount of {currency}; write one such as 24.00")
    except InvalidOperation as fault:
        raise BadInput(f"{text[:20]!r} is no amount; write one such as 24.00") from fault
    return int(minor)


def _costs(wanted: SettlementRequest) -> Costs:
    return Costs(direct_minor=wanted.costs_minor, usual_minor=wanted.monthly_costs_minor)


def _done(run: RunOfMonth) -> dict[str, Any]:
    return {"month": run.month, "revision": run.revision, "stage": run.stage.value}
