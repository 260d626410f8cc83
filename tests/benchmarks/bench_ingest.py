"""Signed batches a second through the real server, beside a time-series server's own door.

The server runs as a user would start it, in its own process, with duplicate check and compaction
on; each answer is sent after the commit. The same readings go as line protocol to VictoriaMetrics
(which checks no signature and promises nothing for some seconds), in turns on the same machine.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from gateway.wire.codec import compress, encode
from gateway.wire.session import PATH_BATCHES
from gateway.wire.signing import DOMAIN_BATCH, HEADER_KEY, HEADER_SIGNATURE, signature_of
from tests.cloud.server_process import ServerProcess, add_paired_homes, terms_now
from tests.ports import free_port

HOMES = 32
ROUNDS = 2
BATCHES_PER_HOME = {100: 40, 1_000: 10}
"""How many batches each home sends in a round, by readings in a batch."""

Request = tuple[bytes, bytes]
"""Head and body of an HTTP request, ready to be written."""


def run() -> list[dict[str, object]]:
    """Measure, and return one row per size of batch."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        homes = add_paired_homes(data, HOMES)
        server = ServerProcess(data)
        server.start()
        other = _start_victoria(data)
        try:
            _give_consents(homes, server.url)
            return [
                _measure(homes, server.port, other, readings, count)
                for readings, count in BATCHES_PER_HOME.items()
            ]
        finally:
            server.stop()
            if other is not None:
                other[0].terminate()
                other[0].wait(timeout=30)


def _measure(homes, port: int, other, readings: int, count: int) -> dict[str, object]:
    ours_s = theirs_s = 0.0
    for turn in range(ROUNDS):
        offset = timedelta(minutes=15) * readings * count * turn
        if readings != min(BATCHES_PER_HOME):
            offset += timedelta(days=200)
        signed, lines = _requests(homes, port, other[1] if other else 0, readings, count, offset)
        ours_s += asyncio.run(_send_all(port, signed, 200))
        if other is not None:
            theirs_s += asyncio.run(_send_all(other[1], lines, 204))
    batches = HOMES * count * ROUNDS
    row: dict[str, object] = {
        "name": f"ingest: signed batches of {readings} readings, durable, over HTTP",
        "batches": batches,
        "batches_per_s": round(batches / ours_s),
        "readings_per_s": round(batches * readings / ours_s),
    }
    if theirs_s:
        row["victoria_metrics_readings_per_s"] = round(batches * readings / theirs_s)
        row["ratio_to_victoria_metrics"] = round(theirs_s / ours_s, 2)
    return row


def _requests(
    homes, port: int, other_port: int, readings: int, count: int, offset: timedelta
) -> tuple[list[list[Request]], list[list[Request]]]:
    """The same readings twice: signed batches, and line protocol; one list per connection."""
    terms = terms_now()
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=340)
    signed: list[list[Request]] = []
    lines: list[list[Request]] = []
    for home in homes:
        own: list[Request] = []
        theirs: list[Request] = []
        for number in range(count):
            start = first + offset + timedelta(minutes=15) * readings * number
            wh = tuple((7 * step + number) % 900 for step in range(readings))
            payload = encode(home.batch(home.part(terms, start, wh)))
            headers = {
                HEADER_KEY: home.key_id,
                HEADER_SIGNATURE: signature_of(home.key, DOMAIN_BATCH, payload),
                "Content-Encoding": "gzip",
            }
            own.append(_request(port, PATH_BATCHES, compress(payload), headers))
            start_ns = int(start.timestamp()) * 10**9
            text = "\n".join(
                f"readings,home={home.household} wh={energy}i {start_ns + 900 * 10**9 * step}"
                for step, energy in enumerate(wh)
            )
            theirs.append(_request(other_port, "/write", text.encode(), {}))
        signed.append(own)
        lines.append(theirs)
    return signed, lines


def _request(port: int, path: str, body: bytes, headers: dict[str, str]) -> Request:
    named = {"Host": f"127.0.0.1:{port}", "Content-Length": str(len(body))} | headers
    fields = "".join(f"{name}: {text}\r\n" for name, text in named.items())
    return f"POST {path} HTTP/1.1\r\n{fields}\r\n".encode(), body


async def _send_all(port: int, connections: list[list[Request]], status: int) -> float:
    """Send over one connection per home, each waiting for its answers; returns seconds."""
    started_s = time.perf_counter()
    await asyncio.gather(*(_send(port, requests, status) for requests in connections))
    return time.perf_counter() - started_s


async def _send(port: int, requests: list[Request], status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for head, body in requests:
        writer.write(head + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        found = int(answer.split(b" ", 2)[1])
        length = next(
            (
                int(line.split(b":")[1])
                for line in answer.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        content = await reader.readexactly(length)
        if found != status:
            raise RuntimeError(f"HTTP {found}: {content[:200]!r}")
    writer.close()
    await writer.wait_closed()


def _give_consents(homes, url: str) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        for home in homes:
            home.client = client
            home.give(terms_now())


def _start_victoria(folder: Path) -> tuple[subprocess.Popen[bytes], int] | None:
    program = shutil.which("victoria-metrics")
    if program is None:
        return None
    port = free_port()
    process = subprocess.Popen(
        [
            program,
            f"-storageDataPath={folder / 'victoria'}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-retentionPeriod=24",
            "-loggerLevel=ERROR",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200:
                return process, port
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("victoria-metrics did not start")


if __name__ == "__main__":
    for row in run():
        print(row)  # noqa: T201 - a benchmark prints
