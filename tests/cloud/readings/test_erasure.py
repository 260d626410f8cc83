"""After an erasure nothing of the home is on disk, and the neighbours have lost nothing."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloud.errors import StoreUnavailable
from cloud.readings import compaction
from cloud.readings.columns import bucket_of
from cloud.readings.embedded import EmbeddedStore
from gateway.wire.batch import GapReason, GapRecord
from gateway.wire.reading import Purpose, Quantity, StreamKey
from tests.cloud.readings.batches import MONDAY, batch, part

HOME, METER, GATEWAY = "household-to-be-forgotten", "unmistakable-meter", "gateway-that-was-here"
ENERGY_WH = 7_123_456_789


def neighbour_in_the_same_bucket() -> str:
    names = (f"neighbour-{number}" for number in range(10_000))
    return next(name for name in names if bucket_of(name) == bucket_of(HOME))


def put(store: EmbeddedStore, home: str, seq: int, *, days: int) -> None:
    gap = GapRecord(
        meter=METER if home == HOME else "main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=MONDAY,
        end=MONDAY + timedelta(days=1),
        reason=GapReason.METER_SILENT,
        intervals=seq,
    )
    store.append(
        batch(
            part(
                [ENERGY_WH + seq if home == HOME else seq] * 50,
                start=MONDAY + timedelta(days=days),
                meter=METER if home == HOME else "main",
            ),
            household=home,
            gateway=GATEWAY if home == HOME else f"{home}-gateway",
            seq=seq,
            gaps=(gap,),
        )
    ).result()


def bytes_on_disk(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def numbers_in_files(folder: Path) -> set[int]:
    found: set[int] = set()
    for path in folder.rglob("*.parquet"):
        found |= set(pq.ParquetFile(path).read().column("energy_wh").to_pylist())
    return found


def test_nothing_of_an_erased_home_is_left_on_disk(tmp_path: Path) -> None:
    neighbour = neighbour_in_the_same_bucket()
    with EmbeddedStore(tmp_path) as store:
        for seq in range(1, 9):
            put(store, HOME, seq, days=7 * seq)
            put(store, neighbour, seq, days=7 * seq)
            if seq in (3, 6):
                store.compact()
        payloads = [row for row in _signed(tmp_path) if row]
        assert payloads
        names = (HOME.encode(), METER.encode(), GATEWAY.encode())
        before = b"".join(bytes_on_disk(tmp_path).values())
        assert all(name in before for name in names)
        erased = store.erase(HOME)
        assert (erased.streams, erased.intervals) == (1, 400)
        after = bytes_on_disk(tmp_path)
        for name, content in after.items():
            for wanted in (*names, *payloads):
                assert wanted not in content, name
            for seq in range(1, 9):
                packed = np.array([ENERGY_WH + seq], dtype="<i8").tobytes()
                assert packed not in content, name
        assert not {ENERGY_WH + seq for seq in range(1, 9)} & numbers_in_files(tmp_path)
        listed = store.home_readings(neighbour, start=MONDAY, end=MONDAY + timedelta(days=365))
        assert sorted(listed["energy_wh"]) == sorted([*range(1, 9)] * 50)
        counts = store.counts()
        assert (counts.batches, counts.intervals_distinct, counts.gaps) == (8, 400, 1)


def _signed(folder: Path) -> list[bytes]:
    """Compressed payloads that wait for compaction, of the home to be erased."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "catalogue.sqlite")) as connection:
        rows = connection.execute(
            "SELECT payload, size FROM signed JOIN batch ON batch.id = batch WHERE household = ?",
            (HOME,),
        ).fetchall()
    for payload, size in rows:
        assert METER.encode() in pa.decompress(payload, size, codec="zstd", asbytes=True)
    return [payload for payload, _ in rows]


def test_erasing_one_stream_also_removes_the_signed_batches_it_came_in(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        both = batch(
            part([1], meter=METER, purpose=Purpose.RESEARCH), part([2], meter=METER), household=HOME
        )
        store.append(both).result()
        assert len(_signed(tmp_path)) == 1
        store.erase(
            HOME,
            stream=StreamKey(meter=METER, quantity=Quantity.IMPORT_WH, purpose=Purpose.RESEARCH),
        )
        assert _signed(tmp_path) == []
        listed = store.home_readings(HOME, start=MONDAY, end=MONDAY + timedelta(days=1))
        assert listed["energy_wh"].tolist() == [2]


def test_readings_that_come_while_a_home_is_erased_are_gone_or_whole(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        put(store, HOME, 1, days=0)
        store.compact()
        stop = threading.Event()
        sent = [1]

        def keep_sending() -> None:
            while not stop.is_set():
                sent[0] += 1
                put(store, HOME, sent[0], days=7 * sent[0])

        sender = threading.Thread(target=keep_sending)
        sender.start()
        for _ in range(5):
            store.erase(HOME)
        stop.set()
        sender.join()
        counts = store.counts()
        assert counts.intervals_accepted == counts.intervals_distinct
        store.erase(HOME)
        assert store.counts().intervals_distinct == 0
        assert store.counts().batches == 0


def test_an_erasure_waits_for_readers_and_says_if_one_never_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "READERS_WAIT_S", 0.05)
    with EmbeddedStore(tmp_path) as store:
        put(store, HOME, 1, days=0)
        store.compact()
        with store._leases.hold(), pytest.raises(StoreUnavailable, match="a reader still holds"):
            store.erase(HOME)
        assert store.streams(HOME) == ()
        store.erase(HOME)
        assert not list(tmp_path.rglob("*.parquet"))


def test_an_erasure_that_was_cut_short_is_finished_when_the_store_is_opened(
    tmp_path: Path,
) -> None:
    class Stop(Exception):
        pass

    def stop_before_the_scrub(step: str) -> None:
        if step == "catalogue changed":
            raise Stop

    with EmbeddedStore(tmp_path, on_step=stop_before_the_scrub) as store:
        put(store, HOME, 1, days=0)
        with pytest.raises(Stop):
            store.erase(HOME)
    with EmbeddedStore(tmp_path):
        for name, content in bytes_on_disk(tmp_path).items():
            assert HOME.encode() not in content, name
            assert METER.encode() not in content, name


def test_a_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    EmbeddedStore(folder).close()
    assert folder.stat().st_mode & 0o077 == 0
