"""Reading a store: the questions, asked of files and inbox of one moment.

Any process may read while one other writes. A file that compaction removed between looking it up
and opening it is looked up again.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

import duckdb
import numpy as np
import pandas as pd

from cloud.errors import BadReadingsQuery, StoreClosed, StoreDamaged
from cloud.readings import catalogue, shortfalls
from cloud.readings.catalogue import LiveFile, Stream
from cloud.readings.columns import BUCKETS, Chunk, bucket_of, chunks_to_table
from cloud.readings.coverage import from_us, to_us
from cloud.readings.grid import grid_of
from cloud.readings.leases import Leases
from cloud.readings.ports import BrokenChain, StoreCounts
from cloud.readings.queries import Engine, sum_of_homes
from cloud.readings.row_sql import Source
from gateway.wire.batch import GapRecord
from gateway.wire.reading import Purpose, Quantity, StreamKey

CATALOGUE_FILE = "catalogue.sqlite"
TRIES = 5
_FOREVER_US = 253_402_300_799_000_000

_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")
_Reader = TypeVar("_Reader", bound="StoreReader")


def _with_files_of_one_moment(
    question: Callable[Concatenate[_Reader, _Asked], _Answer],
) -> Callable[Concatenate[_Reader, _Asked], _Answer]:
    """Ask again when another process removed a file meanwhile."""

    @functools.wraps(question)
    def asking(self: _Reader, /, *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        for _ in range(TRIES - 1):
            try:
                return question(self, *args, **kwargs)
            except duckdb.IOException:
                continue
        try:
            return question(self, *args, **kwargs)
        except duckdb.IOException as fault:
            raise StoreDamaged(path=str(self.folder), problem=str(fault)) from fault

    return asking


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What one question sees: streams, and files and inbox of the same moment."""

    streams: list[Stream]
    source: Source


class StoreReader:
    """All questions of `ReadingStore`, without writing anything.

    Args:
        folder: The store's folder.

    Raises:
        NotFound: There is no store.
        StoreDamaged: It is of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._catalogue = folder / CATALOGUE_FILE
        self._leases = Leases()
        self._is_closed = False
        with closing(catalogue.open_catalogue(self._catalogue, read_only=True)):
            self._engine = Engine()

    @_with_files_of_one_moment
    def home_matrix(
        self,
        households: Iterable[str],
        *,
        quantity: Quantity,
        purpose: Purpose,
        start: datetime,
        end: datetime,
        step_s: int,
    ) -> pd.DataFrame:
        """See `ReadingStore.home_matrix`."""
        names = _checked_names(households)
        grid = grid_of(start, end, step_s, len(names))
        with self._view(names, quantity, purpose, grid.start_us, grid.end_us) as view:
            matrix = sum_of_homes(self._engine, view.source, _by_home(names, view.streams), grid)
        return pd.DataFrame(matrix.T, index=grid.index(), columns=pd.Index(names, dtype=object))

    @_with_files_of_one_moment
    def group_load(
        self,
        households: Iterable[str],
        *,
        quantity: Quantity,
        purpose: Purpose,
        start: datetime,
        end: datetime,
        step_s: int,
    ) -> pd.DataFrame:
        """See `ReadingStore.group_load`."""
        names = _checked_names(households)
        grid = grid_of(start, end, step_s, 1)
        with self._view(names, quantity, purpose, grid.start_us, grid.end_us) as view:
            homes = _by_home(names, view.streams)
            single = [streams[0] for streams in homes if len(streams) == 1]
            several = [streams for streams in homes if len(streams) > 1]
            total, present, top = self._engine.sums(view.source, single, grid)
            for streams in several:
                home_wh = sum_of_homes(self._engine, view.source, [streams], grid)[0]
                known = ~np.isnan(home_wh)
                energy_wh = np.where(known, home_wh, 0.0)
                total, present = total + energy_wh, present + known
                top = np.maximum(top, energy_wh)
        return pd.DataFrame(
            {
                "energy_wh": np.rint(total).astype(np.int64),
                "homes": present.astype(np.int64),
                "top_home_wh": np.rint(top).astype(np.int64),
            },
            index=grid.index(),
        )

    @_with_files_of_one_moment
    def home_readings(
        self, household: str, *, start: datetime, end: datetime, purpose: Purpose | None = None
    ) -> pd.DataFrame:
        """See `ReadingStore.home_readings`."""
        if start.tzinfo is None or end.tzinfo is None or start >= end:
            raise BadReadingsQuery("start and end must be aware times, the start first")
        start_us, end_us = to_us(start), to_us(end)
        with self._view([household], None, purpose, start_us, end_us) as view:
            ordered = sorted(view.streams, key=lambda stream: stream.key)
            return self._engine.rows(view.source, ordered, start_us, end_us)

    def streams(self, household: str) -> tuple[StreamKey, ...]:
        """See `ReadingStore.streams`."""
        with self._reading() as connection:
            found = catalogue.streams_of(connection, household)
        return tuple(sorted(stream.key for stream in found if stream.epochs))

    @_with_files_of_one_moment
    def counts(self) -> StoreCounts:
        """See `ReadingStore.counts`."""
        with self._leases.hold(), self._reading() as connection:
            connection.execute("BEGIN")
            batches = connection.execute("SELECT count(*) FROM batch").fetchone()[0]
            accepted, gaps = connection.execute(
                "SELECT coalesce(sum(accepted), 0), coalesce(sum(gaps), 0) FROM stream"
            ).fetchone()
            files = catalogue.live_files(connection)
            streams = catalogue.all_streams(connection)
            chunks = catalogue.waiting_chunks(connection, None, start_us=0, end_us=_FOREVER_US)
            connection.execute("COMMIT")
            distinct, energy_wh = self._totals(files, streams, chunks)
        return StoreCounts(
            batches=batches,
            intervals_accepted=accepted,
            intervals_distinct=distinct,
            gaps=gaps,
            energy_wh=energy_wh,
            intervals_waiting=sum(chunk.intervals for chunk in chunks),
            files=len(files),
            bytes_on_disk=sum(file.size_bytes for file in files) + self._catalogue_bytes(),
        )

    def gaps(self, household: str) -> tuple[GapRecord, ...]:
        """See `ReadingStore.gaps`."""
        with self._reading() as connection:
            return tuple(shortfalls.gaps(connection, household))

    def broken_chains(self, household: str | None = None) -> tuple[BrokenChain, ...]:
        """See `ReadingStore.broken_chains`."""
        with self._reading() as connection:
            return tuple(shortfalls.broken_chains(connection, household))

    def close(self) -> None:
        """Let go of memory and files. Twice is harmless."""
        self._is_closed = True
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        if self._is_closed:
            raise StoreClosed
        with closing(catalogue.open_catalogue(self._catalogue, read_only=True)) as connection:
            yield connection

    @contextmanager
    def _view(
        self,
        households: Sequence[str],
        quantity: Quantity | None,
        purpose: Purpose | None,
        start_us: int,
        end_us: int,
    ) -> Iterator[_View]:
        """Hold the files of one moment, and what the inbox had at that moment."""
        with self._leases.hold():
            with self._reading() as connection:
                connection.execute("BEGIN")
                streams = _sought(connection, households, quantity, purpose)
                buckets = {bucket_of(stream.household) for stream in streams}
                files = [
                    file
                    for file in catalogue.live_files(connection)
                    if file.bucket in buckets and _months_meet(file.month, start_us, end_us)
                ]
                chunks = catalogue.waiting_chunks(
                    connection,
                    [stream.number for stream in streams],
                    start_us=start_us,
                    end_us=end_us,
                )
                connection.execute("COMMIT")
            source = Source(root=self.folder, files=files, inbox=chunks_to_table(chunks))
            yield _View(streams=streams, source=source)

    def _totals(
        self,
        files: Sequence[LiveFile],
        streams: Sequence[Stream],
        chunks: Sequence[Chunk],
    ) -> tuple[int, dict[tuple[Quantity, Purpose], int]]:
        """Bucket by bucket, so that counting a large store stays small in memory."""
        distinct = 0
        energy_wh: dict[tuple[Quantity, Purpose], int] = {}
        for bucket in range(BUCKETS):
            inside = {
                stream.number: stream for stream in streams if bucket_of(stream.household) == bucket
            }
            source = Source(
                root=self.folder,
                files=[file for file in files if file.bucket == bucket],
                inbox=chunks_to_table([chunk for chunk in chunks if chunk.stream in inside]),
            )
            found = self._engine.totals(source, list(inside.values()), 0, _FOREVER_US)
            for number, (count, energy) in found.items():
                key = (inside[number].key.quantity, inside[number].key.purpose)
                distinct += count
                energy_wh[key] = energy_wh.get(key, 0) + energy
        return distinct, energy_wh

    def _catalogue_bytes(self) -> int:
        paths = (self._catalogue, self._catalogue.with_name(CATALOGUE_FILE + "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())


def _checked_names(households: Iterable[str]) -> list[str]:
    names = list(households)
    if len(set(names)) != len(names):
        raise BadReadingsQuery("a home is named twice; name each once")
    return names


def _sought(
    connection: sqlite3.Connection,
    households: Sequence[str],
    quantity: Quantity | None,
    purpose: Purpose | None,
) -> list[Stream]:
    if quantity is not None and purpose is not None and len(households) > 1:
        wanted = set(households)
        found = catalogue.streams_for(connection, quantity, purpose)
        return [stream for stream in found if stream.household in wanted and stream.epochs]
    return [
        stream
        for household in households
        for stream in catalogue.streams_of(connection, household)
        if stream.epochs
        and (quantity is None or stream.key.quantity is quantity)
        and (purpose is None or stream.key.purpose is purpose)
    ]


def _by_home(names: Sequence[str], streams: Sequence[Stream]) -> list[list[Stream]]:
    homes: dict[str, list[Stream]] = {name: [] for name in names}
    for stream in streams:
        homes[stream.household].append(stream)
    return list(homes.values())


def _months_meet(month: str, start_us: int, end_us: int) -> bool:
    return f"{from_us(start_us):%Y-%m}" <= month <= f"{from_us(end_us):%Y-%m}"
