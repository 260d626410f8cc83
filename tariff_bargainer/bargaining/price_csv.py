"""Reading a spot-price series from a CSV file, strictly and with the line of every fault.

```
interval_start,price_per_mwh
2025-01-01T00:00:00+01:00,61.20
```

`interval_start` is ISO 8601 with its offset; prices are per MWh or per kWh. An empty cell is a price
that was not published.
"""

import csv
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pandas as pd

from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import IndexFileError, InvalidProfile

FILE_BYTES_MAX = 64_000_000
ROWS_MAX = 1_000_000
START_COLUMN = "interval_start"
PER_KWH = {"price_per_mwh": 1000, "price_per_kwh": 1}
"""Accepted price columns, and what they are divided by to give a price per kWh."""


def read_price_csv(path: Path) -> IndexSeries:
    """Read a price file.

    Raises:
        IndexFileError: The file cannot be read as one regular series; names line and remedy.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise IndexFileError(
                problem="the file is too large", remedy=f"give at most {FILE_BYTES_MAX} bytes"
            )
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return parse_price_csv(lines)
    except OSError as unreadable:
        raise IndexFileError(
            problem=f"the file cannot be read ({unreadable.strerror})", remedy="check the path"
        ) from None
    except UnicodeDecodeError:
        raise IndexFileError(
            problem="the file is not UTF-8 text", remedy="save it as UTF-8 CSV"
        ) from None


def parse_price_csv(lines: Iterable[str]) -> IndexSeries:
    """Parse the lines of a price file.

    Raises:
        IndexFileError: The lines are not one regular series; names line and remedy.
    """
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        column = next((name for name in PER_KWH if name in header), None)
        if column is None or START_COLUMN not in header or len(set(header)) != len(header):
            raise IndexFileError(
                line=1,
                problem=f"the header is {','.join(header)!r}",
                remedy=f"write {START_COLUMN} and one of {', '.join(PER_KWH)}, each once",
            )
        starts: list[pd.Timestamp] = []
        prices: list[float] = []
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header) or len(starts) >= ROWS_MAX:
                raise IndexFileError(
                    line=reader.line_num,
                    problem=f"the line has {len(cells)} cells, or is one too many",
                    remedy=f"give {len(header)} cells a line and at most {ROWS_MAX} lines",
                )
            row = dict(zip(header, cells, strict=True))
            starts.append(_instant(row[START_COLUMN], reader.line_num))
            prices.append(_price(row[column], reader.line_num) / PER_KWH[column])
    except csv.Error as broken:
        raise IndexFileError(
            line=reader.line_num, problem=f"the line is not CSV ({broken})", remedy="correct it"
        ) from None
    try:
        return IndexSeries.from_series(pd.Series(prices, pd.DatetimeIndex(starts), dtype=float))
    except InvalidProfile as wrong:
        raise IndexFileError(
            problem=str(wrong), remedy="give one line per interval, in order, without holes"
        ) from None


def _instant(cell: str, line: int) -> pd.Timestamp:
    try:
        found = datetime.fromisoformat(cell.strip())
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise IndexFileError(
            line=line,
            problem=f"{START_COLUMN} is {cell!r}",
            remedy="write it with its offset, as 2025-01-01T00:00:00+01:00",
        )
    return pd.Timestamp(found).tz_convert("UTC")


def _price(cell: str, line: int) -> float:
    if not cell.strip():
        return float("nan")
    try:
        price = Decimal(cell.strip())
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite():
        raise IndexFileError(
            line=line, problem=f"the price is {cell!r}", remedy="write a decimal number"
        )
    return float(price)
