"""Reads one Modbus meter whole: all its blocks, decoded, with what it turned out not to have."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.decode.meter_map import MeterMap, RegisterKey
from gateway.errors import MeterFault, MeterRefused
from gateway.meters.modbus_link import ModbusLink
from gateway.meters.read_plan import IDENTITY, Block, PlannedBlock, ReadPlan, plan_reads
from gateway.meters.sunspec import locate

RELEARN_ROUNDS = 1_000
"""After so many rounds, what a meter should have but refused is asked for again."""

_ILLEGAL_ADDRESS = 2
_ILLEGAL_VALUE = 3


def utc_now() -> datetime:
    """The system's clock, aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterReading:
    """What a meter said in one round.

    Args:
        taken_at: When its counters were read, aware UTC.
        quantities: Canonical name to number.
        identity: Serial number, if it was read.
        absent: Names that the meter refused and that its map does not call optional.
        without_value: Names whose registers it gave, but with no number in them: NaN, the maker's
            mark for "not available", or one that cannot be true.
    """

    taken_at: datetime
    quantities: Mapping[str, int | float]
    identity: str | None
    absent: tuple[str, ...] = ()
    without_value: tuple[str, ...] = ()


class MeterReader:
    """Knows what one meter on a link answers to, and learns where it differs from its map.

    Args:
        link: The wire.
        meter_map: What to read.
        unit: Address of the meter, 0 to 255.
        inverted: Whether it is wired backwards: import and export change places.
        clock: Aware UTC.
    """

    def __init__(
        self,
        link: ModbusLink,
        meter_map: MeterMap,
        unit: int,
        *,
        inverted: bool = False,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.link = link
        self.meter_map = meter_map
        self.unit = unit
        self._inverted = inverted
        self._clock = clock
        self._located = not meter_map.sunspec_models
        self._plan = plan_reads(meter_map, with_identity=True) if self._located else None
        self._rounds = 0

    @property
    def plan(self) -> ReadPlan:
        """What a round asks for, as far as it is known before the meter was reached."""
        return self._plan or plan_reads(self.meter_map.at(40_070), with_identity=True)

    async def read(self) -> MeterReading:
        """Read everything once.

        Raises:
            MeterFault: The meter did not answer, or not to what was asked. Nothing that was read
                before the fault is used: it may be as wrong as what came after.
        """
        plan = self._plan or await self._first_plan()
        self._rounds += 1
        if self._rounds % RELEARN_ROUNDS == 0 and self._missed(plan):
            plan = await self._first_plan()
        while True:
            if not plan.blocks:
                # A meter that was only starting up gets another chance in its next round.
                self._plan = None
                raise MeterFault(
                    place=f"{self.link.address} unit {self.unit}",
                    problem=f"refuses every register of {self.meter_map.name}; check the map and the unit",
                )
            refused, taken_at, registers = await self._round(plan)
            if refused is None:
                return self._reading(plan, taken_at, registers)
            plan = self._plan = plan.refused(refused)

    async def _round(
        self, plan: ReadPlan
    ) -> tuple[PlannedBlock | None, datetime, dict[RegisterKey, int]]:
        """Ask for every block once; stop at the first that the meter refuses twice."""
        registers: dict[RegisterKey, int] = {}
        taken_at = self._clock()
        for planned in plan.blocks:
            await self._pass(planned.guard)
            words = await self._ask_twice(planned)
            if words is None:
                return planned, taken_at, registers
            registers.update(planned.block.registers(words))
            if any(self._is_counter(name) for name in planned.group.names):
                taken_at = self._clock()
        await self._pass(plan.tail)
        return None, taken_at, registers

    async def _pass(self, guard: Block | None) -> None:
        """Ask for what nobody needs, if anything.

        Refused or answered, no reply to the request before looks like it, and its own, come too
        late, cannot be taken for that of the block that follows.
        """
        if guard is not None:
            with contextlib.suppress(MeterRefused):
                await self._ask(guard)

    async def _ask_twice(self, planned: PlannedBlock) -> list[int] | None:
        """The words, or None if the meter has no such registers and says so twice."""
        for _ in range(2):
            try:
                return await self._ask(planned.block)
            except MeterRefused as fault:
                if fault.exception_code not in {_ILLEGAL_ADDRESS, _ILLEGAL_VALUE}:
                    raise
        return None

    async def _ask(self, block: Block) -> list[int]:
        limits = self.meter_map.limits
        return await self.link.read(
            self.unit, block, timeout_s=limits.timeout_s, pause_s=limits.pause_s
        )

    async def _first_plan(self) -> ReadPlan:
        """A plan that knows of no refusals yet; a SunSpec meter is looked for first."""
        if not self._located:
            self.meter_map = await locate(
                self.link, self.unit, self.meter_map, timeout_s=self.meter_map.limits.timeout_s
            )
            self._located = True
        self._plan = plan_reads(self.meter_map, with_identity=True)
        return self._plan

    def _missed(self, plan: ReadPlan) -> tuple[str, ...]:
        """What the meter refuses although its map does not call it optional."""
        wanted = plan.absent - {IDENTITY}
        return tuple(sorted(name for name in wanted if not self.meter_map.points[name].optional))

    def _is_counter(self, name: str) -> bool:
        point = self.meter_map.points.get(name)
        return point is not None and point.kind.counter

    def _reading(
        self, plan: ReadPlan, taken_at: datetime, registers: Mapping[RegisterKey, int]
    ) -> MeterReading:
        quantities = self.meter_map.decode(registers)
        identity = self.meter_map.identity
        return MeterReading(
            taken_at=taken_at,
            quantities=inverted(quantities) if self._inverted else quantities,
            identity=None if identity is None else identity.value(registers),
            absent=self._missed(plan),
            without_value=tuple(
                name
                for name in self.meter_map.points
                if name not in quantities and name not in plan.absent
            ),
        )


def inverted(quantities: Mapping[str, int | float]) -> dict[str, int | float]:
    """What a meter that is wired backwards would have said if it were not."""
    turned: dict[str, int | float] = {}
    for name, number in quantities.items():
        if "import" in name:
            turned[name.replace("import", "export")] = number
        elif "export" in name:
            turned[name.replace("export", "import")] = number
        elif name.startswith(("power_", "reactive_")) and not name.startswith("power_factor"):
            turned[name] = -number
        else:
            turned[name] = number
    return turned
