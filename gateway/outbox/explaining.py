"""Where a reading or a message is, and which grant let it out; or why it stayed at home."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from gateway.consent.book import ConsentBook
from gateway.outbox import consents
from gateway.outbox.figures import departures
from gateway.outbox.rows import at_seconds, from_seconds, period_from_bytes, rows_of
from gateway.wire import codec
from gateway.wire.batch import Batch, GapRecord
from gateway.wire.consent import Withheld, why_withheld
from gateway.wire.reading import Quantity, Resolution, StreamKey
from gateway.wire.session import WithdrawalReceipt

_NOMINAL_S = {Resolution.DAY: 86_400, Resolution.MONTH: 2_629_746}
_MINUTE = timedelta(minutes=1)


def explain(
    connection: sqlite3.Connection, *, meter: str, quantity: Quantity, at: datetime
) -> list[dict[str, object]]:
    """Say where the reading of a moment is, and which grant let it out.

    The gateway does not keep what left, only from when to when, and how many intervals. Where
    fewer left than fit between, `intervals` is less than `intervals_of`, and the moment may be one
    of those that did not.

    Args:
        connection: The state.
        meter: Name of the meter.
        quantity: Which quantity.
        at: A moment within the interval, aware.
    """
    at_s = at_seconds(at)
    found = [
        _explained("waiting", row.permit.grant, row.stream.purpose, row.start, row.end)
        for _, row in consents.waiting_rows(
            connection,
            "s.meter = ? AND s.quantity = ? AND w.start_s <= ? AND w.start_s + w.length_s > ?",
            (meter, str(quantity), at_s, at_s),
        )
    ]
    found += _gathering(connection, meter, quantity, at)
    for seq, payload in connection.execute("SELECT seq, payload FROM sealed ORDER BY seq"):
        for part in codec.decode(bytes(payload), Batch).parts:
            if part.meter != meter or part.quantity is not quantity:
                continue
            found += [
                _explained(f"sealed in batch {seq}", part.grant, part.purpose, row.start, row.end)
                for row in rows_of(part)
                if row.start <= at < row.end
            ]
    found += [
        _sent(entry)
        for entry in departures(connection, days=100_000)
        if entry["meter"] == meter
        and entry["quantity"] == quantity
        and _moment(entry["from"]) <= at < _moment(entry["to"])
    ]
    return found + _lost(connection, meter, quantity, at)


def explain_batch(connection: sqlite3.Connection, seq: int) -> list[dict[str, object]]:
    """Name the streams and grants of a message by its number, sealed or sent.

    What was sent is kept by day and grant, with the first and the last number; a number between
    them may be another stream's.
    """
    row = connection.execute("SELECT payload FROM sealed WHERE seq = ?", (seq,)).fetchone()
    if row is not None:
        return [
            _explained(f"sealed in batch {seq}", part.grant, part.purpose, rows[0].start, last.end)
            | {"meter": part.meter, "quantity": str(part.quantity), "intervals": len(rows)}
            for part in codec.decode(bytes(row[0]), Batch).parts
            if (rows := rows_of(part))
            for last in (max(rows, key=lambda each: each.end),)
        ]
    return [
        _sent(entry)
        for entry in departures(connection, days=100_000)
        if int(str(entry["first_batch"])) <= seq <= int(str(entry["last_batch"]))
    ]


def why_not(connection: sqlite3.Connection, *, meter: str, quantity: Quantity) -> dict[str, int]:
    """How often intervals of a meter's quantity were withheld, by reason."""
    rows = connection.execute(
        "SELECT what, sum(intervals) FROM tally WHERE meter = ? AND quantity = ? GROUP BY what",
        (meter, str(quantity)),
    )
    reasons = {str(reason) for reason in Withheld}
    return {what: intervals for what, intervals in rows if what in reasons}


def why_it_stays(
    book: ConsentBook, *, meter: str, quantity: Quantity, at: datetime
) -> dict[str, str]:
    """What each consent that names the meter and quantity says of a moment.

    Returns:
        Reason by consent; `covered` where nothing in the consent keeps the moment at home.
    """
    start = at.replace(second=0, microsecond=0)
    said: dict[str, str] = {}
    for grant in book.grants.values():
        if meter not in grant.terms.meters or quantity not in grant.terms.quantities:
            continue
        reason = why_withheld(
            grant,
            stream=StreamKey(meter=meter, quantity=quantity, purpose=grant.terms.purpose),
            resolution=grant.terms.resolution,
            start=start,
            end=start + _MINUTE,
        )
        said[grant.reference] = "covered" if reason is None else str(reason)
    return said


def _gathering(
    connection: sqlite3.Connection, meter: str, quantity: Quantity, at: datetime
) -> list[dict[str, object]]:
    """Open periods that hold the moment."""
    found: list[dict[str, object]] = []
    for purpose, stored in connection.execute(
        "SELECT purpose, period FROM stream"
        " WHERE meter = ? AND quantity = ? AND period IS NOT NULL ORDER BY id",
        (meter, str(quantity)),
    ):
        period, permit = period_from_bytes(bytes(stored))
        if period.start <= at < period.end:
            state = "being added up" if period.whole else "not whole, will be withheld"
            found.append(_explained(state, permit.grant, purpose, period.start, period.end))
    return found


def _lost(
    connection: sqlite3.Connection, meter: str, quantity: Quantity, at: datetime
) -> list[dict[str, object]]:
    """What the co-op refused, what was erased, and what never came to be."""
    at_s = at_seconds(at)
    found = [
        _explained(
            f"refused by the co-op: {reason}",
            permit,
            purpose,
            from_seconds(start_s),
            from_seconds(start_s + length_s),
        )
        for purpose, permit, reason, start_s, length_s in connection.execute(
            "SELECT purpose, permit, reason, start_s, length_s FROM dead_letter WHERE meter = ?"
            " AND quantity = ? AND start_s <= ? AND start_s + length_s > ? ORDER BY id",
            (meter, str(quantity), at_s, at_s),
        )
    ]
    gaps: list[tuple[str, GapRecord]] = [
        ("", codec.decode(bytes(record), GapRecord))
        for (record,) in connection.execute("SELECT record FROM gap ORDER BY id")
    ]
    for message in consents.receipts(connection, unacknowledged=False):
        receipt = codec.decode(message.payload.encode(), WithdrawalReceipt)
        named = f"{receipt.consent_id}@{receipt.version}"
        gaps += [(named, gap) for gap in receipt.gaps]
    return found + [
        _explained(f"never left: {gap.reason}", grant, gap.purpose, gap.start, gap.end)
        for grant, gap in gaps
        if gap.meter == meter and gap.quantity is quantity and gap.start <= at < gap.end
    ]


def _sent(entry: dict[str, object]) -> dict[str, object]:
    span_s = (_moment(entry["to"]) - _moment(entry["from"])).total_seconds()
    resolution = Resolution(str(entry["resolution"]))
    fit = round(span_s / (resolution.step_s or _NOMINAL_S[resolution]))
    sent = int(str(entry["intervals"]))
    return {"state": "sent" if sent >= fit else "sent in part", **entry} | {
        "intervals_of": max(sent, fit)
    }


def _moment(stored: object) -> datetime:
    return datetime.fromisoformat(str(stored))


def _explained(
    state: str, grant: str, purpose: str, start: datetime, end: datetime
) -> dict[str, object]:
    return {
        "state": state,
        "grant": grant,
        "purpose": str(purpose),
        "from": start.isoformat(),
        "to": end.isoformat(),
    }
