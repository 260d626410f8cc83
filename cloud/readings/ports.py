"""What the rest of the cloud may ask of stored readings.

One port with two shipped adapters: `embedded.EmbeddedStore` on disk and `memory.MemoryStore`.
Both pass the same conformance suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import pandas as pd

from cloud.readings.chain import Chain
from gateway.wire.batch import BatchAnswer, GapRecord, Part, RefusedInterval
from gateway.wire.reading import Purpose, Quantity, Reading, StreamKey


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPart:
    """A part of a batch after grant, resolution and clock were checked, interval by interval.

    Attributes:
        part: As sent.
        admissible: Intervals that may be stored, gaps included; `runs.Admissible` where whole
            blocks pass, so that nothing is made of them one by one.
        refused: Intervals that may not, each with its reason.
    """

    part: Part
    admissible: Sequence[Reading]
    refused: tuple[RefusedInterval, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBatch:
    """A batch whose signature was found good.

    Attributes:
        household: Pseudonym of the home the gateway is bound to.
        gateway: Key id of the sender.
        seq: Number of this batch from this gateway, from 1.
        payload: The bytes that were signed, not compressed.
        signature: Signature over them, as it arrived.
        received_at: When it arrived, aware UTC.
        parts: In the order sent.
        gaps: What the gateway says will never come, admissible ones only.
    """

    household: str
    gateway: str
    seq: int
    payload: bytes
    signature: str
    received_at: datetime
    parts: tuple[CheckedPart, ...]
    gaps: tuple[GapRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """What is in the store, counted from it.

    Attributes:
        batches: Batches known by gateway and number; those of 400 days before the newest are not.
        intervals_accepted: Intervals with energy that were answered as accepted and not erased.
        intervals_distinct: Different (stream, epoch, start) that can be read back.
        gaps: Intervals said to be unknown, whether or not they were filled later.
        energy_wh: Energy that can be read back [Wh], by quantity and purpose.
        intervals_waiting: Of the distinct ones, those in the inbox, not yet compacted.
        files: Live Parquet files.
        bytes_on_disk: Parquet and inbox together [bytes].
    """

    batches: int
    intervals_accepted: int
    intervals_distinct: int
    gaps: int
    energy_wh: Mapping[tuple[Quantity, Purpose], int] = field(default_factory=dict)
    intervals_waiting: int = 0
    files: int = 0
    bytes_on_disk: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure removed.

    Attributes:
        household: Whose readings.
        streams: Streams removed.
        intervals: Intervals removed.
        batches: Signed batches removed from the inbox.
        files_rewritten: Parquet files replaced or dropped.
    """

    household: str
    streams: int
    intervals: int
    batches: int
    files_rewritten: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What the end of a retention removed.

    Attributes:
        intervals: Intervals removed.
        files_rewritten: Parquet files replaced or dropped.
    """

    intervals: int
    files_rewritten: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What a compaction did.

    Attributes:
        intervals: Intervals moved from the inbox to Parquet.
        files_written: New files.
        files_removed: Files replaced.
    """

    intervals: int
    files_written: int
    files_removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenChain:
    """A stream of a gateway whose parts did not come one after another.

    Attributes:
        household: Whose.
        stream: Which.
        gateway: Key id of the sender.
        chain: How far it has come, and what is missing, forked or came twice.
        noticed_at: When a break was last noticed, aware UTC.
    """

    household: str
    stream: StreamKey
    gateway: str
    chain: Chain
    noticed_at: datetime


class ReadingStore(Protocol):
    """Readings by household and stream."""

    def append(self, checked: CheckedBatch) -> Future[BatchAnswer]:
        """Store a batch; the answer comes only after it is on disk.

        The same gateway and number with the same bytes is answered as duplicate. An interval
        that is covered already is a duplicate; one that overlaps in part, or tells of time that
        another life of the counter has energy for without being partial, is refused (`overlap`).

        Raises:
            StoreBusy: The queue is full; try again later.
            StoreClosed: The store was closed.
            BatchNumberReused: (through the future) The number was used for other bytes.
            StoreUnavailable: (through the future) Nothing of the batch was written.
        """
        ...

    def home_matrix(
        self,
        households: Iterable[str],
        *,
        quantity: Quantity,
        purpose: Purpose,
        start: datetime,
        end: datetime,
        step_s: int,
    ) -> pd.DataFrame:
        """Energy per home on one regular grid.

        Finer readings are added up where they fill a step wholly; a step that is not filled by
        measured or estimated energy is NaN. A home with several meters is their sum, and NaN
        where one of them is missing between its first and last reading.

        Args:
            households: Which homes; each gets a column, in this order.
            quantity: What.
            purpose: Only streams that left for this purpose are read.
            start: Start of the first step, aware.
            end: End of the last step, aware; a whole number of steps later.
            step_s: Step [s].

        Returns:
            Energy [Wh], float, with an aware UTC index `interval_start`.
        """
        ...

    def home_readings(
        self, household: str, *, start: datetime, end: datetime, purpose: Purpose | None = None
    ) -> pd.DataFrame:
        """List one home's intervals as they were sent that start in `[start, end)`.

        Returns:
            Columns meter, quantity, purpose, epoch, start, end (aware UTC), energy_wh, quality;
            sorted by stream, epoch and start. Gaps are not listed.
        """
        ...

    def group_load(
        self,
        households: Iterable[str],
        *,
        quantity: Quantity,
        purpose: Purpose,
        start: datetime,
        end: datetime,
        step_s: int,
    ) -> pd.DataFrame:
        """Add homes up per step. Raw: nothing of it may leave without the privacy floor.

        Returns:
            Columns energy_wh (sum over the homes present), homes (how many), top_home_wh (the
            largest one's), with an aware UTC index `interval_start`.
        """
        ...

    def streams(self, household: str) -> tuple[StreamKey, ...]:
        """Streams of a home that hold anything, sorted."""
        ...

    def gaps(self, household: str) -> tuple[GapRecord, ...]:
        """What a home's gateways said will never come, newest first; at most 1000."""
        ...

    def broken_chains(self, household: str | None = None) -> tuple[BrokenChain, ...]:
        """Chains of a home, or of all homes, in which anything is missing or wrong."""
        ...

    def erase(self, household: str, *, stream: StreamKey | None = None) -> Erased:
        """Remove a home's readings, or one stream of them, so that nothing stays on disk."""
        ...

    def expire(self, cutoffs: Mapping[tuple[str, StreamKey], datetime]) -> Expired:
        """Remove what was kept long enough.

        What is still in the inbox stays until it was compacted. The time stays covered, so an old
        reading that is sent again is a duplicate and does not come back.

        Args:
            cutoffs: By household and stream; intervals that end at or before go, aware.
        """
        ...

    def compact(self) -> Compacted:
        """Move the inbox into Parquet. Safe to stop at any moment."""
        ...

    def counts(self) -> StoreCounts:
        """Count what is stored."""
        ...

    def close(self) -> None:
        """Finish what was accepted and let go of files. Twice is harmless."""
        ...
