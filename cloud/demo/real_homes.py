"""Four homes with real gateway processes, real meters' protocols and a line that can be cut."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cloud.demo.clock import StreetClock
from cloud.demo.meter import SimulatedMeter
from cloud.demo.neighbours import METER
from cloud.demo.processes import (
    DemoFault,
    Processes,
    free_port,
    gateway_command,
    run_gateway_command,
    start_meter,
    wait_for_port,
)
from cloud.demo.street import ZONE, Home, Load
from cloud.demo.street_cloud import StreetCloud

POLL_EVERY_S = 0.5
FUSE_A = 35
MAPS = ("eastron_sdm630", "eastron_sdm630", "", "carlo_gavazzi_em340")
"""Meter of each real home in turn; empty is a Tasmota meter over MQTT."""


@dataclass(slots=True)
class RealHome:
    """A home with a gateway process.

    Args:
        home: Which home.
        household: Its pseudonym.
        load: What its meter counts.
        map_name: Its Modbus meter, or empty for MQTT.
        config: Its gateway.toml.
        page_port: Port of its local page.
        secret: Its local secret, for the visitor.
        consents: What it agreed to.
        withdrawn: Purposes it withdrew in the course of the story.
    """

    home: Home
    household: str
    load: Load
    map_name: str
    config: Path
    page_port: int
    secret: str = ""
    consents: tuple[str, ...] = ("group-tariff", "own-insight")
    withdrawn: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Name of its process."""
        return f"gateway-{self.home.number}"

    @property
    def topic(self) -> str:
        """Name of its MQTT device."""
        return f"meter{self.home.number}"

    def status(self) -> dict[str, Any]:
        """What its gateway says, in counts."""
        return run_gateway_command(self.config, "status")


def set_up(
    homes: Sequence[tuple[Home, str, Load]],
    *,
    folder: Path,
    processes: Processes,
    clock: StreetClock,
    cloud: StreetCloud,
    line_port: int,
    broker_port: int,
) -> list[RealHome]:
    """Start meters, write configurations, pair, agree, and start the gateways."""
    real = []
    for (home, household, load), map_name in zip(homes, MAPS, strict=True):
        one = RealHome(
            home=home,
            household=household,
            load=load,
            map_name=map_name,
            config=folder / f"home-{home.number}" / "gateway.toml",
            page_port=free_port(),
        )
        one.config.parent.mkdir(parents=True, exist_ok=True)
        port = 0
        if map_name:
            port = start_meter(
                processes,
                f"meter-{home.number}",
                folder,
                {
                    "map": map_name,
                    "unit": 1,
                    "start": load.start.isoformat(),
                    "import_wh": load.import_wh.tolist(),
                    "export_wh": load.export_wh.tolist(),
                    "clock": clock.to_json(),
                },
            )
            wait_for_port(port, f"the meter of home {home.number}", processes)
        one.config.write_text(
            _config(one, clock, line_port=line_port, meter_port=port, broker_port=broker_port),
            encoding="utf-8",
        )
        real.append(one)
    with ThreadPoolExecutor(max_workers=len(real)) as pool:
        list(pool.map(lambda one: _pair_and_agree(one, cloud), real))
    for one in real:
        start_gateway(one, processes)
    return real


def start_gateway(one: RealHome, processes: Processes) -> None:
    """Start a gateway process."""
    processes.start(one.name, [*gateway_command(), "run", "--config", str(one.config)])


def _pair_and_agree(one: RealHome, cloud: StreetCloud) -> None:
    code = cloud.claim_code(one.household)
    one.secret = str(run_gateway_command(one.config, "pair", "--code", code)["local_secret"])
    secret_file = one.config.parent / "secret.txt"
    secret_file.write_text(f"{one.secret}\n", encoding="utf-8")
    secret_file.chmod(0o600)
    for consent_id in one.consents:
        run_gateway_command(
            one.config,
            "consent",
            "give",
            consent_id,
            "--secret-file",
            str(secret_file),
            "--meter",
            METER,
        )
    run_gateway_command(one.config, "sync")


def _config(
    one: RealHome, clock: StreetClock, *, line_port: int, meter_port: int, broker_port: int
) -> str:
    head = f"""[gateway]
state_dir = "state"
household_timezone = "{ZONE}"
clock = "trusted"

[cloud]
url = "http://127.0.0.1:{line_port}"
sync_every_s = 2
send_every_s = 2
timeout_s = 10

[outbox]
commit_every_s = 1

[local_page]
host = "127.0.0.1"
port = {one.page_port}

[simulation]
machine_start = {clock.machine_start.isoformat()}
story_start = {clock.street_start.isoformat()}
rate = {clock.rate}
fast_s = {clock.fast_s}
"""
    if one.map_name:
        return f"""{head}
[[modbus]]
name = "meter-cupboard"
kind = "tcp"
host = "127.0.0.1"
port = {meter_port}

[[modbus.meter]]
name = "{METER}"
map = "{one.map_name}"
unit = 1
poll_every_s = {POLL_EVERY_S}
fuse_a = {FUSE_A}
"""
    return f"""{head}
[[mqtt]]
name = "home-broker"
broker = "127.0.0.1"
port = {broker_port}

[[mqtt.meter]]
name = "{METER}"
preset = "tasmota_energy"
topic = "{one.topic}"
fuse_a = {FUSE_A}
"""


class TasmotaMeter:
    """A simulated Tasmota energy meter that publishes over MQTT.

    Args:
        one: The home it is in.
        clock: The street's clock.
        broker_port: Where the broker listens.
    """

    def __init__(self, one: RealHome, clock: StreetClock, broker_port: int) -> None:
        self._topic = f"tele/{one.topic}/SENSOR"
        self._meter = SimulatedMeter(
            start=one.load.start,
            import_wh=one.load.import_wh.tolist(),
            export_wh=one.load.export_wh.tolist(),
        )
        self._clock = clock
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"tasmota-{one.home.number}"
        )
        self._port = broker_port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="tasmota")

    def start(self) -> None:
        """Connect and publish every half second."""
        if self._client.connect("127.0.0.1", self._port) != mqtt.MQTT_ERR_SUCCESS:
            raise DemoFault("the simulated Tasmota meter cannot reach the broker")
        self._client.loop_start()
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing."""
        self._stop.set()
        self._thread.join(5)
        self._client.loop_stop()
        self._client.disconnect()

    def _run(self) -> None:
        while not self._stop.wait(POLL_EVERY_S):
            now = self._clock.now()
            shown = self._meter.display(now)
            payload = {
                "Time": now.strftime("%Y-%m-%dT%H:%M:%S"),
                "ENERGY": {
                    "Total": round(shown.import_wh / 1000, 3),
                    "Power": round(shown.power_w),
                    "Voltage": round(shown.voltage_v),
                    "Current": round(shown.current_a, 3),
                },
            }
            self._client.publish(self._topic, json.dumps(payload))


def wait_while(seconds: float, processes: Processes) -> None:
    """Let the story run on, and say so if a process dies meanwhile."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        processes.check()
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))
