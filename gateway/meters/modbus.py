"""A Modbus bus as a source of samples: one worker, each meter at its own pace.

A meter that does not answer costs the others little: after a few failures it rests and is asked
again ever less often, up to a sixteenth of its pace. A wire that cannot be opened is tried again
with growing, random pauses, and no meter is blamed for it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from gateway.decode.meter_map import MeterMap, SerialDefaults
from gateway.errors import LinkDown, MeterFault
from gateway.meters.modbus_link import Address, ModbusLink, TcpAddress
from gateway.meters.read_plan import wire_time_s
from gateway.meters.reader import MeterReader, MeterReading, utc_now
from gateway.meters.source import (
    MeterCondition,
    MeterHealth,
    PlannedRead,
    Sample,
    SourceHealth,
    SourcePlan,
)

FAILURES_BEFORE_REST = 3
REST_FACTOR_MAX = 16
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
TURNAROUND_S = 0.01
"""Time a meter is taken to think about a reply, for plans [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusMeter:
    """A meter on a bus.

    Args:
        meter: The household's short name for it.
        meter_map: Its map.
        unit: Its address on the bus, 0 to 255.
        poll_s: How often it is read [s].
        inverted: Whether it is wired backwards.
    """

    meter: str
    meter_map: MeterMap
    unit: int
    poll_s: float = 10.0
    inverted: bool = False


class _Turn:
    """When a meter is due, and how it has been doing."""

    def __init__(self, bus_meter: BusMeter, reader: MeterReader, due_s: float) -> None:
        self.bus_meter = bus_meter
        self.reader = reader
        self.due_s = due_s
        self.proven = False
        self.health = MeterHealth()

    def succeeded(self, reading: MeterReading) -> None:
        absent = ", ".join(reading.absent)
        self.health = MeterHealth(
            condition=MeterCondition.OK,
            last_ok_at=reading.taken_at,
            last_fault=f"does not have {absent}" if absent else "",
        )

    def failed(self, fault: MeterFault) -> None:
        failures = self.health.failures_in_a_row + 1
        resting = failures >= FAILURES_BEFORE_REST
        self.health = replace(
            self.health,
            condition=MeterCondition.RESTING if resting else MeterCondition.FAILING,
            failures_in_a_row=failures,
            last_fault=str(fault),
        )

    def schedule(self, now_s: float) -> None:
        """Set the next turn; rounds that were missed are not made up for."""
        failures = self.health.failures_in_a_row
        doublings = max(0, failures - FAILURES_BEFORE_REST + 1)
        factor = min(REST_FACTOR_MAX, 2**doublings)
        wait_s = self.bus_meter.poll_s * factor
        self.due_s = max(self.due_s + wait_s, now_s)


class ModbusSource:
    """One bus, by one worker. Fills the port `MeterSource`.

    Args:
        name: For logs, health and plans.
        address: The wire.
        meters: What is on it.
        quiet_s: See `ModbusLink`.
        clock: Aware UTC.
        monotonic: Seconds that never step back.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        meters: tuple[BusMeter, ...],
        *,
        quiet_s: float = 1.0,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._address = address
        self._meters = meters
        self._monotonic = monotonic
        self._clock = clock
        self._quiet_s = quiet_s
        self._link: ModbusLink | None = None
        self._turns: tuple[_Turn, ...] = ()
        self._progress_s = monotonic()
        self._link_fault = ""

    @property
    def name(self) -> str:
        """Short name of the bus."""
        return self._name

    async def samples(self) -> AsyncIterator[Sample]:
        """Yield samples for ever; leaving the iteration releases the wire."""
        link = self._link = ModbusLink(self._address, quiet_s=self._quiet_s)
        start_s = self._monotonic()
        self._turns = tuple(
            _Turn(
                meter,
                MeterReader(
                    link, meter.meter_map, meter.unit, inverted=meter.inverted, clock=self._clock
                ),
                start_s,
            )
            for meter in self._meters
        )
        backoff_s = BACKOFF_MIN_S
        try:
            while True:
                turn = min(self._turns, key=lambda one: one.due_s)
                await self._wait_until(turn.due_s)
                try:
                    reading = await self._read(turn)
                except LinkDown as fault:
                    self._link_fault = str(fault)
                    for one in self._turns:
                        one.health = replace(
                            one.health, condition=MeterCondition.FAILING, last_fault=str(fault)
                        )
                    # Full jitter, so that many gateways do not come back at the same moment.
                    await self._wait_until(
                        self._monotonic() + random.uniform(BACKOFF_MIN_S / 2, backoff_s)  # noqa: S311 - a pause, not a secret
                    )
                    backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                    continue
                self._link_fault, backoff_s = "", BACKOFF_MIN_S
                if reading is not None:
                    yield Sample(
                        meter=turn.bus_meter.meter,
                        taken_at=reading.taken_at,
                        quantities=reading.quantities,
                        identity=reading.identity,
                    )
        finally:
            link.close()

    def plan(self) -> SourcePlan:
        """The blocks of one cycle and what they cost on the wire.

        On Modbus TCP the wire costs nothing; on a serial line each character takes its time.
        """
        reads: list[PlannedRead] = []
        share = 0.0
        for meter in self._meters:
            link = ModbusLink(self._address)
            blocks = MeterReader(link, meter.meter_map, meter.unit).plan.requests
            settings = self._settings
            for block in blocks:
                cost_s = 0.0
                if settings is not None:
                    pause_s = meter.meter_map.limits.pause_s + TURNAROUND_S
                    cost_s = wire_time_s(block, settings, pause_s)
                what = f"unit {meter.unit}: {block}"
                if meter.meter_map.sunspec_models:
                    what += ", wherever discovery finds the model"
                reads.append(PlannedRead(meter=meter.meter, what=what, wire_time_s=cost_s))
                share += cost_s / meter.poll_s
        return SourcePlan(
            name=self._name,
            reads=tuple(reads),
            cycle_s=min((meter.poll_s for meter in self._meters), default=0.0),
            wire_time_s=sum(read.wire_time_s for read in reads),
            bus_share=share,
        )

    def health(self) -> SourceHealth:
        """How it stands, now."""
        return SourceHealth(
            name=self._name,
            connected=self._link is not None and self._link.connected,
            progress_s=self._progress_s,
            meters={turn.bus_meter.meter: turn.health for turn in self._turns}
            or {meter.meter: MeterHealth() for meter in self._meters},
        )

    @property
    def _settings(self) -> SerialDefaults | None:
        return None if isinstance(self._address, TcpAddress) else self._address.settings

    async def _read(self, turn: _Turn) -> MeterReading | None:
        """One meter's turn; None if it failed."""
        self._progress_s = self._monotonic()
        try:
            reading = await turn.reader.read()
            if not turn.proven:
                self._prove(turn, reading)
        except LinkDown:
            # Not the meter's fault: its turn comes again as soon as the wire is back.
            raise
        except MeterFault as fault:
            turn.failed(fault)
            turn.schedule(self._monotonic())
            return None
        finally:
            self._progress_s = self._monotonic()
        turn.succeeded(reading)
        turn.schedule(self._progress_s)
        return reading

    def _prove(self, turn: _Turn, reading: MeterReading) -> None:
        """Before a map is trusted with a meter, what it says must be plausible once."""
        meter_map = turn.reader.meter_map
        doubts = meter_map.implausible(reading.quantities)
        if doubts:
            others = ", ".join(meter_map.variants) or "another map"
            raise MeterFault(
                place=f"{self._address} unit {turn.bus_meter.unit}",
                problem=f"not what {meter_map.name} should say ({'; '.join(doubts)}); try {others}",
            )
        turn.proven = True

    async def _wait_until(self, due_s: float) -> None:
        """Sleep in short steps, so that health always shows that the loop is alive."""
        while (wait_s := due_s - self._monotonic()) > 0:
            await asyncio.sleep(min(wait_s, 1.0))
            self._progress_s = self._monotonic()
