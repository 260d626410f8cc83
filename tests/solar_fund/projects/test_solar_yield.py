import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pvlib
import PySAM.Pvwattsv8 as Pvwatts
import pytest

from solar_fund.errors import InputFileInvalid, ProjectInvalid
from solar_fund.projects.solar_yield import SolarArray, SolarLosses, solar_year
from solar_fund.projects.weather_files import WeatherYear, hour_of_model_year, read_weather

PVLIB_DATA = Path(pvlib.__file__).parent / "data"


def pvwatts_kwh(weather: WeatherYear, array: SolarArray) -> float:
    """The same array on the same weather by NREL's own PVWatts, an oracle for tests only."""
    model = Pvwatts.default("PVWattsNone")
    hours = weather.hour_start
    model.SolarResource.solar_resource_data = {
        "lat": weather.latitude_deg,
        "lon": weather.longitude_deg,
        "tz": 0,
        "elev": weather.altitude_m,
        "year": [2019] * 8760,
        "month": list(hours.month),
        "day": list(hours.day),
        "hour": list(hours.hour),
        "minute": list(weather.sun_at.minute),
        "dn": list(weather.dni_w_per_m2),
        "df": list(weather.dhi_w_per_m2),
        "gh": list(weather.ghi_w_per_m2),
        "tdry": list(weather.air_temperature_c),
        "wspd": list(weather.wind_speed_m_per_s),
        "albedo": list(weather.albedo),
    }
    design = model.SystemDesign
    design.system_capacity = array.peak_kw
    design.tilt = array.tilt_deg
    design.azimuth = array.azimuth_deg
    design.array_type = 0 if array.mounting == "rack" else 1
    design.module_type = ["standard", "premium", "thin film"].index(array.module)
    design.dc_ac_ratio = array.dc_ac_ratio
    design.inv_eff = array.inverter_efficiency * 100
    design.losses = SolarLosses().total_pct
    design.gcr = 0.01
    model.execute()
    return float(model.Outputs.annual_energy)


@pytest.mark.parametrize("place", ["723170TYA.CSV", "703165TY.csv"])
@pytest.mark.parametrize(
    ("tilt_deg", "azimuth_deg", "mounting", "module"),
    [
        (30, 180, "roof", "standard"),
        (15, 90, "roof", "standard"),
        (10, 270, "rack", "premium"),
        (30, 180, "rack", "standard"),
        (0, 180, "roof", "thin film"),
    ],
)
def test_yield_is_within_three_percent_of_pvwatts(
    place, tilt_deg, azimuth_deg, mounting, module
) -> None:
    weather = read_weather(PVLIB_DATA / place)
    array = SolarArray(
        peak_kw=4,
        tilt_deg=tilt_deg,
        azimuth_deg=azimuth_deg,
        mounting=mounting,
        module=module,
    )
    assert solar_year((array,), weather).annual_kwh == pytest.approx(
        pvwatts_kwh(weather, array), rel=0.03
    )


def test_the_default_losses_are_those_of_pvwatts() -> None:
    assert SolarLosses().total_pct == pytest.approx(14.0757, abs=1e-3)


def test_months_add_up_to_the_year_in_any_zone(greensboro) -> None:
    year = solar_year((SolarArray(peak_kw=5, tilt_deg=20, azimuth_deg=200),), greensboro)
    for zone in ("UTC", "America/New_York"):
        assert sum(year.monthly_kwh(greensboro, zone)) == pytest.approx(year.annual_kwh)


def test_two_arrays_yield_what_each_yields_alone(greensboro) -> None:
    east = SolarArray(peak_kw=3, tilt_deg=10, azimuth_deg=90)
    west = SolarArray(peak_kw=4, tilt_deg=10, azimuth_deg=270)
    both = solar_year((east, west), greensboro).annual_kwh
    assert both == pytest.approx(
        solar_year((east,), greensboro).annual_kwh + solar_year((west,), greensboro).annual_kwh
    )


def test_there_is_no_yield_at_night_and_never_more_than_the_inverter(greensboro) -> None:
    array = SolarArray(peak_kw=10, tilt_deg=30, azimuth_deg=180)
    hourly = solar_year((array,), greensboro).hourly_kwh
    assert (hourly[greensboro.ghi_w_per_m2 == 0] == 0).all()
    assert hourly.max() <= 10 / array.dc_ac_ratio + 1e-9


def test_more_losses_never_yield_more(greensboro) -> None:
    array = (SolarArray(peak_kw=10, tilt_deg=30, azimuth_deg=180),)
    clean = solar_year(array, greensboro, SolarLosses(soiling_pct=0)).annual_kwh
    dirty = solar_year(array, greensboro, SolarLosses(soiling_pct=9)).annual_kwh
    assert dirty < clean


@pytest.mark.parametrize("field", [{"peak_kw": 0}, {"tilt_deg": 91}, {"azimuth_deg": -1}])
def test_impossible_arrays_are_refused(field) -> None:
    with pytest.raises(ProjectInvalid, match=next(iter(field))):
        SolarArray(**{"peak_kw": 1, "tilt_deg": 1, "azimuth_deg": 1, **field})


def write_epw(
    path: Path,
    weather: pd.DataFrame,
    latitude_deg: float = 36.1,
    longitude_deg: float = -79.95,
    zone_h: float = -5.0,
    first_day: str = "2019-01-01",
) -> None:
    head = [
        f"LOCATION,Somewhere,NC,USA,TMY3,723170,{latitude_deg},{longitude_deg},{zone_h},273.0",
        "DESIGN CONDITIONS,0",
        "TYPICAL/EXTREME PERIODS,0",
        "GROUND TEMPERATURES,0",
        "HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0",
        "COMMENTS 1,made for a test",
        "COMMENTS 2,",
        "DATA PERIODS,1,1,Data,Sunday, 1/ 1,12/31",
    ]
    rows = []
    start = datetime.fromisoformat(first_day)
    for hour, row in enumerate(weather.itertuples()):
        stamp = start + timedelta(hours=hour)
        rows.append(
            f"{stamp.year},{stamp.month},{stamp.day},{stamp.hour + 1},60,?,{row.temp_air},5,60,"
            f"98000,0,0,300,{row.ghi},{row.dni},{row.dhi},0,0,0,0,180,{row.wind_speed},"
            "5,5,20,2000,9,999999999,20,0.1,0,88,0.2,0,0"
        )
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def write_pvgis(path: Path, weather: WeatherYear) -> None:
    head = [
        f"Latitude (decimal degrees): {weather.latitude_deg}",
        f"Longitude (decimal degrees): {weather.longitude_deg}",
        f"Elevation (m): {weather.altitude_m}",
        "Irradiance Time Offset (h): 0.5",
        "month,year",
        *(f"{month},2019" for month in range(1, 13)),
        "time(UTC),T2m,RH,G(h),Gb(n),Gd(h),IR(h),WS10m,WD10m,SP",
    ]
    rows = [
        f"{stamp:%Y%m%d:%H%M},{t},60,{g},{b},{d},300,{w},180,98000"
        for stamp, t, g, b, d, w in zip(
            weather.hour_start,
            weather.air_temperature_c,
            weather.ghi_w_per_m2,
            weather.dni_w_per_m2,
            weather.dhi_w_per_m2,
            weather.wind_speed_m_per_s,
            strict=True,
        )
    ]
    tail = ["", "T2m: 2-m air temperature (degree Celsius)", ""]
    path.write_text("\n".join([*head, *rows, *tail]), encoding="utf-8")


def write_nsrdb(
    path: Path, weather: pd.DataFrame, longitude_deg: float = -79.95, zone_h: float = -5
) -> None:
    head = [
        "Source,Location ID,Latitude,Longitude,Time Zone,Elevation,Local Time Zone",
        f"NSRDB,1,36.1,{longitude_deg},{zone_h},273,{zone_h}",
        "Year,Month,Day,Hour,Minute,GHI,DNI,DHI,Temperature,Wind Speed",
    ]
    start = datetime.fromisoformat("2019-01-01")
    rows = []
    for hour, row in enumerate(weather.itertuples()):
        stamp = start + timedelta(hours=hour)
        rows.append(
            f"{stamp.year},{stamp.month},{stamp.day},{stamp.hour},30,{row.ghi},{row.dni},"
            f"{row.dhi},{row.temp_air},{row.wind_speed}"
        )
    path.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


def test_the_same_weather_yields_the_same_in_every_file_format(tmp_path, greensboro) -> None:
    frame, _ = pvlib.iotools.read_tmy3(PVLIB_DATA / "723170TYA.CSV", map_variables=True)
    write_epw(tmp_path / "x.epw", frame)
    write_nsrdb(tmp_path / "x.nsrdb.csv", frame)
    write_pvgis(tmp_path / "x.pvgis.csv", greensboro)
    array = (SolarArray(peak_kw=1, tilt_deg=30, azimuth_deg=180),)
    # The ground of the TMY3 file has its own albedo; flat panels do not see the ground.
    flat = (SolarArray(peak_kw=1, tilt_deg=0, azimuth_deg=180),)
    expected = solar_year(flat, greensboro).annual_kwh
    for name, kind in (("x.epw", "EPW"), ("x.nsrdb.csv", "NSRDB"), ("x.pvgis.csv", "PVGIS")):
        weather = read_weather(tmp_path / name)
        assert weather.kind == kind
        assert solar_year(flat, weather).annual_kwh == pytest.approx(expected, rel=1e-6), kind
        assert solar_year(array, weather).annual_kwh == pytest.approx(
            solar_year(array, greensboro).annual_kwh, rel=0.01
        )


def test_a_weather_file_with_a_missing_hour_is_refused(tmp_path, greensboro) -> None:
    path = tmp_path / "cut.csv"
    write_pvgis(path, greensboro)
    lines = path.read_text(encoding="utf-8").splitlines()
    del lines[5000]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputFileInvalid, match="all 8760 hours"):
        read_weather(path)


def test_a_year_that_lacks_its_last_day_is_refused(tmp_path) -> None:
    frame, _ = pvlib.iotools.read_tmy3(PVLIB_DATA / "723170TYA.CSV", map_variables=True)
    write_nsrdb(tmp_path / "cut.csv", frame.iloc[:-24])
    with pytest.raises(InputFileInvalid, match="8736 hours"):
        read_weather(tmp_path / "cut.csv")


@pytest.mark.parametrize("text", ["", "time,ghi\n1,2\n", "LOCATION,x\n", "Source,x\n1\n"])
def test_what_is_no_weather_is_refused_in_one_line(tmp_path, text) -> None:
    path = tmp_path / "weather.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputFileInvalid) as caught:
        read_weather(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_hours_of_the_model_year_repeat_the_28th_on_a_leap_day() -> None:
    stamps = pd.DatetimeIndex(
        ["2024-02-28T05:00Z", "2024-02-29T05:30Z", "2024-03-01T00:00Z", "2024-12-31T23:59Z"]
    )
    assert hour_of_model_year(stamps).tolist() == [58 * 24 + 5, 58 * 24 + 5, 59 * 24, 8759]
    full = pd.date_range("2023-01-01", periods=8760, freq="h", tz="UTC")
    assert (hour_of_model_year(full) == np.arange(8760)).all()
    with pytest.raises(ProjectInvalid, match="zone"):
        hour_of_model_year(pd.DatetimeIndex(["2024-01-01"]))


@pytest.mark.parametrize("cell", ["x", ""])
def test_a_cell_that_is_no_number_is_named_by_its_line(
    tmp_path: Path, greensboro: WeatherYear, cell: str
) -> None:
    path = tmp_path / "year.csv"
    write_pvgis(path, greensboro)
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[4_000].split(",")
    cells[3] = cell
    lines[4_000] = ",".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputFileInvalid, match="line 4001: looks like PVGIS"):
        read_weather(path)


@pytest.fixture
def greensboro_rows() -> pd.DataFrame:
    frame, _ = pvlib.iotools.read_tmy3(PVLIB_DATA / "723170TYA.CSV", map_variables=True)
    return frame


STEEP_EAST = (SolarArray(peak_kw=1, tilt_deg=60, azimuth_deg=90),)


@pytest.mark.parametrize("zone_h", [-4.5, 5.5, 5.75])
@pytest.mark.parametrize("write", [write_epw, write_nsrdb])
def test_zones_of_half_and_quarter_hours_see_the_same_sun(
    tmp_path, greensboro, greensboro_rows, write, zone_h
) -> None:
    # The same clock and weather at a place moved as many degrees as its clock is.
    path = tmp_path / "moved.csv"
    write(path, greensboro_rows, longitude_deg=-79.95 + 15 * (zone_h + 5), zone_h=zone_h)
    weather = read_weather(path)
    assert weather.minutes_late == round(zone_h * -60) % 60
    assert solar_year(STEEP_EAST, weather).annual_kwh == pytest.approx(
        solar_year(STEEP_EAST, greensboro).annual_kwh, rel=0.002
    )


def test_the_southern_hemisphere_faces_north(tmp_path, greensboro_rows) -> None:
    half_year = 182 * 24
    turned = pd.concat([greensboro_rows.iloc[half_year:], greensboro_rows.iloc[:half_year]])
    write_epw(tmp_path / "south.epw", turned, -36.1, 145.05, 10.0)
    weather = read_weather(tmp_path / "south.epw")
    north, south = (SolarArray(peak_kw=1, tilt_deg=30, azimuth_deg=a) for a in (0, 180))
    kwh = solar_year((north,), weather).annual_kwh
    assert kwh > 1.5 * solar_year((south,), weather).annual_kwh
    assert kwh == pytest.approx(pvwatts_kwh(weather, north), rel=0.03)
    months = solar_year((north,), weather).monthly_kwh(weather, "Australia/Melbourne")
    assert months[0] > months[5]


def test_a_leap_year_counts_without_its_leap_day(tmp_path, greensboro, greensboro_rows) -> None:
    day = slice(58 * 24, 59 * 24)
    rows = pd.concat(
        [greensboro_rows[: day.stop], greensboro_rows[day], greensboro_rows[day.stop :]]
    )
    write_epw(tmp_path / "leap.epw", rows, first_day="2020-01-01")
    weather = read_weather(tmp_path / "leap.epw")
    assert solar_year(STEEP_EAST, weather).annual_kwh == pytest.approx(
        solar_year(STEEP_EAST, greensboro).annual_kwh, rel=0.001
    )


def test_a_year_that_lacks_a_day_and_has_another_twice_is_refused(
    tmp_path, greensboro_rows
) -> None:
    path = tmp_path / "gap.epw"
    write_epw(path, greensboro_rows)
    lines = path.read_text(encoding="utf-8").splitlines()
    del lines[8 + 2400 : 8 + 2424]
    path.write_text("\n".join([*lines, *lines[-24:]]) + "\n", encoding="utf-8")
    with pytest.raises(InputFileInvalid, match="hour 2401 of the year: is out of order"):
        read_weather(path)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        (13, "9999", "hour from 16 June 13:00 UTC: ghi is 9999, outside"),
        (14, "-9900", "dni is -9900"),
        (15, "inf", "dhi is inf"),
        (15, "nan", "dhi is missing"),
        (6, "99.9", "temp_air is 99.9"),
        (21, "999", "wind_speed is 999"),
        (14, "abc", "line 4001: dni is no number"),
    ],
)
def test_codes_for_missing_figures_are_not_taken_for_weather(
    tmp_path, greensboro_rows, column, cell, words
) -> None:
    path = tmp_path / "codes.epw"
    write_epw(path, greensboro_rows)
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[4_000].split(",")
    cells[column] = cell
    lines[4_000] = ",".join(cells)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputFileInvalid, match=words):
        read_weather(path)


def test_a_place_name_in_an_older_encoding_does_not_matter(tmp_path, greensboro_rows) -> None:
    path = tmp_path / "old.epw"
    write_epw(path, greensboro_rows)
    text = path.read_text(encoding="utf-8").replace("Somewhere", "Zürich")
    path.write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    assert read_weather(path).latitude_deg == 36.1


def test_a_pvgis_year_reads_as_json_too(tmp_path, greensboro) -> None:
    names = ("ghi", "dni", "dhi", "air_temperature", "wind_speed")
    units = ("w_per_m2", "w_per_m2", "w_per_m2", "c", "m_per_s")
    columns = [getattr(greensboro, f"{n}_{u}") for n, u in zip(names, units, strict=True)]
    hours = [
        {"time(UTC)": f"{at:%Y%m%d:%H%M}", "G(h)": g, "Gb(n)": b, "Gd(h)": d, "T2m": t, "WS10m": w}
        for at, g, b, d, t, w in zip(greensboro.hour_start, *columns, strict=True)
    ]
    place = {
        "latitude": greensboro.latitude_deg,
        "longitude": greensboro.longitude_deg,
        "elevation": greensboro.altitude_m,
        "irradiance_time_offset": 0.5,
    }
    content = {
        "inputs": {"location": place},
        "outputs": {"months_selected": [], "tmy_hourly": hours},
        "meta": {"inputs": {}},
    }
    (tmp_path / "year.json").write_text(json.dumps(content), encoding="utf-8")
    write_pvgis(tmp_path / "year.csv", greensboro)
    as_json, as_csv = (read_weather(tmp_path / f"year.{kind}") for kind in ("json", "csv"))
    assert as_json.kind == "PVGIS"
    assert solar_year(STEEP_EAST, as_json).annual_kwh == pytest.approx(
        solar_year(STEEP_EAST, as_csv).annual_kwh
    )
    (tmp_path / "other.json").write_text('{"outputs": {}}', encoding="utf-8")
    with pytest.raises(InputFileInvalid, match="no weather file we know"):
        read_weather(tmp_path / "other.json")
