"""Intervals in columns: packed for the inbox, as Arrow for queries and files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloud.readings.acceptance import AcceptedRows

BUCKETS = 16
_BYTES_PER_ROW = 25

SCHEMA = pa.schema(
    [
        pa.field("stream", pa.int32(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("start", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("duration_us", pa.int64(), nullable=False),
        pa.field("energy_wh", pa.int64(), nullable=False),
        pa.field("quality", pa.uint8(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
    ]
)
"""Columns of a Parquet file. `stream` points into the store's dictionary; `quality` is 0 measured,
1 estimated, 2 partial; the highest `version` of an interval counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Packed intervals of one stream and epoch, as they came in one batch."""

    stream: int
    epoch: int
    version: int
    intervals: int
    packed: bytes


def bucket_of(household: str) -> int:
    """Which of the 16 buckets holds a home."""
    return hashlib.sha256(household.encode()).digest()[0] % BUCKETS


def pack(rows: AcceptedRows) -> bytes:
    """Columns to compressed bytes."""
    numbers = (rows.start_us, rows.end_us, rows.energy_wh)
    raw = np.concatenate(numbers, dtype="<i8").tobytes() + rows.quality.tobytes()
    packed: bytes = pa.compress(raw, codec="zstd", asbytes=True)
    return packed


def unpack(packed: bytes, intervals: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Undo `pack`: start, end and energy as rows of one array, shape (3, n), and quality."""
    raw = pa.decompress(packed, intervals * _BYTES_PER_ROW, codec="zstd", asbytes=True)
    numbers = np.frombuffer(raw, dtype="<i8", count=3 * intervals).reshape(3, intervals)
    return numbers, np.frombuffer(raw, dtype=np.uint8, offset=24 * intervals)


def chunks_to_table(chunks: list[Chunk]) -> pa.Table:
    """Lay chunks under each other as one Arrow table of `SCHEMA`."""
    if not chunks:
        return SCHEMA.empty_table()
    unpacked = [unpack(chunk.packed, chunk.intervals) for chunk in chunks]
    numbers = np.concatenate([both for both, _ in unpacked], axis=1)
    lengths = [chunk.intervals for chunk in chunks]
    return table_of(
        stream=np.repeat(np.array([chunk.stream for chunk in chunks], dtype=np.int32), lengths),
        epoch=np.repeat(np.array([chunk.epoch for chunk in chunks], dtype=np.int64), lengths),
        start_us=numbers[0],
        duration_us=numbers[1] - numbers[0],
        energy_wh=numbers[2],
        quality=np.concatenate([letters for _, letters in unpacked]),
        version=np.repeat(np.array([chunk.version for chunk in chunks], dtype=np.int64), lengths),
    )


def table_of(
    *,
    stream: NDArray[np.int32],
    epoch: NDArray[np.int64],
    start_us: NDArray[np.int64],
    duration_us: NDArray[np.int64],
    energy_wh: NDArray[np.int64],
    quality: NDArray[np.uint8],
    version: NDArray[np.int64],
) -> pa.Table:
    """Arrow table of `SCHEMA` from numpy columns."""
    return pa.Table.from_arrays(
        [
            pa.array(stream),
            pa.array(epoch),
            pa.array(start_us).cast(pa.timestamp("us", tz="UTC")),
            pa.array(duration_us),
            pa.array(energy_wh),
            pa.array(quality),
            pa.array(version),
        ],
        schema=SCHEMA,
    )


def newest_sorted(table: pa.Table) -> pa.Table:
    """Sort by stream, epoch and start, and keep the newest version of each interval."""
    ordered = table.sort_by(
        [
            ("stream", "ascending"),
            ("epoch", "ascending"),
            ("start", "ascending"),
            ("version", "descending"),
        ]
    )
    if ordered.num_rows < 2:
        return ordered
    keys = [
        ordered.column("stream").to_numpy(),
        ordered.column("epoch").to_numpy(),
        ordered.column("start").cast(pa.int64()).to_numpy(),
    ]
    is_new = np.ones(ordered.num_rows, dtype=np.bool_)
    is_new[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return ordered if is_new.all() else ordered.filter(pa.array(is_new))
