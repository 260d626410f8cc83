"""The embedded store of readings beside the obvious other ways, on the same data in the same run.

The others are one SQLite table with a row per reading, and the real victoria-metrics where it is
installed. Data: homes with 15-minute import over a year, packed as gateways send it, compacted by
the store itself; the last days wait in the inbox while it is asked.
"""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from cloud.readings.acceptance import AcceptedRows
from cloud.readings.columns import pack
from cloud.readings.coverage import to_us
from cloud.readings.embedded import EmbeddedStore
from gateway.wire.reading import Purpose, Quantity
from tests.cloud.readings.batches import batch, part

HOMES = 1_000
OTHER_HOMES = 100
"""Homes in the comparison, so that the row store ends within the minute."""

START = datetime(2025, 1, 1, tzinfo=UTC)
STEPS = 35_040
STEP_US = 900_000_000
PER_CHUNK = 2_920
LIVE_STEPS = 96 * 2
"""Steps of each home that are still in the inbox when it is asked."""

BATCHES = 4_000
Rows = list[dict[str, Any]]


def run() -> Rows:
    """Measure, and give one row per figure."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        loads_wh = _loads(HOMES)
        rows = [*_small_batches(root)]
        with EmbeddedStore(root / "many") as store:
            rows += _fill(store, loads_wh)
            rows += _ask_many(store, loads_wh)
        with EmbeddedStore(root / "few") as store:
            _fill(store, loads_wh[:OTHER_HOMES])
            rows += _against_others(root, store, loads_wh[:OTHER_HOMES])
    return rows


def _loads(homes: int) -> NDArray[np.int64]:
    """Plausible spiky energy per quarter hour [Wh], shape (homes, STEPS)."""
    draw = np.random.default_rng(5)
    shape = 60 + 40 * np.sin(np.arange(STEPS) * 2 * np.pi / 96 - 2)
    size = draw.lognormal(0, 0.4, homes)[:, None]
    noise = draw.gamma(0.8, 1.0, (homes, STEPS))
    return np.rint(size * shape * noise).astype(np.int64)


def _small_batches(root: Path) -> Iterator[dict[str, Any]]:
    """Batches of 100 readings, one in ten sent again, each acknowledged only when durable."""
    sent = [
        batch(
            part([at % 97] * 100, start=START + timedelta(hours=25 * (at // 50))),
            household=f"home-{at % 50}",
            seq=at + 1,
        )
        for at in range(BATCHES)
    ]
    resent = [one for at, one in enumerate(sent) if at % 10 == 0]
    with EmbeddedStore(root / "grouped") as store:
        begin = time.perf_counter()
        for future in [store.append(one) for one in sent + resent]:
            future.result()
        grouped_s = time.perf_counter() - begin
        counts = store.counts()
    if counts.intervals_distinct != 100 * BATCHES:
        raise RuntimeError(f"{counts.intervals_distinct} readings stored of {100 * BATCHES}")
    with EmbeddedStore(root / "single") as store:
        begin = time.perf_counter()
        for one in sent[: BATCHES // 4]:
            store.append(one).result()
        single_s = time.perf_counter() - begin
    total = len(sent) + len(resent)
    yield {"figure": "durable batches of 100 readings, grouped", "per_s": round(total / grouped_s)}
    yield {"figure": "durable batches, one commit each", "per_s": round(BATCHES / 4 / single_s)}
    other_s = _row_store_batches(root / "rows-small.sqlite", sent[: BATCHES // 4])
    yield {
        "figure": "durable batches, one commit each, beside a row per reading in SQLite",
        "ratio": round(other_s / single_s, 2),
    }


def _row_store_batches(path: Path, sent: list[Any]) -> float:
    connection = _row_store(path)
    rows = [
        [
            (int(one.household[5:]), to_us(reading.start), reading.energy_wh)
            for checked in one.parts
            for reading in checked.admissible
        ]
        for one in sent
    ]
    begin = time.perf_counter()
    for some in rows:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO reading VALUES (?, ?, ?) ON CONFLICT DO NOTHING", some)
        connection.execute("COMMIT")
    spent_s = time.perf_counter() - begin
    connection.close()
    return spent_s


def _fill(store: EmbeddedStore, loads_wh: NDArray[np.int64]) -> Rows:
    """Put a year into the store: packed into the inbox, compacted, and two live days on top."""
    homes = len(loads_wh)
    settled = STEPS - LIVE_STEPS
    store._inbox.run(lambda connection: _add_streams(connection, homes))
    for first in range(0, settled, PER_CHUNK):
        last = min(first + PER_CHUNK, settled)
        store._inbox.run(lambda connection, a=first, b=last: _add(connection, loads_wh, a, b))
    begin = time.perf_counter()
    done = store.compact()
    compact_s = time.perf_counter() - begin
    file_bytes = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    store._inbox.run(lambda connection: _add(connection, loads_wh, settled, STEPS))
    return [
        {"figure": "compaction, readings", "per_s": round(done.intervals / compact_s)},
        {"figure": "Parquet, bytes per reading", "bytes": round(file_bytes / done.intervals, 2)},
    ]


def _add_streams(connection: sqlite3.Connection, homes: int) -> None:
    connection.executemany(
        "INSERT INTO stream (id, household, meter, quantity, purpose, accepted)"
        " VALUES (?, ?, 'main', 'import_wh', 'group_tariff', ?)",
        [(home + 1, f"home-{home}", STEPS) for home in range(homes)],
    )
    connection.executemany(
        "INSERT INTO coverage VALUES (?, 0, 0, ?, ?)",
        [(home + 1, to_us(START), to_us(START) + STEPS * STEP_US) for home in range(homes)],
    )


def _add(connection: sqlite3.Connection, loads_wh: NDArray[np.int64], a: int, b: int) -> None:
    starts = to_us(START) + np.arange(a, b, dtype=np.int64) * STEP_US
    for home, load_wh in enumerate(loads_wh):
        rows = AcceptedRows(
            start_us=starts,
            end_us=starts + STEP_US,
            energy_wh=load_wh[a:b],
            quality=np.zeros(b - a, dtype=np.uint8),
        )
        connection.execute(
            "INSERT INTO chunk (batch, stream, epoch, start_us, end_us, intervals, packed)"
            " VALUES (?, ?, 0, ?, ?, ?, ?)",
            (a + 1, home + 1, int(starts[0]), int(starts[-1]) + STEP_US, b - a, pack(rows)),
        )


def _ask_many(store: EmbeddedStore, loads_wh: NDArray[np.int64]) -> Rows:
    names = [f"home-{home}" for home in range(len(loads_wh))]
    year_s, group = _best(lambda: _group(store, names))
    if group != loads_wh.sum(axis=0).tolist():
        raise RuntimeError("the group's load is not the sum of the homes")
    month_s, _ = _best(lambda: _one_month(store, "home-7"))
    erase_begin = time.perf_counter()
    store.erase("home-7")
    erase_s = time.perf_counter() - erase_begin
    return [
        {"figure": f"group load, a year of {len(names)} homes, inbox in it", "s": round(year_s, 3)},
        {"figure": "one home, one month", "ms": round(month_s * 1000, 1)},
        {"figure": f"erase one home of {len(names)}, nothing left on disk", "s": round(erase_s, 2)},
    ]


def _group(store: EmbeddedStore, names: list[str]) -> list[int]:
    frame = store.group_load(
        names,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=START,
        end=START + timedelta(minutes=15) * STEPS,
        step_s=900,
    )
    return frame["energy_wh"].tolist()


def _one_month(store: EmbeddedStore, name: str) -> list[float]:
    frame = store.home_matrix(
        [name],
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=START + timedelta(days=90),
        end=START + timedelta(days=120),
        step_s=900,
    )
    return frame[name].tolist()


def _against_others(root: Path, store: EmbeddedStore, loads_wh: NDArray[np.int64]) -> Rows:
    names = [f"home-{home}" for home in range(len(loads_wh))]
    year_s, group = _best(lambda: _group(store, names))
    month_s, month = _best(lambda: _one_month(store, "home-7"))
    ours_bytes = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    rows_path = root / "rows.sqlite"
    connection = _row_store(rows_path)
    starts = to_us(START) + np.arange(STEPS, dtype=np.int64) * STEP_US
    connection.execute("BEGIN")
    for home, load_wh in enumerate(loads_wh):
        connection.executemany(
            "INSERT INTO reading VALUES (?, ?, ?)",
            zip([home] * STEPS, starts.tolist(), load_wh.tolist(), strict=True),
        )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other_year_s, other_group = _best(lambda: _row_group(connection), repeats=1)
    other_month_s, other_month = _best(lambda: _row_month(connection))
    connection.close()
    if group != other_group or month != other_month:
        raise RuntimeError("the two stores do not agree")
    others = f"{len(names)} homes, beside a row per reading in SQLite"
    rows: Rows = [
        {"figure": f"group load of a year, {others}", "ratio": round(other_year_s / year_s, 1)},
        {"figure": f"one home, one month, {others}", "ratio": round(other_month_s / month_s, 2)},
        {
            "figure": f"bytes on disk, {others}",
            "ratio": round(rows_path.stat().st_size / ours_bytes, 1),
        },
    ]
    return rows + _against_victoria(root, year_s, month_s, group, loads_wh)


def _row_store(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE reading (home INTEGER, start_us INTEGER, energy_wh INTEGER,"
        " PRIMARY KEY (home, start_us)) WITHOUT ROWID"
    )
    return connection


def _row_group(connection: sqlite3.Connection) -> list[int]:
    found = connection.execute(
        "SELECT sum(energy_wh) FROM reading GROUP BY start_us ORDER BY start_us"
    )
    return [row[0] for row in found]


def _row_month(connection: sqlite3.Connection) -> list[float]:
    start_us = to_us(START + timedelta(days=90))
    found = connection.execute(
        "SELECT energy_wh FROM reading WHERE home = 7 AND start_us >= ? AND start_us < ?"
        " ORDER BY start_us",
        (start_us, start_us + 30 * 86_400_000_000),
    )
    return [float(row[0]) for row in found]


def _against_victoria(
    root: Path,
    year_s: float,
    month_s: float,
    group: list[int],
    loads_wh: NDArray[np.int64],
) -> Rows:
    if shutil.which("victoria-metrics") is None:
        return [{"figure": "victoria-metrics is not installed; no ratio"}]
    with _victoria(root / "vm") as client:
        stamps = (to_us(START) + np.arange(STEPS) * STEP_US) // 1_000_000
        for home, load_wh in enumerate(loads_wh):
            lines = "\n".join(
                f"readings,home={home} wh={wh}i {stamp}"
                for wh, stamp in zip(load_wh.tolist(), stamps.tolist(), strict=True)
            )
            client.post("/write", params={"precision": "s"}, content=lines).raise_for_status()
        client.get("/internal/force_flush").raise_for_status()
        theirs_s, answer = _best(lambda: _vm_range(client, "sum(readings_wh)", 0, STEPS))
        if answer != group:
            raise RuntimeError("victoria-metrics does not agree with the store")
        theirs_month_s, _ = _best(
            lambda: _vm_range(client, 'readings_wh{home="7"}', 90 * 96, 120 * 96)
        )
    others = f"{len(loads_wh)} homes, beside victoria-metrics"
    return [
        {"figure": f"group load of a year, {others}", "ratio": round(theirs_s / year_s, 2)},
        {"figure": f"one home, one month, {others}", "ratio": round(theirs_month_s / month_s, 2)},
    ]


def _vm_range(client: httpx.Client, query: str, first: int, last: int) -> list[int]:
    begin_s = to_us(START) // 1_000_000
    answer = client.get(
        "/api/v1/query_range",
        params={
            "query": query,
            "start": begin_s + first * 900,
            "end": begin_s + (last - 1) * 900,
            "step": "900s",
            "nocache": 1,
        },
    )
    answer.raise_for_status()
    (series,) = answer.json()["data"]["result"]
    return [int(float(value)) for _, value in series["values"]]


@contextmanager
def _victoria(folder: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        "victoria-metrics",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-storageDataPath={folder}",
        "-retentionPeriod=10y",
        "-dedup.minScrapeInterval=1ms",
        "-search.maxPointsPerTimeseries=100000",
        "-search.latencyOffset=0s",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            for _ in range(100):
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield client
    finally:
        process.terminate()
        process.wait()


def _best(work: Callable[[], Any], repeats: int = 4) -> tuple[float, Any]:
    """Shortest of a few runs [s]; the machine is shared, so the mean would measure others."""
    best_s, answer = float("inf"), None
    for _ in range(repeats):
        begin = time.perf_counter()
        answer = work()
        best_s = min(best_s, time.perf_counter() - begin)
    return best_s, answer


if __name__ == "__main__":
    for row in run():
        print(row)  # noqa: T201 - a benchmark prints
