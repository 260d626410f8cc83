"""Readings from a CSV file as a meter's portal writes it: other names, separators and clocks."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tariff_bargainer.errors import LoadFileError
from tariff_bargainer.profiles.regular_csv import FILE_BYTES_MAX

UNIX = "unix"
"""Time format of whole seconds since 1970."""
MISSING = ("", "nan", "na", "n/a", "null")
SEPARATORS = (";", "\t", ",")
HAS_OFFSET = r"(?:Z|[+-]\d\d:?\d\d)$"


def read_raw_csv(
    path: Path,
    *,
    column: str | None = None,
    time_columns: Sequence[str] = (),
    time_format: str | None = None,
) -> "pd.Series[float]":
    """Read one column of numbers, indexed by the times of its rows as they stand there.

    Separator (comma, semicolon or tab) and decimal sign are told from the file; lines that begin
    with `#` are left out.

    Args:
        path: The file.
        column: Column of readings; may be left out when there is one beside the time.
        time_columns: Column of the time, or of date and time; the first one if left out.
        time_format: `strptime` format such as `%d.%m.%Y %H:%M`, or `unix`; ISO 8601 if left out.

    Returns:
        Readings; the index is aware if the times carry offsets, else naive.

    Raises:
        LoadFileError: The file cannot be read so; names line and remedy.
    """
    table = _table(path)
    names = [str(name) for name in table.columns]
    times = list(time_columns) or names[:1]
    others = [name for name in names if name not in times]
    wanted = column if column is not None else others[0] if len(others) == 1 else None
    if wanted is None:
        raise LoadFileError(
            line=1,
            problem=f"{len(others)} columns beside the time: {', '.join(others)[:160]}",
            remedy="say which one holds the readings",
        )
    for name in (*times, wanted):
        if names.count(name) != 1:
            raise LoadFileError(
                line=1,
                problem=f"column {name!r} stands {names.count(name)} times among "
                f"{', '.join(names)[:160]}",
                remedy="give the name of one column",
            )
    text = table[times].agg(" ".join, axis=1) if len(times) > 1 else table[times[0]]
    readings = _numbers(table[wanted])
    readings.index = _times(text, time_format)
    return readings


def _table(path: Path) -> pd.DataFrame:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise LoadFileError(
                problem=f"the file has more than {FILE_BYTES_MAX} bytes",
                remedy="give one year at a time",
            )
        with path.open(encoding="utf-8-sig") as lines:
            header = next((line for line in lines if line.strip() and line[0] != "#"), "")
        separator = max(SEPARATORS, key=header.count)
        table: pd.DataFrame = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            comment="#",
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except OSError as unreadable:
        raise LoadFileError(
            problem=f"the file cannot be read ({unreadable.strerror})", remedy="check the path"
        ) from None
    except UnicodeDecodeError:
        raise LoadFileError(
            problem="the file is not UTF-8 text", remedy="save it as UTF-8 CSV"
        ) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as broken:
        raise LoadFileError(
            problem=f"the file is not CSV ({' '.join(str(broken).split())[:120]})",
            remedy="give a header and one row per interval",
        ) from None
    table.columns = table.columns.str.strip()
    if table.shape[1] < 2 or not isinstance(table.index, pd.RangeIndex):
        raise LoadFileError(
            line=1,
            problem="the rows do not have one cell for each column of the header",
            remedy="give a header with a column of times and one of readings",
        )
    return table.fillna("")


def _numbers(cells: "pd.Series[str]") -> "pd.Series[float]":
    text = cells.str.strip()
    if text.str.contains(",", regex=False).any() and not text.str.contains(".", regex=False).any():
        text = text.str.replace(",", ".", regex=False)
    missing = text.str.lower().isin(MISSING)
    numbers = pd.to_numeric(text.where(~missing, "nan"), errors="coerce")
    wrong = numbers.isna() & ~missing
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        raise LoadFileError(
            problem=f"row {at + 1} below the header: {cells.iloc[at]!r} is no number",
            remedy="write a plain number, or nothing where a reading is missing",
        )
    return numbers.astype("float64")


def _times(text: "pd.Series[str]", time_format: str | None) -> pd.DatetimeIndex:
    text = text.str.strip()
    offsets = text.str.contains(HAS_OFFSET)
    aware = bool(offsets.any()) and time_format is None
    if time_format == UNIX:
        times = pd.to_datetime(pd.to_numeric(text, errors="coerce"), unit="s", utc=True)
    else:
        aware = aware or "%z" in (time_format or "")
        times = pd.to_datetime(text, format=time_format or "ISO8601", errors="coerce", utc=aware)
    wrong = times.isna() | (aware & (time_format is None) & ~offsets)
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        known = "a time as " + (time_format or "ISO 8601")
        raise LoadFileError(
            problem=f"row {at + 1} below the header: {text.iloc[at]!r} is not {known}"
            + (" with an offset, as other rows have" if aware and not time_format else ""),
            remedy="name the format, such as %d.%m.%Y %H:%M",
        )
    return pd.DatetimeIndex(times)
