"""One gateway per state directory, and the end of one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.errors import StateFault
from gateway.outbox.reserve import FILE_NAME as RESERVE_FILE
from gateway.outbox.salvage import overwrite_and_remove
from gateway.outbox.schema import FILE_NAME
from gateway.status_socket import FILE_NAME as STATUS_FILE

LOCK_FILE = "gateway.lock"
_OURS = ("gateway.key", "gateway.key.next", "local_secret", "pinned.json")
_DATABASE = tuple(f"{FILE_NAME}{ending}" for ending in ("", "-wal", "-shm", "-journal"))


@contextmanager
def only_one(state_dir: Path) -> Iterator[None]:
    """Hold the state directory for one running gateway.

    Raises:
        StateFault: Another gateway runs on it.
    """
    descriptor = os.open(state_dir / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            raise StateFault(
                path=str(state_dir),
                problem="another gateway runs on this state",
                remedy="stop it first",
            ) from fault
        yield
    finally:
        os.close(descriptor)


def purge_state(state_dir: Path) -> list[str]:
    """Overwrite and remove keys, consents and readings.

    Overwriting reaches as far as a file system on flash lets it; take the card along as well.

    Returns:
        Names of the files that were removed.

    Raises:
        StateFault: A gateway runs on this state, or there is none.
    """
    if not state_dir.is_dir():
        raise StateFault(
            path=str(state_dir), problem="there is no gateway state", remedy="check state_dir"
        )
    with only_one(state_dir):
        # A power cut while one of ours was written anew leaves the fresh copy behind.
        fresh = tuple(f"{name}.new" for name in _OURS)
        files = (*_DATABASE, *_OURS, *fresh, RESERVE_FILE)
        removed = [name for name in files if overwrite_and_remove(state_dir / name)]
    for name in (LOCK_FILE, STATUS_FILE):
        (state_dir / name).unlink(missing_ok=True)
    return removed
