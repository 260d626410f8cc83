"""The gateway's state on disk: one SQLite file that survives a pulled plug.

Write-ahead log with `synchronous=FULL`: a commit that returned is on the card. `secure_delete`:
what was erased is overwritten. No table holds a reading that no grant covers.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from gateway.errors import StateFault

FILE_NAME = "gateway.sqlite"
SCHEMA_VERSION = 1
_APPLICATION_ID = 0x434F4757
"""`COGW`, so that another program's file is not taken for ours."""

# Tables with long values keep their row id: without it a value of more than 230 bytes would spill
# to a page of its own, and be written as a whole page each time.
_TABLES = """
CREATE TABLE fact (
    name TEXT PRIMARY KEY,
    content BLOB NOT NULL
);
CREATE TABLE consent_event (
    consent_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    payload TEXT NOT NULL,
    key TEXT NOT NULL,
    sig TEXT NOT NULL,
    authority TEXT NOT NULL,
    acknowledged INTEGER NOT NULL,
    PRIMARY KEY (consent_id, version)
);
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    meter TEXT NOT NULL,
    quantity TEXT NOT NULL,
    purpose TEXT NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    head TEXT NOT NULL DEFAULT '',
    closed_to_s INTEGER NOT NULL DEFAULT 0,
    period BLOB,
    UNIQUE (meter, quantity, purpose)
);
CREATE TABLE permit (
    id INTEGER PRIMARY KEY,
    consent_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    resolution TEXT NOT NULL,
    UNIQUE (consent_id, version, resolution)
);
CREATE TABLE counter (
    meter TEXT NOT NULL,
    quantity TEXT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (meter, quantity)
);
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream (id),
    permit INTEGER NOT NULL REFERENCES permit (id),
    epoch INTEGER NOT NULL,
    start_s INTEGER NOT NULL,
    length_s INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    quality TEXT NOT NULL
);
CREATE TABLE sealed (
    seq INTEGER PRIMARY KEY,
    sealed_at_s INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    intervals INTEGER NOT NULL,
    purposes TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE gap (
    id INTEGER PRIMARY KEY,
    sealed_in INTEGER,
    record BLOB NOT NULL
);
CREATE TABLE receipt (
    consent_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    payload TEXT NOT NULL,
    key TEXT NOT NULL,
    sig TEXT NOT NULL,
    acknowledged INTEGER NOT NULL,
    PRIMARY KEY (consent_id, version)
);
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY,
    meter TEXT NOT NULL,
    quantity TEXT NOT NULL,
    purpose TEXT NOT NULL,
    permit TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    start_s INTEGER NOT NULL,
    length_s INTEGER NOT NULL,
    energy_wh INTEGER NOT NULL,
    reason TEXT NOT NULL,
    refused_at_s INTEGER NOT NULL,
    resolution TEXT NOT NULL DEFAULT '',
    quality TEXT NOT NULL DEFAULT 'm'
);
CREATE TABLE tally (
    meter TEXT NOT NULL,
    quantity TEXT NOT NULL,
    purpose TEXT NOT NULL,
    what TEXT NOT NULL,
    intervals INTEGER NOT NULL,
    PRIMARY KEY (meter, quantity, purpose, what)
) WITHOUT ROWID;
CREATE TABLE departure (
    day TEXT NOT NULL,
    stream INTEGER NOT NULL REFERENCES stream (id),
    permit TEXT NOT NULL,
    resolution TEXT NOT NULL,
    first_start_s INTEGER NOT NULL,
    last_end_s INTEGER NOT NULL,
    first_batch INTEGER NOT NULL,
    last_batch INTEGER NOT NULL,
    intervals INTEGER NOT NULL,
    PRIMARY KEY (day, stream, permit, resolution)
) WITHOUT ROWID;
CREATE TABLE notable (
    id INTEGER PRIMARY KEY,
    at_s INTEGER NOT NULL,
    kind TEXT NOT NULL,
    said TEXT NOT NULL
);
"""


_ADDED = {
    "dead_letter": {
        "resolution": "TEXT NOT NULL DEFAULT ''",
        "quality": "TEXT NOT NULL DEFAULT 'm'",
    }
}
"""Columns that came later. The version stays: software of before, in the other slot of a Pi, can
still work with the file, and only a change that it could not live with raises the version."""


def connect(state_dir: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """Open the state file, and make it if there is none.

    Args:
        state_dir: Directory of the gateway's state; made with mode 0700.
        read_only: Only look; the file must exist.

    Raises:
        StateFault: It cannot be opened, is another program's, or is from a newer version.
    """
    path = state_dir / FILE_NAME
    try:
        if not read_only:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        elif not path.exists():
            raise StateFault(
                path=str(path), problem="there is no gateway state", remedy="check state_dir"
            )
        return _opened(path, read_only=read_only)
    except sqlite3.DatabaseError as fault:
        raise StateFault(
            path=str(path),
            problem=f"cannot be used ({fault})",
            remedy="check the card; `coop-gateway run` saves what can be read of a damaged file",
        ) from fault
    except OSError as fault:
        raise StateFault(
            path=str(path),
            problem=f"cannot be used ({fault.strerror})",
            remedy="check that state_dir exists and belongs to this user",
        ) from fault


def _opened(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10.0,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")
        if read_only:
            _check(connection, path)
            return connection
        # Small pages: a commit touches few bytes of each, and every page touched is written anew.
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 1024")
        connection.execute("PRAGMA journal_size_limit = 2097152")
        connection.execute("PRAGMA cache_size = -1024")
        connection.execute("PRAGMA temp_store = MEMORY")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            _create(connection)
        _check(connection, path)
        _add_columns(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _add_columns(connection: sqlite3.Connection) -> None:
    """Give a file of an earlier version the columns that came later."""
    for table, columns in _ADDED.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for name, kind in columns.items():
            if name not in known:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION_ID:
        raise StateFault(
            path=str(path), problem="is not a gateway's state", remedy="choose another state_dir"
        )
    if version != SCHEMA_VERSION:
        raise StateFault(
            path=str(path),
            problem=f"has version {version}, this software knows {SCHEMA_VERSION}",
            remedy="install the version that wrote it, or a newer one",
        )
