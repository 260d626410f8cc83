"""When room runs out: old intervals are made coarser first, and only then dropped, with a record.

Coarser is always allowed by a consent, and keeps the energy to the Wh. A drop is never silent: a
gap record leaves with the next batch and the household sees it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from gateway.consent.coarsen import period_of, poorer
from gateway.outbox import ledger
from gateway.outbox.consents import waiting_rows
from gateway.outbox.rows import ERASED, Permit, WaitingRow, gap_over
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.batch import GapReason
from gateway.wire.reading import Resolution, StreamKey

ROWS_AT_ONCE = 20_000
_STEPS = (Resolution.QUARTER_HOUR, Resolution.HOUR, Resolution.DAY)


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
    for step in _STEPS:
        with store.transaction() as connection:
            freed = _coarsen(connection, step, zone, wanted=wanted - merged)
        merged += freed
        if merged >= wanted:
            break
    if merged < surplus:
        with store.transaction() as connection:
            dropped = _drop(connection, surplus - merged)
    said = f"room ran out: {merged} intervals were merged into coarser ones, {dropped} dropped"
    store.note(now, "overflow", said)
    return merged, dropped


def coarser_rows(
    rows: Sequence[WaitingRow], step: Resolution, zone: ZoneInfo
) -> list[tuple[WaitingRow, list[WaitingRow]]]:
    """Find whole periods among rows of one stream, permit and epoch.

    Args:
        rows: In order of time.
        step: The coarser step.
        zone: The household's time zone.

    Returns:
        Each coarser row with the rows it stands for; rows of incomplete periods are left out.
    """
    found: list[tuple[WaitingRow, list[WaitingRow]]] = []
    for (start, end), same in groupby(rows, key=lambda row: period_of(row.start, step, zone)):
        group = list(same)
        joined = all(a.end == b.start for a, b in pairwise(group))
        if len(group) < 2 or not joined or group[0].start != start or group[-1].end != end:
            continue
        quality = group[0].quality
        for row in group[1:]:
            quality = poorer(quality, row.quality)
        first = group[0]
        permit = Permit(
            consent_id=first.permit.consent_id, version=first.permit.version, resolution=step
        )
        merged = WaitingRow(
            stream=first.stream,
            permit=permit,
            epoch=first.epoch,
            start=start,
            end=end,
            energy_wh=sum(row.energy_wh for row in group),
            quality=quality,
        )
        found.append((merged, group))
    return found


def _coarsen(
    connection: sqlite3.Connection, step: Resolution, zone: ZoneInfo, *, wanted: int
) -> int:
    finer = tuple(str(other) for other in Resolution if other.is_finer_than(step))
    marks = ", ".join("?" for _ in finer)
    found = waiting_rows(
        connection, f"p.resolution IN ({marks}) ORDER BY w.id LIMIT ?", (*finer, ROWS_AT_ONCE * 4)
    )
    ids = {(row.stream, row.permit, row.epoch, row.start): row_id for row_id, row in found}

    def place(row: WaitingRow) -> tuple[StreamKey, str, int, int]:
        return row.stream, row.permit.consent_id, row.permit.version, row.epoch

    freed = 0
    ordered = sorted((row for _, row in found), key=lambda row: (place(row), row.start))
    for _, same in groupby(ordered, key=place):
        for merged, group in coarser_rows(list(same), step, zone):
            for row in group:
                row_id = ids[row.stream, row.permit, row.epoch, row.start]
                connection.execute("DELETE FROM waiting WHERE id = ?", (row_id,))
            ledger.insert_waiting(connection, merged)
            freed += len(group) - 1
            ledger.count(connection, merged.stream, "merged", len(group) - 1)
            if freed >= wanted:
                return freed
    return freed


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
