"""Small writes that the outbox's transactions share: facts, tallies, streams, rows, batches."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import msgspec

from gateway.outbox.rows import Permit, WaitingRow, at_seconds, quality_letter
from gateway.wire import codec
from gateway.wire.batch import Batch, GapRecord
from gateway.wire.reading import StreamKey

NUMBERS_SKIPPED_MIN = 1_000


def fact(connection: sqlite3.Connection, name: str) -> bytes | None:
    """Read a named fact."""
    row = connection.execute("SELECT content FROM fact WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def set_fact(connection: sqlite3.Connection, name: str, content: bytes | None) -> None:
    """Write a named fact, or erase it."""
    if content is None:
        connection.execute("DELETE FROM fact WHERE name = ?", (name,))
        return
    connection.execute(
        "INSERT INTO fact (name, content) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET content = excluded.content",
        (name, content),
    )


def number(connection: sqlite3.Connection, name: str) -> int:
    """Read a named number; 0 if there is none."""
    return int(fact(connection, name) or b"0")


def next_number(connection: sqlite3.Connection, name: str) -> int:
    """Raise a named number by one and return it."""
    raised = number(connection, name) + 1
    set_fact(connection, name, str(raised).encode())
    return raised


def raise_generation(connection: sqlite3.Connection) -> None:
    """Mark that the book of consents changed, so that work decided by the old one is refused."""
    next_number(connection, "book_generation")


def generation(connection: sqlite3.Connection) -> int:
    """Number of changes to the book of consents."""
    return number(connection, "book_generation")


def next_batch_seq(connection: sqlite3.Connection) -> int:
    """Number for a new batch; never used twice."""
    return next_number(connection, "batch_seq")


def count(connection: sqlite3.Connection, stream: StreamKey, what: str, intervals: int) -> None:
    """Add to a tally of a stream."""
    count_for(connection, stream.meter, stream.quantity, stream.purpose, what, intervals)


def count_for(
    connection: sqlite3.Connection,
    meter: str,
    quantity: str,
    purpose: str,
    what: str,
    intervals: int,
) -> None:
    """Add to a tally."""
    connection.execute(
        "INSERT INTO tally (meter, quantity, purpose, what, intervals) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET intervals = intervals + excluded.intervals",
        (meter, quantity, purpose, what, intervals),
    )


def stream_id(connection: sqlite3.Connection, stream: StreamKey) -> int:
    """Row of a stream, made if it is new."""
    key = (stream.meter, stream.quantity, stream.purpose)
    found = connection.execute(
        "SELECT id FROM stream WHERE meter = ? AND quantity = ? AND purpose = ?", key
    ).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO stream (meter, quantity, purpose) VALUES (?, ?, ?) RETURNING id", key
        ).fetchone()
    return int(found[0])


def begin_chain_anew(connection: sqlite3.Connection, stream: StreamKey) -> None:
    """Let the next part of a stream cite none before it, because sealed ones will never arrive.

    Their numbers are not used again. Nor is their hash: with few intervals in a part, it would
    tell what was erased.
    """
    connection.execute("UPDATE stream SET head = '' WHERE id = ?", (stream_id(connection, stream),))


def skip_numbers(connection: sqlite3.Connection, name: str, taken: int) -> int:
    """Go well past a number that somebody used before us; returns the new last number.

    A state from an old copy does not know how far it had come. At least doubled each time, any
    number is passed after a few tries.
    """
    last = max(number(connection, name), taken + max(NUMBERS_SKIPPED_MIN, taken))
    set_fact(connection, name, str(last).encode())
    return last


def permit_id(connection: sqlite3.Connection, permit: Permit) -> int:
    """Row of a permit, made if it is new."""
    key = (permit.consent_id, permit.version, permit.resolution)
    found = connection.execute(
        "SELECT id FROM permit WHERE consent_id = ? AND version = ? AND resolution = ?", key
    ).fetchone()
    if found is None:
        found = connection.execute(
            "INSERT INTO permit (consent_id, version, resolution) VALUES (?, ?, ?) RETURNING id",
            key,
        ).fetchone()
    return int(found[0])


def insert_waiting(connection: sqlite3.Connection, row: WaitingRow) -> None:
    """Add one row to those that wait."""
    start_s = at_seconds(row.start)
    connection.execute(
        "INSERT INTO waiting (stream, permit, epoch, start_s, length_s, energy_wh, quality)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            stream_id(connection, row.stream),
            permit_id(connection, row.permit),
            row.epoch,
            start_s,
            at_seconds(row.end) - start_s,
            row.energy_wh,
            quality_letter(row.quality),
        ),
    )


def insert_sealed(connection: sqlite3.Connection, batch: Batch) -> bytes:
    """Keep a batch as the exact bytes that will be sent, and return them."""
    payload = codec.encode(batch)
    connection.execute(
        "INSERT INTO sealed (seq, sealed_at_s, sha256, intervals, purposes, payload)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            batch.seq,
            at_seconds(batch.made_at),
            codec.payload_hash(payload),
            sum(len(block.wh) for part in batch.parts for block in part.blocks),
            " ".join(sorted({part.purpose for part in batch.parts})),
            payload,
        ),
    )
    return payload


def insert_gap(connection: sqlite3.Connection, gap: GapRecord) -> None:
    """Queue a gap record for the next batch."""
    connection.execute("INSERT INTO gap (record) VALUES (?)", (msgspec.json.encode(gap),))


def note(connection: sqlite3.Connection, at: datetime, kind: str, said: str) -> None:
    """Write down something the household should see; the newest 500 are kept."""
    connection.execute(
        "INSERT INTO notable (at_s, kind, said) VALUES (?, ?, ?)", (at_seconds(at), kind, said)
    )
    connection.execute("DELETE FROM notable WHERE id <= (SELECT max(id) FROM notable) - 500")


def note_once(connection: sqlite3.Connection, at: datetime, kind: str, said: str) -> None:
    """Write down something, unless the newest of its kind says the same already."""
    newest = connection.execute(
        "SELECT said FROM notable WHERE kind = ? ORDER BY id DESC LIMIT 1", (kind,)
    ).fetchone()
    if newest != (said,):
        note(connection, at, kind, said)
