"""Tables of the transparency log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    select,
)

from cloud.database import UtcTime, metadata
from cloud.transparency.merkle import Node

log_entries = Table(
    "log_entries",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("entry", Text, nullable=False),
    Index("ix_log_entries_kind", "kind"),
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
)

log_commitments = Table(
    "log_commitments",
    metadata,
    Column("commitment", String(64), primary_key=True),
    Column("subject", String(64), nullable=False),
    Column("salt", String(64), nullable=False),
    Column("committed", Text, nullable=False),
    Index("ix_log_commitments_subject", "subject"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry of the log.

    Args:
        index: Its place, from 0.
        kind: What happened.
        at: When.
        entry: Canonical JSON, the leaf itself.
    """

    index: int
    kind: str
    at: datetime
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What shows that a commitment in the log is about something.

    Args:
        commitment: As in the log, hex.
        salt: Random salt, hex.
        committed: What was committed to, as text.
    """

    commitment: str
    salt: str
    committed: str


def log_size(connection: Connection) -> int:
    """Number of entries."""
    newest = connection.scalar(select(func.max(log_entries.c.place)))
    return 0 if newest is None else int(newest) + 1


def insert_entry(
    connection: Connection, *, index: int, kind: str, at: datetime, entry: str
) -> None:
    """Add an entry."""
    connection.execute(log_entries.insert().values(place=index, kind=kind, at=at, entry=entry))


def insert_nodes(connection: Connection, nodes: list[tuple[Node, bytes]]) -> None:
    """Add nodes that became whole."""
    rows = [{"level": node[0], "position": node[1], "hash": digest} for node, digest in nodes]
    connection.execute(log_nodes.insert(), rows)


def node_at(connection: Connection, node: Node) -> bytes:
    """Hash of a stored node.

    Raises:
        KeyError: It is not stored: the table is damaged.
    """
    digest = connection.scalar(
        select(log_nodes.c.hash).where(
            log_nodes.c.level == node[0], log_nodes.c.position == node[1]
        )
    )
    if digest is None:
        raise KeyError(node)
    return bytes(digest)


def entries_from(connection: Connection, *, first: int, count: int) -> list[LogEntry]:
    """Up to `count` entries from `first` on."""
    rows = connection.execute(
        select(log_entries)
        .where(log_entries.c.place >= first)
        .order_by(log_entries.c.place)
        .limit(count)
    )
    return [LogEntry(index=row.place, kind=row.kind, at=row.at, entry=row.entry) for row in rows]


def newest_entries(
    connection: Connection, *, kind: str | None = None, count: int = 50
) -> list[LogEntry]:
    """The newest entries, newest first, perhaps of one kind only."""
    query = select(log_entries).order_by(log_entries.c.place.desc()).limit(count)
    if kind is not None:
        query = query.where(log_entries.c.kind == kind)
    return [
        LogEntry(index=row.place, kind=row.kind, at=row.at, entry=row.entry)
        for row in connection.execute(query)
    ]


def insert_commitment(
    connection: Connection, *, commitment: str, subject: str, salt: str, committed: str
) -> None:
    """Keep what opens a commitment."""
    connection.execute(
        log_commitments.insert().values(
            commitment=commitment, subject=subject, salt=salt, committed=committed
        )
    )


def opening_of(connection: Connection, commitment: str) -> Opening | None:
    """What opens a commitment, unless it was erased."""
    row = connection.execute(
        select(log_commitments).where(log_commitments.c.commitment == commitment)
    ).one_or_none()
    if row is None:
        return None
    return Opening(commitment=row.commitment, salt=row.salt, committed=row.committed)


def erase_openings(connection: Connection, subject: str) -> int:
    """Delete all salts of a subject: its commitments stay in the log and say nothing any more."""
    return connection.execute(
        delete(log_commitments).where(log_commitments.c.subject == subject)
    ).rowcount
