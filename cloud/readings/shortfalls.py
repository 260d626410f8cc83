"""What did not come, as the catalogue knows it: gaps the gateway named, and chains that broke."""

from __future__ import annotations

import sqlite3

from cloud.readings.chain import Chain
from cloud.readings.coverage import from_us
from cloud.readings.ports import BrokenChain
from gateway.wire.batch import GapReason, GapRecord
from gateway.wire.reading import Purpose, Quantity, StreamKey

GAPS_SHOWN_MAX = 1_000

KEEP_CHAINS = (
    # Without WHERE, SQLite would take ON CONFLICT for the condition of a join.
    "INSERT INTO chain (stream, gateway, seq, head, missing, forked, reused, noticed_us)"
    " SELECT * FROM ({rows}) WHERE true ON CONFLICT DO UPDATE SET seq = excluded.seq,"
    " head = excluded.head, missing = excluded.missing, forked = excluded.forked,"
    " reused = excluded.reused, noticed_us = coalesce(excluded.noticed_us, noticed_us)"
)
"""Writes rows of stream, gateway, `chain_to_columns` and when a break was noticed."""


def chain_of(connection: sqlite3.Connection, stream: int, gateway: str) -> Chain | None:
    """How far a stream of a gateway has come; None if nothing is known."""
    row = connection.execute(
        "SELECT seq, head, missing, forked, reused FROM chain WHERE stream = ? AND gateway = ?",
        (stream, gateway),
    ).fetchone()
    return None if row is None else chain_from_columns(*row)


def chain_from_columns(seq: int, head: bytes, missing: str, forked: int, reused: int) -> Chain:
    """Read a chain; runs of missing numbers are written `5-7 12-12`."""
    runs = (run.split("-") for run in missing.split())
    return Chain(
        seq=seq,
        head=head,
        missing=tuple((int(first), int(last)) for first, last in runs),
        forked=forked,
        reused=reused,
    )


def chain_to_columns(chain: Chain) -> tuple[int, bytes, str, int, int]:
    """Write a chain as `chain_from_columns` reads it."""
    missing = " ".join(f"{first}-{last}" for first, last in chain.missing)
    return chain.seq, chain.head, missing, chain.forked, chain.reused


def broken_chains(connection: sqlite3.Connection, household: str | None) -> list[BrokenChain]:
    """Chains of a home, or of all, in which anything is missing or wrong."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'chain'").fetchone():
        return []  # a store that only an older program has written to
    rows = connection.execute(
        "SELECT household, meter, quantity, purpose, gateway, noticed_us, seq, head, missing,"
        " forked, reused FROM chain JOIN stream ON stream.id = chain.stream"
        " WHERE (:household IS NULL OR household = :household) AND (missing <> '' OR forked > 0 OR reused > 0)"
        " ORDER BY household, stream.id, gateway",
        {"household": household},
    )
    return [
        BrokenChain(
            household=home,
            stream=StreamKey(meter=meter, quantity=Quantity(quantity), purpose=Purpose(purpose)),
            gateway=gateway,
            chain=chain_from_columns(*columns),
            noticed_at=from_us(noticed_us),
        )
        for home, meter, quantity, purpose, gateway, noticed_us, *columns in rows
    ]


def gaps(connection: sqlite3.Connection, household: str) -> list[GapRecord]:
    """What a home's gateways said will never come, newest first."""
    rows = connection.execute(
        "SELECT meter, quantity, purpose, start_us, end_us, reason, intervals"
        " FROM gap JOIN stream ON stream.id = gap.stream WHERE household = ?"
        " ORDER BY end_us DESC, stream.id LIMIT ?",
        (household, GAPS_SHOWN_MAX),
    )
    return [
        GapRecord(
            meter=meter,
            quantity=Quantity(quantity),
            purpose=Purpose(purpose),
            start=from_us(start_us),
            end=from_us(end_us),
            reason=GapReason(reason),
            intervals=intervals,
        )
        for meter, quantity, purpose, start_us, end_us, reason, intervals in rows
    ]
