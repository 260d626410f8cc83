"""Questions to Parquet files and inbox together, answered by DuckDB in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cloud.readings.acceptance import CODE_QUALITY
from cloud.readings.catalogue import Stream
from cloud.readings.grid import Grid, sum_meters
from cloud.readings.row_sql import (
    INBOX,
    WANTED,
    Source,
    filled_together,
    fills_alone,
    is_joined,
    needs_adding,
    rows_clause,
)


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
        # Our files never change under their name, so what they say of themselves holds.
        self._duck.execute("SET GLOBAL parquet_metadata_cache = true")

    def close(self) -> None:
        """Let go of memory and files."""
        self._duck.close()

    @contextmanager
    def _asking(
        self, source: Source, streams: Sequence[Stream]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees the tables of one question."""
        connection = self._duck.cursor()
        try:
            if is_joined(streams):
                numbers = pa.array([stream.number for stream in streams], pa.int32())
                connection.register(WANTED, pa.table({"stream": numbers}))
            if source.inbox.num_rows or not source.files:
                connection.register(INBOX, source.inbox)
            yield connection
        finally:
            connection.close()

    def cells(self, source: Source, streams: Sequence[Stream], grid: Grid) -> NDArray[np.float64]:
        """Energy per stream and step [Wh], NaN where a step is not filled wholly."""
        matrix = np.full((len(streams), grid.steps), np.nan)
        place_of = _places(streams)
        rows = rows_clause(source, streams, grid.start_us, grid.end_us)
        with self._asking(source, streams) as connection:
            found = connection.execute(
                f"{rows} SELECT stream, epoch_us(start) AS start_us, energy_wh FROM rows"  # noqa: S608 - numbers and constant text only, see row_sql
                f" WHERE {fills_alone(streams, grid)}"
            ).fetchnumpy()
            cell, on_grid = _cells(np.asarray(found["start_us"]), grid)
            place = place_of[np.asarray(found["stream"])[on_grid]]
            matrix[place, cell[on_grid]] = np.asarray(found["energy_wh"])[on_grid]
            if needs_adding(source, streams, grid):
                added = connection.execute(rows + filled_together(streams, grid)).fetchnumpy()
                place = place_of[np.asarray(added["stream"])]
                matrix[place, np.asarray(added["cell"])] = added["energy_wh"]
        return matrix

    def sums(self, source: Source, streams: Sequence[Stream], grid: Grid) -> NDArray[np.float64]:
        """Sum, number and largest of the streams per step, shape (3, steps); one stream a home."""
        answer = np.zeros((3, grid.steps))
        rows = rows_clause(source, streams, grid.start_us, grid.end_us)
        sums = "sum(energy_wh)::DOUBLE AS total, count(*) AS homes, max(energy_wh) AS top"
        with self._asking(source, streams) as connection:
            found = connection.execute(
                f"{rows} SELECT epoch_us(start) AS start_us, {sums} FROM rows"  # noqa: S608 - numbers and constant text only, see row_sql
                f" WHERE {fills_alone(streams, grid)} GROUP BY start"
            ).fetchnumpy()
            cell, on_grid = _cells(np.asarray(found["start_us"]), grid)
            for row, name in enumerate(("total", "homes", "top")):
                answer[row, cell[on_grid]] = np.asarray(found[name])[on_grid]
            if needs_adding(source, streams, grid):
                together = filled_together(streams, grid)
                found = connection.execute(
                    f"{rows} SELECT cell, {sums} FROM ({together}) GROUP BY cell"  # noqa: S608 - numbers and constant text only, see row_sql
                ).fetchnumpy()
                cell = np.asarray(found["cell"])
                answer[0, cell] += found["total"]
                answer[1, cell] += found["homes"]
                answer[2, cell] = np.maximum(answer[2, cell], found["top"])
        return answer

    def rows(
        self, source: Source, streams: Sequence[Stream], start_us: int, end_us: int
    ) -> pd.DataFrame:
        """Intervals as they were sent."""
        with self._asking(source, streams) as connection:
            found = connection.execute(
                rows_clause(source, streams, start_us, end_us)  # noqa: S608 - numbers and constant text only, see row_sql
                + "SELECT stream, epoch, epoch_us(start) AS start_us, duration_us, energy_wh,"
                " quality FROM rows"
            ).fetchnumpy()
        return _frame_of_rows(found, streams)

    def totals(
        self, source: Source, streams: Sequence[Stream], start_us: int, end_us: int
    ) -> dict[int, tuple[int, int]]:
        """Different intervals and their energy [Wh] per stream number."""
        with self._asking(source, streams) as connection:
            found = connection.execute(
                rows_clause(source, streams, start_us, end_us)  # noqa: S608 - numbers and constant text only, see row_sql
                + "SELECT stream, count(*), sum(energy_wh)::HUGEINT FROM ("
                " SELECT stream, arg_max(energy_wh, version) AS energy_wh FROM rows"
                " GROUP BY stream, epoch, start) GROUP BY stream"
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


def _places(streams: Sequence[Stream]) -> NDArray[np.int64]:
    """Position in `streams` by stream number."""
    places = np.zeros(max((stream.number for stream in streams), default=0) + 1, dtype=np.int64)
    for place, stream in enumerate(streams):
        places[stream.number] = place
    return places


def _cells(start_us: NDArray[np.int64], grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The step of each start, and whether it begins one of the grid."""
    cell, rest = np.divmod(start_us - grid.start_us, grid.step_us)
    return cell, (rest == 0) & (cell >= 0) & (cell < grid.steps)


def _frame_of_rows(found: Mapping[str, Any], streams: Sequence[Stream]) -> pd.DataFrame:
    place = _places(streams)[np.asarray(found["stream"])]
    order = np.lexsort((found["start_us"], found["epoch"], place))
    place, starts = place[order], np.asarray(found["start_us"])[order]
    found = {name: np.asarray(column)[order] for name, column in found.items()}
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
