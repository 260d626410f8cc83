"""Intervals the co-op refused: they lie aside and block nothing, until somebody looks at them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from gateway.consent.book import ConsentBook
from gateway.outbox import ledger
from gateway.outbox.rows import (
    Permit,
    WaitingRow,
    from_seconds,
    quality_from_letter,
    stream_key,
)
from gateway.wire.consent import why_withheld
from gateway.wire.reading import Resolution, StreamKey

REFUSED = "refused"
"""Tally of a stream's intervals that the co-op refused."""
_DAY_S = 86_400
_CHANGED_DAY_S = 2 * 3_600
"""The day on which the clocks change is longer or shorter by this at most [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedGroup:
    """Intervals of one stream that were refused for one reason."""

    meter: str
    quantity: str
    purpose: str
    reason: str
    intervals: int
    first_start: datetime
    last_end: datetime
    last_refused_at: datetime


def groups(connection: sqlite3.Connection) -> list[RefusedGroup]:
    """What lies aside, by stream and reason."""
    rows = connection.execute(
        "SELECT meter, quantity, purpose, reason, count(*), min(start_s), max(start_s + length_s),"
        " max(refused_at_s) FROM dead_letter GROUP BY meter, quantity, purpose, reason"
        " ORDER BY meter, quantity, purpose, reason"
    )
    return [
        RefusedGroup(
            meter=meter,
            quantity=quantity,
            purpose=purpose,
            reason=reason,
            intervals=intervals,
            first_start=from_seconds(first_s),
            last_end=from_seconds(last_s),
            last_refused_at=from_seconds(refused_at_s),
        )
        for meter, quantity, purpose, reason, intervals, first_s, last_s, refused_at_s in rows
    ]


def put_back(
    connection: sqlite3.Connection, book: ConsentBook, *, reason: str | None
) -> tuple[int, int]:
    """Put refused intervals among those that wait, as far as the consents still cover them.

    Args:
        connection: The state, within a transaction.
        book: The book of consents in force.
        reason: Only those refused for this reason; all if None.

    Returns:
        How many wait again, and how many stay aside because no consent covers them.
    """
    back: dict[StreamKey, int] = {}
    stay = 0
    for row_id, row in _rows(connection, reason):
        grant = book.grants.get(row.permit.consent_id)
        resolution = row.permit.resolution
        if why_withheld(
            grant, stream=row.stream, resolution=resolution, start=row.start, end=row.end
        ):
            stay += 1
            continue
        ledger.insert_waiting(connection, row)
        connection.execute("DELETE FROM dead_letter WHERE id = ?", (row_id,))
        back[row.stream] = back.get(row.stream, 0) + 1
    for stream, intervals in back.items():
        ledger.count(connection, stream, REFUSED, -intervals)
    return sum(back.values()), stay


def drop(connection: sqlite3.Connection, *, reason: str | None) -> int:
    """Erase refused intervals for good; returns how many."""
    return connection.execute(
        "DELETE FROM dead_letter WHERE ? IS NULL OR reason = ?", (reason, reason)
    ).rowcount


def _rows(connection: sqlite3.Connection, reason: str | None) -> list[tuple[int, WaitingRow]]:
    rows = connection.execute(
        "SELECT id, meter, quantity, purpose, permit, epoch, start_s, length_s, energy_wh,"
        " resolution, quality FROM dead_letter WHERE ? IS NULL OR reason = ? ORDER BY id",
        (reason, reason),
    ).fetchall()
    found: list[tuple[int, WaitingRow]] = []
    for row in rows:
        row_id, meter, quantity, purpose, grant, epoch, start_s, length_s, energy_wh, *more = row
        resolution, letter = more
        consent_id, _, version = grant.rpartition("@")
        permit = Permit(
            consent_id=consent_id,
            version=int(version),
            resolution=Resolution(resolution) if resolution else _resolution_of(length_s),
        )
        found.append(
            (
                row_id,
                WaitingRow(
                    stream=stream_key(meter, quantity, purpose),
                    permit=permit,
                    epoch=epoch,
                    start=from_seconds(start_s),
                    end=from_seconds(start_s + length_s),
                    energy_wh=energy_wh,
                    quality=quality_from_letter(letter),
                ),
            )
        )
    return found


def _resolution_of(length_s: int) -> Resolution:
    """The step of an interval that an earlier version put aside without saying it."""
    for resolution in (Resolution.MINUTE, Resolution.QUARTER_HOUR, Resolution.HOUR):
        if length_s == resolution.step_s:
            return resolution
    return Resolution.DAY if length_s <= _DAY_S + _CHANGED_DAY_S else Resolution.MONTH
