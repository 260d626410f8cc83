"""A batch: readings of many streams in columns, as a household can read them.

A block holds consecutive intervals of one stream: a start, a fixed step (or the edges, where
periods follow the local calendar) and integer Wh per interval. Each part carries the grant
under which it left, a sequence number of its stream and the hash of the stream's part before,
so that a missing batch can be proved.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from gateway.wire.reading import (
    ENERGY_WH_MAX,
    METER_ID,
    Purpose,
    Quality,
    Quantity,
    Reading,
    Resolution,
    StreamKey,
)
from gateway.wire.record import AwareTime, Count, HexHash, WireRecord
from gateway.wire.signing import KeyId

PARTS_MAX = 256
INTERVALS_MAX = 50_000
QUALITY_LETTER = {
    Quality.MEASURED: "m",
    Quality.ESTIMATED: "e",
    Quality.PARTIAL: "p",
    Quality.GAP: "g",
}
LETTER_QUALITY = {letter: quality for quality, letter in QUALITY_LETTER.items()}

EnergyWh = Annotated[int, msgspec.Meta(ge=0, le=ENERGY_WH_MAX)]
MeterName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class Outcome(enum.StrEnum):
    """What the cloud did with a part."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class GapReason(enum.StrEnum):
    """Why intervals of a stream will never come."""

    OVERFLOW = "overflow"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    METER_SILENT = "meter_silent"
    REFUSED = "refused"


class Block(WireRecord, frozen=True, kw_only=True, omit_defaults=True):
    """Consecutive intervals of one stream.

    Args:
        start: Start of the first interval.
        step_s: Length of each [s]; absent when `edges` is given.
        edges: All interval edges, one more than there are values, for days and months.
        wh: Energy per interval [Wh]; null where nothing is known.
        quality: A letter per interval (m, e, p, g); empty when all are measured.
    """

    start: AwareTime
    step_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None
    edges: Annotated[tuple[AwareTime, ...], msgspec.Meta(max_length=10_001)] | None = None
    wh: Annotated[tuple[EnergyWh | None, ...], msgspec.Meta(min_length=1, max_length=INTERVALS_MAX)]
    quality: Annotated[str, msgspec.Meta(max_length=INTERVALS_MAX)] = ""

    def intervals(self) -> Iterator[tuple[datetime, datetime, int | None, Quality]]:
        """Yield start, end, energy [Wh] or None, and quality of each interval.

        Raises:
            ValueError: Neither step nor edges, lengths that differ, or an unknown letter.
        """
        edges = self._edges()
        letters = self.quality or "m" * len(self.wh)
        if len(letters) != len(self.wh) or not set(letters) <= set(LETTER_QUALITY):
            raise ValueError("quality must hold one of m, e, p, g for each value")
        for position, energy_wh in enumerate(self.wh):
            quality = Quality.GAP if energy_wh is None else LETTER_QUALITY[letters[position]]
            if energy_wh is not None and quality is Quality.GAP:
                raise ValueError(f"value {position} is called a gap but has energy")
            yield edges[position], edges[position + 1], energy_wh, quality

    @property
    def is_even(self) -> bool:
        """Whether it is sound as a whole, in equal steps, measured throughout, without a gap.

        What a decoder has made sure of is not asked again: types and ranges. False says only that
        the intervals have to be looked at one by one.
        """
        return (
            self.step_s is not None
            and self.step_s > 0
            and self.edges is None
            and not self.quality
            and self.start.tzinfo is UTC
            and None not in self.wh
            and self.start <= _END_OF_TIME - timedelta(seconds=self.step_s * len(self.wh))
        )

    def _edges(self) -> list[datetime]:
        if (self.step_s is None) == (self.edges is None):
            raise ValueError("give either step_s or edges")
        if self.edges is None:
            step = timedelta(seconds=self.step_s or 0)
            return [self.start + step * position for position in range(len(self.wh) + 1)]
        if len(self.edges) != len(self.wh) + 1 or self.edges[0] != self.start:
            raise ValueError("edges must begin at start and hold one more than there are values")
        if any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")
        return list(self.edges)


_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Part(WireRecord, frozen=True, kw_only=True):
    """What one stream adds to a batch.

    Args:
        meter: The household's name for the meter.
        quantity: What was measured.
        purpose: Why it left.
        resolution: The step at which it left.
        grant: `consent@version` under which it left.
        epoch: Life of the counter; see `Reading.epoch`.
        seq: Number of this part in its stream, from 1.
        prev: SHA-256 of the stream's part before, hex; empty for the first, and where a chain begins
            anew because parts that were sealed will never arrive.
        blocks: The intervals.
    """

    meter: MeterName
    quantity: Quantity
    purpose: Purpose
    resolution: Resolution
    grant: Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[a-z0-9-]{1,64}@[0-9]{1,7}$")]
    epoch: Count
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    prev: HexHash
    blocks: Annotated[tuple[Block, ...], msgspec.Meta(min_length=1, max_length=10_000)]

    @property
    def stream(self) -> StreamKey:
        """Key under which the cloud stores."""
        return StreamKey(meter=self.meter, quantity=self.quantity, purpose=self.purpose)

    def readings(self) -> Iterator[Reading]:
        """Yield the intervals as readings; unknown energy becomes a gap of 0 Wh."""
        for block in self.blocks:
            yield from self.readings_of(block)

    def readings_of(self, block: Block) -> Iterator[Reading]:
        """Yield the intervals of one of the blocks as readings.

        Raises:
            ValueError: The block contradicts itself, or the meter's name cannot be one.
            OverflowError: The block ends after the end of time.
        """
        for start, end, energy_wh, quality in block.intervals():
            yield Reading(
                meter=self.meter,
                quantity=self.quantity,
                start=start,
                end=end,
                energy_wh=energy_wh or 0,
                quality=quality,
                epoch=self.epoch,
            )

    def is_even(self, block: Block) -> bool:
        """Whether one of the blocks would give nothing but sound, measured readings."""
        return block.is_even and METER_ID.fullmatch(self.meter) is not None


class GapRecord(WireRecord, frozen=True, kw_only=True):
    """Intervals of a stream that will never come, said openly.

    Args:
        meter: The household's name for the meter.
        quantity: What would have been measured.
        purpose: Which stream.
        start: First moment that is missing.
        end: First moment that is not.
        reason: Why.
        intervals: How many intervals are missing.
    """

    meter: MeterName
    quantity: Quantity
    purpose: Purpose
    start: AwareTime
    end: AwareTime
    reason: GapReason
    intervals: Count


class Batch(WireRecord, frozen=True, kw_only=True):
    """What a gateway sends at once. Signed as bytes; see `codec`.

    Args:
        v: Version of the contract.
        gateway: Key id of the sender.
        seq: Number of this batch from this gateway, from 1; the same number is the same batch.
        made_at: When it was sealed.
        parts: One per stream, grant and counter epoch.
        gaps: What will never come.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    gateway: KeyId
    seq: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    made_at: AwareTime
    parts: Annotated[tuple[Part, ...], msgspec.Meta(max_length=PARTS_MAX)]
    gaps: Annotated[tuple[GapRecord, ...], msgspec.Meta(max_length=1_000)] = ()


class RefusedInterval(WireRecord, frozen=True, kw_only=True):
    """One interval the cloud did not take.

    Args:
        start: Start of the interval.
        reason: A `Withheld` value, or `overlap`, `in_the_future`, `too_old`.
    """

    start: AwareTime
    reason: str


class PartAnswer(WireRecord, frozen=True, kw_only=True):
    """What became of a part.

    Args:
        meter: As sent.
        quantity: As sent.
        purpose: As sent.
        epoch: As sent.
        seq: As sent.
        outcome: Refused only if nothing of it was taken and something was refused.
        accepted: Intervals stored for the first time.
        duplicate: Intervals that were there already.
        refused: Intervals not taken, each with its reason.
    """

    meter: MeterName
    quantity: Quantity
    purpose: Purpose
    epoch: Count
    seq: int
    outcome: Outcome
    accepted: int
    duplicate: int
    refused: tuple[RefusedInterval, ...] = ()


class BatchAnswer(WireRecord, frozen=True, kw_only=True):
    """The cloud's acknowledgement: given only after the batch is on disk.

    Args:
        seq: Number of the batch.
        sha256: Hash of the payload that was stored, hex.
        parts: One answer per part, in the order sent.
    """

    seq: int
    sha256: str
    parts: tuple[PartAnswer, ...]


def part_hash(part: Part) -> str:
    """Hash that the stream's next part cites as `prev`, hex."""
    return hashlib.sha256(msgspec.json.encode(part)).hexdigest()
