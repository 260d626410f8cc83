"""The outbox keeps what was committed, sends each thing once, and forgets what it must."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StateFault
from gateway.outbox import room as room_module
from gateway.outbox.figures import figures
from gateway.outbox.room import make_room
from gateway.outbox.rows import Commit, Permit, WaitingRow, parts_of, rows_of
from gateway.outbox.schema import FILE_NAME
from gateway.outbox.sqlite import SqliteOutbox, StaleBook
from gateway.wire import codec
from gateway.wire.batch import Batch, BatchAnswer, Outcome, PartAnswer, RefusedInterval
from gateway.wire.errors import MalformedMessage
from gateway.wire.reading import Purpose, Quality, Quantity, Resolution, StreamKey

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 7, 1, tzinfo=UTC)
KEY = "0" * 32
ALL = list(Purpose)
STREAM = StreamKey(meter="grid", quantity=Quantity.IMPORT_WH, purpose=Purpose.GROUP_TARIFF)
OTHER = StreamKey(meter="grid", quantity=Quantity.EXPORT_WH, purpose=Purpose.GROUP_TARIFF)


def rows(
    amount: int,
    *,
    stream: StreamKey = STREAM,
    resolution: Resolution = Resolution.MINUTE,
    start: datetime = NOW,
) -> tuple[WaitingRow, ...]:
    step = timedelta(seconds=resolution.step_s or 86_400)
    permit = Permit(consent_id="c", version=1, resolution=resolution)
    return tuple(
        WaitingRow(
            stream=stream,
            permit=permit,
            epoch=0,
            start=start + step * place,
            end=start + step * (place + 1),
            energy_wh=place,
        )
        for place in range(amount)
    )


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteOutbox.open(tmp_path)
    yield opened
    opened.close()


def seal(store: SqliteOutbox, **more):
    store.seal(key_id=KEY, now=NOW, purposes=ALL, **more)
    return store.next_sealed(ALL)


def answer_to(payload: bytes, *, refused: dict[datetime, str] | None = None) -> BatchAnswer:
    batch = codec.decode_batch(payload)
    parts = []
    for part in batch.parts:
        out = [
            RefusedInterval(start=row.start, reason=(refused or {})[row.start])
            for row in rows_of(part)
            if row.start in (refused or {})
        ]
        parts.append(
            PartAnswer(
                meter=part.meter,
                quantity=part.quantity,
                purpose=part.purpose,
                epoch=part.epoch,
                seq=part.seq,
                outcome=Outcome.ACCEPTED,
                accepted=len(rows_of(part)) - len(out),
                duplicate=0,
                refused=tuple(out),
            )
        )
    return BatchAnswer(seq=batch.seq, sha256=codec.payload_hash(payload), parts=tuple(parts))


def counted(store: SqliteOutbox):
    with store.reading() as connection:
        return figures(connection)


def test_a_batch_is_the_same_bytes_until_it_is_answered(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(10)), generation=0)
    first = seal(store)
    store.commit(Commit(rows=rows(5, start=NOW + timedelta(hours=1))), generation=0)
    assert store.next_sealed(ALL).payload == first.payload
    assert store.waiting() == 15


def test_an_answer_deletes_exactly_what_it_acknowledges(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(10)), generation=0)
    batch = seal(store, intervals_max=6)
    assert store.settle(answer_to(batch.payload), now=NOW, day="2026-07-01")
    assert store.waiting() == 4


def test_answers_may_come_twice_late_and_in_any_order(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(30)), generation=0)
    answers = []
    for _ in range(3):
        store.seal(key_id=KEY, now=NOW, purposes=ALL, intervals_max=10)
    after = 0
    while batch := store.next_sealed(ALL, after=after):
        answers.append(answer_to(batch.payload))
        after = batch.seq
    for answer in (answers[2], answers[0], answers[2], answers[1], answers[0]):
        store.settle(answer, now=NOW, day="2026-07-01")
    assert store.waiting() == 0
    assert counted(store).accepted == 30


def test_an_answer_about_other_bytes_changes_nothing(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(3)), generation=0)
    batch = seal(store)
    real = answer_to(batch.payload)
    with pytest.raises(MalformedMessage):
        store.settle(
            BatchAnswer(seq=real.seq, sha256="0" * 64, parts=real.parts), now=NOW, day="2026-07-01"
        )
    assert store.waiting() == 3


def test_a_refused_row_goes_aside_with_its_reason_and_blocks_nothing(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(3)), generation=0)
    batch = seal(store)
    store.settle(answer_to(batch.payload, refused={NOW: "overlap"}), now=NOW, day="2026-07-01")
    assert store.waiting() == 0
    with store.reading() as connection:
        dead = connection.execute("SELECT reason, energy_wh FROM dead_letter").fetchall()
    assert dead == [("overlap", 0)]
    assert counted(store).refused == 1


def test_chains_of_parts_follow_from_batch_to_batch(store: SqliteOutbox) -> None:
    heads: dict[StreamKey, tuple[int, str]] = {}
    for hour in range(3):
        for stream in (STREAM, OTHER):
            fresh = rows(5, stream=stream, start=NOW + timedelta(hours=hour))
            store.commit(Commit(rows=fresh), generation=0)
        batch = seal(store)
        for part in codec.decode(batch.payload, Batch).parts:
            assert (part.seq - 1, part.prev) == heads.get(part.stream, (0, ""))
            heads |= parts_of(rows_of(part), {part.stream: (part.seq - 1, part.prev)})[1]
        store.settle(answer_to(batch.payload), now=NOW, day="2026-07-01")
    assert {seq for seq, _ in heads.values()} == {3}


def test_what_an_older_book_decided_is_not_written(store: SqliteOutbox) -> None:
    with pytest.raises(StaleBook):
        store.commit(Commit(rows=rows(1)), generation=7)
    assert store.waiting() == 0


@given(
    energies=st.lists(st.tuples(st.integers(0, 3_000), st.sampled_from("meg")), max_size=60),
    breaks=st.sets(st.integers(0, 60)),
)
@settings(max_examples=60, deadline=None)
def test_rows_survive_the_way_into_a_part_and_back(energies, breaks) -> None:
    letters = {"m": Quality.MEASURED, "e": Quality.ESTIMATED, "g": Quality.GAP}
    permit = Permit(consent_id="c", version=3, resolution=Resolution.QUARTER_HOUR)
    step, given_rows = timedelta(minutes=15), []
    for place, (energy_wh, letter) in enumerate(energies):
        if place not in breaks:
            given_rows.append(
                WaitingRow(
                    stream=STREAM,
                    permit=permit,
                    epoch=2,
                    start=NOW + step * place,
                    end=NOW + step * (place + 1),
                    energy_wh=0 if letter == "g" else energy_wh,
                    quality=letters[letter],
                )
            )
    parts, _ = parts_of(given_rows, {})
    assert [row for part in parts for row in rows_of(part)] == given_rows


def test_room_is_made_by_coarsening_first_and_the_energy_stays(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(3_000)), generation=0)
    merged, dropped = make_room(store, intervals_max=1_000, zone=ZoneInfo("UTC"), now=NOW)
    assert merged >= 2_000
    assert dropped == 0
    assert store.waiting() <= 1_000
    with store.reading() as connection:
        (energy_wh,) = connection.execute("SELECT sum(energy_wh) FROM waiting").fetchone()
    assert energy_wh == sum(range(3_000))
    batch = codec.decode_batch(seal(store).payload)
    assert {part.resolution for part in batch.parts} >= {Resolution.QUARTER_HOUR}


def test_a_drop_is_the_last_resort_and_leaves_a_record(store: SqliteOutbox) -> None:
    lonely = [rows(1, start=NOW + timedelta(hours=7 * place))[0] for place in range(1_200)]
    store.commit(Commit(rows=tuple(lonely)), generation=0)
    merged, dropped = make_room(store, intervals_max=1_000, zone=ZoneInfo("UTC"), now=NOW)
    assert merged == 0
    assert dropped >= 200
    (gap,) = codec.decode_batch(seal(store).payload).gaps
    assert (gap.reason, gap.intervals, gap.start) == ("overflow", dropped, NOW)
    assert counted(store).erased == dropped


def test_thirty_days_of_minutes_drain_in_bounded_batches(store: SqliteOutbox) -> None:
    month = rows(30 * 1_440)
    store.commit(Commit(rows=month), generation=0)
    arrived: set[datetime] = set()
    while batch := seal(store):
        assert len(codec.compress(batch.payload)) <= codec.COMPRESSED_BYTES_MAX
        arrived |= {
            row.start for part in codec.decode_batch(batch.payload).parts for row in rows_of(part)
        }
        store.settle(answer_to(batch.payload), now=NOW, day="2026-07-01")
    assert len(arrived) == 30 * 1_440
    assert store.waiting() == 0


def test_a_full_disk_is_reported_and_what_was_committed_stays(store: SqliteOutbox) -> None:
    store.commit(Commit(rows=rows(100)), generation=0)
    with store.reading() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.commit(Commit(rows=rows(20_000, start=NOW + timedelta(days=1))), generation=0)
    assert store.waiting() == 100
    assert seal(store, intervals_max=10) is not None


def test_a_read_only_file_system_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a directory", encoding="utf-8")
    with pytest.raises(StateFault, match="check that state_dir"):
        SqliteOutbox.open(tmp_path / "state")


def test_another_programs_file_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    with pytest.raises(StateFault, match="not a gateway's state"):
        SqliteOutbox.open(tmp_path)


def test_the_state_is_for_its_owner_only(tmp_path: Path) -> None:
    SqliteOutbox.open(tmp_path / "state").close()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / FILE_NAME).stat().st_mode & 0o777 == 0o600


WRITER = """
    import sys
    from datetime import timedelta
    from pathlib import Path
    from gateway.outbox.rows import Commit
    from gateway.outbox.sqlite import SqliteOutbox
    from tests.gateway.outbox.test_outbox import NOW, rows

    store = SqliteOutbox.open(Path(sys.argv[1]))
    first = store.waiting()
    for place in range(first, first + 100_000):
        store.commit(Commit(rows=rows(1, start=NOW + timedelta(minutes=place))), generation=0)
        print(place + 1, flush=True)
"""


def test_kill_nine_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for round_number in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert writer.stdout is not None
        said = 0
        for _ in range(20 + 7 * round_number):
            said = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        writer.wait()
        committed = int(rest[-1]) if rest else said
        store = SqliteOutbox.open(tmp_path)
        with store.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.waiting() in (committed, committed + 1)
        store.close()


def test_numbers_rise_over_runs_and_between_processes(tmp_path: Path) -> None:
    first, second = SqliteOutbox.open(tmp_path), SqliteOutbox.open(tmp_path)
    drawn = [store.next_number("sync_counter") for store in (first, first, second, first, second)]
    first.close()
    second.close()
    again = SqliteOutbox.open(tmp_path)
    drawn.append(again.next_number("sync_counter"))
    again.close()
    assert drawn == sorted(set(drawn))


def test_a_limit_far_below_what_waits_makes_everything_coarser_before_anything_is_dropped(
    store: SqliteOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "ROWS_AT_ONCE", 300)
    days = 3 * 24 * 60
    both = [*rows(days, start=MIDNIGHT), *rows(days, stream=OTHER, start=MIDNIGHT)]
    store.commit(Commit(rows=tuple(sorted(both, key=lambda row: row.start))), generation=0)
    energy_wh = sum(row.energy_wh for row in both)
    merged, dropped = make_room(
        store, intervals_max=1_000, zone=ZoneInfo("UTC"), now=NOW + timedelta(days=4)
    )
    assert dropped == 0
    assert store.waiting() == len(both) - merged <= 1_000
    with store.reading() as connection:
        (kept_wh,) = connection.execute("SELECT sum(energy_wh) FROM waiting").fetchone()
    assert kept_wh == energy_wh
