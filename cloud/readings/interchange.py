"""A home's readings as CSV or Parquet: out for the member, and in again.

Columns: `meter`, `quantity`, `purpose`, `epoch`, `start`, `end` (ISO 8601, UTC), `energy_wh`
(integer), `quality`. On the way in, `purpose`, `epoch` and `quality` may be missing.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cloud.errors import BadReadingsFile
from gateway.wire.reading import Quality, Quantity, Reading

FILE_BYTES_MAX = 512 * 1024 * 1024
ROWS_MAX = 5_000_000
COLUMNS = ("meter", "quantity", "purpose", "epoch", "start", "end", "energy_wh", "quality")
_NEEDED = frozenset(("meter", "quantity", "start", "end", "energy_wh"))


def write_csv(frame: pd.DataFrame, path: Path) -> int:
    """Write readings as CSV and return how many.

    Args:
        frame: As `ReadingStore.home_readings` gives them.
        path: Where to write.
    """
    shown = frame[list(COLUMNS)].copy()
    for name in ("start", "end"):
        shown[name] = [stamp.isoformat().replace("+00:00", "Z") for stamp in frame[name]]
    shown.to_csv(path, index=False, lineterminator="\n")
    return len(shown)


def write_parquet(frame: pd.DataFrame, path: Path) -> int:
    """Write readings as Parquet and return how many.

    Args:
        frame: As `ReadingStore.home_readings` gives them.
        path: Where to write.
    """
    table = pa.Table.from_pandas(frame[list(COLUMNS)], preserve_index=False)
    pq.write_table(table, path, compression="zstd")
    return len(frame)


def read_csv(path: Path) -> list[Reading]:
    """Read a CSV file of readings.

    Raises:
        BadReadingsFile: A column is missing or a row makes no sense; the row is named.
    """
    _check_size(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as source:
            rows = csv.DictReader(source)
            _check_columns(path, rows.fieldnames or ())
            return _readings(path, ((f"line {rows.line_num}", row) for row in rows))
    except UnicodeDecodeError as fault:
        raise BadReadingsFile(
            path=str(path), place=f"byte {fault.start}", problem="not UTF-8 text; save it as CSV"
        ) from fault
    except csv.Error as fault:
        raise BadReadingsFile(path=str(path), place="", problem=f"not CSV: {fault}") from fault


def read_parquet(path: Path) -> list[Reading]:
    """Read a Parquet file of readings.

    Raises:
        BadReadingsFile: It is no Parquet, a column is missing, or a row makes no sense.
    """
    _check_size(path)
    try:
        file = pq.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names)
        if file.metadata.num_rows > ROWS_MAX:
            raise _too_many(path)
        table = file.read(columns=[name for name in COLUMNS if name in file.schema_arrow.names])
    except (pa.ArrowException, OSError) as fault:
        problem = " ".join(str(fault).split())[:200]
        raise BadReadingsFile(path=str(path), place="", problem=f"no Parquet: {problem}") from fault
    rows = ((f"row {at}", row) for at, row in enumerate(table.to_pylist(), start=1))
    return _readings(path, rows)


def _check_size(path: Path) -> None:
    if path.stat().st_size > FILE_BYTES_MAX:
        limit = f"larger than {FILE_BYTES_MAX // 2**20} MB; split it"
        raise BadReadingsFile(path=str(path), place="", problem=limit)


def _check_columns(path: Path, names: Any) -> None:
    missing = sorted(_NEEDED - set(names))
    if missing:
        raise BadReadingsFile(
            path=str(path),
            place="columns",
            problem=f"{', '.join(missing)} missing; the columns are {', '.join(COLUMNS)}",
        )


def _readings(path: Path, rows: Iterator[tuple[str, Mapping[str, Any]]]) -> list[Reading]:
    readings: list[Reading] = []
    for place, row in rows:
        if len(readings) >= ROWS_MAX:
            raise _too_many(path)
        try:
            readings.append(_reading(row))
        except (ValueError, TypeError, OverflowError) as fault:
            raise BadReadingsFile(path=str(path), place=place, problem=str(fault)) from fault
    if not readings:
        raise BadReadingsFile(path=str(path), place="", problem="it holds no readings")
    return readings


def _reading(row: Mapping[str, Any]) -> Reading:
    energy = row["energy_wh"]
    is_gap = energy is None or energy == ""
    quality = Quality(row.get("quality") or Quality.MEASURED)
    return Reading(
        meter=row["meter"],
        quantity=Quantity(row["quantity"]),
        start=_moment(row["start"]),
        end=_moment(row["end"]),
        energy_wh=0 if is_gap else _whole(energy, "energy_wh"),
        quality=Quality.GAP if is_gap else quality,
        epoch=_whole(row.get("epoch") or 0, "epoch"),
    )


def _whole(value: Any, name: str) -> int:
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"{name} {value!r} is not a whole number") from None
    if isinstance(value, float) and value != number:
        raise ValueError(f"{name} {value!r} is not a whole number")
    return number


def _moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no offset; write it as 2026-03-02T00:00:00Z")
    return moment.astimezone(UTC)


def _too_many(path: Path) -> BadReadingsFile:
    return BadReadingsFile(path=str(path), place="", problem=f"more than {ROWS_MAX} rows; split it")
