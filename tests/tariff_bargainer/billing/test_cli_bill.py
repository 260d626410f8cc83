"""`tariff-bargainer bill` as a user runs it: files in, JSON or one line of error out."""

import json
import random
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tariff_bargainer.cli import app
from tests.tariff_bargainer.billing.builders import HEAD
from tests.tariff_bargainer.billing.pysam_oracle import (
    FIXED_ZONE,
    START,
    as_json,
    ask_pysam,
    random_generation_kw,
    random_load_kw,
    random_urdb,
    rates_of,
)

RULES = HEAD.format(zone="Etc/UTC") + "[[energy]]\nrate_per_kwh = 0.25\n"


def run(*arguments: object):
    return CliRunner().invoke(app, ["bill", *map(str, arguments)])


def write_load(path: Path, import_kwh: np.ndarray, export_kwh: np.ndarray, step_s: int) -> Path:
    rows = ["interval_start,import_kwh,export_kwh"]
    for number, (bought, sold) in enumerate(zip(import_kwh, export_kwh, strict=True)):
        start = START + timedelta(seconds=step_s * number)
        rows.append(f"{start.isoformat()},{float(bought)!r},{float(sold)!r}")
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def day_load(tmp_path: Path) -> Path:
    return write_load(tmp_path / "load.csv", np.full(24, 1.5), np.zeros(24), 3600)


def test_json_has_annual_and_monthly_decimal_strings(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(RULES)
    result = run("--tariff", tariff, "--load", day_load, "--timezone", FIXED_ZONE, "--json")
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert made["currency"] == "EUR"
    assert made["annual"] == {
        "total": "9.00",
        "energy": "9.00",
        "demand": "0.00",
        "fixed": "0.00",
        "minimum": "0.00",
        "export_credit": "0.00",
        "discount": "0.00",
        "tax": "0.00",
    }
    assert [month["month"] for month in made["monthly"]] == ["2018-01"]


def test_a_zone_may_come_with_the_command_alone(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(RULES.replace('timezone = "Etc/UTC"\n', ""))
    without = run("--tariff", tariff, "--load", day_load, "--json")
    assert without.exit_code == 2
    result = run("--tariff", tariff, "--load", day_load, "--timezone", FIXED_ZONE, "--json")
    assert json.loads(result.stdout)["annual"]["total"] == "9.00"


def test_table_is_for_people(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(RULES)
    result = run("--tariff", tariff, "--load", day_load)
    assert result.exit_code == 0
    assert "2018-01" in result.stdout
    assert "9.00" in result.stdout


@pytest.mark.parametrize(("metering", "option"), [("net", 0), ("net-billing", 2)])
def test_urdb_file_and_csv_cost_what_pysam_says(tmp_path: Path, metering: str, option: int) -> None:
    urdb = random_urdb(random.Random(11))
    load_kw, generation_kw = random_load_kw(2, 1), random_generation_kw(2, 1, 2.0)
    wanted = ask_pysam(load_kw, generation_kw, rates_of(urdb, option))
    net_kwh = load_kw - generation_kw
    load = write_load(tmp_path / "l.csv", np.maximum(net_kwh, 0), np.maximum(-net_kwh, 0), 3600)
    tariff = tmp_path / "rate.json"
    tariff.write_text(as_json(urdb))
    result = run(
        *("--tariff", tariff, "--format", "urdb", "--load", load),
        *("--timezone", FIXED_ZONE, "--metering", metering, "--json"),
    )
    assert result.exit_code == 0, result.stderr
    totals = [float(Decimal(m["total"])) for m in json.loads(result.stdout)["monthly"]]
    assert totals == pytest.approx(wanted.total, rel=1e-8, abs=1e-8)


def test_bad_input_is_one_line_with_file_place_and_remedy(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(RULES.replace("rate_per_kwh", "rate"))
    result = run("--tariff", tariff, "--load", day_load)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {tariff}: energy[0].rate_per_kwh: is missing; write")
    tariff.write_text(RULES)
    day_load.write_text("interval_start,import_kwh\n2018-01-01T00:00:00,1\n")
    result = run("--tariff", tariff, "--load", day_load)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {day_load}: line 2: interval_start")


def test_urdb_needs_a_zone_and_names_refused_fields(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "rate.json"
    tariff.write_text('{"energyratestructure": [[{"rate": 1}]], "demandreactivepowercharge": 1}')
    result = run("--tariff", tariff, "--format", "urdb", "--load", day_load)
    assert result.exit_code == 2
    assert "--timezone" in result.stderr
    result = run(
        "--tariff", tariff, "--format", "urdb", "--load", day_load, "--timezone", "Etc/UTC"
    )
    assert result.exit_code == 2
    assert "demandreactivepowercharge" in result.stderr


def test_a_power_factor_comes_with_the_command(tmp_path: Path, day_load: Path) -> None:
    rate = tmp_path / "kva.json"
    rate.write_text('{"flatdemandstructure": [[{"rate": 8}]], "flatdemandunit": "kVA"}')
    given = ["--tariff", rate, "--format", "urdb", "--load", day_load, "--timezone", FIXED_ZONE]
    refused = run(*given)
    assert refused.exit_code == 2
    assert "flatdemandunit" in refused.stderr
    assert "--power-factor" in refused.stderr
    made = run(*given, "--power-factor", "0.8", "--json")
    assert json.loads(made.stdout)["annual"]["demand"] == "15.00"
    for wrong in ("0", "1.01", "good", "nan"):
        result = run(*given, "--power-factor", wrong)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
    toml = tmp_path / "t.toml"
    toml.write_text(RULES)
    beside = run("--tariff", toml, "--load", day_load, "--power-factor", "0.9")
    assert beside.exit_code == 2
    assert "only a URDB rate" in beside.stderr


def test_a_load_without_offsets_is_read_on_the_clock_of_the_zone_and_told(tmp_path: Path) -> None:
    tariff, load = tmp_path / "t.toml", tmp_path / "load.csv"
    tariff.write_text(RULES)
    load.write_text("timestamp;import_kwh\n2018-01-01 00:00;1,5\n2018-01-01 01:00;2,5\n")
    without = run("--tariff", tariff, "--load", load)
    assert without.exit_code == 2
    assert "no offset" in without.stderr
    made = run("--tariff", tariff, "--load", load, "--timezone", "Europe/Berlin", "--json")
    assert json.loads(made.stdout)["annual"]["total"] == "1.00"
    assert json.loads(made.stdout)["notes"] == [
        "times of the load are on the clock of Europe/Berlin"
    ]


def test_a_condition_that_no_discount_has_is_refused(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(RULES + '[[discounts]]\nname = "p"\npercent = 10\ncondition = "prompt-pay"\n')
    wrong = run("--tariff", tariff, "--load", day_load, "--condition", "promptpay")
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1
    assert "prompt-pay" in wrong.stderr
    right = run("--tariff", tariff, "--load", day_load, "--condition", "prompt-pay", "--json")
    assert json.loads(right.stdout)["annual"]["discount"] == "-0.90"


def test_system_peaks_come_with_the_command(tmp_path: Path, day_load: Path) -> None:
    tariff = tmp_path / "rate.json"
    tariff.write_text(
        '{"energyratestructure": [[{"rate": 1}]], "coincidentratestructure": [[{"rate": 2}]]}'
    )
    given = ("--tariff", tariff, "--format", "urdb", "--load", day_load, "--timezone", FIXED_ZONE)
    refused = run(*given)
    assert refused.exit_code == 2
    assert "coincidentratestructure" in refused.stderr
    assert "--system-peak" in refused.stderr
    made = run(*given, "--system-peak", "2018-01-01T17:00-07:00", "--json")
    assert json.loads(made.stdout)["annual"]["demand"] == "3.00"
    naive = run(*given, "--system-peak", "2018-01-01T17:00")
    assert naive.exit_code == 2
    assert "with its offset" in naive.stderr


def test_price_series_registers_and_versions_are_given_by_name(
    tmp_path: Path, day_load: Path
) -> None:
    tariff = tmp_path / "t.toml"
    tariff.write_text(
        RULES + '[[energy]]\n[energy.index]\nseries = "spot"\n'
        '[[energy]]\nregister = "boiler"\nrate_per_kwh = 1\n'
    )
    prices = tmp_path / "p.csv"
    hours = [START + timedelta(hours=hour) for hour in range(24)]
    prices.write_text(
        "interval_start,price_per_mwh\n" + "".join(f"{h.isoformat()},-100\n" for h in hours)
    )
    common = ("--tariff", tariff, "--load", day_load, "--json")
    assert "'spot'" in run(*common, "--register", "boiler=none").stderr
    assert "'boiler'" in run(*common, "--index", f"spot={prices}").stderr
    assert "NAME=FILE" in run(*common, "--index", "spot").stderr
    result = run(*common, "--index", f"spot={prices}", "--register", "boiler=none")
    assert json.loads(result.stdout)["annual"]["total"] == "5.40"
    later = tmp_path / "later.toml"
    later.write_text(
        RULES.replace("[[energy]]", "effective_from = 2018-01-02\n[[energy]]").replace("25", "5")
    )
    first = tmp_path / "first.toml"
    first.write_text(RULES)
    versions = run("--tariff", first, "--tariff", later, "--load", day_load, "--json")
    # The load runs from 07:00 UTC, so seven of its hours lie after the price change.
    assert json.loads(versions.stdout)["annual"]["total"] == "11.625"
