"""Whole blocks in columns are answered and stored exactly as their intervals one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.consents.offers import offer_of, usual_offers
from cloud.consents.standing import stand
from cloud.ingest import checks
from cloud.ingest.checks import check_parts, read_batch
from cloud.readings.embedded import EmbeddedStore
from cloud.readings.memory import MemoryStore
from cloud.readings.ports import CheckedBatch, CheckedPart
from cloud.readings.runs import Admissible, Run
from gateway.wire.batch import Batch, Block, Part, RefusedInterval
from gateway.wire.codec import decode_batch, encode
from gateway.wire.consent import Authority, ConsentEvent, EventType, encode_event, event_hash
from gateway.wire.errors import MalformedMessage
from gateway.wire.reading import Purpose, Quantity, Resolution

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
TERMS = msgspec.structs.replace(
    offer_of(usual_offers("Co-op", group_min=15)[0], NOW).terms,
    valid_from=NOW - timedelta(days=1),
    valid_to=NOW + timedelta(days=3),
)
ENERGY_WH = st.integers(0, 9_999)


def standing_of(*changes):
    """A home's consent: given, then narrowed by each change."""
    payloads, terms, head = [], TERMS, ""
    for version, change in enumerate([{}, *changes], start=1):
        terms = msgspec.structs.replace(terms, **change)
        payload = encode_event(
            ConsentEvent(
                consent_id="group-tariff",
                version=version,
                prev=head,
                household="h-1",
                event=EventType.GIVEN if version == 1 else EventType.NARROWED,
                at=NOW,
                actor="test",
                terms=terms,
            )
        )
        head = event_hash(payload)
        payloads.append((payload, Authority.HOME))
    return stand(payloads)


STANDINGS = st.sampled_from(
    [
        standing_of(),
        standing_of({"valid_from": NOW - timedelta(hours=7)}),
        standing_of({"retention_days": 1}, {"valid_to": NOW - timedelta(hours=3)}),
        standing_of({"resolution": Resolution.HOUR}),
    ]
)
STARTS = st.integers(-110, 12).map(lambda quarters: NOW + QUARTER * quarters)


@st.composite
def even_blocks(draw):
    return Block(
        start=draw(STARTS),
        step_s=draw(st.sampled_from([900, 900, 900, 1800, 3600, 60])),
        wh=tuple(draw(st.lists(ENERGY_WH, min_size=1, max_size=40))),
    )


@st.composite
def blocks_with_qualities(draw):
    letters = draw(st.text("mepg", min_size=1, max_size=12))
    known = [draw(ENERGY_WH) if letter != "g" else None for letter in letters]
    wh = [None if draw(st.integers(0, 5)) == 0 else energy_wh for energy_wh in known]
    quality = letters if draw(st.booleans()) or "g" in letters else ""
    return Block(start=draw(STARTS), step_s=900, wh=tuple(wh), quality=quality)


@st.composite
def blocks_with_edges(draw):
    edges = [draw(STARTS)]
    for minutes in draw(st.lists(st.sampled_from([1, 15, 20, 60, 1380, 1500]), min_size=1)):
        edges.append(edges[-1] + timedelta(minutes=minutes))
    wh = tuple(draw(ENERGY_WH) for _ in edges[1:])
    return Block(start=edges[0], edges=tuple(edges), wh=wh)


BLOCKS = even_blocks() | even_blocks() | blocks_with_qualities() | blocks_with_edges()


@st.composite
def parts(draw):
    return Part(
        meter="main",
        quantity=draw(st.sampled_from([Quantity.IMPORT_WH, Quantity.EV_WH])),
        purpose=Purpose.GROUP_TARIFF,
        resolution=draw(st.sampled_from([Resolution.QUARTER_HOUR] * 3 + [Resolution.HOUR])),
        grant=draw(st.sampled_from(["group-tariff@1", "group-tariff@2", "other@1"])),
        epoch=draw(st.integers(0, 1)),
        seq=1,
        prev="",
        blocks=tuple(draw(st.lists(BLOCKS, min_size=1, max_size=4))),
    )


def batch_of(sent, seq=1):
    return Batch(gateway="0" * 32, seq=seq, made_at=NOW, parts=tuple(sent))


def judged_one_by_one(part, standing):
    """The rule without any short cut: each interval is made, judged and listed by itself."""
    grants = standing.since(part.grant)
    admissible, refused = [], []
    for reading in part.readings():
        reason = checks._why_not(part, reading, grants, NOW)
        if reason is None:
            admissible.append(reading)
        else:
            refused.append(RefusedInterval(start=reading.start, reason=reason))
    return CheckedPart(part=part, admissible=tuple(admissible), refused=tuple(refused))


def checked_batch(batch, checked):
    return CheckedBatch(
        household="h-1",
        gateway=batch.gateway,
        seq=batch.seq,
        payload=encode(batch),
        signature="signature",
        received_at=NOW,
        parts=tuple(checked),
    )


@settings(deadline=None)
@given(standing=STANDINGS, sent=st.lists(parts(), min_size=1, max_size=3))
def test_the_checks_let_through_exactly_what_they_let_through_one_by_one(standing, sent):
    batch = read_batch(encode(batch_of(sent)))
    for quick, part in zip(check_parts(batch, standing, NOW), batch.parts, strict=True):
        slow = judged_one_by_one(part, standing)
        assert tuple(quick.admissible) == slow.admissible
        assert len(quick.admissible) == len(slow.admissible)
        assert quick.refused == slow.refused


@settings(deadline=None, max_examples=40)
@given(
    standing=STANDINGS,
    sent=st.lists(st.lists(parts(), min_size=1, max_size=3), min_size=1, max_size=5),
    is_compacted=st.booleans(),
)
def test_every_store_answers_columns_as_it_answers_intervals(
    tmp_path_factory, standing, sent, is_compacted
):
    model, memory = MemoryStore(), MemoryStore()
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as disk:
        for seq, some in enumerate(sent, start=1):
            batch = read_batch(encode(batch_of(some, seq)))
            slow = checked_batch(batch, [judged_one_by_one(part, standing) for part in some])
            quick = checked_batch(batch, check_parts(batch, standing, NOW))
            expected = model.append(slow).result()
            assert memory.append(quick).result() == expected
            assert disk.append(quick).result() == expected
            if is_compacted:
                disk.compact()
        span = {"start": NOW - timedelta(days=60), "end": NOW + timedelta(days=60)}
        stored = model.home_readings("h-1", **span).to_dict("records")
        for store in (memory, disk):
            assert store.home_readings("h-1", **span).to_dict("records") == stored
        mine, its = disk.counts(), model.counts()
        for name in ("intervals_accepted", "intervals_distinct", "gaps", "energy_wh"):
            assert getattr(mine, name) == getattr(its, name)


@pytest.fixture
def quarters():
    block = Block(start=NOW - timedelta(hours=2), step_s=900, wh=(1, 2, 3, 4))
    return Part(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        resolution=Resolution.QUARTER_HOUR,
        grant="group-tariff@1",
        epoch=3,
        seq=1,
        prev="",
        blocks=(block, block),
    )


def test_a_whole_block_stays_in_columns_and_still_reads_as_readings(quarters):
    (checked,) = check_parts(batch_of([quarters]), standing_of(), NOW)
    assert isinstance(checked.admissible, Admissible)
    assert all(isinstance(piece, Run) for piece in checked.admissible.pieces)
    one_by_one = tuple(quarters.readings())
    assert checked.admissible[-1] == one_by_one[-1]
    assert checked.admissible[2:7] == one_by_one[2:7]
    run = checked.admissible.pieces[0]
    assert run[::-1] == one_by_one[3::-1]
    with pytest.raises(IndexError):
        run[4]
    half = replace(checked, admissible=checked.admissible[4:])
    answer = MemoryStore().append(checked_batch(batch_of([quarters]), [half])).result()
    assert answer.parts[0].accepted == 4


def test_a_block_that_straddles_a_boundary_is_judged_one_by_one(quarters):
    late = msgspec.structs.replace(quarters.blocks[0], start=TERMS.valid_from - QUARTER)
    part = msgspec.structs.replace(quarters, blocks=(late,))
    (checked,) = check_parts(batch_of([part]), standing_of(), NOW)
    assert [interval.reason for interval in checked.refused] == ["not_yet_valid"]
    assert len(checked.admissible) == 3


ZONES = st.sampled_from([UTC, UTC, timezone(timedelta(hours=2)), timezone(timedelta(0))])


@st.composite
def doubtful_blocks(draw):
    """Blocks of which many contradict themselves, in every way that types allow."""
    wh = draw(st.lists(ENERGY_WH | st.none(), min_size=1, max_size=5))
    start = draw(
        st.sampled_from([NOW, datetime.max.replace(microsecond=0, tzinfo=UTC) - 3 * QUARTER])
    )
    return Block(
        start=start.replace(tzinfo=draw(ZONES)),
        step_s=draw(st.sampled_from([900, 86_400, None])),
        edges=draw(st.none() | st.just((start, start + QUARTER))),
        wh=tuple(wh),
        quality=draw(st.just("") | st.text("megz", max_size=5)),
    )


@settings(deadline=None)
@given(
    blocks=st.lists(doubtful_blocks(), min_size=1, max_size=3),
    meter=st.sampled_from(["main", "main", "main", "main\n"]),
)
def test_whatever_a_block_says_its_fault_is_found_and_named_as_one_by_one(blocks, meter):
    part = Part(
        meter=meter,
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        resolution=Resolution.QUARTER_HOUR,
        grant="group-tariff@1",
        epoch=0,
        seq=1,
        prev="",
        blocks=tuple(blocks),
    )
    try:
        batch = read_batch(encode(batch_of([part])))
    except (MalformedMessage, ValueError, OverflowError):
        return
    try:
        expected = None
        list(batch.parts[0].readings())
    except (ValueError, OverflowError) as fault:
        expected = f"{batch.parts[0].stream}: {fault}"
    for read in (
        decode_batch,
        lambda payload: check_parts(read_batch(payload), standing_of(), NOW),
    ):
        if expected is None:
            read(encode(batch))
        else:
            with pytest.raises(MalformedMessage) as found:
                read(encode(batch))
            assert expected in str(found.value)
