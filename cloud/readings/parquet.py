"""Parquet files of the store: written whole, made durable, then named.

A file that exists under its final name is complete. Whether it counts is for the catalogue to say.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cloud.errors import StoreDamaged, StoreUnavailable
from cloud.readings.catalogue import LiveFile
from cloud.readings.columns import SCHEMA, newest_sorted

FOLDER = "parquet"
PARTIAL_SUFFIX = ".partial"
ROW_GROUP_ROWS = 65_536


def partition_folder(month: str, bucket: int) -> str:
    """Folder of a partition, relative to the store."""
    return f"{FOLDER}/month={month}/bucket={bucket:02d}"


def write_file(root: Path, table: pa.Table, *, month: str, bucket: int) -> LiveFile:
    """Write a partition's rows durably under a new name.

    Args:
        root: The store's folder.
        table: Rows of `SCHEMA`, in any order.
        month: UTC month of all starts, `YYYY-MM`.
        bucket: Bucket of all homes.

    Raises:
        StoreUnavailable: The disk takes nothing; what was begun is removed.
    """
    folder = root / partition_folder(month, bucket)
    path = folder / f"part-{uuid.uuid4().hex}.parquet"
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    ordered = newest_sorted(table)
    try:
        _make_folder_durably(folder, root)
        _write_durably(partial, ordered)
        partial.rename(path)
        sync_folder(folder)
    except OSError as fault:
        partial.unlink(missing_ok=True)
        raise StoreUnavailable(f"{folder} could not be written: {fault}") from fault
    return LiveFile(
        path=str(path.relative_to(root)),
        month=month,
        bucket=bucket,
        intervals=ordered.num_rows,
        size_bytes=path.stat().st_size,
        shortest_us=pc.min(ordered.column("duration_us")).as_py(),
    )


def _write_durably(path: Path, table: pa.Table) -> None:
    with path.open("wb") as sink:
        pq.write_table(
            table,
            sink,
            compression="zstd",
            row_group_size=ROW_GROUP_ROWS,
            use_dictionary=["stream", "epoch", "duration_us", "quality", "version"],
            column_encoding={"start": "DELTA_BINARY_PACKED", "energy_wh": "DELTA_BINARY_PACKED"},
            write_statistics=True,
        )
        sink.flush()
        os.fsync(sink.fileno())


def read_file(root: Path, file: LiveFile) -> pa.Table:
    """Read a live file whole.

    Raises:
        StoreDamaged: It is not there or not readable.
    """
    path = root / file.path
    try:
        # One file, read as such: the folder names are ours and not columns of it.
        return pq.ParquetFile(path).read().cast(SCHEMA)
    except (OSError, pa.ArrowInvalid) as fault:
        raise StoreDamaged(path=str(path), problem=str(fault)) from fault


def split_by_month(table: pa.Table) -> list[tuple[str, pa.Table]]:
    """Cut a table by the UTC month of `start`."""
    months = _months(table)
    return [
        (str(month), table.filter(pa.array(months == month)))
        for month in cast("NDArray[np.datetime64]", np.unique(months))
    ]


def _months(table: pa.Table) -> NDArray[np.datetime64]:
    starts = table.column("start").cast(pa.int64()).to_numpy()
    return cast("NDArray[np.datetime64]", starts.view("datetime64[us]").astype("datetime64[M]"))


def remove_file(root: Path, path: str) -> None:
    """Remove a file and the folders that it leaves empty."""
    target = root / path
    target.unlink(missing_ok=True)
    for folder in (target.parent, target.parent.parent):
        try:
            folder.rmdir()
        except OSError:
            break


def stray_files(root: Path, known: set[str]) -> list[str]:
    """Files that a crash left behind: not in the catalogue, or never finished."""
    paths = (root / FOLDER).glob("month=*/bucket=*/*")
    return [path for path in (str(p.relative_to(root)) for p in paths) if path not in known]


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder_durably(folder: Path, root: Path) -> None:
    missing = []
    while folder != root and not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        sync_folder(new.parent)
