"""Whose rights a command uses: those of the account that owns the gateway's state."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def become_owner(state_dir: Path) -> None:
    """Give up root's rights for those of the account that owns the state.

    A household types `sudo coop-gateway pair`; files that root made there would be closed to the
    service, which runs under an account of its own.

    Args:
        state_dir: Directory of keys, consents and unsent readings.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = state_dir.stat().st_uid
        account = pwd.getpwuid(owner)
    except (OSError, KeyError):
        return
    if owner == 0:
        return
    os.initgroups(account.pw_name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(owner)
