"""Listens to a broker for a while, and says which presets understand what is said there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.decode.mqtt_payloads import DEVICE, PAYLOAD_BYTES_MAX, Preset
from gateway.decode.quantities import quantity_kind
from gateway.errors import BadPayload, LinkDown
from gateway.meters.mqtt import BrokerAddress

TOPICS_MAX = 5_000
"""Most topics remembered while listening; more is a broker with other things on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPublisher:
    """A device on a broker that a preset understands.

    Args:
        preset: The preset.
        device: What stands for `{device}`.
        quantities: What its messages held.
    """

    preset: Preset
    device: str
    quantities: Mapping[str, int | float]


async def listen(
    broker: BrokerAddress, presets: tuple[Preset, ...], *, seconds: float
) -> tuple[FoundPublisher, ...]:
    """Listen to all topics, and sort out what has an energy counter; richest first.

    Raises:
        LinkDown: The broker cannot be reached, or lets nobody in.
    """
    heard: dict[str, bytes] = {}
    refused: list[str] = []
    client = Client(CallbackAPIVersion.VERSION2, clean_session=True, reconnect_on_failure=False)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)

    def on_connect(client: Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        if reason.is_failure:
            refused.append(str(reason))
        else:
            client.subscribe("#")

    def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
        if len(message.payload) <= PAYLOAD_BYTES_MAX and len(heard) < TOPICS_MAX:
            heard[message.topic] = bytes(message.payload)

    client.on_connect = on_connect
    client.on_message = on_message
    try:
        await asyncio.to_thread(client.connect, broker.host, broker.port, 30)
    except (OSError, ValueError) as fault:
        raise LinkDown(place=str(broker), problem=f"cannot be reached: {fault}") from fault
    client.loop_start()
    try:
        await asyncio.sleep(seconds)
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
    if refused:
        raise LinkDown(place=str(broker), problem=f"lets nobody in: {refused[0]}")
    return understood(heard, presets)


def understood(
    heard: Mapping[str, bytes], presets: tuple[Preset, ...]
) -> tuple[FoundPublisher, ...]:
    """Which presets understand what was heard.

    Args:
        heard: Last payload by topic.
        presets: Those to try.
    """
    found: dict[tuple[str, str], FoundPublisher] = {}
    for preset in presets:
        for topic, payload in heard.items():
            try:
                quantities = preset.decode(topic, payload)
            except BadPayload:
                continue
            if not quantities:
                continue
            device = _device_in(preset, topic)
            known = found.get((preset.name, device))
            together = {**(known.quantities if known else {}), **quantities}
            preset.complete(together)
            found[preset.name, device] = FoundPublisher(
                preset=preset, device=device, quantities=together
            )
    counted = (one for one in found.values() if any(map(_is_energy, one.quantities)))
    return tuple(
        sorted(counted, key=lambda one: (-len(one.quantities), one.device, one.preset.name))
    )


def publisher_config(found: FoundPublisher, broker: BrokerAddress, *, name: str = "house") -> str:
    """What to write into gateway.toml for a device."""
    lines = ["[[mqtt]]", f'broker = "{broker.host}"', f"port = {broker.port}", ""]
    lines += ["[[mqtt.meter]]", f'name = "{name}"', f'preset = "{found.preset.name}"']
    return "\n".join([*lines, f'topic = "{found.device}"'])


def _device_in(preset: Preset, topic: str) -> str:
    rule = next(message for message in preset.messages if message.matches(topic))
    before, _, after = rule.topic.partition(DEVICE)
    return topic[len(before) : len(topic) - len(after)]


def _is_energy(name: str) -> bool:
    kind = quantity_kind(name)
    return kind is not None and kind.unit == "wh"
