"""Which time a stream already has: disjoint half-open ranges that grow together.

Pure. The same arithmetic decides what is new, a duplicate or an overlap for every store.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time, exactly."""
    return (moment - EPOCH) // MICROSECOND


def from_us(moment_us: int) -> datetime:
    """Aware UTC time of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=moment_us)


class Relation(enum.Enum):
    """How an interval lies to what is covered."""

    FREE = enum.auto()
    COVERED = enum.auto()
    OVERLAP = enum.auto()


class Coverage:
    """Disjoint, non-touching ranges `[start, end)` in microseconds, in order.

    Remembers which ranges changed since `take_changes`, so that a store can write only those.
    """

    __slots__ = ("_changed", "_ends", "_gone", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        ordered = sorted(ranges)
        self._starts = [start for start, _ in ordered]
        self._ends = [end for _, end in ordered]
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    def ranges(self) -> list[tuple[int, int]]:
        """All ranges, in order."""
        return list(zip(self._starts, self._ends, strict=True))

    def relation(self, start_us: int, end_us: int) -> Relation:
        """Say how `[start, end)` lies to the ranges."""
        position = bisect_right(self._starts, start_us) - 1
        if position >= 0 and self._ends[position] >= end_us:
            return Relation.COVERED
        if position >= 0 and self._ends[position] > start_us:
            return Relation.OVERLAP
        following = position + 1
        if following < len(self._starts) and self._starts[following] < end_us:
            return Relation.OVERLAP
        return Relation.FREE

    def add(self, start_us: int, end_us: int) -> None:
        """Cover `[start, end)`, joining every range it meets or touches."""
        if self._starts and start_us == self._ends[-1]:
            self._ends[-1] = end_us
            self._changed.add(self._starts[-1])
            return
        first = bisect_left(self._ends, start_us)
        last = bisect_right(self._starts, end_us)
        joined = self._starts[first:last]
        start_new = min(start_us, *joined) if joined else start_us
        end_new = max(end_us, *self._ends[first:last]) if joined else end_us
        self._starts[first:last] = [start_new]
        self._ends[first:last] = [end_new]
        self._gone.update(start for start in joined if start != start_new)
        self._changed.difference_update(joined)
        self._changed.add(start_new)
        self._gone.discard(start_new)

    def take_changes(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Starts of ranges that vanished and ranges that are new or longer, since last asked."""
        gone = sorted(self._gone)
        changed = [
            (start, self._ends[bisect_left(self._starts, start)]) for start in sorted(self._changed)
        ]
        self._gone.clear()
        self._changed.clear()
        return gone, changed
