"""Readings a second from libmodbus and mosquitto, beside a bare client in the same run.

Also the bus time of an SDM630 by plan and register by register, and how long the gateway's
meter code takes to import in a fresh interpreter.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from pymodbus.client import AsyncModbusTcpClient

from gateway.catalogue import load_map, load_preset
from gateway.decode.meter_map import MeterMap, SerialDefaults
from gateway.meters.modbus_link import ModbusLink, TcpAddress
from gateway.meters.mqtt import BrokerAddress, ListenedMeter, MqttSource
from gateway.meters.read_plan import Block, plan_reads, wire_time_s
from gateway.meters.reader import MeterReader
from tests.gateway.meters.wires import libmodbus_program, libmodbus_server, mosquitto, needed

SLICES = 3
"""Ours and the bare client take turns; the best turn of each counts."""

ROUNDS = 500
MESSAGES = 4_000
PAYLOAD = json.dumps(
    {
        "Time": "2026-03-01T12:00:00",
        "ENERGY": {
            "Total": 3.185,
            "Power": 512,
            "Voltage": 231,
            "Current": 2.294,
            "Factor": 0.97,
        },
    }
).encode()


def run() -> list[dict[str, object]]:
    """Measure, and return one row per measurement."""
    with tempfile.TemporaryDirectory() as folder:
        modbus = asyncio.run(_modbus(libmodbus_program(Path(folder))))
    with mosquitto("max_queued_messages 0\n") as port:
        mqtt = asyncio.run(_mqtt(port))
    return [modbus, mqtt, _bus_time(), _imports()]


async def _modbus(program: Path) -> dict[str, object]:
    found = load_map("eastron_sdm630")
    meter_map: MeterMap = replace(found, limits=replace(found.limits, pause_s=0.0))
    blocks = plan_reads(meter_map).requests
    ours_s, bare_s, ours_cpu_s, bare_cpu_s = [], [], [], []
    with libmodbus_server(program, meter_map.golden[0].registers) as port:
        for _ in range(SLICES):
            link = ModbusLink(TcpAddress(host="127.0.0.1", port=port))
            reader = MeterReader(link, meter_map, 1)
            reading = await reader.read()
            began, busy = time.perf_counter(), time.process_time()
            for _ in range(ROUNDS):
                reading = await reader.read()
            ours_s.append(time.perf_counter() - began)
            ours_cpu_s.append(time.process_time() - busy)
            link.close()
            client = AsyncModbusTcpClient("127.0.0.1", port=port)
            await client.connect()
            began, busy = time.perf_counter(), time.process_time()
            for _ in range(ROUNDS):
                for block in blocks:
                    await client.read_input_registers(block.address, count=block.count, device_id=1)
            bare_s.append(time.perf_counter() - began)
            bare_cpu_s.append(time.process_time() - busy)
            client.close()
    return {
        "name": "meters: SDM630 read whole from libmodbus over TCP",
        "readings_per_s": round(ROUNDS / min(ours_s)),
        "quantities_per_s": round(ROUNDS * len(reading.quantities) / min(ours_s)),
        "bare_client_per_s": round(ROUNDS / min(bare_s)),
        "ratio_to_bare_client": round(min(bare_s) / min(ours_s), 2),
        "cpu_us_per_reading": round(1e6 * min(ours_cpu_s) / ROUNDS),
        "bare_client_cpu_us": round(1e6 * min(bare_cpu_s) / ROUNDS),
    }


async def _mqtt(port: int) -> dict[str, object]:
    ours_per_s, bare_s, dropped = [], [], 0
    for _ in range(SLICES):
        spent_s, lost = await _our_mqtt(port)
        ours_per_s.append((MESSAGES - lost) / spent_s)
        dropped += lost
        bare_s.append(await asyncio.to_thread(_bare_mqtt, port))
    return {
        "name": "meters: Tasmota messages from mosquitto, QoS 1",
        "readings_per_s": round(max(ours_per_s)),
        "dropped": dropped,
        "bare_client_per_s": round(MESSAGES / min(bare_s)),
        "ratio_to_bare_client": round(max(ours_per_s) * min(bare_s) / MESSAGES, 2),
    }


async def _our_mqtt(port: int) -> tuple[float, int]:
    """Time until all messages are samples or counted as dropped, and how many were dropped."""
    meter = ListenedMeter(meter="plug", preset=load_preset("tasmota_energy"), device="plug")
    broker = BrokerAddress(host="127.0.0.1", port=port)
    source = MqttSource("broker", broker, (meter,), client_id="bench")
    stream = source.samples()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(1.0)
    publisher = threading.Thread(target=_publish, args=(port,))
    began = time.perf_counter()
    publisher.start()
    await first
    taken = 1
    while taken + source.health().dropped < MESSAGES:
        await anext(stream)
        taken += 1
    spent_s = time.perf_counter() - began
    publisher.join()
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind the port
    return spent_s, source.health().dropped


def _publish(port: int) -> None:
    """Publish with mosquitto's own client, which takes one payload a line."""
    program = needed("mosquitto_pub", "mosquitto-clients")
    address = ["-h", "127.0.0.1", "-p", str(port)]
    command = [program, *address, "-t", "tele/plug/SENSOR", "-q", "1", "-l"]
    subprocess.run(command, input=(PAYLOAD + b"\n") * MESSAGES, check=True)


def _bare_mqtt(port: int) -> float:
    """The same messages to a client that only parses them."""
    done, ready = threading.Event(), threading.Event()
    count = 0

    def on_message(_client: Client, _data: object, message: object) -> None:
        nonlocal count
        json.loads(message.payload)  # type: ignore[attr-defined]  # paho's message
        count += 1
        if count == MESSAGES:
            done.set()

    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-bare")
    client.on_message = on_message
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.subscribe("tele/plug/SENSOR", qos=1)
    client.loop_start()
    ready.wait(10)
    began = time.perf_counter()
    publisher = threading.Thread(target=_publish, args=(port,))
    publisher.start()
    done.wait(60)
    spent = time.perf_counter() - began
    publisher.join()
    client.disconnect()
    client.loop_stop()
    return spent


def _bus_time() -> dict[str, object]:
    meter_map = load_map("eastron_sdm630")
    settings = meter_map.serial or SerialDefaults()
    planned = [wire_time_s(block, settings) for block in plan_reads(meter_map).requests]
    single = [
        wire_time_s(
            Block(function=point.function, address=point.address, count=point.type.registers),
            settings,
        )
        for point in meter_map.points.values()
    ]
    return {
        "name": "meters: bus time of an SDM630 at 9600 baud, by calculation",
        "planned_ms": round(1000 * sum(planned)),
        "register_by_register_ms": round(1000 * sum(single)),
        "ratio": round(sum(single) / sum(planned), 1),
    }


def _imports() -> dict[str, object]:
    """Import times in fresh interpreters, the least of five."""

    def least_ms(statement: str) -> float:
        code = (
            f"import time; began = time.perf_counter(); {statement}; "
            "print(time.perf_counter() - began)"
        )
        spent = (
            float(
                subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
            )
            for _ in range(5)
        )
        return round(1000 * min(spent), 1)

    bare = least_ms("import pymodbus.client, paho.mqtt.client")
    ours = least_ms("import gateway.meters.modbus, gateway.meters.mqtt, gateway.catalogue")
    return {
        "name": "meters: import of bus and broker code",
        "import_ms": ours,
        "bare_clients_ms": bare,
        "ratio_to_bare_clients": round(ours / bare, 2),
    }


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(json.dumps(row) + "\n")
