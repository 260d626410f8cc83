"""Weather years as supplied by PVGIS, EPW, NSRDB and TMY3, in one form.

Typical years are stitched from months of different years; here all become one year without a
leap day, in UTC, so that a profile can be laid beside a load of any year.
"""

import io
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, timezone
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

# Beyond these a figure is a code for "missing", such as 9999 or 99.9, or a slip.
LIMITS = {
    "ghi": (-50.0, 2000.0),
    "dni": (-50.0, 2000.0),
    "dhi": (-50.0, 2000.0),
    "temp_air": (-90.0, 70.0),
    "wind_speed": (0.0, 120.0),
}
MINUTES_PER_YEAR = HOURS_PER_YEAR * 60

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
        minutes_late: How much later than these the hours of the figures began, because the file
            is in local time of a zone that is not whole hours from UTC.
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
    minutes_late: int
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
    text = _text_of(path)
    kind = _kind_of(path, text)
    try:
        # What a reader merely warns of, such as a short row, is refused below by its effect.
        with warnings.catch_warnings(action="ignore"):
            frame, meta = _READERS[kind](text)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        # Readers explain themselves over several lines; the first one names the fault.
        fault = (str(error).splitlines() or ["no reason given"])[0]
        raise InputFileInvalid(
            str(path),
            _line_of(text, fault),
            f"looks like {kind} but cannot be read as such ({fault}); give the file as it was"
            f" downloaded, with all {HOURS_PER_YEAR} hours",
        ) from None
    return _as_year(path, kind, frame, meta, text)


def _read_pvgis(text: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    if not text.startswith("{"):
        frame, meta = iotools.read_pvgis_tmy(io.BytesIO(text.encode()), pvgis_format="csv")
        return frame, meta
    frame, meta = iotools.read_pvgis_tmy(io.StringIO(text), pvgis_format="json")
    place = meta["inputs"]["location"]
    offset = place.get("irradiance_time_offset", 0.0)
    return frame, {**place, "irradiance time offset": offset}


def _read_nsrdb(text: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an NSRDB file; zones and heights that are not whole are beyond pvlib's reader."""
    lines = text.split("\n", maxsplit=2)
    names, cells = lines[0].strip().split(","), lines[1].strip().split(",")
    header = dict(zip(names, cells, strict=False))
    zone_h, height_m = float(header["Time Zone"]), float(header["Elevation"])
    plain = {**header, "Time Zone": "0", "Local Time Zone": "0", "Elevation": "0"}
    second = ",".join(plain[name] for name in header)
    frame, meta = iotools.read_nsrdb_psm4(
        io.StringIO("\n".join([",".join(header), second, *lines[2:]]))
    )
    zone = timezone(timedelta(hours=zone_h))
    frame.index = pd.DatetimeIndex(frame.index).tz_localize(None).tz_localize(zone)
    return frame, {**meta, "altitude": height_m}


_READERS: dict[WeatherKind, Callable[[str], tuple[pd.DataFrame, dict[str, Any]]]] = {
    "PVGIS": _read_pvgis,
    "EPW": lambda text: iotools.read_epw(io.StringIO(text)),
    "NSRDB": _read_nsrdb,
    "TMY3": lambda text: iotools.read_tmy3(io.StringIO(text)),
}


def _line_of(text: str, fault: str) -> str:
    """Find the line of the cell that a reader quotes in its fault, if it quotes one."""
    quoted = re.search(r"'([^']*)'$", fault)
    if quoted:
        for number, line in enumerate(text.splitlines(), start=1):
            cells = [cell.strip() for cell in line.split(",")]
            # A blank line is no row with an empty cell.
            if len(cells) > 2 and quoted[1] in cells:
                return f"line {number}"
    return ""


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InputFileInvalid(
                str(path), "", f"is larger than the limit of {FILE_BYTES_MAX} bytes"
            )
        written = path.read_bytes()
    except OSError as error:
        raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
    try:
        text = written.decode("utf-8-sig")
    except UnicodeDecodeError:
        # The name of a place in an older encoding; no figure depends on it.
        text = written.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n")


def _kind_of(path: Path, text: str) -> WeatherKind:
    first = text[:2000].partition("\n")[0]
    if first.startswith("Latitude (decimal degrees)") or _is_pvgis_json(text):
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
        "is no weather file we know; give a PVGIS typical year (CSV or JSON), EPW, NSRDB PSM or"
        " TMY3 file",
    )


def _is_pvgis_json(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        content = json.loads(text)
    except ValueError:
        return False
    return "tmy_hourly" in content.get("outputs", {})


def _as_year(
    path: Path, kind: WeatherKind, frame: pd.DataFrame, meta: dict[str, Any], text: str
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
    frame, minutes = _on_model_year(path, frame, local)
    late = int(minutes[0] % 60)
    order = np.argsort(minutes, kind="stable")
    start = pd.DatetimeIndex(
        pd.Timestamp(MODEL_YEAR, 1, 1, tz="UTC")
        + pd.to_timedelta(minutes[order] - late, unit="min")
    )

    def column(name: str, otherwise: float | None = None) -> Floats:
        if name not in frame.columns:
            if otherwise is None:
                raise InputFileInvalid(str(path), "", f"has no column for {name}")
            return np.full(HOURS_PER_YEAR, otherwise)
        try:
            values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)[order]
        except ValueError as error:
            fault = str(error).splitlines()[0]
            raise InputFileInvalid(
                str(path), _line_of(text, fault), f"{name} is no number ({fault})"
            ) from None
        if otherwise is not None:
            return np.where((values > 0) & (values < 1), values, otherwise)
        lowest, highest = LIMITS[name]
        astray = ~((values >= lowest) & (values <= highest))
        if astray.any():
            hour = int(astray.argmax())
            found = values[hour]
            raise InputFileInvalid(
                str(path),
                f"hour from {start[hour] + pd.Timedelta(minutes=late):%d %B %H:%M} UTC",
                f"{name} is missing"
                if np.isnan(found)
                else f"{name} is {found:g}, outside {lowest:g} to {highest:g}: it is missing",
            )
        return values

    return WeatherYear(
        kind=kind,
        source=f"{path.name} ({kind})",
        latitude_deg=float(inputs["latitude"]),
        longitude_deg=float(inputs["longitude"]),
        altitude_m=float(inputs.get("elevation", inputs.get("altitude", 0.0))),
        hour_start=start,
        minutes_late=late,
        sun_at=start + pd.Timedelta(minutes=late + sun_minutes - start_minutes),
        ghi_w_per_m2=np.maximum(column("ghi"), 0.0),
        dni_w_per_m2=np.maximum(column("dni"), 0.0),
        dhi_w_per_m2=np.maximum(column("dhi"), 0.0),
        air_temperature_c=column("temp_air"),
        wind_speed_m_per_s=column("wind_speed"),
        albedo=column("albedo", otherwise=0.2),
    )


def _on_model_year(
    path: Path, frame: pd.DataFrame, local: pd.DatetimeIndex
) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Lay the rows on the model year, by their order from 1 January local time.

    Stamps of typical years jump between years, and some readers move the last hour of February
    to March, so order is the safer guide; the hour of day is checked against it, and the day.

    Returns:
        The rows without a leap day, and the minute of the year in UTC at which each begins.
    """
    if len(local) == HOURS_PER_YEAR + 24:
        kept = ~((local.month == 2) & (local.day == 29))
        frame, local = frame[kept], local[kept]
    if len(local) != HOURS_PER_YEAR:
        raise InputFileInvalid(
            str(path), "", f"holds {len(local)} hours instead of {HOURS_PER_YEAR}: give a full year"
        )
    wall = pd.date_range(f"{MODEL_YEAR}-01-01", periods=HOURS_PER_YEAR, freq="h", tz=local.tz)
    days_apart = np.abs(_day_of_plain_year(local) - _day_of_plain_year(wall))
    days_apart = np.minimum(days_apart, 365 - days_apart)
    # Some files keep 29 February and leave out the last day of the year instead.
    has_leap_day = bool(((local.month == 2) & (local.day == 29)).any())
    moved = days_apart > has_leap_day
    if moved.sum() <= 1:
        moved[:] = False
    astray = np.flatnonzero((local.hour != wall.hour) | moved)
    if len(astray):
        raise InputFileInvalid(
            str(path), f"hour {astray[0] + 1} of the year", "is out of order: hours are missing"
        )
    first = pd.Timestamp(MODEL_YEAR, 1, 1, tz="UTC")
    # Hours that fall outside the model year in UTC close the circle at its other end.
    minutes = ((wall.tz_convert("UTC") - first) // pd.Timedelta(minutes=1)) % MINUTES_PER_YEAR
    return frame, minutes.to_numpy(dtype=np.int64)


def _day_of_plain_year(stamps: pd.DatetimeIndex) -> npt.NDArray[np.int64]:
    """Number the days as in a year without a leap day; 29 February shares its number."""
    after = stamps.is_leap_year & (stamps.month > 2)
    return stamps.day_of_year.to_numpy(dtype=np.int64) - after


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
