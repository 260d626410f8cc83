"""What the state says: figures, what left, and everything there is, for the household."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import msgspec

from gateway.outbox import consents, ledger
from gateway.outbox.rows import (
    ADMITTED,
    ERASED,
    KEPT,
    MERGED,
    READ,
    from_seconds,
)
from gateway.wire.signing import SignedMessage

_NOT_WITHHELD = frozenset(
    {READ, ADMITTED, KEPT, ERASED, MERGED, "accepted", "duplicate", "refused"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Counts over the whole life of the gateway. Counts only, no energy.

    Args:
        readings_read: Base intervals that came from the counters.
        readings_withheld: Base intervals that no stream took, per meter and quantity.
        withheld_by_reason: Base intervals per reason, once per stream that did not take them.
        kept: Intervals of streams written to the outbox.
        accepted: Of these, stored by the co-op for the first time.
        duplicate: Of these, already there.
        refused: Of these, refused by the co-op.
        erased: Of these, erased unsent because a consent ended or room ran out.
        merged: Intervals that went into coarser ones because room ran out.
        waiting: Intervals not yet acknowledged.
    """

    readings_read: int
    readings_withheld: int
    withheld_by_reason: dict[str, int]
    kept: int
    accepted: int
    duplicate: int
    refused: int
    erased: int
    merged: int
    waiting: int


def figures(connection: sqlite3.Connection) -> Figures:
    """Add up the tallies."""
    totals: dict[str, int] = dict(
        connection.execute("SELECT what, sum(intervals) FROM tally GROUP BY what").fetchall()
    )
    (withheld,) = connection.execute(
        "SELECT coalesce(sum(intervals), 0) FROM tally WHERE purpose = '' AND what <> ?", (READ,)
    ).fetchone()
    (waiting,) = connection.execute(
        "SELECT (SELECT count(*) FROM waiting) + (SELECT coalesce(sum(intervals), 0) FROM sealed)"
    ).fetchone()
    return Figures(
        readings_read=totals.get(READ, 0),
        readings_withheld=withheld,
        withheld_by_reason={
            what: intervals for what, intervals in totals.items() if what not in _NOT_WITHHELD
        },
        kept=totals.get(KEPT, 0),
        accepted=totals.get("accepted", 0),
        duplicate=totals.get("duplicate", 0),
        refused=totals.get("refused", 0),
        erased=totals.get(ERASED, 0),
        merged=totals.get(MERGED, 0),
        waiting=waiting,
    )


def tallies(connection: sqlite3.Connection) -> list[dict[str, object]]:
    """All tallies."""
    rows = connection.execute(
        "SELECT meter, quantity, purpose, what, intervals FROM tally"
        " ORDER BY meter, quantity, purpose, what"
    )
    return [
        {
            "meter": meter,
            "quantity": quantity,
            "purpose": purpose,
            "what": what,
            "intervals": intervals,
        }
        for meter, quantity, purpose, what, intervals in rows
    ]


def departures(connection: sqlite3.Connection, *, days: int = 31) -> list[dict[str, object]]:
    """What left, by local day, stream and grant, newest day first."""
    rows = connection.execute(
        "SELECT d.day, s.meter, s.quantity, s.purpose, d.permit, d.resolution, d.first_start_s,"
        " d.last_end_s, d.first_batch, d.last_batch, d.intervals"
        " FROM departure d JOIN stream s ON s.id = d.stream"
        " WHERE d.day IN (SELECT DISTINCT day FROM departure ORDER BY day DESC LIMIT ?)"
        " ORDER BY d.day DESC, s.meter, s.quantity, s.purpose",
        (days,),
    )
    return [
        {
            "day": day,
            "meter": meter,
            "quantity": quantity,
            "purpose": purpose,
            "grant": grant,
            "resolution": resolution,
            "from": from_seconds(first_s).isoformat(),
            "to": from_seconds(last_s).isoformat(),
            "first_batch": first_batch,
            "last_batch": last_batch,
            "intervals": intervals,
        }
        for (
            day,
            meter,
            quantity,
            purpose,
            grant,
            resolution,
            first_s,
            last_s,
            first_batch,
            last_batch,
            intervals,
        ) in rows
    ]


def notable(connection: sqlite3.Connection, *, newest: int = 50) -> list[dict[str, object]]:
    """What the household should see, newest first."""
    rows = connection.execute(
        "SELECT at_s, kind, said FROM notable ORDER BY id DESC LIMIT ?", (newest,)
    )
    return [
        {"at": from_seconds(at_s).isoformat(), "kind": kind, "said": said}
        for at_s, kind, said in rows
    ]


def export(connection: sqlite3.Connection) -> dict[str, object]:
    """Everything the gateway holds about the household, for the household."""
    sealed = connection.execute("SELECT payload FROM sealed ORDER BY seq").fetchall()
    dead = connection.execute(
        "SELECT meter, quantity, purpose, permit, epoch, start_s, length_s, energy_wh, reason,"
        " refused_at_s FROM dead_letter ORDER BY id"
    ).fetchall()
    return {
        "consent_events": [
            {
                "event": msgspec.json.decode(event.message.payload),
                "signed_by": event.authority,
                "acknowledged": event.acknowledged,
                **_signed(event.message),
            }
            for event in consents.events(connection)
        ],
        "waiting": [
            {
                "meter": row.stream.meter,
                "quantity": row.stream.quantity,
                "purpose": row.stream.purpose,
                "grant": row.permit.grant,
                "epoch": row.epoch,
                "start": row.start.isoformat(),
                "end": row.end.isoformat(),
                "energy_wh": row.energy_wh,
                "quality": row.quality,
            }
            for _, row in consents.waiting_rows(connection, "1 ORDER BY w.id")
        ],
        "sealed": [msgspec.json.decode(bytes(payload)) for (payload,) in sealed],
        "open_periods": [
            msgspec.json.decode(bytes(period))
            for (period,) in connection.execute(
                "SELECT period FROM stream WHERE period IS NOT NULL ORDER BY id"
            )
        ],
        "counters": [
            {"meter": meter, "quantity": quantity, "state": msgspec.json.decode(bytes(state))}
            for meter, quantity, state in connection.execute(
                "SELECT meter, quantity, state FROM counter"
            )
        ],
        "refused": [
            {
                "meter": meter,
                "quantity": quantity,
                "purpose": purpose,
                "grant": permit,
                "epoch": epoch,
                "start": from_seconds(start_s).isoformat(),
                "end": from_seconds(start_s + length_s).isoformat(),
                "energy_wh": energy_wh,
                "reason": reason,
                "refused_at": from_seconds(refused_at_s).isoformat(),
            }
            for (
                meter,
                quantity,
                purpose,
                permit,
                epoch,
                start_s,
                length_s,
                energy_wh,
                reason,
                refused_at_s,
            ) in dead
        ],
        "left": departures(connection, days=100_000),
        "tallies": tallies(connection),
        "receipts": [
            {"receipt": msgspec.json.decode(message.payload), **_signed(message)}
            for message in consents.receipts(connection, unacknowledged=False)
        ],
        "notable": notable(connection, newest=500),
        "last_message": _last_message(connection),
    } | _bookkeeping(connection)


def _signed(message: SignedMessage) -> dict[str, str]:
    """The exact text that was signed, so that anybody can check the signature."""
    return {"signed": message.payload, "key": message.key, "signature": message.sig}


def _bookkeeping(connection: sqlite3.Connection) -> dict[str, object]:
    """What the gateway needs to know of itself, beside readings and consents."""
    return {
        "gaps": [
            msgspec.json.decode(bytes(record))
            for (record,) in connection.execute("SELECT record FROM gap ORDER BY id")
        ],
        "streams": [
            {
                "meter": meter,
                "quantity": quantity,
                "purpose": purpose,
                "parts": seq,
                "newest_part_sha256": head,
                "closed_to": from_seconds(closed_to_s).isoformat(),
            }
            for meter, quantity, purpose, seq, head, closed_to_s in connection.execute(
                "SELECT meter, quantity, purpose, seq, head, closed_to_s FROM stream ORDER BY id"
            )
        ],
        "facts": {
            name: _readable(bytes(content))
            for name, content in connection.execute("SELECT name, content FROM fact ORDER BY name")
            if name != "last_message"
        },
    }


def _readable(content: bytes) -> object:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return content.decode("utf-8", "replace")


def _last_message(connection: sqlite3.Connection) -> object:
    payload = ledger.fact(connection, "last_message")
    return None if payload is None else msgspec.json.decode(payload)
