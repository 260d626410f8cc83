"""The ledger's three tables and the triggers that make them append-only.

`create_tables` works on a connection of the caller, so that a migration can use it. Times are
fixed-width UTC text, so that one order holds in both databases. Yes and no are 1 and 0, so that a
damaged value such as 2 is seen by the check instead of being read as yes.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    event,
)

METADATA = MetaData()

_SEQ = BigInteger().with_variant(Integer(), "sqlite")

JOURNAL = Table(
    "ledger_journal",
    METADATA,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("kind", String(10), nullable=False),
    Column("about_seq", _SEQ, nullable=True),
    Column("is_final", SmallInteger, nullable=False),
    Column("expires_at", String(27), nullable=True),
    Column("mark_key", String(210), nullable=True),
    Column("mark_at", String(27), nullable=True),
    Column("idempotency_key", String(255), nullable=False, unique=True),
    Column("request_sha256", String(64), nullable=False),
    Column("recorded_at", String(27), nullable=False),
    Column("effective_at", String(27), nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Index("ledger_journal_about", "about_seq"),
    Index("ledger_journal_kind", "kind", "seq"),
    Index("ledger_journal_recorded", "recorded_at"),
    Index("ledger_journal_expires", "expires_at"),
    Index("ledger_journal_mark", "mark_key", "mark_at"),
)
_REVERSES = JOURNAL.c.kind == "reverse"
Index(
    "ledger_journal_one_reversal",
    JOURNAL.c.about_seq,
    unique=True,
    sqlite_where=_REVERSES,
    postgresql_where=_REVERSES,
)

ACCOUNT = Table(
    "ledger_account",
    METADATA,
    Column("name", String(200), primary_key=True),
    Column("seq", _SEQ, ForeignKey("ledger_journal.seq"), nullable=False),
    Column("currencies", String(200), nullable=False),
    Column("no_overdraft", SmallInteger, nullable=False),
    Column("member_id", String(64), nullable=True),
    Column("suspense", SmallInteger, nullable=False),
    Index("ledger_account_member", "member_id"),
)

MOVEMENT = Table(
    "ledger_movement",
    METADATA,
    Column("seq", _SEQ, ForeignKey("ledger_journal.seq"), primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("account", String(200), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("effective_at", String(27), nullable=False),
    Column("posted_minor", BigInteger, nullable=False),
    Column("pending_debit_minor", BigInteger, nullable=False),
    Column("pending_credit_minor", BigInteger, nullable=False),
    Column("posted_after_minor", BigInteger, nullable=False),
    Column("pending_debit_after_minor", BigInteger, nullable=False),
    Column("pending_credit_after_minor", BigInteger, nullable=False),
    Index("ledger_movement_account", "account", "currency", "seq", "line"),
)

_REFUSAL = "the ledger is append-only: post a reversal instead of changing records"

_SQLITE_TRIGGERS = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{refusal}'); END
"""
# INSERT OR REPLACE deletes the old row without firing delete triggers, so it is refused up front.
_SQLITE_NO_REPLACE = {
    "ledger_journal": "NEW.seq IS NOT (SELECT COALESCE(MAX(seq), 0) + 1 FROM ledger_journal)"
    " OR EXISTS (SELECT 1 FROM ledger_journal WHERE idempotency_key = NEW.idempotency_key)",
    "ledger_account": "EXISTS (SELECT 1 FROM ledger_account WHERE name = NEW.name)",
    "ledger_movement": "EXISTS (SELECT 1 FROM ledger_movement"
    " WHERE seq = NEW.seq AND line = NEW.line)",
}
_SQLITE_INSERT = """
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {condition}
BEGIN SELECT RAISE(ABORT, '{refusal}'); END
"""
_POSTGRES_FUNCTION = """
CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{refusal}'; END $$
"""
_POSTGRES_TRIGGER = """
CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()
"""


def sqlite_triggers(table: str) -> dict[str, str]:
    """Names and texts of the triggers that guard a table in SQLite."""
    texts = {
        f"{table}_no_{verb}": _SQLITE_TRIGGERS.format(table=table, verb=verb, refusal=_REFUSAL)
        for verb in ("update", "delete")
    }
    condition = _SQLITE_NO_REPLACE[table]
    insert = _SQLITE_INSERT.format(table=table, condition=condition, refusal=_REFUSAL)
    texts[f"{table}_no_replace"] = insert
    return {name: text.strip() for name, text in texts.items()}


def _create_triggers(target: Table, connection: Connection, **_: object) -> None:
    """Called by SQLAlchemy after it created one of our tables."""
    if connection.dialect.name == "sqlite":
        statements = list(sqlite_triggers(target.name).values())
    else:
        statements = [
            _POSTGRES_FUNCTION.format(refusal=_REFUSAL),
            _POSTGRES_TRIGGER.format(table=target.name),
        ]
    for statement in statements:
        connection.exec_driver_sql(statement)


for _table in (JOURNAL, ACCOUNT, MOVEMENT):
    event.listen(_table, "after_create", _create_triggers)


def create_tables(connection: Connection) -> None:
    """Create what is missing: tables, indexes and triggers.

    Args:
        connection: In the caller's transaction; the caller commits.
    """
    METADATA.create_all(connection)
