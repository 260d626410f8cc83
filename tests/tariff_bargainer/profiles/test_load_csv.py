from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tariff_bargainer.errors import LoadFileError
from tariff_bargainer.profiles.load_csv import parse_load_csv, read_load_csv


def parse(text: str):
    return parse_load_csv(text.splitlines(keepends=True))


def test_units_become_wh() -> None:
    for header, cell in (("import_wh", "250"), ("import_kwh", "0.25"), ("import_kw", "1")):
        profile = parse(
            f"interval_start,{header}\n2018-01-01T00:00:00Z,{cell}\n2018-01-01T00:15:00Z,{cell}\n"
        )
        assert profile.import_wh.tolist() == [250, 250]
        assert profile.import_wh.dtype == np.int64
        assert profile.step_s == 900


def test_clock_changes_are_told_by_offsets() -> None:
    profile = parse(
        "interval_start,import_wh,export_wh\n"
        "2024-10-27T02:00:00+02:00,1,0\n"
        "2024-10-27T02:00:00+01:00,2,5\n"
        "2024-10-27T03:00:00+01:00,3,0\n"
    )
    assert profile.start == datetime(2024, 10, 27, tzinfo=UTC)
    assert profile.import_wh.tolist() == [1, 2, 3]
    assert profile.export_wh is not None
    assert profile.export_wh.tolist() == [0, 5, 0]


def test_empty_cell_is_missing_not_zero() -> None:
    profile = parse("interval_start,import_wh\n2018-01-01T00:00:00Z,\n2018-01-01T01:00:00Z,4\n")
    assert profile.missing_mask.tolist() == [True, False]


ROW = "2018-01-01T00:00:00Z,1\n2018-01-01T01:00:00Z,1\n"
FAULTS = {
    "": (1, "no header"),
    "TYPE,DATE,USAGE\n": (1, "no column interval_start among type, date, usage"),
    ",interval_start,import_wh\n": (1, "a column has no name"),
    "interval_start,load\n": (1, "'load' is not known"),
    "interval_start;import_kwh\n2018-01-01T00:00:00Z;1,5\n": (1, "separated by commas"),
    "interval_start\n" + "2018-01-01T00:00:00Z\n2018-01-01T01:00:00Z\n": (1, "0 import columns"),
    "interval_start,import_wh,import_kwh\n2018-01-01T00:00:00Z,1,1\n2018-01-01T01:00:00Z,1,1\n": (
        1,
        "2 import columns",
    ),
    "interval_start,import_wh,import_wh\n": (1, "stands twice"),
    "interval_start,import_wh\n": (None, "no rows"),
    "interval_start,import_wh\n2018-01-01T00:00:00Z,1\n": (None, "one row"),
    "interval_start,import_wh\n2018-01-01T00:00:00,1\n": (2, "no offset"),
    "interval_start,import_wh\nyesterday,1\n": (2, "no ISO 8601 time"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T01:00:00Z,1\n": (4, "twice in a row"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T00:30:00Z,1\n": (4, "before the row"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T04:00:00Z,1\n": (4, "a gap"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T02:00:00Z,-1\n": (4, "below zero"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T02:00:00Z,x\n": (4, "no number"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T02:00:00Z,nan\n": (4, "no number"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T02:00:00Z\n": (4, "1 cells"),
    "interval_start,import_wh\n" + ROW + "2018-01-01T02:00:00Z,1e15\n": (4, "more than"),
    'interval_start,import_wh\n"2018': (2, "not CSV"),
}


@pytest.mark.parametrize("text", FAULTS, ids=[problem for _, problem in FAULTS.values()])
def test_faults_name_line_and_remedy(text: str) -> None:
    line, problem = FAULTS[text]
    with pytest.raises(LoadFileError, match=problem) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.remedy


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LoadFileError, match="cannot be read"):
        read_load_csv(tmp_path / "absent.csv")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LoadFileError, match="not UTF-8"):
        read_load_csv(binary)
