"""Tables of tenders, offers, and what each offer means for each home."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    update,
)

from cloud.database import UtcTime, metadata

OPEN, AGREED, WALKED_AWAY = "open", "agreed", "walked_away"

tenders = Table(
    "tenders",
    metadata,
    Column("tender_id", String(64), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("supply_from", UtcTime, nullable=False),
    Column("window_start", UtcTime, nullable=False),
    Column("window_end", UtcTime, nullable=False),
    Column("closes_at", UtcTime, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("mandate_text", Text, nullable=False),
    Column("floor_text", Text, nullable=False),
    Column("range_text", Text, nullable=False),
    Column("load_text", Text, nullable=False),
    Column("rounds_max", Integer, nullable=False),
    Column("homes", Integer, nullable=False),
    Column("old_minor", BigInteger, nullable=False),
    Column("energy_wh", BigInteger, nullable=False),
    Column("agreed_offer", Integer),
    Column("opened_at", UtcTime, nullable=False),
)

tender_homes = Table(
    "tender_homes",
    metadata,
    Column("tender_id", ForeignKey("tenders.tender_id"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("old_minor", BigInteger, nullable=False),
)

tender_talks = Table(
    "tender_talks",
    metadata,
    Column("tender_id", ForeignKey("tenders.tender_id"), primary_key=True),
    Column("supplier", String(64), primary_key=True),
    Column("negotiation_text", Text, nullable=False),
)

tender_offers = Table(
    "tender_offers",
    metadata,
    Column("offer_number", Integer, primary_key=True, autoincrement=True),
    Column("tender_id", ForeignKey("tenders.tender_id"), nullable=False, index=True),
    Column("supplier", String(64), nullable=False),
    Column("round", Integer, nullable=False),
    Column("offer_text", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("price_per_kwh", String(30), nullable=False),
    Column("new_minor", BigInteger, nullable=False),
    Column("saving_minor", BigInteger, nullable=False),
    Column("median_saving_minor", BigInteger, nullable=False),
    Column("winners", Integer, nullable=False),
    Column("losers", Integer, nullable=False),
    Column("homes_over_limit", Integer, nullable=False),
    Column("homes_allowed", Integer, nullable=False),
    Column("mandate_kept", Boolean, nullable=False),
    Column("broken_text", Text, nullable=False),
    Column("histogram_text", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    UniqueConstraint("tender_id", "supplier", "round", name="uq_tender_offers_tender_id"),
)

offer_outcomes = Table(
    "offer_outcomes",
    metadata,
    Column("offer_number", ForeignKey("tender_offers.offer_number"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("new_minor", BigInteger, nullable=False),
)

acceptances = Table(
    "acceptances",
    metadata,
    Column("offer_number", ForeignKey("tender_offers.offer_number"), primary_key=True),
    Column("person_id", ForeignKey("people.person_id"), primary_key=True),
    Column("signed_at", UtcTime, nullable=False),
)

tender_log = Table(
    "tender_log",
    metadata,
    Column("entry_number", Integer, primary_key=True, autoincrement=True),
    Column("tender_id", ForeignKey("tenders.tender_id"), nullable=False, index=True),
    Column("ours", Boolean, nullable=False),
    Column("text", String(500), nullable=False),
    Column("at", UtcTime, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tender:
    """A tender for the group's supply.

    Args:
        tender_id: Its name in addresses.
        title: As people call it.
        state: `open`, `agreed` or `walked_away`.
        supply_from: When supply begins.
        window_start: Start of the real use that offers are replayed on.
        window_end: End of it.
        closes_at: Offers after it are refused.
        currency: ISO 4217 code.
        mandate: What the members allow, as JSON values.
        floor: The estimated supplier floor as JSON values; for the board only.
        price_range: Walk-away and target as JSON values; for the board only.
        load: The released typical day, for the page and the pack.
        rounds_max: Most rounds with one supplier.
        homes: How many homes are in it.
        old_minor: What they pay today over the window [minor units].
        energy_wh: What they bought over the window [Wh].
        agreed_offer: Number of the accepted offer.
        opened_at: When it was opened.
    """

    tender_id: str
    title: str
    state: str
    supply_from: datetime
    window_start: datetime
    window_end: datetime
    closes_at: datetime
    currency: str
    mandate: dict[str, Any]
    floor: dict[str, Any]
    price_range: dict[str, str]
    load: dict[str, Any]
    rounds_max: int
    homes: int
    old_minor: int
    energy_wh: int
    agreed_offer: int | None
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer with what it means for the group.

    Args:
        offer_number: Its number.
        tender_id: For which tender.
        supplier: Who offers.
        round: In which round, from 1.
        offer_text: As sent, JSON.
        sha256: Hash of the text.
        price_per_kwh: All-in average for this group [currency/kWh].
        new_minor: The group's bill [minor units].
        saving_minor: What the group saves [minor units].
        median_saving_minor: The middle home's saving [minor units].
        winners: Homes that pay less.
        losers: Homes that pay more.
        homes_over_limit: Homes that pay over the mandate's limit more.
        homes_allowed: How many may.
        mandate_kept: Whether every clause is kept.
        broken: Broken clauses in words.
        edges_minor: Histogram edges of savings [minor units].
        counts: Homes per bar.
        received_at: When it came.
    """

    offer_number: int
    tender_id: str
    supplier: str
    round: int
    offer_text: str
    sha256: str
    price_per_kwh: str
    new_minor: int
    saving_minor: int
    median_saving_minor: int
    winners: int
    losers: int
    homes_over_limit: int
    homes_allowed: int
    mandate_kept: bool
    broken: tuple[str, ...]
    edges_minor: tuple[int, ...]
    counts: tuple[int, ...]
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of a tender's own log."""

    ours: bool
    text: str
    at: datetime


def insert_tender(connection: Connection, tender: Tender, old_minor: dict[str, int]) -> None:
    """Add a tender with its homes and what each pays today."""
    connection.execute(
        tenders.insert().values(
            tender_id=tender.tender_id,
            title=tender.title,
            state=tender.state,
            supply_from=tender.supply_from,
            window_start=tender.window_start,
            window_end=tender.window_end,
            closes_at=tender.closes_at,
            currency=tender.currency,
            mandate_text=json.dumps(tender.mandate),
            floor_text=json.dumps(tender.floor),
            range_text=json.dumps(tender.price_range),
            load_text=json.dumps(tender.load),
            rounds_max=tender.rounds_max,
            homes=tender.homes,
            old_minor=tender.old_minor,
            energy_wh=tender.energy_wh,
            opened_at=tender.opened_at,
        )
    )
    connection.execute(
        tender_homes.insert(),
        [
            {"tender_id": tender.tender_id, "household": home, "old_minor": minor}
            for home, minor in old_minor.items()
        ],
    )


def tender_row(connection: Connection, tender_id: str) -> Tender | None:
    """Find a tender."""
    row = connection.execute(select(tenders).where(tenders.c.tender_id == tender_id)).one_or_none()
    return None if row is None else _tender(row)


def all_tenders(connection: Connection) -> list[Tender]:
    """All tenders, newest first."""
    return [
        _tender(row)
        for row in connection.execute(select(tenders).order_by(tenders.c.opened_at.desc()))
    ]


def close_tender(
    connection: Connection, tender_id: str, state: str, agreed_offer: int | None
) -> None:
    """End a tender."""
    connection.execute(
        update(tenders)
        .where(tenders.c.tender_id == tender_id)
        .values(state=state, agreed_offer=agreed_offer)
    )


def homes_of(connection: Connection, tender_id: str) -> dict[str, int]:
    """Homes of a tender and what each pays today over the window [minor units]."""
    rows = connection.execute(
        select(tender_homes)
        .where(tender_homes.c.tender_id == tender_id)
        .order_by(tender_homes.c.household)
    )
    return {row.household: row.old_minor for row in rows}


def counted_since(connection: Connection, household: str) -> datetime | None:
    """When the first tender that counts a home and was not given up was opened."""
    first: datetime | None = connection.scalar(
        select(func.min(tenders.c.opened_at))
        .join(tender_homes, tender_homes.c.tender_id == tenders.c.tender_id)
        .where(tender_homes.c.household == household, tenders.c.state != WALKED_AWAY)
    )
    return first


def talk_text(connection: Connection, tender_id: str, supplier: str) -> str | None:
    """The negotiation with a supplier as JSON text."""
    return connection.scalar(
        select(tender_talks.c.negotiation_text).where(
            tender_talks.c.tender_id == tender_id, tender_talks.c.supplier == supplier
        )
    )


def save_talk(connection: Connection, tender_id: str, supplier: str, text: str) -> None:
    """Keep the negotiation with a supplier as it stands."""
    known = talk_text(connection, tender_id, supplier) is not None
    if known:
        connection.execute(
            update(tender_talks)
            .where(tender_talks.c.tender_id == tender_id, tender_talks.c.supplier == supplier)
            .values(negotiation_text=text)
        )
        return
    connection.execute(
        tender_talks.insert().values(tender_id=tender_id, supplier=supplier, negotiation_text=text)
    )


def insert_offer(connection: Connection, offer: StoredOffer, new_minor_of: dict[str, int]) -> int:
    """Add an offer with each home's bill under it; returns its number."""
    number = connection.execute(
        tender_offers.insert()
        .values(
            tender_id=offer.tender_id,
            supplier=offer.supplier,
            round=offer.round,
            offer_text=offer.offer_text,
            sha256=offer.sha256,
            price_per_kwh=offer.price_per_kwh,
            new_minor=offer.new_minor,
            saving_minor=offer.saving_minor,
            median_saving_minor=offer.median_saving_minor,
            winners=offer.winners,
            losers=offer.losers,
            homes_over_limit=offer.homes_over_limit,
            homes_allowed=offer.homes_allowed,
            mandate_kept=offer.mandate_kept,
            broken_text=json.dumps(offer.broken),
            histogram_text=json.dumps({"edges": offer.edges_minor, "counts": offer.counts}),
            received_at=offer.received_at,
        )
        .returning(tender_offers.c.offer_number)
    ).scalar_one()
    connection.execute(
        offer_outcomes.insert(),
        [
            {"offer_number": number, "household": home, "new_minor": minor}
            for home, minor in new_minor_of.items()
        ],
    )
    return int(number)


def offers_of(
    connection: Connection, tender_id: str, *, supplier: str | None = None
) -> list[StoredOffer]:
    """Offers of a tender in the order they came, of one supplier or of all."""
    query = select(tender_offers).where(tender_offers.c.tender_id == tender_id)
    if supplier is not None:
        query = query.where(tender_offers.c.supplier == supplier)
    return [_offer(row) for row in connection.execute(query.order_by(tender_offers.c.offer_number))]


def outcome_of_home(
    connection: Connection, offer_number: int, household: str
) -> tuple[int, int] | None:
    """What one home pays today and would pay under an offer [minor units]."""
    row = connection.execute(
        select(tender_homes.c.old_minor, offer_outcomes.c.new_minor)
        .join(tender_offers, tender_offers.c.tender_id == tender_homes.c.tender_id)
        .join(
            offer_outcomes,
            (offer_outcomes.c.offer_number == tender_offers.c.offer_number)
            & (offer_outcomes.c.household == tender_homes.c.household),
        )
        .where(
            tender_offers.c.offer_number == offer_number,
            tender_homes.c.household == household,
        )
    ).one_or_none()
    return None if row is None else (row.old_minor, row.new_minor)


def sign_acceptance(
    connection: Connection, offer_number: int, person_id: str, now: datetime
) -> None:
    """Note that a person of the board signed for an offer."""
    connection.execute(
        acceptances.insert().values(offer_number=offer_number, person_id=person_id, signed_at=now)
    )


def signers_of(connection: Connection, offer_number: int) -> list[str]:
    """Who signed for an offer, in order."""
    return list(
        connection.scalars(
            select(acceptances.c.person_id)
            .where(acceptances.c.offer_number == offer_number)
            .order_by(acceptances.c.signed_at)
        )
    )


def add_log_line(
    connection: Connection, tender_id: str, *, ours: bool, text: str, at: datetime
) -> None:
    """Add a line to the tender's own log."""
    connection.execute(
        tender_log.insert().values(tender_id=tender_id, ours=ours, text=text[:500], at=at)
    )


def log_of(connection: Connection, tender_id: str) -> list[LogLine]:
    """The tender's own log, newest first."""
    rows = connection.execute(
        select(tender_log)
        .where(tender_log.c.tender_id == tender_id)
        .order_by(tender_log.c.entry_number.desc())
    )
    return [LogLine(ours=row.ours, text=row.text, at=row.at) for row in rows]


def count_offers(connection: Connection) -> int:
    """How many offers are on record."""
    return connection.scalar(select(func.count()).select_from(tender_offers)) or 0


def _tender(row: Row[Any]) -> Tender:
    return Tender(
        tender_id=row.tender_id,
        title=row.title,
        state=row.state,
        supply_from=row.supply_from,
        window_start=row.window_start,
        window_end=row.window_end,
        closes_at=row.closes_at,
        currency=row.currency,
        mandate=json.loads(row.mandate_text),
        floor=json.loads(row.floor_text),
        price_range=json.loads(row.range_text),
        load=json.loads(row.load_text),
        rounds_max=row.rounds_max,
        homes=row.homes,
        old_minor=row.old_minor,
        energy_wh=row.energy_wh,
        agreed_offer=row.agreed_offer,
        opened_at=row.opened_at,
    )


def _offer(row: Row[Any]) -> StoredOffer:
    histogram = json.loads(row.histogram_text)
    return StoredOffer(
        offer_number=row.offer_number,
        tender_id=row.tender_id,
        supplier=row.supplier,
        round=row.round,
        offer_text=row.offer_text,
        sha256=row.sha256,
        price_per_kwh=row.price_per_kwh,
        new_minor=row.new_minor,
        saving_minor=row.saving_minor,
        median_saving_minor=row.median_saving_minor,
        winners=row.winners,
        losers=row.losers,
        homes_over_limit=row.homes_over_limit,
        homes_allowed=row.homes_allowed,
        mandate_kept=row.mandate_kept,
        broken=tuple(json.loads(row.broken_text)),
        edges_minor=tuple(histogram["edges"]),
        counts=tuple(histogram["counts"]),
        received_at=row.received_at,
    )
