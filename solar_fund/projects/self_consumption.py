"""How much of a project's energy the members use as it is made: sum(min(load, solar)).

Always against the pooled load of the members, interval by interval, and after what the projects
funded before already cover. A share guessed in percent would hide that the third roof in the
same street mostly exports.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from solar_fund.errors import InputFileInvalid, ProjectInvalid
from solar_fund.projects.project_plan import PriceWindow
from solar_fund.projects.weather_files import hour_of_model_year

FILE_BYTES_MAX = 256 * 1024 * 1024
ROWS_MAX = 2_000_000
STEP_S_ALLOWED = frozenset({60, 300, 600, 900, 1200, 1800, 3600})

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledLoad:
    """The members' energy together, per interval.

    Attributes:
        source: File name or where else it came from.
        start: Interval starts, UTC, regular, shape (n,).
        step_s: Length of an interval [s].
        energy_wh: Energy drawn per interval, all members together [Wh], shape (n,).
        price_per_kwh: Price of that energy [currency per kWh], shape (n,), or None.
    """

    source: str
    start: pd.DatetimeIndex
    step_s: int
    energy_wh: Ints
    price_per_kwh: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnUse:
    """Where a project's energy goes over the intervals of a load.

    Attributes:
        solar_wh: Made by the project [Wh].
        own_wh: Of that, used by the members as it is made [Wh].
        export_wh: The rest [Wh]; the three always add up.
        load_wh: What the members draw in all [Wh].
        value: What the own energy would have cost [currency], if the load carries prices.
        peak_before_kw: Highest mean power of the load, less projects funded before [kW].
        peak_after_kw: The same with this project [kW].
        intervals: How many intervals were compared.
    """

    solar_wh: int
    own_wh: int
    export_wh: int
    load_wh: int
    value: float | None
    peak_before_kw: float
    peak_after_kw: float
    intervals: int

    @property
    def own_share(self) -> float:
        """Own energy over energy made, 0 when nothing was made."""
        return self.own_wh / self.solar_wh if self.solar_wh else 0.0


def solar_on_load(hourly_kwh: Floats, load: PooledLoad) -> Ints:
    """Lay a typical solar year beside a load: Wh per interval of the load, shape (n,).

    An hour's energy is spread evenly over its intervals, to the watt-hour: each interval takes
    what the running total has grown by, so nothing is lost to rounding.
    """
    hours = hour_of_model_year(load.start)
    exact = hourly_kwh[hours] * (1000.0 * load.step_s / 3600.0)
    running = np.rint(np.cumsum(exact)).astype(np.int64)
    return np.diff(running, prepend=np.int64(0))


def own_use(load: PooledLoad, solar_wh: Ints, before_wh: Ints | None = None) -> OwnUse:
    """Compare a load with a project, after the projects funded before.

    Args:
        load: Pooled load, before any project.
        solar_wh: This project's energy per interval [Wh], shape (n,).
        before_wh: Energy per interval of all projects funded before [Wh], shape (n,).

    Raises:
        ProjectInvalid: The shapes differ.
    """
    earlier = np.zeros_like(load.energy_wh) if before_wh is None else before_wh
    if not load.energy_wh.shape == solar_wh.shape == earlier.shape:
        raise ProjectInvalid("load and solar energy must cover the same intervals")
    open_wh = np.maximum(load.energy_wh - earlier, 0)
    own = np.minimum(open_wh, solar_wh)
    to_kw = 3.6 / load.step_s
    value = None
    if load.price_per_kwh is not None:
        value = float((own * load.price_per_kwh).sum() / 1000)
    return OwnUse(
        solar_wh=int(solar_wh.sum()),
        own_wh=int(own.sum()),
        export_wh=int((solar_wh - own).sum()),
        load_wh=int(load.energy_wh.sum()),
        value=value,
        peak_before_kw=float(open_wh.max()) * to_kw,
        peak_after_kw=float((open_wh - own).max()) * to_kw,
        intervals=len(own),
    )


def with_window_prices(
    load: PooledLoad, otherwise: Decimal, windows: Sequence[PriceWindow], timezone: str
) -> PooledLoad:
    """Price a load by the windows of the group tariff; prices the load carries are kept.

    Args:
        load: Pooled load.
        otherwise: Price outside all windows [currency per kWh].
        windows: The first that fits gives the price.
        timezone: Zone in which the windows are meant.
    """
    if load.price_per_kwh is not None or not windows:
        return load
    local = load.start.tz_convert(timezone)
    prices = np.full(len(local), float(otherwise))
    open_still = np.ones(len(local), dtype=np.bool_)
    for window in windows:
        hours = np.asarray(local.hour)
        if window.hour_from < window.hour_to:
            inside = (hours >= window.hour_from) & (hours < window.hour_to)
        else:
            inside = (hours >= window.hour_from) | (hours < window.hour_to)
        inside &= np.isin(local.day_of_week + 1, sorted(window.weekdays))
        inside &= np.isin(local.month, sorted(window.months))
        prices[inside & open_still] = float(window.price_per_kwh)
        open_still &= ~inside
    return replace(load, price_per_kwh=prices)


def own_use_in_order(load: PooledLoad, projects: Sequence[Ints]) -> list[OwnUse]:
    """Return each project's own use after all those before it in the list.

    The own energies add up to min(load, all solar) in every interval, whatever the order.
    """
    uses = []
    before = np.zeros_like(load.energy_wh)
    for solar_wh in projects:
        uses.append(own_use(load, solar_wh, before))
        before = before + solar_wh
    return uses


def read_load(path: Path) -> PooledLoad:
    """Read a pooled load from a CSV file.

    Columns: `interval_start` (ISO 8601 with offset) and one of `import_wh`, `import_kwh`,
    `import_kw`; `price_per_kwh` if the energy has a price; others are ignored.

    Raises:
        InputFileInvalid: A row cannot be read, or the intervals are not regular; the line is
            named.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(
                str(path), "", f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_rows(path, csv.DictReader(file))
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputFileInvalid(str(path), "", f"is not a CSV text file: {error}") from None


def _read_rows(path: Path, rows: "csv.DictReader[str]") -> PooledLoad:
    names = [name.strip() for name in rows.fieldnames or []]
    rows.fieldnames = names
    units = [name for name in ("import_wh", "import_kwh", "import_kw") if name in names]
    if "interval_start" not in names or len(units) != 1:
        raise InputFileInvalid(
            str(path),
            "line 1",
            "needs the columns interval_start and one of import_wh, import_kwh, import_kw",
        )
    stamps: list[datetime] = []
    figures: list[float] = []
    prices: list[float] = []
    for row in rows:
        line = rows.line_num
        if len(stamps) >= ROWS_MAX:
            raise InputFileInvalid(str(path), f"line {line}", f"more than {ROWS_MAX} rows")
        stamps.append(_stamp(path, line, row["interval_start"]))
        figures.append(_figure(path, line, units[0], row[units[0]]))
        if "price_per_kwh" in names:
            prices.append(_figure(path, line, "price_per_kwh", row["price_per_kwh"]))
    if len(stamps) < 2:
        raise InputFileInvalid(str(path), "", "holds fewer than two intervals")
    step_s = int((stamps[1] - stamps[0]).total_seconds())
    if step_s not in STEP_S_ALLOWED:
        raise InputFileInvalid(
            str(path),
            "line 3",
            f"intervals of {step_s} s: give 1 to 60 minutes that divide an hour",
        )
    for place in range(1, len(stamps)):
        if (stamps[place] - stamps[place - 1]).total_seconds() != step_s:
            raise InputFileInvalid(
                str(path),
                f"line {place + 2}",
                f"the interval does not follow the last after {step_s} s: fill or cut the gap",
            )
    scale = {"import_wh": 1.0, "import_kwh": 1000.0, "import_kw": 1000.0 * step_s / 3600}[units[0]]
    return PooledLoad(
        source=path.name,
        start=pd.DatetimeIndex(stamps),
        step_s=step_s,
        energy_wh=np.rint(np.array(figures) * scale).astype(np.int64),
        price_per_kwh=np.array(prices) if prices else None,
    )


def _stamp(path: Path, line: int, written: str | None) -> datetime:
    try:
        stamp = datetime.fromisoformat((written or "").strip())
    except ValueError:
        raise InputFileInvalid(
            str(path), f"line {line}", f"interval_start {written!r} is no ISO 8601 time"
        ) from None
    if stamp.tzinfo is None:
        raise InputFileInvalid(
            str(path), f"line {line}", f"interval_start {written!r} has no offset: add Z or +01:00"
        )
    return stamp.astimezone(UTC)


def _figure(path: Path, line: int, name: str, written: str | None) -> float:
    try:
        figure = float(written or "")
    except ValueError:
        figure = float("nan")
    if not 0 <= figure < 1e12:
        raise InputFileInvalid(
            str(path), f"line {line}", f"{name} is {written!r}: expected a number, not negative"
        )
    return figure
