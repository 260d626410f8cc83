"""Taking readings from a file into a home's streams: by the home's consent, like any other batch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice

from cloud.readings.ports import CheckedBatch, CheckedPart, ReadingStore
from gateway.wire.batch import QUALITY_LETTER, Batch, BatchAnswer, Block, Part, RefusedInterval
from gateway.wire.codec import encode
from gateway.wire.consent import Grant, why_withheld
from gateway.wire.reading import Purpose, Quality, Reading, Resolution

INTERVALS_PER_BATCH = 10_000
NO_GRANT = "no-grant@0"
IN_THE_FUTURE = "in_the_future"

_LEAST = {
    Resolution.MONTH: timedelta(days=27),
    Resolution.DAY: timedelta(hours=22),
    Resolution.HOUR: timedelta(hours=1),
    Resolution.QUARTER_HOUR: timedelta(minutes=15),
    Resolution.MINUTE: timedelta(minutes=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file.

    Attributes:
        intervals: In the file.
        accepted: Stored for the first time, gaps included.
        duplicates: There already.
        refused: Not taken, by reason.
        energy_wh: Energy of the file [Wh].
    """

    intervals: int
    accepted: int
    duplicates: int
    refused: dict[str, int]
    energy_wh: int


def import_readings(
    store: ReadingStore,
    readings: Sequence[Reading],
    *,
    household: str,
    purpose: Purpose,
    grants: Iterable[Grant],
    now: datetime,
) -> Imported:
    """Store readings for a purpose the home agreed to.

    The same file again is answered as duplicates, because its batches have the same names.

    Args:
        store: Where to.
        readings: As read from the file.
        household: Whose they are.
        purpose: What they may be used for.
        grants: All that the home agreed to now.
        now: The clock.

    Raises:
        StoreUnavailable: They cannot be made durable now; run the import again.
    """
    fitting = [grant for grant in grants if grant.terms.purpose is purpose]
    answers: list[Future[BatchAnswer]] = []
    for number, chunk in enumerate(_chunks(readings), start=1):
        parts = tuple(_checked_part(run, purpose, fitting, now) for run in chunk)
        answers.append(_append(store, household, parts, number, now))
    refused: Counter[str] = Counter()
    accepted = duplicates = 0
    for answer in answers:
        for part in answer.result().parts:
            accepted += part.accepted
            duplicates += part.duplicate
            refused.update(interval.reason for interval in part.refused)
    return Imported(
        intervals=len(readings),
        accepted=accepted,
        duplicates=duplicates,
        refused=dict(sorted(refused.items())),
        energy_wh=sum(reading.energy_wh for reading in readings),
    )


def resolution_of(reading: Reading) -> Resolution | None:
    """The coarsest step that an interval is at least as long as; None below a minute."""
    length = reading.end - reading.start
    return next((step for step, least in _LEAST.items() if length >= least), None)


def _chunks(readings: Sequence[Reading]) -> Iterator[list[list[Reading]]]:
    """Batches of runs; a run has one meter, quantity, epoch and length."""
    source = iter(readings)
    while block := list(islice(source, INTERVALS_PER_BATCH)):
        yield [list(run) for _, run in groupby(block, key=_run_key)]


def _run_key(reading: Reading) -> tuple[str, str, int, timedelta]:
    return reading.meter, reading.quantity.value, reading.epoch, reading.end - reading.start


def _checked_part(
    run: list[Reading], purpose: Purpose, grants: Sequence[Grant], now: datetime
) -> CheckedPart:
    part = _part(run, purpose, grants)
    admissible: list[Reading] = []
    refused: list[RefusedInterval] = []
    for reading in run:
        reason = _why_not(part, reading, grants, now)
        if reason is None:
            admissible.append(reading)
        else:
            refused.append(RefusedInterval(start=reading.start, reason=reason))
    return CheckedPart(part=part, admissible=tuple(admissible), refused=tuple(refused))


def _why_not(part: Part, reading: Reading, grants: Sequence[Grant], now: datetime) -> str | None:
    resolution = resolution_of(reading)
    if resolution is None:
        return "finer_than_granted"
    if reading.end > now:
        return IN_THE_FUTURE
    asked: Sequence[Grant | None] = grants or (None,)
    reasons = [
        why_withheld(
            grant,
            stream=part.stream,
            resolution=resolution,
            start=reading.start,
            end=reading.end,
        )
        for grant in asked
    ]
    return None if None in reasons else f"{reasons[0]}"


def _part(run: list[Reading], purpose: Purpose, grants: Sequence[Grant]) -> Part:
    """The run in the form of the wire, for its hash and its stream."""
    first = run[0]
    return Part(
        meter=first.meter,
        quantity=first.quantity,
        purpose=purpose,
        resolution=resolution_of(first) or Resolution.MINUTE,
        grant=f"{grants[0].consent_id}@{grants[0].version}" if grants else NO_GRANT,
        epoch=first.epoch,
        seq=1,
        prev="",
        blocks=tuple(_block(reading) for reading in run),
    )


def _block(reading: Reading) -> Block:
    return Block(
        start=reading.start,
        edges=(reading.start, reading.end),
        wh=(None if reading.quality is Quality.GAP else reading.energy_wh,),
        quality=QUALITY_LETTER[reading.quality],
    )


def _append(
    store: ReadingStore,
    household: str,
    parts: tuple[CheckedPart, ...],
    number: int,
    now: datetime,
) -> Future[BatchAnswer]:
    """Hand a batch over under a name made of home and content."""
    content = b"".join(encode(checked.part) for checked in parts)
    name = hashlib.sha256(household.encode() + b"\n" + content).hexdigest()[:32]
    return store.append(
        CheckedBatch(
            household=household,
            gateway=f"import-{name}",
            seq=number,
            payload=encode(
                Batch(
                    gateway=name,
                    seq=number,
                    made_at=parts[0].part.blocks[0].start,
                    parts=tuple(checked.part for checked in parts),
                )
            ),
            signature="",
            received_at=now,
            parts=parts,
        )
    )
