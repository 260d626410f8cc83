"""From the settings to wires and counters."""

from __future__ import annotations

from dataclasses import replace

from gateway.catalogue import load_map
from gateway.decode.counters import CounterLimits, limits_for
from gateway.errors import BadSettings
from gateway.meters.modbus import BusMeter, ModbusSource
from gateway.meters.source import MeterSource
from gateway.meters.wiring import address_of, serial_settings, unit_of
from gateway.pipeline import MeterCounts
from gateway.settings import ModbusBus, ModbusMeter, MqttMeter, Settings
from gateway.wire.reading import Quantity

MAINS_V = 230.0
_COUNTED = (Quantity.IMPORT_WH, Quantity.EXPORT_WH)


def counts_of(meter: ModbusMeter | MqttMeter) -> MeterCounts:
    """Which counters of a meter are followed, and what they can do.

    Raises:
        GatewayError: Its map or preset cannot be used, or has no such counter.
    """
    if isinstance(meter, ModbusMeter):
        return _modbus_counts(meter)
    counts = dict(meter.counts) or {quantity: str(quantity) for quantity in _COUNTED}
    limits = CounterLimits(power_w_max=meter.fuse_a * MAINS_V * meter.phases, bridge_s=600.0)
    return MeterCounts(counts=counts, limits=dict.fromkeys(counts, limits))


def build_sources(settings: Settings, *, client_id: str) -> tuple[MeterSource, ...]:
    """Make the wires of the settings; nothing is opened yet.

    Args:
        settings: From gateway.toml.
        client_id: From the gateway's key, so that no two gateways share an MQTT session.

    Raises:
        GatewayError: A map or preset cannot be used.
    """
    sources: list[MeterSource] = [_bus(bus) for bus in settings.modbus]
    if settings.mqtt:
        from gateway.meters.broker_wiring import mqtt_sources  # noqa: PLC0415

        sources += mqtt_sources(settings.mqtt, client_id=client_id)
    return tuple(sources)


def _modbus_counts(meter: ModbusMeter) -> MeterCounts:
    meter_map = load_map(meter.map)
    offered = set(meter_map.quantities)
    counts = dict(meter.counts)
    if not counts:
        counts = {quantity: str(quantity) for quantity in _COUNTED if quantity in offered}
    for name in counts.values():
        if name not in offered:
            raise BadSettings(
                file="gateway.toml",
                place=f"meter {meter.name!r}, counts",
                problem=f"map {meter.map!r} has no counter {name!r}",
                remedy=f"use one of: {', '.join(sorted(q for q in offered if q.endswith('_wh')))}",
            )
    limits = {}
    for quantity, name in counts.items():
        found = limits_for(
            meter_map, name, fuse_a=meter.fuse_a, bridge_s=max(120.0, 3 * meter.poll_every_s)
        )
        watts = meter.fuse_a * MAINS_V * meter.phases
        limits[quantity] = replace(found, power_w_max=watts)
    return MeterCounts(counts=counts, limits=limits)


def _bus(bus: ModbusBus) -> ModbusSource:
    first = load_map(bus.meter[0].map)
    serial = serial_settings(first, baud=bus.baud, parity=bus.parity)
    if bus.stop_bits is not None:
        serial = replace(serial, stop_bits=bus.stop_bits)
    address = address_of(
        host=bus.host or None,
        port=bus.port,
        device=bus.device or None,
        rtu_over_tcp=bus.kind == "rtu_over_tcp",
        settings=serial,
    )
    meters = []
    for meter in bus.meter:
        meter_map = load_map(meter.map)
        meters.append(
            BusMeter(
                meter=meter.name,
                meter_map=meter_map,
                unit=unit_of(meter_map, address, meter.unit),
                poll_s=meter.poll_every_s,
                inverted=meter.inverted,
            )
        )
    return ModbusSource(bus.name, address, tuple(meters))
