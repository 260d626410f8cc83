"""Finds meters on a wire, and the maps that fit them.

A map fits if its probes hold and its numbers agree with each other. Several maps can fit one
meter, because makers build on each other: then all are told, the likeliest first, and the person
compares the counter with the display.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace

from gateway.decode.meter_map import HOLDING, INPUT, MeterMap, SerialDefaults, Standing
from gateway.errors import LinkDown, MeterFault, MeterRefused
from gateway.meters.modbus_link import Address, ModbusLink, RtuAddress
from gateway.meters.read_plan import Block
from gateway.meters.reader import MeterReader

SETTINGS_TO_TRY = (
    SerialDefaults(baud=9600, parity="N"),
    SerialDefaults(baud=9600, parity="E"),
    SerialDefaults(baud=19_200, parity="E"),
    SerialDefaults(baud=2400, parity="N"),
    SerialDefaults(baud=38_400, parity="N"),
    SerialDefaults(baud=19_200, parity="N"),
    SerialDefaults(baud=9600, parity="O"),
    SerialDefaults(baud=115_200, parity="N"),
    SerialDefaults(baud=4800, parity="N"),
    SerialDefaults(baud=2400, parity="E"),
)
"""Serial settings in the order in which meters are likely to have them."""

QUIET_S = 0.05
USUAL_TIMEOUT_S = 1.0
"""A device that was only found with more patience than this needs it from the gateway too [s]."""

_TOLERANCE = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A map that fits a meter.

    Args:
        meter_map: The map.
        score: Higher is likelier: probes that hold, numbers that agree, points that are there.
        quantities: What it reads.
    """

    meter_map: MeterMap
    score: float
    quantities: Mapping[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A device that answered.

    Args:
        address: The wire, with the settings under which it answered.
        unit: Its address on the wire.
        fits: Maps that fit, the likeliest first.
        timeout_s: How long it was given for each reply [s].
    """

    address: Address
    unit: int
    fits: tuple[Fit, ...]
    timeout_s: float = 0.0


async def answers(link: ModbusLink, unit: int, timeout_s: float) -> bool:
    """Whether a device answers at all; a refusal is an answer too.

    Raises:
        LinkDown: The wire cannot be opened.
    """
    for function, count in ((INPUT, 2), (HOLDING, 1)):
        block = Block(function=function, address=0, count=count)
        try:
            await link.read(unit, block, timeout_s=timeout_s)
        except MeterRefused as fault:
            # Gateways answer for a device that is not there with exceptions 10 and 11, and some
            # with 4.
            if fault.exception_code not in {4, 10, 11}:
                return True
        except LinkDown:
            raise
        except MeterFault:
            continue
        else:
            return True
    return False


async def fits_of(
    link: ModbusLink, unit: int, maps: Iterable[MeterMap], timeout_s: float
) -> tuple[Fit, ...]:
    """Maps that fit a device, the likeliest first.

    Raises:
        LinkDown: The wire cannot be opened.
    """
    fits: list[Fit] = []
    for meter_map in maps:
        quick = replace(meter_map, limits=replace(meter_map.limits, timeout_s=timeout_s))
        try:
            fit = await _fit(link, unit, quick)
        except LinkDown:
            raise
        except MeterFault:
            continue
        if fit is not None:
            fits.append(fit)
    return tuple(sorted(fits, key=lambda fit: (-fit.score, fit.meter_map.name)))


async def find(
    address: Address, units: Iterable[int], maps: tuple[MeterMap, ...], *, timeout_s: float
) -> AsyncIterator[FoundDevice]:
    """Ask one unit after the other on a wire.

    Raises:
        LinkDown: The wire cannot be opened.
    """
    link = ModbusLink(address, quiet_s=QUIET_S)
    try:
        for unit in units:
            if await answers(link, unit, timeout_s):
                fits = await fits_of(link, unit, maps, max(timeout_s, 0.5))
                yield FoundDevice(address=address, unit=unit, fits=fits, timeout_s=timeout_s)
    finally:
        link.close()


async def find_settings(
    device: str, units: tuple[int, ...], maps: tuple[MeterMap, ...], *, timeout_s: float
) -> AsyncIterator[FoundDevice]:
    """Try serial settings until some device answers; all devices with those settings are told.

    Raises:
        LinkDown: The serial line cannot be opened.
    """
    opened = answered = False
    for settings in SETTINGS_TO_TRY:
        address = RtuAddress(device=device, settings=settings)
        try:
            async for found in find(address, units, maps, timeout_s=timeout_s):
                answered = True
                yield found
        except LinkDown:
            # A line that could be opened before only refuses this speed or parity.
            if not opened:
                raise
        opened = True
        if answered:
            return


def config_for(found: FoundDevice, *, name: str = "house") -> str:
    """What to write into gateway.toml for a device."""
    best = found.fits[0].meter_map.name if found.fits else "TYPE_THE_MAP_HERE"
    address = found.address
    lines = ["[[modbus]]", 'name = "bus1"']
    if isinstance(address, RtuAddress):
        lines += [
            'kind = "rtu"',
            f'device = "{address.device}"',
            f"baud = {address.settings.baud}",
            f'parity = "{address.settings.parity}"',
        ]
    else:
        kind = "tcp" if not hasattr(address, "settings") else "rtu_over_tcp"
        lines += [f'kind = "{kind}"', f'host = "{address.host}"', f"port = {address.port}"]
    if found.timeout_s > USUAL_TIMEOUT_S:
        lines.append(f"timeout_s = {found.timeout_s:g}")
    lines += ["", "[[modbus.meter]]", f'name = "{name}"', f'map = "{best}"', f"unit = {found.unit}"]
    return "\n".join(lines)


async def _fit(link: ModbusLink, unit: int, meter_map: MeterMap) -> Fit | None:
    probed = [probe.quantity for probe in meter_map.probes]
    if not meter_map.sunspec_models:
        if not probed:
            return None
        # A first look at the probes alone spares the long blocks of maps that do not fit.
        first = await MeterReader(link, replace(meter_map.only(probed), identity=None), unit).read()
        if meter_map.implausible(first.quantities) or not set(probed) <= set(first.quantities):
            return None
    reader = MeterReader(link, meter_map, unit)
    reading = await reader.read()
    quantities = reading.quantities
    if reader.meter_map.implausible(quantities) or "import_wh" not in quantities:
        return None
    offered = len(reader.meter_map.quantities)
    score = len(reader.meter_map.probes) + len(quantities) / offered + _agreement(quantities)
    # Between maps that fit alike: one that several sources agree on, one that explains more.
    score += len(quantities) / 100 + (0.05 if reader.meter_map.standing is Standing.AGREED else 0)
    if reader.meter_map.sunspec_models:
        # The marker names the model; no other map is as sure.
        score += 10
    return Fit(meter_map=reader.meter_map, score=round(score, 3), quantities=quantities)


def _agreement(quantities: Mapping[str, int | float]) -> float:
    """How well the numbers agree: 1 if well, -2 if they contradict each other, else 0."""
    checks: list[bool] = []
    phases = [quantities.get(f"power_l{phase}_w") for phase in (1, 2, 3)]
    known = [power for power in phases if power is not None]
    total = quantities.get("power_w")
    if total is not None and len(known) == 3:
        checks.append(_close(total, sum(known)))
    volts, amps = quantities.get("voltage_l1_v"), quantities.get("current_l1_a")
    watts = quantities.get("power_l1_w", total if len(known) == 0 else None)
    if volts is not None and amps is not None and watts is not None:
        checks.append(abs(watts) <= abs(volts * amps) * (1 + _TOLERANCE) + 20)
    parts = [quantities.get(f"import_l{phase}_wh") for phase in (1, 2, 3)]
    counted = [part for part in parts if part is not None]
    if len(counted) == 3:
        checks.append(_close(quantities["import_wh"], sum(counted)))
    factor = quantities.get("power_factor")
    if factor is not None:
        checks.append(abs(factor) <= 1.001)
    if not all(checks):
        return -2.0
    return float(bool(checks))


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= max(abs(one), abs(other)) * _TOLERANCE + 20
