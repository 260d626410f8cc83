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
_EXPORT_WORDS = ("export", "return", "feed", "inject", "sold", "teruglever", "einspeis")
_NOT_CUMULATIVE = ("today", "yesterday", "daily", "weekly", "monthly", "month", "week")
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
    words = f"{name} {config.get('name') or ''}".lower()
    device_class = config.get("device_class")
    if device_class == "energy" and config.get("state_class") in {"total_increasing", "total"}:
        if any(word in words for word in _NOT_CUMULATIVE):
            return None
        found = "export_wh" if any(word in words for word in _EXPORT_WORDS) else "import_wh"
    else:
        found = {
            "power": "power_w",
            "voltage": "voltage_l1_v",
            "current": "current_l1_a",
            "frequency": "frequency_hz",
        }.get(str(device_class), "")
    kind = quantity_kind(found)
    return found if kind is not None and UNITS[unit][0] == kind.unit else None


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
        return tuple(dict.fromkeys(one.rule.topic for one in self._sensors.values()))

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
        taken = {one.quantity for key, one in self._sensors.items() if key != topic}
        # The first sensor of a quantity keeps it; two totals must not take turns as one counter.
        if sensor.quantity not in taken and len(self._sensors) < SENSORS_MAX:
            self._sensors[topic] = sensor

    def hear(self, topic: str, payload: bytes) -> dict[str, int | float]:
        """Quantities of a state message."""
        rules = tuple(one.rule for one in self._sensors.values() if one.rule.topic == topic)
        if not rules:
            return {}
        return _as_preset(rules).decode(topic, payload)


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
