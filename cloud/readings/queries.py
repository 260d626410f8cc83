"""Questions to Parquet files and inbox together, answered by DuckDB in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cloud.readings.acceptance import CODE_QUALITY, QUALITY_CODE
from cloud.readings.catalogue import LiveFile, Stream
from cloud.readings.coverage import from_us
from cloud.readings.grid import Grid, sum_meters
from gateway.wire.reading import Quality

_PARTIAL = QUALITY_CODE[Quality.PARTIAL]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one question reads: files that count, and the inbox rows that are in none of them."""

    root: Path
    files: Sequence[LiveFile]
    inbox: pa.Table


class Engine:
    """One DuckDB instance; each question gets a connection of its own."""

    def __init__(self, *, threads: int = 2, memory_limit: str = "2GB") -> None:
        # Without a temporary folder nothing of a reading spills to disk outside the store.
        self._duck = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": memory_limit,
                "temp_directory": "",
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )

    def close(self) -> None:
        """Let go of memory and files."""
        self._duck.close()

    @contextmanager
    def _asking(
        self, source: Source, streams: Sequence[Stream], start_us: int, end_us: int
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees `rows`: the wanted streams' intervals that start in a window.

        `place` is the position of the stream in `streams`.
        """
        connection = self._duck.cursor()
        try:
            connection.register("wanted", _wanted(streams))
            connection.register("inbox", source.inbox)
            connection.execute(_rows_view(source, streams, start_us, end_us))
            yield connection
        finally:
            connection.close()

    def cells(self, source: Source, streams: Sequence[Stream], grid: Grid) -> NDArray[np.float64]:
        """Energy per stream and step [Wh], NaN where a step is not filled wholly."""
        matrix = np.full((len(streams), grid.steps), np.nan)
        with self._asking(source, streams, grid.start_us, grid.end_us) as connection:
            found = connection.execute(_filled_cells(grid)).fetchnumpy()
        matrix[found["place"], found["cell"]] = found["energy_wh"]
        return matrix

    def sums(self, source: Source, streams: Sequence[Stream], grid: Grid) -> NDArray[np.float64]:
        """Sum, number and largest of the streams per step, shape (3, steps); one stream a home."""
        answer = np.zeros((3, grid.steps))
        with self._asking(source, streams, grid.start_us, grid.end_us) as connection:
            found = connection.execute(
                "SELECT cell, sum(energy_wh)::DOUBLE AS total, count(*) AS homes,"  # noqa: S608 - numbers only
                f" max(energy_wh) AS top FROM ({_filled_cells(grid)}) GROUP BY cell"
            ).fetchnumpy()
        for row, name in enumerate(("total", "homes", "top")):
            answer[row, found["cell"]] = found[name]
        return answer

    def rows(
        self, source: Source, streams: Sequence[Stream], start_us: int, end_us: int
    ) -> pd.DataFrame:
        """Intervals as they were sent."""
        with self._asking(source, streams, start_us, end_us) as connection:
            found = connection.execute(
                "SELECT place, epoch, start_us, duration_us, energy_wh, quality FROM rows"
                " ORDER BY place, epoch, start_us"
            ).fetchnumpy()
        return _frame_of_rows(found, streams)

    def totals(
        self, source: Source, streams: Sequence[Stream], start_us: int, end_us: int
    ) -> dict[int, tuple[int, int]]:
        """Different intervals and their energy [Wh] per stream number."""
        with self._asking(source, streams, start_us, end_us) as connection:
            found = connection.execute(
                "SELECT stream, count(*), sum(energy_wh)::HUGEINT FROM ("
                " SELECT stream, arg_max(energy_wh, version) AS energy_wh FROM rows"
                " GROUP BY stream, epoch, start_us) GROUP BY stream"
            ).fetchall()
        return {int(stream): (int(count), int(energy)) for stream, count, energy in found}


def sum_of_homes(
    engine: Engine,
    source: Source,
    homes: Sequence[Sequence[Stream]],
    grid: Grid,
) -> NDArray[np.float64]:
    """Energy per home and step [Wh], NaN missing, shape (homes, steps)."""
    flat = [stream for streams in homes for stream in streams]
    per_stream = engine.cells(source, flat, grid) if flat else np.empty((0, grid.steps))
    if all(len(streams) == 1 for streams in homes):
        return per_stream
    matrix = np.full((len(homes), grid.steps), np.nan)
    position = 0
    for home, streams in enumerate(homes):
        if streams:
            spans = [(stream.first_us, stream.last_us) for stream in streams]
            block = per_stream[position : position + len(streams)]
            matrix[home] = sum_meters(block, spans, grid)
            position += len(streams)
    return matrix


def _wanted(streams: Sequence[Stream]) -> pa.Table:
    return pa.table(
        {
            "stream": pa.array([stream.number for stream in streams], pa.int32()),
            "place": pa.array(range(len(streams)), pa.int32()),
            "has_epochs": pa.array([stream.epochs > 1 for stream in streams], pa.bool_()),
        }
    )


def _rows_view(source: Source, streams: Sequence[Stream], start_us: int, end_us: int) -> str:
    numbers = [stream.number for stream in streams]
    low, high = (min(numbers), max(numbers)) if numbers else (0, -1)
    # Whole numbers and our own file names only; DuckDB takes no parameters in a view.
    window = (
        f"stream BETWEEN {low} AND {high}"
        f" AND start >= '{from_us(start_us).isoformat()}'::TIMESTAMPTZ"
        f" AND start < '{from_us(end_us).isoformat()}'::TIMESTAMPTZ"
    )
    columns = "stream, epoch, start, duration_us, energy_wh, quality, version"
    parts = [f"SELECT {columns} FROM inbox WHERE {window}"]  # noqa: S608 - see above
    if source.files:
        paths = ", ".join(_quoted(source.root / file.path) for file in source.files)
        parts.append(
            f"SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = false)"  # noqa: S608 - see above
            f" WHERE {window}"
        )
    return (
        "CREATE TEMP VIEW rows AS SELECT place, has_epochs, stream, epoch,"  # noqa: S608 - see above
        " epoch_us(start) AS start_us, duration_us, energy_wh, quality, version"
        f" FROM ({' UNION ALL '.join(parts)}) JOIN wanted USING (stream)"
    )


def _filled_cells(grid: Grid) -> str:
    """SQL of the cells that are filled wholly: place, cell, energy_wh.

    An interval as long as the step fills its cell alone; shorter ones fill it together. Two lives
    of a counter inside one interval are added first.
    """
    cell = f"(start_us - {grid.start_us}) // {grid.step_us}"
    last_cell = f"(start_us + duration_us - 1 - {grid.start_us}) // {grid.step_us}"
    on_grid = f"(start_us - {grid.start_us}) % {grid.step_us} = 0"
    known = f"quality <> {_PARTIAL} AND start_us + duration_us <= {grid.end_us}"
    return (
        f"SELECT place, {cell} AS cell, energy_wh FROM rows"  # noqa: S608 - numbers only
        f" WHERE NOT has_epochs AND duration_us = {grid.step_us} AND {on_grid} AND {known}"
        " UNION ALL "
        f"SELECT place, {cell} AS cell, sum(energy_wh)::BIGINT AS energy_wh FROM ("
        " SELECT place, start_us, duration_us, energy_wh FROM rows"
        f" WHERE NOT has_epochs AND duration_us < {grid.step_us} AND {known}"
        " UNION ALL"
        " SELECT place, start_us, duration_us, sum(energy_wh) AS energy_wh FROM rows"
        " WHERE has_epochs GROUP BY place, start_us, duration_us"
        f" HAVING bool_and({known})"
        f") WHERE {cell} = {last_cell}"
        f" GROUP BY place, {cell} HAVING sum(duration_us) = {grid.step_us}"
    )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _frame_of_rows(found: Mapping[str, Any], streams: Sequence[Stream]) -> pd.DataFrame:
    place = found["place"]
    starts = found["start_us"]
    qualities = [str(CODE_QUALITY[code]) for code in sorted(CODE_QUALITY)]
    return pd.DataFrame(
        {
            "meter": _named([stream.key.meter for stream in streams], place),
            "quantity": _named([str(stream.key.quantity) for stream in streams], place),
            "purpose": _named([str(stream.key.purpose) for stream in streams], place),
            "epoch": np.asarray(found["epoch"], dtype=np.int64),
            "start": _stamps(starts),
            "end": _stamps(starts + found["duration_us"]),
            "energy_wh": np.asarray(found["energy_wh"], dtype=np.int64),
            "quality": _named(qualities, found["quality"]),
        }
    )


def _named(names: Sequence[str], positions: NDArray[np.int64]) -> NDArray[np.object_]:
    return np.array([*names, ""], dtype=object)[positions]


def _stamps(moments_us: NDArray[np.int64]) -> pd.DatetimeIndex:
    stamps = np.asarray(moments_us, dtype=np.int64).view("datetime64[us]")
    return pd.DatetimeIndex(stamps).tz_localize("UTC")
