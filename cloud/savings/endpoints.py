"""A member's own tariff and savings over HTTP."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cloud.errors import BadInput
from cloud.fund.booking_record import is_booked
from cloud.members.access import HouseholdDep, PersonDep
from cloud.savings import old_tariffs
from cloud.savings.old_tariffs import TariffDraft
from cloud.savings.repository import HomeTariff, savings_of_home
from cloud.savings.usecases import read_tariff_text
from cloud.services import ServicesDep
from cloud.settings import Settings
from tariff_bargainer.errors import TariffFileError
from tariff_bargainer.tariffs.catalogue_index import catalogue_text

router = APIRouter(prefix="/api/v1/me", tags=["own tariff"])

Price = Annotated[Decimal, Field(ge=0, le=1000, max_digits=12)]


class FlatPrice(BaseModel):
    """One price and a standing charge, all taxes included."""

    model_config = ConfigDict(extra="forbid")

    supplier: Annotated[str, Field(min_length=1, max_length=200)]
    price_per_kwh: Price
    standing_per_month: Price = Decimal(0)


class TariffEntry(BaseModel):
    """An old tariff, in exactly one of four ways: flat price, our form as JSON or TOML, catalogue."""

    model_config = ConfigDict(extra="forbid")

    flat: FlatPrice | None = None
    tariff: dict[str, Any] | None = None
    toml: Annotated[str, Field(max_length=old_tariffs.TARIFF_BYTES_MAX)] | None = None
    catalogue: Annotated[str, Field(max_length=100)] | None = None
    valid_from: date
    reason: Annotated[str, Field(max_length=old_tariffs.REASON_CHARS_MAX)] = ""


class OldTariffAnswer(BaseModel):
    """A tariff on record."""

    name: str
    supplier: str
    tariff_hash: str
    valid_from: datetime
    reason: str
    form: str
    text: str


class OwnTariffsAnswer(BaseModel):
    """What is on record for the own home; `joined_at` says since when the old tariff is frozen."""

    current: OldTariffAnswer | None
    group: OldTariffAnswer | None
    history: list[OldTariffAnswer]
    joined_at: datetime | None


class OwnSavingAnswer(BaseModel):
    """What the own home saved in a month, by its newest revision [minor units]."""

    month: str
    revision: int
    currency: str
    old_minor: int
    actual_minor: int
    saving_minor: int
    energy_wh: int
    estimated_intervals: int
    evidence: str
    is_booked: bool


@router.get("/savings", operation_id="own_savings")
def get_savings(services: ServicesDep, household: HouseholdDep) -> list[OwnSavingAnswer]:
    """The own statement, oldest month first; `evidence` is the hash that the books cite."""
    with services.database.reading() as connection:
        return [
            OwnSavingAnswer(
                month=saving.month,
                revision=saving.revision,
                currency=saving.currency,
                old_minor=saving.old_minor,
                actual_minor=saving.actual_minor,
                saving_minor=saving.saving_minor,
                energy_wh=saving.energy_wh,
                estimated_intervals=saving.estimated_intervals,
                evidence=saving.evidence,
                is_booked=is_booked(connection, saving.month, saving.revision),
            )
            for saving in savings_of_home(connection, household)
        ]


@router.get("/tariff", operation_id="own_tariff")
def get_tariff(services: ServicesDep, household: HouseholdDep) -> OwnTariffsAnswer:
    """The own old tariff, the group's, and everything that was ever on record."""
    with services.database.reading() as connection:
        found = old_tariffs.old_tariffs(connection, household, services.clock())
    return OwnTariffsAnswer(
        current=_shown(found.current) if found.current else None,
        group=_shown(found.group) if found.group else None,
        history=[_shown(row) for row in found.history],
        joined_at=found.joined_at,
    )


@router.post("/tariff", status_code=201, operation_id="own_tariff_enter")
def post_tariff(
    services: ServicesDep, person: PersonDep, household: HouseholdDep, entry: TariffEntry
) -> OldTariffAnswer:
    """Enter the own old tariff; after joining only from a later day on. The same again adds none."""
    text, form = _text_of(entry, services.settings)
    with services.database.transaction() as connection:
        frozen = old_tariffs.enter_own_tariff(
            connection,
            TariffDraft(text=text, form=form, valid_from=entry.valid_from, reason=entry.reason),
            household=household,
            person_id=person.person_id,
            currency=services.settings.currency,
            zone=services.settings.timezone,
            now=services.clock(),
        )
    return _shown(frozen)


def _text_of(entry: TariffEntry, settings: Settings) -> tuple[str, str]:
    """The tariff as text in our form, and the form."""
    if sum(way is not None for way in (entry.flat, entry.tariff, entry.toml, entry.catalogue)) != 1:
        raise BadInput("give the tariff in exactly one way: flat, tariff, toml or catalogue")
    if entry.flat is not None:
        text = old_tariffs.flat_tariff_text(
            **entry.flat.model_dump(), currency=settings.currency, zone=settings.timezone
        )
        return text, "json"
    if entry.toml is not None:
        return entry.toml, "toml"
    if entry.catalogue is not None:
        try:
            return catalogue_text(entry.catalogue), "toml"
        except TariffFileError as fault:
            raise BadInput(str(fault)) from fault
    return json.dumps(entry.tariff, ensure_ascii=False), "json"


def _shown(row: HomeTariff) -> OldTariffAnswer:
    tariff = read_tariff_text(row.tariff_text, row.form)
    return OldTariffAnswer(
        name=tariff.name,
        supplier=tariff.supplier,
        tariff_hash=row.tariff_hash,
        valid_from=row.valid_from,
        reason=row.reason,
        form=row.form,
        text=row.tariff_text,
    )
