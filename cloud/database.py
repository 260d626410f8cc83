"""The one relational database: members, consents, gateways, the log, money and votes.

The pattern every domain folder follows:

- `repository.py` declares its tables on `metadata` and offers plain functions that take a
  `Connection` first. They never begin or commit.
- `usecases.py` takes a `Connection` too, so that several use cases can share a transaction.
- The edge (endpoint, command or job) opens exactly one:
  `with database.transaction() as connection:` to write, `with database.reading() as connection:`
  to look. Leaving the block commits; an exception rolls everything back. An endpoint answers
  after the block, so a 2xx is never sent for something that was not committed.
- A new or changed table needs a migration in `cloud/migrations/versions`;
  `python -m cloud.migrations "why"` drafts one by comparing, and a test fails until it is there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, DateTime, Dialect, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.types import TypeDecorator

from cloud.errors import BadSetting, DatabaseBusy, DatabaseFault

BUSY_TIMEOUT_S = 20
"""How long a writer waits for another before it gives up [s]."""

_WRITER_LOCK = 0x636F6D6D6F6E
"""Number of the advisory lock in PostgreSQL that makes writers take turns."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC moment; a naive one is refused before it is stored."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring to UTC; SQLite keeps it without an offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} is naive; store aware UTC times only")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand out aware UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ChangeWatch:
    """Tells in microseconds whether anybody committed since last asked, where that can be known.

    Args:
        engine: The database.
    """

    def __init__(self, engine: Engine) -> None:
        self.is_able = engine.dialect.name == "sqlite"
        self._raw = engine.raw_connection() if self.is_able else None
        if self._raw is not None:
            self._raw.detach()

    def state(self) -> int | None:
        """A number that changes with every commit of another connection; None where unknown."""
        if self._raw is None:
            return None
        (version,) = self._raw.cursor().execute("PRAGMA data_version").fetchone()
        return int(version)

    def close(self) -> None:
        """Let go of the connection."""
        if self._raw is not None:
            self._raw.close()


class Database:
    """Opens transactions on one database.

    Args:
        address: SQLAlchemy address; SQLite files and PostgreSQL by pg8000 are supported.
    """

    def __init__(self, address: str) -> None:
        self.engine = _make_engine(address)
        self._one_writer = threading.Lock() if self.is_sqlite else None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a SQLite file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that may write; commits when the block ends without an exception.

        Raises:
            DatabaseBusy: Another writer held the database for more than `BUSY_TIMEOUT_S`.
        """
        if self._one_writer and not self._one_writer.acquire(timeout=BUSY_TIMEOUT_S):
            raise DatabaseBusy("the database is busy; try again in a moment")
        try:
            with self._begun(may_write=True) as connection:
                yield connection
        finally:
            if self._one_writer:
                self._one_writer.release()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a consistent view that never waits for a writer; nothing in it is kept."""
        with self._begun(may_write=False) as connection:
            yield connection
            connection.rollback()

    def watch_changes(self) -> ChangeWatch:
        """Something to ask whether anything was committed; close it after use."""
        return ChangeWatch(self.engine)

    def scrub(self) -> None:
        """Let nothing deleted linger in SQLite's journal file; PostgreSQL has its own vacuum."""
        if self.is_sqlite:
            with closing(self.engine.raw_connection()) as raw:
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _begun(self, *, may_write: bool) -> Iterator[Connection]:
        with self._connect() as plain:
            connection = plain.execution_options(may_write=may_write)
            if not self.is_sqlite and not may_write:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            try:
                connection.begin()
                if not self.is_sqlite and may_write:
                    # One writer at a time, as in SQLite, so that no use case has to think of races.
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
            except OperationalError as fault:
                if "locked" in str(fault.orig):
                    raise DatabaseBusy("the database is busy; try again in a moment") from fault
                raise
            yield connection
            if connection.in_transaction():
                connection.commit()

    def _connect(self) -> Connection:
        try:
            return self.engine.connect()
        except DBAPIError as fault:
            where = self.engine.url.render_as_string(hide_password=True)
            raise DatabaseFault(
                f"{where}: {fault.orig}; check database_url, or restore a backup"
            ) from fault


def _make_engine(address: str) -> Engine:
    try:
        url = make_url(address)
    except ArgumentError as fault:
        raise BadSetting(
            "database_url is not a SQLAlchemy address such as "
            "postgresql+pg8000://user:password@host/name"
        ) from fault
    if url.get_backend_name() == "sqlite":
        return _make_sqlite(address)
    if url.drivername != "postgresql+pg8000":
        raise BadSetting(
            f"database_url: {url.drivername} is not supported; use postgresql+pg8000 or sqlite"
        )
    return create_engine(url, pool_pre_ping=True)


def _make_sqlite(address: str) -> Engine:
    engine = create_engine(
        address, connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S}
    )

    @event.listens_for(engine, "connect")
    def _on_connect(raw: Any, _record: Any) -> None:
        # The driver's own transactions begin too late and end too early for DDL; ours are explicit.
        raw.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "secure_delete = ON",
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A writer takes its lock at once: a reader that turns writer halfway could only fail.
        may_write = connection.get_execution_options().get("may_write", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if may_write else "BEGIN")

    return engine


def append_only_statements(table: str, dialect: str) -> list[str]:
    """SQL that makes the database itself refuse to change or delete rows of a table.

    Args:
        table: Name of the table.
        dialect: `sqlite` or `postgresql`.
    """
    text = f"rows of {table} are never changed or deleted"
    if dialect == "sqlite":
        return [
            f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{text}'); END"
            for verb in ("update", "delete")
        ]
    function = (
        f"CREATE FUNCTION {table}_keep() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{text}'; END $$"
    )
    trigger = (
        f"CREATE TRIGGER {table}_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_keep()"
    )
    return [function, trigger]
