"""The journey of a reading inside the home: sample, counter, gate, coarsening, outbox.

Nothing here touches a wire, a disk or a clock: samples come in, and a `Commit` of what may be
kept comes out. What no grant covers is counted and forgotten within the call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from gateway.consent import gate
from gateway.consent.book import ConsentBook
from gateway.consent.coarsen import Period, add_reading, cut_at_periods, period_of
from gateway.decode.counters import (
    CounterLimits,
    CounterReading,
    CounterState,
    EnergyInterval,
    Verdict,
    advance,
)
from gateway.meters.source import Sample
from gateway.outbox.coarser import merge_oldest
from gateway.outbox.rows import (
    ADMITTED,
    ERASED,
    KEPT,
    MERGED,
    READ,
    Commit,
    OpenStream,
    Permit,
    WaitingRow,
    gap_over,
)
from gateway.wire.batch import GapReason, GapRecord
from gateway.wire.consent import Grant, Withheld
from gateway.wire.reading import Quantity, Reading, StreamKey

ROWS_IN_MEMORY_MAX = 50_000
"""If the disk takes nothing, at most this many intervals wait in memory."""
_FAR_AHEAD = timedelta(hours=1)
"""A clock that is right closes no stream ahead of itself; a smaller step back is waited out."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


# Made at import; see wire.codec for why.
_COUNTERS = msgspec.json.Decoder(CounterState)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterCounts:
    """Which counters of a meter are followed.

    Args:
        counts: Quantity to be known by, and the counter of the meter that feeds it.
        limits: What each of those counters can do.
    """

    counts: Mapping[Quantity, str]
    limits: Mapping[Quantity, CounterLimits]


@dataclass(slots=True)
class _Pending:
    """What the next commit will hold."""

    rows: list[WaitingRow] = field(default_factory=list)
    streams: set[StreamKey] = field(default_factory=set)
    counters: set[tuple[str, Quantity]] = field(default_factory=set)
    tallies: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    gaps: list[GapRecord] = field(default_factory=list)


class Pipeline:
    """Turns samples into what may be kept, by the book of consents.

    Args:
        meters: Meters by name.
        zone: The household's time zone.
        book: The book of consents.
        streams: How far each stream had come, from the disk.
        counters: Counter states by meter and quantity, from the disk.
    """

    def __init__(
        self,
        *,
        meters: Mapping[str, MeterCounts],
        zone: ZoneInfo,
        book: ConsentBook,
        streams: Mapping[StreamKey, OpenStream],
        counters: Mapping[tuple[str, str], bytes],
    ) -> None:
        """Begin where the disk says the last run ended."""
        self._meters = meters
        self._zone = zone
        self._book = book
        self._granted = book.streams()
        self._streams = dict(streams)
        self._counters: dict[tuple[str, Quantity], CounterState] = {
            (meter, Quantity(quantity)): _COUNTERS.decode(stored)
            for (meter, quantity), stored in counters.items()
        }
        self._pending = _Pending()
        self.verdicts: Counter[tuple[str, str, Verdict]] = Counter()

    @property
    def book(self) -> ConsentBook:
        """The book of consents in force."""
        return self._book

    @property
    def waiting_in_memory(self) -> int:
        """Intervals that are not on disk yet."""
        return len(self._pending.rows)

    def take(self, sample: Sample) -> None:
        """Take in what a meter said."""
        meter = self._meters.get(sample.meter)
        if meter is None:
            return
        for quantity, source in meter.counts.items():
            total = sample.quantities.get(source)
            if total is not None:
                self._count(sample, quantity, int(total), meter.limits[quantity])

    def totals(self, meter: str) -> dict[Quantity, int]:
        """Each counter of a meter as last believed [Wh], by the quantity it is known as.

        A momentary zero or a spike is not in it, so what follows it never goes back for nothing.
        """
        followed = self._meters[meter].counts if meter in self._meters else {}
        return {
            quantity: self._counters[meter, quantity].last.total_wh
            for quantity in followed
            if (meter, quantity) in self._counters
        }

    def last_totals(self, meter: str) -> tuple[datetime | None, dict[str, int]]:
        """When a meter's counters were last believed, and what they showed, by counter name."""
        followed = self._meters[meter].counts if meter in self._meters else {}
        known = {
            source: self._counters[meter, quantity].last
            for quantity, source in followed.items()
            if (meter, quantity) in self._counters
        }
        if not known:
            return None, {}
        oldest = min(reading.at for reading in known.values())
        return oldest, {source: reading.total_wh for source, reading in known.items()}

    def take_reading(self, reading: Reading) -> None:
        """Take in the energy of one interval, from a counter or from a meter's own records."""
        self._tally(reading.meter, reading.quantity, "", READ, 1)
        streams = [
            (stream, grant)
            for stream, grant in self._granted.items()
            if stream.meter == reading.meter and stream.quantity == reading.quantity
        ]
        if not streams:
            reason = self._why_no_stream(reading)
            self._tally(reading.meter, reading.quantity, "", reason, 1)
        for stream, grant in streams:
            pieces = cut_at_periods(reading, grant.terms.resolution, self._zone)
            for position, piece in enumerate(pieces):
                self._feed(stream, grant, piece, readings=1 if position == 0 else 0)

    def change_book(self, book: ConsentBook) -> None:
        """Take on a changed book: what it no longer covers is forgotten at once."""
        self._book = book
        self._granted = book.streams()
        kept: list[WaitingRow] = []
        for row in self._pending.rows:
            grant = book.grants.get(row.permit.consent_id)
            if self._why(grant, row.stream, row.permit, row.start, row.end) is None:
                kept.append(row)
            else:
                self._pending.tallies[_key(row.stream, KEPT)] += 1
                self._pending.tallies[_key(row.stream, ERASED)] += 1
        self._pending.rows = kept
        for stream, state in list(self._streams.items()):
            permit = state.permit
            if state.period is None or permit is None:
                continue
            grant = self._granted.get(stream)
            same = grant is not None and permit.resolution == grant.terms.resolution
            if not same:
                self._drop_period(stream, state)

    def commit(self) -> Commit:
        """Hand over what is to be written, and begin anew."""
        pending, self._pending = self._pending, _Pending()
        return Commit(
            rows=tuple(pending.rows),
            streams={stream: self._streams[stream] for stream in pending.streams},
            counters={
                (meter, quantity): msgspec.json.encode(self._counters[meter, quantity])
                for meter, quantity in pending.counters
                if self._may_be_kept(meter, quantity)
            },
            tallies=dict(pending.tallies),
            gaps=tuple(pending.gaps),
        )

    def take_back(self, commit: Commit) -> None:
        """Keep in memory what could not be written.

        If it is too much, old intervals are made coarser; only what is left over then is dropped,
        with a gap record.
        """
        rows = [*commit.rows, *self._pending.rows]
        if len(rows) > ROWS_IN_MEMORY_MAX:
            wanted = len(rows) - ROWS_IN_MEMORY_MAX + ROWS_IN_MEMORY_MAX // 20
            rows, saved = merge_oldest(rows, wanted=wanted, zone=self._zone)
            for merged, fewer in saved:
                self._pending.tallies[_key(merged.stream, KEPT)] += fewer
                self._pending.tallies[_key(merged.stream, MERGED)] += fewer
        surplus = max(0, len(rows) - ROWS_IN_MEMORY_MAX)
        by_stream: dict[StreamKey, list[WaitingRow]] = {}
        for row in rows[:surplus]:
            by_stream.setdefault(row.stream, []).append(row)
        self._pending.rows = rows[surplus:]
        self._pending.gaps = [*commit.gaps, *self._pending.gaps]
        for stream, lost in by_stream.items():
            self._pending.gaps.append(gap_over(stream, lost, GapReason.OVERFLOW))
            self._pending.tallies[_key(stream, KEPT)] += len(lost)
            self._pending.tallies[_key(stream, ERASED)] += len(lost)
        self._pending.streams |= set(commit.streams)
        self._pending.counters |= {(meter, Quantity(name)) for meter, name in commit.counters}
        self._pending.tallies.update(commit.tallies)

    def _may_be_kept(self, meter: str, quantity: Quantity) -> bool:
        """Whether a grant covers the counter at the moment it was read."""
        at = self._counters[meter, quantity].last.at
        return any(
            stream.meter == meter
            and stream.quantity == quantity
            and grant.terms.valid_from <= at < grant.terms.valid_to
            for stream, grant in self._granted.items()
        )

    def _count(
        self, sample: Sample, quantity: Quantity, total_wh: int, limits: CounterLimits
    ) -> None:
        key = (sample.meter, quantity)
        reading = CounterReading(at=sample.taken_at, total_wh=total_wh, identity=sample.identity)
        advanced = advance(self._counters.get(key), reading, limits)
        self._counters[key] = advanced.state
        self._pending.counters.add(key)
        self.verdicts[sample.meter, quantity, advanced.verdict] += 1
        begun = advanced.state.epoch
        before = [each for each in advanced.intervals if each.epoch != begun]
        after = [each for each in advanced.intervals if each.epoch == begun]
        self._give_out(sample.meter, quantity, before)
        if advanced.verdict is Verdict.CLOCK_SET_BACK:
            # Only now: the end of the life before still lies in the time that was wrong.
            self._reopen(sample.meter, quantity, after[0].start if after else advanced.state.edge)
        self._give_out(sample.meter, quantity, after)

    def _give_out(
        self, meter: str, quantity: Quantity, intervals: Iterable[EnergyInterval]
    ) -> None:
        for interval in intervals:
            self.take_reading(
                Reading(
                    meter=meter,
                    quantity=quantity,
                    start=interval.start,
                    end=interval.end,
                    energy_wh=interval.energy_wh,
                    quality=interval.quality,
                    epoch=interval.epoch,
                )
            )

    def _reopen(self, meter: str, quantity: Quantity, now: datetime) -> None:
        """After a clock that was far ahead was set back, let streams go on from the right time.

        What was closed in between lies in a future that has not happened. A small step back is
        left alone, so that no interval is given out twice.
        """
        for stream, state in self._streams.items():
            named = stream.meter == meter and stream.quantity == quantity
            if named and state.closed_to > now + _FAR_AHEAD:
                self._drop_period(stream, replace(state, closed_to=now))

    def _feed(self, stream: StreamKey, grant: Grant, piece: Reading, *, readings: int) -> None:
        resolution = grant.terms.resolution
        permit = Permit(consent_id=grant.consent_id, version=grant.version, resolution=resolution)
        state = self._streams.get(stream) or OpenStream(closed_to=_LONG_AGO)
        start, end = period_of(piece.start, resolution, self._zone)
        reason = self._why(grant, stream, permit, start, end)
        if reason is None and (start < state.closed_to or _is_behind(state.period, piece)):
            reason = Withheld.PARTIAL_INTERVAL
        if reason is not None:
            self._pending.tallies[_key(stream, reason)] += readings
            return
        added = add_reading(state.period, piece, resolution, self._zone)
        closed_to = state.closed_to
        if state.period is None and state.permit is not None and start > closed_to:
            self._missed(stream, permit, closed_to, start)
        for period in added.withheld:
            if closed_to > _LONG_AGO:
                self._missed(stream, permit, max(closed_to, period.start), period.end)
            self._pending.tallies[_key(stream, Withheld.PARTIAL_INTERVAL)] += period.readings
            closed_to = max(closed_to, period.end)
        for period in added.closed:
            self._pending.tallies[_key(stream, ADMITTED)] += period.readings
            self._pending.rows.append(_row(stream, permit, period))
            closed_to = period.end
        self._streams[stream] = replace(
            state, closed_to=closed_to, period=added.open_period, permit=permit
        )
        self._pending.streams.add(stream)

    def _missed(self, stream: StreamKey, permit: Permit, start: datetime, end: datetime) -> None:
        """Say openly that whole periods of a stream will never come."""
        step_s = permit.resolution.step_s
        intervals = int((end - start).total_seconds()) // step_s if step_s else 1
        self._pending.gaps.append(
            GapRecord(
                meter=stream.meter,
                quantity=stream.quantity,
                purpose=stream.purpose,
                start=start,
                end=end,
                reason=GapReason.METER_SILENT,
                intervals=max(1, intervals),
            )
        )

    def _why(
        self,
        grant: Grant | None,
        stream: StreamKey,
        permit: Permit,
        start: datetime,
        end: datetime,
    ) -> Withheld | None:
        return gate.admit(grant, stream=stream, resolution=permit.resolution, start=start, end=end)

    def _why_no_stream(self, reading: Reading) -> Withheld:
        dead = [
            grant
            for grant in self._book.grants.values()
            if reading.meter in grant.terms.meters and reading.quantity in grant.terms.quantities
        ]
        if not dead:
            return Withheld.NO_GRANT
        newest = max(dead, key=lambda grant: grant.since)
        stream = StreamKey(
            meter=reading.meter, quantity=reading.quantity, purpose=newest.terms.purpose
        )
        permit = Permit(
            consent_id=newest.consent_id,
            version=newest.version,
            resolution=newest.terms.resolution,
        )
        return self._why(newest, stream, permit, reading.start, reading.end) or Withheld.NO_GRANT

    def _drop_period(self, stream: StreamKey, state: OpenStream) -> None:
        if state.period is not None:
            self._pending.tallies[_key(stream, Withheld.WITHDRAWN)] += state.period.readings
        self._streams[stream] = replace(state, period=None, permit=None)
        self._pending.streams.add(stream)

    def _tally(self, meter: str, quantity: str, purpose: str, what: str, intervals: int) -> None:
        self._pending.tallies[meter, str(quantity), purpose, what] += intervals


def default_counts(offered: Iterable[str]) -> dict[Quantity, str]:
    """Follow import and export under their own names, where a meter has them."""
    names = set(offered)
    return {
        quantity: str(quantity)
        for quantity in (Quantity.IMPORT_WH, Quantity.EXPORT_WH)
        if str(quantity) in names
    }


def _is_behind(period: Period | None, piece: Reading) -> bool:
    if period is None:
        return False
    return piece.start < (period.covered_to if piece.start >= period.start else period.start)


def _key(stream: StreamKey, what: str) -> tuple[str, str, str, str]:
    return stream.meter, str(stream.quantity), str(stream.purpose), str(what)


def _row(stream: StreamKey, permit: Permit, period: Period) -> WaitingRow:
    return WaitingRow(
        stream=stream,
        permit=permit,
        epoch=period.epoch,
        start=period.start,
        end=period.end,
        energy_wh=period.energy_wh,
        quality=period.quality,
    )
