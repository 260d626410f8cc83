"""Opening a tender, taking offers, answering them, and accepting one with two signatures.

What takes long (replaying an offer on every home's real use) runs without a transaction: each use
case reads what it needs, computes, and writes in one short transaction that checks again that
nothing has moved meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from cloud.database import Database
from cloud.errors import BadInput, FieldFault, NotAllowed, NotFound, StateConflict
from cloud.members.roles import Person, Role
from cloud.negotiations import repository
from cloud.negotiations.pricing import (
    TenderPlan,
    cents,
    evaluate,
    limits_of,
    plain_values,
    profiles_of,
    read_offer,
)
from cloud.negotiations.repository import AGREED, OPEN, WALKED_AWAY, StoredOffer, Tender
from cloud.readings.ports import ReadingStore
from cloud.savings import usecases as savings
from cloud.transparency.usecases import record
from tariff_bargainer.bargaining.counter_offer import (
    BargainingRange,
    ConcessionPlan,
    Negotiation,
    Party,
    Status,
    accept_offer,
    advise,
    receive_offer,
    send_counter_offer,
)
from tariff_bargainer.bargaining.negotiation_file import negotiation_text, parse_negotiation
from tariff_bargainer.bargaining.offers import OfferEvaluation, price_homes
from tariff_bargainer.errors import BargainerError, NegotiationFault
from tariff_bargainer.tariffs.tariff_file import FORMAT as TARIFF_FORMAT

SIGNATURES_NEEDED = 2


def open_tender(
    database: Database,
    store: ReadingStore,
    plan: TenderPlan,
    *,
    currency: str,
    zone: str,
    now: datetime,
) -> Tender:
    """Price what every home pays today, estimate the supplier's floor, and open the tender.

    Raises:
        StateConflict: A home's readings have gaps, or a home has no old tariff.
    """
    homes = profiles_of(store, plan)
    with database.reading() as connection:
        old = {
            home: savings.tariff_of(connection, home, savings.OLD, plan.supply_from)
            for home in homes
        }
    try:
        old_minor = price_homes(homes, old)
        floor, limits = limits_of(homes, old_minor, plan, currency=currency, zone=zone)
    except BargainerError as fault:
        raise StateConflict(f"the tender cannot be opened: {fault}") from fault
    tender = Tender(
        tender_id=plan.tender_id,
        title=plan.title,
        state=OPEN,
        supply_from=plan.supply_from,
        window_start=plan.window_start,
        window_end=plan.window_end,
        closes_at=plan.closes_at,
        currency=currency,
        mandate=plain_values(asdict(plan.mandate)) | {"step_s": plan.step_s},
        floor=floor,
        price_range={key: str(value) for key, value in asdict(limits).items()},
        load=dict(plan.load),
        rounds_max=plan.rounds_max,
        homes=len(homes),
        old_minor=sum(old_minor.values()),
        energy_wh=int(sum(profile.import_wh.sum() for profile in homes.values())),
        agreed_offer=None,
        opened_at=now,
    )
    with database.transaction() as connection:
        if repository.tender_row(connection, plan.tender_id) is not None:
            raise StateConflict(f"a tender {plan.tender_id} exists already")
        repository.insert_tender(connection, tender, old_minor)
        repository.add_log_line(
            connection,
            plan.tender_id,
            ours=True,
            text=f"Tender opened on the released sum of {len(homes)} homes",
            at=now,
        )
        record(
            connection,
            kind="tender.opened",
            facts={"homes": len(homes), "tender": plan.tender_id},
            at=now,
        )
    return tender


def submit_offer(
    database: Database,
    store: ReadingStore,
    *,
    tender_id: str,
    text: str,
    person: Person,
    now: datetime,
    final: bool = False,
) -> StoredOffer:
    """Take a supplier's offer, replay it on every home's real use, and keep both.

    Args:
        database: Where the tender is.
        store: Where the readings are.
        tender_id: Which tender.
        text: The offer as JSON text in the documented form.
        person: Who sends it; must act for the supplier it names.
        now: The clock.
        final: Whether the supplier calls it its last word.

    Raises:
        BadInput: The offer breaks the form; the fault names key and remedy.
        NotAllowed: The person does not act for this supplier.
        StateConflict: The tender is closed, or it is not this supplier's turn.
    """
    offer = read_offer(text)
    if not person.has(Role.SUPPLIER) or person.supplier != offer.supplier:
        raise NotAllowed("an offer is sent by somebody who acts for the supplier it names")
    with database.reading() as connection:
        tender = _open_tender_row(connection, tender_id, now)
        old_minor = repository.homes_of(connection, tender_id)
        known = _sent_before(connection, tender, offer.supplier, text)
    if known is not None:
        return known
    if offer.tariff.currency != tender.currency:
        raise BadInput(
            f"the offer is in {offer.tariff.currency}, the tender in {tender.currency}",
            faults=(FieldFault(pointer="/tariff/currency", problem="use the tender's currency"),),
        )
    evaluation = evaluate(store, tender, offer, old_minor)
    with database.transaction() as connection:
        tender = _open_tender_row(connection, tender_id, now)
        talk = _talk(connection, tender, offer.supplier)
        try:
            talk = receive_offer(talk, evaluation.price_per_kwh, final=final)
        except NegotiationFault as fault:
            raise StateConflict(str(fault)) from fault
        repository.save_talk(connection, tender_id, offer.supplier, negotiation_text(talk))
        draft = _stored(tender_id, talk.round, text, evaluation, now)
        number = repository.insert_offer(
            connection, draft, {home.home: home.new_minor for home in evaluation.homes}
        )
        repository.add_log_line(
            connection,
            tender_id,
            ours=False,
            text=f"{offer.supplier} offers {cents(draft.price_per_kwh)}, "
            f"{offer.tariff.name}, {offer.term_months} months",
            at=now,
        )
        record(
            connection,
            kind="offer.received",
            facts={"offer": draft.sha256, "round": talk.round, "tender": tender_id},
            at=now,
        )
    return replace(draft, offer_number=number)


def answer_offer(
    database: Database,
    *,
    tender_id: str,
    supplier: str,
    price_per_kwh: Decimal,
    person: Person,
    now: datetime,
) -> Negotiation:
    """Send a counter-offer to a supplier.

    Raises:
        NotAllowed: The person is not of the board.
        StateConflict: It is not our turn, or the price makes no sense; says why.
    """
    _require_board(person)
    with database.transaction() as connection:
        tender = _open_tender_row(connection, tender_id, now)
        talk = _talk(connection, tender, supplier)
        try:
            advice = advise(talk)
            reason = advice.reason if advice.price_per_kwh == price_per_kwh else "by the board"
            talk = send_counter_offer(talk, price_per_kwh, reason=reason)
        except NegotiationFault as fault:
            raise StateConflict(str(fault)) from fault
        repository.save_talk(connection, tender_id, supplier, negotiation_text(talk))
        repository.add_log_line(
            connection,
            tender_id,
            ours=True,
            text=f"We ask {supplier} for {cents(str(price_per_kwh))}, sent by {person.name}",
            at=now,
        )
        record(
            connection,
            kind="counter_offer.sent",
            facts={"round": talk.round, "tender": tender_id},
            at=now,
        )
    return talk


def accept(
    database: Database, *, tender_id: str, offer_number: int, person: Person, now: datetime
) -> Tender:
    """Sign for an offer. With the second signature it is agreed, and each home's tariff is set.

    Raises:
        NotAllowed: The person is not of the board, or signed already.
        StateConflict: The tender is closed, the offer is not the supplier's newest, or it breaks
            the members' mandate or the walk-away.
    """
    _require_board(person)
    with database.transaction() as connection:
        tender = _open_tender_row(connection, tender_id, now)
        offer = _newest_offer(connection, tender, offer_number)
        if not offer.mandate_kept:
            raise StateConflict(
                "this offer breaks the members' mandate: " + "; ".join(offer.broken)
            )
        if person.person_id in repository.signers_of(connection, offer_number):
            raise NotAllowed("you signed already; a second member of the board has to")
        repository.sign_acceptance(connection, offer_number, person.person_id, now)
        signed = len(repository.signers_of(connection, offer_number))
        repository.add_log_line(
            connection,
            tender_id,
            ours=True,
            text=f"{person.name} signs for {offer.supplier} ({signed} of {SIGNATURES_NEEDED})",
            at=now,
        )
        if signed >= SIGNATURES_NEEDED:
            _agree(connection, tender, offer, now)
        closed = repository.tender_row(connection, tender_id)
    if closed is None:
        raise NotFound(f"tender {tender_id}")
    return closed


def give_up(database: Database, *, tender_id: str, person: Person, now: datetime) -> None:
    """Walk away from a tender.

    Raises:
        NotAllowed: The person is not of the board.
        StateConflict: The tender is closed.
    """
    _require_board(person)
    with database.transaction() as connection:
        _open_tender_row(connection, tender_id, now)
        repository.close_tender(connection, tender_id, WALKED_AWAY, None)
        repository.add_log_line(
            connection, tender_id, ours=True, text=f"{person.name} walks away", at=now
        )
        record(connection, kind="tender.walked_away", facts={"tender": tender_id}, at=now)


def talk_with(connection: Connection, tender: Tender, supplier: str) -> Negotiation:
    """The negotiation with a supplier as it stands; a fresh one if nobody has spoken."""
    return _talk(connection, tender, supplier)


def _talk(connection: Connection, tender: Tender, supplier: str) -> Negotiation:
    text = repository.talk_text(connection, tender.tender_id, supplier)
    if text is not None:
        return parse_negotiation(text)
    stored = tender.price_range
    limits = BargainingRange(
        currency=stored["currency"],
        **{
            key: Decimal(stored[key])
            for key in ("energy_kwh", "floor_low", "floor", "floor_high", "target", "walk_away")
        },
    )
    return Negotiation(
        supplier=supplier, range=limits, plan=ConcessionPlan(rounds_max=tender.rounds_max)
    )


def _stored(
    tender_id: str, round_number: int, text: str, evaluation: OfferEvaluation, now: datetime
) -> StoredOffer:
    check, histogram = evaluation.mandate, evaluation.histogram
    return StoredOffer(
        offer_number=0,
        tender_id=tender_id,
        supplier=evaluation.offer.supplier,
        round=round_number,
        offer_text=text,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        price_per_kwh=str(evaluation.price_per_kwh),
        new_minor=evaluation.new_minor,
        saving_minor=evaluation.saving_minor,
        median_saving_minor=evaluation.median_saving_minor,
        winners=evaluation.winners,
        losers=evaluation.losers,
        homes_over_limit=check.homes_over_limit,
        homes_allowed=check.homes_allowed,
        mandate_kept=check.kept,
        broken=check.broken,
        edges_minor=histogram.edges_minor,
        counts=histogram.counts,
        received_at=now,
    )


def _sent_before(
    connection: Connection, tender: Tender, supplier: str, text: str
) -> StoredOffer | None:
    """The supplier's newest offer, if it is these very bytes and not answered: a retry."""
    offers = repository.offers_of(connection, tender.tender_id, supplier=supplier)
    talk = _talk(connection, tender, supplier)
    if not offers or not talk.moves or talk.moves[-1].party != Party.SUPPLIER:
        return None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return offers[-1] if offers[-1].sha256 == digest else None


def _newest_offer(connection: Connection, tender: Tender, offer_number: int) -> StoredOffer:
    offers = repository.offers_of(connection, tender.tender_id)
    offer = next((one for one in offers if one.offer_number == offer_number), None)
    if offer is None:
        raise NotFound(f"offer {offer_number} of tender {tender.tender_id}")
    newest = [one for one in offers if one.supplier == offer.supplier][-1]
    if newest.offer_number != offer_number:
        raise StateConflict(f"{offer.supplier} has made a newer offer; look at that one")
    return offer


def _agree(connection: Connection, tender: Tender, offer: StoredOffer, now: datetime) -> None:
    talk = _talk(connection, tender, offer.supplier)
    try:
        if talk.status is Status.OPEN and talk.moves[-1].party == Party.COOP:
            raise StateConflict(
                f"our counter-offer to {offer.supplier} is on the table; wait for its answer"
            )
        agreed = accept_offer(talk)
    except NegotiationFault as fault:
        raise StateConflict(str(fault)) from fault
    repository.save_talk(connection, tender.tender_id, offer.supplier, negotiation_text(agreed))
    repository.close_tender(connection, tender.tender_id, AGREED, offer.offer_number)
    tariff_text = _tariff_text(offer)
    for home in repository.homes_of(connection, tender.tender_id):
        savings.set_tariff(
            connection,
            household=home,
            kind=savings.GROUP,
            text=tariff_text,
            form="json",
            valid_from=tender.supply_from,
            now=now,
        )
    repository.add_log_line(
        connection, tender.tender_id, ours=True, text=f"Agreed with {offer.supplier}", at=now
    )
    record(
        connection,
        kind="offer.accepted",
        facts={"offer": offer.sha256, "tender": tender.tender_id},
        at=now,
    )


def _tariff_text(offer: StoredOffer) -> str:
    """The tariff of an offer, alone, in the documented form."""
    table = json.loads(offer.offer_text, parse_float=str)
    return json.dumps({"format": TARIFF_FORMAT, "supplier": table["supplier"], **table["tariff"]})


def _open_tender_row(connection: Connection, tender_id: str, now: datetime) -> Tender:
    tender = repository.tender_row(connection, tender_id)
    if tender is None:
        raise NotFound(f"tender {tender_id}")
    if tender.state != OPEN:
        raise StateConflict(f"tender {tender_id} is closed")
    if now >= tender.closes_at:
        raise StateConflict(f"tender {tender_id} closed at {tender.closes_at:%Y-%m-%d %H:%M} UTC")
    return tender


def _require_board(person: Person) -> None:
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board negotiate")
