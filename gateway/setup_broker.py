"""Accounts at the household's broker: one password a device, kept as slow hashes only."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gateway.errors import StateFault
from gateway.identity import write_private
from gateway.setup_checks import find_program
from gateway.wire.reading import METER_ID

PASSWORDS = "etc/commonwatt/mosquitto_passwords"  # where they are, not one of them
OWN_PASSWORD = "etc/commonwatt/mqtt_password"  # noqa: S105
_OURS = frozenset({"gateway"})


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
    if not names:
        return {}
    for name in names:
        if not METER_ID.fullmatch(name) or name in _OURS:
            raise StateFault(
                path=f"device {name!r}",
                problem="this name cannot be used",
                remedy="use up to 32 lower-case letters, digits, - and _, but not `gateway`",
            )
    if not (root / PASSWORDS).exists():
        raise StateFault(
            path=str(root / PASSWORDS),
            problem="the broker is not set up yet",
            remedy="run setup with --broker as well",
        )
    made = {name: secrets.token_urlsafe(18) for name in names}
    _hash_into(root / PASSWORDS, made)
    if root == Path("/"):
        _run(("systemctl", "try-reload-or-restart", "mosquitto.service"))
    return made


def make_gateway_account(root: Path, account: str) -> None:
    """Make the gateway's own account at the broker, once, and let each program read its part."""
    stored = root / OWN_PASSWORD
    passwords = root / PASSWORDS
    if not (stored.exists() and passwords.exists()):
        made = secrets.token_urlsafe(24)
        stored.parent.mkdir(parents=True, exist_ok=True)
        _hash_into(passwords, {"gateway": made})
        write_private(stored, f"{made}\n".encode())
    own_by_broker(passwords)
    if os.geteuid() == 0:
        try:
            os.chown(stored, 0, grp.getgrnam(account).gr_gid)
        except KeyError:
            return
        stored.chmod(0o640)


def _hash_into(path: Path, passwords: dict[str, str]) -> None:
    """Add hashed passwords to mosquitto's file, never as words of a command."""
    program = find_program("mosquitto_passwd")
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
    own_by_broker(path)


def own_by_broker(path: Path) -> None:
    """Give a file to the broker, which reads it after it gave up its rights, and to nobody else."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam("mosquitto")
    except KeyError:
        return
    found = path.stat()
    # A system that may only be read is left alone when all is right.
    if (found.st_uid, found.st_mode & 0o777) != (account.pw_uid, 0o600):
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o600)


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as fault:
        raise StateFault(
            path=" ".join(command), problem="failed", remedy="run it by hand to see why"
        ) from fault
