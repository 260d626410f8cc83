"""What of a checked part is new: the one rule that every store follows.

Pure. An interval that is covered already is a duplicate, one that overlaps in part is refused,
anything else is accepted and covers from then on. A gap is recorded but covers nothing, so the
energy may still come. Time that another life of the counter has energy for is taken: only what is
called partial may stand beside it, which is how two lives share the interval of a reset.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cloud.readings.coverage import Coverage, Relation, to_us
from cloud.readings.ports import CheckedPart
from cloud.readings.runs import Run, pieces_of
from gateway.wire.batch import Outcome, PartAnswer, RefusedInterval
from gateway.wire.reading import Quality, Reading

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
    """New intervals of one stream and epoch, in columns of one length.

    Attributes:
        start_us: Starts, microseconds since 1970.
        end_us: Ends, microseconds since 1970.
        energy_wh: Energy [Wh].
        quality: Codes of `QUALITY_CODE`.
    """

    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    energy_wh: NDArray[np.int64]
    quality: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.start_us)


def take_part(
    checked: CheckedPart, *, energy: Coverage, gaps: Coverage, lives: Coverage | None = None
) -> tuple[PartAnswer, AcceptedRows, int]:
    """Sort a part's intervals and extend the coverage by what is new.

    Args:
        checked: The part and what may be stored of it.
        energy: Time for which the stream and epoch have energy.
        gaps: Time for which a gap is on record.
        lives: Time for which any life of the stream's counter has energy, extended as well; None
            while there is only this one.

    Returns:
        The answer, the new intervals with energy, and how many new gaps were recorded.
    """
    intake = _Intake(energy=energy, gaps=gaps, lives=lives, refused=list(checked.refused))
    for piece in pieces_of(checked.admissible):
        if isinstance(piece, Run):
            intake.take_run(piece)
        else:
            intake.take_each(piece)
    rows = _joined(intake.taken)
    accepted = len(rows) + intake.new_gaps
    part = checked.part
    answer = PartAnswer(
        meter=part.meter,
        quantity=part.quantity,
        purpose=part.purpose,
        epoch=part.epoch,
        seq=part.seq,
        outcome=_outcome(
            accepted=accepted, duplicates=intake.duplicates, refused=len(intake.refused)
        ),
        accepted=accepted,
        duplicate=intake.duplicates,
        refused=tuple(sorted(intake.refused, key=lambda interval: interval.start)),
    )
    return answer, rows, intake.new_gaps


@dataclass(slots=True, kw_only=True)
class _Intake:
    """What became of a part so far."""

    energy: Coverage
    gaps: Coverage
    lives: Coverage | None
    refused: list[RefusedInterval]
    duplicates: int = 0
    new_gaps: int = 0
    taken: list[AcceptedRows] = field(default_factory=list)

    def take_run(self, run: Run) -> None:
        """Take a run as one interval, unless it meets the coverage in parts."""
        count, step_us = len(run), run.step_s * 1_000_000
        start_us = to_us(run.block.start)
        end_us = start_us + count * step_us
        relation = self.energy.relation(start_us, end_us)
        if relation is Relation.COVERED:
            self.duplicates += count
        elif relation is Relation.OVERLAP or self._is_taken(start_us, end_us):
            self.take_each(run)
        else:
            self._cover(start_us, end_us)
            edges_us = np.arange(start_us, end_us + 1, step_us, dtype=np.int64)
            self.taken.append(
                AcceptedRows(
                    start_us=edges_us[:-1],
                    end_us=edges_us[1:],
                    energy_wh=np.array(run.block.wh, dtype=np.int64),
                    quality=np.zeros(count, dtype=np.uint8),
                )
            )

    def take_each(self, readings: Iterable[Reading]) -> None:
        """Take readings one by one."""
        rows: list[tuple[int, int, int]] = []
        quality: list[int] = []
        for reading in readings:
            start_us, end_us = to_us(reading.start), to_us(reading.end)
            relation = self.energy.relation(start_us, end_us)
            if relation is Relation.COVERED:
                self.duplicates += 1
            elif reading.quality is Quality.GAP:
                self._take_gap(start_us, end_us)
            elif relation is Relation.OVERLAP or (
                reading.quality is not Quality.PARTIAL and self._is_taken(start_us, end_us)
            ):
                self.refused.append(RefusedInterval(start=reading.start, reason=OVERLAP))
            else:
                self._cover(start_us, end_us)
                rows.append((start_us, end_us, reading.energy_wh))
                quality.append(QUALITY_CODE[reading.quality])
        if rows:
            start, end, energy = np.array(rows, dtype=np.int64).T
            self.taken.append(
                AcceptedRows(
                    start_us=start,
                    end_us=end,
                    energy_wh=energy,
                    quality=np.array(quality, dtype=np.uint8),
                )
            )

    def _is_taken(self, start_us: int, end_us: int) -> bool:
        """Whether another life has energy for some of a time that this one has none for."""
        return self.lives is not None and self.lives.relation(start_us, end_us) is not Relation.FREE

    def _cover(self, start_us: int, end_us: int) -> None:
        self.energy.add(start_us, end_us)
        if self.lives is not None:
            self.lives.add(start_us, end_us)

    def _take_gap(self, start_us: int, end_us: int) -> None:
        if self.gaps.relation(start_us, end_us) is Relation.COVERED:
            self.duplicates += 1
        else:
            self.gaps.add(start_us, end_us)
            self.new_gaps += 1


def _joined(taken: list[AcceptedRows]) -> AcceptedRows:
    if len(taken) == 1:
        return taken[0]
    nothing = np.empty(0, dtype=np.int64)
    return AcceptedRows(
        start_us=np.concatenate([nothing, *(rows.start_us for rows in taken)]),
        end_us=np.concatenate([nothing, *(rows.end_us for rows in taken)]),
        energy_wh=np.concatenate([nothing, *(rows.energy_wh for rows in taken)]),
        quality=np.concatenate([nothing.astype(np.uint8), *(rows.quality for rows in taken)]),
    )


def _outcome(*, accepted: int, duplicates: int, refused: int) -> Outcome:
    if accepted:
        return Outcome.ACCEPTED
    if refused and not duplicates:
        return Outcome.REFUSED
    return Outcome.DUPLICATE
