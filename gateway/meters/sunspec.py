"""Finds the meter inside a SunSpec device: the marker, then one model after the other.

Source: SunSpec Device Information Model Specification 1.1, sections 6.3 and 6.4 (marker `SunS` at
40000, 50000 or 0; each model begins with its id and length; id 0xFFFF ends the list).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.decode.meter_map import HOLDING, Identity, MeterMap
from gateway.errors import MeterFault, MeterRefused
from gateway.meters.modbus_link import ModbusLink
from gateway.meters.read_plan import Block

BASES = (40_000, 50_000, 0)
MODELS_MAX = 64
_MARKER = [0x5375, 0x6E53]
_COMMON_MODEL = 1
_END = 0xFFFF
_SERIAL_OFFSET = 50
_SERIAL_REGISTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A model in a device.

    Args:
        model_id: SunSpec model id.
        address: Of its id register.
        length: Registers that follow id and length.
    """

    model_id: int
    address: int
    length: int


async def find_models(link: ModbusLink, unit: int, *, timeout_s: float) -> tuple[FoundModel, ...]:
    """List the models of a device, in order.

    Raises:
        MeterFault: There is no SunSpec marker, or the list never ends.
    """
    base = await _find_base(link, unit, timeout_s)
    models: list[FoundModel] = []
    address = base + 2
    for position in range(MODELS_MAX):
        # Headers are read with changing lengths, so that a late reply is noticed (`read_plan`).
        try:
            header = await _header(link, unit, address, extra=1 + position % 7, timeout_s=timeout_s)
        except MeterRefused:
            # Some devices leave out the end marker and refuse what would follow the last model.
            if not models:
                raise
            return tuple(models)
        model_id, length = header
        if model_id == _END:
            return tuple(models)
        models.append(FoundModel(model_id=model_id, address=address, length=length))
        address += 2 + length
        if address > 0xFFFD:
            break
    raise MeterFault(
        place=f"{link.address} unit {unit}", problem="the list of SunSpec models has no end"
    )


async def locate(link: ModbusLink, unit: int, meter_map: MeterMap, *, timeout_s: float) -> MeterMap:
    """Move a SunSpec map (or the sibling that fits) to where the device has it.

    Raises:
        MeterFault: The device has no meter that the map or its siblings describe.
    """
    models = await find_models(link, unit, timeout_s=timeout_s)
    common: FoundModel | None = None
    for found in models:
        # A meter inside an inverter has a common model of its own, right before it.
        common = found if found.model_id == _COMMON_MODEL else common
        for candidate in (meter_map, *meter_map.siblings):
            if found.model_id in candidate.sunspec_models:
                moved = candidate.at(found.address)
                return moved if common is None else replace(moved, identity=_serial(common))
    wanted = sorted(
        model
        for candidate in (meter_map, *meter_map.siblings)
        for model in candidate.sunspec_models
    )
    raise MeterFault(
        place=f"{link.address} unit {unit}",
        problem=f"has SunSpec models {[found.model_id for found in models]}, none of {wanted}",
    )


def _serial(common: FoundModel) -> Identity:
    return Identity(
        function=HOLDING,
        address=common.address + _SERIAL_OFFSET,
        registers=_SERIAL_REGISTERS,
        text=True,
    )


async def _find_base(link: ModbusLink, unit: int, timeout_s: float) -> int:
    for position, base in enumerate(BASES):
        block = Block(function=HOLDING, address=base, count=2 + position)
        try:
            words = await link.read(unit, block, timeout_s=timeout_s)
        except MeterRefused:
            continue
        if words[:2] == _MARKER:
            return base
    raise MeterFault(
        place=f"{link.address} unit {unit}",
        problem="no SunSpec marker at 40000, 50000 or 0; this is not a SunSpec device",
    )


async def _header(
    link: ModbusLink, unit: int, address: int, *, extra: int, timeout_s: float
) -> tuple[int, int]:
    try:
        block = Block(function=HOLDING, address=address, count=2 + extra)
        words = await link.read(unit, block, timeout_s=timeout_s)
    except MeterRefused:
        # The end marker may be the very last register there is: read no further than it.
        block = Block(function=HOLDING, address=address, count=2)
        words = await link.read(unit, block, timeout_s=timeout_s)
    return words[0], words[1]
