"""Make a Raspberry Pi OS that already runs into a gateway, or an image of one.

Everything comes from `firmware_configs/raspberry_pi`. Nothing of the household's is overwritten:
settings stay, a broker or firewall of theirs makes setup stop before its first write, and `undo`
takes away what setup wrote.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gateway.errors import StateFault
from gateway.identity import HASH_FILE, open_identity
from gateway.setup_broker import make_gateway_account, own_by_broker
from gateway.setup_checks import check_setup, ssh_ports

ACCOUNT = "commonwatt"
STATE_DIR = "var/lib/commonwatt"
SETTINGS = "etc/commonwatt/gateway.toml"
COOP_SETTINGS = "usr/share/commonwatt/gateway.toml"
FIREWALL = "etc/nftables.conf"
SHELL_RULE = "etc/nftables.d/commonwatt-remote-shell.nft"
UNIT = "coop-gateway.service"
_SYSUSERS = "etc/sysusers.d/commonwatt.conf"
_TMPFILES = "etc/tmpfiles.d/commonwatt.conf"
_ALWAYS = (
    ("systemd/coop-gateway.service", "etc/systemd/system/coop-gateway.service"),
    ("udev/60-commonwatt-rs485.rules", "etc/udev/rules.d/60-commonwatt-rs485.rules"),
    ("modules_load/commonwatt.conf", "etc/modules-load.d/commonwatt.conf"),
    ("journald/commonwatt.conf", "etc/systemd/journald.conf.d/commonwatt.conf"),
    ("timesyncd/commonwatt.conf", "etc/systemd/timesyncd.conf.d/commonwatt.conf"),
    ("watchdog/commonwatt.conf", "etc/systemd/system.conf.d/commonwatt.conf"),
    ("sysusers/commonwatt.conf", _SYSUSERS),
    ("tmpfiles/commonwatt.conf", _TMPFILES),
)
_SETTINGS = (("gateway.toml", SETTINGS),)
_BROKER = (
    ("mosquitto/commonwatt.conf", "etc/mosquitto/conf.d/commonwatt.conf"),
    ("mosquitto/commonwatt.acl", "etc/mosquitto/commonwatt.acl"),
)
_FIREWALL = (("nftables/commonwatt.nft", FIREWALL),)
_SHELL = (("nftables/remote-shell.nft", SHELL_RULE),)
_IMAGE = (
    ("cloud_init/user-data", "var/lib/cloud/seed/nocloud/user-data"),
    ("cloud_init/meta-data", "var/lib/cloud/seed/nocloud/meta-data"),
    ("cloud_init/only_first_boot.cfg", "etc/cloud/cloud.cfg.d/99-commonwatt.cfg"),
    ("slot_shared/commonwatt.conf", "etc/rpi-image-gen/slot-shared.d/commonwatt.conf"),
)
_BEFORE = ".before-commonwatt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupWish:
    """What the household, or the maker of an image, asked for.

    Args:
        broker: Also set up mosquitto.
        firewall: Also set up nftables.
        close_shell: Let the firewall close remote shells too.
        enable: Also start everything, now and at each boot.
        image: Prepare an image: no key, secret, password or settings are made yet.
    """

    broker: bool = False
    firewall: bool = False
    close_shell: bool = False
    enable: bool = False
    image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """What setup will write, and what it will leave alone.

    Args:
        writes: Places, relative to the root.
        keeps: Places that exist and stay.
        removes: Places that are taken away.
        commands: Commands that will run, in order.
    """

    writes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()


def plan_setup(root: Path, wish: SetupWish) -> SetupPlan:
    """Say what setup would do.

    Args:
        root: Where the system is mounted; `/` for this one.
        wish: What was asked for.
    """
    writes: list[str] = []
    keeps: list[str] = []
    for source, target in _files(wish):
        theirs = target == SETTINGS and (root / target).exists()
        same = _stored(root / target) == _content(root, source)
        (keeps if theirs or same else writes).append(target)
    closes = wish.firewall and wish.close_shell and (root / SHELL_RULE).exists()
    return SetupPlan(
        writes=tuple(writes),
        keeps=tuple(keeps),
        removes=(SHELL_RULE,) if closes else (),
        commands=(*_accounts(root, wish), *_starts(root, wish)),
    )


def set_up(
    root: Path, wish: SetupWish, *, tell_secret: Callable[[str], None] | None = None
) -> SetupPlan:
    """Write the files and run the commands of the plan.

    Args:
        root: Where the system is mounted.
        wish: What was asked for.
        tell_secret: Shows the household its local secret if it is made now; without it, none is.

    Raises:
        StateFault: Something stands in the way, a file cannot be written, or a command fails.
    """
    check_setup(root, broker=wish.broker, firewall=wish.firewall)
    plan = plan_setup(root, wish)
    for source, target in _files(wish):
        if target in plan.writes:
            _write(root / target, _content(root, source))
    for place in plan.removes:
        (root / place).unlink()
    for command in _accounts(root, wish):
        _run(command)
    if wish.broker:
        own_by_broker(root / _BROKER[1][1])
    if wish.broker and not wish.image:
        make_gateway_account(root, ACCOUNT)
    if tell_secret is not None and not wish.image:
        _make_identity(root / STATE_DIR, tell_secret)
    for command in _starts(root, wish):
        _run(command)
    return plan


def plan_undo(root: Path) -> SetupPlan:
    """Say what undoing would take away; what the household changed since, it keeps."""
    wish = SetupWish(broker=True, firewall=True)
    ours = [(_content(root, source), target) for source, target in _files(wish)]
    there = [(content, target) for content, target in ours if (root / target).exists()]
    there = [(content, target) for content, target in there if target != SETTINGS]
    removes = tuple(target for content, target in there if _stored(root / target) == content)
    commands: list[tuple[str, ...]] = []
    if root == Path("/") and _ALWAYS[0][1] in removes:
        commands.append(("systemctl", "disable", "--now", UNIT))
    return SetupPlan(
        removes=removes,
        keeps=tuple(target for _, target in there if target not in removes),
        commands=tuple(commands),
    )


def undo(root: Path) -> SetupPlan:
    """Stop the gateway and take away what setup wrote; settings, keys and readings stay.

    Raises:
        StateFault: A file cannot be removed, or a command fails.
    """
    check_setup(root, installing=False)
    plan = plan_undo(root)
    for command in plan.commands:
        _run(command)
    for place in plan.removes:
        path = root / place
        try:
            path.unlink()
            before = path.with_name(path.name + _BEFORE)
            if before.exists():
                before.replace(path)
        except OSError as fault:
            raise _unwritable(path, fault) from fault
    if root == Path("/"):
        restarts = ["systemd-journald.service", "systemd-timesyncd.service"]
        restarts += ["mosquitto.service"] if _BROKER[0][1] in plan.removes else []
        # What was there before our firewall begins by flushing all rules, so a restart ends ours.
        restarts += ["nftables.service"] if FIREWALL in plan.removes else []
        for command in (
            ("systemctl", "daemon-reload"),
            ("systemctl", "try-restart", *restarts),
            *_udev(),
        ):
            _run(command)
    return plan


def _files(wish: SetupWish) -> tuple[tuple[str, str], ...]:
    return (
        *_ALWAYS,
        *(() if wish.image else _SETTINGS),
        *(_BROKER if wish.broker else ()),
        *(_FIREWALL if wish.firewall else ()),
        *(_SHELL if wish.firewall and not wish.close_shell else ()),
        *(_IMAGE if wish.image else ()),
    )


def _content(root: Path, source: str) -> bytes:
    if source == "gateway.toml" and (root / COOP_SETTINGS).exists():
        return (root / COOP_SETTINGS).read_bytes()
    shipped = resources.files("firmware_configs").joinpath("raspberry_pi", source).read_bytes()
    if source == "nftables/remote-shell.nft":
        ports = ", ".join(str(port) for port in ssh_ports(root))
        return shipped.replace(b"{ 22 }", f"{{ {ports} }}".encode())
    return shipped


def _stored(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _accounts(root: Path, wish: SetupWish) -> tuple[tuple[str, ...], ...]:
    """Commands that make the account, its directories and the sticks' names, if this is running."""
    if root != Path("/"):
        return ()
    made = (("systemd-tmpfiles", "--create", f"/{_TMPFILES}"), *(() if wish.image else _udev()))
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        return (("systemd-sysusers", f"/{_SYSUSERS}"), *made)
    return made


def _starts(root: Path, wish: SetupWish) -> tuple[tuple[str, ...], ...]:
    """Commands that start everything, in an order in which none waits for a later one."""
    if root != Path("/"):
        return ()
    commands: list[tuple[str, ...]] = []
    if wish.firewall and not wish.image:
        commands.append(("nft", "--check", "--file", f"/{FIREWALL}"))
    if not wish.enable:
        return tuple(commands)
    units = ["nftables.service"] if wish.firewall else []
    units += ["mosquitto.service"] if wish.broker else []
    units += [UNIT]
    commands += [("systemctl", "enable", unit) for unit in units if not _is_enabled(unit)]
    if wish.image:
        return tuple(commands)
    return (
        *commands,
        ("systemctl", "daemon-reload"),
        ("systemctl", "restart", "systemd-modules-load.service"),
        ("systemctl", "try-restart", "systemd-journald.service", "systemd-timesyncd.service"),
        *(("systemctl", "restart", unit) for unit in units),
    )


def _udev() -> tuple[tuple[str, ...], ...]:
    if not Path("/run/udev/control").exists():
        return ()
    return (
        ("udevadm", "control", "--reload"),
        ("udevadm", "trigger", "--action=change", "--subsystem-match=tty"),
        ("udevadm", "settle", "--timeout=10"),
    )


def _is_enabled(unit: str) -> bool:
    try:
        done = subprocess.run(
            ("systemctl", "is-enabled", unit), check=False, capture_output=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _make_identity(state_dir: Path, tell_secret: Callable[[str], None]) -> None:
    """Make key and local secret before the service would print the secret into a log."""
    _, secret = open_identity(state_dir)
    if os.geteuid() == 0:
        try:
            account = pwd.getpwnam(ACCOUNT)
        except KeyError:
            pass
        else:
            for path in (state_dir, *state_dir.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
    if secret is None:
        return
    try:
        tell_secret(secret)
    except StateFault:
        # A secret that nobody was shown is none: the next try makes another.
        (state_dir / HASH_FILE).unlink(missing_ok=True)
        raise


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.with_name(path.name + _BEFORE)
        if path.exists() and not before.exists():
            shutil.copy2(path, before)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(content)
        fresh.chmod(0o644)
        fresh.replace(path)
    except OSError as fault:
        raise _unwritable(path, fault) from fault


def _unwritable(path: Path, fault: OSError) -> StateFault:
    return StateFault(
        path=str(path), problem=f"cannot be written ({fault.strerror})", remedy="use sudo"
    )


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=400)
    except (OSError, subprocess.SubprocessError) as fault:
        said = getattr(fault, "stderr", "") or str(fault)
        raise StateFault(
            path=" ".join(command),
            problem=f"failed ({' '.join(said.split())[:300]})",
            remedy="run it by hand to see why, then run setup again",
        ) from fault
