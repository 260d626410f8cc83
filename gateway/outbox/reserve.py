"""Room set aside on the card, to be given up when there is no other.

On a full disk a database in write-ahead mode is stuck: it cannot even delete, because deleting is
written down first. So the gateway would never send what fills the disk. A file of a few megabytes
that holds nothing is removed in that moment, and made again once there is room.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

FILE_NAME = "reserve"
RESERVE_BYTES = 4 * 1024 * 1024
"""Twice what the largest transaction writes, sealing a full batch."""


class Reserve:
    """A file that holds room.

    Args:
        state_dir: Directory of the gateway's state.
    """

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME

    def keep(self) -> bool:
        """Make the file if it is missing and there is plenty of room; whether it is there."""
        with suppress(OSError):
            if self._path.exists():
                return True
            if shutil.disk_usage(self._path.parent).free < 3 * RESERVE_BYTES:
                return False
            handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                # A hole would hold no room, so the file is written where it cannot be allocated.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(handle, 0, RESERVE_BYTES)
                else:
                    os.write(handle, bytes(RESERVE_BYTES))
            except OSError:
                self.give_up()
                return False
            finally:
                os.close(handle)
            return True
        return False

    def give_up(self) -> None:
        """Remove the file, so that its room can be used."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def is_scarce(self) -> bool:
        """Whether so little room is left that waiting intervals have to become fewer."""
        with suppress(OSError):
            return shutil.disk_usage(self._path.parent).free < RESERVE_BYTES // 2
        return False
