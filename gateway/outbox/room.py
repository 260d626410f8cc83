"""When room runs out: old intervals are made coarser first, and only then dropped, with a record.

Coarser is always allowed by a consent, and keeps the energy to the Wh. A drop is never silent: a
gap record leaves with the next batch and the household sees it.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.outbox import ledger
from gateway.outbox.coarser import STEPS, merges
from gateway.outbox.consents import waiting_rows
from gateway.outbox.rows import ERASED, MERGED, WaitingRow, gap_over
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.batch import GapReason
from gateway.wire.reading import Resolution, StreamKey

ROWS_AT_ONCE = 20_000


def make_room(
    store: SqliteOutbox, *, intervals_max: int, zone: ZoneInfo, now: datetime
) -> tuple[int, int]:
    """Bring the number of waiting intervals below its limit, if it is above.

    Args:
        store: The gateway's state.
        intervals_max: Most intervals that may wait.
        zone: The household's time zone.
        now: When, aware UTC.

    Returns:
        How many intervals were merged into coarser ones, and how many were dropped.
    """
    with store.reading() as connection:
        surplus = _waiting(connection) - intervals_max
    if surplus <= 0:
        return 0, 0
    wanted = surplus + intervals_max // 20
    merged = dropped = 0
    for step in STEPS:
        seen: int | None = 0
        while seen is not None and merged < wanted:
            with store.transaction() as connection:
                freed, seen = _coarsen(connection, step, zone, wanted=wanted - merged, after=seen)
            merged += freed
    if merged < surplus:
        with store.transaction() as connection:
            dropped = _drop(connection, surplus - merged)
    said = f"room ran out: {merged} intervals were merged into coarser ones, {dropped} dropped"
    store.note(now, "overflow", said)
    return merged, dropped


def _coarsen(
    connection: sqlite3.Connection, step: Resolution, zone: ZoneInfo, *, wanted: int, after: int
) -> tuple[int, int | None]:
    """Merge among the next rows; how many fewer there are, and how far it looked, if not all."""
    finer = tuple(str(other) for other in Resolution if other.is_finer_than(step))
    marks = ", ".join("?" for _ in finer)
    found = waiting_rows(
        connection,
        f"w.id > ? AND p.resolution IN ({marks}) ORDER BY w.id LIMIT ?",
        (after, *finer, ROWS_AT_ONCE),
    )
    ids = {(row.stream, row.permit, row.epoch, row.start): row_id for row_id, row in found}

    freed = 0
    for merged, group in merges([row for _, row in found], step, zone):
        for row in group:
            row_id = ids[row.stream, row.permit, row.epoch, row.start]
            connection.execute("DELETE FROM waiting WHERE id = ?", (row_id,))
        ledger.insert_waiting(connection, merged)
        freed += len(group) - 1
        ledger.count(connection, merged.stream, MERGED, len(group) - 1)
        if freed >= wanted:
            break
    return freed, found[-1][0] if len(found) == ROWS_AT_ONCE else None


def _drop(connection: sqlite3.Connection, amount: int) -> int:
    gone: dict[StreamKey, list[WaitingRow]] = {}
    for row_id, row in waiting_rows(connection, "1 ORDER BY w.start_s LIMIT ?", (amount,)):
        connection.execute("DELETE FROM waiting WHERE id = ?", (row_id,))
        gone.setdefault(row.stream, []).append(row)
    for stream, rows in gone.items():
        ledger.count(connection, stream, ERASED, len(rows))
        ledger.insert_gap(connection, gap_over(stream, rows, GapReason.OVERFLOW))
    return sum(len(rows) for rows in gone.values())


def _waiting(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM waiting").fetchone()[0])
