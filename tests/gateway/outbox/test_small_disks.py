"""A full disk, a read-only one, and room that runs out: nothing is lost, and it is said."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import daemon as daemon_module
from gateway import pipeline as pipeline_module
from gateway.errors import StateFault
from gateway.outbox.coarser import merge_oldest
from gateway.outbox.figures import figures
from gateway.outbox.reserve import RESERVE_BYTES, Reserve
from gateway.outbox.rows import Permit, WaitingRow
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from tests.gateway.home import Home

ROOT = Path(__file__).parents[3]
CHILD = Path(__file__).with_name("live_on_a_small_disk.py")
NOON = datetime(2026, 7, 1, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
VIENNA = ZoneInfo("Europe/Vienna")


def may_mount(folder: Path) -> bool:
    """Whether a process here may mount in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "small", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def child(how: str, folder: Path) -> dict[str, object]:
    words = [sys.executable, str(CHILD), how, str(folder)]
    if how != "limit":
        if not may_mount(folder):
            pytest.skip("no right to mount here, not even in a namespace (unshare -rm)")
        words = ["unshare", "-rm", *words]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("how", ["mount", "limit"])
def test_a_disk_that_fills_up_costs_nothing_and_is_said(how: str, tmp_path: Path) -> None:
    said = child(how, tmp_path)
    full = said["full"]
    assert full[-1]["problem"], "health must say that the disk takes nothing"
    assert full[-1]["in_memory"] > 0
    assert said["healed"] == {}
    assert (said["sound"], said["whole"], said["waiting"]) == ("ok", True, 0)
    assert (said["duplicates"], said["gaps"]) == (0, 0)
    assert said["least_minutes"] >= 155
    assert set(said["energies"]) <= {9, 10, 11}
    assert said["had_reserve"]


def test_a_read_only_file_system_is_one_clear_line_at_the_start(tmp_path: Path) -> None:
    refused = str(child("read-only", tmp_path)["refused"])
    assert "gateway.sqlite" in refused
    assert "\n" not in refused


def test_a_state_that_is_another_users_is_one_clear_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere; the read-only file system is tested instead")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StateFault, match="belongs to this user"):
            SqliteOutbox.open(tmp_path / "state")
    finally:
        tmp_path.chmod(0o700)


def test_a_state_opened_to_look_takes_no_writes(tmp_path: Path) -> None:
    SqliteOutbox.open(tmp_path).close()
    looking = SqliteOutbox.open(tmp_path, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        looking.note(NOON, "kind", "said")
    looking.close()


def test_what_is_on_disk_is_not_written_again_when_making_room_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.live(3600)

    def fails(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(daemon_module, "make_room", fails)
    home.flush()
    assert "disk" in home.daemon.problems
    waiting = home.daemon.store.waiting()
    monkeypatch.undo()
    home.flush()
    assert home.daemon.store.waiting() == waiting > 0
    home.daemon.store.close()


def test_a_disk_that_cannot_even_be_read_does_not_end_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    home.pair()
    home.give()

    def fails() -> bool:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(home.daemon.store, "changed_elsewhere", fails)

    async def short() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, stop.set)
        await home.daemon.run(stop)

    home.live(600)
    asyncio.run(short())
    assert home.coop.syncs == 1
    home.daemon.store.close()


def test_memory_that_runs_out_makes_intervals_coarser_before_any_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "ROWS_IN_MEMORY_MAX", 40)
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.daemon.store._connection.execute("PRAGMA query_only = ON")
    for _ in range(12):
        home.live(4 * 3600)
        home.flush()
        assert home.daemon.pipeline.waiting_in_memory <= 40
    home.daemon.store._connection.execute("PRAGMA query_only = OFF")
    home.live(3600)
    home.flush()
    home.send()
    with home.daemon.store.reading() as connection:
        counted = figures(connection)
    assert counted.merged > 100
    assert counted.erased == 0
    assert home.coop.gaps == []
    spans = sorted((start, end, wh) for (_, _, start), (end, wh, _) in home.coop.readings.items())
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    hours = (spans[-1][1] - spans[0][0]) / timedelta(hours=1)
    assert abs(sum(wh for _, _, wh in spans) - 600 * hours) <= 2
    assert counted.kept == counted.accepted + counted.merged
    home.daemon.store.close()


def test_the_reserve_is_real_room_and_is_given_up_and_made_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert reserve.keep()
    held = (tmp_path / "reserve").stat()
    assert held.st_size == RESERVE_BYTES
    assert held.st_blocks * 512 >= RESERVE_BYTES
    reserve.give_up()
    reserve.give_up()
    assert not (tmp_path / "reserve").exists()
    assert reserve.keep()


@given(
    minutes=st.sets(st.integers(0, 3000), min_size=1, max_size=400),
    wanted=st.integers(0, 400),
)
def test_merging_keeps_every_watt_hour_and_every_minute(minutes: set[int], wanted: int) -> None:
    stream = StreamKey(meter="m", quantity=Quantity.IMPORT_WH, purpose=Purpose.OWN_INSIGHT)
    permit = Permit(consent_id="own", version=1, resolution=Resolution.MINUTE)
    rows = [
        WaitingRow(
            stream=stream,
            permit=permit,
            epoch=0,
            start=NOON + place * MINUTE,
            end=NOON + (place + 1) * MINUTE,
            energy_wh=place % 7,
        )
        for place in sorted(minutes)
    ]
    left, saved = merge_oldest(rows, wanted=wanted, zone=VIENNA)
    assert sum(row.energy_wh for row in left) == sum(row.energy_wh for row in rows)
    assert sum((row.end - row.start) / MINUTE for row in left) == len(rows)
    assert all(a.end <= b.start for a, b in pairwise(left))
    assert len(rows) - len(left) == sum(fewer for _, fewer in saved)


def test_a_state_file_that_is_removed_under_the_gateway_is_said_and_nothing_goes_into_the_void(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.live(3600)
    home.flush()
    place = home.state_dir / "gateway.sqlite"
    place.rename(tmp_path / "elsewhere")
    home.live(3600)
    home.flush()
    assert "removed or replaced" in home.daemon.problems["disk"]
    held = home.daemon.pipeline.waiting_in_memory
    assert held > 0
    (tmp_path / "elsewhere").rename(place)
    waiting = home.daemon.store.waiting()
    home.flush()
    assert home.daemon.problems == {}
    assert home.daemon.store.waiting() == waiting + held
