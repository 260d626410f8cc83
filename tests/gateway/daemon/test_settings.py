"""gateway.toml: what is wrong is said in one line that names file, key and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.catalogue import load_map
from gateway.cli import app
from gateway.errors import BadSettings
from gateway.meters.modbus import ModbusSource
from gateway.settings import read_settings
from gateway.sources import build_sources, counts_of
from gateway.wire.reading import Quantity
from tests.gateway.home import settings_text

GOOD = settings_text(
    extra="""
[[mqtt]]
name = "house"
broker = "127.0.0.1"
password_file = "mqtt_password"

[[mqtt.meter]]
name = "plug"
preset = "tasmota_energy"
topic = "plug1"
"""
)


def read(directory: Path, text: str):
    path = directory / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings, state_dir = read(tmp_path, GOOD)
    assert state_dir == tmp_path / "state"
    assert settings.mqtt[0].password_file == str(tmp_path / "mqtt_password")


def test_every_wire_is_built_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mqtt_password").write_text("letmein\n", encoding="utf-8")
    settings, _ = read(tmp_path, GOOD)
    assert [source.name for source in build_sources(settings, client_id="0" * 32)] == [
        "bus",
        "house",
    ]
    assert {meter.name: set(counts_of(meter).counts.values()) for meter in settings.meters} == {
        "main": {"import_wh", "export_wh"},
        "plug": {"import_wh", "export_wh"},
    }


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("state_dir =", "statedir =", r"gateway.*unknown key 'statedir'.*'state_dir'"),
        ("poll_every_s = 10", 'poll_every_s = "x"', r"poll_every_s.*Expected `?'?float"),
        ("Europe/Vienna", "Europe/Wien", "no time zone.*IANA"),
        ("http://127.0.0.1:9", "http://coop.example", "plain http.*https"),
        ("http://127.0.0.1:9", "https://user@coop.example", "no server's address"),
        ('name = "main"', 'name = "Main meter"', "lower-case"),
        ('host = "127.0.0.1"\n', "", "needs 'host'"),
        ('host = "127.0.0.1"\n', 'host = "127.0.0.1"\ndevice = "/dev/x"\n', "has no 'device'"),
        ('host = "127.0.0.1"\n', 'host = "127.0.0.1"\nbaud = 12345\n', r"modbus\[0\].baud.*12345"),
        ("poll_every_s = 10", "poll_every_s = 0", "> 0"),
        ("[gateway]", "[gateway", "TOML"),
        ('name = "plug"', 'name = "main"', "two meters"),
        ("[cloud]", "[clouds]", "unknown key 'clouds'.*'cloud'|'cloud' is missing"),
        ("[local_page]\n", '[local_page]\nnetworks = ["home"]\n', "no network"),
    ],
)
def test_a_fault_is_one_line_with_place_and_remedy(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    assert wrong in GOOD
    with pytest.raises(BadSettings, match=said) as raised:
        read(tmp_path, GOOD.replace(wrong, right))
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "gateway.toml") in str(raised.value)


@pytest.mark.parametrize(
    "words",
    [["status"], ["run"], ["pair", "--code", "X"], ["consent", "list"], ["export"], ["sync"]],
)
def test_commands_end_with_2_and_one_line(tmp_path: Path, words: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "--config", str(tmp_path / "none.toml")])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_counter_the_map_does_not_have_is_named(tmp_path: Path) -> None:
    text = GOOD.replace(
        "poll_every_s = 10", 'poll_every_s = 10\ncounts = { generation_wh = "made_up_wh" }'
    )
    settings, _ = read(tmp_path, text)
    with pytest.raises(BadSettings, match=r"no counter 'made_up_wh'.*import_wh"):
        counts_of(settings.meters[0])


def test_purging_erases_everything_but_never_under_a_running_gateway(tmp_path: Path) -> None:
    from gateway.errors import StateFault
    from gateway.state_lock import only_one, purge_state
    from tests.gateway.home import Home

    home = Home(tmp_path)
    home.pair()
    home.daemon.store.close()
    (home.state_dir / "gateway.key.new").write_bytes(b"left behind by a power cut")
    with only_one(home.state_dir), pytest.raises(StateFault, match="stop it first"):
        purge_state(home.state_dir)
    done = CliRunner().invoke(
        app, ["purge", "--yes", "--json", "--config", str(tmp_path / "gateway.toml")]
    )
    assert done.exit_code == 0
    assert list(home.state_dir.iterdir()) == []


def test_household_commands_work_from_the_command_line(tmp_path: Path) -> None:
    import json

    from tests.gateway.home import Home

    home = Home(tmp_path)
    home.pair()
    secret = tmp_path / "secret.txt"
    secret.write_text(home.secret, encoding="utf-8")

    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(
            app, [*words, "--json", "--config", str(tmp_path / "gateway.toml")]
        )
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)

    assert run("consent", "list")["consents"] == []
    run("consent", "give", "group-tariff", "--secret-file", str(secret))
    run("consent", "narrow", "group-tariff", "--resolution", "PT1H")
    run("pause")
    assert run("status")["paused"] is True
    run("resume", "--erase")
    run("consent", "withdraw", "group-tariff")
    (consent,) = run("consent", "list")["consents"]
    assert consent["state"] == "withdrawn"
    found = run("explain", "main", "import_wh", "2026-07-01T12:00:00Z")
    assert found["found"] == []
    assert "local_secret" in run("new-secret")
    home.daemon.store.close()


def test_a_local_secret_nobody_was_shown_is_not_kept(tmp_path: Path) -> None:
    """A first pairing that fails, or a command before it, must not swallow the secret."""
    text = re.sub(r'url = "[^"]*"', 'url = "http://127.0.0.1:9"', GOOD)
    (tmp_path / "gateway.toml").write_text(text, encoding="utf-8")
    (tmp_path / "mqtt_password").write_text("letmein\n", encoding="utf-8")
    for words in (["sync"], ["pair", "--code", "1234-5678-9ABC"]):
        done = CliRunner().invoke(app, [*words, "--config", str(tmp_path / "gateway.toml")])
        assert done.exit_code == 2, done.output
        assert not (tmp_path / "state" / "local_secret").exists()


BRIDGED = """
[[modbus]]
name = "cabinet"
kind = "rtu_over_tcp"
host = "127.0.0.1"
timeout_s = 3.5

[[modbus.meter]]
name = "barn"
map = "chint_dtsu666"
ct_ratio = 50
fuse_a = 250
"""


def test_a_slow_wire_is_waited_for_as_long_as_the_settings_say(tmp_path: Path) -> None:
    settings, _ = read(tmp_path, settings_text(extra=BRIDGED))
    source = next(
        one for one in build_sources(settings, client_id="0" * 32) if one.name == "cabinet"
    )
    assert isinstance(source, ModbusSource)
    assert [meter.meter_map.limits.timeout_s for meter in source._meters] == [3.5]


def test_current_transformers_the_meter_does_not_know_of_are_reckoned_in(tmp_path: Path) -> None:
    plain = load_map("chint_dtsu666")
    behind = plain.behind_transformers(50)
    before = plain.decode(plain.golden[0].registers)
    after = behind.decode(plain.golden[0].registers)
    assert after["import_wh"] == pytest.approx(50 * before["import_wh"], abs=25)
    for name in ("power_w", "power_l3_w", "current_l1_a", "reactive_var"):
        assert after[name] == pytest.approx(50 * before[name], abs=0.05)
    for name in ("voltage_l1_v", "frequency_hz", "power_factor"):
        assert after[name] == before[name]
    settings, _ = read(tmp_path, settings_text(extra=BRIDGED))
    barn = next(meter for meter in settings.meters if meter.name == "barn")
    limits = counts_of(barn).limits[Quantity.IMPORT_WH]
    assert limits.float32_unit_wh == 50_000
