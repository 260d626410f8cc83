"""A real gateway process, a real Modbus wire, real HTTP: killed without warning, nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import CLAIM_CODE, FakeCoop, offer
from tests.gateway.meter_server import metering, running_total, sdm630

GATEWAY = [sys.executable, "-m", "gateway"]


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
    power_w = 36_000.0
    total_wh = running_total(power_w)
    with metering(sdm630(total_wh, lambda: power_w)) as port, serving(coop) as (_, url):
        config = write_settings(tmp_path, url=url, meter_port=port)
        paired = command("pair", "--code", CLAIM_CODE, config=config)
        secret = tmp_path / "secret"
        secret.write_text(str(paired["local_secret"]), encoding="utf-8")
        command("consent", "give", "own", "--secret-file", str(secret), config=config)

        begun = time.time()
        ends = begun + 135
        kills = 0
        while time.time() < ends:
            gateway = subprocess.Popen(
                [*GATEWAY, "run", "--config", str(config)], stderr=subprocess.DEVNULL
            )
            time.sleep(min(13, max(1, ends - time.time())))
            gateway.send_signal(signal.SIGKILL)
            gateway.wait()
            kills += 1
        gateway = subprocess.Popen(
            [*GATEWAY, "run", "--config", str(config)], stderr=subprocess.DEVNULL
        )
        time.sleep(8)
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(timeout=20) == 0

    assert kills >= 9
    starts = sorted(start for _, _, start in coop.readings)
    assert len(starts) >= 1
    assert all(abs(wh - 600) <= 3 for _, wh, _ in coop.readings.values()), coop.readings
    assert coop.broken_chains == []
