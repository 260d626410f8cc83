"""The check of a whole database: the journal, and for SQLite the file and its guards too."""

import re
from dataclasses import replace

from sqlalchemy import Connection, literal_column, select, text

from solar_fund.ledger.tables import METADATA, sqlite_triggers
from solar_fund.ledger.verification import (
    UNREADABLE,
    ChainHead,
    ChainReport,
    verify_chain,
    why_unreadable,
)

_ROW_OF_PROBLEM = re.compile(r"row ([0-9]+) missing from index (\w+)")


def check_database(connection: Connection, expected_head: ChainHead | None = None) -> ChainReport:
    """Verify the chain, then the indexes and triggers of an SQLite file.

    Args:
        connection: To read from.
        expected_head: A head published earlier; detects a journal cut short or written anew.
    """
    try:
        report = verify_chain(connection, expected_head)
    except UNREADABLE as error:
        return unreadable(f"the database cannot be read: {why_unreadable(error)}")
    if not report.is_whole or connection.dialect.name != "sqlite":
        return report
    problem, first_bad_seq = _file_problem(connection)
    return replace(report, problem=problem, first_bad_seq=first_bad_seq)


def unreadable(problem: str) -> ChainReport:
    """The report on a database that does not even open."""
    head = ChainHead(seq=0, hash="")
    return ChainReport(records=0, first_bad_seq=None, problem=problem, head=head)


def _file_problem(connection: Connection) -> tuple[str | None, int | None]:
    try:
        lines = connection.execute(text("PRAGMA integrity_check(20)")).scalars().all()
    except UNREADABLE as error:
        return f"the database file is damaged: {why_unreadable(error)}", None
    if list(lines) != ["ok"]:
        first = min(filter(None, (_seq_of(connection, line) for line in lines)), default=None)
        return f"the database file is damaged: {' '.join(lines[0].split())}", first
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    stored: dict[str, str] = {row.name: row.sql for row in rows}
    for table in METADATA.tables:
        for name, wanted in sqlite_triggers(table).items():
            if stored.get(name) != wanted:
                return f"trigger {name}, which refuses changes, is missing or was changed", None
    return None, None


def _seq_of(connection: Connection, line: str) -> int | None:
    """The journal record behind a row that an index has lost."""
    match = _ROW_OF_PROBLEM.search(line)
    for table in METADATA.sorted_tables:
        names = {f"sqlite_autoindex_{table.name}_1", *(index.name for index in table.indexes)}
        if match is not None and match.group(2) in names:
            query = select(table.c.seq).where(literal_column("rowid") == int(match.group(1)))
            try:
                return connection.execute(query).scalar_one_or_none()
            except UNREADABLE:
                return None
    return None
