"""Commands about meters: read one, decode what was captured, find out what is on a wire."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway import cli_maps, cli_wires
from gateway.cli_options import JsonOption, named_faults, write_json
from gateway.errors import BadFrame, BadPayload, MeterSilent, OutOfStep

if TYPE_CHECKING:
    from gateway.decode.frames import Exchange
    from gateway.decode.meter_map import MeterMap
    from gateway.decode.mqtt_payloads import Preset


def register(app: typer.Typer) -> None:
    """Add the commands to the gateway's application."""
    app.command("read", epilog="Example: coop-gateway read --map eastron_sdm630 --host 192.0.2.7")(
        named_faults(read)
    )
    decode = typer.Typer(help="Decode what was captured, without a meter.", no_args_is_help=True)
    decode.command(
        "frame",
        epilog="Example: coop-gateway decode frame --map eastron_sdm630 "
        "--request '01 04 00 00 00 02 71 CB' --response '01 04 04 43 67 AF 55 E2 10'",
    )(named_faults(decode_frame))
    decode.command(
        "mqtt",
        epilog="Example: coop-gateway decode mqtt --preset tasmota_energy "
        "--topic tele/plug/SENSOR < payload.json",
    )(named_faults(decode_mqtt))
    app.add_typer(decode, name="decode")
    cli_wires.register(app)
    cli_maps.register(app)


TOPICS_SHOWN = 6
"""So many topics of a preset are named in a fault."""

UNIT_SHOWN = {"wh": "Wh", "w": "W", "va": "VA", "v": "V", "a": "A", "hz": "Hz"}
"""Units as people write them, by how names end."""

MapOption = Annotated[
    str, typer.Option("--map", help="Name of a shipped map, or path of a map file.")
]
HostOption = Annotated[
    str | None, typer.Option(help="Modbus TCP host, or the bridge's with --rtu-over-tcp.")
]
PortOption = Annotated[int, typer.Option(min=1, max=65_535, help="TCP port.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Serial device of an RS485 stick, such as /dev/ttyUSB0.")
]
UnitOption = Annotated[
    int | None, typer.Option(min=0, max=255, help="Address of the meter; the map knows the usual.")
]
BaudOption = Annotated[int | None, typer.Option(help="Serial speed; the map knows the usual.")]
ParityOption = Annotated[str | None, typer.Option(help="N, E or O; the map knows the usual.")]


def read(
    map_name: MapOption,
    host: HostOption = None,
    port: PortOption = 502,
    device: DeviceOption = None,
    unit: UnitOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
    rtu_over_tcp: Annotated[
        bool, typer.Option("--rtu-over-tcp", help="The host is an RS485-to-Ethernet bridge.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.05, max=30, help="Seconds to wait for a reply.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Read a Modbus meter once and print every quantity with its unit."""
    from dataclasses import replace

    from gateway.catalogue import load_map
    from gateway.meters.modbus_link import ModbusLink
    from gateway.meters.reader import MeterReader
    from gateway.meters.wiring import address_of, serial_settings, unit_of

    meter_map = load_map(map_name)
    if timeout is not None:
        meter_map = replace(meter_map, limits=replace(meter_map.limits, timeout_s=timeout))
    address = address_of(
        host=host,
        port=port,
        device=device,
        rtu_over_tcp=rtu_over_tcp,
        settings=serial_settings(meter_map, baud=baud, parity=parity),
    )

    async def once() -> dict[str, Any]:
        link = ModbusLink(address)
        try:
            reader = MeterReader(link, meter_map, unit_of(meter_map, address, unit))
            try:
                reading = await reader.read()
            except (MeterSilent, OutOfStep):
                # One lost frame is common on a long line; two in a row are a fault.
                reading = await reader.read()
        finally:
            link.close()
        return {
            "map": reader.meter_map.name,
            "unit": reader.unit,
            "taken_at": reading.taken_at.isoformat(),
            "identity": reading.identity,
            "quantities": dict(reading.quantities),
            "absent": list(reading.absent),
            "without_value": list(reading.without_value),
            "doubts": list(reader.meter_map.implausible(reading.quantities)),
        }

    answer = asyncio.run(once())
    if json_output:
        write_json(answer)
        return
    print(f"{meter_map.title} ({answer['map']}), unit {answer['unit']}, {answer['taken_at'][:19]}Z")
    _print_quantities(answer["quantities"], nothing="no quantity of this map has a value")
    for name in answer["absent"]:
        print(f"  {name:<18} refused by this meter")
    for name in answer["without_value"]:
        print(f"  {name:<18} no value")
    for doubt in answer["doubts"]:
        print(f"  doubtful: {doubt}; is the map right?")


def decode_frame(
    map_name: MapOption,
    request: Annotated[str, typer.Option(help="The captured request, in hex.")],
    response: Annotated[str, typer.Option(help="The captured response, in hex.")],
    base: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="SunSpec maps only: where the model's id register is."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Decode a captured Modbus exchange (RTU with CRC or without, or TCP with its header)."""
    from gateway.catalogue import load_map
    from gateway.decode.frames import exchange_of, frame_bytes

    meter_map = load_map(map_name)
    exchange = exchange_of(
        frame_bytes(request, place="request"), frame_bytes(response, place="response")
    )
    meter_map = _placed(meter_map, exchange, base)
    quantities = meter_map.decode(exchange.registers)
    answer = {
        "map": meter_map.name,
        "framing": exchange.framing,
        "unit": exchange.unit,
        "function": exchange.function,
        "address": exchange.address,
        "registers": list(exchange.words),
        "quantities": quantities,
    }
    if json_output:
        write_json(answer)
        return
    _print_quantities(quantities, nothing=f"{meter_map.name} has nothing at these registers")


def _placed(meter_map: MeterMap, exchange: Exchange, base: int | None) -> MeterMap:
    """A SunSpec map, moved to where the captured model is; any other map as it is."""
    if not meter_map.sunspec_models:
        if base is not None:
            raise BadFrame(
                place="--base",
                problem=f"{meter_map.name} is no SunSpec map; its addresses are fixed",
                remedy="leave --base out",
            )
        return meter_map
    if base is not None:
        return meter_map.at(base)
    for candidate in (meter_map, *meter_map.siblings):
        if exchange.words[0] in candidate.sunspec_models:
            return candidate.at(exchange.address)
    raise BadFrame(
        place="request",
        problem="a SunSpec map counts from its model's id register, and this does not begin there",
        remedy="say where that register is, for example --base 40070",
    )


def decode_mqtt(
    preset_name: Annotated[
        str, typer.Option("--preset", help="Name of a shipped preset, or path of a preset file.")
    ],
    topic: Annotated[str, typer.Option(help="Topic of the message, as received.")],
    json_output: JsonOption = False,
) -> None:
    """Decode one MQTT payload from standard input. Names and numbers of people stay behind."""
    from gateway.catalogue import load_preset
    from gateway.decode.ha_discovery import discovered_sensor
    from gateway.decode.mqtt_payloads import PAYLOAD_BYTES_MAX

    preset = load_preset(preset_name)
    payload = sys.stdin.buffer.read(PAYLOAD_BYTES_MAX + 1)
    quantities = preset.decode(topic, payload)
    answer: dict[str, Any] = {"preset": preset.name, "quantities": quantities}
    if units := preset.unit_said(topic, payload):
        answer["units"] = units
    if preset.discovery and (sensor := discovered_sensor(topic, payload)) is not None:
        value = sensor.rule.values[0]
        answer["announces"] = {
            "quantity": value.quantity,
            "topic": sensor.rule.topic,
            "path": value.paths[0],
            "unit": value.unit,
        }
    if not quantities and len(answer) == len(("preset", "quantities")):
        _check_topic(preset, topic)
    if json_output:
        write_json(answer)
        return
    for quantity, unit in units.items():
        print(f"  {quantity:<18} is told in {unit}")
    if not units:
        _print_quantities(quantities, nothing="nothing of use in this message")


def _check_topic(preset: Preset, topic: str) -> None:
    """Say so if a message has nothing to give because of where it came."""
    from gateway.decode.mqtt_payloads import MessageRule

    gone = preset.availability
    if preset.discovery or any(message.matches(topic) for message in preset.messages):
        return
    if gone is not None and MessageRule(topic=gone.topic, values=()).matches(topic):
        return
    listened = preset.topics("+")
    shown = ", ".join(listened[:TOPICS_SHOWN])
    more = f" and {len(listened) - TOPICS_SHOWN} more" if len(listened) > TOPICS_SHOWN else ""
    raise BadPayload(
        topic=topic, problem=f"not a topic of {preset.name}; it listens to {shown}{more}"
    )


def _print_quantities(quantities: Mapping[str, int | float], *, nothing: str) -> None:
    from gateway.decode.quantities import quantity_kind

    for name, number in quantities.items():
        kind = quantity_kind(name)
        decimals = 0 if kind is None else kind.decimals
        unit = "" if kind is None else UNIT_SHOWN.get(kind.unit, kind.unit)
        print(f"  {name:<18} {number:>14.{decimals}f} {unit}".rstrip())
    if not quantities:
        print(f"  {nothing}")
