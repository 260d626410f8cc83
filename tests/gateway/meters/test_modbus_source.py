"""A bus as a source: pace, rest, and one dead meter that does not slow the others."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.catalogue import load_map
from gateway.decode.meter_map import MeterMap, SerialDefaults
from gateway.meters.modbus import BusMeter, ModbusSource
from gateway.meters.modbus_link import RtuAddress, RtuOverTcpAddress, TcpAddress
from gateway.meters.source import MeterCondition, MeterSource, Sample
from tests.gateway.meters.late_bridge import LateBridge
from tests.gateway.meters.test_late_replies import self_naming_map
from tests.gateway.meters.wires import libmodbus_server
from tests.ports import free_port


def quick(meter_map: MeterMap, timeout_s: float = 0.05) -> MeterMap:
    return replace(meter_map, limits=replace(meter_map.limits, timeout_s=timeout_s, pause_s=0.0))


async def gather(source: MeterSource, seconds: float) -> list[Sample]:
    """Listen to a source for a while."""
    samples: list[Sample] = []
    stream = source.samples()

    async def listen() -> None:
        async for sample in stream:
            samples.append(sample)  # noqa: PERF401 - what came before the end of time counts

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(listen(), seconds)
    await stream.aclose()  # type: ignore[attr-defined]  # an async generator behind the port
    return samples


async def test_samples_of_libmodbus_come_at_their_pace(libmodbus: Path) -> None:
    meter_map = load_map("eastron_sdm630")
    with libmodbus_server(libmodbus, meter_map.golden[0].registers) as port:
        source = ModbusSource(
            "bus",
            TcpAddress(host="127.0.0.1", port=port),
            (BusMeter(meter="house", meter_map=quick(meter_map), unit=1, poll_s=0.1),),
        )
        samples = await gather(source, 1.05)
    # Never quicker than asked; how much slower depends on what else this machine does.
    assert 4 <= len(samples) <= 12
    assert all(sample.quantities == meter_map.golden[0].expect for sample in samples)
    assert all(sample.taken_at.utcoffset() is not None for sample in samples)
    health = source.health()
    assert health.meters["house"].condition is MeterCondition.OK
    assert not health.connected


async def test_one_dead_meter_does_not_slow_the_others() -> None:
    """Units 1 and 2 answer; unit 9 is dead and soon rests."""
    async with LateBridge(units=(1, 2)).serving() as port:
        address = RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())
        meters = tuple(
            BusMeter(meter=f"m{unit}", meter_map=self_naming_map(0.05), unit=unit, poll_s=0.1)
            for unit in (1, 9, 2)
        )
        source = ModbusSource("bus", address, meters, quiet_s=0.02)
        began = time.monotonic()
        samples = await gather(source, 3.0)
        spent = time.monotonic() - began
    counts = Counter(sample.meter for sample in samples)
    assert counts["m9"] == 0
    assert counts["m1"] >= 0.4 * spent / 0.1
    assert counts["m2"] >= 0.4 * spent / 0.1
    dead = source.health().meters["m9"]
    assert dead.condition is MeterCondition.RESTING
    assert "no reply" in dead.last_fault
    assert dead.failures_in_a_row < 10


async def test_a_meter_that_comes_back_is_read_at_its_pace_again() -> None:
    bridge = LateBridge(units=())
    async with bridge.serving() as port:
        address = RtuOverTcpAddress(host="127.0.0.1", port=port, settings=SerialDefaults())
        source = ModbusSource(
            "bus",
            address,
            (BusMeter(meter="m1", meter_map=self_naming_map(0.02), unit=1, poll_s=0.02),),
            quiet_s=0.01,
        )
        silent = await gather(source, 0.5)
        assert silent == []
        bridge.units = (1,)
        assert len(await gather(source, 1.0)) > 10


async def test_a_wire_that_is_down_blames_no_meter_and_is_tried_again() -> None:
    port = free_port()
    source = ModbusSource(
        "bus",
        TcpAddress(host="127.0.0.1", port=port),
        (BusMeter(meter="house", meter_map=load_map("eastron_sdm630"), unit=1, poll_s=0.05),),
    )
    assert await gather(source, 0.3) == []
    health = source.health()
    assert health.meters["house"].condition is MeterCondition.FAILING
    assert health.meters["house"].failures_in_a_row == 0
    assert "cannot be opened" in health.meters["house"].last_fault
    assert time.monotonic() - health.progress_s < 1.5


async def test_a_wrong_map_is_never_taken_for_readings(libmodbus: Path) -> None:
    image = load_map("eastron_sdm630").golden[0].registers
    wrong = quick(load_map("carlo_gavazzi_em24"))
    with libmodbus_server(libmodbus, image) as port:
        source = ModbusSource(
            "bus",
            TcpAddress(host="127.0.0.1", port=port),
            (BusMeter(meter="house", meter_map=wrong, unit=1, poll_s=0.05),),
        )
        assert await gather(source, 0.4) == []
    fault = source.health().meters["house"].last_fault
    assert "not what carlo_gavazzi_em24 should say" in fault
    assert "carlo_gavazzi_em24_alt" in fault


async def test_a_meter_wired_backwards_is_turned_round(libmodbus: Path) -> None:
    meter_map = load_map("eastron_sdm630")
    expect = meter_map.golden[0].expect
    with libmodbus_server(libmodbus, meter_map.golden[0].registers) as port:
        meter = BusMeter(meter="pv", meter_map=quick(meter_map), unit=1, inverted=True, poll_s=0.05)
        source = ModbusSource("bus", TcpAddress(host="127.0.0.1", port=port), (meter,))
        sample = (await gather(source, 0.3))[0]
    assert sample.quantities["export_wh"] == expect["import_wh"]
    assert sample.quantities["import_l2_wh"] == expect["export_l2_wh"]
    assert sample.quantities["power_w"] == -expect["power_w"]
    assert sample.quantities["power_factor"] == expect["power_factor"]
    assert sample.quantities["voltage_l1_v"] == expect["voltage_l1_v"]


def test_the_plan_states_blocks_wire_time_and_share_of_the_bus() -> None:
    settings = SerialDefaults(baud=2400)
    meter = BusMeter(meter="flat", meter_map=load_map("eastron_sdm120"), unit=1, poll_s=10.0)
    plan = ModbusSource("bus", RtuAddress(device="/dev/none", settings=settings), (meter,)).plan()
    assert [read.what for read in plan.reads] == [
        "unit 1: input registers 0x0000-0x004b (76)",
        "unit 1: input registers 0x0156-0x0157 (2)",
    ]
    # 76 registers at 2400 baud take 8 + 5 + 152 characters of 10 bits and two silences of 3.5.
    assert plan.reads[0].wire_time_s == pytest.approx((165 + 7) * 10 / 2400 + 0.03)
    assert plan.bus_share == pytest.approx(plan.wire_time_s / 10.0)
    assert plan.cycle_s == 10.0


def test_modbus_tcp_costs_no_wire_time() -> None:
    meter = BusMeter(meter="flat", meter_map=load_map("eastron_sdm120"), unit=1)
    plan = ModbusSource("bus", TcpAddress(host="192.0.2.1"), (meter,)).plan()
    assert plan.wire_time_s == plan.bus_share == 0.0
