"""What other machines in the home see: Home Assistant over a real broker, figures on loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from gateway import daemon as daemon_module
from gateway.health import LoopProgress, notify_systemd, watchdog_every_s
from gateway.home_assistant import HomeAssistantLink
from gateway.meters.mqtt import BrokerAddress
from gateway.meters.source import Sample
from gateway.metrics import metrics_text
from tests.gateway.home import Home
from tests.ports import free_port


@pytest.fixture
def broker(tmp_path: Path):
    program = shutil.which(
        "mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/opt/homebrew/sbin"
    )
    assert program, "mosquitto is missing; run: apt-get install mosquitto"
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
    process = subprocess.Popen(
        [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.1).close()
            break
        except OSError:
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give()
    home.live(60, quantities=("import_wh", "export_wh"))
    return home


async def test_home_assistant_finds_the_gateway_and_its_switch_pauses(
    home: Home, broker: int
) -> None:
    link = HomeAssistantLink(home.daemon, BrokerAddress(host="127.0.0.1", port=broker))
    heard: dict[str, bytes] = {}
    client = Client(CallbackAPIVersion.VERSION2, client_id="assistant")
    client.on_message = lambda _client, _user, message: heard.update(
        {message.topic: message.payload}
    )
    client.connect("127.0.0.1", broker)
    client.subscribe("#", qos=1)
    client.loop_start()
    serving = asyncio.create_task(link.serve())
    try:
        await until(lambda: link.state_topic in heard and link.discovery_topic in heard)
        config = json.loads(heard[link.discovery_topic])
        parts = config["components"]
        assert parts["main_import_wh"]["device_class"] == "energy"
        assert parts["main_import_wh"]["state_class"] == "total_increasing"
        assert {"main_import_wh", "main_export_wh", "sending", "leaves"} <= set(parts)
        assert heard[config["availability_topic"]] == b"online"
        assert json.loads(heard[link.state_topic])["leaves"] == "group_tariff"

        client.publish(link.command_topic, "OFF", qos=1)
        await until(lambda: home.daemon.store.fact("paused") is not None)
        client.publish(link.command_topic, "GIVE", qos=1)
        client.publish(link.command_topic, "ON", qos=1)
        await until(lambda: home.daemon.store.fact("paused") is None)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await until(lambda: heard.get(config["availability_topic"]) == b"offline")
        client.disconnect()
        client.loop_stop()


def state_of(home: Home) -> dict[str, Any]:
    return HomeAssistantLink(home.daemon, BrokerAddress(host="127.0.0.1", port=1)).state()


def test_a_momentary_zero_or_a_spike_never_reaches_home_assistant(home: Home) -> None:
    before = state_of(home)["meters"]["main"]
    for odd in (0, 999_000_000):
        home.clock.advance(10)
        told: dict[str, int | float] = {"import_wh": odd, "export_wh": odd}
        home.daemon.take(Sample(meter="main", taken_at=home.clock.at, quantities=told))
        assert state_of(home)["meters"]["main"] == before
    home.live(60, quantities=("import_wh", "export_wh"))
    assert state_of(home)["meters"]["main"]["import_wh"] > before["import_wh"]


def test_home_assistant_says_that_nothing_leaves_once_the_log_contradicts_itself(
    home: Home,
) -> None:
    assert state_of(home)["trouble"] == "OFF"
    home.daemon.store.set_fact("fork", b"it shrank")
    state = state_of(home)
    assert state["leaves"] == "nothing"
    assert state["trouble"] == "ON"
    assert "it shrank" in state["why"][0]


async def test_the_broker_is_not_asked_to_keep_counters(home: Home, broker: int) -> None:
    link = HomeAssistantLink(home.daemon, BrokerAddress(host="127.0.0.1", port=broker))
    kept: dict[str, bool] = {}
    client = Client(CallbackAPIVersion.VERSION2, client_id="late")
    client.on_message = lambda _client, _user, message: kept.update({message.topic: message.retain})
    serving = asyncio.create_task(link.serve())
    try:
        await until(lambda: link._loop is not None)
        client.connect("127.0.0.1", broker)
        client.loop_start()
        client.subscribe("commonwatt/#")
        await until(lambda: link.state_topic in kept)
        client.unsubscribe("commonwatt/#")
        kept.clear()
        client.subscribe("#")
        await until(lambda: link.discovery_topic in kept)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        client.disconnect()
        client.loop_stop()
    assert kept[link.discovery_topic]
    assert not kept.get(link.state_topic, False)


async def until(true, patience_s: float = 15.0) -> None:
    ends = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.05)


async def test_figures_are_plain_text_on_loopback_and_name_no_reading(tmp_path: Path) -> None:
    port = free_port()
    home = Home(tmp_path, extra=f"\n[metrics]\nport = {port}\n")
    home.pair()
    home.give()
    home.live(3600, quantities=("import_wh",))
    home.flush()
    total_wh = int(home.totals["main", "import_wh"])
    stop = asyncio.Event()
    running = asyncio.create_task(home.daemon.run(stop))
    try:
        await asyncio.sleep(0.3)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
    finally:
        stop.set()
        await running
    assert answer.startswith("HTTP/1.1 200")
    assert "commonwatt_gateway_readings_read_total 60" in answer
    assert 'verdict="ok"' in answer
    assert str(total_wh) not in answer
    assert str(total_wh)[:5] not in metrics_text(home.daemon)


def test_the_watchdog_goes_hungry_when_one_loop_hangs() -> None:
    now_s = [0.0]
    progress = LoopProgress(monotonic_s=lambda: now_s[0])
    progress.expect("commit", 60)
    progress.expect("send", 60)
    now_s[0] = 50.0
    progress.turned("commit")
    assert progress.stuck() == []
    now_s[0] = 70.0
    assert progress.stuck() == ["send"]


def test_systemd_is_told_in_one_datagram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert notify_systemd("READY=1")
        assert listener.recv(100) == b"READY=1"
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not notify_systemd("READY=1")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_every_s() == 15.0


async def test_a_taken_port_or_a_stuck_disk_does_not_stop_the_readings(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        home = Home(tmp_path)
        text = (tmp_path / "gateway.toml").read_text(encoding="utf-8")
        text = text.replace("enabled = false", f"port = {port}")
        (tmp_path / "gateway.toml").write_text(f"{text}\n[metrics]\nport = {port}\n", "utf-8")
        home.cut_power()
        home.pair()
        home.give()
        home.daemon.store._connection.execute("PRAGMA query_only = ON")
        stop = asyncio.Event()
        running = asyncio.create_task(home.daemon.run(stop))
        await asyncio.sleep(0.5)
        home.clock.step(100)
        home.live(3600)
        await asyncio.sleep(1.5)
        assert not running.done()
        assert {"page", "metrics"} <= set(home.daemon.problems)
        home.daemon.store._connection.execute("PRAGMA query_only = OFF")
        stop.set()
        await running
    assert home.daemon.store.waiting() > 0


async def test_systemd_hears_nothing_while_a_loop_hangs_and_hears_again_once_it_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "TICK_S", 0.02)
    home = Home(tmp_path, extra="\n[outbox]\ncommit_every_s = 1\n")
    home.pair()
    later_s = 0.0
    home.daemon.progress.monotonic_s = lambda: time.monotonic() + later_s
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(tmp_path / "notify"))
    ear.setblocking(False)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    def heard() -> list[bytes]:
        said = []
        while True:
            try:
                said.append(ear.recv(100))
            except BlockingIOError:
                return said

    stop = asyncio.Event()
    running = asyncio.create_task(home.daemon.run(stop))
    with ear:
        fed: list[bytes] = []
        await until(lambda: fed.extend(heard()) or b"WATCHDOG=1" in fed)
        assert b"READY=1" in fed
        await home.daemon._writing.acquire()
        # Past the deadline of the loop that writes, and before all others.
        later_s = 120.0
        await until(lambda: home.daemon.progress.stuck() == ["commit"])
        await asyncio.sleep(0.1)
        heard()
        await asyncio.sleep(0.3)
        assert heard() == []
        home.daemon._writing.release()
        await until(lambda: b"WATCHDOG=1" in heard())
        stop.set()
        await running
        await until(lambda: b"STOPPING=1" in heard())
    home.daemon.store.close()
