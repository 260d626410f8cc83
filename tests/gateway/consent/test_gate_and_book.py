"""The gate admits nothing without a grant; the book never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.consent.book import Change, ConsentBook, Keyring
from gateway.consent.gate import Conditions, admit, hold
from gateway.wire.consent import Authority, EventType, Withheld, encode_event
from gateway.wire.errors import BadConsentEvent, BadSignature
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from gateway.wire.signing import DOMAIN_BATCH, DOMAIN_CONSENT, key_id_of, public_bytes, sign_message
from tests.gateway.fake_coop import HOUSEHOLD, offer

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
FRESH = Conditions(
    now=NOW,
    clock_synchronised=True,
    paused=False,
    policy_confirmed_at=NOW - timedelta(hours=1),
    policy_valid_for=timedelta(days=7),
)


def change(event: EventType = EventType.GIVEN) -> Change:
    return Change(event=event, at=NOW, actor="member at home")


def book_with(terms=None, consent_id: str = "group-tariff") -> ConsentBook:
    book = ConsentBook(household=HOUSEHOLD)
    event = book.next_event(consent_id, change(), terms=terms or offer().terms)
    return book.with_event(encode_event(event), Authority.HOME)


@given(
    meter=st.sampled_from(["main", "pv"]),
    quantity=st.sampled_from(list(Quantity)),
    purpose=st.sampled_from(list(Purpose)),
    resolution=st.sampled_from(list(Resolution)),
    start=st.integers(1_735_689_600, 1_861_920_000).map(
        lambda s: datetime.fromtimestamp(s, tz=UTC)
    ),
    minutes=st.integers(1, 60 * 24 * 31),
)
def test_nothing_passes_that_is_not_within_every_term(
    meter, quantity, purpose, resolution, start, minutes
) -> None:
    grant = book_with().grants["group-tariff"]
    terms = grant.terms
    end = start + timedelta(minutes=minutes)
    reason = admit(
        grant,
        stream=StreamKey(meter=meter, quantity=quantity, purpose=purpose),
        resolution=resolution,
        start=start,
        end=end,
    )
    allowed = (
        meter in terms.meters
        and quantity in terms.quantities
        and purpose is terms.purpose
        and not resolution.is_finer_than(terms.resolution)
        and start >= terms.valid_from
        and end <= terms.valid_to
    )
    assert (reason is None) == allowed


def test_no_grant_means_no() -> None:
    stream = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.BILLING)
    assert (
        admit(None, stream=stream, resolution=Resolution.MONTH, start=NOW, end=NOW)
        is Withheld.NO_GRANT
    )


def test_fresh_conditions_hold_nothing() -> None:
    assert [hold(purpose, FRESH) for purpose in Purpose] == [None] * len(Purpose)


def with_conditions(**changed: object) -> Conditions:
    fields = {name: getattr(FRESH, name) for name in FRESH.__dataclass_fields__}
    return Conditions(**{**fields, **changed})


def test_a_pause_holds_everything_even_billing() -> None:
    assert hold(Purpose.BILLING, with_conditions(paused=True)) is Withheld.PAUSED


def test_an_unsynchronised_clock_holds_everything() -> None:
    conditions = with_conditions(clock_synchronised=False)
    assert hold(Purpose.BILLING, conditions) is Withheld.CLOCK_NOT_SYNCHRONISED


@pytest.mark.parametrize("confirmed", [None, NOW - timedelta(days=8)])
def test_unconfirmed_consents_fail_closed_for_all_but_billing(confirmed) -> None:
    conditions = with_conditions(policy_confirmed_at=confirmed)
    assert hold(Purpose.BILLING, conditions) is None
    for purpose in set(Purpose) - {Purpose.BILLING}:
        assert hold(purpose, conditions) is Withheld.POLICY_NOT_CONFIRMED


def test_consents_confirmed_a_week_ago_to_the_second_still_hold() -> None:
    a_week = FRESH.policy_valid_for
    assert hold(Purpose.RESEARCH, with_conditions(policy_confirmed_at=NOW - a_week)) is None
    later = with_conditions(policy_confirmed_at=NOW - a_week - timedelta(seconds=1))
    assert hold(Purpose.RESEARCH, later) is Withheld.POLICY_NOT_CONFIRMED


@pytest.mark.parametrize("event", [EventType.NARROWED, EventType.WITHDRAWN])
def test_what_was_never_given_can_be_neither_narrowed_nor_withdrawn(event: EventType) -> None:
    with pytest.raises(BadConsentEvent, match="no such consent here"):
        ConsentBook(household=HOUSEHOLD).next_event("c", change(event), terms=offer().terms)


def test_an_older_version_is_refused_as_a_roll_back() -> None:
    book = ConsentBook(household=HOUSEHOLD)
    first = encode_event(book.next_event("c", change(), terms=offer().terms))
    book = book.with_event(first, Authority.HOME)
    withdrawn = encode_event(book.next_event("c", change(EventType.WITHDRAWN)))
    after = book.with_event(withdrawn, Authority.HOME)

    with pytest.raises(BadConsentEvent, match="roll back"):
        after.with_event(first, Authority.HOME)
    assert after.with_event(withdrawn, Authority.COOP) is after
    assert list(after.live()) == []


def test_an_event_of_another_household_is_refused() -> None:
    other = ConsentBook(household="h-9999")
    payload = encode_event(other.next_event("c", change(), terms=offer().terms))
    with pytest.raises(BadConsentEvent, match="household"):
        ConsentBook(household=HOUSEHOLD).with_event(payload, Authority.HOME)


def test_a_signature_counts_only_for_its_key_and_its_kind() -> None:
    home, coop, stranger = (Ed25519PrivateKey.generate() for _ in range(3))
    ring = Keyring(
        home={key_id_of(public_bytes(home)): public_bytes(home)},
        coop={key_id_of(public_bytes(coop)): public_bytes(coop)},
    )
    assert ring.open_event(sign_message(home, DOMAIN_CONSENT, b"{}"))[1] is Authority.HOME
    assert ring.open_event(sign_message(coop, DOMAIN_CONSENT, b"{}"))[1] is Authority.COOP
    for forged in (
        sign_message(stranger, DOMAIN_CONSENT, b"{}"),
        sign_message(home, DOMAIN_BATCH, b"{}"),
    ):
        with pytest.raises(BadSignature):
            ring.open_event(forged)


def test_of_two_consents_for_one_stream_the_finer_counts() -> None:
    book = book_with()
    minute = msgspec.structs.replace(offer().terms, resolution=Resolution.MINUTE)
    book = book.with_event(
        encode_event(book.next_event("a-minute", change(), terms=minute)), Authority.HOME
    )
    stream = StreamKey(meter="main", quantity=Quantity.IMPORT_WH, purpose=Purpose.GROUP_TARIFF)
    assert book.streams()[stream].consent_id == "a-minute"
    assert book.finest() is Resolution.MINUTE
