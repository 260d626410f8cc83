"""The named property: one late RTU reply can never mislabel a reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType

from gateway.decode.meter_map import BusLimits, MeterMap, Point, SerialDefaults, Standing
from gateway.decode.registers import RegisterType, WordOrder
from gateway.errors import MeterFault
from gateway.meters.modbus_link import ModbusLink, RtuAddress, RtuOverTcpAddress
from gateway.meters.reader import MeterReader
from tests.gateway.meters.late_bridge import LateBridge, with_crc
from tests.gateway.meters.wires import pymodbus_server, serial_pair

ADDRESSES = {
    "voltage_l1_v": 100,
    "current_l1_a": 300,
    "power_w": 500,
    "frequency_hz": 700,
    "apparent_va": 900,
}
UNITS = {
    "voltage_l1_v": "V",
    "current_l1_a": "A",
    "power_w": "W",
    "frequency_hz": "Hz",
    "apparent_va": "VA",
}


USUAL_S = 0.015
"""How long a meter usually thinks [s]. With it, one late reply shifts all that follow."""


def self_naming_map(timeout_s: float, registers_max: int = 40) -> MeterMap:
    """Each quantity's number is the address it must come from."""
    return MeterMap(
        name="self_naming",
        title="registers that hold their own address",
        models=("test",),
        phases=1,
        standing=Standing.AGREED,
        source=("made for this test",),
        points={
            name: Point(
                quantity=name,
                function=4,
                address=address,
                type=RegisterType.UINT16,
                word_order=WordOrder.BIG,
                unit=UNITS[name],
            )
            for name, address in ADDRESSES.items()
        },
        limits=BusLimits(registers_max=registers_max, timeout_s=timeout_s, pause_s=0.0),
    )


def bridge_address(port: int) -> RtuOverTcpAddress:
    return RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())


async def rounds(
    reader: MeterReader, wanted: int, most: int = 60
) -> tuple[int, list[dict[str, int | float]]]:
    """Read until so many rounds went well; how often it failed, and what was read."""
    failed, read = 0, []
    while len(read) < wanted and failed < most:
        try:
            read.append(dict((await reader.read()).quantities))
        except MeterFault:
            failed += 1
    return failed, read


def mislabelled(readings: list[dict[str, int | float]]) -> list[tuple[str, int | float]]:
    return [
        (name, number)
        for reading in readings
        for name, number in reading.items()
        if number != ADDRESSES[name]
    ]


async def test_pymodbus_alone_shifts_all_later_values_after_one_late_reply() -> None:
    """The fault that the property guards against is real, so that the next tests can fail."""
    bridge = LateBridge([0.15] + [USUAL_S] * 9)
    async with bridge.serving() as port:
        client = AsyncModbusTcpClient(
            "127.0.0.1", port=port, framer=FramerType.RTU, timeout=0.1, retries=0
        )
        await client.connect()
        wrong = 0
        for address in (100, 300, 500, 700, 900):
            try:
                reply = await client.read_input_registers(address, count=1, device_id=1)
            except ModbusException:
                continue
            wrong += reply.registers[0] != address
        client.close()
    assert wrong == 4


@pytest.mark.parametrize("position", range(5))
async def test_one_late_reply_never_mislabels_a_reading(position: int) -> None:
    delays_s = [USUAL_S] * position + [0.15] + [USUAL_S] * 30
    async with LateBridge(delays_s).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.1)
        failed, read = await rounds(MeterReader(link, self_naming_map(0.1), 1), 3)
        link.close()
    assert mislabelled(read) == []
    assert failed >= 1
    assert len(read) == 3


async def test_a_reply_later_than_the_quiet_time_never_mislabels_a_reading() -> None:
    async with LateBridge([USUAL_S, 0.4] + [USUAL_S] * 60).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.01)
        _, read = await rounds(MeterReader(link, self_naming_map(0.1), 1), 6)
        link.close()
    assert mislabelled(read) == []
    assert len(read) == 6


async def test_a_meter_that_takes_no_padding_still_never_mislabels_a_reading() -> None:
    """All blocks are of one register, so that only the sentinel tells late replies apart."""
    refuse = set(range(2, 41))
    async with LateBridge(refuse=refuse).serving() as port:
        bridge = bridge_address(port)
        link = ModbusLink(bridge, quiet_s=0.02)
        reader = MeterReader(link, self_naming_map(0.1), 1)
        assert (await reader.read()).quantities == ADDRESSES
        assert reader.plan.sentinel is not None
        link.close()
    for position in range(4):
        late = LateBridge([USUAL_S] * position + [0.25] + [USUAL_S] * 60, refuse=refuse)
        async with late.serving() as port:
            link = ModbusLink(bridge_address(port), quiet_s=0.02)
            again = MeterReader(link, self_naming_map(0.1), 1)
            again._plan = reader.plan
            _, read = await rounds(again, 5)
            link.close()
        assert mislabelled(read) == []
        assert len(read) == 5


async def unpadded_plan() -> tuple[MeterReader, int]:
    """A reader that learnt that its meter gives one register at a time, and its requests."""
    async with LateBridge(refuse=set(range(2, 41))).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.02)
        reader = MeterReader(link, self_naming_map(0.1), 1)
        assert (await reader.read()).quantities == ADDRESSES
        link.close()
    return reader, len(reader.plan.requests)


@pytest.mark.parametrize("separate", [True, False], ids=["then", "at_once"])
async def test_a_reply_that_comes_twice_never_mislabels_blocks_of_one_length(
    separate: bool,
) -> None:
    """A bridge repeats a request by itself: the second reply meets the next request."""
    learnt, asked = await unpadded_plan()
    for position in range(asked):
        before = with_crc(bytes([1, 4, 2]) + ADDRESSES["power_w"].to_bytes(2, "big"))
        bridge = LateBridge(
            refuse=set(range(2, 41)),
            again={position} if separate else None,
            damage=None if separate else {position: lambda frame, stray=before: stray + frame},
        )
        async with bridge.serving() as port:
            link = ModbusLink(bridge_address(port), quiet_s=0.02)
            again = MeterReader(link, self_naming_map(0.1), 1)
            again._plan = learnt.plan
            _, read = await rounds(again, 3)
            link.close()
        assert mislabelled(read) == []
        assert len(read) == 3


@pytest.mark.parametrize("function", [3, 4])
async def test_a_refusal_of_long_ago_never_shifts_the_line_unseen(function: int) -> None:
    """Two late replies in a row: the sentinel's own refusal comes for the sentinel after it."""
    refuse = set(range(2, 41))
    async with LateBridge(refuse=refuse).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.02)
        reader = MeterReader(link, self_naming_map(0.5), 1)
        assert (await reader.read()).quantities == ADDRESSES
        link.close()
    shifted = LateBridge(refuse=refuse, stale=bytes([1, function | 0x80, 2]))
    async with shifted.serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.02)
        again = MeterReader(link, self_naming_map(0.5), 1)
        again._plan = reader.plan
        failed, read = await rounds(again, 1, most=4)
        link.close()
    assert mislabelled(read) == []
    assert (failed, read) == (4, [])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    delays_ms=st.lists(st.sampled_from([5, 5, 5, 5, 30, 60, 90, 150]), max_size=14),
    quiet_ms=st.sampled_from([1, 40]),
)
def test_no_pattern_of_late_replies_mislabels_a_reading(
    delays_ms: list[int], quiet_ms: int
) -> None:
    async def run() -> list[dict[str, int | float]]:
        async with LateBridge([delay / 1000 for delay in delays_ms]).serving() as port:
            link = ModbusLink(bridge_address(port), quiet_s=quiet_ms / 1000)
            _, read = await rounds(MeterReader(link, self_naming_map(0.05), 1), 3)
            link.close()
            return read

    assert mislabelled(asyncio.run(run())) == []


async def test_a_stick_that_hears_itself_is_put_up_with() -> None:
    async with LateBridge(echo=True).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.01)
        failed, read = await rounds(MeterReader(link, self_naming_map(0.3), 1), 3)
        link.close()
    assert failed == 0
    assert read == [ADDRESSES] * 3


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
        lambda frame: frame[: len(frame) // 2],
        lambda frame: b"\x00\xff\x07" + frame[3:],
        lambda frame: frame + frame,
        lambda frame: with_crc(frame[:-4]),
        lambda frame: b"",
    ],
    ids=["crc", "cut", "garbage", "twice", "short", "lost"],
)
async def test_a_damaged_reply_is_never_taken_for_a_reading(
    spoil: Callable[[bytes], bytes],
) -> None:
    async with LateBridge(damage={1: spoil, 4: spoil}).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.02)
        _, read = await rounds(MeterReader(link, self_naming_map(0.15), 1), 3)
        link.close()
    assert mislabelled(read) == []
    assert len(read) == 3


async def test_two_meters_on_a_bus_never_take_each_others_late_reply() -> None:
    async with LateBridge([USUAL_S, 0.2] + [USUAL_S] * 90, units=(1, 2)).serving() as port:
        link = ModbusLink(bridge_address(port), quiet_s=0.01)
        readers = [MeterReader(link, self_naming_map(0.1), unit) for unit in (1, 2)]
        read = []
        for _ in range(5):
            for reader in readers:
                read += (await rounds(reader, 1))[1]
        link.close()
    assert mislabelled(read) == []
    assert len(read) == 10


@pytest.mark.slow
async def test_a_late_reply_on_a_serial_line_never_mislabels_a_reading() -> None:
    """A real server of another make over a serial line pair, late on its second reply."""
    meter_map = self_naming_map(0.3)
    image = {(4, address): address for address in range(1200)}
    with serial_pair() as (ours, theirs):
        delays_s = [0.0, 0.5]
        with pymodbus_server({1: image}, kind="rtu", device=theirs, delays_s=delays_s):
            settings_ = SerialDefaults(baud=9600)
            link = ModbusLink(RtuAddress(device=ours, settings=settings_), quiet_s=0.3)
            reader = MeterReader(link, replace(meter_map), 1)
            failed, read = await rounds(reader, 3)
            link.close()
    assert failed >= 1
    assert mislabelled(read) == []
    assert len(read) == 3


def test_blocks_of_one_meter_all_differ_in_length() -> None:
    plan = MeterReader(ModbusLink(bridge_address(1)), self_naming_map(0.1), 1).plan
    counts = [block.count for block in plan.requests]
    assert len(set(counts)) == len(counts) == 5
