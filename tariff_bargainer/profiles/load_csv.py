"""Reading a load profile from a CSV file, strictly and with the line of every fault.

```
interval_start,import_kwh,export_kwh
2018-01-01T00:00:00-07:00,0.412,0
```

`interval_start` is ISO 8601 with its offset, so clock changes are unambiguous; times without offset
are read only on the clock of a zone that the caller names. There is exactly one import column and at
most one export column, each in Wh, kWh or (average) kW. An empty cell is a missing measurement; a
missing row is refused. Files as pandas writes them and Octopus Energy hands them out are read too.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tariff_bargainer.errors import InvalidProfile, LoadFileError
from tariff_bargainer.profiles.csv_starts import START_COLUMN
from tariff_bargainer.profiles.intervals import ENERGY_WH_MAX, Energy, LoadProfile
from tariff_bargainer.profiles.regular_csv import (
    LEFT_OUT,
    RegularSeries,
    parse_regular_csv,
    read_regular_csv,
)

UNITS = ("wh", "kwh", "kw")
COLUMNS = tuple(f"{way}_{unit}" for way in ("import", "export") for unit in UNITS)
OTHER_NAMES = {
    "": START_COLUMN,
    "timestamp": START_COLUMN,
    "datetime": START_COLUMN,
    "start": START_COLUMN,
    "consumption (kwh)": "import_kwh",
    "end": LEFT_OUT,
    "interval_end": LEFT_OUT,
    "estimated cost inc. tax (p)": LEFT_OUT,
    "standing charge inc. tax (p)": LEFT_OUT,
}
"""Names in files of others: an unnamed index or a named one of pandas, and Octopus Energy's."""
WHOLE_UPTO = 2.0**53


def read_load_csv(path: Path) -> LoadProfile:
    """Read a load file whose times have their offset.

    Raises:
        LoadFileError: The file cannot be read as one regular series; names line and remedy.
    """
    return read_load_csv_on_clock(path, None)[0]


def read_load_csv_on_clock(path: Path, timezone: str | None) -> tuple[LoadProfile, bool]:
    """Read a load file, and say whether its times were read on the clock of the zone.

    Args:
        path: The file.
        timezone: Zone on whose clock times without offset are; None refuses such times.

    Raises:
        LoadFileError: The file cannot be read as one regular series; names line and remedy.
    """
    rows = read_regular_csv(
        path, COLUMNS, negative=False, other_names=OTHER_NAMES, timezone=timezone
    )
    return _profile(rows), rows.local


def parse_load_csv(lines: Iterable[str], *, timezone: str | None = None) -> LoadProfile:
    """Parse the lines of a load file.

    Raises:
        LoadFileError: The lines are not one regular series.
    """
    return _profile(
        parse_regular_csv(
            lines, COLUMNS, negative=False, other_names=OTHER_NAMES, timezone=timezone
        )
    )


def _profile(rows: RegularSeries) -> LoadProfile:
    for way, least in (("import", 1), ("export", 0)):
        found = [name for name in rows.columns if name.startswith(way)]
        if not least <= len(found) <= 1:
            raise LoadFileError(
                line=1,
                problem=f"{len(found)} {way} columns",
                remedy=f"give exactly one of {way}_wh, {way}_kwh, {way}_kw",
            )
    energies: dict[str, Energy] = {}
    for name, values in rows.columns.items():
        way, _, unit = name.partition("_")
        energies[way] = _energy_wh(np.array(values), unit, rows.step_s)
        too_large = np.flatnonzero(energies[way] > ENERGY_WH_MAX)
        if len(too_large):
            raise LoadFileError(
                line=int(too_large[0]) + 2,
                problem=f"{name} is more than {ENERGY_WH_MAX:g} Wh in one interval",
                remedy="check the unit of the column",
            )
    try:
        return LoadProfile(
            start=datetime.fromtimestamp(rows.starts_s[0], tz=UTC),
            step_s=rows.step_s,
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
    if whole and (numbers < WHOLE_UPTO).all():
        return numbers.astype(np.int64)
    return numbers
