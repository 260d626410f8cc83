from pathlib import Path

import pvlib
import pytest

from solar_fund.projects.project_file import parse_project
from solar_fund.projects.project_plan import ProjectPlan
from solar_fund.projects.weather_files import WeatherYear, read_weather

# Weather years that the pvlib package carries itself.
PVLIB_DATA = Path(pvlib.__file__).parent / "data"


@pytest.fixture(scope="session")
def greensboro() -> WeatherYear:
    return read_weather(PVLIB_DATA / "723170TYA.CSV")


def roof(**tables) -> ProjectPlan:
    content = {
        "id": "roof",
        "currency": "EUR",
        "array": [{"peak_kw": 10, "tilt_deg": 30, "azimuth_deg": 180}],
        "cost": {"capex": "12000.00", "running_per_year": 120},
        "value": {"own_use_price_per_kwh": "0.25", "export_price_per_kwh": "0.08"},
    }
    return parse_project({**content, **tables})
