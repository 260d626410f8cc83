"""Make a Raspberry Pi OS that already runs into a gateway: files, accounts, a broker with passwords.

Everything comes from `firmware_configs/raspberry_pi`. Nothing of the household's is overwritten:
an existing gateway.toml stays, and another nftables.conf is kept beside ours.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gateway.errors import StateFault
from gateway.identity import open_identity, renew_secret, write_private
from gateway.wire.reading import METER_ID

ACCOUNT = "commonwatt"
STATE_DIR = "var/lib/commonwatt"
PASSWORDS = "etc/mosquitto/commonwatt.passwd"
_ALWAYS = (
    ("systemd/coop-gateway.service", "etc/systemd/system/coop-gateway.service"),
    ("udev/60-commonwatt-rs485.rules", "etc/udev/rules.d/60-commonwatt-rs485.rules"),
    ("journald/commonwatt.conf", "etc/systemd/journald.conf.d/commonwatt.conf"),
    ("timesyncd/commonwatt.conf", "etc/systemd/timesyncd.conf.d/commonwatt.conf"),
    ("watchdog/commonwatt.conf", "etc/systemd/system.conf.d/commonwatt.conf"),
    ("sysusers/commonwatt.conf", "etc/sysusers.d/commonwatt.conf"),
    ("tmpfiles/commonwatt.conf", "etc/tmpfiles.d/commonwatt.conf"),
    ("gateway.toml", "etc/commonwatt/gateway.toml"),
)
_BROKER = (
    ("mosquitto/commonwatt.conf", "etc/mosquitto/conf.d/commonwatt.conf"),
    ("mosquitto/commonwatt.acl", "etc/mosquitto/commonwatt.acl"),
)
_FIREWALL = (("nftables/commonwatt.nft", "etc/nftables.conf"),)
_KEPT = frozenset({"etc/commonwatt/gateway.toml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """What setup will write, and what it will leave alone.

    Args:
        writes: Places, relative to the root.
        keeps: Places that exist and stay.
        commands: Commands that will run, in order.
    """

    writes: tuple[str, ...]
    keeps: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]


def plan_setup(root: Path, *, broker: bool, firewall: bool, enable: bool) -> SetupPlan:
    """Say what setup would do.

    Args:
        root: Where the system is mounted; `/` for this one.
        broker: Also set up mosquitto.
        firewall: Also set up nftables. It closes remote shells.
        enable: Also start everything.
    """
    places = [target for _, target in _files(broker=broker, firewall=firewall)]
    kept = [place for place in places if place in _KEPT and (root / place).exists()]
    commands: list[tuple[str, ...]] = []
    if root == Path("/"):
        commands += [("systemd-sysusers",), ("systemd-tmpfiles", "--create")]
    if enable:
        units = ["coop-gateway.service"]
        units += ["mosquitto.service"] if broker else []
        units += ["nftables.service"] if firewall else []
        commands += [("systemctl", "daemon-reload"), ("systemctl", "enable", "--now", *units)]
    return SetupPlan(
        writes=tuple(place for place in places if place not in kept),
        keeps=tuple(kept),
        commands=tuple(commands),
    )


def set_up(root: Path, *, broker: bool, firewall: bool, enable: bool) -> SetupPlan:
    """Write the files and run the commands of the plan.

    Raises:
        StateFault: A file cannot be written, or a command fails.
    """
    plan = plan_setup(root, broker=broker, firewall=firewall, enable=enable)
    if root == Path("/") and os.geteuid() != 0:
        raise StateFault(path="/", problem="setup needs root", remedy="run it with sudo")
    shipped = resources.files("firmware_configs").joinpath("raspberry_pi")
    for source, target in _files(broker=broker, firewall=firewall):
        if target in plan.writes:
            _write(root / target, shipped.joinpath(source).read_bytes())
    for command in plan.commands[: 2 if root == Path("/") else 0]:
        _run(command)
    if broker:
        _gateway_account(root)
    for command in plan.commands[2 if root == Path("/") else 0 :]:
        _run(command)
    return plan


def add_devices(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Give devices passwords for the broker.

    Args:
        root: Where the system is mounted.
        names: The devices' user names; also the first or second part of their topics.

    Returns:
        Password by name: show them, they are not kept in readable form.

    Raises:
        StateFault: A name cannot be used, or mosquitto_passwd is missing or fails.
    """
    for name in names:
        if not METER_ID.fullmatch(name):
            raise StateFault(
                path=f"device {name!r}",
                problem="this name cannot be used",
                remedy="use up to 32 lower-case letters, digits, - and _",
            )
    made = {name: secrets.token_urlsafe(18) for name in names}
    _hash_into(root / PASSWORDS, made)
    return made


def make_secret(root: Path, target: Path) -> None:
    """Make the gateway's key and local secret, and write the secret where the household finds it.

    Raises:
        StateFault: A file cannot be written.
    """
    state_dir = root / STATE_DIR
    _, secret = open_identity(state_dir)
    write_private(target, f"{secret or renew_secret(state_dir)}\n".encode())
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        return
    if os.geteuid() == 0:
        for path in (state_dir, *state_dir.iterdir()):
            os.chown(path, account.pw_uid, account.pw_gid)


def _files(*, broker: bool, firewall: bool) -> tuple[tuple[str, str], ...]:
    return (*_ALWAYS, *(_BROKER if broker else ()), *(_FIREWALL if firewall else ()))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_bytes() != content:
            before = path.with_name(f"{path.name}.before-commonwatt")
            if not before.exists():
                shutil.copy2(path, before)
        path.write_bytes(content)
        path.chmod(0o644)
    except OSError as fault:
        raise StateFault(
            path=str(path), problem=f"cannot be written ({fault.strerror})", remedy="use sudo"
        ) from fault


def _gateway_account(root: Path) -> None:
    """Make the gateway's own account at the broker, once."""
    stored = root / "etc/commonwatt/mqtt_password"
    if stored.exists():
        return
    made = secrets.token_urlsafe(24)
    _hash_into(root / PASSWORDS, {"gateway": made})
    write_private(stored, f"{made}\n".encode())
    if os.geteuid() == 0:
        try:
            os.chown(stored, -1, pwd.getpwnam(ACCOUNT).pw_gid)
            stored.chmod(0o640)
        except KeyError:
            return


def _hash_into(path: Path, passwords: dict[str, str]) -> None:
    """Add hashed passwords to mosquitto's file, never as words of a command."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        raise StateFault(
            path="mosquitto_passwd", problem="is missing", remedy="run: apt-get install mosquitto"
        )
    with tempfile.TemporaryDirectory() as aside:
        fresh = Path(aside) / "passwords"
        fresh.touch(mode=0o600)
        fresh.write_text(
            "".join(f"{name}:{password}\n" for name, password in passwords.items()),
            encoding="utf-8",
        )
        _run((program, "-U", str(fresh)))
        kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in kept if line.partition(":")[0] not in passwords]
        write_private(path, ("\n".join([*kept, fresh.read_text(encoding="utf-8")])).encode())
    try:
        account = pwd.getpwnam("mosquitto")
    except KeyError:
        return
    if os.geteuid() == 0:
        os.chown(path, account.pw_uid, account.pw_gid)


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as fault:
        said = getattr(fault, "stderr", "") or str(fault)
        raise StateFault(
            path=" ".join(command),
            problem=f"failed ({said.strip()[:300]})",
            remedy="run it by hand to see why",
        ) from fault
