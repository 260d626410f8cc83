"""gateway.toml: read once, checked strictly, with one clear line for each thing that is wrong."""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from gateway.decode.meter_map import Baud
from gateway.errors import BadSettings
from gateway.wire.reading import METER_ID, Quantity

SETTINGS_BYTES_MAX = 256 * 1024
METERS_MAX = 64
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables of the file: unknown keys are refused."""


class GatewaySection(Section, frozen=True, kw_only=True):
    """`[gateway]`.

    Args:
        state_dir: Directory of keys, consents and unsent readings; relative to the file.
        household_timezone: IANA zone in which days and months are counted.
        clock: `kernel` waits until the clock is known to be right; `trusted` believes it, for
            machines with a real-time clock of their own.
    """

    state_dir: Name
    household_timezone: Name
    clock: Literal["kernel", "trusted"] = "kernel"


class CloudSection(Section, frozen=True, kw_only=True):
    """`[cloud]`.

    Args:
        url: The co-op's server; https, or http to this machine alone.
        ca_file: Own certificate authority, if the co-op has one; relative to the file.
        sync_every_s: How often consents are exchanged [s].
        send_every_s: How often readings are sent [s].
        timeout_s: How long to wait for an answer [s].
        policy_valid_days: How long consents count without confirmation by a sync [days].
    """

    url: Name
    ca_file: str | None = None
    sync_every_s: Seconds = 60.0
    send_every_s: Seconds = 60.0
    timeout_s: Seconds = 30.0
    policy_valid_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 7


class ModbusMeter(Section, frozen=True, kw_only=True):
    """`[[modbus.meter]]`.

    Args:
        name: The household's short name for the meter.
        map: A shipped meter map, or the path of a file.
        unit: Modbus unit id; as the map says if left out.
        poll_every_s: How often it is read [s].
        fuse_a: Rating of the fuse in front of it [A]; bounds what can be true.
        phases: Number of phases behind that fuse.
        counts: Which counter of the meter feeds which quantity, when the meter stands for
            something else than the grid: `{ generation_wh = "import_wh" }`.
        inverted: Whether it is wired backwards.
        ct_ratio: Primary over secondary current of its current transformers, for a meter that
            tells what is behind them; most meters know their transformers themselves.
    """

    name: str
    map: Name
    unit: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    poll_every_s: Seconds = 10.0
    fuse_a: Annotated[float, msgspec.Meta(gt=0, le=2_000)] = 63.0
    phases: Literal[1, 2, 3] = 3
    counts: dict[Quantity, Name] = {}
    inverted: bool = False
    ct_ratio: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 1.0


class ModbusBus(Section, frozen=True, kw_only=True):
    """`[[modbus]]`: one wire, one worker.

    Args:
        name: For logs and health.
        kind: `tcp`, `rtu` (a serial device) or `rtu_over_tcp` (an RS485 bridge).
        host: Address, for the two TCP kinds.
        port: TCP port.
        device: Serial device, for `rtu`.
        baud: Serial speed [bit/s].
        parity: `N`, `E` or `O`.
        stop_bits: 1 or 2.
        timeout_s: How long one answer may take [s]; as the map says if left out.
        meter: The meters on it.
    """

    name: Name
    kind: Literal["tcp", "rtu", "rtu_over_tcp"] = "tcp"
    host: str = ""
    port: Port = 502
    device: str = ""
    baud: Baud | None = None
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=60)] | None = None
    meter: Annotated[tuple[ModbusMeter, ...], msgspec.Meta(min_length=1, max_length=32)]


class MqttMeter(Section, frozen=True, kw_only=True):
    """`[[mqtt.meter]]`.

    Args:
        name: The household's short name for the meter.
        preset: A shipped preset, or the path of a file.
        topic: What the preset calls the device: a name, a prefix or a topic.
        fuse_a: Rating of the fuse in front of it [A].
        phases: Number of phases behind that fuse.
        counts: Which counter feeds which quantity; see `ModbusMeter`.
        inverted: Whether it is wired backwards.
        records_url: Address of a Shelly that keeps its own minute records, to fill a hole from.
        records_from: Whose records, such as `em1data:1`; as the preset says if left out.
        records_password_file: File whose first line is the device's password, if it has one;
            relative to the file.
    """

    name: str
    preset: Name
    topic: Name
    fuse_a: Annotated[float, msgspec.Meta(gt=0, le=2_000)] = 63.0
    phases: Literal[1, 2, 3] = 3
    counts: dict[Quantity, Name] = {}
    inverted: bool = False
    records_url: str | None = None
    records_from: Annotated[str, msgspec.Meta(pattern=r"^em1?data:[0-9]{1,2}$")] | None = None
    records_password_file: str | None = None


class MqttBroker(Section, frozen=True, kw_only=True):
    """`[[mqtt]]`: one broker.

    Args:
        name: For logs and health.
        broker: Address.
        port: TCP port.
        username: Account, if the broker wants one.
        password_file: File whose first line is the password; relative to the file.
        ca_file: Certificate authority for TLS; without it the connection is plain.
        meter: The meters behind it.
    """

    name: Name = "mqtt"
    broker: Name
    port: Port = 1883
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    meter: Annotated[tuple[MqttMeter, ...], msgspec.Meta(max_length=32)] = ()


class OutboxSection(Section, frozen=True, kw_only=True):
    """`[outbox]`.

    Args:
        commit_every_s: Readings are written together this often; a power cut costs at most this
            much [s].
        intervals_max: Most intervals kept unsent; beyond it old ones are made coarser.
    """

    commit_every_s: Annotated[float, msgspec.Meta(ge=1, le=900)] = 60.0
    intervals_max: Annotated[int, msgspec.Meta(ge=1_000, le=20_000_000)] = 1_000_000


class LocalPageSection(Section, frozen=True, kw_only=True):
    """`[local_page]`.

    Args:
        enabled: Whether to serve it.
        host: Address to listen on.
        port: TCP port.
        networks: Who may look, as networks; this machine always may.
        names: Names under which the page is asked for, beside its addresses.
    """

    enabled: bool = True
    host: Name = "127.0.0.1"
    port: Port = 8480
    networks: tuple[str, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fe80::/10",
        "fc00::/7",
    )
    names: tuple[str, ...] = ("gateway.local", "localhost")

    @property
    def address(self) -> str:
        """Where the household finds the page."""
        host = self.host
        if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
            host = self.names[0] if self.names else "localhost"
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


class HomeAssistantSection(Section, frozen=True, kw_only=True):
    """`[home_assistant]`: let Home Assistant find the gateway over MQTT.

    Args:
        enabled: Whether to announce.
        broker: Which `[[mqtt]]` entry, by name.
        prefix: Home Assistant's discovery prefix.
    """

    enabled: bool = False
    broker: Name = "mqtt"
    prefix: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "homeassistant"


class MetricsSection(Section, frozen=True, kw_only=True):
    """`[metrics]`: figures in Prometheus text on this machine only.

    Args:
        port: TCP port on 127.0.0.1; without it nothing listens.
    """

    port: Port | None = None


class SimulationSection(Section, frozen=True, kw_only=True):
    """`[simulation]`: a fast clock for demonstrations, taken only with a cloud on this machine.

    Args:
        machine_start: When the story began on the machine's clock, with offset.
        story_start: What the story's clock showed then, with offset.
        rate: Story seconds per machine second while it runs fast.
        fast_s: How long it runs fast [machine s].
    """

    machine_start: Annotated[datetime, msgspec.Meta(tz=True)]
    story_start: Annotated[datetime, msgspec.Meta(tz=True)]
    rate: Annotated[float, msgspec.Meta(ge=1, le=3_600)]
    fast_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class Settings(Section, frozen=True, kw_only=True):
    """All of gateway.toml."""

    gateway: GatewaySection
    cloud: CloudSection
    modbus: tuple[ModbusBus, ...] = ()
    mqtt: tuple[MqttBroker, ...] = ()
    outbox: OutboxSection = OutboxSection()
    local_page: LocalPageSection = LocalPageSection()
    home_assistant: HomeAssistantSection = HomeAssistantSection()
    metrics: MetricsSection = MetricsSection()
    simulation: SimulationSection | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The household's time zone."""
        return ZoneInfo(self.gateway.household_timezone)

    @property
    def meters(self) -> tuple[ModbusMeter | MqttMeter, ...]:
        """All meters, in the order of the file."""
        buses = (meter for bus in self.modbus for meter in bus.meter)
        brokers = (meter for broker in self.mqtt for meter in broker.meter)
        return (*buses, *brokers)


def read_settings(path: Path) -> tuple[Settings, Path]:
    """Read gateway.toml.

    Args:
        path: The file.

    Returns:
        The settings, and the state directory made absolute.

    Raises:
        BadSettings: The file cannot be read, or says something that cannot be. One line names
            file, key and remedy.
    """
    try:
        if path.stat().st_size > SETTINGS_BYTES_MAX:
            raise _fault(path, "file", "is far too large", "keep it under 256 kB")
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise _fault(
            path, "file", f"cannot be read ({fault.strerror})", "check the path"
        ) from fault
    except UnicodeDecodeError as fault:
        raise _fault(path, f"byte {fault.start}", "is not UTF-8", "save it as UTF-8") from fault
    except tomllib.TOMLDecodeError as fault:
        raise _fault(path, "TOML", str(fault), "correct that line") from fault
    settings = _resolved(_convert(path, found), path.parent)
    _check(path, settings)
    return settings, (path.parent / settings.gateway.state_dir).absolute()


def _convert(path: Path, found: dict[str, object]) -> Settings:
    try:
        return msgspec.convert(found, Settings)
    except msgspec.ValidationError as fault:
        raise _explained(path, str(fault)) from fault


def _resolved(settings: Settings, base: Path) -> Settings:
    """Make the paths in the settings relative to the file they stand in."""

    def near(told: str | None) -> str | None:
        return None if told is None else str(base / told)

    def named(told: str) -> str:
        return str(base / told) if told.endswith(".toml") else told

    change = msgspec.structs.replace
    return change(
        settings,
        cloud=change(settings.cloud, ca_file=near(settings.cloud.ca_file)),
        modbus=tuple(
            change(bus, meter=tuple(change(meter, map=named(meter.map)) for meter in bus.meter))
            for bus in settings.modbus
        ),
        mqtt=tuple(
            change(
                broker,
                password_file=near(broker.password_file),
                ca_file=near(broker.ca_file),
                meter=tuple(
                    change(
                        meter,
                        preset=named(meter.preset),
                        records_password_file=near(meter.records_password_file),
                    )
                    for meter in broker.meter
                ),
            )
            for broker in settings.mqtt
        ),
    )


def _explained(path: Path, said: str) -> BadSettings:
    problem, _, place = said.partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.+?)`", problem)
    if unknown:
        key = unknown.group(1)
        names = _keys_at(place)
        near = difflib.get_close_matches(key, names, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
        return _fault(path, place or "top level", f"unknown key {key!r}", remedy)
    missing = re.search(r"missing required field `(.+?)`", problem)
    if missing:
        key = missing.group(1)
        return _fault(path, place or "top level", f"key {key!r} is missing", "add it")
    plain = problem.replace("`", "'").replace("Object", "Table")
    return _fault(path, place or "top level", plain, "see docs/formats/gateway_config.md")


def _keys_at(place: str) -> list[str]:
    bare = re.sub(r"\[\.*\d*\]", "", place)
    sections: dict[str, type[Section]] = {
        "": Settings,
        "gateway": GatewaySection,
        "cloud": CloudSection,
        "modbus": ModbusBus,
        "modbus.meter": ModbusMeter,
        "mqtt": MqttBroker,
        "mqtt.meter": MqttMeter,
        "outbox": OutboxSection,
        "local_page": LocalPageSection,
        "home_assistant": HomeAssistantSection,
        "metrics": MetricsSection,
    }
    return list(sections.get(bare, Settings).__struct_fields__)


def _check(path: Path, settings: Settings) -> None:
    try:
        ZoneInfo(settings.gateway.household_timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as fault:
        raise _fault(
            path,
            "gateway.household_timezone",
            f"{settings.gateway.household_timezone!r} is no time zone",
            "use an IANA name such as Europe/Vienna",
        ) from fault
    _check_url(path, settings.cloud.url)
    if settings.simulation and urlsplit(settings.cloud.url).hostname not in LOOPBACK:
        raise _fault(
            path, "simulation", "is for a cloud on this machine alone", "remove the section"
        )
    _check_meters(path, settings)
    for bus in settings.modbus:
        _check_wire(path, bus)
    for meter in (meter for broker in settings.mqtt for meter in broker.meter):
        _check_records(path, meter)
    for network in settings.local_page.networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as fault:
            raise _fault(
                path, "local_page.networks", f"{network!r} is no network", "use 192.168.0.0/16"
            ) from fault
    if settings.home_assistant.enabled:
        names = [broker.name for broker in settings.mqtt]
        if settings.home_assistant.broker not in names:
            raise _fault(
                path,
                "home_assistant.broker",
                f"there is no [[mqtt]] called {settings.home_assistant.broker!r}",
                f"use one of: {', '.join(names) or 'none is set up'}",
            )


def _check_wire(path: Path, bus: ModbusBus) -> None:
    place = f"modbus {bus.name!r}"
    needed, other = ("device", "host") if bus.kind == "rtu" else ("host", "device")
    if not getattr(bus, needed):
        raise _fault(path, place, f"kind {bus.kind!r} needs {needed!r}", "add it")
    if getattr(bus, other):
        raise _fault(
            path,
            place,
            f"kind {bus.kind!r} has no {other!r}",
            "remove it, or name its wire in a [[modbus]] of its own",
        )


def _check_url(path: Path, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise _fault(path, "cloud.url", "plain http would show readings on the way", "use https://")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _fault(path, "cloud.url", f"{url!r} is no server's address", "use https://HOST")


def _check_records(path: Path, meter: MqttMeter) -> None:
    place = f"meter {meter.name!r}"
    if meter.records_url is None:
        if meter.records_from or meter.records_password_file:
            raise _fault(
                path, place, "records_from without records_url", "add the device's address"
            )
        return
    parts = urlsplit(meter.records_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _fault(
            path, f"{place}, records_url", "is no device's address", "use http://192.168.1.9"
        )


def _check_meters(path: Path, settings: Settings) -> None:
    names = [meter.name for meter in settings.meters]
    if not names:
        raise _fault(path, "top level", "there is no meter", "add [[modbus]] or [[mqtt]]")
    if len(names) > METERS_MAX:
        raise _fault(path, "top level", f"{len(names)} meters", f"use at most {METERS_MAX}")
    for name in names:
        if not METER_ID.fullmatch(name):
            raise _fault(
                path,
                f"meter {name!r}",
                "this name cannot be used",
                "use up to 32 lower-case letters, digits, - and _",
            )
        if names.count(name) > 1:
            raise _fault(path, f"meter {name!r}", "two meters have this name", "rename one")
    wires = [bus.name for bus in settings.modbus] + [broker.name for broker in settings.mqtt]
    for wire in wires:
        if wires.count(wire) > 1:
            raise _fault(path, f"wire {wire!r}", "two wires have this name", "rename one")


def _fault(path: Path, place: str, problem: str, remedy: str) -> BadSettings:
    return BadSettings(file=str(path), place=place, problem=problem, remedy=remedy)
