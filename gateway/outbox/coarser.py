"""Making intervals coarser to save room: pure, and the same in memory as on disk.

Coarser is always allowed by a consent, and keeps the energy to the Wh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from gateway.consent.coarsen import period_of, poorer
from gateway.outbox.rows import Permit, WaitingRow
from gateway.wire.reading import Resolution, StreamKey

STEPS = (Resolution.QUARTER_HOUR, Resolution.HOUR, Resolution.DAY)
"""Steps that intervals are merged to, one after the other, until there is room."""


def merges(
    rows: Sequence[WaitingRow], step: Resolution, zone: ZoneInfo
) -> Iterator[tuple[WaitingRow, list[WaitingRow]]]:
    """Find whole periods of a coarser step among rows of any streams.

    Args:
        rows: Any rows; those that are as coarse already are left alone.
        step: The coarser step.
        zone: The household's time zone.

    Yields:
        Each coarser row with the rows it stands for; rows of incomplete periods are left out.
    """

    def place(row: WaitingRow) -> tuple[StreamKey, str, int, int]:
        return row.stream, row.permit.consent_id, row.permit.version, row.epoch

    finer = [row for row in rows if row.permit.resolution.is_finer_than(step)]
    for _, same in groupby(sorted(finer, key=lambda row: (place(row), row.start)), key=place):
        yield from _coarser_rows(list(same), step, zone)


def merge_oldest(
    rows: Sequence[WaitingRow], *, wanted: int, zone: ZoneInfo
) -> tuple[list[WaitingRow], list[tuple[WaitingRow, int]]]:
    """Merge rows until so many fewer are left, or nothing more can be merged.

    Args:
        rows: Any rows, the oldest first.
        wanted: How many rows less there should be.
        zone: The household's time zone.

    Returns:
        The rows that are left, by time, and each merged row with how many rows it saved.
    """
    left = list(rows)
    saved: list[tuple[WaitingRow, int]] = []
    freed = 0
    for step in STEPS:
        gone: set[WaitingRow] = set()
        made: list[WaitingRow] = []
        for merged, group in sorted(merges(left, step, zone), key=lambda found: found[0].start):
            if freed >= wanted:
                break
            gone.update(group)
            made.append(merged)
            saved.append((merged, len(group) - 1))
            freed += len(group) - 1
        left = [*made, *(row for row in left if row not in gone)]
        if freed >= wanted:
            break
    return sorted(left, key=lambda row: row.start), saved


def _coarser_rows(
    rows: Sequence[WaitingRow], step: Resolution, zone: ZoneInfo
) -> Iterator[tuple[WaitingRow, list[WaitingRow]]]:
    """Merge rows of one stream, consent and epoch, in order of time."""
    for (start, end), same in groupby(rows, key=lambda row: period_of(row.start, step, zone)):
        group = list(same)
        joined = all(a.end == b.start for a, b in pairwise(group))
        if len(group) < 2 or not joined or group[0].start != start or group[-1].end != end:
            continue
        quality = group[0].quality
        for row in group[1:]:
            quality = poorer(quality, row.quality)
        first = group[0]
        permit = Permit(
            consent_id=first.permit.consent_id, version=first.permit.version, resolution=step
        )
        merged = WaitingRow(
            stream=first.stream,
            permit=permit,
            epoch=first.epoch,
            start=start,
            end=end,
            energy_wh=sum(row.energy_wh for row in group),
            quality=quality,
        )
        yield merged, group
