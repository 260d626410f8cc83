"""The board's forms for a new tender: prepare it, look at what is missing, approve it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.responses import RedirectResponse

from cloud.errors import BadInput, NotFound, ReleaseRefused, StateConflict
from cloud.members.access import SessionDep, require_role
from cloud.members.repository import person_by_id
from cloud.members.roles import Person, Role
from cloud.negotiations import draft_record, preparing
from cloud.negotiations.board_endpoints import TenderRequest, approve, draft_of
from cloud.services import ServicesDep
from cloud.settings import Settings
from cloud.web.formats import local_time
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell
from tariff_bargainer.bargaining.offer_file import load_table
from tariff_bargainer.errors import BargainerError

router = APIRouter(route_class=PageRoute, include_in_schema=False)

BoardDep = Annotated[Person, Depends(require_role(Role.BOARD))]
FILE_BYTES_MAX = 1_000_000
ROUNDS_USUAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A field of the floor's assumptions.

    Args:
        name: Key in the floor form.
        label: For people, with the unit.
        value: What stands in the field first; empty where it must be entered.
        source: Where the figure is to be taken from.
        per_cent: Whether people write it in per cent.
    """

    name: str
    label: str
    value: str
    source: str
    per_cent: bool = False


ASSUMPTIONS = (
    Assumption(
        name="pass_through_per_kwh",
        label="Network, levies and taxes per kWh",
        value="",
        source="The network operator's price sheet and the published levies. No default: it is the "
        "largest part of most prices, and different everywhere.",
    ),
    Assumption(
        name="pass_through_per_meter_year",
        label="Network and metering per home and year",
        value="0",
        source="The same price sheet.",
    ),
    Assumption(
        name="forward_premium_share",
        label="Forwards above expected spot (%)",
        value="3",
        source="Our assumption. Compare last year's forward quotations with what spot came to.",
        per_cent=True,
    ),
    Assumption(
        name="imbalance_spread_per_mwh",
        label="Imbalance cost per MWh of forecast error",
        value="14",
        source="Our assumption. The transmission operator's imbalance prices less day-ahead.",
    ),
    Assumption(
        name="risk_weight",
        label="Share of the tail risk that is charged (%)",
        value="30",
        source="Our assumption.",
        per_cent=True,
    ),
    Assumption(
        name="serving_per_meter_year",
        label="Billing and service per home and year",
        value="28",
        source="Our assumption. Annual reports of suppliers name cost to serve.",
    ),
    Assumption(
        name="acquisition_per_meter",
        label="Winning one home, over the term",
        value="0",
        source="Zero: the co-op brings the homes.",
    ),
    Assumption(
        name="margin_per_kwh",
        label="Least margin per kWh",
        value="0.004",
        source="Our assumption.",
    ),
    Assumption(
        name="uncertainty_share",
        label="How far each assumption may be off, either way (%)",
        value="8",
        source="Our assumption; it makes the floor a range.",
        per_cent=True,
    ),
    Assumption(
        name="term_months", label="Contract (months)", value="24", source="As the mandate allows."
    ),
    Assumption(
        name="scenarios",
        label="Bootstrap years",
        value="500",
        source="More give a steadier tail and take longer.",
    ),
)


@router.get("/board/new")
def get_new(
    request: Request, services: ServicesDep, session: SessionDep, _person: BoardDep
) -> Response:
    """The form of a new tender."""
    today = local_time(services.clock(), services.settings.timezone).date()
    end = today.replace(day=1)
    shown = shell(request, session) | {
        "assumptions": ASSUMPTIONS,
        "rounds": ROUNDS_USUAL,
        "window_start": end.replace(year=end.year - 1),
        "window_end": end,
        "supply_from": _months_later(end, 3),
        "closes_at": f"{(today + timedelta(days=14)).isoformat()}T17:00",
        "homes_min": services.settings.privacy.group_min_outside,
    }
    return pages_of(request).render("board_new.html", shown)


@router.post("/board/new")
async def post_new(request: Request, services: ServicesDep, person: BoardDep) -> Response:
    """Prepare a tender from the form."""
    async with request.form() as form:
        wanted = await _wanted(form, services.settings)

    def prepare() -> str:
        draft = draft_of(wanted)
        preparing.prepare_tender(services.database, draft, person=person, now=services.clock())
        return draft.tender_id

    tender_id = await run_in_threadpool(prepare)
    return RedirectResponse(f"/board/drafts/{tender_id}", status_code=303)


@router.get("/board/drafts/{tender_id}")
def get_draft(
    request: Request,
    services: ServicesDep,
    session: SessionDep,
    person: BoardDep,
    tender_id: str,
) -> Response:
    """A prepared tender: what it asks, how many homes it could have, and the second step."""
    with services.database.reading() as connection:
        prepared = draft_record.prepared_row(connection, tender_id)
        asked_by = person_by_id(connection, prepared.asked_by) if prepared else None
    if prepared is None:
        raise NotFound("prepared tender")
    found = preparing.readiness(
        services.database, services.store, prepared.draft, privacy=services.settings.privacy
    )
    draft = prepared.draft
    shown = shell(request, session) | {
        "prepared": prepared,
        "draft": draft,
        "found": found,
        "reasons": found.why_not(leave_out_incomplete=draft.leave_out_incomplete),
        "asked_by": asked_by.name if asked_by else "",
        "is_own": prepared.asked_by == person.person_id,
        "spot_mean": sum(draft.spot_per_mwh) / len(draft.spot_per_mwh),
        "assumed": [
            (one.label, getattr(draft.assumptions, one.name), one.per_cent) for one in ASSUMPTIONS
        ],
        "begins_in_the_past": draft.supply_from < services.clock(),
    }
    return pages_of(request).render("board_draft.html", shown)


@router.post("/board/drafts/{tender_id}/approve")
def post_approve(services: ServicesDep, person: BoardDep, tender_id: str) -> Response:
    """Approve as the second person; reasons of a refusal are shown on the draft's page."""
    try:
        approve(services, person, tender_id)
    except (ReleaseRefused, StateConflict):
        with services.database.reading() as connection:
            prepared = draft_record.prepared_row(connection, tender_id)
        if prepared is None or prepared.state != draft_record.WAITING or not prepared.refusal:
            raise
        return RedirectResponse(f"/board/drafts/{tender_id}#refused", status_code=303)
    return RedirectResponse(f"/board/{tender_id}", status_code=303)


@router.post("/board/drafts/{tender_id}/drop")
def post_drop(services: ServicesDep, person: BoardDep, tender_id: str) -> Response:
    """Put it aside."""
    preparing.drop_tender(services.database, tender_id, person=person, now=services.clock())
    return RedirectResponse("/board", status_code=303)


async def _wanted(form: FormData, settings: Settings) -> TenderRequest:
    zone = ZoneInfo(settings.timezone)
    floor = await _floor_file(form) or {
        one.name: _floor_value(one, _text(form, one.name)) for one in ASSUMPTIONS
    }
    fields: dict[str, Any] = {
        "title": _text(form, "title"),
        "supply_from": _local_day(form, "supply_from", zone),
        "window_start": _local_day(form, "window_start", zone),
        "window_end": _local_day(form, "window_end", zone),
        "closes_at": _local_moment(form, "closes_at", zone),
        "step_s": _text(form, "step_s") or "900",
        "rounds_max": _text(form, "rounds_max"),
        "power": str(_number(form, "power") / 100),
        "mandate": {
            "currency": settings.currency,
            "saving_share_min": str(_number(form, "saving_share_min") / 100),
            "losers_share_max": str(_number(form, "losers_share_max") / 100),
            "loss_limit": str(_number(form, "loss_limit")),
            "green_share_min": str(_number(form, "green_share_min") / 100),
        },
        "floor": floor,
        "spot_csv": await _file_text(form, "spot"),
        "leave_out_incomplete": _text(form, "leave_out_incomplete") == "yes",
    }
    if _text(form, "term_months_max"):
        fields["mandate"]["term_months_max"] = int(_number(form, "term_months_max"))
    try:
        return TenderRequest.model_validate(fields | {"step_s": int(fields["step_s"])})
    except (ValidationError, ValueError) as fault:
        places = (
            "; ".join(f"{one['loc'][0]}: {one['msg']}" for one in fault.errors()[:5])
            if isinstance(fault, ValidationError)
            else str(fault)
        )
        raise BadInput(f"Some fields cannot be taken: {places}") from fault


def _floor_value(one: Assumption, text: str) -> Any:
    number = _decimal(text, one.label)
    if one.name in {"term_months", "scenarios"}:
        return int(number)
    return str(number / 100 if one.per_cent else number)


async def _floor_file(form: FormData) -> Mapping[str, Any] | None:
    """Assumptions from a file in the form commonwatt-floor/1, if one was chosen."""
    text = await _file_text(form, "floor_file", is_needed=False)
    if not text:
        return None
    sent = form.get("floor_file")
    name = sent.filename if isinstance(sent, UploadFile) and sent.filename else ""
    try:
        table = load_table(text, form="json" if name.lower().endswith(".json") else "toml")
    except BargainerError as fault:
        raise BadInput(f"the file of assumptions cannot be read: {fault}") from fault
    if not isinstance(table, dict):
        raise BadInput("the file of assumptions is no table; see docs/formats/offer.md")
    return table


async def _file_text(form: FormData, name: str, *, is_needed: bool = True) -> str:
    sent = form.get(name)
    content = await sent.read(FILE_BYTES_MAX + 1) if isinstance(sent, UploadFile) else b""
    if len(content) > FILE_BYTES_MAX:
        raise BadInput(f"a file here may take {FILE_BYTES_MAX} bytes; send hourly prices")
    if not content and is_needed:
        raise BadInput("choose a file of spot prices")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise BadInput("the file is not UTF-8 text; save it as CSV in UTF-8") from fault


def _text(form: FormData, name: str) -> str:
    sent = form.get(name)
    return sent.strip()[:200] if isinstance(sent, str) else ""


def _number(form: FormData, name: str) -> Decimal:
    return _decimal(_text(form, name), name.replace("_", " "))


def _decimal(text: str, what: str) -> Decimal:
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation as fault:
        raise BadInput(f"{what}: {text[:20]!r} is no number") from fault
    if not number.is_finite():
        raise BadInput(f"{what}: write a number")
    return number


def _local_day(form: FormData, name: str, zone: ZoneInfo) -> datetime:
    try:
        day = date.fromisoformat(_text(form, name))
    except ValueError as fault:
        raise BadInput(f"{name.replace('_', ' ')}: write a day such as 2026-10-01") from fault
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _local_moment(form: FormData, name: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(form, name))
    except ValueError as fault:
        raise BadInput(
            f"{name.replace('_', ' ')}: write a day and a time such as 2026-10-01T17:00"
        ) from fault
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _months_later(day: date, months: int) -> date:
    count = day.year * 12 + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)
