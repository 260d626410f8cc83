"""The check of a whole database: the journal, and for SQLite the file and its guards too."""

import re
from dataclasses import replace

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from solar_fund.ledger.tables import METADATA, sqlite_triggers
from solar_fund.ledger.verification import ChainHead, ChainReport, verify_chain

_ROW_OF_PROBLEM = re.compile(r"row (\d+) (?:missing from index|of index)")


def check_database(connection: Connection, expected_head: ChainHead | None = None) -> ChainReport:
    """Verify the chain, then the indexes and triggers of an SQLite file.

    Args:
        connection: To read from.
        expected_head: A head published earlier; detects a journal cut short or written anew.
    """
    try:
        report = verify_chain(connection, expected_head)
    except DatabaseError as error:
        return ChainReport(
            records=0,
            first_bad_seq=None,
            problem=f"the database cannot be read: {error.orig}",
            head=ChainHead(seq=0, hash=""),
        )
    if not report.is_whole or connection.dialect.name != "sqlite":
        return report
    problem, first_bad_seq = _file_problem(connection)
    return replace(report, problem=problem, first_bad_seq=first_bad_seq)


def _file_problem(connection: Connection) -> tuple[str | None, int | None]:
    try:
        lines = connection.execute(text("PRAGMA integrity_check(20)")).scalars().all()
    except DatabaseError as error:
        return f"the database file is damaged: {error.orig}", None
    if list(lines) != ["ok"]:
        found = [_ROW_OF_PROBLEM.search(line) for line in lines]
        # Record numbers are row numbers in the journal only.
        numbers = [
            int(match.group(1))
            for match, line in zip(found, lines, strict=True)
            if match is not None and "ledger_journal" in line
        ]
        first = min(numbers, default=None)
        return f"the database file is damaged: {lines[0]}", first
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))
    stored: dict[str, str] = {row.name: row.sql for row in rows}
    for table in METADATA.tables:
        for name, wanted in sqlite_triggers(table).items():
            if stored.get(name) != wanted:
                return f"trigger {name}, which refuses changes, is missing or was changed", None
    return None, None
