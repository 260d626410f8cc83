"""The writer: groups, limits, poison, a full disk, and what is kept of a batch."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.errors import StoreBusy, StoreClosed, StoreDamaged, StoreUnavailable
from cloud.readings.catalogue import read_batch_as_signed
from cloud.readings.coverage import Coverage, Relation, from_us, to_us
from cloud.readings.embedded import EmbeddedStore
from cloud.readings.inbox import Inbox
from cloud.readings.memory import MemoryStore
from gateway.wire.batch import RefusedInterval
from gateway.wire.reading import Purpose, Quantity
from tests.cloud.readings.batches import MONDAY, batch, part


def numbered(seq: int):
    start = MONDAY + timedelta(hours=seq)
    return batch(part([seq] * 4, start=start), household=f"home-{seq % 5}", seq=seq)


def test_many_senders_at_once_all_get_their_own_answer(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        answers: list[tuple[int, Future]] = []
        lock = threading.Lock()

        def send(first: int) -> None:
            for seq in range(first, first + 100):
                future = store.append(numbered(seq))
                with lock:
                    answers.append((seq, future))

        senders = [threading.Thread(target=send, args=(1 + 100 * at,)) for at in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        wait([future for _, future in answers])
        assert all(future.result().seq == seq for seq, future in answers)
        assert store.counts().batches == 400


def hold_the_writer(inbox: Inbox) -> threading.Event:
    """Keep the writer busy until the event is set."""
    go, started = threading.Event(), threading.Event()

    def stay(_connection: sqlite3.Connection) -> None:
        started.set()
        go.wait(10)

    threading.Thread(target=inbox.run, args=(stay,), daemon=True).start()
    started.wait(10)
    return go


def test_a_full_queue_is_refused_at_once_and_what_waits_is_still_written(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path, queue_max=3) as store:
        go = hold_the_writer(store._inbox)
        waiting = [store.append(numbered(seq)) for seq in (1, 2, 3)]
        with pytest.raises(StoreBusy, match="3 batches wait"):
            store.append(numbered(4))
        go.set()
        assert [future.result(10).seq for future in waiting] == [1, 2, 3]


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    go = hold_the_writer(store._inbox)
    waiting = [store.append(numbered(seq)) for seq in range(1, 30)]
    threading.Timer(0.05, go.set).start()
    store.close()
    assert all(future.done() for future in waiting)
    with EmbeddedStore(tmp_path) as again:
        assert again.counts().batches == 29


def test_a_sender_that_gave_up_waiting_spoils_nothing(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        go = hold_the_writer(store._inbox)
        first, second = store.append(numbered(1)), store.append(numbered(2))
        assert first.cancel()
        go.set()
        assert second.result(10).seq == 2
        assert store.counts().batches == 1


def test_one_batch_that_cannot_be_written_spoils_no_other(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        go = hold_the_writer(store._inbox)
        good = store.append(numbered(1))
        poison = store.append(replace(numbered(2), seq=2**70))
        also_good = store.append(numbered(3))
        go.set()
        assert good.result(10).seq == 1
        assert also_good.result(10).seq == 3
        with pytest.raises(StoreUnavailable, match="could not write"):
            poison.result(10)
        assert store.counts().intervals_distinct == 8


def test_a_full_disk_refuses_stores_nothing_and_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    with EmbeddedStore(tmp_path) as store:
        store.append(numbered(1)).result()
        pages = store._inbox.run(
            lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]
        )
        store._inbox.run(
            lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone(),
            is_transaction=False,
        )
        refused = 0
        for seq in range(2, 200):
            fault = store.append(numbered(seq)).exception()
            if fault is not None:
                assert isinstance(fault, StoreUnavailable)
                assert "full" in str(fault)
                refused += 1
        assert refused
        counts = store.counts()
        assert counts.batches == 199 - refused
        assert counts.intervals_accepted == counts.intervals_distinct == 4 * counts.batches
        store._inbox.run(
            lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone(),
            is_transaction=False,
        )
        for seq in range(2, 200):
            store.append(numbered(seq)).result()
        assert store.counts().intervals_distinct == 4 * 199


def test_a_full_disk_stops_a_compaction_and_leaves_the_inbox_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with EmbeddedStore(tmp_path) as store:
        store.append(numbered(1)).result()
        with monkeypatch.context() as patched:
            patched.setattr("cloud.readings.parquet.os.fsync", no_room)
            with pytest.raises(StoreUnavailable, match="No space left"):
                store.compact()
        assert not [path for path in (tmp_path / "parquet").rglob("*") if path.is_file()]
        assert store.counts().intervals_waiting == 4
        assert store.compact().intervals == 4


def test_the_signed_bytes_are_kept_until_they_are_compacted(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        sent = numbered(5)
        store.append(sent).result()
        path = tmp_path / "catalogue.sqlite"
        packed, size, signature = read_batch_as_signed(path, sent.gateway, 5) or (b"", 0, "")
        assert pa.decompress(packed, size, codec="zstd", asbytes=True) == sent.payload
        assert signature == sent.signature
        store.compact()
        assert read_batch_as_signed(path, sent.gateway, 5) is None
        assert store.append(sent).result().parts[0].duplicate == 4


def test_a_very_old_batch_is_forgotten_by_number_but_not_by_its_time(tmp_path: Path) -> None:
    old = numbered(1)
    new = replace(numbered(2), received_at=old.received_at + timedelta(days=401))
    with EmbeddedStore(tmp_path) as store:
        store.append(old).result()
        store.compact()
        assert store.counts().batches == 1
        store.append(new).result()
        store.compact()
        assert store.counts().batches == 1
        assert store.append(old).result().parts[0].duplicate == 4
        assert store.counts().intervals_distinct == 8


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalogue.sqlite").write_bytes(b"something else entirely" * 100)
    with pytest.raises(StoreDamaged, match="not a database"):
        EmbeddedStore(tmp_path)
    (tmp_path / "catalogue.sqlite").unlink()
    other = sqlite3.connect(tmp_path / "catalogue.sqlite")
    other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(StoreDamaged, match="format 0"):
        EmbeddedStore(tmp_path)


def test_a_live_file_that_is_gone_is_said_and_never_read_as_nothing(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        store.append(numbered(1)).result()
        store.compact()
        next(tmp_path.rglob("*.parquet")).unlink()
        with pytest.raises(StoreDamaged, match="backup"):
            store.counts()


def test_tasks_after_closing_are_refused(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    store.close()
    with pytest.raises(StoreClosed):
        store.compact()
    with pytest.raises(StoreClosed):
        store.counts()


def test_a_commit_is_quick_enough_to_be_worth_grouping(tmp_path: Path) -> None:
    """Not a benchmark: only that a group is one commit and not hundreds."""
    with EmbeddedStore(tmp_path) as store:
        go = hold_the_writer(store._inbox)
        futures = [store.append(numbered(seq)) for seq in range(1, 301)]
        times: set[float] = set()
        for future in futures:
            future.add_done_callback(lambda _done: times.add(round(time.monotonic(), 3)))
        go.set()
        wait(futures)
        assert len(times) < 150


Interval = st.tuples(st.integers(0, 40), st.integers(1, 8)).map(lambda it: (it[0], it[0] + it[1]))


@given(st.lists(Interval, max_size=40))
def test_coverage_agrees_with_a_set_of_moments(intervals: list[tuple[int, int]]) -> None:
    coverage, moments = Coverage(), set[int]()
    stored: dict[int, int] = {}
    for start, end in intervals:
        wanted = set(range(start, end))
        relation = coverage.relation(start, end)
        if relation is Relation.FREE:
            assert not wanted & moments
        elif relation is Relation.COVERED:
            assert wanted <= moments
        else:
            assert wanted & moments
            assert not wanted <= moments
        coverage.add(start, end)
        moments |= wanted
        gone, changed = coverage.take_changes()
        for lost in gone:
            del stored[lost]
        stored.update(changed)
        assert {at for a, b in coverage.ranges() for at in range(a, b)} == moments
        assert sorted(stored.items()) == coverage.ranges()
        ends = [end for _, end in coverage.ranges()]
        starts = [start for start, _ in coverage.ranges()]
        assert all(end < start for end, start in zip(ends, starts[1:], strict=False))


@given(st.integers(-(10**15), 10**16))
def test_moments_survive_the_way_there_and_back(moment_us: int) -> None:
    assert to_us(from_us(moment_us)) == moment_us


Step = st.tuples(
    st.sampled_from(["a", "b"]),
    st.integers(0, 12),
    st.sampled_from([900, 1800, 3600]),
    st.lists(st.one_of(st.none(), st.integers(0, 99)), min_size=1, max_size=6),
    st.integers(0, 1),
)


@settings(deadline=None, max_examples=20)
@given(st.lists(Step, min_size=1, max_size=12), st.data())
def test_the_store_on_disk_says_what_the_store_in_memory_says(
    tmp_path_factory: pytest.TempPathFactory, steps, data: st.DataObject
) -> None:
    memory = MemoryStore()
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as disk:
        for home, quarter, step_s, wh, epoch in steps:
            sent = batch(
                part(
                    wh, start=MONDAY + timedelta(minutes=15 * quarter), step_s=step_s, epoch=epoch
                ),
                household=home,
            )
            assert disk.append(sent).result() == memory.append(sent).result()
            if data.draw(st.booleans()):
                disk.compact()
        asked = {
            "quantity": Quantity.IMPORT_WH,
            "purpose": Purpose.GROUP_TARIFF,
            "start": MONDAY,
            "end": MONDAY + timedelta(hours=8),
        }
        for step_s in (900, 3600):
            one = disk.home_matrix(["a", "b", "c"], step_s=step_s, **asked)
            other = memory.home_matrix(["a", "b", "c"], step_s=step_s, **asked)
            assert one.equals(other)
            group = disk.group_load(["a", "b"], step_s=step_s, **asked)
            assert group.equals(memory.group_load(["a", "b"], step_s=step_s, **asked))
        mine, its = disk.counts(), memory.counts()
        for name in ("batches", "intervals_accepted", "intervals_distinct", "gaps", "energy_wh"):
            assert getattr(mine, name) == getattr(its, name)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11),
            st.sampled_from([300, 900, 1800, 3600]),
            st.lists(st.integers(1, 99), min_size=1, max_size=5),
            st.sampled_from("mep"),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=10,
    ),
    st.data(),
)
def test_no_moment_counts_twice_whatever_lives_of_a_counter_tell_of_it(
    tmp_path_factory: pytest.TempPathFactory, steps, data: st.DataObject
) -> None:
    known_wh: dict[datetime, int] = {}
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as store:
        for quarter, step_s, wh, letter, epoch in steps:
            start = MONDAY + timedelta(minutes=15 * quarter)
            sent = part(wh, start=start, step_s=step_s, epoch=epoch, quality=letter * len(wh))
            store.append(batch(sent, household="a")).result()
            if data.draw(st.booleans()):
                store.compact()
        end = MONDAY + timedelta(hours=9)
        rows = store.home_readings("a", start=MONDAY, end=end)
        rows = rows[rows["quality"] != "partial"]
        for _, row in rows.iterrows():
            for moment in pd.date_range(row.start, row.end, freq="5min", inclusive="left"):
                assert moment not in known_wh, "two intervals know of one moment"
                known_wh[moment] = row.energy_wh
        for step_s in (900, 3600):
            matrix = store.home_matrix(
                ["a"],
                quantity=Quantity.IMPORT_WH,
                purpose=Purpose.GROUP_TARIFF,
                start=MONDAY,
                end=end,
                step_s=step_s,
            )
            assert matrix["a"].sum() <= rows["energy_wh"].sum()


def test_the_signed_bytes_of_a_batch_refused_in_part_are_not_kept(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path) as store:
        sent = numbered(5)
        part = sent.parts[0]
        reading = part.admissible[0]
        refused = RefusedInterval(start=reading.start, reason="no_grant")
        partly = replace(part, admissible=tuple(part.admissible[1:]), refused=(refused,))
        answer = store.append(replace(sent, parts=(partly, *sent.parts[1:]))).result()
        assert sum(each.accepted for each in answer.parts) > 0
        assert read_batch_as_signed(tmp_path / "catalogue.sqlite", sent.gateway, 5) is None
