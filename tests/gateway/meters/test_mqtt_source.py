"""A real broker as a source of samples."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.catalogue import load_preset
from gateway.meters import mqtt as mqtt_module
from gateway.meters.mqtt import (
    QUEUE_MESSAGES_MAX,
    BrokerAddress,
    ListenedMeter,
    MqttSource,
    _Message,
    why_unreachable,
)
from gateway.meters.source import MeterCondition, Sample
from tests.gateway.meters.wires import mosquitto, publish
from tests.ports import free_port

PAYLOAD = json.dumps({"ENERGY": {"Total": 3.185, "Power": 512, "Voltage": 231}})


def source_on(port: int, *meters: ListenedMeter, name: str = "test") -> MqttSource:
    return MqttSource(
        "broker", BrokerAddress(host="127.0.0.1", port=port), meters, client_id=f"cw-{name}"
    )


def plug(device: str = "kettle") -> ListenedMeter:
    return ListenedMeter(meter=device, preset=load_preset("tasmota_energy"), device=device)


@contextlib.asynccontextmanager
async def listening(source: MqttSource) -> AsyncIterator[asyncio.Queue[Sample]]:
    """Run a source in the background and wait until it is connected."""
    samples: asyncio.Queue[Sample] = asyncio.Queue()

    async def listen() -> None:
        async for sample in source.samples():
            await samples.put(sample)

    task = asyncio.create_task(listen())
    try:
        await until(lambda: source.health().connected)
        await asyncio.sleep(0.1)
        yield samples
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "this did not come about in time"
        await asyncio.sleep(0.02)


async def say(port: int, topic: str, payload: str, *more: str) -> None:
    await asyncio.to_thread(publish, port, topic, payload, *more)


async def test_a_message_from_another_client_becomes_a_sample() -> None:
    with mosquitto() as port:
        source = source_on(port, plug())
        async with listening(source) as samples:
            await say(port, "tele/kettle/SENSOR", PAYLOAD)
            sample = await asyncio.wait_for(samples.get(), 5)
            assert sample.meter == "kettle"
            assert sample.quantities == {"import_wh": 3185, "power_w": 512.0, "voltage_l1_v": 231.0}
            assert sample.taken_at.utcoffset() is not None
            assert source.health().meters["kettle"].condition is MeterCondition.OK
        assert not source.health().connected


async def test_other_devices_are_not_listened_to() -> None:
    with mosquitto() as port:
        async with listening(source_on(port, plug())) as samples:
            await say(port, "tele/other/SENSOR", PAYLOAD)
            await say(port, "tele/kettle/STATE", PAYLOAD)
            await say(port, "tele/kettle/SENSOR", PAYLOAD)
            assert (await asyncio.wait_for(samples.get(), 5)).meter == "kettle"
            assert samples.empty()


async def test_a_retained_message_is_of_unknown_age_and_left_out() -> None:
    with mosquitto() as port:
        await say(port, "tele/kettle/SENSOR", PAYLOAD, "-r")
        async with listening(source_on(port, plug())) as samples:
            await asyncio.sleep(0.3)
            assert samples.empty()
            await say(port, "tele/kettle/SENSOR", PAYLOAD, "-r")
            assert (await asyncio.wait_for(samples.get(), 5)).quantities["import_wh"] == 3185


async def test_phases_that_come_one_by_one_are_added_up_once_all_are_known() -> None:
    meter = ListenedMeter(meter="house", preset=load_preset("shelly_gen1_3em"), device="s3em")
    with mosquitto() as port:
        async with listening(source_on(port, meter)) as samples:
            for phase, total in ((0, "1000.2"), (1, "2000.4"), (2, "3000.6"), (0, "1005.0")):
                await say(port, f"shellies/s3em/emeter/{phase}/total", total)
            read = [(await asyncio.wait_for(samples.get(), 5)).quantities for _ in range(4)]
    assert [sample.get("import_wh") for sample in read] == [None, None, 6001, 6006]


async def test_an_unreadable_payload_is_a_fault_of_the_meter_and_not_of_the_source() -> None:
    with mosquitto() as port:
        source = source_on(port, plug())
        async with listening(source) as samples:
            await say(port, "tele/kettle/SENSOR", '{"ENERGY": 1200012345678')
            await until(lambda: source.health().meters["kettle"].last_fault)
            fault = source.health().meters["kettle"]
            assert fault.condition is MeterCondition.FAILING
            assert "1200012345678" not in fault.last_fault
            await say(port, "tele/kettle/SENSOR", PAYLOAD)
            await asyncio.wait_for(samples.get(), 5)
            assert source.health().meters["kettle"].condition is MeterCondition.OK


async def test_the_last_will_of_a_device_is_heeded() -> None:
    with mosquitto() as port:
        source = source_on(port, plug())
        async with listening(source):
            await say(port, "tele/kettle/LWT", "Offline")
            await until(lambda: source.health().meters["kettle"].last_fault)
            assert source.health().meters["kettle"].last_fault == "the device is offline"


async def test_a_device_that_announces_itself_is_subscribed_to_and_read() -> None:
    preset = load_preset("home_assistant_discovery")
    meter = ListenedMeter(meter="plug", preset=preset, device="plug_1")
    topic, config = preset.golden[0].messages[0]
    with mosquitto() as port:
        await say(port, topic, config, "-r")
        source = source_on(port, meter)
        async with listening(source) as samples:
            await until(lambda: "plugs/1" in [read.what for read in source.plan().reads])
            await asyncio.sleep(0.2)
            await say(port, "plugs/1", '{"energy": 1.5}')
            assert (await asyncio.wait_for(samples.get(), 5)).quantities == {"import_wh": 1500}


@pytest.mark.slow
async def test_a_broker_that_is_away_is_named_and_come_back_to() -> None:
    port = free_port()
    source = source_on(port, plug())
    samples: asyncio.Queue[Sample] = asyncio.Queue()

    async def listen() -> None:
        async for sample in source.samples():
            await samples.put(sample)

    task = asyncio.create_task(listen())
    await until(lambda: source.health().meters["kettle"].last_fault)
    assert "cannot be reached" in source.health().meters["kettle"].last_fault
    for _ in range(2):
        with mosquitto(port=port):
            await until(lambda: source.health().connected, 20)
            await asyncio.sleep(0.1)
            await say(port, "tele/kettle/SENSOR", PAYLOAD)
            assert (await asyncio.wait_for(samples.get(), 5)).quantities["import_wh"] == 3185
        await until(lambda: not source.health().connected)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_a_lost_session_is_resumed_by_itself() -> None:
    """The broker throws the client out because another one comes with its name."""
    with mosquitto() as port:
        source = source_on(port, plug(), name="twin")
        async with listening(source) as samples:
            other = source_on(port, plug("pot"), name="twin")
            async with listening(other):
                await until(lambda: not source.health().connected)
            await until(lambda: source.health().connected, 20)
            await asyncio.sleep(0.1)
            await say(port, "tele/kettle/SENSOR", PAYLOAD)
            await asyncio.wait_for(samples.get(), 5)


async def test_a_refused_password_is_told_without_repeating_it() -> None:
    with mosquitto("allow_anonymous false\n") as port:
        broker = BrokerAddress(host="127.0.0.1", port=port, username="u", password="secret-word")
        source = MqttSource("broker", broker, (plug(),), client_id="cw-refused")
        task = asyncio.create_task(anext(source.samples()))
        await until(lambda: source.health().meters["kettle"].last_fault)
        fault = source.health().meters["kettle"].last_fault
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "Not authorized" in fault
    assert "secret-word" not in fault


async def test_a_reader_that_is_too_slow_loses_the_oldest_and_is_told_how_many() -> None:
    source = source_on(1, plug())
    inbox = deque(
        _Message(
            topic="tele/kettle/SENSOR",
            payload=str(number).encode(),
            retained=False,
            at=datetime.now(UTC),
        )
        for number in range(QUEUE_MESSAGES_MAX + 5)
    )
    source._take_in(inbox, asyncio.Event(), None)  # type: ignore[arg-type]  # not used here
    assert source.health().dropped == 5
    assert source._queue[0].payload == b"5"


def test_a_device_that_falls_silent_is_failing_though_nothing_said_so() -> None:
    now = [datetime(2026, 3, 1, 12, tzinfo=UTC)]
    source = MqttSource(
        "broker",
        BrokerAddress(host="127.0.0.1"),
        (plug(),),
        client_id="cw-silent",
        clock=lambda: now[0],
    )
    topic, payload = "tele/kettle/SENSOR", PAYLOAD.encode()
    message = _Message(topic=topic, payload=payload, retained=False, at=now[0])
    assert len(source._samples_of(message)) == 1
    assert source.health().meters["kettle"].condition is MeterCondition.OK
    now[0] += timedelta(seconds=901)
    health = source.health().meters["kettle"]
    assert health.condition is MeterCondition.FAILING
    assert health.last_fault == "nothing heard for 901 s; usual is 300 s"


async def test_a_broker_that_hangs_up_is_one_line_in_the_journal_however_often_it_does(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What plain MQTT to a port for TLS comes to."""
    monkeypatch.setattr(mqtt_module, "BACKOFF_MIN_S", 0.02)
    monkeypatch.setattr(mqtt_module, "BACKOFF_MAX_S", 0.05)
    calls = []

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = source_on(port, plug(), name="attic")
    with caplog.at_level(logging.INFO, logger="commonwatt.mqtt"):
        task = asyncio.create_task(anext(source.samples()))
        await until(lambda: len(calls) >= 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    server.close()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "hung up without an answer; does it want TLS?" in line
    assert "127.0.0.1" not in line
    assert source.health().meters["kettle"].condition is MeterCondition.FAILING


def test_why_a_broker_cannot_be_reached_names_the_setting_to_look_at() -> None:
    expired = ssl.SSLCertVerificationError(1, "certificate verify failed")
    expired.verify_message = "certificate has expired"
    assert "certificate has expired" in why_unreachable(expired)
    assert "ca_file" in why_unreachable(expired)
    assert "check port" in why_unreachable(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"))
    assert why_unreachable(TimeoutError()) == "does not answer in time"
    refused = ConnectionRefusedError(111, "Connection refused")
    assert why_unreachable(refused) == "cannot be reached (Connection refused)"
