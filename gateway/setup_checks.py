"""What stands in the way of setup: found before its first write, so that nothing is half done."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from gateway.errors import StateFault

PROGRAM = "opt/commonwatt/bin/coop-gateway"
_BROKER_WORDS = frozenset(
    {
        "listener",
        "port",
        "bind_address",
        "allow_anonymous",
        "password_file",
        "acl_file",
        "per_listener_settings",
        "plugin",
        "auth_plugin",
    }
)
_RULE_WORDS = re.compile(
    r"\b(accept|drop|reject|jump|goto|queue|masquerade|[sd]nat|redirect|policy|include|elements)\b"
)
_SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"


def check_setup(
    root: Path, *, broker: bool = False, firewall: bool = False, installing: bool = True
) -> None:
    """Refuse what would fail half-way or spoil something of the household's.

    Args:
        root: Where the system is mounted; `/` for this one.
        broker: Whether mosquitto will be set up.
        firewall: Whether nftables will be set up.
        installing: Whether files will be written, not taken away.

    Raises:
        StateFault: Rights, a program or room for our files is missing.
    """
    if root == Path("/"):
        if os.geteuid() != 0:
            raise StateFault(path="/", problem="setup needs root", remedy="run it with sudo")
        if installing and not (root / PROGRAM).exists():
            raise StateFault(
                path=str(root / PROGRAM),
                problem="is not there, and the service starts this program",
                remedy="install the gateway into the virtual environment /opt/commonwatt",
            )
    if broker:
        if find_program("mosquitto_passwd") is None:
            raise _missing("mosquitto_passwd", "mosquitto")
        _check_broker(root)
    if firewall:
        if root == Path("/") and find_program("nft") is None:
            raise _missing("nft", "nftables")
        _check_firewall(root)


def find_program(name: str) -> str | None:
    """Find a program of the system, also where `sudo` does not look."""
    return shutil.which(name) or shutil.which(name, path=_SEARCH)


def ssh_ports(root: Path) -> tuple[int, ...]:
    """Ports on which sshd is told to listen; 22 if nothing is said."""
    folder = root / "etc/ssh"
    ports: set[int] = set()
    for path in (folder / "sshd_config", *sorted((folder / "sshd_config.d").glob("*.conf"))):
        for line in _lines(path):
            told = re.fullmatch(r"(?i)port[\s=]+(\d{1,5})", line)
            if told and 0 < int(told.group(1)) < 65_536:
                ports.add(int(told.group(1)))
    return tuple(sorted(ports)) or (22,)


def _check_broker(root: Path) -> None:
    folder = root / "etc/mosquitto"
    for path in (folder / "mosquitto.conf", *sorted((folder / "conf.d").glob("*.conf"))):
        if path.name == "commonwatt.conf":
            continue
        for line in _lines(path):
            if line.split()[0] in _BROKER_WORDS:
                raise StateFault(
                    path=str(path),
                    problem=f"this broker is set up already ({line!r})",
                    remedy="leave out --broker and name it with an account under [[mqtt]] in "
                    "gateway.toml, or move this file away",
                )


def _check_firewall(root: Path) -> None:
    path = root / "etc/nftables.conf"
    lines = _lines(path)
    if lines and "commonwatt" not in " ".join(lines) and _RULE_WORDS.search("\n".join(lines)):
        raise StateFault(
            path=str(path),
            problem="it holds rules that are not ours",
            remedy="leave out --firewall and let the home reach port 8480 (and 1883 for a broker)"
            " in your own rules, or move this file away",
        )
    if any(line == "ENABLED=yes" for line in _lines(root / "etc/ufw/ufw.conf")):
        raise StateFault(
            path=str(root / "etc/ufw/ufw.conf"),
            problem="ufw is switched on",
            remedy="leave out --firewall and run `ufw allow 8480/tcp`, or run `ufw disable` first",
        )


def _lines(path: Path) -> list[str]:
    """Lines that say something; none if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def _missing(program: str, package: str) -> StateFault:
    return StateFault(path=program, problem="is missing", remedy=f"run: apt-get install {package}")
