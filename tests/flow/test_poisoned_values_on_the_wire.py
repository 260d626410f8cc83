"""No byte of what nobody agreed to leaves the gateway or reaches its disk.

A real gateway process reads real meters over Modbus and MQTT. Their poisoned values are looked for
in all that it sends, packet by packet and unpacked, and in all that it writes.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.simulation import SimulatedClock
from gateway.wire import codec
from gateway.wire.batch import Batch
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.flow.wiretap import hide, places_of, sniffing, tapped, unpacked
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import CLAIM_CODE, FakeCoop, offer
from tests.gateway.meter_server import metering
from tests.gateway.meters.wires import mosquitto, publish

GATEWAY = [sys.executable, "-m", "gateway"]
RATE = 1800.0
"""Story seconds per second: an hour's interval closes every two seconds."""
STORY_START = datetime(2026, 7, 1, tzinfo=UTC)
FAST_S = 600
GRANTED_W = 345_678.0
POISON_W = 456_789.0
STUCK_WH = 54_321_375
"""A counter that stands still, so that its one value must be found if it is anywhere; a float32
holds it exactly."""
RISING_FROM_WH = 1_000_000
PLUG_WH = 76_543_219
GAUGE = 30_517_924
"""A power nobody has [W]."""
HOURS = 5

# All on one worker: a second run at the same time would show its own poison on loopback.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("loopback-sniffer")]


@dataclass(frozen=True)
class Evidence:
    """All that one run left behind: what was sent, what was written, what it said.

    `others` are flows on loopback that are not known to be the gateway's; they may be anybody's.
    """

    coop: FakeCoop
    places: Mapping[str, bytes]
    others: Mapping[str, bytes]
    packets: bytes | None
    rows: list[object]


def settings_text(*, cloud: int, broker: int, meters: tuple[int, int], started: datetime) -> str:
    buses = "\n".join(
        f"""
[[modbus]]
name = "bus-{name}"
host = "127.0.0.1"
port = {port}

[[modbus.meter]]
name = "{name}"
map = "eastron_sdm630"
unit = 1
poll_every_s = 1
fuse_a = 2000
"""
        for name, port in zip(("grid", "secret"), meters, strict=True)
    )
    return f"""
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"

[cloud]
url = "http://127.0.0.1:{cloud}"
sync_every_s = 1
send_every_s = 1

[outbox]
commit_every_s = 1

[local_page]
enabled = false

[simulation]
machine_start = "{started.isoformat()}"
story_start = "{STORY_START.isoformat()}"
rate = {RATE}
fast_s = {FAST_S}
{buses}
[[mqtt]]
name = "mqtt"
broker = "127.0.0.1"
port = {broker}

[[mqtt.meter]]
name = "plug"
preset = "tasmota_energy"
topic = "plug1"
"""


def command(config: Path, *words: str) -> dict[str, object]:
    done = subprocess.run(
        [*GATEWAY, *words, "--config", str(config), "--json"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def registers(floats: Callable[[], Mapping[int, float]]) -> Callable[[int], bytes]:
    """An SDM630 that shows these floats, and 230 V where nothing is said."""
    usual = {0x00: 230.0, 0x02: 230.0, 0x04: 230.0, 0x3E: 1.0, 0x46: 50.0}

    def words(address: int) -> bytes:
        value = (usual | dict(floats())).get(address & ~1, 0.0)
        return struct.pack(">f", value)[2 * (address & 1) :][:2]

    return words


def run_a_gateway(directory: Path, *, is_granted: bool) -> Evidence:
    """Let a gateway live some hours; `is_granted` says yes to what is poison otherwise."""
    quantities = (Quantity.IMPORT_WH, Quantity.EXPORT_WH) if is_granted else (Quantity.IMPORT_WH,)
    coop = FakeCoop(
        offers=(
            offer(
                "own",
                purpose=Purpose.OWN_INSIGHT,
                resolution=Resolution.HOUR,
                quantities=quantities,
            ),
        )
    )
    started = datetime.now(tz=UTC)

    def risen_kwh(power_w: float) -> float:
        hours = RATE * (datetime.now(tz=UTC) - started).total_seconds() / 3600
        return (RISING_FROM_WH + power_w * hours) / 1000

    def grid() -> Mapping[int, float]:
        return {0x34: GAUGE, 0x48: risen_kwh(GRANTED_W), 0x4A: risen_kwh(POISON_W)}

    def secret() -> Mapping[int, float]:
        return {0x34: GAUGE, 0x48: STUCK_WH / 1000, 0x4A: STUCK_WH / 1000}

    story = SimulatedClock(machine_start=started, story_start=STORY_START, rate=RATE, fast_s=FAST_S)
    log = directory / "log"
    with ExitStack() as opened:
        server, url = opened.enter_context(serving(coop, story.now))
        grid_port = opened.enter_context(metering(registers(grid)))
        secret_port = opened.enter_context(metering(registers(secret)))
        broker_port = opened.enter_context(mosquitto())
        to_cloud = opened.enter_context(tapped(urlsplit(url).port or 0))
        to_broker = opened.enter_context(tapped(broker_port))
        # Meters and broker tell the gateway what is poison; all others must not.
        told = (grid_port, secret_port, broker_port, to_broker.port)
        sniffer = opened.enter_context(sniffing(told, (broker_port,)))
        config = directory / "gateway.toml"
        config.write_text(
            settings_text(
                cloud=to_cloud.port,
                broker=to_broker.port,
                meters=(grid_port, secret_port),
                started=started,
            ),
            encoding="utf-8",
        )
        paired = command(config, "pair", "--code", CLAIM_CODE)
        password = directory / "secret"
        password.write_text(str(paired["local_secret"]), encoding="utf-8")
        meters = ("grid", "secret", "plug") if is_granted else ("grid",)
        chosen = [word for meter in meters for word in ("--meter", meter)]
        command(config, "consent", "give", "own", "--secret-file", str(password), *chosen)
        with log.open("wb") as said:
            gateway = subprocess.Popen(
                [*GATEWAY, "run", "--verbose", "--config", str(config)], stdout=said, stderr=said
            )
            try:
                patience = time.monotonic() + 120
                while len(hours_of(coop, "grid")) < HOURS:
                    assert gateway.poll() is None, log.read_text()
                    assert time.monotonic() < patience, log.read_text()[-2000:]
                    payload = {"ENERGY": {"Total": PLUG_WH / 1000, "Power": GAUGE}}
                    publish(broker_port, "tele/plug1/SENSOR", json.dumps(payload))
                    time.sleep(0.3)
                state = directory / "state"
                shutil.copytree(
                    state, directory / "while_running", ignore=shutil.ignore_patterns("*.sock")
                )
                gateway.send_signal(signal.SIGTERM)
                assert gateway.wait(timeout=60) == 0
            finally:
                gateway.kill()
                gateway.wait()
        time.sleep(0.3)
    places = {
        f"{folder.name}/{path.name}": path.read_bytes()
        for folder in (state, directory / "while_running")
        for path in folder.iterdir()
    }
    places |= {"log": log.read_bytes(), "to the cloud": bytes(to_cloud.sent)}
    places |= {"to the broker": bytes(to_broker.sent)}
    places |= {f"captured body {at}": body for at, body in enumerate(server.captured)}
    others: dict[str, bytes] = {}
    known = (f">{to_cloud.port} ", f">{to_broker.port} ", f">{grid_port} ", f">{secret_port} ")
    for name, content in ({} if sniffer is None else sniffer.flows()).items():
        (places if any(port in name for port in known) else others)[f"packets {name}"] = content
    with sqlite3.connect(state / "gateway.sqlite") as database:
        rows = rows_of(database)
    database.close()
    return Evidence(
        coop=coop,
        places=places,
        others=others,
        packets=None if sniffer is None else sniffer.to_port(to_cloud.port),
        rows=rows,
    )


def hours_of(coop: FakeCoop, meter: str, quantity: Quantity = Quantity.IMPORT_WH) -> list[int]:
    """Energies that arrived of one meter [Wh]."""
    return [
        wh
        for (stream, _, _), (_, wh, _) in list(coop.readings.items())
        if (stream.meter, stream.quantity) == (meter, quantity)
    ]


def rows_of(database: sqlite3.Connection) -> list[object]:
    """Every value of every table, as SQLite reads it."""
    tables = [
        name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    ]
    return [
        value
        for table in tables
        for row in database.execute(f'SELECT * FROM "{table}"')  # noqa: S608  names from the schema
        for value in row
    ]


def near(content: bytes, energy_wh: int) -> list[bytes]:
    """Numbers in a text within 5 % of an energy: at this pace 0.1 s of delay are three minutes."""
    return [
        digits
        for layer in unpacked(content)
        for digits in re.findall(rb"(?<![0-9A-Za-z.+/_-])[0-9]{6}(?![0-9A-Za-z.+/_-])", layer)
        if abs(int(digits) - energy_wh) <= energy_wh // 20
    ]


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return run_a_gateway(tmp_path_factory.mktemp("withheld"), is_granted=False)


@pytest.fixture(scope="module")
def granted(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return run_a_gateway(tmp_path_factory.mktemp("granted"), is_granted=True)


POISON = (STUCK_WH, PLUG_WH, GAUGE)


@pytest.mark.parametrize("number", POISON)
def test_the_search_finds_a_number_however_it_is_hidden(number: int) -> None:
    for form, content in hide(number).items():
        assert places_of([number], {"here": content}), form
    assert places_of([number + 1_000], hide(number)) == []


def test_poison_is_in_no_packet_no_file_and_no_log(withheld: Evidence) -> None:
    assert len(hours_of(withheld.coop, "grid")) >= HOURS, "what is granted must flow"
    assert {stream.meter for stream, _, _ in withheld.coop.readings} == {"grid"}
    assert places_of(POISON, {**withheld.places, **withheld.others}) == []


def test_no_energy_of_a_poisoned_counter_is_anywhere(withheld: Evidence) -> None:
    for name, content in withheld.places.items():
        assert near(content, int(POISON_W)) == [], name
    numbers = [value for value in withheld.rows if isinstance(value, int)]
    assert [value for value in numbers if abs(value - POISON_W) < POISON_W / 20] == []
    assert any(name.endswith("-wal") for name in withheld.places), "the log ahead was looked at too"


def test_the_same_search_finds_all_of_it_once_it_is_granted(granted: Evidence) -> None:
    found = places_of((STUCK_WH, PLUG_WH), granted.places)
    assert {
        number for number in (STUCK_WH, PLUG_WH) if any(str(number) in hit for hit in found)
    } == {
        STUCK_WH,
        PLUG_WH,
    }
    assert any("gateway.sqlite" in hit for hit in found)
    assert near(granted.places["to the cloud"], int(POISON_W)), "in what the proxy recorded"
    assert any(
        near(content, int(POISON_W)) for name, content in granted.places.items() if "body" in name
    )


def test_packets_were_captured_and_hold_what_is_granted(granted: Evidence) -> None:
    if granted.packets is None:
        pytest.skip("no right to capture packets here (CAP_NET_RAW); the proxies recorded instead")
    assert near(granted.packets, int(POISON_W))
    assert near(granted.packets, int(GRANTED_W))


def test_what_the_wire_carries_decodes_to_granted_streams_only(withheld: Evidence) -> None:
    batches = [
        codec.decode(body, Batch)
        for name, body in withheld.places.items()
        if name.startswith("captured body") and body.startswith(b"{") and b'"parts"' in body
    ]
    assert batches
    streams = {str(part.stream) for batch in batches for part in batch.parts}
    assert streams == {"grid/import_wh/own_insight"}
