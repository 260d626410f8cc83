"""What every store of readings must do, asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from cloud.errors import BadReadingsQuery, BatchNumberReused, StoreClosed
from cloud.readings.embedded import EmbeddedStore
from cloud.readings.memory import MemoryStore
from cloud.readings.ports import CheckedBatch, CheckedPart, ReadingStore
from gateway.wire.batch import BatchAnswer, GapReason, GapRecord, Outcome, part_hash
from gateway.wire.reading import Purpose, Quantity, StreamKey
from tests.cloud.readings.batches import MONDAY, batch, part

KINDS = ("memory", "inbox", "compacted", "mixed")
QUARTER = timedelta(minutes=15)


class Subject:
    """A store, and what to do between writing and reading so that every state is seen."""

    def __init__(self, store: ReadingStore, settle: Callable[[], object]) -> None:
        self.store = store
        self.settle = settle

    def put(self, checked: CheckedBatch) -> BatchAnswer:
        answer = self.store.append(checked).result(timeout=10)
        self.settle()
        return answer

    def matrix(self, *households: str, hours: float = 2, step_s: int = 900) -> pd.DataFrame:
        return self.store.home_matrix(
            households,
            quantity=Quantity.IMPORT_WH,
            purpose=Purpose.GROUP_TARIFF,
            start=MONDAY,
            end=MONDAY + timedelta(hours=hours),
            step_s=step_s,
        )


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each store; the embedded one with everything in the inbox, in files, or in both."""
    if request.param == "memory":
        memory = MemoryStore()
        yield Subject(memory, lambda: None)
        memory.close()
        return
    store = EmbeddedStore(tmp_path / "store")
    turns = iter(range(10_000))

    def settle() -> None:
        if request.param == "compacted" or (request.param == "mixed" and next(turns) % 2 == 0):
            store.compact()

    yield Subject(store, settle)
    store.close()


def test_a_batch_is_answered_part_by_part_and_can_be_read_back(subject: Subject) -> None:
    answer = subject.put(
        batch(
            part([1, 2, 3, 4]),
            part([9], quantity=Quantity.EXPORT_WH, purpose=Purpose.BILLING),
            seq=7,
        )
    )
    assert answer.seq == 7
    assert [p.outcome for p in answer.parts] == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    assert [p.accepted for p in answer.parts] == [4, 1]
    frame = subject.matrix("home-1", hours=1)
    assert frame["home-1"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert frame.index.tz is not None
    assert frame.index.name == "interval_start"
    assert frame.index[0] == pd.Timestamp(MONDAY)


def test_the_same_batch_again_is_a_duplicate_and_changes_nothing(subject: Subject) -> None:
    again = batch(part([1, 2, 3, 4]), seq=1)
    subject.put(again)
    answer = subject.put(again)
    assert answer.parts[0].outcome is Outcome.DUPLICATE
    assert (answer.parts[0].accepted, answer.parts[0].duplicate) == (0, 4)
    counts = subject.store.counts()
    assert (counts.batches, counts.intervals_accepted, counts.intervals_distinct) == (1, 4, 4)


def test_the_same_number_with_other_content_is_refused_and_not_stored(subject: Subject) -> None:
    subject.put(batch(part([1]), seq=1))
    with pytest.raises(BatchNumberReused, match="batch 1"):
        subject.put(batch(part([2], start=MONDAY + QUARTER), seq=1))
    assert subject.store.counts().intervals_distinct == 1


def test_an_interval_covered_already_is_a_duplicate_whoever_sends_it(subject: Subject) -> None:
    subject.put(batch(part([1, 2, 3, 4])))
    answer = subject.put(batch(part([5, 6, 7], start=MONDAY + 2 * QUARTER)))
    assert (answer.parts[0].accepted, answer.parts[0].duplicate) == (1, 2)
    assert subject.matrix("home-1", hours=1.25)["home-1"].tolist() == [1, 2, 3, 4, 7]


def test_an_hour_over_its_own_quarters_is_a_duplicate(subject: Subject) -> None:
    subject.put(batch(part([1, 2, 3, 4])))
    answer = subject.put(batch(part([10], step_s=3600)))
    assert answer.parts[0].outcome is Outcome.DUPLICATE


def test_a_partial_overlap_is_refused_with_its_start(subject: Subject) -> None:
    subject.put(batch(part([1, 2, 3])))
    answer = subject.put(batch(part([10], step_s=3600)))
    assert answer.parts[0].outcome is Outcome.REFUSED
    assert [(r.start, r.reason) for r in answer.parts[0].refused] == [(MONDAY, "overlap")]
    assert subject.store.counts().energy_wh == {(Quantity.IMPORT_WH, Purpose.GROUP_TARIFF): 6}


def test_another_epoch_purpose_meter_or_home_is_another_stream(subject: Subject) -> None:
    for checked in (
        part([1]),
        part([1], epoch=1, start=MONDAY + QUARTER),
        part([1], purpose=Purpose.BILLING),
        part([1], meter="second"),
    ):
        assert subject.put(batch(checked)).parts[0].outcome is Outcome.ACCEPTED
    assert subject.put(batch(part([1]), household="home-2")).parts[0].accepted == 1
    assert subject.store.counts().intervals_distinct == 5


def test_a_gap_is_recorded_but_the_energy_may_still_come(subject: Subject) -> None:
    first = subject.put(batch(part([1, None, 3])))
    assert first.parts[0].accepted == 3
    assert np.isnan(subject.matrix("home-1", hours=0.75)["home-1"].iloc[1])
    again = subject.put(batch(part([None], start=MONDAY + QUARTER)))
    assert again.parts[0].outcome is Outcome.DUPLICATE
    late = subject.put(batch(part([2], start=MONDAY + QUARTER)))
    assert late.parts[0].accepted == 1
    assert subject.matrix("home-1", hours=0.75)["home-1"].tolist() == [1, 2, 3]
    counts = subject.store.counts()
    assert (counts.gaps, counts.intervals_accepted, counts.intervals_distinct) == (1, 3, 3)


def test_gap_records_are_counted_once(subject: Subject) -> None:
    gap = GapRecord(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=MONDAY,
        end=MONDAY + 8 * QUARTER,
        reason=GapReason.OVERFLOW,
        intervals=8,
    )
    subject.put(batch(gaps=(gap,)))
    subject.put(batch(gaps=(gap,)))
    assert subject.store.counts().gaps == 8
    assert subject.store.counts().batches == 2


def test_what_was_refused_before_is_answered_and_never_stored(subject: Subject) -> None:
    from dataclasses import replace

    from gateway.wire.batch import RefusedInterval

    checked = part([1, 2])
    refused = RefusedInterval(start=MONDAY, reason="no_grant")
    half = replace(checked, admissible=checked.admissible[1:], refused=(refused,))
    none = replace(part([3], purpose=Purpose.RESEARCH), admissible=(), refused=(refused,))
    answer = subject.put(batch(half, none))
    assert [p.outcome for p in answer.parts] == [Outcome.ACCEPTED, Outcome.REFUSED]
    assert answer.parts[0].refused == (refused,)
    assert subject.store.counts().intervals_distinct == 1
    assert [key.purpose for key in subject.store.streams("home-1")] == [Purpose.GROUP_TARIFF]


def test_finer_readings_fill_a_coarser_step_only_together(subject: Subject) -> None:
    subject.put(batch(part([1, 2, 3, 4, 5, 6, 7])))
    hours = subject.matrix("home-1", step_s=3600)["home-1"]
    assert hours.iloc[0] == 10
    assert np.isnan(hours.iloc[1])


def test_a_coarser_reading_is_never_spread_over_finer_steps(subject: Subject) -> None:
    subject.put(batch(part([100], step_s=3600)))
    assert subject.matrix("home-1", hours=1)["home-1"].isna().all()


def test_partial_energy_leaves_its_step_missing_but_is_listed(subject: Subject) -> None:
    subject.put(batch(part([1, 2, 3, 4], quality="mpee")))
    column = subject.matrix("home-1", hours=1)["home-1"]
    assert column.isna().tolist() == [False, True, False, False]
    listed = subject.store.home_readings(
        "home-1", start=MONDAY, end=MONDAY + timedelta(hours=1), purpose=Purpose.GROUP_TARIFF
    )
    assert listed["quality"].tolist() == ["measured", "partial", "estimated", "estimated"]
    assert listed["energy_wh"].tolist() == [1, 2, 3, 4]


def test_two_lives_of_a_counter_share_the_interval_of_a_reset_which_is_then_missing(
    subject: Subject,
) -> None:
    subject.put(batch(part([10, 20], quality="mp")))
    answer = subject.put(batch(part([5, 6], epoch=1, start=MONDAY + QUARTER, quality="pm")))
    assert answer.parts[0].accepted == 2
    column = subject.matrix("home-1", hours=0.75)["home-1"]
    assert column.iloc[[0, 2]].tolist() == [10, 6]
    assert np.isnan(column.iloc[1])
    assert subject.store.counts().energy_wh == {(Quantity.IMPORT_WH, Purpose.GROUP_TARIFF): 41}


@pytest.mark.parametrize(
    ("again", "refused"),
    [
        (part([5, 6, 7], epoch=1), 2),
        (part([9], epoch=1, step_s=3600), 1),
        (part([9] * 3, epoch=1, step_s=300), 3),
    ],
)
def test_the_time_of_one_life_of_a_counter_cannot_be_told_again_by_another(
    subject: Subject, again: CheckedPart, refused: int
) -> None:
    subject.put(batch(part([10, 20])))
    answer = subject.put(batch(again))
    assert [item.reason for item in answer.parts[0].refused] == ["overlap"] * refused
    assert subject.matrix("home-1", hours=0.5)["home-1"].tolist() == [10, 20]


def test_a_life_that_was_told_of_in_the_same_commit_counts_as_well(subject: Subject) -> None:
    answer = subject.put(batch(part([10, 20]), part([5, 6], epoch=1), part([7, 8], epoch=2)))
    assert [each.accepted for each in answer.parts] == [2, 0, 0]


def test_meters_of_a_home_add_up_and_one_missing_in_service_is_missing(subject: Subject) -> None:
    subject.put(batch(part([1, 2, None, 4, 5])))
    subject.put(batch(part([10, 20, 30, 40], meter="annex", start=MONDAY + QUARTER)))
    column = subject.matrix("home-1", hours=1.25)["home-1"]
    assert column.iloc[[0, 1, 3, 4]].tolist() == [1, 12, 34, 45]
    assert np.isnan(column.iloc[2])


def test_columns_come_in_the_order_asked_and_unknown_homes_are_missing(subject: Subject) -> None:
    subject.put(batch(part([1]), household="b"))
    subject.put(batch(part([2]), household="a"))
    frame = subject.matrix("b", "nobody", "a", hours=0.25)
    assert frame.columns.tolist() == ["b", "nobody", "a"]
    assert frame.iloc[0].fillna(-1).tolist() == [1, -1, 2]


def test_purposes_are_never_mixed(subject: Subject) -> None:
    subject.put(batch(part([1])))
    subject.put(batch(part([50], purpose=Purpose.RESEARCH)))
    assert subject.matrix("home-1", hours=0.25)["home-1"].tolist() == [1]
    listed = subject.store.home_readings("home-1", start=MONDAY, end=MONDAY + QUARTER)
    assert listed["purpose"].tolist() == ["group_tariff", "research"]


def test_the_group_is_the_sum_of_the_homes_that_are_there(subject: Subject) -> None:
    subject.put(batch(part([1, 2, None]), household="a"))
    subject.put(batch(part([10, None, None]), household="b"))
    subject.put(batch(part([100, 200]), part([5, 5], meter="annex"), household="c"))
    group = subject.store.group_load(
        ["a", "b", "c"],
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=MONDAY,
        end=MONDAY + 3 * QUARTER,
        step_s=900,
    )
    assert group["energy_wh"].tolist() == [116, 207, 0]
    assert group["homes"].tolist() == [3, 2, 0]
    assert group["top_home_wh"].tolist() == [105, 205, 0]


def test_days_of_23_and_25_hours_keep_their_own_length(subject: Subject) -> None:
    edges = tuple(
        datetime.fromisoformat(text)
        for text in (
            "2026-03-27T23:00:00+00:00",
            "2026-03-28T23:00:00+00:00",
            "2026-03-29T22:00:00+00:00",
        )
    )
    subject.put(batch(part([24_000, 23_000], start=edges[0], edges=edges)))
    listed = subject.store.home_readings("home-1", start=edges[0], end=edges[2])
    lengths = (listed["end"] - listed["start"]).dt.total_seconds() / 3600
    assert lengths.tolist() == [24, 23]


def test_a_batch_over_a_month_end_is_read_back_whole(subject: Subject) -> None:
    new_year = datetime.fromisoformat("2026-12-31T23:30:00+00:00")
    subject.put(batch(part([1, 2, 3, 4], start=new_year)))
    listed = subject.store.home_readings(
        "home-1", start=new_year, end=new_year + timedelta(hours=1)
    )
    assert listed["energy_wh"].tolist() == [1, 2, 3, 4]


def test_erasing_a_home_leaves_the_others_and_forgets_its_coverage(subject: Subject) -> None:
    first = batch(part([1, 2]), household="a", seq=1)
    subject.put(first)
    subject.put(batch(part([3, 4]), household="b"))
    erased = subject.store.erase("a")
    assert (erased.streams, erased.intervals) == (1, 2)
    assert subject.store.streams("a") == ()
    frame = subject.matrix("a", "b", hours=0.5)
    assert frame["a"].isna().all()
    assert frame["b"].tolist() == [3, 4]
    counts = subject.store.counts()
    assert (counts.batches, counts.intervals_accepted, counts.intervals_distinct) == (1, 2, 2)
    assert subject.put(first).parts[0].accepted == 2


def test_withdrawing_a_purpose_erases_its_stream_only(subject: Subject) -> None:
    subject.put(batch(part([1]), part([1], purpose=Purpose.RESEARCH)))
    stream = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.RESEARCH)
    assert subject.store.erase("home-1", stream=stream).intervals == 1
    assert [key.purpose for key in subject.store.streams("home-1")] == [Purpose.GROUP_TARIFF]
    assert subject.matrix("home-1", hours=0.25)["home-1"].tolist() == [1]


def test_what_was_kept_long_enough_goes_and_does_not_come_back(subject: Subject) -> None:
    old = batch(part([1, 2, 3, 4]), part([5, 6, 7, 8], purpose=Purpose.RESEARCH))
    subject.put(old)
    subject.store.compact()
    key = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.GROUP_TARIFF)
    assert subject.store.expire({("home-1", key): MONDAY + 2 * QUARTER}).intervals == 2
    assert subject.matrix("home-1", hours=1)["home-1"].fillna(-1).tolist() == [-1, -1, 3, 4]
    counts = subject.store.counts()
    assert counts.intervals_accepted == counts.intervals_distinct == 6
    assert counts.energy_wh[Quantity.IMPORT_WH, Purpose.RESEARCH] == 26
    assert subject.put(old).parts[0].duplicate == 4
    assert subject.store.expire({("home-1", key): MONDAY + 2 * QUARTER}).intervals == 0
    assert subject.store.expire({}).intervals == 0


def test_erasing_what_is_not_there_is_harmless(subject: Subject) -> None:
    erased = subject.store.erase("nobody")
    assert (erased.streams, erased.intervals) == (0, 0)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"start": datetime(2026, 3, 2)}, "aware"),  # noqa: DTZ001 - the fault under test
        ({"end": MONDAY + timedelta(minutes=7)}, "whole number of steps"),
        ({"end": MONDAY}, "whole number of steps"),
        ({"step_s": 0}, "positive"),
        ({"step_s": 1, "end": MONDAY + timedelta(days=3000)}, "coarser step"),
        ({"households": ["a", "a"]}, "twice"),
    ],
)
def test_a_question_without_meaning_is_refused(
    subject: Subject, change: dict[str, object], problem: str
) -> None:
    asked: dict[str, object] = {
        "households": ["a"],
        "quantity": Quantity.IMPORT_WH,
        "purpose": Purpose.GROUP_TARIFF,
        "start": MONDAY,
        "end": MONDAY + timedelta(hours=1),
        "step_s": 900,
    } | change
    with pytest.raises(BadReadingsQuery, match=problem):
        subject.store.home_matrix(**asked)  # type: ignore[arg-type]


def test_an_empty_store_answers_with_nothing(subject: Subject) -> None:
    assert subject.matrix("a")["a"].isna().all()
    assert subject.store.home_readings("a", start=MONDAY, end=MONDAY + QUARTER).empty
    assert subject.store.counts().intervals_distinct == 0
    subject.store.compact()


def test_a_closed_store_takes_nothing_and_closes_twice(subject: Subject) -> None:
    subject.store.close()
    subject.store.close()
    with pytest.raises(StoreClosed):
        subject.store.append(batch(part([1])))


def chained(first: int, last: int, *, wh: int = 5, **changes) -> list[CheckedBatch]:
    """Batches of one part each, one after another as a gateway seals them."""
    made, prev = [], ""
    for seq in range(first, last + 1):
        sent = part([wh] * 4, start=MONDAY + timedelta(hours=seq))
        sent = replace(sent, part=msgspec.structs.replace(sent.part, seq=seq, prev=prev))
        prev = part_hash(sent.part)
        made.append(batch(sent, **changes))
    return made


def test_a_lost_batch_is_noticed_until_it_comes_and_stops_nothing(subject: Subject) -> None:
    batches = chained(1, 5)
    for each in (batches[0], batches[1], batches[4], batches[4]):
        assert subject.put(each).parts[0].outcome is not Outcome.REFUSED
    (broken,) = subject.store.broken_chains("home-1")
    assert (broken.chain.missing, broken.gateway) == (((3, 4),), "home-1-gateway")
    assert broken.noticed_at == batches[4].received_at
    assert subject.store.broken_chains("home-2") == ()
    for late in (batches[2], batches[3]):
        subject.put(late)
    assert subject.store.broken_chains() == ()


def test_a_gateway_from_an_old_copy_is_noticed(subject: Subject) -> None:
    for each in chained(1, 4):
        subject.put(each)
    start = MONDAY + timedelta(days=1)
    sent = part([7] * 4, start=start)
    sent = replace(sent, part=msgspec.structs.replace(sent.part, seq=3, prev="ab" * 32))
    assert subject.put(batch(sent)).parts[0].accepted == 4
    (broken,) = subject.store.broken_chains()
    assert (broken.chain.reused, broken.chain.seq) == (1, 3)


def test_chains_of_two_gateways_do_not_disturb_one_another(subject: Subject) -> None:
    for each in (*chained(1, 3), *chained(1, 3, gateway="another")):
        subject.put(each)
    assert subject.store.broken_chains() == ()


def test_an_erased_stream_may_begin_where_it_likes(subject: Subject) -> None:
    batches = chained(1, 9)
    subject.put(batches[0])
    subject.put(batches[3])
    assert len(subject.store.broken_chains()) == 1
    subject.store.erase("home-1", stream=batches[0].parts[0].part.stream)
    assert subject.store.broken_chains() == ()
    subject.put(batches[8])
    assert subject.store.broken_chains() == ()


def test_what_will_never_come_can_be_asked_for(subject: Subject) -> None:
    said = GapRecord(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        start=MONDAY,
        end=MONDAY + 4 * QUARTER,
        reason=GapReason.OVERFLOW,
        intervals=4,
    )
    subject.put(batch(part([1], start=MONDAY + 5 * QUARTER), gaps=(said,)))
    subject.put(batch(part([1], start=MONDAY + 6 * QUARTER), gaps=(said,)))
    assert subject.store.gaps("home-1") == (said,)
    assert subject.store.gaps("home-2") == ()


def test_a_chain_survives_the_store_being_closed(tmp_path: Path) -> None:
    batches = chained(1, 3)
    with EmbeddedStore(tmp_path / "store") as store:
        store.append(batches[0]).result(timeout=10)
    with EmbeddedStore(tmp_path / "store") as store:
        store.append(batches[2]).result(timeout=10)
    with EmbeddedStore(tmp_path / "store") as store:
        assert store.broken_chains()[0].chain.missing == ((2, 2),)
        store.append(batches[1]).result(timeout=10)
        assert store.broken_chains() == ()
