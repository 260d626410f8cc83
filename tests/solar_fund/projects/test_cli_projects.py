import json
from pathlib import Path

import pvlib
import pytest
from typer.testing import CliRunner

from solar_fund.cli import app

WEATHER = Path(pvlib.__file__).parent / "data" / "723170TYA.CSV"
ROOF = """
name = "School roof"
currency = "EUR"
[[array]]
peak_kw = 10
tilt_deg = 30
azimuth_deg = 180
[cost]
capex = "12000.00"
[value]
own_use_price_per_kwh = "0.25"
export_price_per_kwh = "0.08"
"""


@pytest.fixture
def project(tmp_path) -> Path:
    path = tmp_path / "roof.toml"
    path.write_text(ROOF, encoding="utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_appraise_prints_one_json_object_with_the_promised_keys(project, tmp_path) -> None:
    load = tmp_path / "load.csv"
    rows = [f"2025-06-21T{h:02}:{m:02}:00-05:00,1500" for h in range(24) for m in (0, 30)]
    load.write_text("\n".join(["interval_start,import_wh", *rows]), encoding="utf-8")
    result = run("appraise", project, "--weather", WEATHER, "--load", load, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert 1300 < report["specific_yield_kwh_per_kwp"] < 1450
    assert report["annual_energy_kwh"] == pytest.approx(10 * report["specific_yield_kwh_per_kwp"])
    assert len(report["monthly_energy_kwh"]) == 12
    assert 0 < report["self_consumption_share"] < 1
    assert isinstance(report["npv_minor"], int)
    for key in ("irr", "lcoe_per_kwh", "payback_years"):
        assert report[key] > 0


def test_a_project_after_a_funded_one_is_worth_less(project, tmp_path) -> None:
    load = tmp_path / "load.csv"
    rows = [f"2025-06-21T{h:02}:00:00-05:00,4000" for h in range(24)]
    load.write_text("\n".join(["interval_start,import_wh", *rows]), encoding="utf-8")
    asked = ("appraise", project, "--weather", WEATHER, "--load", load, "--json")
    alone = json.loads(run(*asked).stdout)
    second = json.loads(run(*asked, "--after", project).stdout)
    assert second["self_consumption_share"] < alone["self_consumption_share"]
    assert second["self_consumption_alone"] == alone["self_consumption_alone"]


def test_bad_files_give_one_clear_line_and_exit_code_2(project, tmp_path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("what is this\n", encoding="utf-8")
    for arguments in (
        (nonsense, "--weather", WEATHER),
        (project, "--weather", nonsense),
        (project, "--weather", WEATHER, "--load", nonsense),
        (project, "--weather", WEATHER, "--after", nonsense),
    ):
        result = run("appraise", *arguments, "--json")
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("error: ")
        assert str(nonsense) in result.stderr
        assert result.stderr.count("\n") == 1
