"""A Modbus TCP meter of our own: an Eastron SDM630 whose counter follows the clock.

Written against the Modbus specification, without a Modbus library, so that a library's mistakes
cannot hide. The counter is a function of the time, so a test knows what any interval must hold.
"""

from __future__ import annotations

import asyncio
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Registers = Callable[[int], bytes]


def sdm630(total_wh: Callable[[], float], power_w: Callable[[], float]) -> Registers:
    """Registers of an SDM630 with import only: address to the two bytes there."""

    def floats() -> dict[int, float]:
        return {
            0x00: 230.0,
            0x02: 230.0,
            0x04: 230.0,
            0x06: power_w() / 690,
            0x08: power_w() / 690,
            0x0A: power_w() / 690,
            0x0C: power_w() / 3,
            0x0E: power_w() / 3,
            0x10: power_w() / 3,
            0x34: power_w(),
            0x3E: 1.0,
            0x46: 50.0,
            0x48: total_wh() / 1000,
            0x4A: 0.0,
            0x156: total_wh() / 1000,
        }

    def registers(address: int) -> bytes:
        value = floats().get(address & ~1, 0.0)
        return struct.pack(">f", value)[2 * (address & 1) :][:2]

    return registers


@contextmanager
def metering(registers: Registers) -> Iterator[int]:
    """Serve a meter on a free port; yields the port."""
    ready = threading.Event()
    port: list[int] = []
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readexactly(6)
                transaction, _, length = struct.unpack(">HHH", head)
                body = await reader.readexactly(length)
                unit, function, address, count = struct.unpack(">BBHH", body)
                words = b"".join(registers(address + place) for place in range(count))
                reply = struct.pack(">BBB", unit, function, len(words)) + words
                writer.write(struct.pack(">HHH", transaction, 0, len(reply)) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await stop.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait(5)
    try:
        yield port[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        loop.close()


def running_total(power_w: float, *, base_wh: float = 1_000.0) -> Callable[[], float]:
    """A counter that rises with the time of day at a constant power."""
    origin = time.time()
    return lambda: base_wh + power_w * (time.time() - origin) / 3600
