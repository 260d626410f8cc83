"""MQTT presets: which topics of a device hold what, and how to read a payload.

A preset is data (a TOML file; `preset_file` reads it). Only the numbers it names come out: names,
serial numbers, supply point numbers and whatever else a payload carries stays behind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import msgspec

from gateway.decode.meter_map import Standing
from gateway.decode.quantities import (
    RAW_MAX,
    UNITS,
    QuantityKind,
    add_derived,
    quantity_kind,
    to_canonical,
)
from gateway.errors import BadPayload

PAYLOAD_BYTES_MAX = 64 * 1024
DEVICE = "{device}"
_STEP = re.compile(r"([^.\[\]]+)|\[(\d{1,3})\]")
_NOTHING_YET = frozenset({"", "unknown", "unavailable", "none", "null", "nan"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """Where one quantity is in a payload.

    Args:
        quantity: Canonical name.
        paths: Places to look, the first that is there counts: `ENERGY.Power[0]`; `*` stands for
            any key; the empty path is the whole payload.
        unit: Unit of the number after scaling, a key of `UNITS`.
        scale: Factor from the number to `unit`.
        sum_list: Whether a list at the place is to be summed (phases).
        unit_topic: Topic on which the device says its unit, if it does.
        default: What its absence means, where the maker says so; otherwise absence is absence.
        unit_path: Place in the payload where the device says its unit, if it does.
        unless: Places in the payload; where one of them is there, this number means something else.
        kind: What its name stands for.
        factor: From the number to the unit of the name.
        steps: The paths, taken apart.
    """

    quantity: str
    paths: tuple[str, ...]
    unit: str
    scale: Fraction = Fraction(1)
    sum_list: bool = False
    unit_topic: str | None = None
    default: int | None = None
    unit_path: str | None = None
    unless: tuple[str, ...] = ()
    kind: QuantityKind = field(init=False)
    factor: Fraction = field(init=False)
    steps: tuple[tuple[str | int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Work out once what each decoding needs."""
        kind = quantity_kind(self.quantity)
        if kind is None:
            raise ValueError(f"{self.quantity} is not a canonical name")
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "factor", self.scale * UNITS[self.unit][1])
        object.__setattr__(self, "steps", tuple(steps_of(path) for path in self.paths))

    def value(self, payload: Any, unit: str | None = None) -> int | float | None:
        """The number, or None if it is not there.

        Args:
            payload: Parsed payload.
            unit: What the device said its unit is, if it said so.

        Raises:
            ValueError: The payload states a unit that cannot be the quantity's.
        """
        number = self._number(payload)
        if number is None or any(
            _follow(payload, steps_of(path)) is not None for path in self.unless
        ):
            return None
        if self.unit_path is not None:
            said = _follow(payload, steps_of(self.unit_path))
            if said is not None:
                unit = said if isinstance(said, str) else ""
                if unit not in UNITS or UNITS[unit][0] != self.kind.unit:
                    raise ValueError(f"states a unit that cannot be that of {self.quantity}")
        factor = self.factor if unit is None else self.scale * UNITS[unit][1]
        return to_canonical(self.kind, number, factor)

    def _number(self, payload: Any) -> int | float | None:
        for steps in self.steps:
            found = _follow(payload, steps)
            if self.sum_list and isinstance(found, list):
                numbers = [_to_number(item) for item in found]
                present = [number for number in numbers if number is not None]
                if present and len(present) == len(numbers):
                    return sum(present)
                continue
            number = _to_number(found)
            if number is not None:
                return number
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRule:
    """A topic and what its payload holds.

    Args:
        topic: With `{device}` where the household's part goes.
        values: What is in it.
    """

    topic: str
    values: tuple[ValueRule, ...]

    def topic_of(self, device: str) -> str:
        """The topic of one device."""
        return self.topic.replace(DEVICE, device)

    def matches(self, topic: str) -> bool:
        """Whether this could be the topic of some device."""
        before, _, after = self.topic.partition(DEVICE)
        if DEVICE not in self.topic:
            return topic == self.topic
        middle = len(topic) - len(before) - len(after)
        return middle > 0 and topic.startswith(before) and topic.endswith(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Where a device says whether it is there.

    Args:
        topic: With `{device}`.
        path: Place in the payload; empty for the whole.
        online: What it says then.
        offline: What its last will says.
    """

    topic: str
    path: str
    online: str
    offline: str

    def says_offline(self, payload: bytes) -> bool:
        """Whether the payload says that the device is gone."""
        text = payload[:PAYLOAD_BYTES_MAX].decode("utf-8", errors="replace").strip()
        try:
            found = _follow(msgspec.json.decode(text), steps_of(self.path)) if self.path else text
        except (msgspec.DecodeError, RecursionError):
            found = text
        return str(found) == self.offline


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenMessages:
    """Messages as devices send them, and what must come out."""

    note: str
    messages: tuple[tuple[str, str], ...]
    expect: Mapping[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything known about how a kind of device speaks MQTT.

    Args:
        name: Name of the preset; the file is called the same.
        title: For people.
        devices: What it was made for.
        phases: 1, 2 or 3.
        standing: How sure we are.
        source: Where the shapes are from.
        device_help: What stands for `{device}`, with an example.
        messages: Topics and what they hold.
        derived: Sums of other quantities.
        availability: Where the device says whether it is there.
        discovery: Whether state topics are found by Home Assistant discovery instead.
        period_s: Longest usual time between messages [s].
        golden: Test vectors.
        notes: Traps, for people.
    """

    name: str
    title: str
    devices: tuple[str, ...]
    phases: int
    standing: Standing
    source: tuple[str, ...]
    device_help: str
    messages: tuple[MessageRule, ...]
    derived: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    availability: Availability | None = None
    discovery: bool = False
    period_s: float = 60.0
    golden: tuple[GoldenMessages, ...] = ()
    notes: str = ""

    def topics(self, device: str) -> tuple[str, ...]:
        """Topics to subscribe to for one device, each once."""
        topics = [message.topic_of(device) for message in self.messages]
        topics += self.unit_topics(device)
        if self.availability is not None:
            topics.append(self.availability.topic.replace(DEVICE, device))
        return tuple(dict.fromkeys(topics))

    def unit_topics(self, device: str) -> list[str]:
        """Topics on which one device says its units."""
        return [
            rule.unit_topic.replace(DEVICE, device)
            for message in self.messages
            for rule in message.values
            if rule.unit_topic
        ]

    def decode(
        self, topic: str, payload: bytes, units: Mapping[str, str] | None = None
    ) -> dict[str, int | float]:
        """Read one message.

        Args:
            topic: As received.
            payload: As received.
            units: By quantity, what the device said its units are.

        Returns:
            Canonical name to number; empty if the topic is none of the preset's, or holds nothing.

        Raises:
            BadPayload: It is too long, or is neither JSON nor a number or word. The message does
                not repeat what it holds.
        """
        said = units or {}
        rules = [message for message in self.messages if message.matches(topic)]
        if not rules:
            return {}
        parsed = parse_payload(topic, payload)
        quantities: dict[str, int | float] = {}
        for message in rules:
            for rule in message.values:
                try:
                    number = rule.value(parsed, said.get(rule.quantity))
                except ValueError as fault:
                    raise BadPayload(topic=topic, problem=str(fault)) from fault
                if number is not None:
                    quantities[rule.quantity] = number
            self._add_defaults(message, quantities)
        add_derived(quantities, self.derived)
        return quantities

    def _add_defaults(self, message: MessageRule, quantities: dict[str, int | float]) -> None:
        """Absence means something only beside a counter of the same message that is there."""
        if not any(rule.kind.counter and rule.quantity in quantities for rule in message.values):
            return
        for rule in message.values:
            if rule.default is not None:
                quantities.setdefault(rule.quantity, rule.default)

    def complete(self, quantities: dict[str, int | float]) -> None:
        """Add the sums whose terms came in different messages."""
        add_derived(quantities, self.derived)

    def unit_said(self, topic: str, payload: bytes) -> dict[str, str]:
        """Units that a device states on topics of their own, by quantity.

        Raises:
            BadPayload: It states a unit that cannot be the quantity's.
        """
        said: dict[str, str] = {}
        for message in self.messages:
            for rule in message.values:
                pattern = MessageRule(topic=rule.unit_topic or "", values=())
                if rule.unit_topic is None or not pattern.matches(topic):
                    continue
                unit = str(parse_payload(topic, payload))
                if unit not in UNITS or UNITS[unit][0] != rule.kind.unit:
                    raise BadPayload(
                        topic=topic, problem=f"states a unit that cannot be that of {rule.quantity}"
                    )
                said[rule.quantity] = unit
        return said


def parse_payload(topic: str, payload: bytes) -> Any:
    """JSON if it is JSON, otherwise the text.

    Raises:
        BadPayload: Too long, or not text.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise BadPayload(topic=topic, problem=f"payload is longer than {PAYLOAD_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError as fault:
        raise BadPayload(topic=topic, problem="payload is neither JSON nor text") from fault
    if text.startswith(("{", "[")):
        raise BadPayload(topic=topic, problem="payload begins like JSON but is not")
    return text


def is_path(path: str) -> bool:
    """Whether a path can be followed."""
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            return False
        position = match.end()
        if position < len(path) and path[position] == ".":
            position += 1
            if position == len(path):
                return False
        elif position < len(path) and path[position] != "[":
            return False
    return True


def steps_of(path: str) -> tuple[str | int, ...]:
    """A path taken apart: keys as text, places in lists as numbers."""
    return tuple(match[1] or int(match[2]) for match in _STEP.finditer(path))


def _follow(here: Any, steps: tuple[str | int, ...]) -> Any:
    for position, step in enumerate(steps):
        if isinstance(step, int):
            if not isinstance(here, list) or step >= len(here):
                return None
            here = here[step]
        elif not isinstance(here, dict):
            return None
        elif step == "*":
            found = (_follow(below, steps[position + 1 :]) for below in here.values())
            return next((one for one in found if one is not None), None)
        else:
            here = here.get(step)
    return here


def _to_number(found: Any) -> int | float | None:
    if isinstance(found, bool) or found is None:
        return None
    if isinstance(found, str):
        if found.strip().lower() in _NOTHING_YET:
            return None
        try:
            found = float(found)
        except ValueError:
            return None
    if not isinstance(found, int | float) or not math.isfinite(found) or abs(found) > RAW_MAX:
        return None
    return found
