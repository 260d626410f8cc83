"""Tables of gateways and claim codes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    LargeBinary,
    Row,
    String,
    Table,
    delete,
    select,
    update,
)

from cloud.database import UtcTime, metadata

gateways = Table(
    "gateways",
    metadata,
    Column("gateway", String(32), primary_key=True),
    Column("public_key", LargeBinary(32), nullable=False),
    Column("household", ForeignKey("households.household"), nullable=False),
    Column("paired_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("replaced_by", String(32)),
    Column("counter_last", BigInteger, nullable=False, default=0),
    Column("seen_at", UtcTime),
    Column("software", String(200), nullable=False),
    Column("waiting", BigInteger, nullable=False, default=0),
    Column("checkpoint_size", BigInteger, nullable=False, default=0),
    Index("ix_gateways_household", "household"),
)

claims = Table(
    "gateway_claims",
    metadata,
    Column("code_hash", String(64), primary_key=True),
    Column("household", ForeignKey("households.household"), nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("used_by", String(32)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim code that is not too old.

    Args:
        code_hash: Which.
        household: Whose.
        used_by: Key id of the gateway that used it, if one did.
    """

    code_hash: str
    household: str
    used_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway bound to a home.

    Args:
        gateway: Its key id.
        public_key: Its raw key.
        household: Pseudonym of the home.
        paired_at: Since when.
        revoked_at: Since when its key no longer counts, if so.
        replaced_by: Key id that took over, after a rotation.
        counter_last: Highest counter of a signed request.
        seen_at: When it last synced.
        software: Name and version.
        waiting: Intervals in its outbox at the last sync.
        checkpoint_size: Size of the log it last verified.
    """

    gateway: str
    public_key: bytes
    household: str
    paired_at: datetime
    revoked_at: datetime | None
    replaced_by: str | None
    counter_last: int
    seen_at: datetime | None
    software: str
    waiting: int
    checkpoint_size: int


def insert_claim(
    connection: Connection,
    *,
    code_hash: str,
    household: str,
    made_at: datetime,
    expires_at: datetime,
) -> None:
    """Keep a claim code."""
    connection.execute(
        claims.insert().values(
            code_hash=code_hash, household=household, made_at=made_at, expires_at=expires_at
        )
    )


def find_claim(connection: Connection, code_hash: str, now: datetime) -> Claim | None:
    """Find a claim code; those that are too old are forgotten."""
    connection.execute(delete(claims).where(claims.c.expires_at <= now))
    row = connection.execute(select(claims).where(claims.c.code_hash == code_hash)).one_or_none()
    if row is None:
        return None
    return Claim(code_hash=row.code_hash, household=row.household, used_by=row.used_by)


def mark_claim_used(connection: Connection, code_hash: str, key_id: str) -> None:
    """Let a claim code count for this key only."""
    connection.execute(update(claims).where(claims.c.code_hash == code_hash).values(used_by=key_id))


def delete_claims_of(connection: Connection, household: str) -> None:
    """Let no open claim code of a home work any more."""
    connection.execute(delete(claims).where(claims.c.household == household))


def insert_gateway(connection: Connection, gateway: Gateway) -> None:
    """Bind a gateway."""
    connection.execute(
        gateways.insert().values(
            gateway=gateway.gateway,
            public_key=gateway.public_key,
            household=gateway.household,
            paired_at=gateway.paired_at,
            counter_last=gateway.counter_last,
            software=gateway.software,
            waiting=gateway.waiting,
            checkpoint_size=gateway.checkpoint_size,
        )
    )


def gateway_row(connection: Connection, key_id: str) -> Gateway | None:
    """Find a gateway by key id."""
    row = connection.execute(select(gateways).where(gateways.c.gateway == key_id)).one_or_none()
    return None if row is None else _gateway(row)


def gateways_of(connection: Connection, household: str) -> list[Gateway]:
    """Gateways of a home, oldest first."""
    rows = connection.execute(
        select(gateways)
        .where(gateways.c.household == household)
        .order_by(gateways.c.paired_at, gateways.c.gateway)
    )
    return [_gateway(row) for row in rows]


def all_gateways(connection: Connection) -> list[Gateway]:
    """Every gateway, oldest first."""
    rows = connection.execute(select(gateways).order_by(gateways.c.paired_at, gateways.c.gateway))
    return [_gateway(row) for row in rows]


def note_sync(
    connection: Connection,
    key_id: str,
    *,
    counter: int,
    seen_at: datetime,
    software: str,
    waiting: int,
    checkpoint_size: int,
) -> None:
    """Note what a gateway said at its sync."""
    connection.execute(
        update(gateways)
        .where(gateways.c.gateway == key_id)
        .values(
            counter_last=counter,
            seen_at=seen_at,
            software=software,
            waiting=waiting,
            checkpoint_size=checkpoint_size,
        )
    )


def mark_revoked(
    connection: Connection, key_id: str, *, now: datetime, replaced_by: str | None = None
) -> None:
    """Let a key count no more."""
    connection.execute(
        update(gateways)
        .where(gateways.c.gateway == key_id)
        .values(revoked_at=now, replaced_by=replaced_by)
    )


def forget_gateways(connection: Connection, household: str, now: datetime) -> int:
    """Let no key of a home count any more, and forget what its gateways said of themselves."""
    delete_claims_of(connection, household)
    connection.execute(
        update(gateways)
        .where(gateways.c.household == household, gateways.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return connection.execute(
        update(gateways)
        .where(gateways.c.household == household)
        .values(software="erased", waiting=0, seen_at=None)
    ).rowcount


def _gateway(row: Row[tuple[object, ...]]) -> Gateway:
    return Gateway(
        gateway=row.gateway,
        public_key=bytes(row.public_key),
        household=row.household,
        paired_at=row.paired_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
        counter_last=row.counter_last,
        seen_at=row.seen_at,
        software=row.software,
        waiting=row.waiting,
        checkpoint_size=row.checkpoint_size,
    )
