"""Every map, read from Modbus servers that are not ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP
from typer.testing import CliRunner

from gateway.catalogue import load_map, map_names
from gateway.decode.meter_map import MeterMap, RegisterKey, SerialDefaults
from gateway.decode.registers import encode_number
from gateway.errors import BadMeterMap, HungUp, LinkDown, MeterFault, MeterSilent
from gateway.meters.modbus_link import ModbusLink, RtuAddress, RtuOverTcpAddress, TcpAddress
from gateway.meters.reader import MeterReader, MeterReading
from tests.gateway.meters.late_bridge import LateBridge
from tests.gateway.meters.test_late_replies import ADDRESSES, self_naming_map
from tests.gateway.meters.wires import (
    free_port,
    libmodbus_server,
    pymodbus_server,
    serial_pair,
)

SUNSPEC_BASE = 40_000
PLAIN = [name for name in map_names() if not name.startswith("sunspec")]


def image_of(meter_map: MeterMap) -> dict[RegisterKey, int]:
    """The golden vector, with what lies between as zero, as in a meter."""
    image: dict[RegisterKey, int] = {}
    for block in MeterReader(ModbusLink(TcpAddress(host="127.0.0.1")), meter_map, 1).plan.requests:
        for offset in range(block.count):
            image[block.function, block.address + offset] = 0
    return image | dict(meter_map.golden[0].registers)


def sunspec_image(meter_map: MeterMap, model_id: int) -> dict[RegisterKey, int]:
    """A SunSpec device: marker, common model, the meter's model, end."""
    length = 105 if model_id < 210 else 124
    common = {0: 1, 1: 66, 50: 0x534E, 51: 0x3432}
    words = {0: 0x5375, 1: 0x6E53}
    words |= {2 + offset: 0 for offset in range(68)} | {2 + at: word for at, word in common.items()}
    meter = {address: word for (_, address), word in meter_map.golden[0].registers.items()}
    block = dict.fromkeys(range(length + 2), 0) | meter | {0: model_id, 1: length}
    words |= {70 + offset: word for offset, word in block.items()}
    words |= {72 + length: 0xFFFF, 73 + length: 0}
    return {(3, SUNSPEC_BASE + offset): word for offset, word in words.items()}


async def read_once(link: ModbusLink, meter_map: MeterMap, unit: int) -> MeterReading:
    try:
        return await MeterReader(link, meter_map, unit).read()
    finally:
        link.close()


@pytest.mark.parametrize("name", PLAIN)
async def test_libmodbus_over_tcp_gives_the_golden_quantities(name: str, libmodbus: Path) -> None:
    meter_map = load_map(name)
    with libmodbus_server(libmodbus, meter_map.golden[0].registers) as port:
        link = ModbusLink(TcpAddress(host="127.0.0.1", port=port))
        reading = await read_once(link, meter_map, 1)
    assert reading.quantities == meter_map.golden[0].expect
    assert reading.absent == ()


@pytest.fixture(scope="module")
def rtu_bus() -> Iterator[str]:
    """One serial line with every map's meter on it, each at an address of its own."""
    images = {unit: image_of(load_map(name)) for unit, name in enumerate(PLAIN, start=1)}
    with serial_pair() as (ours, theirs), pymodbus_server(images, kind="rtu", device=theirs):
        yield ours


@pytest.mark.parametrize("name", PLAIN)
async def test_a_pymodbus_server_on_a_serial_line_gives_the_golden_quantities(
    name: str, rtu_bus: str
) -> None:
    meter_map = load_map(name)
    link = ModbusLink(RtuAddress(device=rtu_bus, settings=SerialDefaults()))
    reading = await read_once(link, meter_map, PLAIN.index(name) + 1)
    assert reading.quantities == meter_map.golden[0].expect


async def test_a_bridge_gives_the_golden_quantities() -> None:
    meter_map = load_map("carlo_gavazzi_em340")
    with pymodbus_server({7: image_of(meter_map)}, kind="rtu_over_tcp") as port:
        address = RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())
        reading = await read_once(ModbusLink(address), meter_map, 7)
    assert reading.quantities == meter_map.golden[0].expect


@pytest.mark.parametrize("model_id", [201, 202, 203, 204, 211, 212, 213, 214])
async def test_sunspec_meters_are_found_and_read_as_pysunspec2_reads_them(model_id: int) -> None:
    by_default = load_map("sunspec")
    right = load_map("sunspec" if model_id < 210 else "sunspec_float")
    with pymodbus_server({1: sunspec_image(right, model_id)}) as port:
        address = TcpAddress(host="127.0.0.1", port=port)
        reading = await read_once(ModbusLink(address), by_default, 1)
        device = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=port)
        try:
            device.scan()
            oracle = device.models[model_id][0]
            assert reading.identity == device.common[0].SN.cvalue
            read = {
                name: getattr(oracle, theirs).cvalue
                for name, theirs in (
                    ("import_wh", "TotWhImp"),
                    ("export_wh", "TotWhExp"),
                    ("power_w", "W"),
                    ("power_l3_w", "WphC"),
                    ("voltage_l1_v", "PhVphA"),
                    ("current_l2_a", "AphB"),
                    ("frequency_hz", "Hz"),
                )
            }
        finally:
            device.close()
    assert reading.quantities == right.golden[0].expect
    assert reading.identity == "SN42"
    for name, number in read.items():
        tolerance = 0.5 if name.endswith("_wh") else 0.001
        assert reading.quantities[name] == pytest.approx(number, abs=tolerance)


async def test_a_sunspec_counter_at_zero_is_one_the_device_does_not_have() -> None:
    meter_map = load_map("sunspec")
    image = sunspec_image(meter_map, 203)
    image |= {(3, SUNSPEC_BASE + 70 + offset): 0 for offset in (38, 39)}
    with pymodbus_server({1: image}) as port:
        reading = await read_once(ModbusLink(TcpAddress(host="127.0.0.1", port=port)), meter_map, 1)
    assert "export_wh" not in reading.quantities
    assert reading.quantities["import_wh"] == meter_map.golden[0].expect["import_wh"]
    assert reading.without_value == ("export_wh",)


async def test_a_sunspec_list_without_an_end_still_gives_the_meter_and_its_own_serial() -> None:
    """An inverter with a meter inside: two common models, and nothing after the last model."""
    meter_map = load_map("sunspec")
    alone = sunspec_image(meter_map, 203)
    inverter = {(3, SUNSPEC_BASE + offset): 0 for offset in range(70)}
    inverter |= {(3, SUNSPEC_BASE): 0x5375, (3, SUNSPEC_BASE + 1): 0x6E53}
    inverter |= {
        (3, SUNSPEC_BASE + 2): 1,
        (3, SUNSPEC_BASE + 3): 66,
        (3, SUNSPEC_BASE + 52): 0x5A5A,
    }
    meter = {
        (function, address + 68): word
        for (function, address), word in alone.items()
        if SUNSPEC_BASE + 2 <= address < SUNSPEC_BASE + 72 + 105
    }
    with pymodbus_server({1: inverter | meter}) as port:
        reading = await read_once(ModbusLink(TcpAddress(host="127.0.0.1", port=port)), meter_map, 1)
    assert reading.quantities == meter_map.golden[0].expect
    assert reading.identity == "SN42"


async def test_sunspec_numbers_that_are_not_implemented_are_missing_not_zero() -> None:
    meter_map = load_map("sunspec")
    image = sunspec_image(meter_map, 201)
    for offset in (3, 4, 5, 8, 16, 33):
        image[3, SUNSPEC_BASE + 70 + offset] = 0x8000
    image[3, SUNSPEC_BASE + 70 + 22] = 0x8000
    with pymodbus_server({1: image}) as port:
        address = TcpAddress(host="127.0.0.1", port=port)
        quantities = (await read_once(ModbusLink(address), meter_map, 1)).quantities
    missing = {"current_l1_a", "voltage_l1_v", "frequency_hz", "power_factor", "power_w"}
    assert missing.isdisjoint(quantities)
    assert quantities["import_wh"] == 12_345_670


async def test_a_device_without_sunspec_says_so() -> None:
    with pymodbus_server({1: {(3, 0): 0, (3, 1): 0, (3, 2): 0, (3, 3): 0}}) as port:
        link = ModbusLink(TcpAddress(host="127.0.0.1", port=port))
        with pytest.raises(MeterFault, match="no SunSpec marker"):
            await read_once(link, load_map("sunspec"), 1)


async def test_registers_a_meter_lacks_are_learned_and_the_rest_is_read() -> None:
    """The EM24 without an export counter answers exception 2 to any block that touches it."""
    meter_map = load_map("carlo_gavazzi_em24")
    image = image_of(meter_map)
    for address in range(0x50, 0x80):
        image.pop((4, address), None)
    with pymodbus_server({1: image}) as port:
        link = ModbusLink(TcpAddress(host="127.0.0.1", port=port))
        reader = MeterReader(link, meter_map, 1)
        first = await reader.read()
        asked = link.requests
        again = await reader.read()
        link.close()
    expected = {k: v for k, v in meter_map.golden[0].expect.items() if k != "export_wh"}
    assert first.quantities == again.quantities == expected
    assert first.absent == ()
    assert link.requests - asked == len(reader.plan.requests)


async def test_a_required_register_that_is_refused_is_named() -> None:
    meter_map = load_map("eastron_sdm630")
    image = image_of(meter_map)
    for address in range(0x48, 0x50):
        image.pop((4, address), None)
    with pymodbus_server({1: image}) as port:
        reading = await read_once(ModbusLink(TcpAddress(host="127.0.0.1", port=port)), meter_map, 1)
    assert reading.absent == ("export_wh", "import_wh")
    assert reading.quantities["frequency_hz"] == meter_map.golden[0].expect["frequency_hz"]


async def test_a_register_that_holds_no_number_is_named() -> None:
    meter_map = load_map("eastron_sdm630")
    image = image_of(meter_map) | {(4, 0x46): 0x7FC0, (4, 0x47): 0}
    with pymodbus_server({1: image}) as port:
        reading = await read_once(ModbusLink(TcpAddress(host="127.0.0.1", port=port)), meter_map, 1)
    assert "frequency_hz" not in reading.quantities
    assert (reading.absent, reading.without_value) == ((), ("frequency_hz",))


async def test_what_was_refused_while_a_meter_started_up_is_asked_for_again() -> None:
    everything = set(range(1, 126))
    bridge = LateBridge(refuse=everything)
    async with bridge.serving() as port:
        address = RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())
        link = ModbusLink(address, quiet_s=0.01)
        reader = MeterReader(link, self_naming_map(0.3), 1)
        with pytest.raises(MeterFault, match="refuses every register"):
            await reader.read()
        bridge.refuse = set()
        assert (await reader.read()).quantities == ADDRESSES
        link.close()


async def test_a_wire_that_cannot_be_opened_is_told_from_a_silent_meter() -> None:
    with pytest.raises(LinkDown, match="cannot be opened"):
        await read_once(
            ModbusLink(TcpAddress(host="127.0.0.1", port=free_port())), load_map("abb_b21"), 1
        )
    address = RtuAddress(device="/dev/there-is-no-such-line", settings=SerialDefaults())
    with pytest.raises(LinkDown, match="cannot be opened"):
        await read_once(ModbusLink(address), load_map("abb_b21"), 1)


async def test_a_meter_that_is_not_there_is_silent() -> None:
    meter_map = load_map("abb_b21")
    quick = replace(meter_map, limits=replace(meter_map.limits, timeout_s=0.1))
    async with LateBridge(units=(1,)).serving() as port:
        address = RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())
        with pytest.raises(MeterSilent, match=r"unit 9.*no reply within 0.1 s"):
            await read_once(ModbusLink(address), quick, 9)


async def test_a_wrong_map_is_doubted() -> None:
    right, wrong = load_map("eastron_sdm630"), load_map("carlo_gavazzi_em340")
    with pymodbus_server({1: image_of(right) | {(4, at): 0 for at in range(0x4C, 0x60)}}) as port:
        reading = await read_once(ModbusLink(TcpAddress(host="127.0.0.1", port=port)), wrong, 1)
    assert wrong.implausible(reading.quantities)


def test_the_read_command_prints_one_json_object(libmodbus: Path) -> None:
    from gateway.cli import app

    meter_map = load_map("eastron_sdm630")
    image = dict(meter_map.golden[0].registers)
    first = meter_map.points["power_w"]
    for offset, word in enumerate(encode_number(512.3, first.type)):
        image[4, first.address + offset] = word
    with libmodbus_server(libmodbus, image) as port:
        ran = CliRunner().invoke(
            app,
            ["read", "--map=eastron_sdm630", "--host=127.0.0.1", f"--port={port}", "--json"],
        )
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert said["map"] == "eastron_sdm630"
    assert said["quantities"] == dict(meter_map.golden[0].expect) | {"power_w": 512.3}


def test_the_read_command_refuses_with_one_line_and_exit_code_2() -> None:
    from gateway.cli import app

    port = str(free_port())
    for arguments, said in (
        (["--map", "nobody", "--host", "127.0.0.1"], "no meter map is called 'nobody'"),
        (["--map", "abb_b23"], "name one wire"),
        (["--map", "abb_b23", "--host", "127.0.0.1", "--port", port], "cannot be opened"),
        (["--map", "abb_b23", "--device", "/dev/none", "--parity", "X"], "parity 'X' is unknown"),
    ):
        ran = CliRunner().invoke(app, ["read", *arguments])
        assert ran.exit_code == 2
        assert ran.stdout == ""
        assert ran.stderr.startswith("error: ")
        assert said in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["/nowhere/at/all", "."])
def test_a_map_given_as_a_path_is_named_as_a_path(name: str, tmp_path: Path) -> None:
    path = str(tmp_path) if name == "." else name
    with pytest.raises(BadMeterMap, match=r"file: .*check the path"):
        load_map(path)


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A Modbus TCP device that closes the line after each reply: registers hold their address."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        frame = await reader.readexactly(12)
        address, count = int.from_bytes(frame[8:10], "big"), int.from_bytes(frame[10:12], "big")
        words = b"".join((address + offset).to_bytes(2, "big") for offset in range(count))
        reply = frame[6:8] + bytes([len(words)]) + words
        writer.write(frame[:4] + len(reply).to_bytes(2, "big") + reply)
        await writer.drain()
    writer.close()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(12)
    writer.close()


async def test_a_device_that_hangs_up_after_each_reply_is_read_all_the_same() -> None:
    server = await asyncio.start_server(hangs_up, "127.0.0.1", 0)
    link = ModbusLink(TcpAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
    reader = MeterReader(link, self_naming_map(1.0), 1)
    for _ in range(3):
        assert (await reader.read()).quantities == ADDRESSES
    link.close()
    server.close()


async def test_a_device_that_hangs_up_instead_of_replying_is_named() -> None:
    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    link = ModbusLink(TcpAddress(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
    with pytest.raises(HungUp, match="the other end hung up"):
        await MeterReader(link, self_naming_map(1.0), 1).read()
    link.close()
    server.close()
