"""Which blocks of registers to ask a meter for.

Neighbouring points are read in one block as far as the meter allows. All blocks of one meter get
different lengths where the meter puts up with it: Modbus RTU replies do not say which request they
answer, so the length is the only thing by which a reply that comes one request late can be told
from the right one. Where lengths cannot all differ, the first block's still does (a one-register
sentinel if need be): a device answers in order, so once the first block got its own reply, no
older one is under way. And each block is followed by one of another length (a guard, which nobody
needs otherwise): some bridges repeat a request by themselves, so that a reply comes twice, and one
that is taken for the next leaves that one's own reply to be met by the guard.

Source: Modbus Application Protocol V1.1b3 (function 3 and 4), Modbus over Serial Line V1.02 (2.5.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway.decode.meter_map import (
    FUNCTION_NAMES,
    HOLDING,
    INPUT,
    BusLimits,
    MeterMap,
    RegisterKey,
    SerialDefaults,
)

IDENTITY = "identity"
"""Stands in for a point's name where a block holds the serial number."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Block:
    """Registers asked for at once.

    Args:
        function: Modbus function code, 3 or 4.
        address: First register.
        count: How many.
    """

    function: int
    address: int
    count: int

    def __str__(self) -> str:
        """As shown in plans and faults."""
        last = self.address + self.count - 1
        name = FUNCTION_NAMES[self.function]
        return f"{name} registers 0x{self.address:04x}-0x{last:04x} ({self.count})"

    def registers(self, words: Iterable[int]) -> dict[RegisterKey, int]:
        """Label the words of a reply with where they are from."""
        return {(self.function, self.address + offset): word for offset, word in enumerate(words)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Registers that must be read together because they make one number."""

    function: int
    address: int
    count: int
    name: str
    optional: bool = False

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Spans read in one block.

    Args:
        spans: In order of address.
        exact: Whether the meter refused a longer block here, so that none may be added.
    """

    spans: tuple[Span, ...]
    exact: bool = False

    @property
    def block(self) -> Block:
        """The shortest block that holds all spans."""
        first = self.spans[0]
        end = max(span.end for span in self.spans)
        return Block(function=first.function, address=first.address, count=end - first.address)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is in it."""
        return tuple(span.name for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBlock:
    """A block to ask for, and the group it is for.

    Args:
        block: What to ask for.
        group: What it is for.
        guard: A block of another length to ask for before it, where the one before is as long.
    """

    block: Block
    group: Group
    guard: Block | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """All blocks of one meter, in the order in which they are asked for.

    Args:
        groups: What is read together.
        limits: What the meter puts up with.
        absent: Names the meter does not have.
        blocks: The blocks; the first and the last have a length of their own if any have.
        tail: What is asked for last, where the last block is as long as another.
    """

    groups: tuple[Group, ...]
    limits: BusLimits
    absent: frozenset[str] = frozenset()
    blocks: tuple[PlannedBlock, ...] = field(init=False)
    tail: Block | None = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the blocks."""
        blocks, tail = _lay_out(self.groups, self.limits)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "tail", tail)

    @property
    def sentinel(self) -> Block | None:
        """What is asked for first, where no block has a length of its own."""
        return self.blocks[0].guard if self.blocks else None

    @property
    def requests(self) -> tuple[Block, ...]:
        """Everything that goes over the wire in a cycle, in order."""
        asked = [one for planned in self.blocks for one in (planned.guard, planned.block)]
        return tuple(block for block in (*asked, self.tail) if block is not None)

    def refused(self, planned: PlannedBlock) -> ReadPlan:
        """The plan after the meter refused a block: shorter, split, or without it."""
        group = planned.group
        if planned.block.count > group.block.count:
            return self._replaced(group, (replace(group, exact=True),))
        if len(group.spans) == 1:
            gone = self.absent | {group.spans[0].name}
            return replace(
                self, groups=tuple(one for one in self.groups if one != group), absent=gone
            )
        return self._replaced(group, _split(group))

    def _replaced(self, group: Group, by: tuple[Group, ...]) -> ReadPlan:
        groups: list[Group] = []
        for one in self.groups:
            groups.extend(by if one == group else (one,))
        return replace(self, groups=tuple(groups))


def plan_reads(meter_map: MeterMap, *, with_identity: bool = False) -> ReadPlan:
    """Plan the reading of a whole map.

    Args:
        meter_map: With addresses as on the wire (a SunSpec map must have been moved by `at`).
        with_identity: Whether to read the serial number too.
    """
    spans = [
        Span(
            function=point.function,
            address=address,
            count=count,
            name=name,
            optional=point.optional,
        )
        for name, point in meter_map.points.items()
        for address, count in point.spans
    ]
    identity = meter_map.identity
    if with_identity and identity is not None:
        spans.append(
            Span(
                function=identity.function,
                address=identity.address,
                count=identity.registers,
                name=IDENTITY,
                optional=True,
            )
        )
    return ReadPlan(groups=_merge(spans, meter_map.limits), limits=meter_map.limits)


def wire_time_s(block: Block, serial: SerialDefaults, pause_s: float = 0.0) -> float:
    """How long one exchange keeps a serial bus busy [s], without the meter's own thinking.

    Eight bytes out, five and two per register back, and a silence of 3.5 characters after each,
    at least 1.75 ms above 19 200 baud.
    """
    bits = 9 + serial.stop_bits + (serial.parity != "N")
    character_s = bits / serial.baud
    silence_s = 0.00175 if serial.baud > 19_200 else 3.5 * character_s
    return (8 + 5 + 2 * block.count) * character_s + 2 * silence_s + pause_s


def _merge(spans: list[Span], limits: BusLimits) -> tuple[Group, ...]:
    groups: list[list[Span]] = []
    for span in sorted(spans, key=lambda one: (one.function, one.address, one.count)):
        current = groups[-1] if groups else None
        if current is not None and current[0].function == span.function:
            end = max(one.end for one in current)
            fits = max(end, span.end) - current[0].address <= limits.registers_max
            if fits and span.address - end <= limits.hole_max:
                current.append(span)
                continue
        groups.append([span])
    return tuple(Group(spans=tuple(group)) for group in groups)


def _split(group: Group) -> tuple[Group, ...]:
    """Split where registers nobody asked for were read along; where there are none, in two."""
    parts: list[list[Span]] = [[group.spans[0]]]
    end = group.spans[0].end
    for span in group.spans[1:]:
        if span.address > end:
            parts.append([])
        parts[-1].append(span)
        end = max(end, span.end)
    if len(parts) == 1:
        middle = len(group.spans) // 2
        parts = [list(group.spans[:middle]), list(group.spans[middle:])]
    return tuple(Group(spans=tuple(part), exact=True) for part in parts)


def _lay_out(
    groups: tuple[Group, ...], limits: BusLimits
) -> tuple[tuple[PlannedBlock, ...], Block | None]:
    taken: set[int] = set()
    planned: list[PlannedBlock] = []
    # Blocks that may not grow choose first; then the long ones, which have least room to grow.
    order = sorted(groups, key=lambda one: (not one.exact, -one.block.count, one.block))
    for group in order:
        block = _grown(group, taken, limits)
        taken.add(block.count)
        planned.append(PlannedBlock(block=block, group=group))
    counts = Counter(one.block.count for one in planned)
    planned.sort(key=lambda one: one.block)
    alone = [one for one in planned if counts[one.block.count] == 1]
    alike = [one for one in planned if counts[one.block.count] > 1]
    if not alike:
        return tuple(planned), None
    free = [count for count in range(1, limits.registers_max + 3) if count not in taken]
    if alone:
        first = alone.pop(0)
    else:
        first = alike.pop(0)
        # Of the other function than the block that follows, so that not even its refusal, come too
        # late, can be taken for that block's: refusals name their function and nothing else.
        other = INPUT if first.block.function == HOLDING else HOLDING
        first = replace(first, guard=replace(first.block, function=other, count=free.pop(0)))
    last = alone.pop() if alone else None
    laid = _alternating(first, [*alike, *alone], guard_count=free[0])
    if last is not None:
        return (*laid, last), None
    return tuple(laid), replace(laid[-1].block, count=free[0])


def _alternating(
    first: PlannedBlock, waiting: list[PlannedBlock], *, guard_count: int
) -> list[PlannedBlock]:
    """All blocks so that none is as long as the one before; with guards where that cannot be."""
    laid = [first]
    while waiting:
        unlike = [one for one in waiting if one.block.count != laid[-1].block.count]
        # Those as long as most others go first: the rest is best kept to stand between them.
        left = Counter(one.block.count for one in waiting)
        chosen = max(unlike or waiting, key=lambda one: left[one.block.count])
        waiting.remove(chosen)
        guard = None if unlike else replace(chosen.block, count=guard_count)
        laid.append(replace(chosen, guard=guard))
    return laid


def _grown(group: Group, taken: set[int], limits: BusLimits) -> Block:
    """The group's block, longer by as little as gives it a length of its own."""
    block = group.block
    if group.exact or block.count not in taken:
        return block
    for count in range(block.count + 1, limits.registers_max + 1):
        if count not in taken:
            after = min(count, 0x10000 - block.address)
            return replace(block, address=block.address - (count - after), count=count)
    return block
