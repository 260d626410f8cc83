"""Commands that find out what answers on a wire, and what a configuration will do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli_options import ConfigOption, JsonOption, named_faults, write_json
from gateway.errors import BadWiring, LinkDown

if TYPE_CHECKING:
    from gateway.decode.meter_map import MeterMap
    from gateway.meters.finder import FoundDevice

HostOption = Annotated[str | None, typer.Option(help="Modbus TCP host, or the bridge's.")]
PortOption = Annotated[int, typer.Option(min=1, max=65_535, help="TCP port.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Serial device of an RS485 stick, such as /dev/ttyUSB0.")
]
UnitsOption = Annotated[
    str | None, typer.Option(help="Addresses to ask: 1-16, or 1,5,71. Usual ones if left out.")
]
TimeoutOption = Annotated[
    float, typer.Option(min=0.05, max=10, help="Seconds to wait for each reply.")
]
MapsOption = Annotated[
    list[str] | None, typer.Option("--map", help="Only try this map; may be given again.")
]


SERIAL_UNITS = "1-5"
SERIAL_SCAN = "1-16"
ETHERNET_UNITS = "1-5,71,240"
"""71 is Kostal's, 240 Fronius's."""

SLOW_S = 2.0
"""How long the doctor waits for devices on Ethernet when nothing answered quickly [s]."""

SLOW_UNITS_MAX = 16
_NOTHING = {
    "serial": "A and B swapped; power of the meter; address and speed in the meter's menu; 120 ohm at "
    "both ends of the line; another master on the same line; a slow meter (--timeout 1).",
    "tcp": "the device's address (--units); Modbus TCP switched on in its menu; another master that "
    "holds its only connection; a slow device (--timeout 5); behind a bridge also the serial side: A "
    "and B swapped, speed, parity.",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    app.command("scan", epilog="Example: coop-gateway scan --device /dev/ttyUSB0 --units 1-10")(
        named_faults(scan)
    )
    app.command("doctor", epilog="Example: coop-gateway doctor --device /dev/ttyUSB0")(
        named_faults(doctor)
    )
    app.command("check", epilog="Example: coop-gateway check --config gateway.toml")(
        named_faults(check)
    )


def scan(
    host: HostOption = None,
    port: PortOption = 502,
    device: DeviceOption = None,
    baud: Annotated[int, typer.Option(help="Serial speed.")] = 9600,
    parity: Annotated[str, typer.Option(help="N, E or O.")] = "N",
    rtu_over_tcp: Annotated[
        bool, typer.Option("--rtu-over-tcp", help="The host is an RS485-to-Ethernet bridge.")
    ] = False,
    units: UnitsOption = None,
    map_names: MapsOption = None,
    timeout: TimeoutOption = 0.3,
    broker: Annotated[
        str | None, typer.Option(help="Listen to this MQTT broker instead; HOST or HOST:PORT.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long to listen [s].")] = 60.0,
    json_output: JsonOption = False,
) -> None:
    """Ask every address on one wire, or listen to a broker; say what fits what answers."""
    if broker is not None:
        _scan_broker(broker, seconds, json_output=json_output)
        return
    from gateway.meters.finder import find
    from gateway.meters.wiring import address_of, serial_settings

    address = address_of(
        host=host,
        port=port,
        device=device,
        rtu_over_tcp=rtu_over_tcp,
        settings=serial_settings(None, baud=baud, parity=parity),
    )

    asked = units_of(units or (SERIAL_SCAN if device else ETHERNET_UNITS))

    async def run() -> list[FoundDevice]:
        found = find(address, asked, _maps(map_names), timeout_s=timeout)
        return await _gathered(found, first_only=units is None and device is None)

    tried = [f"{address}, units {_shown(asked)}, {timeout:g} s for each reply"]
    _tell(asyncio.run(run()), tried, serial=device is not None, json_output=json_output)


def _scan_broker(where: str, seconds: float, *, json_output: bool) -> None:
    from gateway.catalogue import load_preset, preset_names
    from gateway.meters.broker_finder import listen, publisher_config
    from gateway.meters.mqtt import BrokerAddress

    match = re.fullmatch(r"([^:]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?", where)
    if match is None:
        raise BadWiring(problem=f"broker {where!r} cannot be", remedy="write HOST or HOST:PORT")
    address = BrokerAddress(host=match[1].strip("[]"), port=int(match[2] or 1883))
    presets = tuple(load_preset(name) for name in preset_names())
    found = asyncio.run(listen(address, presets, seconds=seconds))
    if json_output:
        write_json(
            {
                "found": [
                    {
                        "preset": one.preset.name,
                        "device": one.device,
                        "quantities": dict(one.quantities),
                        "config": publisher_config(one, address),
                    }
                    for one in found
                ]
            }
        )
        return
    for one in found:
        typer.echo(f"{one.device} is understood by {one.preset.name}: {', '.join(one.quantities)}")
        typer.echo("write into gateway.toml:\n")
        typer.echo(publisher_config(one, address) + "\n")
    if not found:
        typer.echo(
            f"nothing with an energy counter was heard in {seconds:g} s; many devices speak only "
            "every 5 minutes"
        )


def doctor(
    host: HostOption = None,
    port: PortOption = 502,
    device: DeviceOption = None,
    units: UnitsOption = None,
    map_names: MapsOption = None,
    timeout: TimeoutOption = 0.3,
    json_output: JsonOption = False,
) -> None:
    """Try serial settings, framings and addresses; say what answers and what to write."""
    from gateway.meters.finder import find, find_settings
    from gateway.meters.wiring import address_of, serial_settings

    if (host is None) == (device is None):
        raise BadWiring(
            problem="name one wire",
            remedy=f"use --host or --device; serial devices here: {_serial_devices()}",
        )
    maps = _maps(map_names)
    asked = units_of(units or (SERIAL_UNITS if device else ETHERNET_UNITS))
    tried: list[str] = []

    async def run() -> list[FoundDevice]:
        if device is not None:
            tried.append(f"{device} with the usual serial settings, units {_shown(asked)}")
            return [one async for one in find_settings(device, asked, maps, timeout_s=timeout)]
        unknown: list[FoundDevice] = []
        passes = [(False, timeout), (True, timeout)]
        if timeout < SLOW_S and len(asked) <= SLOW_UNITS_MAX:
            passes.append((False, SLOW_S))
        for bridge, wait_s in passes:
            address = address_of(
                host=host,
                port=port,
                device=None,
                rtu_over_tcp=bridge,
                settings=serial_settings(None),
            )
            tried.append(f"{address}, units {_shown(asked)}, {wait_s:g} s for each reply")
            devices = find(address, asked, maps, timeout_s=wait_s)
            answered = await _gathered(devices, first_only=units is None)
            if any(one.fits for one in answered):
                return answered
            # A device may refuse quickly and answer slowly.
            unknown = unknown or answered
        return unknown

    try:
        found = asyncio.run(run())
    except LinkDown as fault:
        raise BadWiring(problem=fault.cannot, remedy=_opening_hint(device)) from fault
    _tell(found, tried, serial=device is not None, json_output=json_output)


def check(config: ConfigOption, json_output: JsonOption = False) -> None:
    """Check gateway.toml and show what it will do: blocks, wire time, share of the bus, writes."""
    from gateway.meters.plan_report import plan_report
    from gateway.settings import read_settings
    from gateway.sources import build_sources, counts_of

    settings, state_dir = read_settings(config)
    counters = sum(len(counts_of(meter).counts) for meter in settings.meters)
    sources = build_sources(settings, client_id="0" * 32)
    report = plan_report(
        [source.plan() for source in sources],
        counters=counters,
        commit_every_s=settings.outbox.commit_every_s,
    )
    if json_output:
        write_json({"config": str(config), "state_dir": str(state_dir), **report})
        return
    meters = _counted(len(settings.meters), "meter")
    typer.echo(f"{config} is right: {meters}, {_counted(counters, 'counter')}")
    for source in report["sources"]:
        typer.echo(f"{source['name']}:")
        for read in source["reads"]:
            cost = f"  {read['wire_time_ms']:.0f} ms" if read["wire_time_ms"] else ""
            typer.echo(f"  {read['meter']:<16} {read['what']}{cost}")
        if source["bus_share"]:
            typer.echo(
                f"  {source['wire_time_ms']:.0f} ms on the wire in a cycle of "
                f"{source['cycle_s']:g} s: {source['bus_share']:.0%} of the bus"
            )
    for warning in report["warnings"]:
        typer.echo(f"warning: {warning}")
    typer.echo(f"writes at most about {report['written_mb_per_day']:.0f} MB a day to the card")


async def _gathered(found: AsyncIterator[FoundDevice], *, first_only: bool) -> list[FoundDevice]:
    """All devices; or, where one device answers to every address, the first that a map fits."""
    gathered: list[FoundDevice] = []
    async for one in found:
        gathered.append(one)
        if first_only and one.fits:
            return [one]
    return gathered


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _shown(units: tuple[int, ...]) -> str:
    return ", ".join(str(unit) for unit in units)


def units_of(text: str) -> tuple[int, ...]:
    """Read `1-16` or `1,5,71`.

    Raises:
        BadWiring: It is neither, or an address is not 0 to 255.
    """
    units: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?\s*", part)
        first, last = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
        if match is None or not first <= last <= 255:
            raise BadWiring(problem=f"units {text!r} cannot be", remedy="write 1-16 or 1,5,71")
        units.extend(range(first, last + 1))
    return tuple(dict.fromkeys(units))


def _maps(names: list[str] | None) -> tuple[MeterMap, ...]:
    from gateway.catalogue import load_map, map_names

    chosen = names or [name for name in map_names() if name != "sunspec_float"]
    return tuple(load_map(name) for name in chosen)


def _serial_devices() -> str:
    from pathlib import Path

    by_id = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    others = sorted(
        str(path) for pattern in ("ttyUSB*", "ttyACM*") for path in Path("/dev").glob(pattern)
    )
    return ", ".join(by_id or others) or "none"


def _opening_hint(device: str | None) -> str:
    if device is None:
        return "check address and port, and that Modbus TCP is switched on in the meter"
    return (
        f"check the stick, that no other program holds it, and that you may use it "
        f"(group dialout); serial devices here: {_serial_devices()}"
    )


def _tell(found: list[FoundDevice], tried: list[str], *, serial: bool, json_output: bool) -> None:
    from gateway.meters.finder import config_for

    if json_output:
        write_json(
            {
                "found": [
                    {
                        "wire": str(one.address),
                        "unit": one.unit,
                        "maps": [
                            {
                                "map": fit.meter_map.name,
                                "score": fit.score,
                                "quantities": dict(fit.quantities),
                            }
                            for fit in one.fits
                        ],
                        "config": config_for(one),
                    }
                    for one in found
                ],
                "tried": tried,
            }
        )
        return
    for one in found:
        typer.echo(f"unit {one.unit} answers on {one.address}")
        for fit in one.fits[:6]:
            total = fit.quantities.get("import_wh", 0) / 1000
            typer.echo(
                f"  {fit.meter_map.name:<26} import {total:.2f} kWh: does the display agree?"
            )
        if not one.fits:
            typer.echo(
                "  no shipped map fits; give a slow device more time (--timeout 2), or copy "
                "_blueprint.toml and make a map"
            )
        typer.echo("write into gateway.toml:\n")
        typer.echo(config_for(one) + "\n")
    if not found:
        for what in tried:
            typer.echo(f"tried {what}")
        typer.echo(f"nothing answers. Look at: {_NOTHING['serial' if serial else 'tcp']}")
