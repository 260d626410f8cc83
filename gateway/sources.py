"""From the settings to wires and counters."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from gateway.backfill import ShellyRecords
from gateway.catalogue import load_map, load_preset
from gateway.decode.counters import CounterLimits, limits_for
from gateway.decode.meter_map import MeterMap
from gateway.decode.mqtt_payloads import Preset
from gateway.errors import BadSettings
from gateway.meters.modbus import BusMeter, ModbusSource
from gateway.meters.mqtt import BrokerAddress, ListenedMeter, MqttSource
from gateway.meters.reader import utc_now
from gateway.meters.source import MeterSource
from gateway.meters.wiring import address_of, serial_settings, unit_of
from gateway.pipeline import MeterCounts
from gateway.settings import ModbusBus, ModbusMeter, MqttBroker, MqttMeter, Settings
from gateway.wire.reading import Quantity

MAINS_V = 230.0
BRIDGED_S = 10.0
"""In a simulation a busy machine may be late by this much without a gap in the story [s]."""
_COUNTED = (Quantity.IMPORT_WH, Quantity.EXPORT_WH)


def counts_of(meter: ModbusMeter | MqttMeter, *, pace: float = 1.0) -> MeterCounts:
    """Which counters of a meter are followed, and what they can do.

    Args:
        meter: From gateway.toml.
        pace: Seconds of the clock per second of the machine; 1 but in a simulation.

    Raises:
        GatewayError: Its map or preset cannot be used, or has no such counter.
    """
    if isinstance(meter, ModbusMeter):
        return _modbus_counts(meter, pace)
    return _mqtt_counts(meter, pace)


def build_sources(
    settings: Settings, *, client_id: str, clock: Callable[[], datetime] = utc_now
) -> tuple[MeterSource, ...]:
    """Make the wires of the settings; nothing is opened yet.

    Args:
        settings: From gateway.toml.
        client_id: From the gateway's key, so that no two gateways share an MQTT session.
        clock: Stamps what is read.

    Raises:
        GatewayError: A map or preset cannot be used.
    """
    sources: list[MeterSource] = [_bus(bus, clock) for bus in settings.modbus]
    sources += [_broker(broker, client_id, clock) for broker in settings.mqtt if broker.meter]
    return tuple(sources)


def _mqtt_counts(meter: MqttMeter, pace: float) -> MeterCounts:
    preset = load_preset(meter.preset)
    offered = set(preset.derived)
    offered |= {rule.quantity for message in preset.messages for rule in message.values}
    # A device that only speaks every few minutes is still measured, at its own pace.
    limits = CounterLimits(
        power_w_max=meter.fuse_a * MAINS_V * meter.phases,
        bridge_s=max(120.0, 2.5 * preset.period_s, BRIDGED_S * (pace - 1)),
    )
    counts = _counts(meter.name, dict(meter.counts), offered, origin=f"preset {meter.preset!r}")
    return MeterCounts(counts=counts, limits=dict.fromkeys(counts, limits))


def _counts(
    name: str, told: dict[Quantity, str], offered: set[str], *, origin: str
) -> dict[Quantity, str]:
    """Which counter feeds which quantity: as told, otherwise import and export as they are."""
    for counter in told.values():
        # A preset that discovers what a device has cannot say beforehand.
        if offered and counter not in offered:
            known = ", ".join(sorted(each for each in offered if each.endswith("_wh")))
            raise BadSettings(
                file="gateway.toml",
                place=f"meter {name!r}, counts",
                problem=f"{origin} has no counter {counter!r}",
                remedy=f"use one of: {known}",
            )
    if told:
        return told
    return {
        quantity: str(quantity) for quantity in _COUNTED if not offered or str(quantity) in offered
    }


def _map_of(meter: ModbusMeter) -> MeterMap:
    meter_map = load_map(meter.map)
    return meter_map if meter.ct_ratio == 1 else meter_map.behind_transformers(meter.ct_ratio)


def _modbus_counts(meter: ModbusMeter, pace: float) -> MeterCounts:
    meter_map = _map_of(meter)
    counts = _counts(
        meter.name,
        dict(meter.counts),
        set(meter_map.quantities),
        origin=f"map {meter.map!r}",
    )
    limits = {}
    for quantity, name in counts.items():
        found = limits_for(
            meter_map,
            name,
            fuse_a=meter.fuse_a,
            bridge_s=max(120.0, 3 * meter.poll_every_s, BRIDGED_S * (pace - 1)),
        )
        watts = meter.fuse_a * MAINS_V * meter.phases
        limits[quantity] = replace(found, power_w_max=watts)
    return MeterCounts(counts=counts, limits=limits)


def _bus(bus: ModbusBus, clock: Callable[[], datetime]) -> ModbusSource:
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
        meter_map = _map_of(meter)
        if bus.timeout_s is not None:
            limits = replace(meter_map.limits, timeout_s=bus.timeout_s)
            meter_map = replace(meter_map, limits=limits)
        meters.append(
            BusMeter(
                meter=meter.name,
                meter_map=meter_map,
                unit=unit_of(meter_map, address, meter.unit),
                poll_s=meter.poll_every_s,
                inverted=meter.inverted,
            )
        )
    return ModbusSource(bus.name, address, tuple(meters), clock=clock)


def broker_address(broker: MqttBroker) -> BrokerAddress:
    """Where a broker is, and how to be let in.

    Raises:
        BadSettings: The password file or the certificate authority cannot be read.
    """
    try:
        password = None
        if broker.password_file is not None:
            password = Path(broker.password_file).read_text(encoding="utf-8").split("\n")[0].strip()
        tls = None if broker.ca_file is None else ssl.create_default_context(cafile=broker.ca_file)
    except (OSError, UnicodeDecodeError) as fault:
        raise BadSettings(
            file="gateway.toml",
            place=f"mqtt {broker.name!r}",
            problem=f"password_file or ca_file cannot be read ({fault})",
            remedy="check the paths and who may read them",
        ) from fault
    return BrokerAddress(
        host=broker.broker,
        port=broker.port,
        username=broker.username,
        password=password,
        tls=tls,
    )


def _broker(broker: MqttBroker, client_id: str, clock: Callable[[], datetime]) -> MqttSource:
    meters = tuple(
        ListenedMeter(
            meter=meter.name,
            preset=load_preset(meter.preset),
            device=meter.topic,
            inverted=meter.inverted,
        )
        for meter in broker.meter
    )
    return MqttSource(
        broker.name,
        broker_address(broker),
        meters,
        client_id=f"commonwatt-{client_id[:12]}",
        clock=clock,
    )


def _records_of(preset: Preset) -> str:
    """The records that belong to the counters a preset listens to."""
    told = " ".join(f"{message.topic} {message.values}" for message in preset.messages)
    found = re.search(r"em1?data:\d{1,2}", told)
    return found.group() if found else "emdata:0"


def _first_line(path: str | None, place: str) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").split("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise BadSettings(
            file="gateway.toml",
            place=place,
            problem=f"records_password_file cannot be read ({fault})",
            remedy="check the path and who may read it",
        ) from fault


def record_keepers(settings: Settings) -> dict[str, ShellyRecords]:
    """Devices that keep minute records of their own, by meter.

    Raises:
        GatewayError: A password file cannot be read.
    """
    return {
        meter.name: ShellyRecords(
            meter.records_url,
            component=meter.records_from or _records_of(load_preset(meter.preset)),
            password=_first_line(meter.records_password_file, f"meter {meter.name!r}"),
        )
        for broker in settings.mqtt
        for meter in broker.meter
        if meter.records_url is not None
    }
