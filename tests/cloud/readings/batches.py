"""Builders of checked batches, as ingest would hand them over."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from cloud.readings.ports import CheckedBatch, CheckedPart
from gateway.wire.batch import Batch, Block, GapRecord, Part
from gateway.wire.codec import encode
from gateway.wire.reading import Purpose, Quality, Quantity, Resolution

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
QUARTER_S = 900
_LETTER = {
    Quality.MEASURED: "m",
    Quality.ESTIMATED: "e",
    Quality.PARTIAL: "p",
    Quality.GAP: "g",
}
_numbers = itertools.count(1)


def part(
    wh: list[int | None],
    *,
    start: datetime = MONDAY,
    step_s: int = QUARTER_S,
    meter: str = "main",
    quantity: Quantity = Quantity.IMPORT_WH,
    purpose: Purpose = Purpose.GROUP_TARIFF,
    epoch: int = 0,
    quality: str = "",
    edges: tuple[datetime, ...] | None = None,
) -> CheckedPart:
    """A part whose every interval may be stored."""
    sent = Part(
        meter=meter,
        quantity=quantity,
        purpose=purpose,
        resolution=Resolution.QUARTER_HOUR,
        grant="grant@1",
        epoch=epoch,
        seq=1,
        prev="",
        blocks=(
            Block(
                start=start,
                step_s=None if edges else step_s,
                edges=edges,
                wh=tuple(wh),
                quality=quality,
            ),
        ),
    )
    return CheckedPart(part=sent, admissible=tuple(sent.readings()))


def batch(
    *parts: CheckedPart,
    household: str = "home-1",
    gateway: str = "",
    seq: int = 0,
    gaps: tuple[GapRecord, ...] = (),
) -> CheckedBatch:
    """A batch under a number of its own unless one is given."""
    key = gateway or f"{household}-gateway"
    number = seq or next(_numbers)
    payload = encode(
        Batch(
            gateway="0" * 16,
            seq=number,
            made_at=MONDAY + timedelta(days=1),
            parts=tuple(checked.part for checked in parts),
            gaps=gaps,
        )
    )
    return CheckedBatch(
        household=household,
        gateway=key,
        seq=number,
        payload=payload,
        signature="signature",
        received_at=MONDAY + timedelta(days=1),
        parts=parts,
        gaps=gaps,
    )
