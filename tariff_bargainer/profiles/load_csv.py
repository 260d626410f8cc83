"""Reading a load profile from a CSV file, strictly and with the line of every fault.

```
interval_start,import_kwh,export_kwh
2018-01-01T00:00:00-07:00,0.412,0
```

`interval_start` is ISO 8601 with its offset, so clock changes are unambiguous. There is exactly one
import column and at most one export column, each in Wh, kWh or (average) kW. An empty cell is a
missing measurement; a missing row is refused.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

import numpy as np

from tariff_bargainer.errors import InvalidProfile, LoadFileError
from tariff_bargainer.profiles.intervals import ENERGY_WH_MAX, Energy, LoadProfile

FILE_BYTES_MAX = 256_000_000
ROWS_MAX = 3_000_000
START_COLUMN = "interval_start"
UNITS = ("wh", "kwh", "kw")
DECIMALS_WHOLE = 2.0**53


def read_load_csv(path: Path) -> LoadProfile:
    """Read a load file.

    Raises:
        LoadFileError: The file cannot be read as one regular series; names line and remedy.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > FILE_BYTES_MAX:
            raise LoadFileError(
                problem=f"the file has {size_bytes} bytes",
                remedy=f"give at most {FILE_BYTES_MAX}, for instance one year at a time",
            )
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return parse_load_csv(lines)
    except OSError as unreadable:
        raise LoadFileError(
            problem=f"the file cannot be read ({unreadable.strerror})", remedy="check the path"
        ) from None
    except UnicodeDecodeError:
        raise LoadFileError(
            problem="the file is not UTF-8 text", remedy="save it as UTF-8 CSV"
        ) from None


@dataclass(slots=True)
class _Rows:
    """What was read so far."""

    starts: list[int] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)


def parse_load_csv(lines: Iterable[str]) -> LoadProfile:
    """Parse the lines of a load file.

    Raises:
        LoadFileError: The lines are not one regular series.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        positions = _positions(header)
        rows = _Rows(columns={name: [] for name in positions if name != START_COLUMN})
        for cells in _numbered(reader):
            _take(rows, cells, positions, len(header))
    except csv.Error as broken:
        raise LoadFileError(
            line=reader.line_num, problem=f"the line is not CSV ({broken})", remedy="correct it"
        ) from None
    return _profile(rows)


def _numbered(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 1
    for number, cells in enumerate(reader, start=2):
        if number > ROWS_MAX + 1:
            raise LoadFileError(
                line=number, problem=f"more than {ROWS_MAX} rows", remedy="split the file"
            )
        if any(cell.strip() for cell in cells):
            yield number, cells
    if number == 1:
        raise LoadFileError(problem="the file has no rows", remedy="give one row per interval")


def _positions(header: list[str]) -> dict[str, int]:
    if START_COLUMN not in header:
        raise LoadFileError(
            line=1,
            problem=f"no column {START_COLUMN}",
            remedy=f"name the column of interval starts {START_COLUMN}",
        )
    positions: dict[str, int] = {}
    known = {START_COLUMN, *(f"{way}_{unit}" for way in ("import", "export") for unit in UNITS)}
    for position, name in enumerate(header):
        if name not in known:
            raise LoadFileError(
                line=1,
                problem=f"column {name!r} is not known",
                remedy=f"use {START_COLUMN}, one of import_wh, import_kwh, import_kw, and "
                "optionally one of export_wh, export_kwh, export_kw",
            )
        if name in positions:
            raise LoadFileError(
                line=1, problem=f"column {name} stands twice", remedy="keep one of them"
            )
        positions[name] = position
    for way, least in (("import", 1), ("export", 0)):
        found = [name for name in positions if name.startswith(way)]
        if not least <= len(found) <= 1:
            raise LoadFileError(
                line=1,
                problem=f"{len(found)} {way} columns",
                remedy=f"give exactly one of {way}_wh, {way}_kwh, {way}_kw",
            )
    return positions


def _take(
    rows: _Rows, numbered: tuple[int, list[str]], positions: dict[str, int], width: int
) -> None:
    line, cells = numbered
    if len(cells) != width:
        raise LoadFileError(
            line=line, problem=f"{len(cells)} cells instead of {width}", remedy="complete the row"
        )
    _take_start(rows, line, cells[positions[START_COLUMN]].strip())
    for name, values in rows.columns.items():
        values.append(_number(line, name, cells[positions[name]].strip()))


def _take_start(rows: _Rows, line: int, text: str) -> None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise LoadFileError(
            line=line,
            problem=f"{START_COLUMN} is {text!r}, no ISO 8601 time",
            remedy="write it as 2018-01-01T00:00:00-07:00",
        ) from None
    if instant.tzinfo is None:
        raise LoadFileError(
            line=line,
            problem=f"{START_COLUMN} {text!r} has no offset from UTC",
            remedy="write the offset, as in 2018-01-01T00:00:00-07:00",
        )
    seconds = instant.timestamp()
    if seconds != int(seconds):
        raise LoadFileError(
            line=line, problem=f"{text!r} has a fraction of a second", remedy="use whole seconds"
        )
    starts = rows.starts
    if starts:
        _check_step(starts, int(seconds), line, text)
    starts.append(int(seconds))


def _check_step(starts: list[int], start_s: int, line: int, text: str) -> None:
    step_s = start_s - starts[-1]
    if step_s == 0:
        raise LoadFileError(
            line=line, problem=f"{text} stands twice in a row", remedy="keep one of the two rows"
        )
    if step_s < 0:
        raise LoadFileError(
            line=line,
            problem=f"{text} is before the row above it",
            remedy="sort the rows by time, and check the offsets around clock changes",
        )
    expected_s = starts[1] - starts[0] if len(starts) > 1 else step_s
    if step_s != expected_s:
        more = "a gap" if step_s > expected_s else "an irregular step"
        raise LoadFileError(
            line=line,
            problem=f"{more} before {text}: {step_s} s instead of {expected_s} s",
            remedy="write a row for every interval, with an empty cell where nothing was measured",
        )


def _number(line: int, name: str, text: str) -> float:
    if not text:
        return float("nan")
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise LoadFileError(
            line=line,
            problem=f"{name} is {text!r}, no number",
            remedy="write a plain number with a decimal point, or nothing where it is missing",
        )
    if number < 0:
        raise LoadFileError(
            line=line,
            problem=f"{name} is {text}, below zero",
            remedy="write import as positive import_… and export as positive export_…",
        )
    return number


def _profile(rows: _Rows) -> LoadProfile:
    if len(rows.starts) < 2:
        raise LoadFileError(
            problem="one row does not tell the step", remedy="give two rows or more"
        )
    step_s = rows.starts[1] - rows.starts[0]
    energies: dict[str, Energy] = {}
    for name, values in rows.columns.items():
        way, _, unit = name.partition("_")
        energies[way] = _energy_wh(np.array(values), unit, step_s)
        too_large = np.flatnonzero(energies[way] > ENERGY_WH_MAX)
        if len(too_large):
            raise LoadFileError(
                line=int(too_large[0]) + 2,
                problem=f"{name} is more than {ENERGY_WH_MAX:g} Wh in one interval",
                remedy="check the unit of the column",
            )
    try:
        return LoadProfile(
            start=datetime.fromtimestamp(rows.starts[0], tz=UTC),
            step_s=step_s,
            import_wh=energies["import"],
            export_wh=energies.get("export"),
        )
    except InvalidProfile as invalid:
        problem, _, remedy = str(invalid).partition("; ")
        raise LoadFileError(problem=problem, remedy=remedy or "correct the file") from None


def _energy_wh(
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]], unit: str, step_s: int
) -> Energy:
    if unit == "kw":
        numbers = numbers * (1000.0 * step_s / 3600.0)
    elif unit == "kwh":
        numbers = numbers * 1000.0
    whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
    if whole and (numbers < DECIMALS_WHOLE).all():
        return numbers.astype(np.int64)
    return numbers
