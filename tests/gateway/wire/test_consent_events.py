"""Consent events: denied by default, narrow anywhere, widen only at home."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Grant,
    Release,
    Terms,
    Withheld,
    apply_event,
    decode_event,
    encode_event,
    event_hash,
    fold,
    is_within,
    why_withheld,
)
from gateway.wire.errors import BadConsentEvent, MalformedMessage
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from tests.gateway.fake_coop import HOUSEHOLD, offer

AT = datetime(2026, 7, 1, tzinfo=UTC)
BASE = offer().terms
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "meters": st.sampled_from([("main",), ("main", "pv"), ("pv",)]),
        "quantities": st.sampled_from(
            [(Quantity.IMPORT_WH,), (Quantity.IMPORT_WH, Quantity.EXPORT_WH), tuple(Quantity)]
        ),
        "resolution": st.sampled_from(list(Resolution)),
        "recipients": st.sampled_from([("coop",), ("coop", "supplier:x"), ("supplier:x",)]),
        "release": st.sampled_from(list(Release)),
        "group_min": st.integers(1, 30),
        "valid_from": st.integers(-3, 3).map(lambda days: BASE.valid_from + timedelta(days=days)),
        "valid_to": st.integers(-3, 3).map(lambda days: BASE.valid_to + timedelta(days=days)),
        "retention_days": st.integers(399, 401),
    },
)


def terms(**changed: object) -> Terms:
    return msgspec.structs.replace(BASE, **changed)


def event(
    kind: EventType, *, after: Grant | None = None, told: Terms | None = None, **more: object
) -> bytes:
    fields: dict[str, object] = {
        "consent_id": "c",
        "version": 1 if after is None else after.version + 1,
        "prev": "" if after is None else after.head,
        "household": HOUSEHOLD,
        "event": kind,
        "at": AT,
        "actor": "member at home",
        "terms": told,
    }
    return encode_event(ConsentEvent(**{**fields, **more}))


def given_grant(told: Terms = BASE) -> Grant:
    return apply_event(None, event(EventType.GIVEN, told=told), Authority.HOME)


@given(CHANGES)
def test_the_co_op_may_only_ever_make_less_of_a_grant(changed: dict[str, object]) -> None:
    before = given_grant()
    told = terms(**changed)
    payload = event(EventType.NARROWED, after=before, told=told)
    if is_within(told, BASE) and told.valid_from < told.valid_to:
        assert apply_event(before, payload, Authority.COOP).terms == told
    else:
        with pytest.raises(BadConsentEvent):
            apply_event(before, payload, Authority.COOP)


@given(CHANGES, CHANGES, CHANGES)
def test_narrower_of_narrower_is_narrower(one, two, three) -> None:
    a, b, c = terms(**one), terms(**two), terms(**three)
    assert is_within(a, a)
    if is_within(c, b) and is_within(b, a):
        assert is_within(c, a)


@pytest.mark.parametrize("kind", [EventType.GIVEN, EventType.RENEWED])
def test_the_co_op_cannot_say_yes(kind: EventType) -> None:
    with pytest.raises(BadConsentEvent, match="only a key of the home"):
        apply_event(None, event(kind, told=BASE), Authority.COOP)
    before = given_grant()
    with pytest.raises(BadConsentEvent, match="only a key of the home"):
        apply_event(before, event(kind, after=before, told=BASE), Authority.COOP)


@pytest.mark.parametrize("authority", list(Authority))
@pytest.mark.parametrize("kind", [EventType.WITHDRAWN, EventType.EXPIRED])
def test_either_side_may_end_a_grant_and_narrowing_cannot_wake_it(authority, kind) -> None:
    before = given_grant()
    dead = apply_event(before, event(kind, after=before, at=BASE.valid_to), authority)
    assert dead.is_dead
    with pytest.raises(BadConsentEvent):
        apply_event(dead, event(EventType.NARROWED, after=dead, told=BASE), Authority.COOP)
    again = apply_event(dead, event(EventType.RENEWED, after=dead, told=BASE), Authority.HOME)
    assert not again.is_dead


def test_a_grant_does_not_expire_before_its_end_and_only_once() -> None:
    before = given_grant()
    early = event(EventType.EXPIRED, after=before, at=BASE.valid_to - timedelta(seconds=1))
    with pytest.raises(BadConsentEvent, match="lasts until"):
        apply_event(before, early, Authority.COOP)
    dead = apply_event(before, event(EventType.WITHDRAWN, after=before), Authority.HOME)
    late = event(EventType.EXPIRED, after=dead, at=BASE.valid_to)
    with pytest.raises(BadConsentEvent, match="over already"):
        apply_event(dead, late, Authority.COOP)


def test_an_expired_grant_still_covers_the_time_it_was_given_for_and_a_withdrawn_one_nothing() -> (
    None
):
    before = given_grant()
    stream = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=BASE.purpose)

    def why(grant: Grant, end: datetime) -> Withheld | None:
        start = end - timedelta(hours=1)
        return why_withheld(grant, stream=stream, resolution=Resolution.HOUR, start=start, end=end)

    expired = apply_event(
        before, event(EventType.EXPIRED, after=before, at=BASE.valid_to), Authority.COOP
    )
    assert why(expired, BASE.valid_to) is None
    assert why(expired, BASE.valid_to + timedelta(hours=1)) is Withheld.EXPIRED
    gone = apply_event(before, event(EventType.WITHDRAWN, after=before), Authority.COOP)
    assert why(gone, BASE.valid_to) is Withheld.WITHDRAWN


def test_events_must_follow_each_other() -> None:
    before = given_grant()
    for wrong in (
        event(EventType.WITHDRAWN, after=before, version=3),
        event(EventType.WITHDRAWN, after=before, version=1),
        event(EventType.WITHDRAWN, after=before, prev="0" * 64),
        event(EventType.WITHDRAWN, after=before, household="h-other"),
        event(EventType.WITHDRAWN, after=before, told=BASE),
        event(EventType.NARROWED, after=before),
        event(EventType.RENEWED, after=before, told=terms(purpose=Purpose.RESEARCH)),
        event(EventType.RENEWED, after=before, told=terms(valid_to=BASE.valid_from)),
    ):
        with pytest.raises(BadConsentEvent):
            apply_event(before, wrong, Authority.HOME)
    with pytest.raises(BadConsentEvent):
        apply_event(None, event(EventType.WITHDRAWN), Authority.HOME)


def test_a_fold_is_what_its_events_add_up_to() -> None:
    first = event(EventType.GIVEN, told=BASE)
    grant = given_grant()
    second = event(EventType.WITHDRAWN, after=grant)
    grants = fold([(first, Authority.HOME), (second, Authority.COOP)])
    assert grants["c"].state is EventType.WITHDRAWN
    assert grants["c"].head == event_hash(second)


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"schema":1}', b"\xff"])
def test_bytes_that_are_no_event_are_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_event(payload)
