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
from gateway.settings import read_settings
from gateway.setup import add_devices, set_up
from tests.ports import free_port

PI = Path(__file__).resolve().parents[3] / "firmware_configs" / "raspberry_pi"
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/sbin"


def tool(name: str, package: str) -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        if not Path("/etc/debian_version").exists():
            pytest.skip(f"{name} is for Debian; this machine cannot have it")
        pytest.fail(f"{name} is missing; run: apt-get install {package}")
    return found


def run(*command: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


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


@pytest.fixture
def broker(tmp_path: Path):
    """A real mosquitto with our configuration, included the way Debian includes it."""
    program = tool("mosquitto", "mosquitto")
    root = tmp_path / "root"
    set_up(root, broker=True, firewall=False, enable=False)
    passwords = add_devices(root, ["plug1", "plug2"])
    passwords["gateway"] = (root / "etc/commonwatt/mqtt_password").read_text("utf-8").strip()
    port = free_port()
    included = root / "etc/mosquitto/conf.d/commonwatt.conf"
    text = included.read_text(encoding="utf-8")
    text = text.replace("/etc/mosquitto", str(root / "etc/mosquitto"))
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
    set_up(tmp_path, broker=False, firewall=False, enable=False)
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
    (tmp_path / "etc/nftables.conf").write_text("theirs", encoding="utf-8")
    planned = json.loads(runner.invoke(app, [*words, "--dry-run"]).stdout)
    assert "etc/commonwatt/gateway.toml" in planned["writes"]
    assert not (tmp_path / "etc/commonwatt").exists()
    assert runner.invoke(app, words).exit_code == 0
    own = tmp_path / "etc/commonwatt/gateway.toml"
    own.write_text("mine", encoding="utf-8")
    again = json.loads(runner.invoke(app, words).stdout)
    assert again["keeps"] == ["etc/commonwatt/gateway.toml"]
    assert own.read_text(encoding="utf-8") == "mine"
    before = tmp_path / "etc/nftables.conf.before-commonwatt"
    assert before.read_text(encoding="utf-8") == "theirs"


def test_the_local_secret_is_written_where_the_household_finds_it(tmp_path: Path) -> None:
    target = tmp_path / "secret.txt"
    words = ["setup", "--root", str(tmp_path / "root"), "--secret-to", str(target), "--json"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert re.fullmatch(
        r"[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}\n", target.read_text(encoding="utf-8")
    )
    assert target.stat().st_mode & 0o077 == 0


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


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card with two slots, built by genimage as rpi-image-gen calls it, from a system in outline."""
    program = tool("genimage", "genimage")
    for name, package in (("mcopy", "mtools"), ("mkdosfs", "dosfstools"), ("mke2fs", "e2fsprogs")):
        tool(name, package)
    folder = tmp_path_factory.mktemp("card")
    boot = folder / "root/boot/firmware"
    for path in (boot / "overlays", folder / "root/etc", folder / "root/var/lib/commonwatt"):
        path.mkdir(parents=True)
    for name in (
        "bootcode.bin",
        "start.elf",
        "kernel8.img",
        "initramfs8",
        "bcm2710-rpi-zero-2.dtb",
    ):
        (boot / name).write_text(name, encoding="utf-8")
    (boot / "overlays/README").write_text("overlays", encoding="utf-8")
    (boot / "cmdline.txt").write_text("console=tty1 root=ROOTDEV rootwait\n", encoding="utf-8")
    (boot / "config.txt").write_text("arm_64bit=1\n[pi4]\nmax_framebuffers=2\n", encoding="utf-8")
    for name in ("in", "tmp"):
        (folder / name).mkdir()
    values = {"name": "card", "suffix": "img", "disksig": "0x434f4d57"}
    values |= {"boot_part_size": "40M", "system_part_size": "24M", "data_part_size": "8M"}
    hook = PI / "image/layer/slots/image.d/hooks/preimage.sh"
    env = {f"IGconf_image_{name}": value for name, value in values.items()} | {"PATH": SEARCH}
    done = run("bash", str(hook), str(folder / "root"), str(folder), env=env)
    assert done.returncode == 0, done.stderr
    words = [
        f"--{name}path={folder / where}"
        for name, where in (("root", "root"), ("tmp", "tmp"), ("input", "in"), ("output", "out"))
    ]
    done = run(program, *words, f"--config={folder / 'genimage.cfg'}", env={"PATH": SEARCH})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


def test_a_card_has_two_systems_and_data_where_the_kernel_looks_for_them(card: Path) -> None:
    done = run(tool("sfdisk", "fdisk"), "--json", str(card / "card.img"))
    table = json.loads(done.stdout)["partitiontable"]
    assert (table["label"], table["id"]) == ("dos", "0x434f4d57")
    assert [part["type"] for part in table["partitions"]] == ["c", "83", "83", "83"]
    debugfs = tool("debugfs", "e2fsprogs")
    fstab = run(debugfs, "-R", "cat /etc/fstab", str(card / "system.ext4")).stdout
    assert re.search(r"^PARTUUID=434f4d57-04 +/var/lib/commonwatt +ext4 ", fstab, re.MULTILINE)


def test_both_slots_are_whole_and_the_boot_files_choose_between_them(card: Path) -> None:
    mtype, mdir = tool("mtype", "mtools"), tool("mdir", "mtools")
    image = str(card / "boot.vfat")

    def text(name: str) -> str:
        return run(mtype, "-i", image, f"::{name}").stdout

    names = set(run(mdir, "-i", image, "-/", "-b").stdout.split())
    for slot in ("slot_a", "slot_b"):
        for name in ("kernel8.img", "initramfs8", "cmdline.txt", "overlays/README"):
            assert f"::/{slot}/{name}" in names
    assert {"::/bootcode.bin", "::/start.elf"} <= names
    assert not {"::/kernel8.img", "::/cmdline.txt"} & names
    assert text("config.txt").endswith("[all]\nos_prefix=slot_a/\n")
    assert text("tryboot.txt").endswith("[all]\nos_prefix=slot_b/\n")
    assert "root=PARTUUID=434f4d57-02 " in text("slot_a/cmdline.txt")
    assert "root=PARTUUID=434f4d57-03 " in text("slot_b/cmdline.txt")


def test_a_slot_on_trial_is_left_at_the_next_boot_unless_it_is_kept(tmp_path: Path) -> None:
    script = PI / "image/layer/slots/commonwatt-slot"
    (tmp_path / "config.txt").write_text("a=1\n[all]\nos_prefix=slot_a/\n", encoding="utf-8")
    (tmp_path / "tryboot.txt").write_text("a=1\n[all]\nos_prefix=slot_b/\n", encoding="utf-8")
    cmdline = tmp_path / "cmdline"

    def slot(word: str, partition: str) -> subprocess.CompletedProcess[str]:
        cmdline.write_text(f"console=tty1 root=PARTUUID=434f4d57-{partition} rootwait\n", "utf-8")
        env = {"COMMONWATT_BOOT": str(tmp_path), "COMMONWATT_CMDLINE": str(cmdline)}
        return run("sh", str(script), word, env=env | {"COMMONWATT_REBOOT": "echo", "PATH": SEARCH})

    assert slot("status", "02").stdout.splitlines() == [
        "running slot_a",
        "trusted slot_a",
        "other slot_b PARTUUID=434f4d57-03",
    ]
    assert slot("try", "02").stdout == "0 tryboot\n"
    assert slot("try", "03").returncode == 2
    assert slot("keep", "03").stdout == "trusted slot_b\n"
    assert (tmp_path / "config.txt").read_text("utf-8") == "a=1\n[all]\nos_prefix=slot_b/\n"
    assert (tmp_path / "tryboot.txt").read_text("utf-8") == "a=1\n[all]\nos_prefix=slot_a/\n"
    assert "already" in slot("keep", "03").stdout
    assert slot("status", "07").returncode == 2


def test_the_image_layer_is_well_formed_and_installs_by_hash() -> None:
    text = (PI / "image/layer/commonwatt-gateway.yaml").read_text(encoding="utf-8")
    head, _, body = text.partition("# METAEND\n")
    assert head.startswith("# METABEGIN\n")
    assert "X-Env-Layer-Name: commonwatt-gateway\n" in head
    recipe = yaml.safe_load(body)["mmdebstrap"]
    assert {"mosquitto", "nftables", "cloud-init"} <= set(recipe["packages"])
    assert any("--require-hashes" in hook for hook in recipe["customize-hooks"])
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
