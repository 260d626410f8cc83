"""Files in and out of a store, from the library and from the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.errors import BadReadingsFile
from cloud.readings.embedded import EmbeddedStore
from cloud.readings.imports import import_readings
from cloud.readings.interchange import read_csv, read_parquet, write_csv, write_parquet
from cloud.readings.memory import MemoryStore
from gateway.wire.consent import EventType, Grant, Notice, Release, Terms
from gateway.wire.reading import Purpose, Quality, Quantity, Reading, Resolution
from tests.cloud.readings.batches import MONDAY, batch, part
from tests.cloud.readings.green_button_feeds import interval, simple

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HEADER = "meter,quantity,purpose,epoch,start,end,energy_wh,quality\n"
ROW = "main,import_wh,own_insight,0,2026-03-02T00:00:00Z,2026-03-02T00:15:00Z,12,measured\n"
runner = CliRunner()


def grant(**changes) -> Grant:
    terms = Terms(
        **{
            "purpose": Purpose.OWN_INSIGHT,
            "meters": ("main",),
            "quantities": (Quantity.IMPORT_WH, Quantity.EXPORT_WH),
            "resolution": Resolution.QUARTER_HOUR,
            "recipients": ("household",),
            "release": Release.OWN_ONLY,
            "group_min": 1,
            "valid_from": MONDAY - timedelta(days=400),
            "valid_to": NOW + timedelta(days=400),
            "retention_days": 800,
            "notice": Notice(notice_id="n", version="1", language="en", sha256=""),
        }
        | changes
    )
    return Grant(
        consent_id="own",
        version=1,
        household="h-1",
        state=EventType.GIVEN,
        since=MONDAY,
        terms=terms,
        head="",
    )


def quarters(count: int) -> list[Reading]:
    step = timedelta(minutes=15)
    return [
        Reading(
            meter="main",
            quantity=Quantity.IMPORT_WH,
            start=MONDAY + step * at,
            end=MONDAY + step * (at + 1),
            energy_wh=0 if at == 3 else at,
            quality=Quality.GAP if at == 3 else Quality.MEASURED,
        )
        for at in range(count)
    ]


def put(store, readings: list[Reading], *grants: Grant):
    return import_readings(
        store,
        readings,
        household="h-1",
        purpose=Purpose.OWN_INSIGHT,
        grants=grants,
        now=NOW,
    )


def test_an_import_with_consent_is_stored_and_the_same_file_again_is_known() -> None:
    store = MemoryStore()
    first = put(store, quarters(25_000), grant())
    until_now = (NOW - MONDAY) // timedelta(minutes=15)
    assert first.accepted == until_now
    assert first.refused == {"in_the_future": 25_000 - until_now}
    again = put(store, quarters(25_000), grant())
    assert (again.accepted, again.duplicates) == (0, first.accepted)
    assert store.counts().intervals_distinct == first.accepted - 1


def test_without_a_consent_nothing_is_stored() -> None:
    store = MemoryStore()
    assert put(store, quarters(8)).refused == {"no_grant": 8}
    assert put(store, quarters(8), grant(purpose=Purpose.RESEARCH)).refused == {"no_grant": 8}
    assert store.counts().intervals_distinct == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"resolution": Resolution.HOUR}, "finer_than_granted"),
        ({"meters": ("other",)}, "meter_not_granted"),
        ({"quantities": (Quantity.EXPORT_WH,)}, "quantity_not_granted"),
        ({"valid_from": NOW}, "not_yet_valid"),
    ],
)
def test_a_consent_that_does_not_fit_says_why(changes: dict, reason: str) -> None:
    assert put(MemoryStore(), quarters(4), grant(**changes)).refused == {reason: 4}


def test_readings_of_tomorrow_and_below_a_minute_are_refused() -> None:
    late = Reading(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        start=NOW,
        end=NOW + timedelta(hours=1),
        energy_wh=1,
    )
    short = Reading(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        start=MONDAY,
        end=MONDAY + timedelta(seconds=5),
        energy_wh=1,
    )
    done = put(MemoryStore(), [late, short], grant())
    assert done.refused == {"finer_than_granted": 1, "in_the_future": 1}


@pytest.mark.parametrize(("write", "read"), [(write_csv, read_csv), (write_parquet, read_parquet)])
def test_what_is_written_is_read_back_the_same(tmp_path: Path, write, read) -> None:
    store = MemoryStore()
    store.append(
        batch(
            part([1, 2, 3], quality="mep"),
            part([7], quantity=Quantity.EXPORT_WH, epoch=3, purpose=Purpose.BILLING),
        )
    ).result()
    frame = store.home_readings("home-1", start=MONDAY, end=NOW)
    path = tmp_path / "home"
    assert write(frame, path) == 4
    found = read(path)
    assert [
        (r.meter, r.quantity.value, r.epoch, r.start, r.end, r.energy_wh, r.quality.value)
        for r in found
    ] == [
        (row.meter, row.quantity, row.epoch, row.start, row.end, row.energy_wh, row.quality)
        for row in frame.itertuples()
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "meter, quantity, start missing"),
        ("meter,start\n", "columns: end, energy_wh, quantity missing"),
        (HEADER, "holds no readings"),
        (HEADER + ROW.replace("12,", "1.5,"), "line 2: energy_wh '1.5' is not a whole number"),
        (HEADER + ROW.replace("12,", "-1,"), "line 2: energy of main: -1 Wh is out of range"),
        (HEADER + ROW + ROW.replace("import_wh", "heat"), "line 3: 'heat' is not a valid Quantity"),
        (HEADER + ROW.replace("00:15:00Z", "00:15:00"), "line 2: .* has no offset"),
        (HEADER + ROW.replace("2026-03-02T00:15", "yesterday"), "line 2: Invalid isoformat"),
        (HEADER + ROW.replace("measured", "fine"), "line 2: 'fine' is not a valid Quality"),
        (HEADER + "main,import_wh\n", "line 2: "),
    ],
)
def test_a_faulty_csv_names_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "home.csv"
    path.write_text(text)
    if not text:
        problem = "missing"
    with pytest.raises(BadReadingsFile, match=problem):
        read_csv(path)


def test_a_parquet_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home.parquet"
    path.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(BadReadingsFile, match="no Parquet"):
        read_parquet(path)
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(BadReadingsFile, match="columns"):
        read_parquet(path)


def test_counts_and_exports_beside_a_writing_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with EmbeddedStore(data / "readings") as store:
        store.append(batch(part([10, 20, 30, 40]), household="h-1")).result()
        counted = runner.invoke(app, ["store", "counts", "--data", str(data), "--json"])
        assert json.loads(counted.stdout)["intervals_distinct"] == 4
        assert json.loads(counted.stdout)["energy_wh"] == [
            {"quantity": "import_wh", "purpose": "group_tariff", "energy_wh": 100}
        ]
        for name, more in (
            ("home.csv", []),
            ("home.parquet", []),
            ("home.xml", ["--purpose", "group_tariff"]),
        ):
            arguments = ["export", str(tmp_path / name), "--household", "h-1", *more]
            done = runner.invoke(app, [*arguments, "--data", str(data), "--json"])
            assert done.exit_code == 0, done.stderr
            assert json.loads(done.stdout)["readings"] == 4
        refused = runner.invoke(app, ["store", "compact", "--data", str(data)])
        assert refused.exit_code == 2
        assert "another process writes to this store" in refused.stderr
    compacted = runner.invoke(app, ["store", "compact", "--data", str(data), "--json"])
    assert json.loads(compacted.stdout)["intervals"] == 4
    assert [r.energy_wh for r in read_csv(tmp_path / "home.csv")] == [10, 20, 30, 40]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["store", "counts"], "no such store"),
        (["store", "compact"], "no such store"),
        (["export", "x.csv", "--household", "h"], "no such store"),
        (["export", "x.csv", "--household", "h", "--start", "noon"], "is no time"),
        (["export", "x.doc", "--household", "h"], "give --form"),
        (["export", "x.xml", "--household", "h"], "give --purpose"),
        (["import", "x.csv", "--household", "h", "--purpose", "fun"], "use one of billing"),
        (["import", "x.csv", "--household", "h", "--purpose", "billing"], "No such file"),
    ],
)
def test_mistakes_on_the_command_line_get_one_line(
    tmp_path: Path, arguments: list[str], problem: str
) -> None:
    done = runner.invoke(app, [*arguments, "--data", str(tmp_path / "data")])
    assert done.exit_code == 2
    assert problem in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_an_import_on_the_command_line_asks_the_homes_consent(tmp_path: Path) -> None:
    data = tmp_path / "data"
    feed = tmp_path / "home.xml"
    feed.write_text(simple(interval(0, 5), interval(1, 6)))
    arguments = ["import", str(feed), "--purpose", "own_insight", "--data", str(data), "--json"]
    unknown = runner.invoke(app, [*arguments, "--household", "h-unknown"])
    assert unknown.exit_code == 2
    assert "no such household" in unknown.stderr
    added = runner.invoke(
        app, ["member", "add", "ada@example.org", "--name", "Ada", "--data", str(data), "--json"]
    )
    household = json.loads(added.stdout)["household"]
    refused = runner.invoke(app, [*arguments, "--household", household])
    assert refused.exit_code == 2
    assert json.loads(refused.stdout)["refused"] == {"no_grant": 2}
    assert "the home did not agree" in refused.stderr
