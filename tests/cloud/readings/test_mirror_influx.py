"""The mirror against the real write path of victoria-metrics, and its deletions against a fake."""

from __future__ import annotations

import http.server
import json
import shutil
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cloud.readings.embedded import EmbeddedStore
from cloud.readings.mirror_influx import InfluxMirror
from gateway.wire.reading import Purpose, Quantity, StreamKey
from tests.cloud.readings.batches import MONDAY, batch, part
from tests.ports import free_port

PROGRAM = shutil.which("victoria-metrics")
HOME = "home, with = strange \\ letters"


class Server:
    """victoria-metrics on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if PROGRAM is None:
            pytest.fail("victoria-metrics is missing; apt-get install victoria-metrics")
        self.process = subprocess.Popen(
            [
                PROGRAM,
                f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-storageDataPath={self.folder}",
                "-dedup.minScrapeInterval=1ms",
                "-retentionPeriod=10y",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                self.get("/health")
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("victoria-metrics did not start within 10 s")

    def stop(self, *, how: str = "terminate") -> None:
        if self.process is not None:
            getattr(self.process, how)()
            self.process.wait()
            self.process = None

    def get(self, path: str) -> bytes:
        return httpx.get(self.url + path, timeout=5).content

    def points(self, field: str = "energy_wh") -> dict[tuple[str, str], dict[int, float]]:
        """Value by time [ms], by household and quantity."""
        self.get("/internal/force_flush")
        match = urllib.parse.quote(f'{{__name__="readings_{field}"}}')
        start, end = MONDAY.timestamp() - 1, MONDAY.timestamp() + 10**6
        raw = self.get(f"/api/v1/export?match[]={match}&start={start}&end={end}")
        found: dict[tuple[str, str], dict[int, float]] = {}
        for line in raw.decode().splitlines():
            series = json.loads(line)
            key = (series["metric"]["household"], series["metric"]["quantity"])
            assert len(set(series["timestamps"])) == len(series["timestamps"])
            found.setdefault(key, {}).update(
                zip(series["timestamps"], series["values"], strict=True)
            )
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path / "vm")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path / "store", is_mirrored=True) as opened:
        yield opened


class Hands:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def mirror_of(store: EmbeddedStore, url: str, clock: Hands | None = None) -> InfluxMirror:
    return InfluxMirror(
        store.mirror_feed,
        url=url,
        token="token",
        org="org",
        bucket="readings",
        retries=1,
        clock_s=clock or Hands(),
    )


def put(store: EmbeddedStore, wh: list[int], *, hour: int = 0, home: str = HOME) -> None:
    start = MONDAY + timedelta(hours=hour)
    store.append(batch(part(wh, start=start), household=home)).result()


def at_ms(quarter: int) -> int:
    return int(MONDAY.timestamp() * 1000) + quarter * 900_000


def test_readings_arrive_with_their_values_times_and_names(
    server: Server, store: EmbeddedStore
) -> None:
    mirror = mirror_of(store, server.url)
    put(store, [10, 20, 30])
    assert mirror.step()
    assert server.points() == {
        (HOME, "import_wh"): {at_ms(0): 10.0, at_ms(1): 20.0, at_ms(2): 30.0}
    }
    assert set(server.points("duration_s")[HOME, "import_wh"].values()) == {900.0}
    mirror.close()


def test_sending_again_after_the_window_moves_the_cursor_and_doubles_nothing(
    server: Server, store: EmbeddedStore
) -> None:
    clock = Hands()
    mirror = mirror_of(store, server.url, clock)
    put(store, [10, 20])
    assert mirror.step()
    clock.now_s = 59
    assert mirror.step()
    assert store.mirror_feed.cursor() == 0
    clock.now_s = 61
    assert mirror.step()
    assert store.mirror_feed.cursor() == 1
    assert mirror.status().points_sent == 4
    assert server.points() == {(HOME, "import_wh"): {at_ms(0): 10.0, at_ms(1): 20.0}}
    mirror.close()


def test_a_server_that_was_down_gets_everything_when_it_is_back(
    server: Server, store: EmbeddedStore
) -> None:
    mirror = mirror_of(store, server.url)
    put(store, [1, 2])
    assert mirror.step()
    server.stop(how="kill")
    put(store, [3, 4], hour=1)
    assert not mirror.step()
    assert mirror.status().problem
    assert "\n" not in mirror.status().problem
    server.start()
    assert mirror.step()
    expected = {at_ms(0): 1.0, at_ms(1): 2.0, at_ms(4): 3.0, at_ms(5): 4.0}
    assert server.points() == {(HOME, "import_wh"): expected}
    mirror.close()


def test_a_server_killed_without_our_notice_gets_lost_readings_again(
    server: Server, store: EmbeddedStore
) -> None:
    clock = Hands()
    mirror = mirror_of(store, server.url, clock)
    put(store, [1, 2])
    assert mirror.step()
    server.stop(how="kill")
    server.start()
    clock.now_s = 61
    assert mirror.step()
    assert server.points() == {(HOME, "import_wh"): {at_ms(0): 1.0, at_ms(1): 2.0}}
    mirror.close()


def test_compaction_keeps_what_was_not_sent_and_a_restart_goes_on(
    server: Server, tmp_path: Path
) -> None:
    with EmbeddedStore(tmp_path / "kept", is_mirrored=True) as store:
        put(store, [1, 2])
        store.compact()
        put(store, [3], hour=1)
        assert store.counts().intervals_distinct == 3
        assert store.counts().intervals_waiting == 1
    with EmbeddedStore(tmp_path / "kept", is_mirrored=True) as store:
        clock = Hands()
        mirror = mirror_of(store, server.url, clock)
        assert mirror.step()
        clock.now_s = 61
        assert mirror.step()
        assert len(server.points()[HOME, "import_wh"]) == 3
        assert store.mirror_feed.chunks_after(0, limit=10)[0].number == 2
        mirror.close()
    with EmbeddedStore(tmp_path / "kept") as store:
        assert store.counts().intervals_distinct == 3
        store.compact()
        assert store.mirror_feed.chunks_after(0, limit=10) == []


def test_a_mirror_that_runs_by_itself_follows_and_stops(
    server: Server, store: EmbeddedStore
) -> None:
    mirror = mirror_of(store, server.url)
    mirror.start()
    put(store, [5])
    for _ in range(100):
        if mirror.status().sent_upto == 1:
            break
        time.sleep(0.05)
    mirror.close()
    assert server.points() == {(HOME, "import_wh"): {at_ms(0): 5.0}}


class FakeInflux(http.server.BaseHTTPRequestHandler):
    """Says yes to writes and deletions, and remembers them."""

    seen: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/api/v2/delete"):
            self.seen.append((self.path, json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_an_erasure_is_passed_on_to_the_server(store: EmbeddedStore) -> None:
    seen: list[tuple[str, dict[str, str]]] = []
    handler = type("Handler", (FakeInflux,), {"seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as fake:
        thread = threading.Thread(target=fake.serve_forever)
        thread.start()
        mirror = mirror_of(store, f"http://127.0.0.1:{fake.server_address[1]}")
        put(store, [1], home='h"1')
        stream = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.GROUP_TARIFF)
        store.erase('h"1', stream=stream)
        put(store, [1], home='h"1')
        store.erase('h"1')
        assert mirror.status().erasures_due == 2
        assert mirror.step()
        assert mirror.status().erasures_due == 0
        mirror.close()
        fake.shutdown()
        thread.join()
    assert [body["predicate"] for _, body in seen] == [
        'household="h\\"1" AND meter="main" AND quantity="import_wh" AND purpose="group_tariff"',
        'household="h\\"1"',
    ]


def test_a_server_that_cannot_delete_keeps_the_erasure_due_and_says_so(
    server: Server, store: EmbeddedStore
) -> None:
    mirror = mirror_of(store, server.url)
    put(store, [1])
    store.erase(HOME)
    assert not mirror.step()
    assert "400" in mirror.status().problem
    assert mirror.status().erasures_due == 1
    put(store, [2], home="another")
    assert not mirror.step()
    assert server.points()["another", "import_wh"] == {at_ms(0): 2.0}
    mirror.close()
