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


def write_epw(path: Path, weather: pd.DataFrame) -> None:
    head = [
        "LOCATION,Somewhere,NC,USA,TMY3,723170,36.1,-79.95,-5.0,273.0",
        "DESIGN CONDITIONS,0",
        "TYPICAL/EXTREME PERIODS,0",
        "GROUND TEMPERATURES,0",
        "HOLIDAYS/DAYLIGHT SAVINGS,No,0,0,0",
        "COMMENTS 1,made for a test",
        "COMMENTS 2,",
        "DATA PERIODS,1,1,Data,Sunday, 1/ 1,12/31",
    ]
    rows = []
    start = datetime.fromisoformat("2019-01-01")
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


def write_nsrdb(path: Path, weather: pd.DataFrame) -> None:
    head = [
        "Source,Location ID,Latitude,Longitude,Time Zone,Elevation,Local Time Zone",
        "NSRDB,1,36.1,-79.95,-5,273,-5",
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
