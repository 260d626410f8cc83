"""Judging a batch interval by interval before anything is stored. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from cloud.consents.standing import Standing, why_refused
from cloud.readings.ports import CheckedPart
from cloud.readings.runs import Admissible, Run
from gateway.wire.batch import INTERVALS_MAX, Batch, Block, GapRecord, Part, RefusedInterval
from gateway.wire.codec import decode
from gateway.wire.consent import Grant, Withheld
from gateway.wire.errors import MalformedMessage, MessageTooLarge
from gateway.wire.reading import Reading, Resolution

AHEAD_MAX = timedelta(minutes=5)
"""How far an interval may end after our clock."""

IN_THE_FUTURE = "in_the_future"
TOO_OLD = "too_old"

GRID_S_MAX = 900
_SPAN_LEAST = {Resolution.DAY: timedelta(hours=22), Resolution.MONTH: timedelta(days=27)}
"""A local day may have 23 hours and a month 28 days; less is a finer step in disguise."""


def read_batch(payload: bytes) -> Batch:
    """Read a batch and count its intervals; `check_parts` looks into each.

    Raises:
        MessageTooLarge: More bytes or intervals than the contract takes.
        MalformedMessage: It is no batch.
    """
    batch = decode(payload, Batch)
    intervals = sum(len(block.wh) for part in batch.parts for block in part.blocks)
    if intervals > INTERVALS_MAX:
        raise MessageTooLarge(
            kind="Batch", size=intervals, size_max=INTERVALS_MAX, unit="intervals"
        )
    return batch


def check_parts(batch: Batch, standing: Standing, now: datetime) -> tuple[CheckedPart, ...]:
    """Sort the intervals of every part into admissible and refused.

    Args:
        batch: As decoded.
        standing: All that the sender's home agreed to.
        now: The cloud's clock.

    Raises:
        MalformedMessage: Lengths, edges, letters or times are not as they must be.
    """
    return tuple(_check_part(part, standing.since(part.grant), now) for part in batch.parts)


def admissible_gaps(batch: Batch, standing: Standing) -> tuple[GapRecord, ...]:
    """Gap records of purposes the home has agreed to at some time; others would say too much."""
    agreed = {grant.terms.purpose for grants in standing.versions.values() for grant in grants}
    return tuple(gap for gap in batch.gaps if gap.purpose in agreed)


def _check_part(part: Part, grants: tuple[Grant, ...], now: datetime) -> CheckedPart:
    pieces: list[Run | tuple[Reading, ...]] = []
    refused: list[RefusedInterval] = []
    for block in part.blocks:
        if part.is_even(block):
            run = Run(part=part, block=block)
            if _passes_whole(run, grants, now):
                pieces.append(run)
                continue
        admissible: list[Reading] = []
        for reading in _readings(part, block):
            reason = _why_not(part, reading, grants, now)
            if reason is None:
                admissible.append(reading)
            else:
                refused.append(RefusedInterval(start=reading.start, reason=reason))
        pieces.append(tuple(admissible))
    return CheckedPart(
        part=part, admissible=Admissible(pieces=tuple(pieces)), refused=tuple(refused)
    )


def _readings(part: Part, block: Block) -> list[Reading]:
    try:
        return list(part.readings_of(block))
    except (ValueError, OverflowError) as fault:
        raise MalformedMessage(kind="Batch", problem=f"{part.stream}: {fault}") from fault


def _passes_whole(run: Run, grants: tuple[Grant, ...], now: datetime) -> bool:
    """Whether a block of equal steps passes as a whole.

    Every test sets a bound on start or end, so what holds for the first and the last interval
    holds for those between.
    """
    if run.step_s % _grid_s(run.part.resolution):
        return False
    return all(_why_not(run.part, reading, grants, now) is None for reading in (run[0], run[-1]))


def _why_not(part: Part, reading: Reading, grants: tuple[Grant, ...], now: datetime) -> str | None:
    if reading.end > now + AHEAD_MAX:
        return IN_THE_FUTURE
    if _is_finer_than_it_says(part.resolution, reading) or _is_off_grid(part.resolution, reading):
        return Withheld.FINER_THAN_GRANTED.value
    reason = why_refused(
        grants,
        stream=part.stream,
        resolution=part.resolution,
        start=reading.start,
        end=reading.end,
    )
    if reason is not None:
        return reason.value
    if reading.end < now - timedelta(days=grants[-1].terms.retention_days):
        return TOO_OLD
    return None


def _grid_s(resolution: Resolution) -> int:
    """Grid on which intervals begin and end [s]; local hours and days lie on quarter hours."""
    return min(resolution.step_s or GRID_S_MAX, GRID_S_MAX)


def _is_off_grid(resolution: Resolution, reading: Reading) -> bool:
    """Whether an interval is shifted: the differences of shifted intervals are finer ones."""
    grid_s = _grid_s(resolution)
    return bool(reading.start.timestamp() % grid_s or reading.end.timestamp() % grid_s)


def _is_finer_than_it_says(resolution: Resolution, reading: Reading) -> bool:
    step_s = resolution.step_s
    least = timedelta(seconds=step_s) if step_s else _SPAN_LEAST[resolution]
    return reading.end - reading.start < least
