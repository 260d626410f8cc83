"""Intervals that stay in columns from the door to the inbox, and still read as readings.

Pure. Most batches are blocks of equal steps without a gap. Making an object of every interval of
them would cost many times more than checking and storing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import overload

from gateway.wire.batch import Block, Part
from gateway.wire.reading import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Sequence[Reading]):
    """A whole even block whose every interval may be stored.

    Args:
        part: Where it is from.
        block: One of its blocks, for which `part.is_even` holds.
    """

    part: Part
    block: Block

    @property
    def step_s(self) -> int:
        """Length of each interval [s]."""
        return self.block.step_s or 0

    def __len__(self) -> int:
        return len(self.block.wh)

    @overload
    def __getitem__(self, position: int) -> Reading: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Reading, ...]: ...
    def __getitem__(self, position: int | slice) -> Reading | tuple[Reading, ...]:
        """The reading at a position, or those of a slice; made when asked for."""
        if isinstance(position, slice):
            return tuple(self[at] for at in range(*position.indices(len(self))))
        at = range(len(self))[position]
        start = self.block.start + timedelta(seconds=self.step_s * at)
        return Reading(
            meter=self.part.meter,
            quantity=self.part.quantity,
            start=start,
            end=start + timedelta(seconds=self.step_s),
            energy_wh=self.block.wh[at] or 0,
            epoch=self.part.epoch,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Admissible(Sequence[Reading]):
    """What may be stored of a part, in the order sent: runs, and readings one by one.

    Args:
        pieces: In the order of the blocks.
    """

    pieces: tuple[Run | tuple[Reading, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[Reading]:
        return chain.from_iterable(self.pieces)

    @overload
    def __getitem__(self, position: int) -> Reading: ...
    @overload
    def __getitem__(self, position: slice) -> tuple[Reading, ...]: ...
    def __getitem__(self, position: int | slice) -> Reading | tuple[Reading, ...]:
        """The reading at a position, or those of a slice."""
        return tuple(self)[position]


def pieces_of(readings: Sequence[Reading]) -> tuple[Run | Sequence[Reading], ...]:
    """Runs where there are any; all else as it is."""
    if isinstance(readings, Admissible):
        return readings.pieces
    return (readings,)
