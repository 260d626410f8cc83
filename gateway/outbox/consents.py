"""Consent events and receipts on disk, and what a narrowing erases.

A narrowing is one transaction: the event is recorded, everything unsent that it no longer covers
is erased, sealed batches are sealed again without it, a gap and a signed receipt are queued.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gateway.consent.book import ConsentBook
from gateway.outbox import ledger
from gateway.outbox.rows import (
    ERASED,
    OpenStream,
    Permit,
    WaitingRow,
    from_seconds,
    gap_over,
    period_from_bytes,
    quality_from_letter,
    rows_of,
    stream_key,
)
from gateway.wire import codec
from gateway.wire.batch import Batch, GapReason, GapRecord, Part
from gateway.wire.consent import Authority, EventType, Grant, decode_event, why_withheld
from gateway.wire.reading import Resolution, StreamKey
from gateway.wire.session import KnownConsent, WithdrawalReceipt
from gateway.wire.signing import DOMAIN_CONSENT, DOMAIN_RECEIPT, SignedMessage

Signer = Callable[[str, bytes], SignedMessage]
"""Signs bytes for a domain with the gateway's own key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """A consent event as it lies on disk."""

    message: SignedMessage
    authority: Authority
    acknowledged: bool


def events(connection: sqlite3.Connection) -> list[StoredEvent]:
    """All events, each consent's in order."""
    rows = connection.execute(
        "SELECT payload, key, sig, authority, acknowledged FROM consent_event"
        " ORDER BY consent_id, version"
    )
    return [
        StoredEvent(
            message=SignedMessage(payload=payload, key=key, sig=sig),
            authority=Authority(authority),
            acknowledged=bool(acknowledged),
        )
        for payload, key, sig, authority, acknowledged in rows
    ]


def read_book(connection: sqlite3.Connection, household: str) -> ConsentBook:
    """Add up the stored events, which were checked before they were stored."""
    book = ConsentBook(household=household)
    for event in events(connection):
        book = book.with_event(event.message.payload.encode(), event.authority)
    return book


def record(
    connection: sqlite3.Connection,
    message: SignedMessage,
    *,
    authority: Authority,
    acknowledged: bool,
) -> None:
    """Store one event that was applied to the book."""
    event = decode_event(message.payload.encode())
    connection.execute(
        "INSERT INTO consent_event (consent_id, version, payload, key, sig, authority, acknowledged)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            event.consent_id,
            event.version,
            message.payload,
            message.key,
            message.sig,
            authority,
            acknowledged,
        ),
    )
    ledger.raise_generation(connection)


def forget_unacknowledged(connection: sqlite3.Connection, consent_id: str, version: int) -> None:
    """Drop own events from a version on that the co-op never acknowledged."""
    connection.execute(
        "DELETE FROM consent_event WHERE consent_id = ? AND version >= ? AND acknowledged = 0",
        (consent_id, version),
    )


def acknowledge(connection: sqlite3.Connection, accepted: Iterable[KnownConsent]) -> None:
    """Note which events the co-op has on record."""
    connection.executemany(
        "UPDATE consent_event SET acknowledged = 1"
        " WHERE consent_id = ? AND version <= ? AND acknowledged = 0",
        ((known.consent_id, known.version) for known in accepted),
    )


def acknowledge_receipts(connection: sqlite3.Connection, sent: Iterable[SignedMessage]) -> None:
    """Note that these receipts arrived."""
    connection.executemany(
        "UPDATE receipt SET acknowledged = 1 WHERE sig = ?", ((message.sig,) for message in sent)
    )


def receipts(connection: sqlite3.Connection, *, unacknowledged: bool) -> list[SignedMessage]:
    """Signed withdrawal receipts."""
    rows = connection.execute(
        "SELECT payload, key, sig FROM receipt WHERE acknowledged <= ? ORDER BY consent_id, version",
        (0 if unacknowledged else 1,),
    )
    return [SignedMessage(payload=payload, key=key, sig=sig) for payload, key, sig in rows]


def open_streams(connection: sqlite3.Connection) -> dict[StreamKey, OpenStream]:
    """How far each stream has come."""
    found: dict[StreamKey, OpenStream] = {}
    for meter, quantity, purpose, closed_to_s, stored in connection.execute(
        "SELECT meter, quantity, purpose, closed_to_s, period FROM stream"
    ):
        period, permit = period_from_bytes(stored) if stored else (None, None)
        found[stream_key(meter, quantity, purpose)] = OpenStream(
            closed_to=from_seconds(closed_to_s), permit=permit, period=period
        )
    return found


def waiting_rows(
    connection: sqlite3.Connection, where: str = "1", bindings: tuple[object, ...] = ()
) -> list[tuple[int, WaitingRow]]:
    """Rows that wait, with their ids, oldest first.

    Args:
        connection: The state.
        where: Our own condition over `w` (waiting), `s` (stream) and `p` (permit).
        bindings: Its values.
    """
    rows = connection.execute(
        "SELECT w.id, s.meter, s.quantity, s.purpose, p.consent_id, p.version, p.resolution,"  # noqa: S608  conditions are ours
        " w.epoch, w.start_s, w.length_s, w.energy_wh, w.quality"
        " FROM waiting w JOIN stream s ON s.id = w.stream JOIN permit p ON p.id = w.permit"
        f" WHERE {where}",
        bindings,
    )
    return [
        (
            row_id,
            WaitingRow(
                stream=stream_key(meter, quantity, purpose),
                permit=Permit(
                    consent_id=consent_id, version=version, resolution=Resolution(resolution)
                ),
                epoch=epoch,
                start=from_seconds(start_s),
                end=from_seconds(start_s + length_s),
                energy_wh=energy_wh,
                quality=quality_from_letter(letter),
            ),
        )
        for (
            row_id,
            meter,
            quantity,
            purpose,
            consent_id,
            version,
            resolution,
            epoch,
            start_s,
            length_s,
            energy_wh,
            letter,
        ) in rows
    ]


def erase_uncovered(
    connection: sqlite3.Connection, grant: Grant, *, now: datetime, sign: Signer
) -> int:
    """Erase all unsent intervals of a consent that its newest terms do not cover.

    Args:
        connection: The state, within a transaction.
        grant: The consent as it is now.
        now: When, aware UTC.
        sign: Signs the receipt.

    Returns:
        How many intervals were erased.
    """
    gone: dict[StreamKey, list[WaitingRow]] = {}

    def uncovered(row: WaitingRow) -> bool:
        return row.permit.consent_id == grant.consent_id and (
            why_withheld(
                grant,
                stream=row.stream,
                resolution=row.permit.resolution,
                start=row.start,
                end=row.end,
            )
            is not None
        )

    for row_id, row in waiting_rows(connection, "p.consent_id = ?", (grant.consent_id,)):
        if uncovered(row):
            gone.setdefault(row.stream, []).append(row)
            connection.execute("DELETE FROM waiting WHERE id = ?", (row_id,))
    for row in _unseal(connection, grant.consent_id, uncovered, now=now):
        gone.setdefault(row.stream, []).append(row)
    shrinks = grant.is_dead or grant.state is EventType.NARROWED
    if not gone and not shrinks:
        return 0
    _erase_traces(connection, grant)
    gaps = tuple(
        gap_over(stream, rows, GapReason.CONSENT_WITHDRAWN) for stream, rows in gone.items()
    )
    for stream, rows in gone.items():
        ledger.count(connection, stream, ERASED, len(rows))
    erased = sum(len(rows) for rows in gone.values())
    _queue_receipt(connection, grant, erased=erased, now=now, gaps=gaps, sign=sign)
    return erased


def _unseal(
    connection: sqlite3.Connection,
    consent_id: str,
    uncovered: Callable[[WaitingRow], bool],
    *,
    now: datetime,
) -> list[WaitingRow]:
    """Take parts that are no longer covered out of sealed batches.

    The other parts stay as they are, byte for byte, so that their chains hold whether or not the
    batch had already arrived; the batch around them gets a new number, because a number means
    one and the same batch for ever.
    """
    gone: list[WaitingRow] = []
    for seq, payload in connection.execute("SELECT seq, payload FROM sealed").fetchall():
        batch = codec.decode(payload, Batch)
        kept: list[Part] = []
        back: list[WaitingRow] = []
        for part in batch.parts:
            rows = rows_of(part) if part.grant.rpartition("@")[0] == consent_id else []
            dead = [row for row in rows if uncovered(row)]
            if not dead:
                kept.append(part)
                continue
            gone.extend(dead)
            ledger.begin_chain_anew(connection, part.stream)
            back.extend(row for row in rows if not uncovered(row))
        if len(kept) == len(batch.parts):
            continue
        connection.execute("DELETE FROM sealed WHERE seq = ?", (seq,))
        for row in back:
            ledger.insert_waiting(connection, row)
        if kept or batch.gaps:
            again = msgspec.structs.replace(
                batch, seq=ledger.next_batch_seq(connection), made_at=now, parts=tuple(kept)
            )
            ledger.insert_sealed(connection, again)
            connection.execute("UPDATE gap SET sealed_in = ? WHERE sealed_in = ?", (again.seq, seq))
    return gone


def _erase_traces(connection: sqlite3.Connection, grant: Grant) -> None:
    """Erase open periods, dead letters, the last message and hashes of a narrowed consent."""
    covered = set()
    if not grant.is_dead:
        covered = {
            (meter, quantity) for meter in grant.terms.meters for quantity in grant.terms.quantities
        }
    for row_id, meter, quantity, stored in connection.execute(
        "SELECT id, meter, quantity, period FROM stream WHERE period IS NOT NULL"
    ).fetchall():
        _, permit = period_from_bytes(stored)
        if permit.consent_id != grant.consent_id:
            continue
        finer = permit.resolution.is_finer_than(grant.terms.resolution)
        if (meter, quantity) not in covered or finer:
            connection.execute("UPDATE stream SET period = NULL WHERE id = ?", (row_id,))
    if grant.is_dead:
        # The hash of a part with few intervals would tell what was in it.
        connection.executemany(
            "UPDATE stream SET head = '' WHERE purpose = ? AND meter = ?",
            [(str(grant.terms.purpose), meter) for meter in grant.terms.meters],
        )
    connection.execute("DELETE FROM dead_letter WHERE permit LIKE ? || '@%'", (grant.consent_id,))
    connection.execute("DELETE FROM fact WHERE name = 'last_message'")


def erase_counters(connection: sqlite3.Connection, book: ConsentBook, now: datetime) -> int:
    """Erase the counter state of every quantity that no grant covers now; returns how many."""
    covered = {
        (key.meter, str(key.quantity))
        for key, grant in book.streams().items()
        if now < grant.terms.valid_to
    }
    gone = [
        (meter, quantity)
        for meter, quantity in connection.execute("SELECT meter, quantity FROM counter").fetchall()
        if (meter, quantity) not in covered
    ]
    connection.executemany("DELETE FROM counter WHERE meter = ? AND quantity = ?", gone)
    return len(gone)


def _queue_receipt(
    connection: sqlite3.Connection,
    grant: Grant,
    *,
    erased: int,
    now: datetime,
    gaps: tuple[GapRecord, ...],
    sign: Signer,
) -> None:
    receipt = WithdrawalReceipt(
        consent_id=grant.consent_id, version=grant.version, erased=erased, at=now, gaps=gaps
    )
    message = sign(DOMAIN_RECEIPT, codec.encode(receipt))
    connection.execute(
        "INSERT OR REPLACE INTO receipt (consent_id, version, payload, key, sig, acknowledged)"
        " VALUES (?, ?, ?, ?, ?, 0)",
        (grant.consent_id, grant.version, message.payload, message.key, message.sig),
    )


def sign_event(sign: Signer, payload: bytes) -> SignedMessage:
    """Sign a consent event with the gateway's own key."""
    return sign(DOMAIN_CONSENT, payload)
