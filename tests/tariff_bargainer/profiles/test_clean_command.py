"""`tariff-bargainer clean` on files as portals write them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tariff_bargainer.cli import app
from tariff_bargainer.profiles.load_csv import read_load_csv


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["clean", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def write_portal(path: Path, hours: int = 24 * 40) -> "pd.Series[float]":
    """A German portal's file over the night when clocks go back, with a hole and a repetition."""
    index = pd.date_range("2024-10-01", periods=hours, freq="h", tz="Europe/Berlin")
    load = pd.Series(np.arange(hours) % 24 * 0.05 + 0.125, index=index)
    local = [f"{time:%d.%m.%Y;%H:%M}" for time in index.tz_localize(None)]
    rows = [f"{time};{kwh:.3f}".replace(".", ",") for time, kwh in zip(local, load, strict=True)]
    rows = [row.replace(",", ".", 2) for row in rows]
    rows[100] = rows[100].rsplit(";", 1)[0] + ";"
    path.write_text("# Portal\nDatum;Zeit;Verbrauch\n" + "\n".join([*rows, rows[-1]]) + "\n")
    return load.tz_convert("UTC")


PORTAL = ("--unit", "kwh", "--timezone", "Europe/Berlin", "--time-format", "%d.%m.%Y %H:%M")
COLUMNS = ("--time", "Datum", "--time", "Zeit")


def test_a_portals_file_becomes_a_load_file_with_every_kwh_accounted_for(tmp_path):
    load = write_portal(tmp_path / "h1.csv")
    out = tmp_path / "homes"
    told = json.loads(run(tmp_path / "h1.csv", "--out", out, *PORTAL, *COLUMNS, "--json"))
    (row,) = told["homes"]
    assert row["repeated_rows"] == 1
    assert row["missing"] == 1
    assert row["estimated"] == 0
    assert row["given_wh"] == pytest.approx(row["import_wh"] + row["repeated_wh"])
    profile = read_load_csv(out / "h1.csv")
    assert profile.start == load.index[0].to_pydatetime()
    assert np.flatnonzero(profile.missing_mask).tolist() == [100]
    expected = 1000 * np.delete(load.to_numpy(), 100)
    np.testing.assert_allclose(np.delete(profile.import_wh, 100), expected)
    assert not (out / "estimated").exists()


def test_estimates_are_made_when_asked_for_and_listed(tmp_path):
    write_portal(tmp_path / "h1.csv")
    out = tmp_path / "homes"
    table = run(tmp_path / "h1.csv", "--out", out, *PORTAL, *COLUMNS, "--fill-h", "2")
    assert not read_load_csv(out / "h1.csv").missing_mask.any()
    listed = (out / "estimated" / "h1.csv").read_text().splitlines()
    assert len(listed) == 2
    estimated_kwh = float(listed[1].split(",")[1]) / 1e3
    assert f"{estimated_kwh:,.3f}" in table


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("a,b,c\n1,2,3\n", (), "2 columns beside the time: b, c; say which"),
        ("a;b\n2024-01-01;1\n2024-01-02;x\n", (), "row 2 below the header: 'x' is no number"),
        ("a;b\n01.02.2024 10:00;1\n", (), "'01.02.2024 10:00' is not a time as ISO 8601"),
        ("a,b\n2024-01-01T00:00,1\n2024-01-01T01:00,2\n", (), "h: times such as 2024-01-01"),
        ("a,b\n2024-01-01T00:00Z,1\n2024-01-01T01:00,2\n", (), "row 2 below the header"),
        ("a,b\n2024-01-01T00:00Z,1\n2024-01-01T01:00Z,-2\n", (), "1 readings are below zero"),
        ("a,b\n2024-01-01T00:00Z,1\n", ("--column", "kWh"), "column 'kWh' stands 0 times"),
        ("", (), "not CSV"),
        ("a,b\n1,2,3\n", (), "one cell for each column"),
        ("a,b\n1\n1,2,3\n", (), "not CSV"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_is_written(tmp_path, text, options, says):
    (tmp_path / "h.csv").write_text(text)
    out = tmp_path / "out"
    told = run(tmp_path / "h.csv", "--out", out, "--unit", "kwh", *options, code=2)
    assert says in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert not out.exists()


def test_all_files_with_a_reason_are_named_at_once(tmp_path):
    for home in ("h1", "h2"):
        (tmp_path / f"{home}.csv").write_text("t,kwh\n2024-01-01T00:00,1\n2024-01-01T01:00,2\n")
    told = run(tmp_path / "h1.csv", tmp_path / "h2.csv", "--out", tmp_path / "o", "--unit", "kwh",
               code=2)  # fmt: skip
    assert told.count("which zone's clock") == 2


def test_the_files_given_are_never_written_over(tmp_path):
    (tmp_path / "h.csv").write_text("t,kwh\n2024-01-01T00:00Z,1\n2024-01-01T01:00Z,2\n")
    told = run(tmp_path / "h.csv", "--out", tmp_path, "--unit", "kwh", code=2)
    assert "give another folder" in told


def test_export_mixed_in_gets_its_own_column(tmp_path):
    (tmp_path / "h.csv").write_text("t,kw\n2024-01-01T00:15Z,2\n2024-01-01T00:30Z,-1\n")
    run(tmp_path / "h.csv", "--out", tmp_path / "o", "--unit", "kw", "--net", "--labelled", "end")
    assert (tmp_path / "o" / "h.csv").read_text().splitlines() == [
        "interval_start,import_wh,export_wh",
        "2024-01-01T00:00:00Z,500,0",
        "2024-01-01T00:15:00Z,0,250",
    ]
