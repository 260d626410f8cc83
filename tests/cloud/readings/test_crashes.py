"""What survives when the process is killed, and when it stops at the worst moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from cloud.errors import StoreLocked
from cloud.readings.embedded import EmbeddedStore
from gateway.wire.reading import Purpose, Quantity
from tests.cloud.readings.batches import MONDAY, batch, part
from tests.cloud.readings.crash_child import INTERVALS, numbered

ROOT = Path(__file__).parents[3]


def stored_numbers(store: EmbeddedStore, seqs: int) -> dict[int, int]:
    """How many intervals of each batch can be read back, by the batch's number."""
    found: dict[int, int] = {}
    for home in ("home-0", "home-1", "home-2"):
        frame = store.home_readings(
            home, start=MONDAY, end=MONDAY + timedelta(hours=seqs + 2), purpose=None
        )
        for seq, count in frame["energy_wh"].value_counts().items():
            found[int(seq)] = int(count)
    return found


def run_and_kill(folder: Path, mode: str, first: int, after_s: float) -> list[int]:
    """Numbers that were acknowledged before the kill."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.cloud.readings.crash_child", str(folder), mode, str(first)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert child.stdout is not None
    first_line = child.stdout.readline()
    time.sleep(after_s)
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    child.wait()
    lines = (first_line + rest).decode().split("\n")
    # The last line may have been cut by the kill; a number without its newline was not said.
    return [int(line) for line in lines[:-1] if line]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["append", "compact"])
def test_whatever_was_acknowledged_is_there_after_kill_9(tmp_path: Path, mode: str) -> None:
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    folder = tmp_path / "store"
    acknowledged: list[int] = []
    next_seq = 1
    for _ in range(5):
        acknowledged += run_and_kill(folder, mode, next_seq, draw.uniform(0.01, 0.4))
        next_seq = max(acknowledged) + 200
    with EmbeddedStore(folder) as store:
        found = stored_numbers(store, next_seq)
        lost = [seq for seq in acknowledged if found.get(seq) != INTERVALS]
        assert not lost, f"seed {seed}: {len(lost)} of {len(acknowledged)} lost, first {lost[:3]}"
        torn = {seq: count for seq, count in found.items() if count != INTERVALS}
        assert not torn, f"seed {seed}: half a batch was stored: {torn}"
        counts = store.counts()
        assert counts.intervals_accepted == counts.intervals_distinct == INTERVALS * len(found)
        store.compact()
        assert stored_numbers(store, next_seq) == found


@pytest.mark.slow
def test_hundreds_of_forked_writers_are_killed_and_nothing_acknowledged_is_lost(
    tmp_path: Path,
) -> None:
    """A fork is quick, so the kill can hit every moment of a commit hundreds of times."""
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    folder = tmp_path / "store"
    EmbeddedStore(folder).close()
    acknowledged: set[int] = set()
    next_seq = 1
    script = (
        "import os, sys, random, signal\n"
        "from pathlib import Path\n"
        "from cloud.readings.inbox import Inbox\n"
        "from tests.cloud.readings.crash_child import numbered\n"
        "path = Path(sys.argv[1]); rounds = int(sys.argv[2]); draw = random.Random(sys.argv[3])\n"
        "first = 1\n"
        "for _ in range(rounds):\n"
        "    reader, writer = os.pipe()\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os.close(reader)\n"
        "        inbox = Inbox(path)\n"
        "        seq = first\n"
        "        while True:\n"
        "            futures = [inbox.append(numbered(seq + i)) for i in range(5)]\n"
        "            for future in futures:\n"
        "                os.write(writer, b'%d\\n' % future.result().seq)\n"
        "            seq += 5\n"
        "    os.close(writer)\n"
        "    head = os.read(reader, 1)\n"
        "    import time; time.sleep(draw.uniform(0, 0.006))\n"
        "    os.kill(child, signal.SIGKILL)\n"
        "    said = head\n"
        "    while block := os.read(reader, 65536): said += block\n"
        "    os.close(reader); os.waitpid(child, 0)\n"
        "    numbers = [int(x) for x in said.split(b'\\n')[:-1]]\n"
        "    print(*numbers)\n"
        "    first = max(numbers, default=first) + 10\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder / "catalogue.sqlite"), "300", str(seed)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    rounds = done.stdout.splitlines()
    acknowledged = {int(number) for line in rounds for number in line.split()}
    next_seq = max(acknowledged) + 20
    assert len(rounds) == 300
    with EmbeddedStore(folder) as store:
        found = stored_numbers(store, next_seq)
    lost = sorted(seq for seq in acknowledged if found.get(seq) != INTERVALS)
    assert not lost, f"seed {seed}, {draw}: {len(lost)} of {len(acknowledged)} lost"


class Stop(Exception):
    """The power goes out here."""


STEPS = ("inbox read", "file renamed", "catalogue changed", "garbage removed")


def crash_at(step: str, occurrence: int = 1):
    seen = [0]

    def on_step(name: str) -> None:
        if name == step:
            seen[0] += 1
            if seen[0] == occurrence:
                raise Stop

    return on_step


def fill(store: EmbeddedStore, rounds: int, first: int = 1) -> None:
    for seq in range(first, first + rounds):
        store.append(numbered(seq)).result()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("occurrence", [1, 2])
def test_a_compaction_that_stops_anywhere_leaves_a_whole_store(
    tmp_path: Path, step: str, occurrence: int
) -> None:
    folder = tmp_path / "store"
    seqs = 0
    with EmbeddedStore(folder) as store:
        for _ in range(3):
            fill(store, 6, seqs + 1)
            seqs += 6
            store.compact()
        before = stored_numbers(store, seqs + 6)
    # The fourth compaction merges files, so that every step has something to do.
    with EmbeddedStore(folder, on_step=crash_at(step, occurrence)) as store:
        fill(store, 6, seqs + 1)
        expected = before | dict.fromkeys(range(seqs + 1, seqs + 7), INTERVALS)
        if step == "file renamed" or occurrence == 1:
            with pytest.raises(Stop):
                store.compact()
        else:
            store.compact()
        assert stored_numbers(store, seqs + 6) == expected
    with EmbeddedStore(folder) as store:
        assert stored_numbers(store, seqs + 6) == expected
        known = {str(p.relative_to(folder)) for p in folder.glob("parquet/**/*.parquet")}
        assert len(known) == store.counts().files
        store.compact()
        assert stored_numbers(store, seqs + 6) == expected
        assert store.counts().intervals_waiting == 0
    assert not list(folder.glob("parquet/**/*.partial"))


@pytest.mark.parametrize("step", ["file renamed", "files renamed", "catalogue changed", "scrubbed"])
def test_an_erasure_that_stops_anywhere_is_done_or_not_done(tmp_path: Path, step: str) -> None:
    folder = tmp_path / "store"
    with EmbeddedStore(folder) as store:
        fill(store, 9)
        store.compact()
        fill(store, 3, 10)
    with EmbeddedStore(folder, on_step=crash_at(step)) as store, pytest.raises(Stop):
        store.erase("home-1")
    with EmbeddedStore(folder) as store:
        found = stored_numbers(store, 13)
        others = {seq for seq in range(1, 13) if seq % 3 != 1}
        assert others <= set(found)
        assert set(found) in (others, set(range(1, 13)))
        store.erase("home-1")
        assert set(stored_numbers(store, 13)) == others


def test_a_file_of_an_unfinished_compaction_is_swept_away(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with EmbeddedStore(folder) as store:
        fill(store, 1)
        store.compact()
    (known,) = folder.glob("parquet/**/*.parquet")
    (known.parent / "part-x.parquet.partial").write_bytes(b"half")
    (known.parent / "part-y.parquet").write_bytes(b"nobody knows me")
    with EmbeddedStore(folder) as store:
        assert store.counts().intervals_distinct == INTERVALS
    assert list(known.parent.iterdir()) == [known]


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    script = (
        "import sys; from pathlib import Path\n"
        "from cloud.readings.embedded import EmbeddedStore\n"
        "from cloud.errors import StoreLocked\n"
        "try: EmbeddedStore(Path(sys.argv[1]))\n"
        "except StoreLocked as fault: print(fault)"
    )
    with EmbeddedStore(folder) as store:
        done = subprocess.run(
            [sys.executable, "-c", script, str(folder)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert "another process writes to this store" in done.stdout
        with pytest.raises(StoreLocked):
            EmbeddedStore(folder)
        store.append(numbered(1)).result()
    EmbeddedStore(folder).close()


def test_questions_during_compaction_and_erasure_always_see_every_reading(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "store") as store:
        wrong: list[str] = []
        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                frame = store.home_matrix(
                    ["home-0"],
                    quantity=Quantity.IMPORT_WH,
                    purpose=Purpose.GROUP_TARIFF,
                    start=MONDAY,
                    end=MONDAY + timedelta(hours=1),
                    step_s=900,
                )
                if frame["home-0"].tolist() != [1, 2, 3, 4]:
                    wrong.append(str(frame))

        store.append(batch(part([1, 2, 3, 4]), household="home-0")).result()
        readers = [threading.Thread(target=ask) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(12):
            other = f"other-{number}"
            for quarter in range(3):
                start = MONDAY + timedelta(hours=number * 3 + quarter)
                store.append(batch(part([5] * 4, start=start), household=other)).result()
                start += timedelta(days=40)
                store.append(batch(part([5] * 4, start=start), household="home-0")).result()
            store.compact()
            store.erase(other)
        done.set()
        for reader in readers:
            reader.join()
        assert not wrong, wrong[0]
