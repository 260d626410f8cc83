"""Home Assistant's MQTT discovery: sensors that say themselves where and what they are.

Only sensors with an energy or power unit are taken, and only templates that name a plain place in
the payload; anything that would need a template engine is left alone.

Source: Home Assistant documentation, integrations MQTT (discovery) and MQTT Sensor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.decode.meter_map import Standing
from gateway.decode.mqtt_payloads import (
    PAYLOAD_BYTES_MAX,
    MessageRule,
    Preset,
    ValueRule,
    is_path,
)
from gateway.decode.quantities import UNITS, quantity_kind

DISCOVERY_FILTER = "homeassistant/sensor/#"
SENSORS_MAX = 64
_CONFIG = re.compile(r"homeassistant/sensor/(?:[A-Za-z0-9_-]+/)?[A-Za-z0-9_-]+/config")
_TEMPLATE = re.compile(
    r"\{\{\s*value_json((?:\.\w+|\[\d{1,3}\]|\['[^']+'\])+)\s*(?:\|\s*float(?:\(0\))?\s*)?\}\}"
)
_PLAIN = re.compile(r"\{\{\s*value(?:\s*\|\s*float(?:\(0\))?)?\s*\}\}")
_EXPORT_WORDS = (
    "export",
    "return",
    "feed",
    "inject",
    "sold",
    "produc",
    "reverse",
    "teruglever",
    "einspeis",
)
_IMPORT_WORDS = ("import", "consum", "bezug", "verbruik")
_NOT_CUMULATIVE = ("today", "yesterday", "daily", "weekly", "monthly", "month", "week", "forecast")
_NOT_CUMULATIVE_ALONE = {
    "hour",
    "hourly",
    "day",
    "night",
    "year",
    "yearly",
    "session",
    "last",
    "trip",
}
_TARIFF = re.compile(r"(?<![a-z])(?:tarr?iff?|rate|t)[ _-]*([1-4])(?!\d)")
_TARIFF_WORD = re.compile(r"tarr?if|(?<![a-z])rate(?![a-z])")
_LOW, _HIGH = (
    {"low", "laag", "dal", "off", "night", "nacht"},
    {"high", "normal", "hoog", "day", "dag"},
)
_PHASE = re.compile(r"(?<![a-z])(?:phase|fase|ph|l)[ _-]*([123abc])(?![a-z0-9])")
_BETWEEN_PHASES = re.compile(r"l([123])[ _-]*l[123]|line[ _-]*to[ _-]*line")
# Home Assistant's short keys.
_SHORT = {
    "stat_t": "state_topic",
    "unit_of_meas": "unit_of_measurement",
    "dev_cla": "device_class",
    "stat_cla": "state_class",
    "val_tpl": "value_template",
    "uniq_id": "unique_id",
    "dev": "device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredSensor:
    """A sensor that announced itself.

    Args:
        name: Its object id.
        rule: Topic and place of its number.
    """

    name: str
    rule: MessageRule

    @property
    def quantity(self) -> str:
        """Canonical name of what it measures."""
        return self.rule.values[0].quantity


def discovered_sensor(topic: str, payload: bytes) -> DiscoveredSensor | None:
    """Read an announcement; None if it is not one, or of nothing we know."""
    if _CONFIG.fullmatch(topic) is None or len(payload) > PAYLOAD_BYTES_MAX:
        return None
    try:
        announced = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(announced, dict):
        return None
    config = {_SHORT.get(str(key), str(key)): said for key, said in announced.items()}
    return _sensor(topic.split("/")[-2], config, base=announced.get("~"))


def _sensor(name: str, config: Mapping[str, Any], base: Any) -> DiscoveredSensor | None:
    state_topic, unit = config.get("state_topic"), config.get("unit_of_measurement")
    if not isinstance(state_topic, str) or not isinstance(unit, str) or unit not in UNITS:
        return None
    if isinstance(base, str):
        state_topic = state_topic.replace("~", base)
    if not state_topic or any(sign in state_topic for sign in "+#"):
        return None
    quantity = _quantity(name, config, unit)
    path = _path(config.get("value_template"))
    if quantity is None or path is None:
        return None
    value = ValueRule(quantity=quantity, paths=(path,), unit=unit)
    return DiscoveredSensor(name=name, rule=MessageRule(topic=state_topic, values=(value,)))


def _quantity(name: str, config: Mapping[str, Any], unit: str) -> str | None:
    """What a sensor measures, by its class and its name; None if that is not sure."""
    words = f"{name} {config.get('name') or ''}".lower()
    device_class = str(config.get("device_class"))
    if device_class == "energy":
        found = _counter(words, config.get("state_class"))
    else:
        found = _gauge(words, device_class)
    kind = quantity_kind(found)
    return found if kind is not None and UNITS[unit][0] == kind.unit else None


def _counter(words: str, state_class: object) -> str:
    if state_class not in {"total_increasing", "total"} or any(
        word in words for word in _NOT_CUMULATIVE
    ):
        return ""
    tokens = set(re.findall(r"[a-z]+", words))
    direction = "export" if any(word in words for word in _EXPORT_WORDS) else "import"
    tariff = _TARIFF.search(words)
    if tariff is not None:
        return f"{direction}_t{tariff[1]}_wh"
    if _TARIFF_WORD.search(words):
        low, high = bool(tokens & _LOW), bool(tokens & _HIGH)
        # One of several tariffs must not pass for all of them.
        return f"{direction}_t{1 if low else 2}_wh" if low or high else ""
    if tokens & _NOT_CUMULATIVE_ALONE:
        return ""
    phase = _phase(words)
    return f"{direction}_wh" if phase is None else f"{direction}_l{phase}_wh"


def _gauge(words: str, device_class: str) -> str:
    phase = _phase(words)
    if device_class == "power":
        sent = any(word in words for word in _EXPORT_WORDS)
        drawn = any(word in words for word in _IMPORT_WORDS)
        way = "_export" if sent else "_import" if drawn else ""
        return f"power{way}_w" if phase is None else f"power{way}_l{phase}_w"
    if device_class == "voltage":
        return "" if _BETWEEN_PHASES.search(words) else f"voltage_l{phase or 1}_v"
    if device_class == "current":
        return "current_n_a" if "neutral" in words else f"current_l{phase or 1}_a"
    return "frequency_hz" if device_class == "frequency" else ""


def _phase(words: str) -> int | None:
    match = _PHASE.search(words)
    return None if match is None else "123abc".index(match[1]) % 3 + 1


def _path(template: Any) -> str | None:
    """A template as a path, if it is a plain place in the payload."""
    if template is None or (isinstance(template, str) and _PLAIN.fullmatch(template.strip())):
        return ""
    match = _TEMPLATE.fullmatch(template.strip()) if isinstance(template, str) else None
    if match is None:
        return None
    path = re.sub(r"\['([^']+)'\]", r".\1", match[1]).lstrip(".")
    return path if is_path(path) else None


class Discovery:
    """The sensors of one device, as they announce themselves.

    Args:
        prefix: What their object or node ids begin with; the device's name in Home Assistant.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._sensors: dict[str, DiscoveredSensor] = {}

    @property
    def topics(self) -> tuple[str, ...]:
        """State topics found so far, each once."""
        return tuple(dict.fromkeys(one.rule.topic for one in self._taken().values()))

    @property
    def doubts(self) -> str:
        """Which quantities are left out because several sensors claim them; empty if none."""
        claims = [
            f"{quantity} ({', '.join(sorted(one.name for one in claimants))})"
            for quantity, claimants in sorted(self._claims().items())
            if len(claimants) > 1 and quantity not in self._taken()
        ]
        return f"several sensors claim {'; '.join(claims)}" if claims else ""

    @property
    def derived(self) -> Mapping[str, tuple[tuple[int, str], ...]]:
        """Sums that this device does not tell itself: over tariffs, phases and directions."""
        known = self._taken()
        sums: dict[str, tuple[tuple[int, str], ...]] = {}
        for way in ("import", "export"):
            tariffs = [name for name in (f"{way}_t{n}_wh" for n in range(1, 5)) if name in known]
            phases = [name for name in (f"{way}_l{n}_wh" for n in range(1, 4)) if name in known]
            if f"{way}_wh" in known:
                continue
            if {f"{way}_t1_wh", f"{way}_t2_wh"} <= set(tariffs):
                sums[f"{way}_wh"] = tuple((1, name) for name in tariffs)
            elif len(phases) == 3:
                sums[f"{way}_wh"] = tuple((1, name) for name in phases)
        if "power_w" not in known and {"power_import_w", "power_export_w"} <= set(known):
            sums["power_w"] = ((1, "power_import_w"), (-1, "power_export_w"))
        return sums

    def learn(self, topic: str, payload: bytes) -> None:
        """Take in an announcement, if it is one of this device's."""
        parts = topic.split("/")
        if not any(part.startswith(self._prefix) for part in parts[2:-1]):
            return
        sensor = discovered_sensor(topic, payload)
        if sensor is None:
            if not payload:
                self._sensors.pop(topic, None)
            return
        if topic in self._sensors or len(self._sensors) < SENSORS_MAX:
            self._sensors[topic] = sensor

    def hear(self, topic: str, payload: bytes) -> dict[str, int | float]:
        """Quantities of a state message."""
        rules = tuple(one.rule for one in self._taken().values() if one.rule.topic == topic)
        if not rules:
            return {}
        return _as_preset(rules).decode(topic, payload)

    def _claims(self) -> dict[str, list[DiscoveredSensor]]:
        claims: dict[str, list[DiscoveredSensor]] = {}
        for sensor in self._sensors.values():
            claimants = claims.setdefault(sensor.quantity, [])
            if all(sensor.rule != other.rule for other in claimants):
                claimants.append(sensor)
        return claims

    def _taken(self) -> dict[str, DiscoveredSensor]:
        """One sensor for each quantity.

        Where several claim it, the one that is called the total; otherwise none, for which of them
        came first changes with each start.
        """
        taken: dict[str, DiscoveredSensor] = {}
        for quantity, claimants in self._claims().items():
            totals = [one for one in claimants if "total" in one.name.lower()]
            if len(claimants) == 1:
                taken[quantity] = claimants[0]
            elif len(totals) == 1:
                taken[quantity] = totals[0]
        return taken


def _as_preset(rules: tuple[MessageRule, ...]) -> Preset:
    return Preset(
        name="discovered",
        title="discovered",
        devices=("any",),
        phases=1,
        standing=Standing.SINGLE_SOURCE,
        source=("announced by the device",),
        device_help="",
        messages=rules,
    )
