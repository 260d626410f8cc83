"""Asking the running gateway how it is: a socket in its state directory, for this account alone.

What is on disk cannot tell that the disk takes nothing, so `coop-gateway status` asks the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.troubles import report

if TYPE_CHECKING:
    from gateway.daemon import Daemon

FILE_NAME = "status.sock"
ANSWER_BYTES_MAX = 256 * 1024
_PATIENCE_S = 5.0
_PATH_BYTES_MAX = 100
"""Longer paths do not fit into an address of a socket; Linux takes them by the directory's number."""


class StatusServer:
    """Tells everyone who connects how the gateway is, and hangs up."""

    def __init__(self, daemon: Daemon) -> None:
        """Nothing is opened yet."""
        self._daemon = daemon

    async def serve(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: The socket cannot be made.
        """
        path = self._daemon.store.path.parent / FILE_NAME
        path.unlink(missing_ok=True)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _reachable(path) as name:
                channel.bind(name)
            path.chmod(0o600)
            server = await asyncio.start_unix_server(self._answer, sock=channel)
        except BaseException:
            channel.close()
            raise
        try:
            async with server:
                await server.serve_forever()
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                writer.write(msgspec.json.encode(report(self._daemon)))
                await writer.drain()
        except (TimeoutError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def ask(state_dir: Path) -> dict[str, Any] | None:
    """Ask the gateway that runs on a state how it is; None if none answers."""
    collected = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(_PATIENCE_S)
            with _reachable(state_dir / FILE_NAME) as name:
                channel.connect(name)
            while len(collected) <= ANSWER_BYTES_MAX and (piece := channel.recv(65_536)):
                collected += piece
        found: dict[str, Any] = msgspec.json.decode(bytes(collected), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None
    return found


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """The path of a socket in a form that is short enough."""
    plain = str(path)
    if len(os.fsencode(plain)) <= _PATH_BYTES_MAX:
        yield plain
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
