"""Batches: sealed once, sent as the same bytes until answered, settled in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec

from gateway.outbox import ledger
from gateway.outbox.consents import waiting_rows
from gateway.outbox.rows import (
    ERASED,
    WaitingRow,
    at_seconds,
    from_seconds,
    gap_over,
    parts_of,
    quality_letter,
    rows_of,
    stream_key,
)
from gateway.wire import codec
from gateway.wire.batch import PARTS_MAX, Batch, BatchAnswer, GapReason, GapRecord, Part, PartAnswer
from gateway.wire.errors import MalformedMessage
from gateway.wire.reading import Purpose, StreamKey

GAPS_MAX = 500
_PAYLOAD_BYTES_MAX = codec.PAYLOAD_BYTES_MAX // 4
"""Far below what the contract takes, so that an escaped character more never matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBatch:
    """A batch as it will be sent, again and again, until it is answered."""

    seq: int
    sealed_at: datetime
    sha256: str
    intervals: int
    payload: bytes


def seal_next(
    connection: sqlite3.Connection,
    *,
    key_id: str,
    now: datetime,
    purposes: Collection[Purpose],
    intervals_max: int,
) -> bool:
    """Seal the oldest waiting rows into a batch.

    Args:
        connection: The state, within a transaction.
        key_id: Key id of this gateway.
        now: When, aware UTC.
        purposes: Streams of which purposes may be sent now.
        intervals_max: Most intervals in one batch.

    Returns:
        Whether there was anything to seal.
    """
    marks = ", ".join("?" for _ in purposes)
    found = waiting_rows(
        connection,
        f"s.purpose IN ({marks}) ORDER BY w.id LIMIT ?",
        (*(str(purpose) for purpose in purposes), intervals_max),
    )
    gaps = connection.execute(
        "SELECT id, record FROM gap WHERE sealed_in IS NULL ORDER BY id LIMIT ?", (GAPS_MAX,)
    ).fetchall()
    if not found and not gaps:
        return False
    parts, heads, taken = _fitting(found, _heads(connection))
    batch = Batch(
        gateway=key_id,
        seq=ledger.next_batch_seq(connection),
        made_at=now,
        parts=tuple(parts),
        gaps=tuple(codec.decode(bytes(record), GapRecord) for _, record in gaps),
    )
    ledger.insert_sealed(connection, batch)
    connection.executemany(
        "UPDATE gap SET sealed_in = ? WHERE id = ?", ((batch.seq, row_id) for row_id, _ in gaps)
    )
    connection.executemany("DELETE FROM waiting WHERE id = ?", ((row_id,) for row_id in taken))
    for stream, (seq, head) in heads.items():
        connection.execute(
            "UPDATE stream SET seq = ?, head = ? WHERE id = ?",
            (seq, head, ledger.stream_id(connection, stream)),
        )
    return True


def next_sealed(
    connection: sqlite3.Connection, purposes: Collection[Purpose], *, after: int = 0
) -> SealedBatch | None:
    """The oldest sealed batch that holds nothing but the given purposes."""
    allowed = {str(purpose) for purpose in purposes}
    for seq, sealed_at_s, sha256, intervals, named, payload in connection.execute(
        "SELECT seq, sealed_at_s, sha256, intervals, purposes, payload FROM sealed"
        " WHERE seq > ? ORDER BY seq",
        (after,),
    ):
        if set(named.split()) <= allowed:
            return SealedBatch(
                seq=seq,
                sealed_at=from_seconds(sealed_at_s),
                sha256=sha256,
                intervals=intervals,
                payload=bytes(payload),
            )
    return None


def settle(connection: sqlite3.Connection, answer: BatchAnswer, *, now: datetime, day: str) -> bool:
    """Take in an answer: delete what arrived, keep what was refused where it blocks nothing.

    An answer to a batch that is not here any more is an old one, and changes nothing.

    Args:
        connection: The state, within a transaction.
        answer: The co-op's acknowledgement.
        now: When, aware UTC.
        day: The household's local date, for the log of what left.

    Raises:
        MalformedMessage: The answer is about other bytes than those sent, or does not say of each
            interval what became of it.
    """
    row = connection.execute(
        "SELECT payload, sha256 FROM sealed WHERE seq = ?", (answer.seq,)
    ).fetchone()
    if row is None:
        return False
    payload, sha256 = bytes(row[0]), row[1]
    if answer.sha256 != sha256:
        raise MalformedMessage(kind="BatchAnswer", problem="it acknowledges other bytes")
    batch = codec.decode(payload, Batch)
    answers = {
        (part.meter, part.quantity, part.purpose, part.epoch, part.seq): part
        for part in answer.parts
    }
    for part in batch.parts:
        key = (part.meter, part.quantity, part.purpose, part.epoch, part.seq)
        if key not in answers:
            raise MalformedMessage(
                kind="BatchAnswer", problem=f"part {part.seq} of {part.stream} has no answer"
            )
        _check_sum(part, answers[key])
        _settle_part(connection, part, answers[key], now=now, day=day, batch_seq=batch.seq)
    connection.execute("DELETE FROM sealed WHERE seq = ?", (batch.seq,))
    connection.execute("DELETE FROM gap WHERE sealed_in = ?", (batch.seq,))
    ledger.set_fact(connection, "last_message", payload)
    ledger.set_fact(connection, "last_sent_at", now.isoformat().encode())
    return True


def refuse_whole(connection: sqlite3.Connection, seq: int, *, reason: str, now: datetime) -> None:
    """Set a batch aside that the co-op will never take, so that the next can go."""
    row = connection.execute("SELECT payload FROM sealed WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return
    for part in codec.decode(bytes(row[0]), Batch).parts:
        rows = rows_of(part)
        for each in rows:
            _bury(connection, each, reason=reason, now=now)
        ledger.count(connection, part.stream, "refused", len(rows))
        ledger.begin_chain_anew(connection, part.stream)
    connection.execute("DELETE FROM sealed WHERE seq = ?", (seq,))
    connection.execute("DELETE FROM gap WHERE sealed_in = ?", (seq,))


def unpack(connection: sqlite3.Connection, seq: int) -> None:
    """Put the rows of a batch back among those that wait, to be sealed in smaller ones."""
    row = connection.execute("SELECT payload FROM sealed WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        return
    for part in codec.decode(bytes(row[0]), Batch).parts:
        for each in rows_of(part):
            ledger.insert_waiting(connection, each)
        ledger.begin_chain_anew(connection, part.stream)
    connection.execute("DELETE FROM sealed WHERE seq = ?", (seq,))
    connection.execute("UPDATE gap SET sealed_in = NULL WHERE sealed_in = ?", (seq,))


def erase_all(connection: sqlite3.Connection) -> int:
    """Erase everything that waits, with a gap record per stream; returns how many intervals."""
    for (seq,) in connection.execute("SELECT seq FROM sealed ORDER BY seq").fetchall():
        unpack(connection, seq)
    gone: dict[StreamKey, list[WaitingRow]] = {}
    for _, row in waiting_rows(connection):
        gone.setdefault(row.stream, []).append(row)
    connection.execute("DELETE FROM waiting")
    for stream, rows in gone.items():
        ledger.count(connection, stream, ERASED, len(rows))
        ledger.insert_gap(connection, gap_over(stream, rows, GapReason.CONSENT_WITHDRAWN))
    return sum(len(rows) for rows in gone.values())


def _heads(connection: sqlite3.Connection) -> dict[StreamKey, tuple[int, str]]:
    from_rows = connection.execute("SELECT meter, quantity, purpose, seq, head FROM stream")
    return {
        stream_key(meter, quantity, purpose): (seq, head)
        for meter, quantity, purpose, seq, head in from_rows
    }


def _fitting(
    found: list[tuple[int, WaitingRow]], heads: dict[StreamKey, tuple[int, str]]
) -> tuple[list[Part], dict[StreamKey, tuple[int, str]], list[int]]:
    """Take as many rows, oldest first, as one batch can hold."""
    amount = len(found)
    while True:
        taken = found[:amount]
        parts, after = parts_of((row for _, row in taken), heads)
        small = sum(len(msgspec.json.encode(part)) for part in parts) <= _PAYLOAD_BYTES_MAX
        if amount <= 1 or (small and len(parts) <= PARTS_MAX):
            return parts, after, [row_id for row_id, _ in taken]
        amount //= 2


def _check_sum(part: Part, answer: PartAnswer) -> None:
    """Refuse an answer that leaves open what became of an interval: it would be lost."""
    starts = {row.start for row in rows_of(part)}
    refused = {item.start for item in answer.refused}
    said = answer.accepted + answer.duplicate + len(refused)
    if min(answer.accepted, answer.duplicate) < 0 or not refused <= starts or said != len(starts):
        raise MalformedMessage(
            kind="BatchAnswer",
            problem=f"part {part.seq} of {part.stream} has {len(starts)} intervals, but the answer"
            f" is about {said}, or about others",
        )


def _settle_part(
    connection: sqlite3.Connection,
    part: Part,
    answer: PartAnswer,
    *,
    now: datetime,
    day: str,
    batch_seq: int,
) -> None:
    refused = {item.start: item.reason for item in answer.refused}
    rows = rows_of(part)
    arrived = [row for row in rows if row.start not in refused]
    for row in rows:
        if row.start in refused:
            _bury(connection, row, reason=refused[row.start], now=now)
    for what, intervals in (
        ("accepted", answer.accepted),
        ("duplicate", answer.duplicate),
        ("refused", len(rows) - len(arrived)),
    ):
        if intervals:
            ledger.count(connection, part.stream, what, intervals)
    if arrived:
        _log_departure(connection, part, arrived, day=day, batch_seq=batch_seq)


def _log_departure(
    connection: sqlite3.Connection,
    part: Part,
    rows: list[WaitingRow],
    *,
    day: str,
    batch_seq: int,
) -> None:
    connection.execute(
        "INSERT INTO departure (day, stream, permit, resolution, first_start_s, last_end_s,"
        " first_batch, last_batch, intervals) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET first_start_s = min(first_start_s, excluded.first_start_s),"
        " last_end_s = max(last_end_s, excluded.last_end_s), last_batch = excluded.last_batch,"
        " intervals = intervals + excluded.intervals",
        (
            day,
            ledger.stream_id(connection, part.stream),
            part.grant,
            part.resolution,
            min(at_seconds(row.start) for row in rows),
            max(at_seconds(row.end) for row in rows),
            batch_seq,
            batch_seq,
            len(rows),
        ),
    )


def _bury(connection: sqlite3.Connection, row: WaitingRow, *, reason: str, now: datetime) -> None:
    connection.execute(
        "INSERT INTO dead_letter (meter, quantity, purpose, permit, epoch, start_s, length_s,"
        " energy_wh, reason, refused_at_s, resolution, quality)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.stream.meter,
            row.stream.quantity,
            row.stream.purpose,
            row.permit.grant,
            row.epoch,
            at_seconds(row.start),
            at_seconds(row.end) - at_seconds(row.start),
            row.energy_wh,
            reason,
            at_seconds(now),
            str(row.permit.resolution),
            quality_letter(row.quality),
        ),
    )
    connection.execute(
        "DELETE FROM dead_letter WHERE id <= (SELECT max(id) FROM dead_letter) - 10000"
    )
