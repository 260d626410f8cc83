"""MQTT payloads: numbers come out, everything else stays behind."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.catalogue import load_preset, preset_names
from gateway.cli import app
from gateway.decode.ha_discovery import Discovery, discovered_sensor
from gateway.decode.mqtt_payloads import PAYLOAD_BYTES_MAX, is_path
from gateway.decode.preset_file import check_golden_messages, parse_preset
from gateway.errors import BadPayload, BadPreset

GOOD = """
preset = "mine"
title = "My plug"
devices = ["P1"]
phases = 1
standing = "single_source"
source = ["its manual"]
device_help = "its name"

[[message]]
topic = "plugs/{device}"

[message.values.import_wh]
paths = ["energy.total"]
unit = "kWh"

[[golden]]
note = "as sent"
expect = { import_wh = 1500 }

[[golden.messages]]
topic = "plugs/kettle"
payload = '{"energy":{"total":1.5}}'
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('unit = "kWh"', "", "missing required field `unit`"),
        ('unit = "kWh"', 'unit = "V"', "unit 'V' does not fit import_wh; use one of Wh, kWh"),
        ("values.import_wh", "values.energy", "'energy' is not a known quantity"),
        ("energy.total", "energy..total", "cannot be followed"),
        ("plugs/{device}", "plugs/+", "topic"),
        ("plugs/{device}", "{device}/{device}", "{device} stands twice"),
        ('preset = "mine"', 'preset = "yours"', "one name"),
        ('title = "My plug"', 'titel = "My plug"', "mine.toml, "),
        ("phases = 1", "phases =", "mine.toml, TOML: Invalid value (at line 5"),
        ("[[golden]]", '[derived]\nexport_wh = "import_t1_wh"\n[[golden]]', "[derived] export_wh"),
    ],
)
def test_a_fault_in_a_preset_names_file_place_and_remedy(
    before: str, after: str, said: str
) -> None:
    assert before in GOOD
    with pytest.raises(BadPreset) as fault:
        parse_preset(GOOD.replace(before, after, 1), file="mine.toml")
    assert str(fault.value).startswith("mine.toml, ")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_golden_message_that_comes_out_otherwise_is_a_fault() -> None:
    preset = parse_preset(GOOD.replace("1500", "1501"), file="mine.toml")
    with pytest.raises(BadPreset, match="import_wh comes out as 1500, not 1501"):
        check_golden_messages(preset, file="mine.toml")


def decode(preset: str, topic: str, payload: object) -> dict[str, int | float]:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return load_preset(preset).decode(topic, raw)


def test_another_devices_topic_holds_nothing() -> None:
    assert decode("tasmota_energy", "tele/plug/STATE", {"ENERGY": {"Total": 1}}) == {}


@pytest.mark.parametrize("missing", [None, "", "unknown", "unavailable", "nan", True, [], {}])
def test_what_is_not_a_number_is_missing_not_zero(missing: object) -> None:
    payload = {"ENERGY": {"Total": missing, "Power": 5}}
    assert decode("tasmota_energy", "tele/plug/SENSOR", payload) == {"power_w": 5.0}


def test_a_list_with_a_hole_is_not_summed() -> None:
    payload = {"ENERGY": {"ImportActive": [1.0, None, 2.0]}}
    topic = "tele/house/SENSOR"
    quantities = decode("tasmota_energy_3phase", topic, payload)
    assert "import_wh" not in quantities
    assert quantities["import_l1_wh"] == 1000


def test_watt_minutes_are_not_watt_hours() -> None:
    assert decode("shelly_gen1_plug", "shellies/p/relay/0/energy", 60) == {"import_wh": 1}


@pytest.mark.parametrize("payload", [b"{", b"\xff\xfe\x00", b"[1,", b"x" * (PAYLOAD_BYTES_MAX + 1)])
def test_a_payload_that_cannot_be_is_refused_without_repeating_it(payload: bytes) -> None:
    with pytest.raises(BadPayload, match="topic tele/plug/SENSOR") as fault:
        decode("tasmota_energy", "tele/plug/SENSOR", payload)
    assert len(str(fault.value)) < 120


def test_a_deeply_nested_payload_is_refused() -> None:
    with pytest.raises(BadPayload):
        decode("tasmota_energy", "tele/plug/SENSOR", b"[" * 60_000)


@given(payload=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_payload_at_all_brings_a_preset_down(payload: bytes) -> None:
    for name in ("tasmota_sml", "vzlogger", "glow_cad", "shelly_gen2_em_rpc"):
        preset = load_preset(name)
        for topic in preset.topics("x/y"):
            try:
                out = preset.decode(topic, payload)
            except BadPayload:
                continue
            assert all(isinstance(number, int | float) for number in out.values())


def test_a_relay_without_a_meter_exports_nothing_known() -> None:
    topic = "shellyplus1-1/status/switch:0"
    assert decode("shelly_gen2_switch", topic, {"id": 0, "output": True}) == {}
    with_meter = decode("shelly_gen2_switch", topic, {"aenergy": {"total": 12.0}})
    assert with_meter == {"total_wh": 12, "export_wh": 0, "import_wh": 12}


def test_a_unit_the_device_states_is_heeded_and_a_wrong_one_refused() -> None:
    preset = load_preset("home_assistant_statestream")
    said = preset.unit_said("ha/sensor/grid_import_energy/unit_of_measurement", b'"MWh"')
    assert said == {"import_wh": "MWh"}
    out = preset.decode("ha/sensor/grid_import_energy/state", b"1.5", said)
    assert out == {"import_wh": 1_500_000}
    with pytest.raises(BadPayload, match="states a unit that cannot be that of power_w"):
        preset.unit_said("ha/sensor/grid_power/unit_of_measurement", b'"kWh"')


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("", True),
        ("a.b[0].c", True),
        ("*.x", True),
        ("em:0.p", True),
        ("a..b", False),
        ("a.", False),
    ],
)
def test_paths_are_checked(path: str, right: bool) -> None:
    assert is_path(path) is right


def announce(**more: object) -> bytes:
    config = {
        "state_topic": "plugs/1",
        "unit_of_measurement": "kWh",
        "device_class": "energy",
        "state_class": "total_increasing",
        "value_template": "{{ value_json.energy }}",
    }
    return json.dumps(config | more).encode()


CONFIG = "homeassistant/sensor/plug_1/energy/config"


def test_a_device_that_announces_itself_is_understood() -> None:
    found = Discovery(prefix="plug_1")
    found.learn(CONFIG, announce())
    found.learn(
        "homeassistant/sensor/plug_1/back/config",
        announce(name="Energy returned", value_template="{{ value_json['ret'] | float }}"),
    )
    found.learn(
        "homeassistant/sensor/plug_1/power/config",
        json.dumps(
            {
                "~": "plugs",
                "stat_t": "~/1",
                "unit_of_meas": "W",
                "dev_cla": "power",
                "val_tpl": "{{ value_json.power }}",
            }
        ).encode(),
    )
    assert found.topics == ("plugs/1",)
    payload = b'{"energy": 1.5, "ret": 0.25, "power": 12, "owner": "someone"}'
    assert found.hear("plugs/1", payload) == {"import_wh": 1500, "export_wh": 250, "power_w": 12.0}


@pytest.mark.parametrize(
    "more",
    [
        {"unit_of_measurement": None},
        {"unit_of_measurement": "furlong"},
        {"state_class": "measurement"},
        {"name": "Energy today"},
        {"value_template": "{{ states('x') }}"},
        {"value_template": "{% if true %}{{ value_json.energy }}{% endif %}"},
        {"state_topic": "plugs/#"},
        {"state_topic": 7},
        {"device_class": "temperature"},
    ],
)
def test_an_announcement_that_is_no_counter_is_left_alone(more: dict[str, object]) -> None:
    assert discovered_sensor(CONFIG, announce(**more)) is None


def test_another_devices_announcement_is_not_taken() -> None:
    found = Discovery(prefix="plug_2")
    found.learn(CONFIG, announce())
    assert found.topics == ()


def test_of_two_counters_that_claim_one_quantity_neither_is_guessed() -> None:
    found = Discovery(prefix="plug_1")
    found.learn(CONFIG, announce())
    other = "homeassistant/sensor/plug_1/other/config"
    found.learn(other, announce(value_template="{{ value_json.b }}"))
    assert found.hear("plugs/1", b'{"energy": 1, "b": 2}') == {}
    assert found.doubts == "several sensors claim import_wh (energy, other)"
    found.learn(other, b"")
    assert found.hear("plugs/1", b'{"energy": 1, "b": 2}') == {"import_wh": 1000}
    assert found.doubts == ""


@pytest.mark.parametrize("order", [1, -1])
def test_the_sensor_called_total_is_taken_whichever_comes_first(order: int) -> None:
    found = Discovery(prefix="plug_1")
    for name in ("circuit_energy", "total_energy")[::order]:
        template = f"{{{{ value_json.{name} }}}}"
        topic = f"homeassistant/sensor/plug_1/{name}/config"
        found.learn(topic, announce(value_template=template))
    assert found.hear("plugs/1", b'{"circuit_energy": 1, "total_energy": 2}') == {"import_wh": 2000}


@pytest.mark.parametrize(
    ("name", "device_class", "quantity"),
    [
        ("Energy consumed tariff 1", "energy", "import_t1_wh"),
        ("Energy consumed (tarif 2)", "energy", "import_t2_wh"),
        ("Energy produced tariff 1", "energy", "export_t1_wh"),
        ("Energy returned low tariff", "energy", "export_t1_wh"),
        ("Energy delivered normal tariff", "energy", "import_t2_wh"),
        ("Phase A energy", "energy", "import_l1_wh"),
        ("L2 total energy", "energy", "import_l2_wh"),
        ("Produced energy", "energy", "export_wh"),
        ("Energy tariff", "energy", None),
        ("Energy this year", "energy", None),
        ("Charge session energy", "energy", None),
        ("L2 power", "power", "power_l2_w"),
        ("Power phase b", "power", "power_l2_w"),
        ("Power returned", "power", "power_export_w"),
        ("Power consumption", "power", "power_import_w"),
        ("Phase 3 voltage", "voltage", "voltage_l3_v"),
        ("Voltage L1-L2", "voltage", None),
        ("Neutral current", "current", "current_n_a"),
    ],
)
def test_a_sensor_is_told_apart_by_its_name(
    name: str, device_class: str, quantity: str | None
) -> None:
    unit = {"energy": "kWh", "power": "kW", "voltage": "V", "current": "A"}[device_class]
    said = announce(name=name, device_class=device_class, unit_of_measurement=unit)
    found = discovered_sensor("homeassistant/sensor/plug_1/x/config", said)
    assert (found and found.quantity) == quantity


def test_tariffs_and_directions_a_device_announces_are_summed() -> None:
    found = Discovery(prefix="p1")
    for name, device_class, unit in (
        ("consumed_tariff_1", "energy", "kWh"),
        ("consumed_tariff_2", "energy", "kWh"),
        ("power_returned", "power", "W"),
        ("power_delivered_consumption", "power", "W"),
    ):
        config = announce(
            name=name.replace("_", " "),
            state_topic=f"p1/{name}",
            device_class=device_class,
            unit_of_measurement=unit,
            value_template=None,
        )
        found.learn(f"homeassistant/sensor/p1/{name}/config", config)
    assert dict(found.derived) == {
        "import_wh": ((1, "import_t1_wh"), (1, "import_t2_wh")),
        "power_w": ((1, "power_import_w"), (-1, "power_export_w")),
    }
    assert found.hear("p1/consumed_tariff_2", b"2.5") == {"import_t2_wh": 2500}


@pytest.mark.parametrize(
    "name", [name for name in preset_names() if name != "home_assistant_discovery"]
)
def test_the_decode_command_reads_a_payload_from_standard_input(name: str) -> None:
    preset = load_preset(name)
    topic, payload = preset.golden[0].messages[0]
    arguments = ["decode", "mqtt", "--preset", name, "--topic", topic, "--json"]
    ran = CliRunner().invoke(app, arguments, input=payload)
    if preset.unit_said(topic, payload.encode()):
        return
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["quantities"] == preset.decode(topic, payload.encode())


def test_the_decode_command_shows_what_an_announcement_says() -> None:
    arguments = ["decode", "mqtt", "--preset", "home_assistant_discovery", "--topic", CONFIG]
    ran = CliRunner().invoke(app, [*arguments, "--json"], input=announce())
    assert json.loads(ran.stdout)["announces"] == {
        "quantity": "import_wh",
        "topic": "plugs/1",
        "path": "energy",
        "unit": "kWh",
    }


@pytest.mark.parametrize(
    ("preset", "topic", "payload", "said"),
    [
        ("tasmota_energy", "tele/x/SENSOR", "{", "begins like JSON but is not"),
        ("tasmota_energy", "tele/x/OTHER", "{}", "not a topic of tasmota_energy"),
        ("nobody", "t", "{}", "no MQTT preset is called 'nobody'"),
    ],
)
def test_the_decode_command_refuses_with_one_line(
    preset: str, topic: str, payload: str, said: str
) -> None:
    arguments = ["decode", "mqtt", "--preset", preset, "--topic", topic, "--json"]
    ran = CliRunner().invoke(app, arguments, input=payload)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("total", ["1e308", "-1e308", "1e14", "9" * 300, '"1e308"', '"inf"'])
def test_a_number_no_meter_can_mean_is_no_reading(total: str) -> None:
    payload = f'{{"ENERGY":{{"Total":{total},"Power":12}}}}'.encode()
    found = load_preset("tasmota_energy").decode("tele/plug/SENSOR", payload)
    assert found == {"power_w": 12.0}


def test_a_three_phase_list_without_import_active_is_read_at_total() -> None:
    payload = b'{"ENERGY":{"Total":[1.5,2.5,3.5],"Power":[1,2,3]}}'
    found = load_preset("tasmota_energy_3phase").decode("tele/plug/SENSOR", payload)
    assert found["import_wh"] == 7500
    assert found["import_l2_wh"] == 2500


# Tasmota issues 17178 (one phase feeds in) and 17671 (SDM630): payloads as sent.
NET_TOTAL = (
    b'{"ENERGY":{"Total":0.00627,"ExportActive":[0.02465,0.00001,0.00001],"Power":[-0.2,0.0,0.0]}}'
)
BOTH_WAYS = (
    b'{"ENERGY":{"Total":16647.947,"ExportActive":[1508.370,1929.488,1696.624],'
    b'"Power":[-172.594,-8.608,-70.458],"ImportActive":[4392.588,2795.954,4301.033]}}'
)


@pytest.mark.parametrize("preset", ["tasmota_energy", "tasmota_energy_3phase"])
def test_a_total_that_is_net_or_gross_never_passes_for_import(preset: str) -> None:
    net = load_preset(preset).decode("tele/x/SENSOR", NET_TOTAL)
    assert not any(name.startswith("import") for name in net)
    assert net["export_wh"] == 25
    both = load_preset(preset).decode("tele/x/SENSOR", BOTH_WAYS)
    assert both["import_wh"] == 11_489_575
    assert both["export_wh"] == 5_134_482
    assert both["power_w"] == -251.66


@pytest.mark.parametrize(
    "meter",
    [
        '"":{"Total_in":2173.5,"Total_out":349.3,"Power_curr":-136.39}',
        '"DWS74":{"Total":2173.5,"TotalOut":349.3,"Power":-136.39,"Server_id":"0a01454d48"}',
        '"SML":{"ImportActive":2173.5,"ExportActive":349.3,"Power":-136.39,"Meter_id":"0a01"}',
        '"MT631":{"total_kwh":2173.5,"export_total_kwh":349.3,"curr_w":-136.39,"meter_number":"1"}',
    ],
)
def test_a_meter_read_by_sml_under_the_names_users_gave(meter: str) -> None:
    payload = f'{{"Time":"2023-02-28T11:41:19",{meter}}}'.encode()
    out = load_preset("tasmota_sml").decode("tele/x/SENSOR", payload)
    assert out == {"import_wh": 2_173_500, "export_wh": 349_300, "power_w": -136.39}


def glow(unit: object) -> bytes:
    counter = {"cumulative": 2713.5, "units": unit, "mpan": "2000012345678", "supplier": "x"}
    return json.dumps({"electricitymeter": {"energy": {"import": counter}}}).encode()


def test_a_unit_within_the_message_is_heeded_and_a_wrong_one_refused() -> None:
    preset, topic = load_preset("glow_cad"), "glow/4C1234567890/SENSOR/electricitymeter"
    assert preset.decode(topic, glow("kWh")) == {"import_wh": 2_713_500}
    assert preset.decode(topic, glow("Wh")) == {"import_wh": 2714}
    assert preset.decode(topic, glow(None)) == {"import_wh": 2_713_500}
    for unit in ("m3", "kW", 7, ["kWh"]):
        with pytest.raises(BadPayload, match="cannot be that of import_wh") as fault:
            preset.decode(topic, glow(unit))
        assert "2000012345678" not in str(fault.value)


@pytest.mark.parametrize(
    ("preset", "topic", "payload", "answer"),
    [
        (
            "home_assistant_statestream",
            "ha/sensor/grid_import_energy/unit_of_measurement",
            '"MWh"',
            {"units": {"import_wh": "MWh"}},
        ),
        ("tasmota_energy", "tele/x/LWT", "Online", {}),
    ],
)
def test_the_decode_command_knows_topics_that_carry_no_reading(
    preset: str, topic: str, payload: str, answer: dict[str, object]
) -> None:
    arguments = ["decode", "mqtt", "--preset", preset, "--topic", topic, "--json"]
    ran = CliRunner().invoke(app, arguments, input=payload)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == {"preset": preset, "quantities": {}} | answer


def test_a_preset_with_many_topics_is_refused_in_one_short_line() -> None:
    arguments = ["decode", "mqtt", "--preset", "dsmr_reader_split", "--topic", "x/y", "--json"]
    ran = CliRunner().invoke(app, arguments, input="1")
    assert ran.exit_code == 2
    assert " more" in ran.stderr
    assert len(ran.stderr) < 500
