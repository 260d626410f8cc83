"""What every way of reading meters fills in: one port, several adapters.

A source stands for one wire (a Modbus bus, an MQTT broker, a recording) with any number of meters
on it. The pipeline iterates over `samples()` and never learns which wire they came over.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a meter said at one moment.

    Args:
        meter: The household's short name for the meter.
        taken_at: When it was read, aware UTC.
        quantities: Canonical name to number: counters such as `import_wh` as integer totals [Wh]
            since the meter was made, gauges such as `power_w` as floats. Missing is left out.
        identity: Serial number or the like, if the meter tells it; a change means another meter.
    """

    meter: str
    taken_at: datetime
    quantities: Mapping[str, int | float]
    identity: str | None = None


class MeterCondition(enum.StrEnum):
    """How it stands with one meter."""

    WAITING = "waiting"
    OK = "ok"
    FAILING = "failing"
    RESTING = "resting"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterHealth:
    """How it stands with one meter.

    Args:
        condition: Waiting for the first sample, ok, failing, or resting (asked less often because
            it failed several times in a row).
        last_ok_at: When it last gave a sample, aware UTC.
        failures_in_a_row: Since the last sample.
        last_fault: One line without personal data, or empty.
    """

    condition: MeterCondition = MeterCondition.WAITING
    last_ok_at: datetime | None = None
    failures_in_a_row: int = 0
    last_fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceHealth:
    """How it stands with a wire.

    Args:
        name: Name of the source.
        connected: Whether the wire is up.
        progress_s: `time.monotonic()` when the loop last turned, whether or not a meter answered.
        meters: By meter name.
        dropped: Samples lost because the reader was slower than the queue is long.
    """

    name: str
    connected: bool
    progress_s: float
    meters: Mapping[str, MeterHealth] = field(default_factory=dict)
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRead:
    """One thing a source will ask or listen to in a cycle.

    Args:
        meter: Whose.
        what: `input registers 0x0000-0x004b`, or a topic filter.
        wire_time_s: Time it keeps the wire busy [s]; 0 where the wire does not count.
    """

    meter: str
    what: str
    wire_time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlan:
    """What a source will do in each cycle, to be shown before it starts.

    Args:
        name: Name of the source.
        reads: All requests of one cycle, or all topic filters.
        cycle_s: Length of the cycle [s]; 0 for a source that is pushed to.
        wire_time_s: Wire time of all requests in one cycle [s].
        bus_share: Wire time per cycle time, 0 to 1; above 1 the bus cannot keep up.
    """

    name: str
    reads: tuple[PlannedRead, ...]
    cycle_s: float = 0.0
    wire_time_s: float = 0.0
    bus_share: float = 0.0


class MeterSource(Protocol):
    """A wire with meters on it."""

    @property
    def name(self) -> str:
        """Short name for logs, health and plans."""

    def samples(self) -> AsyncIterator[Sample]:
        """Yield samples for ever.

        Connects, reconnects and rests as needed, and raises only when the source can never work.
        Leaving the iteration (`aclose`) releases the wire.
        """

    def plan(self) -> SourcePlan:
        """What one cycle will do."""

    def health(self) -> SourceHealth:
        """How it stands, now."""
