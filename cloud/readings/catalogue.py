"""The SQLite file beside the Parquet files: inbox, coverage, stream dictionary, live files.

One file, so that one transaction can move intervals from the inbox to a file, or erase a home from
everywhere at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cloud.errors import NotFound, StoreDamaged
from cloud.readings.columns import Chunk
from gateway.wire.reading import Purpose, Quantity, StreamKey

FORMAT_VERSION = 1
BUSY_TIMEOUT_MS = 10_000
STREAMS_SOUGHT_ONE_BY_ONE = 200
"""Above this many streams one pass over the waiting chunks is quicker than many look-ups."""

_TABLES = """
CREATE TABLE setting (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stream (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    household TEXT NOT NULL,
    meter TEXT NOT NULL,
    quantity TEXT NOT NULL,
    purpose TEXT NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    gaps INTEGER NOT NULL DEFAULT 0,
    UNIQUE (household, meter, quantity, purpose)
);
CREATE TABLE coverage (
    stream INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    is_gap INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    PRIMARY KEY (stream, epoch, is_gap, start_us)
) WITHOUT ROWID;
CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    household TEXT NOT NULL,
    received_us INTEGER NOT NULL,
    UNIQUE (gateway, seq)
);
CREATE INDEX batch_of_household ON batch (household);
CREATE INDEX batch_by_arrival ON batch (received_us);
CREATE TABLE signed (
    batch INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL,
    signature TEXT NOT NULL
);
CREATE TABLE chunk (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER NOT NULL,
    stream INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    intervals INTEGER NOT NULL,
    packed BLOB NOT NULL
);
CREATE INDEX chunk_of_stream ON chunk (stream);
CREATE TABLE gap (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    reason TEXT NOT NULL,
    intervals INTEGER NOT NULL,
    UNIQUE (stream, start_us, end_us, reason)
);
CREATE TABLE file (
    path TEXT PRIMARY KEY,
    month TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    intervals INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    shortest_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE garbage (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE mirror_erasure (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    household TEXT NOT NULL,
    meter TEXT,
    quantity TEXT,
    purpose TEXT
);
"""

_TABLES_SINCE = """
CREATE TABLE IF NOT EXISTS chain (
    stream INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    missing TEXT NOT NULL,
    forked INTEGER NOT NULL,
    reused INTEGER NOT NULL,
    noticed_us INTEGER,
    PRIMARY KEY (stream, gateway)
) WITHOUT ROWID;
"""
"""Tables that an older program may ignore, so that they do not raise the format's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFile:
    """A Parquet file that counts.

    Attributes:
        path: Relative to the store's folder.
        month: UTC month of all starts, `YYYY-MM`.
        bucket: Bucket of all homes.
        intervals: Rows.
        size_bytes: Size on disk [bytes].
        shortest_us: Length of the shortest interval [µs].
    """

    path: str
    month: str
    bucket: int
    intervals: int
    size_bytes: int
    shortest_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An entry of the stream dictionary.

    Attributes:
        number: What stands for the stream in chunks and files.
        household: Whose it is.
        key: Meter, quantity and purpose.
        epochs: How many lives of the counter have energy.
        first_us: Start of its first energy, microseconds since 1970; 0 if it has none.
        last_us: End of its last energy, microseconds since 1970; 0 if it has none.
    """

    number: int
    household: str
    key: StreamKey
    epochs: int
    first_us: int
    last_us: int


def open_catalogue(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the SQLite file as every user of it must.

    Deleted content is overwritten with zeros, and a commit returns only when it is on disk.

    Raises:
        NotFound: There is no store to read.
        StoreDamaged: It is of another format, or something else.
    """
    if read_only and not path.exists():
        raise NotFound(f"store of readings as {path.parent}; check --data")
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_MS / 1000
    )
    try:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            _prepare(connection)
        _check_format(connection, path)
        if not read_only:
            connection.execute(_TABLES_SINCE)
    except sqlite3.DatabaseError as fault:
        connection.close()
        raise StoreDamaged(path=str(path), problem=str(fault)) from fault
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA temp_store = MEMORY")
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        connection.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
        )


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT_VERSION:
        raise StoreDamaged(
            path=str(path), problem=f"format {version}, but this program reads {FORMAT_VERSION}"
        )


def setting(connection: sqlite3.Connection, name: str) -> int:
    """A number kept in the catalogue; 0 until it was set."""
    row = connection.execute("SELECT number FROM setting WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def set_setting(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Keep a number in the catalogue."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, number))


def live_files(connection: sqlite3.Connection, bucket: int | None = None) -> list[LiveFile]:
    """Files that count, of one bucket or of all, by path."""
    rows = connection.execute(
        "SELECT path, month, bucket, intervals, bytes, shortest_us FROM file"
        " WHERE :bucket IS NULL OR bucket = :bucket ORDER BY path",
        {"bucket": bucket},
    )
    return [
        LiveFile(
            path=path,
            month=month,
            bucket=at,
            intervals=intervals,
            size_bytes=size_bytes,
            shortest_us=shortest_us,
        )
        for path, month, at, intervals, size_bytes, shortest_us in rows
    ]


_STREAMS = (
    "SELECT id, household, meter, quantity, purpose, count(DISTINCT epoch),"
    " coalesce(min(start_us), 0), coalesce(max(end_us), 0)"
    " FROM stream LEFT JOIN coverage ON coverage.stream = id AND is_gap = 0"
)


def streams_of(connection: sqlite3.Connection, household: str) -> list[Stream]:
    """A home's streams, in the order they appeared."""
    rows = connection.execute(
        f"{_STREAMS} WHERE household = ? GROUP BY id ORDER BY id",
        (household,),
    )
    return [_stream(row) for row in rows]


def streams_for(
    connection: sqlite3.Connection, quantity: Quantity, purpose: Purpose
) -> list[Stream]:
    """All homes' streams of a quantity and purpose, in the order they appeared."""
    rows = connection.execute(
        f"{_STREAMS} WHERE quantity = ? AND purpose = ? GROUP BY id ORDER BY id",
        (quantity, purpose),
    )
    return [_stream(row) for row in rows]


def all_streams(connection: sqlite3.Connection) -> list[Stream]:
    """Every stream, in the order they appeared."""
    return [_stream(row) for row in connection.execute(f"{_STREAMS} GROUP BY id ORDER BY id")]


def _stream(row: tuple[int, str, str, str, str, int, int, int]) -> Stream:
    number, household, meter, quantity, purpose, epochs, first_us, last_us = row
    return Stream(
        number=number,
        household=household,
        key=StreamKey(meter=meter, quantity=Quantity(quantity), purpose=Purpose(purpose)),
        epochs=epochs,
        first_us=first_us,
        last_us=last_us,
    )


_CHUNKS = "SELECT stream, epoch, batch, intervals, packed FROM chunk"


def waiting_chunks(
    connection: sqlite3.Connection,
    streams: Sequence[int] | None,
    *,
    start_us: int,
    end_us: int,
) -> list[Chunk]:
    """What the inbox holds between two moments and no Parquet file holds yet.

    Args:
        connection: The catalogue.
        streams: Which streams; None for all.
        start_us: Chunks that end later count.
        end_us: Chunks that start earlier count.
    """
    after = setting(connection, "compacted_upto")
    window = "id > ? AND end_us > ? AND start_us < ?"
    if streams is None or len(streams) > STREAMS_SOUGHT_ONE_BY_ONE:
        found = connection.execute(
            f"{_CHUNKS} WHERE {window} ORDER BY id", (after, start_us, end_us)
        ).fetchall()
        wanted = None if streams is None else set(streams)
        rows = [row for row in found if wanted is None or row[0] in wanted]
    else:
        rows = [
            row
            for stream in streams
            for row in connection.execute(
                f"{_CHUNKS} WHERE stream = ? AND {window} ORDER BY id",
                (stream, after, start_us, end_us),
            )
        ]
    return [
        Chunk(stream=stream, epoch=epoch, version=batch, intervals=intervals, packed=packed)
        for stream, epoch, batch, intervals, packed in rows
    ]


def read_batch_as_signed(path: Path, gateway: str, seq: int) -> tuple[bytes, int, str] | None:
    """Packed payload, its size before packing [bytes] and signature, while the inbox has them."""
    with closing(open_catalogue(path, read_only=True)) as connection:
        row = connection.execute(
            "SELECT payload, size, signature FROM signed JOIN batch ON batch.id = signed.batch"
            " WHERE gateway = ? AND seq = ?",
            (gateway, seq),
        ).fetchone()
    return None if row is None else (row[0], row[1], row[2])
