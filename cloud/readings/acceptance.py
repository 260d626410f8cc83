"""What of a checked part is new: the one rule that every store follows.

Pure. An interval that is covered already is a duplicate, one that overlaps in part is refused,
anything else is accepted and covers from then on. A gap is recorded but covers nothing, so the
energy may still come.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud.readings.coverage import Coverage, Relation, to_us
from cloud.readings.ports import CheckedPart
from gateway.wire.batch import Outcome, PartAnswer, RefusedInterval
from gateway.wire.reading import Quality

OVERLAP = "overlap"
QUALITY_CODE = {
    Quality.MEASURED: 0,
    Quality.ESTIMATED: 1,
    Quality.PARTIAL: 2,
    Quality.GAP: 3,
}
CODE_QUALITY = {code: quality for quality, code in QUALITY_CODE.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedRows:
    """New intervals of one stream and epoch, in columns.

    Attributes:
        start_us: Starts, microseconds since 1970.
        end_us: Ends, microseconds since 1970.
        energy_wh: Energy [Wh].
        quality: Codes of `QUALITY_CODE`.
    """

    start_us: list[int]
    end_us: list[int]
    energy_wh: list[int]
    quality: list[int]

    def __len__(self) -> int:
        return len(self.start_us)


def take_part(
    checked: CheckedPart, *, energy: Coverage, gaps: Coverage
) -> tuple[PartAnswer, AcceptedRows, int]:
    """Sort a part's intervals and extend the coverage by what is new.

    Args:
        checked: The part and what may be stored of it.
        energy: Time for which the stream and epoch have energy.
        gaps: Time for which a gap is on record.

    Returns:
        The answer, the new intervals with energy, and how many new gaps were recorded.
    """
    rows = AcceptedRows(start_us=[], end_us=[], energy_wh=[], quality=[])
    refused = list(checked.refused)
    duplicates = new_gaps = 0
    for reading in checked.admissible:
        start_us, end_us = to_us(reading.start), to_us(reading.end)
        relation = energy.relation(start_us, end_us)
        if relation is Relation.COVERED:
            duplicates += 1
        elif reading.quality is Quality.GAP:
            if gaps.relation(start_us, end_us) is Relation.COVERED:
                duplicates += 1
            else:
                gaps.add(start_us, end_us)
                new_gaps += 1
        elif relation is Relation.OVERLAP:
            refused.append(RefusedInterval(start=reading.start, reason=OVERLAP))
        else:
            energy.add(start_us, end_us)
            rows.start_us.append(start_us)
            rows.end_us.append(end_us)
            rows.energy_wh.append(reading.energy_wh)
            rows.quality.append(QUALITY_CODE[reading.quality])
    accepted = len(rows) + new_gaps
    part = checked.part
    answer = PartAnswer(
        meter=part.meter,
        quantity=part.quantity,
        purpose=part.purpose,
        epoch=part.epoch,
        seq=part.seq,
        outcome=_outcome(accepted=accepted, duplicates=duplicates, refused=len(refused)),
        accepted=accepted,
        duplicate=duplicates,
        refused=tuple(sorted(refused, key=lambda interval: interval.start)),
    )
    return answer, rows, new_gaps


def _outcome(*, accepted: int, duplicates: int, refused: int) -> Outcome:
    if accepted:
        return Outcome.ACCEPTED
    if refused and not duplicates:
        return Outcome.REFUSED
    return Outcome.DUPLICATE
