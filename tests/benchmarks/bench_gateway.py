"""What a running gateway costs: memory, CPU, writes to the card, time to start, speed of its outbox.

A real `coop-gateway run` process reads ten meters of a Modbus server each second and sends minutes
to a co-op's server in this process. Memory and writes are the kernel's own figures.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.outbox.rows import Commit, Permit, WaitingRow
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import CLAIM_CODE, FakeCoop, offer
from tests.gateway.home import Home
from tests.gateway.meter_server import metering, running_total, sdm630

METERS = 10
WATCHED_S = 120
SETTLE_S = 8
GATEWAY = [sys.executable, "-m", "gateway"]


def run() -> list[dict[str, object]]:
    """Measure; one dictionary per figure, with its unit in the name of the key."""
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        return [*_start_times(), *_running(base), *_usual_day(base), *_outbox(base / "outbox")]


def _start_times() -> list[dict[str, object]]:
    def seconds(code: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - begun

    bare_s = min(seconds("pass") for _ in range(3))
    daemon_s = min(seconds("import gateway.daemon, gateway.local_page.server") for _ in range(3))
    help_s = min(_timed([*GATEWAY, "--help"]) for _ in range(3))
    return [
        {
            "name": "gateway: import of the daemon",
            "s": round(daemon_s - bare_s, 3),
            "ratio_to_bare_python": round(daemon_s / bare_s, 1),
        },
        {"name": "gateway: --help", "s": round(help_s, 3)},
    ]


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begun


def _settings(directory: Path, *, url: str, port: int) -> Path:
    meters = "\n".join(
        f'[[modbus.meter]]\nname = "m{number}"\nmap = "eastron_sdm630"\n'
        f"unit = {number}\npoll_every_s = 1\n"
        for number in range(1, METERS + 1)
    )
    path = directory / "gateway.toml"
    path.write_text(
        f"""
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"
[cloud]
url = "{url}"
sync_every_s = 60
send_every_s = 60
[outbox]
commit_every_s = 60
[local_page]
port = 8467
[[modbus]]
name = "bus"
host = "127.0.0.1"
port = {port}
{meters}
""",
        encoding="utf-8",
    )
    return path


def _running(directory: Path) -> list[dict[str, object]]:
    both = (Quantity.IMPORT_WH, Quantity.EXPORT_WH)
    asked = offer("own", purpose=Purpose.OWN_INSIGHT, resolution=Resolution.MINUTE, quantities=both)
    coop = FakeCoop(offers=(asked,))
    with metering(sdm630(running_total(900), lambda: 900.0)) as port, serving(coop) as (_, url):
        config = _settings(directory, url=url, port=port)
        paired = subprocess.run(
            [*GATEWAY, "pair", "--code", CLAIM_CODE, "--json", "--config", str(config)],
            check=True,
            capture_output=True,
            text=True,
        )
        secret = directory / "secret"
        found = re.search(r'"local_secret": "([^"]+)"', paired.stdout)
        secret.write_text(found.group(1) if found else "", encoding="utf-8")
        subprocess.run(
            [
                *GATEWAY,
                "consent",
                "give",
                "own",
                "--secret-file",
                str(secret),
                "--config",
                str(config),
            ],
            check=True,
            capture_output=True,
        )
        gateway = subprocess.Popen(
            [*GATEWAY, "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            time.sleep(SETTLE_S)
            before = _usage(gateway.pid)
            time.sleep(WATCHED_S)
            after = _usage(gateway.pid)
        finally:
            gateway.terminate()
            gateway.wait(timeout=30)
    cpu_s, written, rss_mb, peak_mb = (
        after["cpu_s"] - before["cpu_s"],
        after["written"] - before["written"],
        after["rss_mb"],
        after["peak_mb"],
    )
    return [
        {
            "name": f"gateway: memory with {METERS} meters",
            "rss_mb": round(rss_mb, 1),
            "peak_mb": round(peak_mb, 1),
            "budget_mb": 70,
        },
        {
            "name": f"gateway: CPU with {METERS} meters at 1 Hz",
            "share_of_one_core": round(cpu_s / WATCHED_S, 4),
        },
        {
            "name": "gateway: written to the card, 20 minute streams, commit each 60 s",
            "mb_a_day": round(written / WATCHED_S * 86_400 / 1e6, 1),
        },
    ]


def _usual_day(directory: Path) -> list[dict[str, object]]:
    """A home with one meter and two consents at 15 minutes, lived through in a day of fast time."""
    purposes = {"tariff": Purpose.GROUP_TARIFF, "own": Purpose.OWN_INSIGHT}
    coop = FakeCoop(offers=tuple(offer(name, purpose=why) for name, why in purposes.items()))
    place = directory / "usual"
    place.mkdir()
    home = Home(place, coop=coop)
    home.pair()
    for name in purposes:
        home.give(name)
    home.sync()
    before = _usage(os.getpid())
    for _ in range(24 * 60):
        home.live(60, quantities=("import_wh", "export_wh"))
        home.flush()
        home.sync()
        home.send()
    after = _usage(os.getpid())
    home.daemon.store.close()
    return [
        {
            "name": "gateway: written to the card, 4 streams of 15 minutes, commit each 60 s",
            "mb_a_day": round((after["written"] - before["written"]) / 1e6, 1),
            "intervals_sent": len(coop.readings),
        }
    ]


def _usage(pid: int) -> dict[str, float]:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    io = Path(f"/proc/{pid}/io").read_text(encoding="ascii")

    def number(pattern: str, text: str) -> float:
        found = re.search(pattern, text)
        return float(found.group(1)) if found else 0.0

    return {
        "rss_mb": number(r"VmRSS:\s+(\d+)", status) / 1024,
        "peak_mb": number(r"VmHWM:\s+(\d+)", status) / 1024,
        "cpu_s": (int(stat[11]) + int(stat[12])) / 100,
        "written": number(r"write_bytes: (\d+)", io),
    }


def _outbox(directory: Path) -> list[dict[str, object]]:
    permit = Permit(consent_id="c", version=1, resolution=Resolution.MINUTE)
    stream = StreamKey(meter="m", quantity=Quantity.IMPORT_WH, purpose=Purpose.OWN_INSIGHT)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    minute = timedelta(minutes=1)
    rows = tuple(
        WaitingRow(
            stream=stream,
            permit=permit,
            epoch=0,
            start=start + minute * place,
            end=start + minute * (place + 1),
            energy_wh=7,
        )
        for place in range(43_200)
    )
    store = SqliteOutbox.open(directory)
    begun = time.perf_counter()
    for place in range(0, 2_000, 20):
        store.commit(Commit(rows=rows[place : place + 20]), generation=0)
    commits_s = time.perf_counter() - begun
    store.commit(Commit(rows=rows[2_000:]), generation=0)
    begun = time.perf_counter()
    batches = 0
    while store.seal(key_id="0" * 32, now=start, purposes=list(Purpose)):
        batches += 1
    seal_s = time.perf_counter() - begun
    (size,) = {path.stat().st_size for path in directory.glob("gateway.sqlite")}
    store.close()
    return [
        {"name": "gateway: durable commits of 20 rows", "per_s": round(100 / commits_s)},
        {
            "name": "gateway: 30 days of one minute stream sealed",
            "s": round(seal_s, 2),
            "batches": batches,
            "file_mb": round(size / 1e6, 1),
        },
    ]
