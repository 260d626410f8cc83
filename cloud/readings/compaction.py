"""Moving the inbox into Parquet files, and taking a home out of everything.

Both write new files first, make them durable, and then change the catalogue in one transaction.
A crash before that transaction leaves files that nobody knows, which the next start sweeps away;
a crash after it leaves files that are listed as garbage, which the next start removes.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloud.errors import StoreUnavailable
from cloud.readings import catalogue, parquet
from cloud.readings.catalogue import LiveFile
from cloud.readings.columns import Chunk, bucket_of, chunks_to_table
from cloud.readings.coverage import from_us, to_us
from cloud.readings.inbox import Inbox
from cloud.readings.leases import Leases
from cloud.readings.mirror_feed import CHUNKS_KEPT_FOR_MIRROR_MAX, IS_MIRRORED, MIRRORED_UPTO
from cloud.readings.ports import Compacted, Erased, Expired
from gateway.wire.reading import StreamKey

MERGE_RATIO = 3
"""A file is merged with new rows once it has at most this many times as many.

So a partition of n rows keeps about log4(n) files, and a row is rewritten about as often."""

INTERVALS_PER_ROUND_MAX = 4_000_000
"""Intervals taken from the inbox at a time; bounds the memory of a compaction."""

BATCHES_KNOWN_DAYS = 400
"""How long a batch is known by its number; sent again later, its intervals are still duplicates."""

READERS_WAIT_S = 60.0
_CHECKPOINT_TRIES = 50
_DAY_US = 86_400_000_000
_SCRUB_DUE = "scrub_due"
_NEVER_US = -(2**62)
_CHECKPOINT_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What one round of compaction takes from the inbox."""

    chunks: list[Chunk]
    upto_chunk: int
    upto_batch: int
    households: dict[int, str]
    files: list[LiveFile]


class Compaction:
    """Everything that replaces files; one at a time."""

    def __init__(
        self,
        *,
        root: Path,
        inbox: Inbox,
        leases: Leases,
        on_step: Callable[[str], None],
    ) -> None:
        self._root = root
        self._path = root / "catalogue.sqlite"
        self._inbox = inbox
        self._leases = leases
        self._on_step = on_step
        self._turn = threading.Lock()

    def compact(self) -> Compacted:
        """See `ReadingStore.compact`."""
        intervals = written = removed = 0
        with self._turn:
            while (one := self._next_round()) is not None:
                done = self._compact_round(one)
                intervals += done.intervals
                written += done.files_written
                removed += done.files_removed
            self._remove_garbage(wait_s=READERS_WAIT_S)
        return Compacted(intervals=intervals, files_written=written, files_removed=removed)

    def erase(self, household: str, *, stream: StreamKey | None = None) -> Erased:
        """See `ReadingStore.erase`."""
        with self._turn:
            with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
                numbers = [
                    found.number
                    for found in catalogue.streams_of(connection, household)
                    if stream is None or found.key == stream
                ]
                files = catalogue.live_files(connection, bucket_of(household))
            unwanted = pa.array(numbers, pa.int32())
            old, new, gone = self._rewrite(
                files, lambda table: pc.is_in(table.column("stream"), value_set=unwanted)
            )
            self._on_step("files renamed")

            def swap(connection: sqlite3.Connection) -> tuple[int, int]:
                _replace_files(connection, old, new)
                return _forget_streams(connection, household, stream)

            waiting, batches = self._inbox.run(swap)
            self._on_step("catalogue changed")
            if not self._remove_garbage(wait_s=READERS_WAIT_S):
                raise StoreUnavailable(
                    f"a reader still holds files of {household}; they go when the store is opened"
                )
            self._scrub_if_due()
        return Erased(
            household=household,
            streams=len(numbers),
            intervals=sum(gone.values()) + waiting,
            batches=batches,
            files_rewritten=len(old),
        )

    def expire(self, cutoffs: Mapping[tuple[str, StreamKey], datetime]) -> Expired:
        """See `ReadingStore.expire`."""
        with self._turn:
            with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
                before_us = {
                    stream.number: to_us(cutoffs[stream.household, stream.key])
                    for stream in catalogue.all_streams(connection)
                    if (stream.household, stream.key) in cutoffs
                }
                files = catalogue.live_files(connection)
            last_month = f"{from_us(max(before_us.values(), default=0)):%Y-%m}"
            due = [file for file in files if file.month <= last_month]
            old, new, gone = self._rewrite(due, lambda table: _too_old(table, before_us))
            self._on_step("files renamed")

            def swap(connection: sqlite3.Connection) -> None:
                _replace_files(connection, old, new)
                connection.executemany(
                    "UPDATE stream SET accepted = accepted - ? WHERE id = ?",
                    [(count, number) for number, count in gone.items()],
                )

            if old:
                self._inbox.run(swap)
                self._on_step("catalogue changed")
            self._remove_garbage(wait_s=READERS_WAIT_S)
        return Expired(intervals=sum(gone.values()), files_rewritten=len(old))

    def sweep(self) -> None:
        """Remove what a crash left behind. Only before anyone reads."""
        with self._turn:
            self._remove_garbage(wait_s=0)
            self._scrub_if_due()
            with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
                known = {file.path for file in catalogue.live_files(connection)}
            for path in parquet.stray_files(self._root, known):
                parquet.remove_file(self._root, path)

    def close(self) -> None:
        """Wait for what is under way."""
        with self._turn:
            return

    def _next_round(self) -> _Round | None:
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            connection.execute("BEGIN")
            after = catalogue.setting(connection, "compacted_upto")
            rows: list[tuple[int, int, int, int, int, bytes]] = []
            intervals = 0
            cursor = connection.execute(
                "SELECT id, batch, stream, epoch, intervals, packed FROM chunk WHERE id > ?"
                " ORDER BY id",
                (after,),
            )
            for row in cursor:
                # Whole batches only, so that a batch's signed form goes with its last interval.
                if intervals >= INTERVALS_PER_ROUND_MAX and row[1] != rows[-1][1]:
                    break
                rows.append(row)
                intervals += row[4]
            if not rows:
                return None
            households = dict(connection.execute("SELECT id, household FROM stream").fetchall())
            files = catalogue.live_files(connection)
        return _Round(
            chunks=[
                Chunk(stream=stream, epoch=epoch, version=batch, intervals=count, packed=packed)
                for _, batch, stream, epoch, count, packed in rows
            ],
            upto_chunk=rows[-1][0],
            upto_batch=rows[-1][1],
            households=households,
            files=files,
        )

    def _compact_round(self, one: _Round) -> Compacted:
        table = chunks_to_table(one.chunks)
        self._on_step("inbox read")
        old: list[LiveFile] = []
        new: list[LiveFile] = []
        for bucket, rows in _split_by_bucket(table, one.households):
            for month, fresh in parquet.split_by_month(rows):
                known = [f for f in one.files if f.month == month and f.bucket == bucket]
                merged = _to_merge(known, fresh.num_rows)
                parts = [parquet.read_file(self._root, file) for file in merged]
                table_of_file = pa.concat_tables([*parts, fresh])
                old += merged
                new.append(
                    parquet.write_file(self._root, table_of_file, month=month, bucket=bucket)
                )
                self._on_step("file renamed")

        def swap(connection: sqlite3.Connection) -> None:
            _replace_files(connection, old, new)
            catalogue.set_setting(connection, "compacted_upto", one.upto_chunk)
            kept_from = _first_chunk_to_keep(connection)
            connection.execute("DELETE FROM chunk WHERE id < ?", (kept_from,))
            connection.execute("DELETE FROM signed WHERE batch <= ?", (one.upto_batch,))
            # Measured from the newest batch and not from the clock, so a wrong clock forgets nothing.
            connection.execute(
                "DELETE FROM batch WHERE received_us < (SELECT max(received_us) FROM batch) - ?",
                (BATCHES_KNOWN_DAYS * _DAY_US,),
            )

        self._inbox.run(swap)
        self._on_step("catalogue changed")
        return Compacted(intervals=table.num_rows, files_written=len(new), files_removed=len(old))

    def _rewrite(
        self, files: Sequence[LiveFile], unwanted: Callable[[pa.Table], pa.Array]
    ) -> tuple[list[LiveFile], list[LiveFile], Counter[int]]:
        """Write every file that holds unwanted rows anew without them.

        Returns:
            The files replaced, the new ones, and how many rows went, by stream number.
        """
        old: list[LiveFile] = []
        new: list[LiveFile] = []
        gone: Counter[int] = Counter()
        for file in files:
            table = parquet.read_file(self._root, file)
            is_unwanted = unwanted(table)
            dropped = table.filter(is_unwanted)
            if not dropped.num_rows:
                continue
            old.append(file)
            counts = pc.value_counts(dropped.column("stream")).to_pylist()
            gone.update({entry["values"]: entry["counts"] for entry in counts})
            kept = table.filter(pc.invert(is_unwanted))
            if kept.num_rows:
                new.append(
                    parquet.write_file(self._root, kept, month=file.month, bucket=file.bucket)
                )
            self._on_step("file renamed")
        return old, new, gone

    def _scrub_if_due(self) -> None:
        """Finish an erasure: nothing stays in free pages or in the write-ahead log."""
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            is_due = bool(catalogue.setting(connection, _SCRUB_DUE))
        if is_due:
            self._inbox.run(_scrub, is_transaction=False)
            self._on_step("scrubbed")
            self._inbox.run(lambda connection: catalogue.set_setting(connection, _SCRUB_DUE, 0))

    def _remove_garbage(self, *, wait_s: float) -> bool:
        """Remove replaced files once nobody reads them; False if somebody still did."""
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            paths = [path for (path,) in connection.execute("SELECT path FROM garbage")]
        if not paths:
            return True
        ended = self._leases.turn()
        if not self._leases.wait_until_unread(ended, timeout_s=wait_s):
            return False
        for path in paths:
            parquet.remove_file(self._root, path)
        self._on_step("garbage removed")

        def forget(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM garbage WHERE path = ?", [(p,) for p in paths])

        self._inbox.run(forget)
        return True


def _to_merge(files: Sequence[LiveFile], rows: int) -> list[LiveFile]:
    """The files small enough to be written anew together with so many new rows."""
    chosen: list[LiveFile] = []
    for file in sorted(files, key=lambda file: file.intervals):
        if file.intervals > MERGE_RATIO * rows:
            break
        chosen.append(file)
        rows += file.intervals
    return chosen


def _split_by_bucket(table: pa.Table, households: dict[int, str]) -> list[tuple[int, pa.Table]]:
    streams = table.column("stream").to_numpy()
    numbers, inverse = np.unique(streams, return_inverse=True)
    buckets = np.array([bucket_of(households[int(number)]) for number in numbers])[inverse]
    return [
        (int(bucket), table.filter(pa.array(buckets == bucket))) for bucket in np.unique(buckets)
    ]


def _too_old(table: pa.Table, before_us: Mapping[int, int]) -> pa.Array:
    """Which rows end at or before their stream's cutoff."""
    streams, inverse = np.unique(table.column("stream").to_numpy(), return_inverse=True)
    cutoffs = np.array([before_us.get(int(number), _NEVER_US) for number in streams])
    ends = (
        table.column("start").cast(pa.int64()).to_numpy() + table.column("duration_us").to_numpy()
    )
    return pa.array(ends <= cutoffs[inverse])


def _replace_files(
    connection: sqlite3.Connection, old: Sequence[LiveFile], new: Sequence[LiveFile]
) -> None:
    connection.executemany("DELETE FROM file WHERE path = ?", [(file.path,) for file in old])
    connection.executemany("INSERT INTO garbage VALUES (?)", [(file.path,) for file in old])
    connection.executemany(
        "INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)",
        [(f.path, f.month, f.bucket, f.intervals, f.size_bytes, f.shortest_us) for f in new],
    )


def _first_chunk_to_keep(connection: sqlite3.Connection) -> int:
    """First chunk that is not in a file yet, or that a mirror still needs."""
    first_waiting = catalogue.setting(connection, "compacted_upto") + 1
    if not catalogue.setting(connection, IS_MIRRORED):
        return first_waiting
    first_unsent = catalogue.setting(connection, MIRRORED_UPTO) + 1
    return min(first_waiting, max(first_unsent, first_waiting - CHUNKS_KEPT_FOR_MIRROR_MAX))


def _forget_streams(
    connection: sqlite3.Connection, household: str, key: StreamKey | None
) -> tuple[int, int]:
    """Delete every row of the streams; returns intervals that waited and batches removed.

    Looks the streams up again: one may have appeared while the files were rewritten.
    """
    numbers = [
        found.number
        for found in catalogue.streams_of(connection, household)
        if key is None or found.key == key
    ]
    after = catalogue.setting(connection, "compacted_upto")
    if catalogue.setting(connection, IS_MIRRORED) and numbers:
        connection.execute(
            "INSERT INTO mirror_erasure (household, meter, quantity, purpose) VALUES (?, ?, ?, ?)",
            (household, *((key.meter, key.quantity, key.purpose) if key else (None, None, None))),
        )
    waiting = batches = 0
    for number in numbers:
        waiting += connection.execute(
            "SELECT coalesce(sum(intervals), 0) FROM chunk WHERE stream = ? AND id > ?",
            (number, after),
        ).fetchone()[0]
        batches += connection.execute(
            "DELETE FROM signed WHERE batch IN (SELECT batch FROM chunk WHERE stream = ?)",
            (number,),
        ).rowcount
        connection.execute("DELETE FROM chunk WHERE stream = ?", (number,))
        connection.execute("DELETE FROM coverage WHERE stream = ?", (number,))
        connection.execute("DELETE FROM gap WHERE stream = ?", (number,))
        connection.execute("DELETE FROM chain WHERE stream = ?", (number,))
        connection.execute("DELETE FROM stream WHERE id = ?", (number,))
    if key is None:
        connection.execute(
            "DELETE FROM signed WHERE batch IN (SELECT id FROM batch WHERE household = ?)",
            (household,),
        )
        gone = connection.execute("DELETE FROM batch WHERE household = ?", (household,)).rowcount
    else:
        gone = 0
    if numbers or gone:
        # Kept on disk, so that an erasure cut short is finished when the store is opened again.
        catalogue.set_setting(connection, _SCRUB_DUE, 1)
    return waiting, batches


def _scrub(connection: sqlite3.Connection) -> None:
    """Leave nothing behind in free pages or in the write-ahead log."""
    connection.execute("VACUUM")
    for _ in range(_CHECKPOINT_TRIES):
        if not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            return
        time.sleep(_CHECKPOINT_PAUSE_S)
    raise StoreUnavailable("a reader keeps the write-ahead log from being emptied; erase again")
