"""Opening databases, taking the write lock, and inserting the rows of new records."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, text
from sqlalchemy.exc import OperationalError

from solar_fund.errors import InputFileInvalid, LedgerBusy, LedgerDamaged
from solar_fund.ledger.balances import Applied
from solar_fund.ledger.journal import Body
from solar_fund.ledger.tables import ACCOUNT, JOURNAL, MOVEMENT
from solar_fund.ledger.verification import (
    UNREADABLE,
    account_row,
    movement_row,
    why_unreadable,
)

BUSY_WAIT_S = 30.0

_INSERT_JOURNAL, _INSERT_ACCOUNT, _INSERT_MOVEMENT = map(insert, (JOURNAL, ACCOUNT, MOVEMENT))
_POSTGRES_LOCK = text("SELECT pg_advisory_xact_lock(7216003751246139)")


def open_engine(url: str) -> Engine:
    """Open a database for a ledger of its own.

    SQLite gets write-ahead logging with a sync on every commit, so that what was acknowledged
    survives a power cut.

    Args:
        url: SQLAlchemy address such as `sqlite:////var/lib/fund.db` or `postgresql+pg8000://…`.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_WAIT_S})

    @event.listens_for(engine, "connect")
    def set_pragmas(dbapi_connection: Any, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine


class NewRows:
    """The rows of a batch, inserted table by table."""

    def __init__(self) -> None:
        self.journal: list[dict[str, Any]] = []
        self.account: list[dict[str, Any]] = []
        self.movement: list[dict[str, Any]] = []

    def add(
        self,
        seq: int,
        recorded_at: str,
        request: Body,
        request_sha256: str,
        applied: Applied,
        body: str,
        digest: str,
    ) -> None:
        """Gather the rows of one record."""
        self.journal.append(
            {
                "seq": seq,
                "kind": request["kind"],
                "about_seq": applied.about_seq,
                "is_final": int(applied.is_final),
                "expires_at": applied.expires_at,
                "mark_key": applied.mark_key,
                "mark_at": applied.mark_at,
                "idempotency_key": request["key"],
                "request_sha256": request_sha256,
                "recorded_at": recorded_at,
                "effective_at": applied.effective_at,
                "body": body,
                "hash": digest,
            }
        )
        if request["kind"] == "open":
            plain = request["account"]
            self.account.append(account_row(seq, plain))
        self.movement.extend(movement_row(movement) for movement in applied.movements)

    def insert(self, connection: Connection) -> None:
        """Write all that was gathered."""
        for statement, rows in (
            (_INSERT_JOURNAL, self.journal),
            (_INSERT_ACCOUNT, self.account),
            (_INSERT_MOVEMENT, self.movement),
        ):
            if rows:
                connection.execute(statement, rows)


def take_write_lock(connection: Connection) -> None:
    """Become the only writer until the transaction ends, before the newest record is read."""
    if connection.dialect.name != "sqlite":
        connection.execute(_POSTGRES_LOCK)
        return
    try:
        # A delete of nothing makes the driver begin a transaction and SQLite take its write lock.
        connection.exec_driver_sql("DELETE FROM ledger_journal WHERE 0")
    except OperationalError as error:
        if "locked" in str(error.orig) or "busy" in str(error.orig):
            raise LedgerBusy(BUSY_WAIT_S) from None
        raise


@contextmanager
def open_for_reading(database: str) -> Iterator[Connection]:
    """Open an existing ledger without being able to change it.

    Args:
        database: Path of an SQLite file, or an SQLAlchemy address.

    Raises:
        InputFileInvalid: There is no such file, it is no SQLite database, or holds no ledger.
        LedgerDamaged: The database itself cannot be read.
    """
    if "://" in database:
        engine = create_engine(database)
    else:
        quoted = quote(str(_existing(database).resolve()))
        engine = create_engine(f"sqlite:///file:{quoted}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            _demand_ledger(connection, database)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def open_for_writing(database: str) -> Iterator[Connection]:
    """Open an existing ledger in one transaction: committed at the end, rolled back on error.

    Args:
        database: Path of an SQLite file, or an SQLAlchemy address.

    Raises:
        InputFileInvalid: There is no such file, it is no SQLite database, or holds no ledger.
        LedgerDamaged: The database itself cannot be read.
    """
    url = database if "://" in database else f"sqlite:///{_existing(database)}"
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            _demand_ledger(connection, database)
            take_write_lock(connection)
            yield connection
    finally:
        engine.dispose()


def _existing(database: str) -> Path:
    path = Path(database)
    if not path.is_file():
        raise InputFileInvalid(database, "", "there is no such file; give a ledger's database")
    with path.open("rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            raise InputFileInvalid(database, "first 16 bytes", "this is no SQLite database")
    return path


def _demand_ledger(connection: Connection, database: str) -> None:
    try:
        has_ledger = inspect(connection).has_table(JOURNAL.name)
    except UNREADABLE as error:
        raise LedgerDamaged(None, f"{database} cannot be read: {why_unreadable(error)}") from None
    if not has_ledger:
        problem = f"it holds no ledger (table {JOURNAL.name} is missing)"
        raise InputFileInvalid(database, "", problem)
