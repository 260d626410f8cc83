"""A real gateway process, a real Modbus wire, real HTTP: killed without warning, nothing is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.daemon import build
from gateway.meters.source import Sample
from gateway.settings import read_settings
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import CLAIM_CODE, FakeClock, FakeCoop, offer
from tests.gateway.meter_server import metering, sdm630

GATEWAY = [sys.executable, "-m", "gateway"]
POWER_W = 36_000.0
BEFORE = timedelta(minutes=5)


def write_settings(directory: Path, *, url: str, meter_port: int) -> Path:
    path = directory / "gateway.toml"
    path.write_text(
        f"""
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"

[cloud]
url = "{url}"
sync_every_s = 1
send_every_s = 1

[outbox]
commit_every_s = 1

[local_page]
enabled = false

[[modbus]]
name = "bus"
host = "127.0.0.1"
port = {meter_port}

[[modbus.meter]]
name = "grid"
map = "eastron_sdm630"
unit = 1
poll_every_s = 1
""",
        encoding="utf-8",
    )
    return path


def command(*words: str, config: Path) -> dict[str, object]:
    done = subprocess.run(
        [*GATEWAY, *words, "--config", str(config), "--json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def live_before(config: Path, origin: datetime) -> None:
    """Let the gateway have read its meter until two minutes ago, so that minutes come at once."""
    settings, state_dir = read_settings(config)
    clock = FakeClock(at=origin)
    daemon = build(settings, state_dir, clock=clock, sources=())
    while clock.at < origin + BEFORE - timedelta(minutes=2):
        clock.advance(10)
        total_wh = 1_000 + POWER_W * (clock.at - origin).total_seconds() / 3600
        quantities = {"import_wh": int(total_wh)}
        daemon.take(Sample(meter="grid", taken_at=clock.at, quantities=quantities))
    daemon.store.commit(daemon.pipeline.commit(), generation=daemon._generation)
    daemon.store.close()


@pytest.mark.slow
def test_a_gateway_killed_again_and_again_delivers_every_minute_once(tmp_path: Path) -> None:
    coop = FakeCoop(
        offers=(
            offer(
                "own",
                purpose=Purpose.OWN_INSIGHT,
                resolution=Resolution.MINUTE,
                quantities=(Quantity.IMPORT_WH,),
            ),
        )
    )
    origin = datetime.now(tz=UTC) - BEFORE

    def total_wh() -> float:
        return 1_000 + POWER_W * (datetime.now(tz=UTC) - origin).total_seconds() / 3600

    with metering(sdm630(total_wh, lambda: POWER_W)) as port, serving(coop) as (_, url):
        config = write_settings(tmp_path, url=url, meter_port=port)
        paired = command("pair", "--code", CLAIM_CODE, config=config)
        secret = tmp_path / "secret"
        secret.write_text(str(paired["local_secret"]), encoding="utf-8")
        command("consent", "give", "own", "--secret-file", str(secret), config=config)
        live_before(config, origin)

        for kill in range(5):
            gateway = subprocess.Popen(
                [*GATEWAY, "run", "--config", str(config)], stderr=subprocess.DEVNULL
            )
            time.sleep(1.2 + 0.45 * kill)
            gateway.send_signal(signal.SIGKILL)
            gateway.wait()
        gateway = subprocess.Popen(
            [*GATEWAY, "run", "--config", str(config)], stderr=subprocess.DEVNULL
        )
        synced, patience = coop.syncs, time.monotonic() + 60
        while len(coop.readings) < 4 or coop.syncs < synced + 3:
            assert time.monotonic() < patience, "the gateway does not come back"
            time.sleep(0.2)
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(timeout=20) == 0
        figures = command("status", config=config)

    starts = sorted(start for _, _, start in coop.readings)
    minute = timedelta(minutes=1)
    assert len(starts) >= 4
    assert starts == [starts[0] + minute * place for place in range(len(starts))], (
        "a minute is missing"
    )
    assert all(abs(wh - 600) <= 3 for _, wh, _ in coop.readings.values()), coop.readings
    assert coop.broken_chains == []
    assert figures["kept"] == len(starts) + figures["waiting"]
