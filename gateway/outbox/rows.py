"""What goes into the outbox and how rows become the parts of a batch. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

import msgspec

from gateway.consent.coarsen import Period
from gateway.wire.batch import LETTER_QUALITY, QUALITY_LETTER, Block, GapRecord, Part, part_hash
from gateway.wire.reading import Quality, Quantity, Resolution, StreamKey

READ = "read"
"""Tally of all base intervals that came from the counters."""
ADMITTED = "admitted"
"""Tally of base intervals that went into something kept for sending."""
KEPT = "kept"
"""Tally of a stream's own intervals that were to be written to the outbox."""
ERASED = "erased"
"""Tally of a stream's intervals erased unsent, because a consent ended or room ran out."""
MERGED = "merged"
"""Tally of a stream's intervals that went into coarser ones, because room ran out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Under what an interval may leave: a consent in one version, at one step."""

    consent_id: str
    version: int
    resolution: Resolution

    @property
    def grant(self) -> str:
        """`consent@version`, as batches cite it."""
        return f"{self.consent_id}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """One interval of one stream that waits to be sent."""

    stream: StreamKey
    permit: Permit
    epoch: int
    start: datetime
    end: datetime
    energy_wh: int
    quality: Quality = Quality.MEASURED


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStream:
    """How far a stream has come.

    Args:
        closed_to: End of its last interval; nothing before it is taken again.
        permit: Under what the open period is gathered.
        period: The open period, if there is one.
    """

    closed_to: datetime
    permit: Permit | None = None
    period: Period | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """All that one commit period adds, written in one transaction."""

    rows: tuple[WaitingRow, ...] = ()
    streams: Mapping[StreamKey, OpenStream] = field(default_factory=dict)
    counters: Mapping[tuple[str, str], bytes] = field(default_factory=dict)
    tallies: Mapping[tuple[str, str, str, str], int] = field(default_factory=dict)
    gaps: tuple[GapRecord, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.rows or self.streams or self.counters or self.tallies or self.gaps)


class PeriodRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An open period as stored."""

    start: datetime
    end: datetime
    covered_to: datetime
    energy_wh: int
    quality: str
    epoch: int
    readings: int
    whole: bool
    consent_id: str
    version: int
    resolution: str


def period_to_bytes(period: Period, permit: Permit) -> bytes:
    """Write an open period."""
    return msgspec.json.encode(
        PeriodRecord(
            start=period.start,
            end=period.end,
            covered_to=period.covered_to,
            energy_wh=period.energy_wh,
            quality=period.quality,
            epoch=period.epoch,
            readings=period.readings,
            whole=period.whole,
            consent_id=permit.consent_id,
            version=permit.version,
            resolution=permit.resolution,
        )
    )


# Made at import: two threads that first meet a record at once can crash msgspec (see wire.codec).
_PERIODS = msgspec.json.Decoder(PeriodRecord)
msgspec.json.Decoder(StreamKey)
msgspec.json.Decoder(GapRecord)


def period_from_bytes(stored: bytes) -> tuple[Period, Permit]:
    """Read an open period."""
    record = _PERIODS.decode(stored)
    period = Period(
        start=record.start,
        end=record.end,
        covered_to=record.covered_to,
        energy_wh=record.energy_wh,
        quality=Quality(record.quality),
        epoch=record.epoch,
        readings=record.readings,
        whole=record.whole,
    )
    permit = Permit(
        consent_id=record.consent_id,
        version=record.version,
        resolution=Resolution(record.resolution),
    )
    return period, permit


def blocks_of(rows: Sequence[WaitingRow]) -> tuple[Block, ...]:
    """Write rows of one stream, permit and epoch as runs of consecutive intervals."""
    ordered = sorted(rows, key=lambda row: row.start)
    runs: list[list[WaitingRow]] = []
    for row in ordered:
        if runs and runs[-1][-1].end == row.start and len(runs[-1]) < 10_000:
            runs[-1].append(row)
        else:
            runs.append([row])
    return tuple(_block(run) for run in runs)


def parts_of(
    rows: Iterable[WaitingRow], heads: Mapping[StreamKey, tuple[int, str]]
) -> tuple[list[Part], dict[StreamKey, tuple[int, str]]]:
    """Write rows as the parts of a batch, each chained to its stream's part before.

    Args:
        rows: Any rows.
        heads: Number and hash of the last part of each stream; 0 and empty if there is none.

    Returns:
        The parts, and the heads of the streams after them.
    """

    def place(row: WaitingRow) -> tuple[StreamKey, str, int, str, int]:
        permit = row.permit
        return row.stream, permit.consent_id, permit.version, permit.resolution, row.epoch

    after = dict(heads)
    parts: list[Part] = []
    for _, same in groupby(sorted(rows, key=lambda row: (place(row), row.start)), key=place):
        group = list(same)
        first = group[0]
        seq, head = after.get(first.stream, (0, ""))
        part = Part(
            meter=first.stream.meter,
            quantity=first.stream.quantity,
            purpose=first.stream.purpose,
            resolution=first.permit.resolution,
            grant=first.permit.grant,
            epoch=first.epoch,
            seq=seq + 1,
            prev=head,
            blocks=blocks_of(group),
        )
        after[first.stream] = (part.seq, part_hash(part))
        parts.append(part)
    return parts, after


def rows_of(part: Part) -> list[WaitingRow]:
    """Read the rows back from a part."""
    consent_id, _, version = part.grant.rpartition("@")
    permit = Permit(
        consent_id=consent_id, version=int(version), resolution=Resolution(part.resolution)
    )
    return [
        WaitingRow(
            stream=part.stream,
            permit=permit,
            epoch=part.epoch,
            start=reading.start,
            end=reading.end,
            energy_wh=reading.energy_wh,
            quality=reading.quality,
        )
        for reading in part.readings()
    ]


def gap_over(stream: StreamKey, rows: Sequence[WaitingRow], reason: str) -> GapRecord:
    """Say that these rows of a stream will never come."""
    return msgspec.convert(
        {
            "meter": stream.meter,
            "quantity": stream.quantity,
            "purpose": stream.purpose,
            "start": min(row.start for row in rows),
            "end": max(row.end for row in rows),
            "reason": reason,
            "intervals": len(rows),
        },
        GapRecord,
    )


def stream_key(meter: str, quantity: str, purpose: str) -> StreamKey:
    """Build a stream key from stored text."""
    return msgspec.convert({"meter": meter, "quantity": quantity, "purpose": purpose}, StreamKey)


def at_seconds(moment: datetime) -> int:
    """Seconds since 1970 of a moment on a whole second."""
    return int(moment.timestamp())


def from_seconds(seconds: int) -> datetime:
    """The moment of seconds since 1970, aware UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def quality_letter(quality: Quality) -> str:
    """One letter for a quality, as on the wire."""
    return QUALITY_LETTER[quality]


def quality_from_letter(letter: str) -> Quality:
    """The quality of a letter."""
    return LETTER_QUALITY[letter]


def is_quantity(name: str) -> bool:
    """Whether a name is a quantity that can leave, rather than a gauge such as power."""
    return name in set(Quantity)


def _block(run: Sequence[WaitingRow]) -> Block:
    letters = "".join(quality_letter(row.quality) for row in run)
    energies = tuple(None if row.quality is Quality.GAP else row.energy_wh for row in run)
    quality = "" if set(letters) == {"m"} else letters
    step_s = run[0].permit.resolution.step_s
    # An hour in which the clock is set by less than an hour is longer than its step.
    if step_s is None or any((row.end - row.start).total_seconds() != step_s for row in run):
        edges = (run[0].start, *(row.end for row in run))
        return Block(start=run[0].start, edges=edges, wh=energies, quality=quality)
    return Block(start=run[0].start, step_s=step_s, wh=energies, quality=quality)
