"""A damaged state: what can still be read goes into a new file, and the rest is said.

A flash card that wears out returns pages that are none. A household cannot mend a database, so the
gateway does it when it starts. No copy of the damaged file stays behind: it would hold unsent
readings that a withdrawal does not reach.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gateway.errors import StateFault
from gateway.outbox import ledger
from gateway.outbox.schema import FILE_NAME, connect

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_ASIDE = "saved"
"""Folder in the state directory where the new file is made."""
_DONE = "salvaged"
"""Fact that is written in the same transaction as what was saved."""
_SIDES = ("", "-wal", "-shm")
_TABLES = (
    "fact",
    "consent_event",
    "stream",
    "permit",
    "counter",
    "waiting",
    "sealed",
    "gap",
    "receipt",
    "dead_letter",
    "tally",
    "departure",
    "notable",
)
"""In an order in which no row refers to one that comes later."""
_WITHOUT_ROWID = frozenset({"tally", "departure"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvage:
    """What was saved.

    Args:
        rows: How many rows could be read.
        damaged: Tables of which not all could be read.
    """

    rows: int
    damaged: tuple[str, ...]

    def __str__(self) -> str:
        """As the household reads it."""
        where = ", ".join(self.damaged) or "none"
        said = f"the card had damaged the gateway's state: {self.rows} rows saved, lost in: {where}"
        if "consent_event" in self.damaged:
            said += "; look at your consents, unsent readings were erased with them"
        return said


def is_damage(fault: BaseException | None) -> bool:
    """Whether a fault says that the file itself is damaged, rather than that there is no room."""
    code = getattr(fault, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGE


def is_damaged(state_dir: Path) -> bool:
    """Whether the state file cannot be read as a whole, or was being saved when the power went."""
    if (state_dir / _ASIDE).exists():
        return True
    if not (state_dir / FILE_NAME).exists():
        return False
    try:
        with closing(connect(state_dir)) as connection:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return bool(said != "ok")
    except StateFault as fault:
        return is_damage(fault.__cause__)
    except sqlite3.Error as fault:
        return is_damage(fault)


def salvage(state_dir: Path, *, now: datetime) -> str:
    """Put what can be read into a new file; the old one is overwritten and removed.

    If consents cannot all be read, a withdrawal may be among those: then all consents and all that
    waits under them is left behind. They come back from the co-op, as far as it knows them. Nothing
    is sent before it confirmed them. A power cut in the middle costs nothing: the next call goes on.

    Args:
        state_dir: Directory of the gateway's state; no gateway may run on it.
        now: When, aware UTC.

    Returns:
        What was saved, in words.

    Raises:
        StateFault: The new file cannot be written.
    """
    aside = state_dir / _ASIDE
    said = _finished(aside)
    if said is None:
        for side in _SIDES:
            overwrite_and_remove(aside / f"{FILE_NAME}{side}")
        said = str(_save(state_dir / FILE_NAME, aside, now))
    for side in reversed(_SIDES):
        overwrite_and_remove(state_dir / f"{FILE_NAME}{side}")
    (aside / FILE_NAME).replace(state_dir / FILE_NAME)
    for side in _SIDES:
        overwrite_and_remove(aside / f"{FILE_NAME}{side}")
    aside.rmdir()
    return said


def _finished(aside: Path) -> str | None:
    """What an earlier call saved, if it got that far."""
    if not (aside / FILE_NAME).exists():
        return None
    try:
        with closing(connect(aside)) as fresh:
            said = ledger.fact(fresh, _DONE)
            return None if said is None else said.decode()
    except (StateFault, sqlite3.Error):
        return None


def _save(source: Path, aside: Path, now: datetime) -> Salvage:
    damaged: list[str] = []
    rows = 0
    with closing(connect(aside)) as fresh:
        fresh.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            saved, whole = _copy(source, fresh, table)
            rows += saved
            if not whole:
                damaged.append(table)
        _drop_what_is_doubtful(fresh, consents_are_whole="consent_event" not in damaged)
        said = Salvage(rows=rows, damaged=tuple(damaged))
        ledger.raise_generation(fresh)
        ledger.note(fresh, now, "damage", str(said))
        ledger.set_fact(fresh, _DONE, str(said).encode())
        fresh.execute("COMMIT")
    return said


def overwrite_and_remove(path: Path) -> bool:
    """Overwrite a file with nothing, and remove it; whether it was there.

    Overwriting reaches as far as a file system on flash lets it.
    """
    if not path.exists():
        return False
    size = path.stat().st_size
    with path.open("r+b") as file:
        for _ in range(0, size, 65_536):
            file.write(b"\0" * 65_536)
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    return True


def _copy(source: Path, target: sqlite3.Connection, table: str) -> tuple[int, bool]:
    """Copy what can be read of a table, from both ends; how many rows, and whether all."""
    columns = _columns(source, target, table)
    marks = ", ".join("?" for _ in columns)
    write = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  our names
    before = target.total_changes
    whole = False
    for direction in ("ASC", "DESC"):
        try:
            for row in _rows(source, table, columns, direction):
                try:
                    target.execute(write, row)
                except sqlite3.Error:
                    whole = False
            whole = direction == "ASC"
        except sqlite3.Error:
            whole = False
        if whole:
            break
    return target.total_changes - before, whole


def _columns(source: Path, target: sqlite3.Connection, table: str) -> list[str]:
    """Columns of a table that are in both files; the old one may be of an earlier version."""
    ours = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    with closing(sqlite3.connect(source)) as connection, suppress(sqlite3.Error):
        theirs = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        return [column for column in ours if column in theirs] or ours
    return ours


def _rows(
    source: Path, table: str, columns: list[str], direction: str
) -> Iterator[tuple[object, ...]]:
    # By the table itself: an index, or a sort, would meet the damaged pages at once.
    order = "rowid" if table not in _WITHOUT_ROWID else columns[0]
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        picked = ", ".join(columns)
        yield from connection.execute(f"SELECT {picked} FROM {table} ORDER BY {order} {direction}")  # noqa: S608  our names


def _drop_what_is_doubtful(fresh: sqlite3.Connection, *, consents_are_whole: bool) -> None:
    ledger.set_fact(fresh, "policy_confirmed_at", None)
    for seq, sha256, payload in fresh.execute("SELECT seq, sha256, payload FROM sealed").fetchall():
        if hashlib.sha256(bytes(payload)).hexdigest() != sha256:
            fresh.execute("DELETE FROM sealed WHERE seq = ?", (seq,))
    fresh.execute(
        "DELETE FROM waiting WHERE stream NOT IN (SELECT id FROM stream)"
        " OR permit NOT IN (SELECT id FROM permit)"
    )
    if consents_are_whole:
        return
    for table in ("consent_event", "waiting", "sealed", "dead_letter", "counter"):
        fresh.execute(f"DELETE FROM {table}")  # noqa: S608  our names
    fresh.execute("UPDATE stream SET period = NULL, head = ''")
    ledger.set_fact(fresh, "last_message", None)
