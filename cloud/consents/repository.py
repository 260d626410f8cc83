"""Tables of consent events, receipts of withdrawals, offers, and erasures that are due."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
)

from cloud.consents.offers import TEMPLATES, notice_hash
from cloud.database import UtcTime, metadata
from gateway.wire.consent import Authority
from gateway.wire.signing import SignedMessage

consent_events = Table(
    "consent_events",
    metadata,
    Column("event_no", Integer, primary_key=True, autoincrement=True),
    Column("household", ForeignKey("households.household"), nullable=False),
    Column("consent_id", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("payload", Text, nullable=False),
    Column("key", String(32), nullable=False),
    Column("sig", String(128), nullable=False),
    Column("authority", String(8), nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("log_index", BigInteger, nullable=False),
    Column("commitment", String(64), nullable=False),
    UniqueConstraint("household", "consent_id", "version"),
)

withdrawal_receipts = Table(
    "withdrawal_receipts",
    metadata,
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("consent_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("gateway", String(32), primary_key=True),
    Column("payload", Text, nullable=False),
    Column("sig", String(128), nullable=False),
    Column("received_at", UtcTime, nullable=False),
)

consent_offers = Table(
    "consent_offers",
    metadata,
    Column("offer_id", String(64), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("template", Text, nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Column("log_index", BigInteger, nullable=False),
)

consent_notices = Table(
    "consent_notices",
    metadata,
    Column("template_sha256", String(64), primary_key=True),
    Column("notice_sha256", String(64), nullable=False),
    Column("template", Text, nullable=False),
    Column("published_at", UtcTime, nullable=False),
    Index("ix_consent_notices_notice_sha256", "notice_sha256"),
)
"""Every offer that was ever on the table, because a home may say yes to one it got days ago."""

stream_erasures = Table(
    "stream_erasures",
    metadata,
    Column("erasure_no", Integer, primary_key=True, autoincrement=True),
    Column("household", ForeignKey("households.household"), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Index("ix_stream_erasures_asked_at", "asked_at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A consent event on record.

    Args:
        consent_id: Which consent.
        version: Which version.
        message: As signed.
        authority: Whose key signed it, found out when it arrived.
        received_at: When it came on record.
        log_index: Its entry in the transparency log.
        commitment: The commitment in that entry, hex.
    """

    consent_id: str
    version: int
    message: SignedMessage
    authority: Authority
    received_at: datetime
    log_index: int
    commitment: str

    @property
    def payload(self) -> bytes:
        """The signed bytes."""
        return self.message.payload.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffer:
    """An offer on the table.

    Args:
        offer_id: Becomes the consent id.
        place: Order on the page.
        template: JSON of an `OfferTemplate`.
        log_index: Entry of its publication in the transparency log.
    """

    offer_id: str
    place: int
    template: str
    log_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueErasure:
    """Streams of a purpose that must go."""

    erasure_no: int
    household: str
    purpose: str
    asked_at: datetime


def insert_event(connection: Connection, *, household: str, event: StoredEvent) -> None:
    """Add an event; nothing ever changes or deletes one."""
    connection.execute(
        consent_events.insert().values(
            household=household,
            consent_id=event.consent_id,
            version=event.version,
            payload=event.message.payload,
            key=event.message.key,
            sig=event.message.sig,
            authority=event.authority.value,
            received_at=event.received_at,
            log_index=event.log_index,
            commitment=event.commitment,
        )
    )


def events_of(
    connection: Connection, household: str, consent_id: str | None = None
) -> list[StoredEvent]:
    """Events of a home in the order they came, perhaps of one consent only."""
    query = (
        select(consent_events)
        .where(consent_events.c.household == household)
        .order_by(consent_events.c.event_no)
    )
    if consent_id is not None:
        query = query.where(consent_events.c.consent_id == consent_id)
    return [_event(row) for row in connection.execute(query)]


def count_events(connection: Connection) -> int:
    """How many events are on record in all."""
    return connection.scalar(select(func.count()).select_from(consent_events)) or 0


def insert_receipt(
    connection: Connection,
    *,
    household: str,
    consent_id: str,
    version: int,
    message: SignedMessage,
    received_at: datetime,
) -> None:
    """Keep a gateway's receipt of a withdrawal, once."""
    known = connection.scalar(
        select(withdrawal_receipts.c.version).where(
            withdrawal_receipts.c.household == household,
            withdrawal_receipts.c.consent_id == consent_id,
            withdrawal_receipts.c.version == version,
            withdrawal_receipts.c.gateway == message.key,
        )
    )
    if known is None:
        connection.execute(
            withdrawal_receipts.insert().values(
                household=household,
                consent_id=consent_id,
                version=version,
                gateway=message.key,
                payload=message.payload,
                sig=message.sig,
                received_at=received_at,
            )
        )


def receipts_of(connection: Connection, household: str, consent_id: str) -> list[SignedMessage]:
    """Receipts of the gateways of a home for one consent."""
    rows = connection.execute(
        select(withdrawal_receipts)
        .where(
            withdrawal_receipts.c.household == household,
            withdrawal_receipts.c.consent_id == consent_id,
        )
        .order_by(withdrawal_receipts.c.version)
    )
    return [SignedMessage(payload=row.payload, key=row.gateway, sig=row.sig) for row in rows]


def put_offer(connection: Connection, offer: StoredOffer, *, published_at: datetime) -> None:
    """Put an offer on the table, in place of an older one with its id, and keep it for ever."""
    delete_offer(connection, offer.offer_id)
    _keep_notice(connection, offer.template, published_at)
    connection.execute(
        consent_offers.insert().values(
            offer_id=offer.offer_id,
            place=offer.place,
            template=offer.template,
            published_at=published_at,
            log_index=offer.log_index,
        )
    )


def _keep_notice(connection: Connection, template: str, published_at: datetime) -> None:
    name = hashlib.sha256(template.encode()).hexdigest()
    known = select(consent_notices.c.template_sha256).where(
        consent_notices.c.template_sha256 == name
    )
    if connection.execute(known).first() is None:
        connection.execute(
            consent_notices.insert().values(
                template_sha256=name,
                notice_sha256=notice_hash(TEMPLATES.decode(template)),
                template=template,
                published_at=published_at,
            )
        )


def templates_of_notice(connection: Connection, notice_sha256: str) -> list[str]:
    """Every offer that was ever made with a text, newest first, as JSON of `OfferTemplate`."""
    rows = connection.execute(
        select(consent_notices.c.template)
        .where(consent_notices.c.notice_sha256 == notice_sha256)
        .order_by(consent_notices.c.published_at.desc())
    )
    return [row.template for row in rows]


def delete_offer(connection: Connection, offer_id: str) -> None:
    """Take an offer from the table; consents given under it stay as they are."""
    connection.execute(delete(consent_offers).where(consent_offers.c.offer_id == offer_id))


def all_offers(connection: Connection) -> list[StoredOffer]:
    """Offers in the order of the page."""
    rows = connection.execute(
        select(consent_offers).order_by(consent_offers.c.place, consent_offers.c.offer_id)
    )
    return [
        StoredOffer(
            offer_id=row.offer_id,
            place=row.place,
            template=row.template,
            log_index=row.log_index,
        )
        for row in rows
    ]


def insert_erasure(
    connection: Connection, *, household: str, purpose: str, asked_at: datetime
) -> None:
    """Note that streams must go."""
    connection.execute(
        stream_erasures.insert().values(household=household, purpose=purpose, asked_at=asked_at)
    )


def erasures_due(connection: Connection) -> list[DueErasure]:
    """Erasures that are not finished, oldest first."""
    rows = connection.execute(select(stream_erasures).order_by(stream_erasures.c.erasure_no))
    return [
        DueErasure(
            erasure_no=row.erasure_no,
            household=row.household,
            purpose=row.purpose,
            asked_at=row.asked_at,
        )
        for row in rows
    ]


def delete_erasure(connection: Connection, erasure_no: int) -> None:
    """An erasure is finished."""
    connection.execute(delete(stream_erasures).where(stream_erasures.c.erasure_no == erasure_no))


def _event(row: Row[tuple[object, ...]]) -> StoredEvent:
    return StoredEvent(
        consent_id=row.consent_id,
        version=row.version,
        message=SignedMessage(payload=row.payload, key=row.key, sig=row.sig),
        authority=Authority(row.authority),
        received_at=row.received_at,
        log_index=row.log_index,
        commitment=row.commitment,
    )
