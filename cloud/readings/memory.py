"""A store that forgets everything at the end: for the demo, and as the model the others are held to.

It keeps plain lists and answers by plain loops, so that what it says is easy to believe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from cloud.errors import BadReadingsQuery, BatchNumberReused, StoreClosed
from cloud.readings.acceptance import CODE_QUALITY, QUALITY_CODE, take_part
from cloud.readings.chain import Chain, Link, follow
from cloud.readings.coverage import Coverage, from_us, to_us
from cloud.readings.grid import Grid, grid_of, sum_meters
from cloud.readings.ports import (
    BrokenChain,
    CheckedBatch,
    CheckedPart,
    Compacted,
    Erased,
    Expired,
    StoreCounts,
)
from cloud.readings.shortfalls import GAPS_SHOWN_MAX
from gateway.wire.batch import BatchAnswer, GapReason, GapRecord, PartAnswer, part_hash
from gateway.wire.codec import payload_hash
from gateway.wire.reading import Purpose, Quality, Quantity, StreamKey

_PARTIAL = QUALITY_CODE[Quality.PARTIAL]
_COLUMNS = ["meter", "quantity", "purpose", "epoch", "start", "end", "energy_wh", "quality"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Row:
    epoch: int
    start_us: int
    end_us: int
    energy_wh: int
    quality: int


@dataclass(slots=True, kw_only=True)
class _Stream:
    rows: list[_Row] = field(default_factory=list)
    energy: dict[int, Coverage] = field(default_factory=dict)
    gaps: dict[int, Coverage] = field(default_factory=dict)
    gap_records: dict[tuple[datetime, datetime, GapReason], GapRecord] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    noticed_at: dict[str, datetime] = field(default_factory=dict)
    accepted: int = 0
    gap_intervals: int = 0


class MemoryStore:
    """Readings in this process only."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, StreamKey], _Stream] = {}
        self._batches: dict[tuple[str, int], tuple[str, bytes]] = {}
        self._is_closed = False

    def append(self, checked: CheckedBatch) -> Future[BatchAnswer]:
        """See `ReadingStore.append`; answered at once."""
        if self._is_closed:
            raise StoreClosed
        future: Future[BatchAnswer] = Future()
        sha256 = hashlib.sha256(checked.payload).digest()
        is_known = (checked.gateway, checked.seq) in self._batches
        known = self._batches.setdefault(
            (checked.gateway, checked.seq), (checked.household, sha256)
        )
        if known[1] != sha256:
            future.set_exception(BatchNumberReused(gateway=checked.gateway, seq=checked.seq))
            return future
        answers = tuple(self._take(checked.household, part) for part in checked.parts)
        if not is_known and checked.signature:
            for part, answer in zip(checked.parts, answers, strict=True):
                self._follow(checked, part, is_new=answer.accepted > 0)
        for gap in checked.gaps:
            self._note_gap(checked.household, gap)
        future.set_result(
            BatchAnswer(seq=checked.seq, sha256=payload_hash(checked.payload), parts=answers)
        )
        return future

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
        """See `ReadingStore.home_matrix`."""
        names = list(households)
        if len(set(names)) != len(names):
            raise BadReadingsQuery("a home is named twice; name each once")
        grid = grid_of(start, end, step_s, len(names))
        matrix = np.full((len(names), grid.steps), np.nan)
        for home, name in enumerate(names):
            streams = [
                stream
                for (household, key), stream in self._streams.items()
                if household == name
                and stream.rows
                and (key.quantity, key.purpose) == (quantity, purpose)
            ]
            if streams:
                per_meter = np.array([_on_grid(stream.rows, grid) for stream in streams])
                spans = [
                    (min(r.start_us for r in s.rows), max(r.end_us for r in s.rows))
                    for s in streams
                ]
                matrix[home] = sum_meters(per_meter, spans, grid)
        return pd.DataFrame(matrix.T, index=grid.index(), columns=pd.Index(names, dtype=object))

    def home_readings(
        self, household: str, *, start: datetime, end: datetime, purpose: Purpose | None = None
    ) -> pd.DataFrame:
        """See `ReadingStore.home_readings`."""
        if start.tzinfo is None or end.tzinfo is None or start >= end:
            raise BadReadingsQuery("start and end must be aware times, the start first")
        rows = [
            (
                key.meter,
                str(key.quantity),
                str(key.purpose),
                row.epoch,
                from_us(row.start_us),
                from_us(row.end_us),
                row.energy_wh,
                str(CODE_QUALITY[row.quality]),
            )
            for key in self.streams(household)
            if purpose is None or key.purpose is purpose
            for row in sorted(self._streams[household, key].rows)
            if to_us(start) <= row.start_us < to_us(end)
        ]
        frame = pd.DataFrame(rows, columns=_COLUMNS)
        names = ["meter", "quantity", "purpose", "quality"]
        kinds = dict.fromkeys(("start", "end"), "datetime64[us, UTC]")
        return frame.astype(dict.fromkeys(names, object) | kinds | {"epoch": "int64"})

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
        """See `ReadingStore.group_load`."""
        matrix = self.home_matrix(
            households, quantity=quantity, purpose=purpose, start=start, end=end, step_s=step_s
        )
        return pd.DataFrame(
            {
                "energy_wh": matrix.sum(axis=1).astype("int64"),
                "homes": matrix.notna().sum(axis=1).astype("int64"),
                "top_home_wh": matrix.max(axis=1).fillna(0).astype("int64"),
            }
        )

    def streams(self, household: str) -> tuple[StreamKey, ...]:
        """See `ReadingStore.streams`."""
        return tuple(
            sorted(key for (home, key), s in self._streams.items() if home == household and s.rows)
        )

    def gaps(self, household: str) -> tuple[GapRecord, ...]:
        """See `ReadingStore.gaps`."""
        found = [
            gap
            for (home, _), stream in self._streams.items()
            if home == household
            for gap in stream.gap_records.values()
        ]
        return tuple(sorted(found, key=lambda gap: gap.end, reverse=True)[:GAPS_SHOWN_MAX])

    def broken_chains(self, household: str | None = None) -> tuple[BrokenChain, ...]:
        """See `ReadingStore.broken_chains`."""
        return tuple(
            BrokenChain(
                household=home,
                stream=key,
                gateway=gateway,
                chain=chain,
                noticed_at=stream.noticed_at[gateway],
            )
            for (home, key), stream in self._streams.items()
            if household in (None, home)
            for gateway, chain in stream.chains.items()
            if chain.missing or chain.forked or chain.reused
        )

    def erase(self, household: str, *, stream: StreamKey | None = None) -> Erased:
        """See `ReadingStore.erase`."""
        keys = [
            (home, key)
            for home, key in self._streams
            if home == household and (stream is None or key == stream)
        ]
        intervals = sum(len(self._streams.pop(key).rows) for key in keys)
        if stream is None:
            kept = {name: both for name, both in self._batches.items() if both[0] != household}
            self._batches = kept
        return Erased(
            household=household,
            streams=len(keys),
            intervals=intervals,
            batches=0,
            files_rewritten=0,
        )

    def expire(self, cutoffs: Mapping[tuple[str, StreamKey], datetime]) -> Expired:
        """See `ReadingStore.expire`."""
        gone = 0
        for name, moment in cutoffs.items():
            stream = self._streams.get(name, _Stream())
            kept = [row for row in stream.rows if row.end_us > to_us(moment)]
            gone += len(stream.rows) - len(kept)
            stream.accepted -= len(stream.rows) - len(kept)
            stream.rows = kept
        return Expired(intervals=gone, files_rewritten=0)

    def compact(self) -> Compacted:
        """See `ReadingStore.compact`; there is nothing to move."""
        return Compacted(intervals=0, files_written=0, files_removed=0)

    def counts(self) -> StoreCounts:
        """See `ReadingStore.counts`."""
        energy_wh: dict[tuple[Quantity, Purpose], int] = {}
        for (_, key), stream in self._streams.items():
            if stream.rows:
                both = (key.quantity, key.purpose)
                total = sum(row.energy_wh for row in stream.rows)
                energy_wh[both] = energy_wh.get(both, 0) + total
        streams = self._streams.values()
        return StoreCounts(
            batches=len(self._batches),
            intervals_accepted=sum(stream.accepted for stream in streams),
            intervals_distinct=sum(
                len({(row.epoch, row.start_us) for row in stream.rows}) for stream in streams
            ),
            gaps=sum(stream.gap_intervals for stream in streams),
            energy_wh=energy_wh,
        )

    def close(self) -> None:
        """See `ReadingStore.close`."""
        self._is_closed = True

    def _take(self, household: str, checked: CheckedPart) -> PartAnswer:
        if not checked.admissible:
            return take_part(checked, energy=Coverage(), gaps=Coverage())[0]
        stream = self._streams.setdefault((household, checked.part.stream), _Stream())
        epoch = checked.part.epoch
        answer, rows, new_gaps = take_part(
            checked,
            energy=stream.energy.setdefault(epoch, Coverage()),
            gaps=stream.gaps.setdefault(epoch, Coverage()),
            lives=_all_of(stream.energy.values()),
        )
        columns = (
            rows.start_us.tolist(),
            rows.end_us.tolist(),
            rows.energy_wh.tolist(),
            rows.quality.tolist(),
        )
        stream.rows += [
            _Row(epoch=epoch, start_us=start, end_us=end, energy_wh=energy, quality=quality)
            for start, end, energy, quality in zip(*columns, strict=True)
        ]
        stream.accepted += len(rows)
        stream.gap_intervals += new_gaps
        return answer

    def _follow(self, checked: CheckedBatch, part: CheckedPart, *, is_new: bool) -> None:
        stream = self._streams.get((checked.household, part.part.stream))
        if stream is None:
            return
        link = Link(
            seq=part.part.seq,
            prev=bytes.fromhex(part.part.prev),
            sha256=b"" if part.refused else bytes.fromhex(part_hash(part.part)),
            is_new=is_new,
        )
        chain, kind = follow(stream.chains.get(checked.gateway), link)
        stream.chains[checked.gateway] = chain
        if kind is not None:
            stream.noticed_at[checked.gateway] = checked.received_at

    def _note_gap(self, household: str, gap: GapRecord) -> None:
        key = StreamKey(meter=gap.meter, quantity=gap.quantity, purpose=gap.purpose)
        stream = self._streams.setdefault((household, key), _Stream())
        name = (gap.start, gap.end, gap.reason)
        if name not in stream.gap_records:
            stream.gap_records[name] = gap
            stream.gap_intervals += gap.intervals


def _all_of(lives: Iterable[Coverage]) -> Coverage:
    together = Coverage()
    for life in lives:
        for start_us, end_us in life.ranges():
            together.add(start_us, end_us)
    return together


def _on_grid(rows: list[_Row], grid: Grid) -> list[float]:
    """Energy per step of one meter, NaN where a step is not filled by known energy."""
    merged: dict[tuple[int, int], tuple[int, bool]] = {}
    for row in rows:
        _, is_known = merged.get((row.start_us, row.end_us), (0, True))
        known = is_known and row.quality != _PARTIAL
        merged[row.start_us, row.end_us] = (row.energy_wh, known)
    filled_us = [0] * grid.steps
    energy = [0] * grid.steps
    for (start_us, end_us), (energy_wh, is_known) in merged.items():
        if is_known and grid.start_us <= start_us and end_us <= grid.end_us:
            first = (start_us - grid.start_us) // grid.step_us
            if first == (end_us - 1 - grid.start_us) // grid.step_us:
                filled_us[first] += end_us - start_us
                energy[first] += energy_wh
    return [
        float(total) if filled == grid.step_us else float("nan")
        for total, filled in zip(energy, filled_us, strict=True)
    ]
