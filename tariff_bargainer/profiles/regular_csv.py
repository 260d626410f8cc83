"""Reading a CSV of one regular series, strictly and with the line of every fault."""

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from pathlib import Path

from tariff_bargainer.errors import LoadFileError
from tariff_bargainer.profiles.calendar import zone
from tariff_bargainer.profiles.csv_starts import START_COLUMN, StartColumn

FILE_BYTES_MAX = 256_000_000
ROWS_MAX = 3_000_000
LEFT_OUT = "(not read)"
"""What another name of a column may stand for: a column that is not read."""


@dataclass(slots=True)
class RegularSeries:
    """Rows of a file whose starts rise by one step.

    Attributes:
        starts_s: Starts of the intervals [s since 1970].
        columns: Numbers by column; NaN where a cell is empty.
        local: Whether the file's times have no offset and were read on the clock of a zone.
    """

    starts_s: list[int] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)
    local: bool = False

    @property
    def step_s(self) -> int:
        """Length of an interval [s]."""
        return self.starts_s[1] - self.starts_s[0]


def read_regular_csv(
    path: Path,
    known: Collection[str],
    *,
    negative: bool,
    other_names: Mapping[str, str] | None = None,
    timezone: str | None = None,
) -> RegularSeries:
    """Read a file with `interval_start` and columns of numbers.

    Columns are separated by commas, or by semicolons or tabs; then numbers may have a decimal
    comma.

    Args:
        path: The file.
        known: Names of the columns it may have beside `interval_start`.
        negative: Whether numbers below zero make sense.
        other_names: What other names of columns stand for; `LEFT_OUT` for one that is not read.
        timezone: Zone on whose clock times without offset are; None refuses such times.

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
            return parse_regular_csv(
                lines, known, negative=negative, other_names=other_names, timezone=timezone
            )
    except OSError as unreadable:
        raise LoadFileError(
            problem=f"the file cannot be read ({unreadable.strerror})", remedy="check the path"
        ) from None
    except UnicodeDecodeError:
        raise LoadFileError(
            problem="the file is not UTF-8 text", remedy="save it as UTF-8 CSV"
        ) from None


def parse_regular_csv(
    lines: Iterable[str],
    known: Collection[str],
    *,
    negative: bool,
    other_names: Mapping[str, str] | None = None,
    timezone: str | None = None,
) -> RegularSeries:
    """Parse the lines of such a file.

    Raises:
        LoadFileError: The lines are not one regular series.
    """
    every = iter(lines)
    first = next(every, "")
    separator = _separator(first)
    reader = csv.reader(chain([first], every), strict=True, delimiter=separator)
    starts = StartColumn(zone(timezone) if timezone else None, timezone or "")
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        positions = _positions(_own_names(header, other_names or {}), known)
        rows = RegularSeries(columns={name: [] for name in positions if name != START_COLUMN})
        for line, cells in _numbered(reader):
            if len(cells) != len(header):
                raise LoadFileError(
                    line=line,
                    problem=f"{len(cells)} cells instead of {len(header)}",
                    remedy="complete the row",
                )
            starts.take(cells[positions[START_COLUMN]].strip(), line)
            for name, values in rows.columns.items():
                cell = cells[positions[name]].strip()
                if separator != ",":
                    cell = cell.replace(",", ".")
                values.append(_number(line, name, cell, negative))
    except csv.Error as broken:
        raise LoadFileError(
            line=reader.line_num, problem=f"the line is not CSV ({broken})", remedy="correct it"
        ) from None
    if len(starts.starts_s) < 2:
        raise LoadFileError(
            problem="one row does not tell the step", remedy="give two rows or more"
        )
    rows.starts_s, rows.local = starts.starts_s, starts.local
    return rows


def _separator(header: str) -> str:
    """Find what separates columns; a header with a comma is separated by commas."""
    return next((mark for mark in (",", ";", "\t") if mark in header), ",")


def _own_names(header: list[str], other_names: Mapping[str, str]) -> list[str]:
    """Put a header into the names used here; one whose own name stands there too is kept."""
    if not any(header):
        return header
    return [
        other_names[name] if name in other_names and other_names[name] not in header else name
        for name in header
    ]


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


def _positions(header: list[str], known: Collection[str]) -> dict[str, int]:
    if START_COLUMN not in header:
        if not any(header):
            raise LoadFileError(
                line=1, problem="no header", remedy=f"begin with {START_COLUMN},{next(iter(known))}"
            )
        raise LoadFileError(
            line=1,
            problem=f"no column {START_COLUMN} among {', '.join(header)[:120]}",
            remedy=f"name the column of interval starts {START_COLUMN}, and the others "
            f"{', '.join(known)}",
        )
    positions: dict[str, int] = {}
    for position, name in enumerate(header):
        if name == LEFT_OUT:
            continue
        if name != START_COLUMN and name not in known:
            raise LoadFileError(
                line=1,
                problem=f"column {name!r} is not known" if name else "a column has no name",
                remedy=f"take it out; use {START_COLUMN} and some of {', '.join(known)}",
            )
        if name in positions:
            raise LoadFileError(
                line=1, problem=f"column {name} stands twice", remedy="keep one of them"
            )
        positions[name] = position
    return positions


def _number(line: int, name: str, text: str, negative: bool) -> float:
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
    if number < 0 and not negative:
        raise LoadFileError(
            line=line,
            problem=f"{name} is {text}, below zero",
            remedy="write import as positive import_… and export as positive export_…",
        )
    return number
