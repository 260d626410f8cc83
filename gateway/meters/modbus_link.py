"""One Modbus wire: asks for a block, and gives back only what surely answers it.

pymodbus gives a reply to whatever request is waiting. On RTU, where replies carry no number, one
reply that comes too late would so be taken for the next one, and all later ones with it. Hence
three rules here: after anything that went wrong the link is closed and stays silent for a while
before it is opened anew; bytes that come unasked make it fall out of step as well, and so do two
replies at once; and a reply of another length than was asked for is thrown away. `read_plan` sees to it that lengths differ.

`generation` rises with each loss of step. A reader that sees it rise starts over with the first
block of its plan.
"""

from __future__ import annotations

import asyncio
import logging
import os
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ExceptionResponse

from gateway.decode.meter_map import HOLDING, SerialDefaults
from gateway.errors import HungUp, LinkDown, MeterRefused, MeterSilent, OutOfStep
from gateway.meters.read_plan import Block

# pymodbus writes each timeout to its log; ours says it once, with the meter's name.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

CONNECT_TIMEOUT_S = 5.0
LISTEN_S = 0.02
"""Silence wanted on a newly opened RTU line before the first request [s]."""

LISTEN_TRIES_MAX = 50
_REFUSAL_BYTES = 5
"""Unit, function, exception or length, and two bytes of CRC: the shortest reply there is."""

_FUNCTION = 0x7F
"""A refusal carries the function of its request with the highest bit set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """Modbus TCP: replies carry the number of their request."""

    host: str
    port: int = 502

    def __str__(self) -> str:
        """As shown in faults."""
        return f"tcp {self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtuAddress:
    """A serial line."""

    device: str
    settings: SerialDefaults

    def __str__(self) -> str:
        """As shown in faults."""
        return f"{self.device} at {self.settings.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RtuOverTcpAddress:
    """RTU frames through an RS485-to-Ethernet bridge; `settings` are those of its serial side."""

    host: str
    port: int
    settings: SerialDefaults

    def __str__(self) -> str:
        """As shown in faults."""
        return f"rtu over tcp {self.host}:{self.port}"


Address = TcpAddress | RtuAddress | RtuOverTcpAddress


class ModbusLink:
    """One wire. One request is under way at a time.

    Args:
        address: What to open.
        quiet_s: Silence after a loss of step [s]; longer than the slowest late reply to be
            expected. Safety does not hang on it, but each too short silence costs another.
        monotonic: For tests.
    """

    def __init__(
        self,
        address: Address,
        *,
        quiet_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self.generation = 0
        self.requests = 0
        self._quiet_s = 0.0 if isinstance(address, TcpAddress) else quiet_s
        self._monotonic = monotonic
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._quiet_until = 0.0
        self._free_at = 0.0
        self._waiting = False
        self._strays = 0
        self._sent = b""
        self._heard = b""
        self._lock = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether the wire is open."""
        return self._client is not None and self._client.connected

    async def read(
        self, unit: int, block: Block, *, timeout_s: float = 1.0, pause_s: float = 0.0
    ) -> list[int]:
        """Ask a device for a block.

        Args:
            unit: Address of the device, 0 to 255.
            block: Which registers.
            timeout_s: Longest wait for the reply [s].
            pause_s: Silence the device wants before the request [s].

        Returns:
            Exactly `block.count` words.

        Raises:
            LinkDown: The wire cannot be opened.
            MeterSilent: No reply, or one that was garbled.
            HungUp: The other end closed the line instead of replying.
            OutOfStep: A reply to something else; it was thrown away.
            MeterRefused: The device answered with a Modbus exception.
        """
        async with self._lock:
            client = await self._open()
            wait_s = self._free_at + pause_s - self._monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if self._strays:
                self._lose_step()
                raise OutOfStep(place=self._place(unit, block), problem="bytes came unasked")
            try:
                return await self._ask(client, unit, block, timeout_s)
            except HungUp:
                # Some devices hang up after each reply, which shows only at the next request. Over
                # Modbus TCP no reply to the first can be taken for one to the second.
                if not isinstance(self.address, TcpAddress):
                    raise
            return await self._ask(await self._open(), unit, block, timeout_s)

    def close(self) -> None:
        """Release the wire."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _ask(
        self,
        client: AsyncModbusTcpClient | AsyncModbusSerialClient,
        unit: int,
        block: Block,
        timeout_s: float,
    ) -> list[int]:
        place = self._place(unit, block)
        client.ctx.comm_params.timeout_connect = timeout_s
        ask = (
            client.read_holding_registers
            if block.function == HOLDING
            else client.read_input_registers
        )
        self.requests += 1
        self._heard = b""
        self._waiting = True
        try:
            reply = await ask(block.address, count=block.count, device_id=unit)
        except (ModbusException, OSError) as fault:
            hung_up = not client.connected
            self._lose_step()
            if hung_up:
                raise HungUp(
                    place=place, problem="the other end hung up; see who else asks it"
                ) from fault
            raise MeterSilent(
                place=place,
                problem=f"no reply within {timeout_s:g} s; check the unit's address and the wiring, "
                "or allow it more time",
            ) from fault
        except asyncio.CancelledError:
            # The reply to a request given up half-way would meet the next one.
            self._lose_step()
            raise
        finally:
            self._waiting = False
            self._free_at = self._monotonic()
        if self._heard_two(0 if isinstance(reply, ExceptionResponse) else len(reply.registers)):
            self._lose_step()
            raise OutOfStep(place=place, problem="two replies at once; both thrown away")
        if isinstance(reply, ExceptionResponse):
            if (reply.dev_id, reply.function_code & _FUNCTION) != (unit, block.function):
                self._lose_step()
                raise OutOfStep(place=place, problem="a refusal of another request; thrown away")
            raise MeterRefused(place=place, exception_code=reply.exception_code)
        words = list(reply.registers)
        if (reply.dev_id, reply.function_code, len(words)) != (unit, block.function, block.count):
            self._lose_step()
            problem = f"a reply with {len(words)} registers of unit {reply.dev_id}"
            raise OutOfStep(place=place, problem=f"{problem} cannot answer this; thrown away")
        return words

    async def _open(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        if self._client is not None and self._client.connected:
            return self._client
        if self._client is not None:
            self._lose_step()
        quiet_s = self._quiet_until - self._monotonic()
        if quiet_s > 0:
            await asyncio.sleep(quiet_s)
        client = self._new_client()
        try:
            opened = await client.connect()
        except (ModbusException, OSError, ValueError, termios.error) as fault:
            client.close()
            raise LinkDown(
                place=str(self.address),
                problem=f"cannot be opened: {fault}",
                remedy=self._remedy(),
            ) from fault
        if not opened:
            client.close()
            raise LinkDown(
                place=str(self.address),
                problem="cannot be opened, or is in use",
                remedy=self._remedy(),
            )
        self._client = client
        self._strays = 0
        if not isinstance(self.address, TcpAddress):
            await self._listen()
        return client

    async def _listen(self) -> None:
        """Let a line that still talks finish before the first request."""
        for _ in range(LISTEN_TRIES_MAX):
            await asyncio.sleep(LISTEN_S)
            if not self._strays:
                return
            self._strays = 0

    def _lose_step(self) -> None:
        self.generation += 1
        self.close()
        self._quiet_until = self._monotonic() + self._quiet_s

    def _remedy(self) -> str:
        if isinstance(self.address, RtuAddress):
            return "check the device and who else uses it"
        return "check host and port, and who else uses it"

    def _place(self, unit: int, block: Block) -> str:
        return f"{self.address} unit {unit}, {block}"

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """See all bytes that come and go; called by pymodbus."""
        if sending:
            self._sent = data
        elif not self._waiting:
            self._strays += len(data)
        elif not isinstance(self.address, TcpAddress) and data.startswith(self._sent):
            # Some RS485 sticks hear themselves. No reply begins with its whole request.
            data = data[len(self._sent) :]
        if not sending and not isinstance(self.address, TcpAddress):
            # pymodbus shows what it could not use yet once more.
            self._heard = data if data.startswith(self._heard) else self._heard + data
        return data

    def _heard_two(self, registers: int) -> bool:
        """Whether more than the reply came: enough for another, and not the same once more."""
        length = _REFUSAL_BYTES + 2 * registers
        frame, more = self._heard[:length], self._heard[length:]
        return len(more) >= _REFUSAL_BYTES and more != frame

    def _new_client(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        # No retries and no reconnecting behind our back: both would resend into a line that is
        # out of step.
        if isinstance(self.address, RtuAddress):
            settings = self.address.settings
            return AsyncModbusSerialClient(
                self.address.device,
                framer=FramerType.RTU,
                baudrate=settings.baud,
                parity="N" if _is_pseudo_terminal(self.address.device) else settings.parity,
                stopbits=settings.stop_bits,
                timeout=CONNECT_TIMEOUT_S,
                retries=0,
                reconnect_delay=0,
                trace_packet=self._packet,
            )
        rtu = isinstance(self.address, RtuOverTcpAddress)
        return AsyncModbusTcpClient(
            self.address.host,
            port=self.address.port,
            framer=FramerType.RTU if rtu else FramerType.SOCKET,
            timeout=CONNECT_TIMEOUT_S,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._packet,
        )


def _is_pseudo_terminal(device: str) -> bool:
    """Whether a line only carries bytes, as between programs; the C library refuses it a parity."""
    return os.path.realpath(device).startswith("/dev/pts/")
