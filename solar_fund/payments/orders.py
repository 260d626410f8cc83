"""Payment orders and the batches they leave in.

Names and account numbers are personal data: they stand here, where they can be erased, and never
in the ledger. What became of an order is read from the ledger, not stored a second time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    MetaData,
    Row,
    String,
    Table,
    insert,
    inspect,
    select,
    update,
)

from solar_fund.money import Money

METADATA = MetaData()
ERASED = "erased"

BATCH = Table(
    "payment_batch",
    METADATA,
    Column("batch_id", String(35), primary_key=True),
    Column("batch_key", String(100), nullable=False, unique=True),
    Column("kind", String(10), nullable=False),
    Column("created_at", String(27), nullable=False),
    Column("created_by", String(100), nullable=False),
    Column("released_at", String(27)),
    Column("released_by", String(100)),
    Column("cancelled_at", String(27)),
    Column("cancelled_by", String(100)),
)
ORDER = Table(
    "payment_order",
    METADATA,
    Column("end_to_end_id", String(35), primary_key=True),
    Column("batch_id", String(35), ForeignKey("payment_batch.batch_id"), nullable=False),
    Column("member_id", String(64), nullable=False),
    Column("name", String(70), nullable=False),
    Column("iban", String(34), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("memo", String(140), nullable=False),
    Column("pending_seq", BigInteger, nullable=False),
    Column("mandate_id", String(35)),
    Column("mandate_signed_on", String(10)),
    Column("sequence_type", String(4)),
    Index("payment_order_batch", "batch_id"),
)


class BatchKind(StrEnum):
    """Which way the money goes."""

    PAYOUT = "payout"
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mandate:
    """A member's permission to collect by direct debit.

    Attributes:
        mandate_id: At most 35 characters.
        signed_on: Day of signature.
        sequence_type: FRST, RCUR, OOFF or FNAL.
    """

    mandate_id: str
    signed_on: date
    sequence_type: str = "OOFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentOrder:
    """One payment in a batch.

    Attributes:
        end_to_end_id: Travels through the bank and comes back on the statement.
        batch_id: The batch it is in, also the message id of its file.
        member_id: Whose money moves.
        name: Holder of the bank account.
        iban: Checked account number.
        money: Amount, positive.
        memo: What the member reads.
        pending_seq: Ledger record that reserves it.
        mandate: For collections.
    """

    end_to_end_id: str
    batch_id: str
    member_id: str
    name: str
    iban: str
    money: Money
    memo: str
    pending_seq: int
    mandate: Mandate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBatch:
    """Orders that one person proposed and another one releases."""

    batch_id: str
    batch_key: str
    kind: BatchKind
    created_at: str
    created_by: str
    released_at: str | None
    released_by: str | None
    cancelled_at: str | None
    orders: tuple[PaymentOrder, ...]

    @property
    def total(self) -> Money:
        """Sum of the orders, which share one currency."""
        first = self.orders[0].money
        return sum((order.money for order in self.orders[1:]), start=first)


def block_name(batch_id: str, number: int) -> str:
    """Name a block of payments of a file; a field of the standard holds 35 characters."""
    return f"{batch_id[:30]}-{number}"


def blocks_of(batch: OrderBatch) -> dict[str, list[PaymentOrder]]:
    """Return the blocks of a batch's file by name: collections are kept apart by sequence type."""
    by_type: dict[str, list[PaymentOrder]] = {}
    for order in batch.orders:
        sequence_type = "" if order.mandate is None else order.mandate.sequence_type
        by_type.setdefault(sequence_type, []).append(order)
    return {
        block_name(batch.batch_id, n): orders for n, orders in enumerate(by_type.values(), start=1)
    }


def create_payment_tables(connection: Connection) -> None:
    """Create what is missing, in the caller's transaction."""
    METADATA.create_all(connection)


def has_payment_tables(connection: Connection) -> bool:
    """Whether any batch was ever proposed in this database."""
    return inspect(connection).has_table(BATCH.name)


def insert_batch(connection: Connection, batch: OrderBatch) -> None:
    """Store a new batch with its orders."""
    connection.execute(
        insert(BATCH),
        {
            "batch_id": batch.batch_id,
            "batch_key": batch.batch_key,
            "kind": batch.kind.value,
            "created_at": batch.created_at,
            "created_by": batch.created_by,
        },
    )
    connection.execute(insert(ORDER), [_order_row(order) for order in batch.orders])


def find_batch(
    connection: Connection, *, batch_id: str | None = None, batch_key: str | None = None
) -> OrderBatch | None:
    """A batch by its id or by the key it was proposed with."""
    query = select(BATCH)
    if batch_id is not None:
        query = query.where(BATCH.c.batch_id == batch_id)
    if batch_key is not None:
        query = query.where(BATCH.c.batch_key == batch_key)
    row = connection.execute(query).first()
    return None if row is None else _batch_of(connection, row)


def all_batches(connection: Connection) -> list[OrderBatch]:
    """Every batch, oldest first."""
    rows = connection.execute(select(BATCH).order_by(BATCH.c.created_at, BATCH.c.batch_id)).all()
    return [_batch_of(connection, row) for row in rows]


def find_released_block(
    connection: Connection, name: str
) -> tuple[list[PaymentOrder], BatchKind] | None:
    """The orders of a released file or of one of its blocks, by the id the bank may book it by."""
    stem = name.rpartition("-")[0] or name
    rows = connection.execute(
        select(BATCH).where(
            (BATCH.c.batch_id == name) | BATCH.c.batch_id.startswith(stem, autoescape=True),
            BATCH.c.released_by.is_not(None),
        )
    ).all()
    for row in rows:
        batch = _batch_of(connection, row)
        named = {batch.batch_id: list(batch.orders), **blocks_of(batch)}
        if name in named:
            return named[name], batch.kind
    return None


def find_released_order(
    connection: Connection, end_to_end_id: str
) -> tuple[PaymentOrder, BatchKind] | None:
    """An order that left with a released batch, by the id that comes back from the bank."""
    row = connection.execute(
        select(ORDER, BATCH.c.kind)
        .join(BATCH, BATCH.c.batch_id == ORDER.c.batch_id)
        .where(ORDER.c.end_to_end_id == end_to_end_id, BATCH.c.released_by.is_not(None))
    ).first()
    return None if row is None else (_order_of(row), BatchKind(row.kind))


def mark_batch(connection: Connection, batch_id: str, marks: dict[str, str]) -> None:
    """Note who released or cancelled a batch, and when."""
    connection.execute(update(BATCH).where(BATCH.c.batch_id == batch_id).values(**marks))


def erase_member(connection: Connection, member_id: str, waiting: Collection[int]) -> int:
    """Blank a member's name and account number in orders that wait for nothing.

    Args:
        connection: In the caller's transaction.
        member_id: Who asked for erasure.
        waiting: Ledger records of reservations that are still open.

    Returns:
        How many orders were blanked.
    """
    return connection.execute(
        update(ORDER)
        .where(
            ORDER.c.member_id == member_id,
            ORDER.c.pending_seq.not_in(list(waiting)),
            ORDER.c.name != ERASED,
        )
        .values(name=ERASED, iban=ERASED)
    ).rowcount


def _batch_of(connection: Connection, row: Row[Any]) -> OrderBatch:
    orders = connection.execute(
        select(ORDER).where(ORDER.c.batch_id == row.batch_id).order_by(ORDER.c.end_to_end_id)
    )
    return OrderBatch(
        batch_id=row.batch_id,
        batch_key=row.batch_key,
        kind=BatchKind(row.kind),
        created_at=row.created_at,
        created_by=row.created_by,
        released_at=row.released_at,
        released_by=row.released_by,
        cancelled_at=row.cancelled_at,
        orders=tuple(_order_of(order) for order in orders),
    )


def _order_of(row: Row[Any]) -> PaymentOrder:
    mandate = None
    if row.mandate_id is not None:
        mandate = Mandate(
            mandate_id=row.mandate_id,
            signed_on=date.fromisoformat(row.mandate_signed_on),
            sequence_type=row.sequence_type,
        )
    return PaymentOrder(
        end_to_end_id=row.end_to_end_id,
        batch_id=row.batch_id,
        member_id=row.member_id,
        name=row.name,
        iban=row.iban,
        money=Money(row.amount_minor, row.currency),
        memo=row.memo,
        pending_seq=row.pending_seq,
        mandate=mandate,
    )


def _order_row(order: PaymentOrder) -> dict[str, object]:
    mandate = order.mandate
    return {
        "end_to_end_id": order.end_to_end_id,
        "batch_id": order.batch_id,
        "member_id": order.member_id,
        "name": order.name,
        "iban": order.iban,
        "amount_minor": order.money.amount_minor,
        "currency": order.money.currency,
        "memo": order.memo,
        "pending_seq": order.pending_seq,
        "mandate_id": None if mandate is None else mandate.mandate_id,
        "mandate_signed_on": None if mandate is None else mandate.signed_on.isoformat(),
        "sequence_type": None if mandate is None else mandate.sequence_type,
    }
