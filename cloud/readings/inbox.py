"""The durable inbox: one thread that writes, many batches to a commit.

A batch is answered only after the transaction that holds it is on disk. All writing to the
catalogue goes through this one thread, compaction's swap and erasure included, so no two writers
ever wait for each other.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from cloud.errors import BatchNumberReused, CloudError, StoreBusy, StoreClosed, StoreUnavailable
from cloud.metrics import CHAIN_BREAKS
from cloud.readings.acceptance import AcceptedRows, take_part
from cloud.readings.catalogue import open_catalogue
from cloud.readings.chain import Chain, ChainBreak, Link, follow
from cloud.readings.columns import pack
from cloud.readings.coverage import Coverage, to_us
from cloud.readings.ports import CheckedBatch, CheckedPart
from cloud.readings.shortfalls import KEEP_CHAINS, chain_of, chain_to_columns
from gateway.wire.batch import BatchAnswer, GapRecord, PartAnswer, part_hash
from gateway.wire.reading import StreamKey

QUEUE_MAX = 4096
"""Batches that may wait for the writer; one more is refused, and its sender retries."""

GROUP_MAX = 512
"""Batches to one commit."""

COVERAGE_CACHE_MAX = 50_000
"""Streams and epochs whose coverage stays in memory."""

_SEVERAL = -1
"""In the place of a stream's only epoch: it has several."""

ROWS_PER_STATEMENT = 32
"""Rows to one INSERT. Each statement lets go of the interpreter and has to win it back from the
thread that answers requests, which costs far more than the row itself."""

log = logging.getLogger("commonwatt.readings")
_Result = TypeVar("_Result")
_ChainKey = tuple[int, str]
_CoverageKey = tuple[int, int, bool]


@dataclass(slots=True, kw_only=True)
class _Append:
    checked: CheckedBatch
    future: Future[BatchAnswer] = field(default_factory=Future)


@dataclass(slots=True, kw_only=True)
class _Task:
    action: Callable[[sqlite3.Connection], Any]
    is_transaction: bool
    future: Future[Any] = field(default_factory=Future)


@dataclass(slots=True)
class _Stop:
    """End mark of the queue."""


class Inbox:
    """Owner of the only connection that writes."""

    def __init__(self, path: Path, *, queue_max: int = QUEUE_MAX) -> None:
        self._connection = open_catalogue(path)
        self._queue: queue.Queue[_Append | _Task | _Stop] = queue.Queue(maxsize=queue_max)
        self._gate = threading.Lock()
        self._is_closed = False
        self._ledger = _Ledger(self._connection)
        self._thread = threading.Thread(target=self._work, name="readings-inbox", daemon=True)
        self._thread.start()

    def append(self, checked: CheckedBatch) -> Future[BatchAnswer]:
        """Queue a batch; see `ReadingStore.append`."""
        item = _Append(checked=checked)
        with self._gate:
            if self._is_closed:
                raise StoreClosed
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                raise StoreBusy(waiting=self._queue.qsize()) from None
        return item.future

    def run(
        self, action: Callable[[sqlite3.Connection], _Result], *, is_transaction: bool = True
    ) -> _Result:
        """Let the writer do something between two groups, and wait for it.

        Args:
            action: Gets the writing connection; in a transaction of its own if `is_transaction`.
            is_transaction: False for what SQLite refuses inside one (VACUUM, checkpoints).
        """
        task = _Task(action=action, is_transaction=is_transaction)
        with self._gate:
            if self._is_closed:
                raise StoreClosed
        self._queue.put(task)
        result: _Result = task.future.result()
        return result

    def close(self) -> None:
        """Write what waits, then stop. Twice is harmless."""
        with self._gate:
            first = not self._is_closed
            self._is_closed = True
        if first:
            self._queue.put(_Stop())
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        item = self._queue.get()
        while not isinstance(item, _Stop):
            if isinstance(item, _Task):
                self._do_task(item)
                item = self._queue.get()
            else:
                group, following = self._gather(item)
                self._commit_group(group)
                item = self._queue.get() if following is None else following
        self._refuse_latecomers()

    def _gather(self, first: _Append) -> tuple[list[_Append], _Append | _Task | _Stop | None]:
        """Take what waits, up to the size of a group; the second is what came after it."""
        group: list[_Append] = []
        item: _Append | _Task | _Stop = first
        while isinstance(item, _Append) and len(group) < GROUP_MAX:
            if item.future.set_running_or_notify_cancel():
                group.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, None
        return group, item

    def _commit_group(self, group: list[_Append]) -> None:
        if not group:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._ledger.enter(item.checked) for item in group]
            self._ledger.flush()
            self._connection.execute("COMMIT")
        except Exception as fault:  # noqa: BLE001 - whatever failed, nothing of the group is stored
            self._roll_back()
            if len(group) > 1:
                # One batch that cannot be written must not spoil those that came with it.
                for item in group:
                    self._commit_group([item])
                return
            outcomes = [StoreUnavailable(f"the inbox could not write: {fault}")]
        self._ledger.tell_of_breaks()
        for item, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, CloudError):
                item.future.set_exception(outcome)
            else:
                item.future.set_result(outcome)

    def _do_task(self, task: _Task) -> None:
        if not task.future.set_running_or_notify_cancel():
            return
        try:
            if task.is_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            result = task.action(self._connection)
            if task.is_transaction:
                self._connection.execute("COMMIT")
        except BaseException as fault:  # noqa: BLE001 - handed to whoever waits for the task
            self._roll_back()
            task.future.set_exception(fault)
        else:
            self._ledger.forget()
            task.future.set_result(result)

    def _roll_back(self) -> None:
        self._ledger.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _refuse_latecomers(self) -> None:
        """A task may have slipped in behind the end mark; nobody must wait for ever."""
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if not isinstance(item, _Stop) and item.future.set_running_or_notify_cancel():
                item.future.set_exception(StoreClosed())


class _Ledger:
    """Turns batches into rows, with the coverage of recent streams at hand."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._streams: dict[tuple[str, StreamKey], int] = {}
        self._coverage: OrderedDict[_CoverageKey, Coverage] = OrderedDict()
        self._only_life: dict[int, int] = {}
        self._lives: dict[int, Coverage] = {}
        self._touched: set[_CoverageKey] = set()
        self._tallies: dict[int, list[int]] = {}
        self._chunks: list[tuple[Any, ...]] = []
        self._signed: list[tuple[Any, ...]] = []
        self._chains: OrderedDict[_ChainKey, Chain] = OrderedDict()
        self._followed: dict[_ChainKey, int | None] = {}
        self._breaks: list[tuple[str, int, ChainBreak]] = []

    def forget(self) -> None:
        """Drop all that was remembered: the disk may say otherwise."""
        self._streams.clear()
        self._coverage.clear()
        self._only_life.clear()
        self._lives.clear()
        self._touched.clear()
        self._tallies.clear()
        self._chunks.clear()
        self._signed.clear()
        self._chains.clear()
        self._followed.clear()
        self._breaks.clear()

    def enter(self, checked: CheckedBatch) -> BatchAnswer | CloudError:
        """Take one batch into the open transaction, or say why not; `flush` writes the rest."""
        sha256 = hashlib.sha256(checked.payload)
        batch, is_known = self._add_batch(checked, sha256.digest())
        if batch is None:
            return BatchNumberReused(gateway=checked.gateway, seq=checked.seq)
        answers: list[PartAnswer] = []
        stored = 0
        for part in checked.parts:
            answer, rows = self._enter_part(checked.household, part, batch)
            answers.append(answer)
            stored += len(rows)
            if not is_known and checked.signature:
                self._follow(checked, part, is_new=answer.accepted > 0)
        for gap in checked.gaps:
            self._enter_gap(checked.household, gap)
        # What was refused is not kept either, so a batch refused in part leaves no signed body.
        if stored and not any(part.refused for part in checked.parts):
            packed = pa.compress(checked.payload, codec="zstd", asbytes=True)
            self._signed.append((batch, len(checked.payload), packed, checked.signature))
        return BatchAnswer(seq=checked.seq, sha256=sha256.hexdigest(), parts=tuple(answers))

    def flush(self) -> None:
        """Write intervals, coverage and tallies of the group; then the group may commit."""
        vanished: list[tuple[Any, ...]] = []
        covered: list[tuple[Any, ...]] = []
        for key in self._touched:
            gone, changed = self._coverage[key].take_changes()
            vanished += [(*key, start_us) for start_us in gone]
            covered += [(*key, *both) for both in changed]
        self._connection.executemany(
            "DELETE FROM coverage WHERE stream = ? AND epoch = ? AND is_gap = ? AND start_us = ?",
            vanished,
        )
        self._write_rows(
            # Without WHERE, SQLite would take ON CONFLICT for the condition of a join.
            "INSERT INTO coverage SELECT * FROM ({rows}) WHERE true"
            " ON CONFLICT DO UPDATE SET end_us = excluded.end_us",
            covered,
        )
        self._write_rows("INSERT OR REPLACE INTO signed {rows}", self._signed)
        self._write_rows(
            "INSERT INTO chunk (batch, stream, epoch, start_us, end_us, intervals, packed) {rows}",
            self._chunks,
        )
        self._write_rows(
            "UPDATE stream SET accepted = accepted + more.column2, gaps = gaps + more.column3"
            " FROM ({rows}) AS more WHERE id = more.column1",
            [(stream, *tally) for stream, tally in self._tallies.items()],
        )
        self._write_rows(
            KEEP_CHAINS,
            [
                (*key, *chain_to_columns(self._chains[key]), noticed_us)
                for key, noticed_us in self._followed.items()
            ],
        )
        self._touched.clear()
        self._tallies.clear()
        self._chunks.clear()
        self._signed.clear()
        self._followed.clear()
        while len(self._chains) > COVERAGE_CACHE_MAX:
            self._chains.popitem(last=False)
        while len(self._coverage) > COVERAGE_CACHE_MAX:
            self._coverage.popitem(last=False)
        if len(self._only_life) > COVERAGE_CACHE_MAX:
            self._only_life.clear()
            self._lives.clear()

    def tell_of_breaks(self) -> None:
        """Count and log what the group that is now on disk broke, for the operator."""
        for gateway, seq, kind in self._breaks:
            CHAIN_BREAKS.labels(kind.value).inc()
            log.warning("chain broken kind=%s gateway=%s batch=%d", kind, gateway, seq)
        self._breaks.clear()

    def _write_rows(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Run a statement with many rows at a time in the place of `{rows}`."""
        for first in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[first : first + ROWS_PER_STATEMENT]
            row = f"({', '.join('?' * len(some[0]))})"
            self._connection.execute(
                statement.replace("{rows}", f"VALUES {', '.join([row] * len(some))}"),
                tuple(chain.from_iterable(some)),
            )

    def _add_batch(self, checked: CheckedBatch, sha256: bytes) -> tuple[int | None, bool]:
        """Number of the batch, or None if other bytes came under its name; whether it was known."""
        cursor = self._connection.execute(
            "INSERT INTO batch (gateway, seq, sha256, household, received_us)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                checked.gateway,
                checked.seq,
                sha256,
                checked.household,
                to_us(checked.received_at),
            ),
        )
        if cursor.rowcount:
            return int(cursor.lastrowid or 0), False
        number, known = self._connection.execute(
            "SELECT id, sha256 FROM batch WHERE gateway = ? AND seq = ?",
            (checked.gateway, checked.seq),
        ).fetchone()
        return (int(number) if known == sha256 else None), True

    def _enter_part(
        self, household: str, checked: CheckedPart, batch: int
    ) -> tuple[PartAnswer, AcceptedRows]:
        if not checked.admissible:
            # What was never let in leaves no trace, not even a name in the dictionary.
            answer, rows, _ = take_part(checked, energy=Coverage(), gaps=Coverage())
            return answer, rows
        stream = self._stream(household, checked.part.stream)
        epoch = checked.part.epoch
        lives = self._all_lives(stream, epoch)
        answer, rows, new_gaps = take_part(
            checked,
            energy=self._covered(stream, epoch, is_gap=False),
            gaps=self._covered(stream, epoch, is_gap=True),
            lives=lives,
        )
        if lives is not None:
            lives.take_changes()  # on disk is what each life covers, and not their sum
        if rows:
            self._chunks.append(
                (
                    batch,
                    stream,
                    epoch,
                    int(rows.start_us.min()),
                    int(rows.end_us.max()),
                    len(rows),
                    pack(rows),
                ),
            )
        if answer.accepted:
            tally = self._tallies.setdefault(stream, [0, 0])
            tally[0] += len(rows)
            tally[1] += new_gaps
        return answer, rows

    def _follow(self, checked: CheckedBatch, part: CheckedPart, *, is_new: bool) -> None:
        """See whether a part comes after the one before it."""
        if part.admissible:
            stream = self._stream(checked.household, part.part.stream)
        else:
            found = self._known_stream(checked.household, part.part.stream)
            if found is None:
                return
            stream = found
        key = (stream, checked.gateway)
        chain = self._chains.get(key) or chain_of(self._connection, *key)
        link = Link(
            seq=part.part.seq,
            prev=bytes.fromhex(part.part.prev),
            # What was refused is not kept, and so not its hash.
            sha256=b"" if part.refused else bytes.fromhex(part_hash(part.part)),
            is_new=is_new,
        )
        self._chains[key], kind = follow(chain, link)
        self._chains.move_to_end(key)
        noticed_us = self._followed.get(key)
        if kind is not None:
            self._breaks.append((checked.gateway, checked.seq, kind))
            noticed_us = to_us(checked.received_at)
        self._followed[key] = noticed_us

    def _enter_gap(self, household: str, gap: GapRecord) -> None:
        key = StreamKey(meter=gap.meter, quantity=gap.quantity, purpose=gap.purpose)
        stream = self._stream(household, key)
        added = self._connection.execute(
            "INSERT INTO gap (stream, start_us, end_us, reason, intervals)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (stream, to_us(gap.start), to_us(gap.end), gap.reason, gap.intervals),
        ).rowcount
        if added:
            self._tallies.setdefault(stream, [0, 0])[1] += gap.intervals

    def _stream(self, household: str, key: StreamKey) -> int:
        number = self._streams.get((household, key))
        if number is None:
            names = (household, key.meter, key.quantity, key.purpose)
            self._connection.execute(
                "INSERT INTO stream (household, meter, quantity, purpose) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                names,
            )
            row = self._connection.execute(
                "SELECT id FROM stream WHERE household = ? AND meter = ? AND quantity = ?"
                " AND purpose = ?",
                names,
            ).fetchone()
            number = int(row[0])
            if len(self._streams) >= COVERAGE_CACHE_MAX:
                self._streams.clear()
            self._streams[household, key] = number
        return number

    def _known_stream(self, household: str, key: StreamKey) -> int | None:
        """Number of a stream, without entering it in the dictionary."""
        row = self._connection.execute(
            "SELECT id FROM stream WHERE household = ? AND meter = ? AND quantity = ?"
            " AND purpose = ?",
            (household, key.meter, key.quantity, key.purpose),
        ).fetchone()
        return None if row is None else int(row[0])

    def _all_lives(self, stream: int, epoch: int) -> Coverage | None:
        """Time that any life of a stream's counter has energy for; None while there is but one."""
        lives = self._lives.get(stream)
        if lives is not None:
            return lives
        if stream not in self._only_life:
            found = self._connection.execute(
                "SELECT min(epoch), max(epoch) FROM coverage WHERE stream = ? AND is_gap = 0",
                (stream,),
            ).fetchone()
            first, last = (epoch, epoch) if found[0] is None else found
            self._only_life[stream] = int(first) if first == last else _SEVERAL
        if self._only_life[stream] == epoch:
            return None
        lives = Coverage()
        ranges = self._connection.execute(
            "SELECT start_us, end_us FROM coverage WHERE stream = ? AND is_gap = 0", (stream,)
        ).fetchall()
        for key in self._touched:
            # What the open group has covered is on disk only when the group is.
            if key[0] == stream and not key[2]:
                ranges += self._coverage[key].ranges()
        for start_us, end_us in ranges:
            lives.add(start_us, end_us)
        self._lives[stream] = lives
        return lives

    def _covered(self, stream: int, epoch: int, *, is_gap: bool) -> Coverage:
        key = (stream, epoch, is_gap)
        coverage = self._coverage.get(key)
        if coverage is None:
            coverage = Coverage(
                self._connection.execute(
                    "SELECT start_us, end_us FROM coverage"
                    " WHERE stream = ? AND epoch = ? AND is_gap = ?",
                    key,
                )
            )
            self._coverage[key] = coverage
        else:
            self._coverage.move_to_end(key)
        self._touched.add(key)
        return coverage
