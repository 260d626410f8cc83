"""The SQL that questions are made of. Pure text: whole numbers and our own file names only.

DuckDB takes no parameters in a file list, and a plan made of literals can skip whole files and row
groups, which is most of what makes a question quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from cloud.readings.acceptance import QUALITY_CODE
from cloud.readings.catalogue import LiveFile, Stream
from cloud.readings.coverage import from_us
from cloud.readings.grid import Grid
from gateway.wire.reading import Quality

WANTED = "wanted"
INBOX = "inbox"
"""Names under which the two tables of a question are registered."""

NAMED_MAX = 64
"""Up to this many streams are named in the text; more are joined."""

_PARTIAL = QUALITY_CODE[Quality.PARTIAL]
_COLUMNS = "stream, epoch, start, duration_us, energy_wh, quality, version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one question reads: files that count, and the inbox rows that are in none of them."""

    root: Path
    files: Sequence[LiveFile]
    inbox: pa.Table

    def shortest_us(self) -> int:
        """Length of the shortest interval in it [µs]; 0 if there is none."""
        lengths = [file.shortest_us for file in self.files]
        if self.inbox.num_rows:
            lengths.append(pc.min(self.inbox.column("duration_us")).as_py())
        return min(lengths, default=0)


def rows_clause(source: Source, streams: Sequence[Stream], start_us: int, end_us: int) -> str:
    """`WITH rows AS (…)`: intervals of the streams that start in `[start, end)`."""
    numbers = sorted(stream.number for stream in streams)
    inside = [file for file in source.files if _is_inside(file.month, start_us, end_us)]
    cut = [file for file in source.files if not _is_inside(file.month, start_us, end_us)]
    window = (
        f"start >= '{from_us(start_us).isoformat()}'::TIMESTAMPTZ"
        f" AND start < '{from_us(end_us).isoformat()}'::TIMESTAMPTZ"
    )
    chosen = _stream_condition(numbers)
    parts = []
    if source.inbox.num_rows or not source.files:
        parts.append(f"SELECT {_COLUMNS} FROM {INBOX} WHERE {chosen} AND {window}")  # noqa: S608 - see module
    if inside:
        parts.append(f"SELECT {_COLUMNS} FROM {_files(source.root, inside)} WHERE {chosen}")  # noqa: S608 - see module
    if cut:
        files = _files(source.root, cut)
        parts.append(f"SELECT {_COLUMNS} FROM {files} WHERE {chosen} AND {window}")  # noqa: S608 - see module
    return f"WITH rows AS ({' UNION ALL '.join(parts)}) "


def is_joined(streams: Sequence[Stream]) -> bool:
    """Whether the streams must be registered as `wanted`."""
    numbers = [stream.number for stream in streams]
    return len(numbers) > NAMED_MAX and max(numbers) - min(numbers) + 1 != len(numbers)


def fills_alone(streams: Sequence[Stream], grid: Grid) -> str:
    """Condition of intervals that are one step long, and need no other beside them."""
    condition = f"duration_us = {grid.step_us} AND quality <> {_PARTIAL}"
    several = _several_lives(streams)
    return f"{condition} AND stream NOT IN ({several})" if several else condition


def needs_adding(source: Source, streams: Sequence[Stream], grid: Grid) -> bool:
    """Whether some steps may be filled by several intervals together."""
    return bool(_several_lives(streams)) or 0 < source.shortest_us() < grid.step_us


def filled_together(streams: Sequence[Stream], grid: Grid) -> str:
    """SQL of the steps that shorter intervals fill wholly: stream, cell, energy_wh.

    Where several lives of a counter share an interval, the newest version of it counts, and none if
    one of them is partial.
    """
    start = "epoch_us(start)"
    cell = f"(start_us - {grid.start_us}) // {grid.step_us}"
    last_cell = f"(start_us + duration_us - 1 - {grid.start_us}) // {grid.step_us}"
    known = f"quality <> {_PARTIAL} AND {start} + duration_us <= {grid.end_us}"
    several = _several_lives(streams)
    simple = f" AND stream NOT IN ({several})" if several else ""
    shorter = (
        f"SELECT stream, {start} AS start_us, duration_us, energy_wh FROM rows"  # noqa: S608 - see module
        f" WHERE duration_us < {grid.step_us} AND {known}{simple}"
    )
    if several:
        shorter += (
            f" UNION ALL SELECT stream, {start} AS start_us, duration_us,"  # noqa: S608 - see module
            f" arg_max(energy_wh, version) AS energy_wh FROM rows WHERE stream IN ({several}) GROUP BY stream, start, duration_us"
            f" HAVING bool_and({known})"
        )
    return (
        f"SELECT stream, {cell} AS cell, sum(energy_wh)::BIGINT AS energy_wh FROM ({shorter})"  # noqa: S608 - see module
        f" WHERE {cell} = {last_cell} GROUP BY stream, {cell}"
        f" HAVING sum(duration_us) = {grid.step_us}"
    )


def _stream_condition(numbers: Sequence[int]) -> str:
    if not numbers:
        return "false"
    low, high = numbers[0], numbers[-1]
    if high - low + 1 == len(numbers):
        return f"stream BETWEEN {low} AND {high}"
    if len(numbers) <= NAMED_MAX:
        return f"stream IN ({', '.join(map(str, numbers))})"
    return f"stream BETWEEN {low} AND {high} AND stream IN (SELECT stream FROM {WANTED})"  # noqa: S608 - see module


def _several_lives(streams: Sequence[Stream]) -> str:
    """Numbers of the streams whose counter began anew at least once."""
    return ", ".join(str(stream.number) for stream in streams if stream.epochs > 1)


def _is_inside(month: str, start_us: int, end_us: int) -> bool:
    """Whether a whole UTC month lies in `[start, end)`."""
    return f"{from_us(start_us - 1):%Y-%m}" < month < f"{from_us(end_us):%Y-%m}"


def _files(root: Path, files: Sequence[LiveFile]) -> str:
    paths = ", ".join("'" + str(root / file.path).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = false)"
