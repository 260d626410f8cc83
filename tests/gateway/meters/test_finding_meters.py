"""Doctor, scan, check and maps: what a person does before the gateway runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.catalogue import load_map
from gateway.cli import app
from gateway.meters.source import Sample
from tests.gateway.meters.test_reading_real_servers import image_of
from tests.gateway.meters.wires import (
    free_port,
    libmodbus_server,
    mosquitto,
    publish,
    pymodbus_server,
    serial_pair,
)

BLUEPRINT = Path(__file__).parents[3] / "firmware_configs" / "meters" / "_blueprint.toml"
FEW = ["--map", "eastron_sdm630", "--map", "carlo_gavazzi_em340", "--map", "orno_we516"]


def run(*arguments: str) -> dict[str, object]:
    ran = CliRunner().invoke(app, [*arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert isinstance(said, dict)
    return said


def refused(*arguments: str) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exit_code == 2, ran.output
    assert ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1
    return ran.stderr


def test_scan_finds_each_meter_on_a_serial_line_and_the_map_that_fits() -> None:
    images = {
        1: image_of(load_map("eastron_sdm630")),
        4: image_of(load_map("carlo_gavazzi_em340")),
    }
    with serial_pair() as (ours, theirs), pymodbus_server(images, kind="rtu", device=theirs):
        said = run("scan", "--device", ours, "--units", "1-4", "--timeout", "0.2", *FEW)
    found = said["found"]
    assert isinstance(found, list)
    assert [(one["unit"], one["maps"][0]["map"]) for one in found] == [
        (1, "eastron_sdm630"),
        (4, "carlo_gavazzi_em340"),
    ]
    assert found[0]["maps"][0]["quantities"] == load_map("eastron_sdm630").golden[0].expect


def test_doctor_tells_what_answers_and_what_to_write(tmp_path: Path) -> None:
    with (
        serial_pair() as (ours, theirs),
        pymodbus_server({3: image_of(load_map("orno_we516"))}, kind="rtu", device=theirs),
    ):
        said = run("doctor", "--device", ours, "--units", "3", "--timeout", "0.2", *FEW)
        found = said["found"]
        assert isinstance(found, list)
        config = tmp_path / "gateway.toml"
        config.write_text(
            '[gateway]\nstate_dir = "state"\nhousehold_timezone = "Europe/Vienna"\n'
            f'[cloud]\nurl = "https://coop.example"\n{found[0]["config"]}\n'
        )
        checked = run("check", "--config", str(config))
        # The map's own 8E1, on a line between programs that knows no parity.
        read = run("read", "--map", "orno_we516", "--device", ours, "--unit", "3")
    assert read["quantities"] == load_map("orno_we516").golden[0].expect
    assert 'map = "orno_we516"' in found[0]["config"]
    assert "unit = 3" in found[0]["config"]
    assert checked["warnings"] == []


def test_doctor_tells_modbus_tcp_from_a_bridge(libmodbus: Path) -> None:
    meter_map = load_map("eastron_sdm630")
    with libmodbus_server(libmodbus, meter_map.golden[0].registers) as port:
        said = run("doctor", "--host", "127.0.0.1", "--port", str(port), "--units", "1", *FEW)
        usual = run("scan", "--host", "127.0.0.1", "--port", str(port), *FEW)
    with pymodbus_server({1: image_of(meter_map)}, kind="rtu_over_tcp") as port:
        bridged = run(
            *("doctor", "--host", "127.0.0.1", "--port", str(port), "--units", "1"),
            *("--timeout", "0.2", *FEW),
        )
    # This server answers to every address; it is one device all the same.
    assert [one["unit"] for one in usual["found"]] == [1]  # type: ignore[attr-defined]
    assert 'kind = "tcp"' in said["found"][0]["config"]  # type: ignore[index]
    assert 'kind = "rtu_over_tcp"' in bridged["found"][0]["config"]  # type: ignore[index]


def test_doctor_finds_a_slow_device_and_says_that_it_needs_time(tmp_path: Path) -> None:
    meter_map = load_map("eastron_sdm630")
    with pymodbus_server({1: image_of(meter_map)}, delays_s=[0.5] * 60) as port:
        arguments = ["doctor", "--host", "127.0.0.1", "--port", str(port), "--units", "1"]
        said = run(*arguments, "--timeout", "0.1", "--map", "eastron_sdm630")
    config = str(said["found"][0]["config"])  # type: ignore[index]
    assert "timeout_s = 2\n" in config
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG[: CONFIG.index("[[modbus]]")] + config)
    checked = CliRunner().invoke(app, ["check", "--config", str(path)])
    assert "is right: 1 meter, 2 counters" in checked.stdout


@pytest.mark.slow
def test_doctor_says_where_to_look_when_nothing_answers() -> None:
    with serial_pair() as (ours, _):
        arguments = ["doctor", "--device", ours, "--units", "1", "--timeout", "0.05"]
        ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0
    assert "nothing answers" in ran.stdout
    assert "A and B swapped" in ran.stdout
    assert "serial settings, units 1\n" in ran.stdout


def test_a_wire_that_cannot_be_opened_is_explained() -> None:
    assert "dialout" in refused("doctor", "--device", "/dev/there-is-none")
    assert "Modbus TCP is switched on" in refused(
        "doctor", "--host", "127.0.0.1", "--port", str(free_port())
    )
    assert "name one wire" in refused("doctor")
    assert "name one wire" in refused("scan")
    assert "units '1-999' cannot be" in refused("scan", "--host", "127.0.0.1", "--units", "1-999")


CONFIG = """
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"

[cloud]
url = "https://coop.example"

[[modbus]]
name = "rs485"
kind = "rtu"
device = "/dev/none"
baud = 2400
parity = "N"

[[modbus.meter]]
name = "house"
map = "eastron_sdm630"
poll_every_s = POLL
"""


def test_check_shows_blocks_wire_time_and_share_of_the_bus(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.replace("POLL", "10.0"))
    said = run("check", "--config", str(config))
    source = said["sources"][0]  # type: ignore[index]
    assert [read["what"] for read in source["reads"]] == [
        "unit 1: input registers 0x0000-0x004b (76)",
        "unit 1: input registers 0x0156-0x0165 (16)",
    ]
    assert source["wire_time_ms"] == pytest.approx(1000 * source["bus_share"] * 10, rel=0.01)
    assert 0.05 < source["bus_share"] < 0.2
    assert said["warnings"] == []
    assert said["written_mb_per_day"] == pytest.approx(11.1 + 2.6, abs=0.2)
    shown = CliRunner().invoke(app, ["check", "--config", str(config)])
    assert "of the bus" in shown.stdout


def test_check_warns_of_a_bus_that_cannot_keep_up(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.replace("POLL", "1.0"))
    said = run("check", "--config", str(config))
    assert "of the bus" in said["warnings"][0]  # type: ignore[index]


def test_check_refuses_a_map_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.replace("POLL", "10.0").replace("eastron_sdm630", "eastron"))
    assert "no meter map is called 'eastron'" in refused("check", "--config", str(config))


def test_adding_a_meter_is_copying_the_blueprint_and_one_command(tmp_path: Path) -> None:
    mine = tmp_path / "my_meter.toml"
    text = BLUEPRINT.read_text(encoding="utf-8").replace('"maker_model"', '"my_meter"')
    mine.write_text(text)
    said = run("maps", "check", str(mine))
    assert said["checked"][0]["golden_vectors"] == 1  # type: ignore[index]
    mine.write_text(text.replace('unit = "V"', ""))
    assert "[points.voltage_l1_v]" in refused("maps", "check", str(mine))


def test_a_variant_that_is_no_map_is_named(tmp_path: Path) -> None:
    mine = tmp_path / "my_meter.toml"
    text = BLUEPRINT.read_text(encoding="utf-8").replace('"maker_model"', '"my_meter"')
    assert "variants = []" in text
    wrong = 'variants = ["eastron_sdm36", "my_other_meter"]'
    mine.write_text(text.replace("variants = []", wrong), encoding="utf-8")
    fault = refused("maps", "check", str(mine))
    assert "variants[0]" in fault
    assert "eastron_sdm" in fault
    (tmp_path / "my_other_meter.toml").write_text(text, encoding="utf-8")
    right = 'variants = ["my_other_meter"]'
    mine.write_text(text.replace("variants = []", right), encoding="utf-8")
    said = run("maps", "check", str(mine))
    assert said["checked"][0]["golden_vectors"] == 1  # type: ignore[index]


def test_maps_lists_what_is_shipped() -> None:
    said = run("maps", "list")
    assert {"name", "title", "models", "standing", "quantities", "serial"} == set(
        said["maps"][0]  # type: ignore[index]
    )
    assert len(said["presets"]) >= 15  # type: ignore[arg-type]


async def test_a_recording_is_played_again_in_order() -> None:
    from gateway.errors import BadRecording
    from gateway.meters.replay import ReplaySource, samples_from_lines

    lines = [
        b'{"meter":"house","taken_at":"2026-03-01T12:00:00+01:00","quantities":{"import_wh":1}}\n',
        b"\n",
        b'{"meter":"house","taken_at":"2026-03-01T11:01:00Z","quantities":{"import_wh":2}}\n',
    ]
    source = ReplaySource("tape", samples_from_lines(lines, file="tape.jsonl"))
    played: list[Sample] = [sample async for sample in source.samples()]
    assert [sample.quantities["import_wh"] for sample in played] == [1, 2]
    assert played[0].taken_at.isoformat() == "2026-03-01T11:00:00+00:00"
    assert source.health().meters["house"].last_ok_at == played[1].taken_at
    with pytest.raises(BadRecording, match=r"tape\.jsonl, line 1: .*offset"):
        list(samples_from_lines([lines[0].replace(b"+01:00", b"")], file="tape.jsonl"))
    with pytest.raises(BadRecording, match=r"tape\.jsonl, line 1"):
        list(samples_from_lines([b"{}"], file="tape.jsonl"))


def test_scan_listens_to_a_broker_and_says_which_preset_fits() -> None:
    shelly = "shellies/shellyem3-1/emeter"
    with mosquitto() as port:
        for topic, payload in (
            ("tele/plug/SENSOR", '{"ENERGY":{"Total":3.185,"Power":512}}'),
            (f"{shelly}/0/total", "1000"),
            (f"{shelly}/1/total", "2000"),
            (f"{shelly}/2/total", "3000"),
            ("house/door", "open"),
        ):
            publish(port, topic, payload, "-r")
        said = run("scan", "--broker", f"127.0.0.1:{port}", "--seconds", "1")
    found = {(one["preset"], one["device"]): one for one in said["found"]}  # type: ignore[attr-defined]
    assert found["tasmota_energy", "plug"]["quantities"]["import_wh"] == 3185
    assert found["shelly_gen1_3em", "shellyem3-1"]["quantities"]["import_wh"] == 6000
    assert 'topic = "shellyem3-1"' in found["shelly_gen1_3em", "shellyem3-1"]["config"]


def test_scan_names_a_broker_that_is_not_there() -> None:
    port = free_port()
    assert "cannot be reached" in refused("scan", "--broker", f"127.0.0.1:{port}")
    assert "write HOST or HOST:PORT" in refused("scan", "--broker", "a:b:c")
