"""The judgement of intervals, for any history of a consent and any batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.consents.offers import offer_of, usual_offers
from cloud.consents.standing import stand
from cloud.ingest import checks
from cloud.ingest.checks import AHEAD_MAX, admissible_gaps, check_parts, read_batch
from gateway.wire.batch import Batch, Block, GapReason, GapRecord, Part
from gateway.wire.codec import encode
from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Withheld,
    encode_event,
    event_hash,
    why_withheld,
)
from gateway.wire.errors import BadConsentEvent, MalformedMessage, MessageTooLarge
from gateway.wire.reading import Purpose, Quantity, Resolution

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TERMS = msgspec.structs.replace(
    offer_of(usual_offers("Co-op", group_min=15)[0], NOW).terms,
    valid_from=NOW - timedelta(days=3),
    valid_to=NOW + timedelta(days=3),
)
NARROWINGS = st.sampled_from(
    [
        {"resolution": Resolution.HOUR},
        {"quantities": (Quantity.IMPORT_WH,)},
        {"valid_to": NOW - timedelta(hours=5)},
        {"valid_from": NOW - timedelta(days=1)},
        {"retention_days": 1},
    ]
)


def history(changes):
    """Payloads of a consent: given, then narrowed or renewed by each change; None withdraws."""
    payloads, terms, head = [], TERMS, ""
    for version, (event, change) in enumerate([(EventType.GIVEN, {}), *changes], start=1):
        if change is not None:
            terms = msgspec.structs.replace(terms, **change)
        made = ConsentEvent(
            consent_id="group-tariff",
            version=version,
            prev=head,
            household="h-1",
            event=event,
            at=NOW,
            actor="test",
            terms=None if change is None else terms,
        )
        payload = encode_event(made)
        head = event_hash(payload)
        payloads.append((payload, Authority.HOME))
    return payloads


CHANGES = st.lists(
    st.tuples(st.just(EventType.NARROWED), NARROWINGS)
    | st.tuples(st.just(EventType.RENEWED), st.just({"valid_from": NOW - timedelta(days=1)})),
    max_size=3,
    unique_by=lambda change: str(change[1]),
)


def usable(changes):
    try:
        return stand(history(changes))
    except BadConsentEvent:
        return None


STANDINGS = CHANGES.map(usable).filter(lambda standing: standing is not None)


@st.composite
def parts(draw):
    step = draw(st.sampled_from([Resolution.QUARTER_HOUR, Resolution.HOUR]))
    start = NOW + timedelta(minutes=15) * draw(st.integers(-400, 20))
    wh = draw(st.lists(st.none() | st.integers(0, 9_999), min_size=1, max_size=60))
    return Part(
        meter=draw(st.sampled_from(["main", "garage"])),
        quantity=draw(st.sampled_from([Quantity.IMPORT_WH, Quantity.EXPORT_WH, Quantity.EV_WH])),
        purpose=draw(st.sampled_from([Purpose.GROUP_TARIFF, Purpose.RESEARCH])),
        resolution=draw(st.sampled_from([Resolution.QUARTER_HOUR, Resolution.HOUR])),
        grant=draw(st.sampled_from(["group-tariff@1", "group-tariff@2", "other@1"])),
        epoch=0,
        seq=1,
        prev="",
        blocks=(Block(start=start, step_s=step.step_s, wh=tuple(wh)),),
    )


def batch_of(*sent, gaps=()):
    return Batch(gateway="0" * 32, seq=1, made_at=NOW, parts=sent, gaps=gaps)


@given(standing=STANDINGS, part=parts())
def test_no_interval_is_admitted_that_any_narrowing_since_forbids(standing, part):
    (checked,) = check_parts(batch_of(part), standing, NOW)
    grants = standing.since(part.grant)
    for reading in checked.admissible:
        assert grants, "admitted without a grant"
        for grant in grants:
            reason = why_withheld(
                grant,
                stream=part.stream,
                resolution=part.resolution,
                start=reading.start,
                end=reading.end,
            )
            of_dates = reason in (Withheld.NOT_YET_VALID, Withheld.EXPIRED)
            renewed = grant is not grants[0] and grant.state is EventType.RENEWED
            assert reason is None or (renewed and of_dates)
        assert reading.end <= NOW + AHEAD_MAX
        assert reading.end - reading.start >= timedelta(seconds=part.resolution.step_s)


@given(standing=STANDINGS, part=parts())
def test_every_interval_is_either_admitted_or_refused_with_a_reason(standing, part):
    (checked,) = check_parts(batch_of(part), standing, NOW)
    starts = sorted(
        [reading.start for reading in checked.admissible]
        + [interval.start for interval in checked.refused]
    )
    assert starts == sorted(reading.start for reading in part.readings())
    assert all(interval.reason for interval in checked.refused)


@given(standing=STANDINGS, part=parts())
def test_judging_a_block_by_its_ends_is_judging_each_interval(standing, part):
    (quick,) = check_parts(batch_of(part), standing, NOW)
    grants = standing.since(part.grant)
    slow = [r for r in part.readings() if checks._why_not(part, r, grants, NOW) is None]
    assert list(quick.admissible) == slow


def test_what_was_withdrawn_stays_out_even_after_a_new_yes():
    payloads = history([(EventType.WITHDRAWN, None), (EventType.GIVEN, {})])
    standing = stand(payloads)
    wh = (1, 2)
    block = Block(start=NOW - timedelta(hours=2), step_s=900, wh=wh)
    fields = {
        "meter": "main",
        "quantity": Quantity.IMPORT_WH,
        "purpose": Purpose.GROUP_TARIFF,
        "resolution": Resolution.QUARTER_HOUR,
        "epoch": 0,
        "seq": 1,
        "prev": "",
        "blocks": (block,),
    }
    old, new = (Part(grant=f"group-tariff@{version}", **fields) for version in (1, 3))
    first, second = check_parts(batch_of(old, new), standing, NOW)
    assert {interval.reason for interval in first.refused} == {"withdrawn"}
    assert len(second.admissible) == 2


def test_local_days_and_months_are_long_enough_and_pieces_of_them_are_not():
    standing = stand(history([]))
    day = NOW.replace(hour=0) - timedelta(days=2)
    for resolution, edges, taken in (
        (Resolution.DAY, (day, day + timedelta(hours=23)), 1),
        (Resolution.DAY, (day, day + timedelta(hours=25)), 1),
        (Resolution.DAY, (day, day + timedelta(hours=12), day + timedelta(hours=24)), 0),
        (Resolution.MONTH, (day, day + timedelta(hours=24)), 0),
    ):
        part = Part(
            meter="main",
            quantity=Quantity.IMPORT_WH,
            purpose=Purpose.GROUP_TARIFF,
            resolution=resolution,
            grant="group-tariff@1",
            epoch=0,
            seq=1,
            prev="",
            blocks=(Block(start=edges[0], edges=edges, wh=(5,) * (len(edges) - 1)),),
        )
        (checked,) = check_parts(batch_of(part), standing, NOW)
        assert len(checked.admissible) == taken, (resolution, edges)


def test_what_is_older_than_its_retention_is_too_old():
    standing = stand(history([(EventType.NARROWED, {"retention_days": 1})]))
    part = Part(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        resolution=Resolution.QUARTER_HOUR,
        grant="group-tariff@2",
        epoch=0,
        seq=1,
        prev="",
        blocks=(Block(start=NOW - timedelta(hours=24, minutes=30), step_s=900, wh=(1, 2, 3)),),
    )
    (checked,) = check_parts(batch_of(part), standing, NOW)
    assert [interval.reason for interval in checked.refused] == ["too_old"]
    assert len(checked.admissible) == 2


def test_gap_records_of_purposes_never_agreed_to_are_not_kept():
    standing = stand(history([]))
    gaps = tuple(
        GapRecord(
            meter="main",
            quantity=Quantity.IMPORT_WH,
            purpose=purpose,
            start=NOW - timedelta(hours=1),
            end=NOW,
            reason=GapReason.OVERFLOW,
            intervals=4,
        )
        for purpose in (Purpose.GROUP_TARIFF, Purpose.RESEARCH)
    )
    kept = admissible_gaps(batch_of(gaps=gaps), standing)
    assert [gap.purpose for gap in kept] == [Purpose.GROUP_TARIFF]


def test_more_intervals_than_the_contract_takes_are_refused_before_they_are_looked_at():
    wh = (1,) * 30_000
    block = Block(start=NOW - timedelta(days=400), step_s=900, wh=wh)
    part = msgspec.structs.replace(example_part(), blocks=(block, block))
    with pytest.raises(MessageTooLarge):
        read_batch(encode(batch_of(part)))


@pytest.mark.parametrize(
    "block",
    [
        Block(start=NOW, wh=(1,)),
        Block(start=NOW, step_s=900, wh=(1, 2), quality="m"),
        Block(start=NOW, step_s=900, wh=(1,), quality="z"),
        Block(start=NOW, step_s=900, wh=(1,), quality="g"),
        Block(start=NOW, edges=(NOW, NOW), wh=(1,)),
        Block(start=NOW, edges=(NOW,), wh=(1,)),
        Block(start=datetime(9999, 12, 31, 23, 59, tzinfo=UTC), step_s=900, wh=(1,)),
    ],
)
def test_a_block_that_contradicts_itself_spoils_the_batch_and_is_named(block):
    part = msgspec.structs.replace(example_part(), blocks=(block,))
    with pytest.raises(MalformedMessage, match="main/import_wh/group_tariff"):
        check_parts(batch_of(part), stand(history([])), NOW)


def example_part():
    return Part(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        purpose=Purpose.GROUP_TARIFF,
        resolution=Resolution.QUARTER_HOUR,
        grant="group-tariff@1",
        epoch=0,
        seq=1,
        prev="",
        blocks=(Block(start=NOW, step_s=900, wh=(1,)),),
    )
