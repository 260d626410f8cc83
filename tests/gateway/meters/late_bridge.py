"""An RS485-to-Ethernet bridge with a slow meter behind it, in the test's own process.

Each register holds its own address, so that a reading under the wrong name shows at once. As on a
real line the meter answers one request after the other, and the bridge gives a late reply to
whoever is connected when it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from pymodbus.framer.rtu import FramerRTU


def with_crc(frame: bytes) -> bytes:
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


class LateBridge:
    """Serves units that answer with each register's own address.

    Args:
        delays_s: Wait before each reply, one after the other; none once they are used up.
        refuse: Lengths of blocks that are refused with exception 2.
        units: Which units answer.
        echo: Whether the bridge hears what it says itself.
        damage: Replies to spoil, by number from 0, and how.
        stale: A reply of long ago that comes for the first request of each connection; from then
            on each request gets the reply of the one before.
        again: Requests, by number from 0, whose reply comes once more just before the next one's.
    """

    def __init__(
        self,
        delays_s: list[float] | None = None,
        *,
        refuse: set[int] | None = None,
        units: tuple[int, ...] = (1,),
        echo: bool = False,
        damage: dict[int, Callable[[bytes], bytes]] | None = None,
        stale: bytes = b"",
        again: set[int] | None = None,
    ) -> None:
        self.delays_s = list(delays_s or [])
        self.refuse = refuse or set()
        self.units = units
        self.echo = echo
        self.damage = damage or {}
        self.stale = stale
        self.again = again or set()
        self._owed: list[bytes] = []
        self._framed = b""
        self.requests: list[tuple[int, int, int]] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._line: asyncio.Queue[bytes] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        meter = asyncio.create_task(self._answer())
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            meter.cancel()
            server.close()
            for writer in self._writers:
                writer.close()
            await asyncio.gather(meter, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._owed = [self.stale] if self.stale else []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._line.put(await reader.readexactly(8))
        self._writers.remove(writer)
        writer.close()

    async def _answer(self) -> None:
        while True:
            frame = await self._line.get()
            unit, function = frame[0], frame[1]
            address, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
            self.requests.append((unit, address, count))
            if unit not in self.units:
                continue
            if len(self.requests) - 2 in self.again:
                self._write(self._framed)
                await asyncio.sleep(0.005)
            if self.delays_s:
                await asyncio.sleep(self.delays_s.pop(0))
            if count in self.refuse:
                reply = bytes([unit, function | 0x80, 2])
            else:
                words = b"".join((address + offset).to_bytes(2, "big") for offset in range(count))
                reply = bytes([unit, function, len(words)]) + words
            if self._owed:
                self._owed.append(reply)
                reply = self._owed.pop(0)
            framed = (frame if self.echo else b"") + with_crc(reply)
            spoil = self.damage.pop(len(self.requests) - 1, None)
            self._framed = framed if spoil is None else spoil(framed)
            self._write(self._framed)

    def _write(self, data: bytes) -> None:
        for writer in self._writers:
            with contextlib.suppress(ConnectionError):
                writer.write(data)
