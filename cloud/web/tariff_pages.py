"""A member's old tariff: what is on record, and two forms to enter one."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from cloud.errors import BadInput
from cloud.members.access import HouseholdDep, PersonDep, SessionDep
from cloud.savings import old_tariffs
from cloud.savings.old_tariffs import TariffDraft
from cloud.savings.repository import HomeTariff
from cloud.savings.usecases import read_tariff_text
from cloud.services import Services, ServicesDep
from cloud.web.formats import local_time
from cloud.web.page_route import PageRoute
from cloud.web.shell import pages_of, shell
from tariff_bargainer.tariffs.catalogue_index import catalogue_text
from tariff_bargainer.tariffs.tariff import EnergyCharge, Tariff

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FirstDay = Annotated[date, Form()]
Reason = Annotated[str, Form(max_length=old_tariffs.REASON_CHARS_MAX)]


@router.get("/home/tariff")
def get_tariff(
    request: Request, services: ServicesDep, session: SessionDep, household: HouseholdDep
) -> Response:
    """What is on record, and the forms."""
    now = services.clock()
    with services.database.reading() as connection:
        found = old_tariffs.old_tariffs(connection, household, now)
    today = local_time(now, services.settings.timezone).date()
    shown = shell(request, session) | {
        "found": found,
        "current": _row(found.current) if found.current else None,
        "group": _row(found.group) if found.group else None,
        "history": [_row(row) for row in found.history],
        "choices": old_tariffs.catalogue_choices(services.settings.currency),
        "first_day": today.replace(month=1, day=1) if found.joined_at is None else None,
    }
    return pages_of(request).render("home_tariff.html", shown)


@router.post("/home/tariff")
def post_flat(
    services: ServicesDep,
    person: PersonDep,
    household: HouseholdDep,
    valid_from: FirstDay,
    supplier: Annotated[str, Form(min_length=1, max_length=200)],
    price_cents: Annotated[str, Form(max_length=20)],
    standing: Annotated[str, Form(max_length=20)] = "0",
    reason: Reason = "",
) -> Response:
    """Enter one price and a standing charge."""
    settings = services.settings
    text = old_tariffs.flat_tariff_text(
        supplier=supplier,
        price_per_kwh=_number(price_cents, "the price per kWh in cent, such as 32.5") / 100,
        standing_per_month=_number(standing or "0", "the standing charge a month, such as 9.50"),
        currency=settings.currency,
        zone=settings.timezone,
    )
    draft = TariffDraft(text=text, form="json", valid_from=valid_from, reason=reason)
    return _enter(services, person.person_id, household, draft)


@router.post("/home/tariff/file")
async def post_file(
    services: ServicesDep,
    person: PersonDep,
    household: HouseholdDep,
    valid_from: FirstDay,
    file: UploadFile,
    reason: Reason = "",
) -> Response:
    """Enter a tariff file in our form."""
    content = await file.read(old_tariffs.TARIFF_BYTES_MAX + 1)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise BadInput("the file is not UTF-8 text; save it as .toml or .json") from fault
    form = "json" if (file.filename or "").lower().endswith(".json") else "toml"
    draft = TariffDraft(text=text, form=form, valid_from=valid_from, reason=reason)
    return await run_in_threadpool(_enter, services, person.person_id, household, draft)


@router.post("/home/tariff/catalogue")
def post_choice(
    services: ServicesDep,
    person: PersonDep,
    household: HouseholdDep,
    valid_from: FirstDay,
    name: Annotated[str, Form(max_length=100)],
    reason: Reason = "",
) -> Response:
    """Pick a tariff of the catalogue."""
    if name not in old_tariffs.catalogue_choices(services.settings.currency):
        raise BadInput("this tariff is not in the catalogue; pick one from the list")
    draft = TariffDraft(
        text=catalogue_text(name), form="toml", valid_from=valid_from, reason=reason
    )
    return _enter(services, person.person_id, household, draft)


def _enter(
    services: Services, person_id: str, household: str, draft: TariffDraft
) -> RedirectResponse:
    try:
        with services.database.transaction() as connection:
            old_tariffs.enter_own_tariff(
                connection,
                draft,
                household=household,
                person_id=person_id,
                currency=services.settings.currency,
                zone=services.settings.timezone,
                now=services.clock(),
            )
    except BadInput as fault:
        places = "; ".join(one.problem for one in fault.faults)
        raise BadInput(f"The old tariff cannot be taken: {places or fault}") from fault
    return RedirectResponse("/home/tariff#on-record", status_code=303)


def _number(text: str, what: str) -> Decimal:
    try:
        number = Decimal(text.strip().replace(",", "."))
    except InvalidOperation as fault:
        raise BadInput(f"{text[:20]!r} is no number; write {what}") from fault
    if not number.is_finite() or not 0 <= number <= 100_000:
        raise BadInput(f"{text[:20]!r} does not fit; write {what}")
    return number


def _row(row: HomeTariff) -> dict[str, object]:
    tariff = read_tariff_text(row.tariff_text, row.form)
    return {
        "record": row,
        "name": tariff.name,
        "supplier": tariff.supplier,
        "price": " + ".join(_price(charge) for charge in tariff.energy) or "no price per kWh",
        "sample_minor": old_tariffs.sample_bill_minor(tariff),
        "standing": _standing(tariff),
    }


def _price(charge: EnergyCharge) -> str:
    rates = [tier.rate for period in charge.periods for tier in period.tiers]
    low, high = min(rates) * 100, max(rates) * 100
    if low == high:
        return f"{low.normalize():f} ct/kWh"
    return f"{low.normalize():f} to {high.normalize():f} ct/kWh"


def _standing(tariff: Tariff) -> str:
    return ", ".join(f"{one.amount} {tariff.currency} a {one.per}" for one in tariff.standing)
