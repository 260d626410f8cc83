"""A server that is killed without warning still has every reading it acknowledged."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from gateway.wire.batch import Block
from tests.cloud.server_process import ServerProcess, add_paired_homes, terms_now

HOMES = 6
ROUNDS = 2


@pytest.mark.slow
def test_acknowledged_readings_survive_kill_nine_again_and_again(tmp_path):
    homes = add_paired_homes(tmp_path, HOMES)
    server = ServerProcess(tmp_path)
    terms = terms_now()
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=60)
    acknowledged: list[tuple[int, object]] = []
    server.start()
    try:
        reconnect(homes, server)
        for home in homes:
            home.give(terms)
        for _round in range(ROUNDS):
            before = len(acknowledged)
            send_until_killed(server, homes, terms, first, acknowledged)
            assert len(acknowledged) > before, "nothing was acknowledged before the kill"
            server.start()
            reconnect(homes, server)
        for number, batch in acknowledged:
            answer = homes[number].send_raw(batch).json()
            outcomes = {(part["accepted"], part["duplicate"]) for part in answer["parts"]}
            assert outcomes == {(0, 4)}, "an acknowledged batch was not there any more"
        server.stop()
        assert "Application shutdown complete" in (tmp_path / "server.log").read_text()
    finally:
        if server.is_running:
            server.kill()
        for home in homes:
            home.client.close()


def reconnect(homes, server):
    for home in homes:
        if home.client is not None:
            home.client.close()
        home.client = httpx.Client(base_url=server.url, trust_env=False)


def send_until_killed(server, homes, terms, first, acknowledged):
    """All homes send as fast as they can; after a moment the server dies."""
    stop = threading.Event()

    def send(number):
        home = homes[number]
        while not stop.is_set():
            start = first + timedelta(hours=home.batch_seq)
            part = home.part(terms, start, (1, 2, 3, 4))
            assert isinstance(part.blocks[0], Block)
            batch = home.batch(part)
            try:
                answer = home.send_raw(batch)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged.append((number, batch))

    with ThreadPoolExecutor(len(homes)) as pool:
        for number in range(len(homes)):
            pool.submit(send, number)
        time.sleep(0.7)
        server.kill()
        stop.set()
