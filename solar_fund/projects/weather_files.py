"""Weather years as supplied by PVGIS, EPW, NSRDB and TMY3, in one form.

Typical years are stitched from months of different years; here all become one year without a
leap day, in UTC, so that a profile can be laid beside a load of any year.
"""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pvlib import iotools

from solar_fund.errors import InputFileInvalid, ProjectInvalid

FILE_BYTES_MAX = 64 * 1024 * 1024
HOURS_PER_YEAR = 8760
# Any year without a leap day; the sun's place hardly depends on it.
MODEL_YEAR = 2019

WeatherKind = Literal["PVGIS", "EPW", "NSRDB", "TMY3"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeatherYear:
    """One year of hourly weather.

    Attributes:
        kind: Who made the file.
        source: File name and place, for the assumptions table.
        latitude_deg: North positive.
        longitude_deg: East positive.
        altitude_m: Above the sea.
        hour_start: Starts of the hours in UTC, all of `MODEL_YEAR`, shape (8760,).
        sun_at: Times at which the sun stood as in the irradiance figures, shape (8760,).
        ghi_w_per_m2: Global horizontal irradiance, shape (8760,).
        dni_w_per_m2: Direct normal irradiance, shape (8760,).
        dhi_w_per_m2: Diffuse horizontal irradiance, shape (8760,).
        air_temperature_c: Air temperature, shape (8760,).
        wind_speed_m_per_s: Wind at 10 m, shape (8760,).
        albedo: Ground reflectance where the file has it, else 0.2, shape (8760,).
    """

    kind: WeatherKind
    source: str
    latitude_deg: float
    longitude_deg: float
    altitude_m: float
    hour_start: pd.DatetimeIndex
    sun_at: pd.DatetimeIndex
    ghi_w_per_m2: Floats
    dni_w_per_m2: Floats
    dhi_w_per_m2: Floats
    air_temperature_c: Floats
    wind_speed_m_per_s: Floats
    albedo: Floats


def read_weather(path: Path) -> WeatherYear:
    """Read a weather year; the kind of file is seen from its first line.

    Raises:
        InputFileInvalid: The file is of no known kind, or is not one full year of hours.
    """
    kind = _kind_of(path)
    readers = {
        "PVGIS": iotools.read_pvgis_tmy,
        "EPW": iotools.read_epw,
        "NSRDB": iotools.read_nsrdb_psm4,
        "TMY3": iotools.read_tmy3,
    }
    try:
        # What a reader merely warns of, such as a short row, is refused below by its effect.
        with warnings.catch_warnings(action="ignore"):
            frame, meta = readers[kind](str(path))
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        # Readers explain themselves over several lines; the first one names the fault.
        fault = (str(error).splitlines() or ["no reason given"])[0]
        raise InputFileInvalid(
            str(path),
            _line_of(path, fault),
            f"looks like {kind} but cannot be read as such ({fault}); give the file as it was"
            f" downloaded, with all {HOURS_PER_YEAR} hours",
        ) from None
    return _as_year(path, kind, frame, meta)


def _line_of(path: Path, fault: str) -> str:
    """Find the line of the cell that a reader quotes in its fault, if it quotes one."""
    quoted = re.search(r"'([^']*)'$", fault)
    if quoted:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                cells = [cell.strip() for cell in line.split(",")]
                # A blank line is no row with an empty cell.
                if len(cells) > 2 and quoted[1] in cells:
                    return f"line {number}"
    return ""


def _kind_of(path: Path) -> WeatherKind:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(
                str(path), "", f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(2000)
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    if first.startswith("Latitude (decimal degrees)"):
        return "PVGIS"
    if first.startswith("LOCATION,"):
        return "EPW"
    if first.startswith("Source,"):
        return "NSRDB"
    cells = first.split(",")
    if len(cells) >= 7 and cells[0].strip().isdecimal():
        return "TMY3"
    raise InputFileInvalid(
        str(path),
        "line 1",
        "is no weather file we know; give a PVGIS typical year (CSV), EPW, NSRDB PSM or TMY3 file",
    )


def _as_year(
    path: Path, kind: WeatherKind, frame: pd.DataFrame, meta: dict[str, Any]
) -> WeatherYear:
    inputs = meta.get("inputs", meta)
    index = pd.DatetimeIndex(frame.index)
    if kind == "NSRDB" and len(index) > 1 and index[1] - index[0] != pd.Timedelta(hours=1):
        hours = index.floor("h")
        numeric = frame.select_dtypes("number")
        frame = numeric.groupby(hours).mean()
        index = pd.DatetimeIndex(frame.index) + pd.Timedelta(minutes=30)
    # Where the sun stood, relative to the stamp, and when the hour began.
    sun_minutes, start_minutes = {
        "PVGIS": (60 * float(inputs.get("irradiance time offset", 0.0)), 0.0),
        "EPW": (30.0, 0.0),
        "NSRDB": (0.0, -30.0),
        "TMY3": (-30.0, -60.0),
    }[kind]
    if kind == "NSRDB" and index[0].minute == 0:
        sun_minutes, start_minutes = 30.0, 0.0
    local = index + pd.Timedelta(minutes=start_minutes)
    frame, start = _on_model_year(path, frame, local)
    order = np.argsort(start.asi8, kind="stable")
    start = start[order]

    def column(name: str, otherwise: float | None = None) -> Floats:
        if name not in frame.columns:
            if otherwise is None:
                raise InputFileInvalid(str(path), "", f"has no column for {name}")
            return np.full(HOURS_PER_YEAR, otherwise)
        values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[order]
        if otherwise is not None:
            values = np.where((values > 0) & (values < 1), values, otherwise)
        if np.isnan(values).any():
            hour = int(np.isnan(values).argmax())
            raise InputFileInvalid(str(path), f"hour {start[hour]}", f"{name} is missing")
        return values

    return WeatherYear(
        kind=kind,
        source=f"{path.name} ({kind})",
        latitude_deg=float(inputs["latitude"]),
        longitude_deg=float(inputs["longitude"]),
        altitude_m=float(inputs.get("elevation", inputs.get("altitude", 0.0))),
        hour_start=start,
        sun_at=start + pd.Timedelta(minutes=sun_minutes - start_minutes),
        ghi_w_per_m2=np.maximum(column("ghi"), 0.0),
        dni_w_per_m2=np.maximum(column("dni"), 0.0),
        dhi_w_per_m2=np.maximum(column("dhi"), 0.0),
        air_temperature_c=column("temp_air"),
        wind_speed_m_per_s=column("wind_speed"),
        albedo=column("albedo", otherwise=0.2),
    )


def _on_model_year(
    path: Path, frame: pd.DataFrame, local: pd.DatetimeIndex
) -> tuple[pd.DataFrame, pd.DatetimeIndex]:
    """Lay the rows on the hours of the model year, by their order from 1 January local time.

    Stamps of typical years jump between years, and some readers move the last hour of February
    to March, so order is the safer guide; the hour of day is checked against it.
    """
    if len(local) == HOURS_PER_YEAR + 24:
        kept = ~((local.month == 2) & (local.day == 29))
        frame, local = frame[kept], local[kept]
    if len(local) != HOURS_PER_YEAR:
        raise InputFileInvalid(
            str(path), "", f"holds {len(local)} hours instead of {HOURS_PER_YEAR}: give a full year"
        )
    wall = pd.date_range(f"{MODEL_YEAR}-01-01", periods=HOURS_PER_YEAR, freq="h", tz=local.tz)
    astray = np.flatnonzero(local.hour != wall.hour)
    if len(astray):
        raise InputFileInvalid(
            str(path), f"hour {astray[0] + 1} of the year", "is out of order: hours are missing"
        )
    first = pd.Timestamp(MODEL_YEAR, 1, 1, tz="UTC")
    # Hours that fall outside the model year in UTC close the circle at its other end.
    hours = ((wall.tz_convert("UTC") - first) // pd.Timedelta(hours=1)) % HOURS_PER_YEAR
    return frame, pd.DatetimeIndex(first + pd.to_timedelta(hours, unit="h"))


def hour_of_model_year(stamps: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Return which of the 8760 hours each UTC stamp falls into; 29 February repeats the 28th.

    Raises:
        ProjectInvalid: The stamps carry no time zone.
    """
    if stamps.tz is None:
        raise ProjectInvalid("stamps carry no time zone: write them with an offset")
    utc = stamps.tz_convert("UTC")
    leap_day = (utc.month == 2) & (utc.day == 29)
    day = utc.day_of_year - (utc.is_leap_year & (utc.month > 2)) - leap_day
    return np.asarray((day - 1) * 24 + utc.hour, dtype=np.int64)
