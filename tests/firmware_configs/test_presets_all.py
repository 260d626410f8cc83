"""One test over every MQTT preset that ships."""

from __future__ import annotations

import json
import re

import pytest

from gateway.catalogue import load_preset, preset_names
from gateway.decode.mqtt_payloads import DEVICE
from gateway.decode.preset_file import check_golden_messages


def test_at_least_fifteen_presets_are_shipped() -> None:
    assert len(preset_names()) >= 15


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_decodes_its_own_golden_messages(name: str) -> None:
    assert check_golden_messages(load_preset(name), file=name) >= 1


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_counts_energy_and_names_its_device_in_every_topic(name: str) -> None:
    preset = load_preset(name)
    if preset.discovery:
        return
    names = {rule.quantity for message in preset.messages for rule in message.values}
    assert "import_wh" in names | set(preset.derived)
    assert all(DEVICE in message.topic for message in preset.messages)
    assert not re.search(r"[+#]", "".join(preset.topics("plug")))


@pytest.mark.parametrize("name", preset_names())
def test_only_numbers_leave_a_payload(name: str) -> None:
    preset = load_preset(name)
    for vector in preset.golden:
        for topic, payload in vector.messages:
            out = preset.decode(topic, payload.encode())
            assert all(isinstance(number, int | float) for number in out.values())


def test_the_supply_point_number_never_leaves_a_glow_payload() -> None:
    preset = load_preset("glow_cad")
    topic, payload = preset.golden[0].messages[0]
    personal = payload.replace("0000000000000", "1200012345678")
    assert "1200012345678" in personal
    out = json.dumps(preset.decode(topic, personal.encode()))
    assert "1200012345678" not in out
    assert "EXAMPLE" not in out
