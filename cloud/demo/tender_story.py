"""The tender of the demo: a released load profile, four made-up firms, rounds, two signatures."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import httpx

from cloud.demo.made_up import (
    CURRENCY,
    FIRMS,
    FLOOR_ASSUMPTIONS,
    MANDATE,
    Firm,
    offer_of,
    spot_prices_per_mwh,
)
from cloud.demo.processes import DemoFault
from cloud.demo.street import STEP_S, ZONE
from cloud.demo.street_cloud import StreetCloud
from cloud.errors import ReleaseRefused
from cloud.members.roles import Person
from cloud.negotiations import repository
from cloud.negotiations.preparing import approve_tender, prepare_tender
from cloud.negotiations.pricing import read_mandate
from cloud.negotiations.repository import StoredOffer, Tender
from cloud.negotiations.tender_draft import TenderDraft
from cloud.negotiations.usecases import talk_with
from cloud.profiles.privacy_floor import Audience
from cloud.profiles.release import Asked
from cloud.profiles.usecases import release_group_profile
from gateway.wire.reading import Purpose, Quantity
from tariff_bargainer.bargaining.counter_offer import Advice, Party, Status, advise
from tariff_bargainer.bargaining.simulated_supplier import SimulatedSupplier
from tariff_bargainer.bargaining.supplier_cost import FloorAssumptions

ROUNDS_MAX = 4

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The year that offers are replayed on.

    Args:
        start: Start of it, aware UTC.
        end: End of it: supply begins here.
    """

    start: datetime
    end: datetime


def ask_too_much(cloud: StreetCloud, board: tuple[Person, Person], window: Window) -> list[str]:
    """Ask for every quarter hour of the year; the privacy floor should refuse.

    Returns:
        The reasons, in words; empty if it was released after all.
    """
    services = cloud.services
    asked = _asked(board, window, may_be_coarser=False)
    try:
        release_group_profile(
            services.database,
            services.store,
            asked,
            privacy=services.settings.privacy,
            now=cloud.time.now(),
        )
    except ReleaseRefused as refused:
        return [str(reason) for reason in refused.reasons]
    return []


def open_street_tender(
    cloud: StreetCloud,
    board: tuple[Person, Person],
    window: Window,
    *,
    tender_id: str,
    title: str,
    seed: int,
) -> Tender:
    """One of the board prepares a tender, the other approves it; the load is released with both."""
    services = cloud.services
    first, second = board
    steps = int((window.end - window.start).total_seconds()) // STEP_S
    draft = TenderDraft(
        tender_id=tender_id,
        title=title,
        supply_from=window.end,
        window_start=window.start,
        window_end=window.end,
        closes_at=cloud.time.now() + timedelta(days=14),
        step_s=STEP_S,
        mandate=read_mandate(json.dumps(MANDATE)),
        rounds_max=ROUNDS_MAX,
        spot_per_mwh=tuple(spot_prices_per_mwh(window.start, steps, STEP_S, seed)),
        assumptions=FloorAssumptions(**FLOOR_ASSUMPTIONS),  # type: ignore[arg-type]  # scenarios is whole
    )
    prepare_tender(services.database, draft, person=first, now=cloud.time.now())
    return approve_tender(
        services.database,
        services.store,
        tender_id,
        person=second,
        privacy=services.settings.privacy,
        currency=CURRENCY,
        zone=ZONE,
        now=cloud.time.now(),
    )


def play_rounds(
    cloud: StreetCloud,
    tender: Tender,
    suppliers: Mapping[str, Person],
    board: Person,
    *,
    rounds: int,
    say: Say,
) -> None:
    """Let every firm offer and the board answer by its plan, over HTTP, for some rounds."""
    floor = Decimal(tender.floor["rate_per_kwh"])
    kwh_per_home = Decimal(tender.energy_wh) / 1000 / tender.homes
    firms = [
        (
            firm,
            SimulatedSupplier.drawn(
                firm.name, seed=firm.seed, around_per_kwh=floor, rounds_max=ROUNDS_MAX
            ),
        )
        for firm in FIRMS
    ]
    for round_number in range(1, rounds + 1):
        for firm, simulated in firms:
            offered = _offer(cloud, tender, firm, simulated, suppliers[firm.name], kwh_per_home)
            if offered is None:
                continue
            said = f"  round {round_number}: {firm.name} offers {_cents(offered)}"
            asked = None
            if round_number < rounds:
                asked = _answer(cloud, tender, firm.name, board)
            say(said + (f", we ask {_cents(asked)}" if asked else ""))


def accept_best(
    cloud: StreetCloud, tender: Tender, board: tuple[Person, Person]
) -> StoredOffer | None:
    """Two members of the board sign for the best newest offer that keeps the mandate."""
    with cloud.services.database.reading() as connection:
        offers = repository.offers_of(connection, tender.tender_id)
        newest = {offer.supplier: offer for offer in offers}
        talks = {name: talk_with(connection, tender, name) for name in newest}
    open_to_sign = [
        offer
        for offer in newest.values()
        if offer.mandate_kept
        and talks[offer.supplier].status is Status.OPEN
        and talks[offer.supplier].moves[-1].party == Party.SUPPLIER
    ]
    if not open_to_sign:
        return None
    best = max(open_to_sign, key=lambda offer: offer.saving_minor)
    for person in board:
        with cloud.browser_of(person) as browser:
            _require(
                browser.post(
                    f"/board/{tender.tender_id}/accept", data={"offer_number": best.offer_number}
                ),
                "signing for an offer",
            )
    return best


def _asked(board: tuple[Person, Person], window: Window, *, may_be_coarser: bool) -> Asked:
    first, second = board
    return Asked(
        purpose=Purpose.GROUP_TARIFF,
        quantity=Quantity.IMPORT_WH,
        start=window.start,
        end=window.end,
        step_s=STEP_S,
        audience=Audience.OUTSIDE,
        recipient="supplier",
        timezone=ZONE,
        asked_by=first.person_id,
        approved_by=(first.person_id, second.person_id),
        may_be_coarser=may_be_coarser,
    )


def _offer(
    cloud: StreetCloud,
    tender: Tender,
    firm: Firm,
    simulated: SimulatedSupplier,
    person: Person,
    kwh_per_home: Decimal,
) -> Decimal | None:
    """One firm's next offer through the supplier's door; None when it is not its turn."""
    with cloud.services.database.reading() as connection:
        talk = talk_with(connection, tender, firm.name)
    if talk.status is not Status.OPEN or (talk.moves and talk.moves[-1].party == Party.SUPPLIER):
        return None
    reply = simulated.reply(talk.round + 1, talk.our_prices[-1] if talk.our_prices else None)
    offer = offer_of(firm, reply.price_per_kwh, kwh_per_home)
    with cloud.browser_of(person) as browser:
        answer = _require(
            browser.post(
                f"/api/v1/tenders/{tender.tender_id}/offers",
                params={"final": str(reply.final).lower()},
                content=json.dumps(offer),
                headers={"Content-Type": "application/json"},
            ),
            f"{firm.name}'s offer",
        )
    return Decimal(answer.json()["price_per_kwh"])


def _answer(cloud: StreetCloud, tender: Tender, supplier: str, board: Person) -> Decimal | None:
    """The board's answer by its plan; None when the plan would accept or walk away."""
    with cloud.services.database.reading() as connection:
        advice = advise(talk_with(connection, tender, supplier))
    if advice.advice is not Advice.COUNTER:
        return None
    cents = advice.price_per_kwh * 100
    with cloud.browser_of(board) as browser:
        _require(
            browser.post(
                f"/board/{tender.tender_id}/counter",
                data={"supplier": supplier, "price_cents": str(cents)},
            ),
            "a counter-offer",
        )
    return advice.price_per_kwh


def _require(answer: httpx.Response, what: str) -> httpx.Response:
    if answer.status_code >= 400:
        raise DemoFault(f"{what} was answered with {answer.status_code}: {answer.text[:400]}")
    return answer


def _cents(price_per_kwh: Decimal) -> str:
    return f"{price_per_kwh * 100:.2f} ct"
