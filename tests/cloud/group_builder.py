"""Homes with even use, offers, and people of the board, for tests of money and votes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cloud.members.roles import Person, Role
from cloud.negotiations.pricing import TenderPlan
from cloud.negotiations.usecases import open_tender
from cloud.readings.ports import CheckedBatch, CheckedPart
from cloud.savings.usecases import GROUP, OLD, set_tariff
from gateway.wire.batch import Block, Part
from gateway.wire.reading import Purpose, Quantity, Resolution
from tariff_bargainer.bargaining.offers import Mandate
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions
from tests.cloud.coop_builder import Browser, Coop

ZONE = "Europe/Berlin"
WINDOW_START = datetime(2025, 9, 30, 22, tzinfo=UTC)
WINDOW_END = datetime(2026, 1, 31, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)


def tariff_text(rate_per_kwh: str, name: str = "flat") -> str:
    return json.dumps(
        {
            "format": "commonwatt-tariff/1",
            "name": name,
            "currency": "EUR",
            "timezone": ZONE,
            "energy": [{"name": "energy", "rate_per_kwh": rate_per_kwh}],
        }
    )


def offer_text(supplier: str, rate_per_kwh: str, **changes) -> str:
    table = {
        "format": "commonwatt-offer/1",
        "supplier": supplier,
        "id": f"{supplier}-{rate_per_kwh}",
        "term_months": 24,
        "green_share": "1",
        "tariff": {
            "name": "Fixed",
            "currency": "EUR",
            "timezone": ZONE,
            "energy": [{"name": "energy", "rate_per_kwh": rate_per_kwh}],
        },
    }
    return json.dumps(table | changes)


@dataclass(frozen=True, kw_only=True)
class GroupHome:
    person: Person
    household: str
    wh_per_hour: int


def put_use(
    coop: Coop,
    household: str,
    purpose: Purpose,
    *,
    start: datetime,
    end: datetime,
    wh_per_hour: int,
    leave_out: int = 0,
    is_estimated: bool = False,
) -> None:
    """Store hourly use as if a gateway had sent it; `leave_out` hours are missing at the end."""
    hours = int((end - start) / HOUR) - leave_out
    part = Part(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=purpose,
        resolution=Resolution.HOUR,
        grant="billing@1",
        epoch=0,
        seq=1,
        prev="",
        blocks=(
            Block(
                start=start,
                step_s=3600,
                wh=(wh_per_hour,) * hours,
                quality="e" * hours if is_estimated else "",
            ),
        ),
    )
    batch = CheckedBatch(
        household=household,
        gateway=hashlib.sha256(f"{household} {purpose}".encode()).hexdigest()[:32],
        seq=1,
        payload=f"{household}{purpose}{start}".encode(),
        signature="",
        received_at=coop.clock(),
        parts=(CheckedPart(part=part, admissible=tuple(part.readings())),),
    )
    coop.services.store.append(batch).result(10)


def group_of(
    coop: Coop,
    count: int,
    *,
    purpose: Purpose = Purpose.GROUP_TARIFF,
    old_rates: tuple[str, ...] = ("0.30",),
) -> list[GroupHome]:
    """Homes that use 100, 200, 300 … Wh an hour over the window, on their old tariffs."""
    homes = []
    for number in range(1, count + 1):
        person = coop.person(Role.MEMBER, email=f"home{number}@example.org")
        assert person.household is not None
        put_use(
            coop,
            person.household,
            purpose,
            start=WINDOW_START,
            end=WINDOW_END,
            wh_per_hour=100 * number,
        )
        with coop.services.database.transaction() as connection:
            set_tariff(
                connection,
                household=person.household,
                kind=OLD,
                text=tariff_text(old_rates[number % len(old_rates)]),
                form="json",
                valid_from=WINDOW_START,
                now=coop.clock(),
            )
        homes.append(GroupHome(person=person, household=person.household, wh_per_hour=100 * number))
    return homes


def put_on_group_tariff(
    coop: Coop, homes: list[GroupHome], rate_per_kwh: str, since: datetime
) -> None:
    with coop.services.database.transaction() as connection:
        for home in homes:
            set_tariff(
                connection,
                household=home.household,
                kind=GROUP,
                text=tariff_text(rate_per_kwh, "group"),
                form="json",
                valid_from=since,
                now=coop.clock(),
            )


def tender_on(coop: Coop, homes: list[GroupHome], **changes) -> str:
    """Open a tender on these homes and return its id."""
    hours = int((WINDOW_END - WINDOW_START) / HOUR)
    mandate = Mandate(
        saving_share_min=Decimal("0.02"),
        losers_share_max=Decimal("0.10"),
        loss_limit_minor=4_000,
        green_share_min=Decimal("0.5"),
    )
    plan = TenderPlan(
        **{
            "tender_id": "t1",
            "title": "Tender 1",
            "households": [home.household for home in homes],
            "supply_from": WINDOW_END,
            "window_start": WINDOW_START,
            "window_end": WINDOW_END,
            "closes_at": coop.clock() + timedelta(days=7),
            "step_s": 3600,
            "mandate": mandate,
            "rounds_max": 4,
            "spot_per_mwh": [90.0] * hours,
            "assumptions": FloorAssumptions(scenarios=20, pass_through_per_kwh=0.12),
            "load": {},
        }
        | changes
    )
    open_tender(
        coop.services.database,
        coop.services.store,
        plan,
        currency="EUR",
        zone=ZONE,
        now=coop.clock(),
    )
    return plan.tender_id


def supplier_of(coop: Coop, name: str) -> tuple[Person, Browser]:
    person = coop.person(Role.SUPPLIER, email=f"{name.lower()}@supplier.example", supplier=name)
    return person, coop.browser_of(person)


def board_of(coop: Coop, name: str) -> tuple[Person, Browser]:
    person = coop.person(Role.BOARD, email=f"{name.lower()}@board.example")
    return person, coop.browser_of(person)
