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
    "interval_start;import_kwh\n2018-01-01T00:00:00Z;1.000,5\n": (2, "no number"),
    "interval_start,import_kwh\n2018-01-01T00:00:00Z;1,5\n": (2, "no ISO 8601"),
    "start,timestamp,import_wh\n": (1, "interval_start stands twice"),
    "interval_start,timestamp,import_wh\n": (1, "'timestamp' is not known"),
    "interval_start,import_wh\n2018-01-01T00:00:00Z,1\n2018-01-01T01:00:00,1\n": (
        3,
        "no offset, unlike",
    ),
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


OCTOPUS = """\
Consumption (kwh), Estimated Cost Inc. Tax (p), Start, End
0.5,1.1, {0}, {1}
1.25,1.2, {1}, {1}
"""


@pytest.mark.parametrize(
    "text",
    [
        "interval_start;import_kwh\n{0};0,5\n{1};1,25\n",
        "interval_start\timport_kwh\n{0}\t0.5\n{1}\t1.25\n",
        ",import_kwh\n{0},0.5\n{1},1.25\n",
        "timestamp,import_kwh,export_kwh\n{0},0.5,0\n{1},1.25,0\n",
        OCTOPUS,
    ],
)
def test_files_of_spreadsheets_pandas_and_octopus_are_read(text: str) -> None:
    for zero, one in (
        ("2023-01-01T00:00:00+00:00", "2023-01-01T00:30:00+00:00"),
        ("2023-01-01 00:00:00+00:00", "2023-01-01 00:30:00+00:00"),
    ):
        profile = parse(text.format(zero, one))
        assert (profile.import_wh.tolist(), profile.step_s) == ([500, 1250], 1800)


def local(*rows: str) -> str:
    return "interval_start,import_wh\n" + "".join(f"{row},{n}\n" for n, row in enumerate(rows))


def test_times_without_offset_are_read_on_the_clock_of_a_zone_that_is_given() -> None:
    """Berlin shows the hour from 2 to 3 twice on 28 October 2018, and never on 25 March."""
    hours = [f"2018-10-28 {hour:02d}:00" for hour in (1, 2, 2, 3, 4)]
    quarters = [f"2018-10-28 02:{minute:02d}" for minute in (0, 15, 30, 45, 0, 15, 30, 45)]
    for rows, step_s in ((hours, 3600), (quarters, 900)):
        profile = parse_load_csv([*local(*rows).splitlines(True)], timezone="Europe/Berlin")
        assert (len(profile), profile.step_s) == (len(rows), step_s)
    assert profile.start == datetime(2018, 10, 28, tzinfo=UTC)
    spring = [f"2018-03-25 {hour:02d}:00" for hour in (1, 3, 4)]
    assert (
        parse_load_csv([*local(*spring).splitlines(True)], timezone="Europe/Berlin").step_s == 3600
    )


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            ("2018-03-25 01:00", "2018-03-25 02:00"),
            "line 3: the clock of Europe/Berlin never shows",
        ),
        (("2018-10-28 00:00", "2018-10-28 01:00", "2018-10-28 02:00", "2018-10-28 03:00"), "a gap"),
        (("2018-10-29 02:00", "2018-10-29 02:00"), "stands twice"),
    ],
)
def test_local_times_that_do_not_follow_each_other_are_refused(
    rows: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(LoadFileError, match=problem):
        parse_load_csv([*local(*rows).splitlines(True)], timezone="Europe/Berlin")
