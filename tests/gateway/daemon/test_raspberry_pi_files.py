"""Each file for the Pi is taken by the real tool it is for."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from gateway.cli import app
from gateway.errors import StateFault
from gateway.settings import read_settings
from gateway.setup import SetupWish, plan_undo, set_up, undo
from gateway.setup_broker import add_devices
from tests.gateway.real_tools import PI, SEARCH, run, tool
from tests.ports import free_port

DEBIANS_OWN = """#!/usr/sbin/nft -f

flush ruleset

table inet filter {
\tchain input {
\t\ttype filter hook input priority filter;
\t}
}
"""


def test_the_service_scores_as_hardened() -> None:
    program = tool("systemd-analyze", "systemd")
    done = run(
        program,
        "security",
        "--offline=true",
        "--no-pager",
        str(PI / "systemd/coop-gateway.service"),
    )
    found = re.search(r"Overall exposure level.*?: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found.group(1)) <= 2.5


def test_the_service_is_understood_by_systemd(tmp_path: Path) -> None:
    program = tool("systemd-analyze", "systemd")
    unit = tmp_path / "coop-gateway.service"
    text = (PI / "systemd/coop-gateway.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/commonwatt/bin/coop-gateway", "/bin/true"), encoding="utf-8")
    done = run(program, "verify", "--man=no", str(unit))
    complaints = [line for line in done.stderr.splitlines() if "coop-gateway.service" in line]
    assert complaints == []


def test_the_firewall_is_taken_by_nftables_and_drops_by_default() -> None:
    program = tool("nft", "nftables")
    done = run(program, "-c", "-f", str(PI / "nftables/commonwatt.nft"))
    if "Operation not permitted" in done.stderr or "Netlink" in done.stderr:
        pytest.skip("nft may not check rules on this machine: it needs CAP_NET_ADMIN")
    assert (done.returncode, done.stderr) == (0, "")
    text = (PI / "nftables/commonwatt.nft").read_text(encoding="utf-8")
    assert text.count("policy drop") == 3
    assert not re.search(r"dport.*\b22\b", text)


def test_the_shell_and_a_rule_of_the_household_are_taken_by_the_firewall(tmp_path: Path) -> None:
    program = tool("nft", "nftables")
    folder = tmp_path / "rules"
    folder.mkdir()
    text = (PI / "nftables/commonwatt.nft").read_text(encoding="utf-8")
    whole = tmp_path / "whole.nft"
    whole.write_text(text.replace("/etc/nftables.d", str(folder)), encoding="utf-8")
    own = "add rule inet commonwatt from_home tcp dport 8123 accept\n"
    (folder / "commonwatt-own.nft").write_text(own, encoding="utf-8")
    shutil.copy(PI / "nftables/remote-shell.nft", folder / "commonwatt-remote-shell.nft")
    done = run(program, "-c", "-f", str(whole))
    if "Operation not permitted" in done.stderr or "Netlink" in done.stderr:
        pytest.skip("nft may not check rules on this machine: it needs CAP_NET_ADMIN")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def broker(tmp_path: Path):
    """A real mosquitto with our configuration, included the way Debian includes it."""
    program = tool("mosquitto", "mosquitto")
    root = tmp_path / "root"
    set_up(root, SetupWish(broker=True))
    passwords = add_devices(root, ["plug1", "plug2"])
    passwords["gateway"] = (root / "etc/commonwatt/mqtt_password").read_text("utf-8").strip()
    port = free_port()
    included = root / "etc/mosquitto/conf.d/commonwatt.conf"
    text = included.read_text(encoding="utf-8")
    text = re.sub("/etc/(mosquitto|commonwatt)/", rf"{root}/etc/\1/", text)
    included.write_text(text.replace("listener 1883", f"listener {port} 127.0.0.1"), "utf-8")
    data = tmp_path / "data"
    data.mkdir()
    main = root / "etc/mosquitto/mosquitto.conf"
    main.write_text(
        # As this user, whose files these are; Debian's own runs as `mosquitto`.
        f"user {getpass.getuser()}\n"
        f"persistence true\npersistence_location {data}/\nlog_dest stderr\n"
        f"include_dir {root / 'etc/mosquitto/conf.d'}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen([program, "-c", str(main)], stderr=subprocess.PIPE, text=True)
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.1).close()
            break
        except OSError:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
    yield port, passwords
    process.terminate()
    process.communicate(timeout=10)


def connect(port: int, user: str | None, password: str | None):
    heard: list[tuple[str, bytes]] = []
    outcome: list[object] = []
    client = Client(CallbackAPIVersion.VERSION2)
    if user is not None:
        client.username_pw_set(user, password)
    client.on_connect = lambda _c, _u, _f, reason, _p: outcome.append(reason)
    client.on_message = lambda _c, _u, message: heard.append((message.topic, message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(lambda: outcome)
    return client, heard, outcome[0]


def until(true, patience_s: float = 10.0) -> None:
    ends = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def close(*clients: Client) -> None:
    for client in clients:
        client.disconnect()
        client.loop_stop()


def test_the_broker_lets_each_device_speak_for_itself_only(broker) -> None:
    port, passwords = broker
    gateway, heard, reason = connect(port, "gateway", passwords["gateway"])
    assert not reason.is_failure
    gateway.subscribe("#", qos=1)
    one, spied, _ = connect(port, "plug1", passwords["plug1"])
    one.subscribe("#", qos=1)
    time.sleep(0.2)
    one.publish("tele/plug1/SENSOR", b"mine", qos=1)
    one.publish("tele/plug2/SENSOR", b"forged", qos=1)
    two, _, _ = connect(port, "plug2", passwords["plug2"])
    two.publish("tele/plug2/SENSOR", b"own", qos=1)
    until(lambda: ("tele/plug2/SENSOR", b"own") in heard)
    close(gateway, one, two)
    assert ("tele/plug1/SENSOR", b"mine") in heard
    assert b"forged" not in [payload for _, payload in heard]
    assert ("tele/plug2/SENSOR", b"own") not in spied


@pytest.mark.parametrize("who", [(None, None), ("plug1", "wrong"), ("stranger", "x")])
def test_the_broker_lets_no_stranger_in(broker, who) -> None:
    port, _ = broker
    client, _, reason = connect(port, *who)
    close(client)
    assert reason.is_failure


def test_accounts_and_directories_are_made_by_systemd_itself(tmp_path: Path) -> None:
    sysusers, tmpfiles = tool("systemd-sysusers", "systemd"), tool("systemd-tmpfiles", "systemd")
    set_up(tmp_path, SetupWish())
    done = run(sysusers, f"--root={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "commonwatt" in (tmp_path / "etc/passwd").read_text(encoding="utf-8")
    if not Path("/proc/self").exists() or run("id", "-u").stdout.strip() != "0":
        pytest.skip("making directories for other accounts needs root")
    done = run(tmpfiles, "--create", f"--root={tmp_path}")
    assert (tmp_path / "var/lib/commonwatt").stat().st_mode & 0o777 == 0o700, done.stderr


def test_setup_keeps_the_households_own_settings(tmp_path: Path) -> None:
    runner = CliRunner()
    words = ["setup", "--root", str(tmp_path), "--firewall", "--json"]
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nftables.conf").write_text(DEBIANS_OWN, encoding="utf-8")
    planned = json.loads(runner.invoke(app, [*words, "--dry-run"]).stdout)
    assert "etc/commonwatt/gateway.toml" in planned["writes"]
    assert not (tmp_path / "etc/commonwatt").exists()
    assert runner.invoke(app, words).exit_code == 0
    own = tmp_path / "etc/commonwatt/gateway.toml"
    own.write_text("mine", encoding="utf-8")
    again = json.loads(runner.invoke(app, words).stdout)
    assert again["writes"] == []
    assert set(again["keeps"]) == set(planned["writes"])
    assert own.read_text(encoding="utf-8") == "mine"


def test_undo_takes_away_what_setup_wrote_and_keeps_what_the_household_changed(
    tmp_path: Path,
) -> None:
    (tmp_path / "etc").mkdir()
    firewall = tmp_path / "etc/nftables.conf"
    firewall.write_text(DEBIANS_OWN, encoding="utf-8")
    set_up(tmp_path, SetupWish(broker=True, firewall=True))
    assert "commonwatt" in firewall.read_text(encoding="utf-8")
    own = tmp_path / "etc/systemd/journald.conf.d/commonwatt.conf"
    own.write_text("[Journal]\nStorage=persistent\n", encoding="utf-8")
    assert plan_undo(tmp_path).keeps == ("etc/systemd/journald.conf.d/commonwatt.conf",)
    undo(tmp_path)
    assert firewall.read_text(encoding="utf-8") == DEBIANS_OWN
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        "etc/commonwatt/gateway.toml",
        "etc/commonwatt/mosquitto_passwords",
        "etc/commonwatt/mqtt_password",
        "etc/nftables.conf",
        "etc/systemd/journald.conf.d/commonwatt.conf",
    }


@pytest.mark.parametrize(
    ("place", "text", "word"),
    [
        ("etc/nftables.conf", "table inet x { chain i { tcp dport 22 accept } }", "not ours"),
        ("etc/ufw/ufw.conf", "# ufw\nENABLED=yes\n", "ufw is switched on"),
        ("etc/mosquitto/conf.d/home.conf", "listener 1883\n", "set up already"),
        ("etc/mosquitto/mosquitto.conf", "persistence true\nallow_anonymous true\n", "already"),
    ],
)
def test_a_broker_or_firewall_of_the_household_stops_setup_before_its_first_write(
    tmp_path: Path, place: str, text: str, word: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["setup", "--root", str(tmp_path), "--broker", "--firewall"])
    assert done.exit_code == 2
    assert word in done.stderr
    assert place in done.stderr
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [tmp_path / place]


def test_the_firewall_keeps_ssh_open_on_the_port_it_has_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    (tmp_path / "etc/ssh/sshd_config.d").mkdir(parents=True)
    (tmp_path / "etc/ssh/sshd_config").write_text("#Port 22\nPort 2222\n", encoding="utf-8")
    (tmp_path / "etc/ssh/sshd_config.d/a.conf").write_text("port 22\n", encoding="utf-8")
    rule = tmp_path / "etc/nftables.d/commonwatt-remote-shell.nft"
    set_up(tmp_path, SetupWish(firewall=True))
    assert "input tcp dport { 22, 2222 } accept" in rule.read_text(encoding="utf-8")
    set_up(tmp_path, SetupWish(firewall=True, close_shell=True))
    assert not rule.exists()


def test_an_image_holds_no_secret_of_any_home_and_is_not_written_at_its_first_boot(
    tmp_path: Path,
) -> None:
    set_up(tmp_path, SetupWish(broker=True, firewall=True, close_shell=True, image=True))
    shared = tmp_path / "etc/rpi-image-gen/slot-shared.d/commonwatt.conf"
    assert "Path=/var/lib/commonwatt" in shared.read_text(encoding="utf-8").splitlines()
    assert not list((tmp_path / "etc").glob("commonwatt/*"))
    assert not (tmp_path / "var/lib/commonwatt").exists()
    first = yaml.safe_load((PI / "cloud_init/user-data").read_text(encoding="utf-8"))["runcmd"][-1]
    assert "--broker --firewall --close-shell --enable" in first[-1]
    coops = tmp_path / "usr/share/commonwatt/gateway.toml"
    coops.parent.mkdir(parents=True)
    coops.write_text("# of the co-op\n", encoding="utf-8")
    plan = set_up(tmp_path, SetupWish(broker=True, firewall=True, close_shell=True))
    # What is left to write lies in the two directories that are on the data partition.
    assert plan.writes == ("etc/commonwatt/gateway.toml",)
    written = (tmp_path / "etc/commonwatt/gateway.toml").read_text(encoding="utf-8")
    assert written == "# of the co-op\n"


def test_the_local_secret_is_written_where_the_household_finds_it(tmp_path: Path) -> None:
    target = tmp_path / "secret.txt"
    words = ["setup", "--root", str(tmp_path / "root"), "--secret-to", str(target), "--json"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert re.fullmatch(
        r"[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}\n", target.read_text(encoding="utf-8")
    )
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_the_local_secret_is_shown_although_the_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def not_started(root: Path, wish: SetupWish, *, tell_secret) -> None:
        tell_secret("abcd-efgh-jkmn")
        raise StateFault(path="systemctl restart x", problem="failed", remedy="see why")

    monkeypatch.setattr("gateway.setup.set_up", not_started)
    done = CliRunner().invoke(app, ["setup", "--enable", *words])
    assert done.exit_code == 2
    assert "local secret: abcd-efgh-jkmn" in done.output
    assert "error: systemctl restart x: failed; see why" in done.stderr


def test_a_service_on_a_slow_card_has_time_to_start() -> None:
    text = (PI / "systemd/coop-gateway.service").read_text(encoding="utf-8")
    told = re.search(r"^TimeoutStartSec=(\d+)$", text, re.MULTILINE)
    assert told
    assert int(told.group(1)) >= 300


def test_the_shipped_settings_are_right() -> None:
    settings, _ = read_settings(PI / "gateway.toml")
    assert settings.cloud.url.startswith("https://")


def test_the_first_boot_gives_nobody_a_password_or_a_shell() -> None:
    text = (PI / "cloud_init/user-data").read_text(encoding="utf-8")
    assert text.startswith("#cloud-config\n")
    told = yaml.safe_load(text)
    assert told["users"] == [{"name": "root", "lock_passwd": True}]
    assert told["ssh_pwauth"] is False
    assert told["disable_root"] is True
    assert ["systemctl", "mask", "--now", "ssh.service", "ssh.socket"] in told["runcmd"]
    assert not re.search(r"[^_]passwd|plain_text|chpasswd", text)


def test_the_first_boot_file_fits_cloud_inits_own_schema() -> None:
    program = shutil.which("cloud-init", path=SEARCH)
    if program is None:
        pytest.skip(
            "cloud-init is not here; it is only installed where it cannot start (containers)"
        )
    done = run(program, "schema", "--config-file", str(PI / "cloud_init/user-data"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted((PI / "image/config").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_image_names_its_parts(path: Path) -> None:
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(told) == {"device", "image", "layer"}
    assert told["layer"]["app"] == "commonwatt-gateway"
    # The first boot stage of the older ones reads the first FAT partition only.
    layouts = {"rpi4": "image-rota", "rpi5": "image-rota"}
    assert told["image"]["layer"] == layouts.get(told["device"]["layer"], "image-commonwatt-slots")
    sizes = [told["image"][f"{part}_part_size"] for part in ("boot", "system", "data")]
    assert all(re.fullmatch(r"[1-9][0-9]*[MG]", size) for size in sizes)


def test_the_image_layer_is_well_formed_and_installs_by_hash() -> None:
    text = (PI / "image/layer/commonwatt-gateway.yaml").read_text(encoding="utf-8")
    head, _, body = text.partition("# METAEND\n")
    assert head.startswith("# METABEGIN\n")
    assert "X-Env-Layer-Name: commonwatt-gateway\n" in head
    recipe = yaml.safe_load(body)["mmdebstrap"]
    assert {"mosquitto", "nftables", "cloud-init"} <= set(recipe["packages"])
    assert any("--require-hashes" in hook for hook in recipe["customize-hooks"])
    assert any("coop-gateway setup --image --broker" in hook for hook in recipe["customize-hooks"])
    for hook in recipe["customize-hooks"]:
        done = run("bash", "-n", "-c", hook)
        assert done.returncode == 0, done.stderr


def test_names_for_sticks_are_rules_that_udev_can_read() -> None:
    rules = (PI / "udev/60-commonwatt-rs485.rules").read_text(encoding="utf-8")
    pair = re.compile(r'[A-Z]+(\{[^}]+\})?(==|!=|\+=|=)"[^"]*"')
    lines = [line for line in rules.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert all(pair.fullmatch(each.strip()) for each in line.split(", ")), line
    labels = set(re.findall(r'GOTO="(\w+)"', rules))
    assert labels == set(re.findall(r'LABEL="(\w+)"', rules))
    program = shutil.which("udevadm", path=SEARCH)
    if program is None or "verify" not in run(program, "--help").stdout:
        pytest.skip("udevadm here cannot verify rules (systemd 254 and later can); read by our own")
    done = run(program, "verify", str(PI / "udev/60-commonwatt-rs485.rules"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("place", "section"), [("journald", "Journal"), ("timesyncd", "Time"), ("watchdog", "Manager")]
)
def test_small_files_of_systemd_have_their_section(place: str, section: str) -> None:
    import configparser

    reader = configparser.ConfigParser(interpolation=None)
    reader.optionxform = str
    reader.read_string((PI / place / "commonwatt.conf").read_text(encoding="utf-8"))
    assert reader.sections() == [section]
    daemon = Path("/usr/lib/systemd") / {"Manager": "systemd"}.get(section, f"systemd-{place}")
    if not daemon.exists():
        pytest.skip(f"{daemon} is not here, so nobody can say whether it knows these words")
    known = daemon.read_bytes()
    assert [key for key in reader[section] if key.encode() not in known] == []
