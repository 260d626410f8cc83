"""Samples from memory: for the demo, for tests, and to play a recording again.

Fills the same port as the wires do, so that all that follows runs without hardware.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from gateway.errors import BadRecording
from gateway.meters.source import (
    MeterCondition,
    MeterHealth,
    PlannedRead,
    Sample,
    SourceHealth,
    SourcePlan,
)

LINE_BYTES_MAX = 64 * 1024


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    meter: str
    taken_at: datetime
    quantities: dict[str, int | float]
    identity: str | None = None


class ReplaySource:
    """Plays samples one after the other. Fills the port `MeterSource`.

    Args:
        name: For logs, health and plans.
        samples: In the order in which they are played.
        speed: 1 keeps the pauses between samples, 60 plays an hour in a minute, None plays all at
            once.
    """

    def __init__(self, name: str, samples: Iterable[Sample], *, speed: float | None = None) -> None:
        self._name = name
        self._samples = tuple(samples)
        self._speed = speed
        self._progress_s = time.monotonic()
        self._last_ok_at: dict[str, datetime] = {}

    @property
    def name(self) -> str:
        """Short name of the recording."""
        return self._name

    async def samples(self) -> AsyncIterator[Sample]:
        """Yield all samples, then end."""
        before: datetime | None = None
        for sample in self._samples:
            if self._speed is not None and before is not None:
                pause_s = (sample.taken_at - before).total_seconds() / self._speed
                await asyncio.sleep(max(0.0, pause_s))
            before = sample.taken_at
            self._progress_s = time.monotonic()
            self._last_ok_at[sample.meter] = sample.taken_at
            yield sample

    def plan(self) -> SourcePlan:
        """What is in the recording."""
        meters = dict.fromkeys(sample.meter for sample in self._samples)
        return SourcePlan(
            name=self._name,
            reads=tuple(PlannedRead(meter=meter, what="recorded samples") for meter in meters),
        )

    def health(self) -> SourceHealth:
        """How far it has come."""
        meters: Mapping[str, MeterHealth] = {
            meter: MeterHealth(condition=MeterCondition.OK, last_ok_at=at)
            for meter, at in self._last_ok_at.items()
        }
        return SourceHealth(
            name=self._name, connected=True, progress_s=self._progress_s, meters=meters
        )


def samples_from_lines(lines: Iterable[bytes], *, file: str) -> Iterable[Sample]:
    """Read a recording: one JSON object a line, as `read --json` and the replay know them.

    Args:
        lines: Each with `meter`, `taken_at` (ISO 8601 with offset) and `quantities`.
        file: Shown in faults.

    Raises:
        BadRecording: With the file and the line.
    """
    for position, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"line {position}"
        if len(line) > LINE_BYTES_MAX:
            raise BadRecording(file=file, place=place, problem="far too long")
        try:
            read = msgspec.json.decode(line, type=_Line)
        except (msgspec.MsgspecError, RecursionError) as fault:
            raise BadRecording(file=file, place=place, problem=str(fault)) from fault
        if read.taken_at.tzinfo is None:
            raise BadRecording(file=file, place=place, problem="taken_at has no offset")
        yield Sample(
            meter=read.meter,
            taken_at=read.taken_at.astimezone(UTC),
            quantities=read.quantities,
            identity=read.identity,
        )
