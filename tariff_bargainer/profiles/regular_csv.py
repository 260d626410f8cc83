"""Reading a CSV of one regular series, strictly and with the line of every fault."""

import csv
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path

from tariff_bargainer.errors import LoadFileError

FILE_BYTES_MAX = 256_000_000
ROWS_MAX = 3_000_000
START_COLUMN = "interval_start"


@dataclass(slots=True)
class RegularSeries:
    """Rows of a file whose starts rise by one step.

    Attributes:
        starts_s: Starts of the intervals [s since 1970].
        columns: Numbers by column; NaN where a cell is empty.
    """

    starts_s: list[int] = field(default_factory=list)
    columns: dict[str, list[float]] = field(default_factory=dict)

    @property
    def step_s(self) -> int:
        """Length of an interval [s]."""
        return self.starts_s[1] - self.starts_s[0]


def read_regular_csv(path: Path, known: Collection[str], *, negative: bool) -> RegularSeries:
    """Read a file with `interval_start` and columns of numbers.

    Args:
        path: The file.
        known: Names of the columns it may have beside `interval_start`.
        negative: Whether numbers below zero make sense.

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
            return parse_regular_csv(lines, known, negative=negative)
    except OSError as unreadable:
        raise LoadFileError(
            problem=f"the file cannot be read ({unreadable.strerror})", remedy="check the path"
        ) from None
    except UnicodeDecodeError:
        raise LoadFileError(
            problem="the file is not UTF-8 text", remedy="save it as UTF-8 CSV"
        ) from None


def parse_regular_csv(
    lines: Iterable[str], known: Collection[str], *, negative: bool
) -> RegularSeries:
    """Parse the lines of such a file.

    Raises:
        LoadFileError: The lines are not one regular series.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        positions = _positions(header, known)
        rows = RegularSeries(columns={name: [] for name in positions if name != START_COLUMN})
        for line, cells in _numbered(reader):
            if len(cells) != len(header):
                raise LoadFileError(
                    line=line,
                    problem=f"{len(cells)} cells instead of {len(header)}",
                    remedy="complete the row",
                )
            _take_start(rows, line, cells[positions[START_COLUMN]].strip())
            for name, values in rows.columns.items():
                values.append(_number(line, name, cells[positions[name]].strip(), negative))
    except csv.Error as broken:
        raise LoadFileError(
            line=reader.line_num, problem=f"the line is not CSV ({broken})", remedy="correct it"
        ) from None
    if len(rows.starts_s) < 2:
        raise LoadFileError(
            problem="one row does not tell the step", remedy="give two rows or more"
        )
    return rows


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
        if len(header) == 1 and header[0].count(";") + header[0].count("\t"):
            raise LoadFileError(
                line=1,
                problem="the columns are not separated by commas",
                remedy="save it with commas between columns and decimal points in numbers",
            )
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


def _take_start(rows: RegularSeries, line: int, text: str) -> None:
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
    starts = rows.starts_s
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
