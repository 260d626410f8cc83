"""Consents: narrow anywhere, widen only at home; what is withdrawn is erased; receipts verify."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DatabaseError

from cloud.consents import repository
from cloud.consents.offers import usual_offers
from cloud.consents.usecases import (
    EXPIRY_NOTED_AFTER,
    LATE_ARRIVALS,
    erase_what_was_withdrawn,
    grants_of,
    note_expiries,
    publish_offers,
    withdraw_consent,
)
from gateway.wire.consent import Authority, EventType, Grant, Terms, apply_event, fold
from gateway.wire.log_proof import check_inclusion, leaf_hash, read_checkpoint
from gateway.wire.reading import Purpose, Quantity, Resolution
from gateway.wire.session import KnownConsent
from gateway.wire.signing import DOMAIN_CONSENT, SignedMessage, open_message, public_bytes
from tests.cloud.coop_builder import START, HomeGateway

KNOWN = (KnownConsent(consent_id="group-tariff", version=1),)


@pytest.fixture
def member(coop):
    """A member with a paired gateway and a given consent, and the member's browser."""
    _person, browser = coop.member()
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    gateway.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
    return gateway, browser


@pytest.fixture
def agreed(member, terms):
    gateway, browser = member
    gateway.give(terms)
    return gateway, browser


def test_a_withdrawal_on_the_web_reaches_the_gateway_signed_by_the_coop(coop, agreed):
    gateway, browser = agreed
    answer = browser.post("/api/v1/consents/group-tariff/withdraw")
    assert answer.status_code == 200
    events = gateway.sync(known=KNOWN).events
    payload = open_message(events[0], DOMAIN_CONSENT, public_bytes(coop.services.keys.coop))
    assert json.loads(payload)["event"] == "withdrawn"


def test_gateway_and_cloud_fold_the_same_events_to_the_same_grants(coop, agreed):
    gateway, browser = agreed
    browser.post("/api/v1/consents/group-tariff/narrow", json={"resolution": "PT1H"})
    coop_key = coop.services.keys.coop
    at_home = []
    for message in gateway.sync(known=()).events:
        is_home = message.key == gateway.key_id
        key = gateway.key if is_home else coop_key
        payload = open_message(message, DOMAIN_CONSENT, public_bytes(key))
        at_home.append((payload, Authority.HOME if is_home else Authority.COOP))
    with coop.services.database.reading() as connection:
        assert fold(at_home) == grants_of(connection, gateway.household)


def test_narrowing_counts_for_the_very_next_batch(agreed, terms):
    gateway, browser = agreed
    before = gateway.send(gateway.part(terms, START - timedelta(hours=2), (1,)))
    browser.post("/api/v1/consents/group-tariff/narrow", json={"resolution": "PT1H"})
    after = gateway.send(gateway.part(terms, START - timedelta(hours=1), (1,)))
    assert before.parts[0].accepted == 1
    assert [item.reason for item in after.parts[0].refused] == ["finer_than_granted"]


@pytest.mark.parametrize(
    "wider",
    [
        {"resolution": "PT1M"},
        {"quantities": ["import_wh", "export_wh", "ev_wh"]},
        {"meters": ["main", "garage"]},
        {"recipients": ["coop", "public"]},
        {"group_min": 1},
        {"retention_days": 4000},
        {"valid_to": "2036-01-01T00:00:00Z"},
    ],
)
def test_the_web_cannot_widen(agreed, wider):
    _gateway, browser = agreed
    answer = browser.post("/api/v1/consents/group-tariff/narrow", json=wider)
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:commonwatt:problem:bad-consent-event",
    )
    assert browser.get("/api/v1/consents").json()[0]["version"] == 1


def test_narrowing_nothing_is_a_mistake_said_so(agreed):
    _gateway, browser = agreed
    assert browser.post("/api/v1/consents/group-tariff/narrow", json={}).status_code == 422


def test_a_dead_consent_cannot_be_withdrawn_again_and_can_be_given_anew_at_home(agreed, terms):
    gateway, browser = agreed
    browser.post("/api/v1/consents/group-tariff/withdraw")
    assert browser.post("/api/v1/consents/group-tariff/withdraw").status_code == 409
    message = gateway.sync(known=KNOWN).events[0]
    gateway.heads["group-tariff"] = (2, hashlib.sha256(message.payload.encode()).hexdigest())
    assert gateway.give(terms).version == 3


def test_a_consent_made_at_home_while_the_web_withdrew_loses_and_is_told_why(agreed, terms):
    gateway, browser = agreed
    browser.post("/api/v1/consents/group-tariff/withdraw")
    renewed = gateway.event(EventType.RENEWED, terms)
    counts_its_own = (KnownConsent(consent_id="group-tariff", version=2),)
    answer = gateway.sync(renewed, known=counts_its_own)
    assert answer.accepted == ()
    assert [json.loads(item.payload)["event"] for item in answer.events] == ["withdrawn"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"resolution": Resolution.MINUTE}, "resolution"),
        ({"recipients": ("coop", "supplier", "data broker")}, "recipients"),
        ({"group_min": 14}, "group_min"),
        ({"retention_days": 501}, "retention_days"),
        ({"quantities": (Quantity.IMPORT_WH, Quantity.EV_WH)}, "quantities"),
        ({"purpose": Purpose.RESEARCH, "retention_days": 9_000}, "purpose, retention_days"),
        ({"valid_to": START + timedelta(days=366)}, "valid_to"),
    ],
)
def test_a_yes_to_more_than_the_cited_text_asks_for_is_refused_by_name(
    coop, member, terms, changed, named
):
    gateway, _browser = member
    wide = gateway.event(EventType.GIVEN, msgspec.structs.replace(terms, **changed))
    answer = gateway.sync(wide)
    assert answer.accepted == ()
    assert [item.reason for item in answer.refused] == [
        f"consent group-tariff: it gives more than the text it cites asks for: {named}"
    ]
    with coop.services.database.reading() as connection:
        assert grants_of(connection, gateway.household) == {}


def test_a_renewal_may_not_give_more_than_its_text_either(agreed, terms):
    gateway, _browser = agreed
    wide = msgspec.structs.replace(terms, retention_days=501)
    answer = gateway.sync(gateway.event(EventType.RENEWED, wide))
    assert (answer.accepted, len(answer.refused)) == ((), 1)


def test_a_yes_to_less_or_to_other_meters_is_taken(member, terms):
    gateway, _browser = member
    less = msgspec.structs.replace(
        terms, meters=("attic", "garage"), resolution=Resolution.DAY, group_min=99
    )
    assert gateway.give(less).version == 1


def test_a_text_that_was_never_published_cannot_be_agreed_to(member, terms):
    gateway, _browser = member
    notice = msgspec.structs.replace(terms.notice, sha256="0" * 64)
    answer = gateway.sync(
        gateway.event(EventType.GIVEN, msgspec.structs.replace(terms, notice=notice))
    )
    assert "never published" in answer.refused[0].reason


def test_a_yes_to_an_offer_that_was_replaced_since_is_taken(coop, member, terms):
    gateway, _browser = member
    narrower = msgspec.structs.replace(
        usual_offers("Co-op", group_min=15)[0], notice_text="Less.", retention_days=10
    )
    with coop.services.database.transaction() as connection:
        publish_offers(connection, [narrower], now=coop.clock())
    assert gateway.give(terms).version == 1


def test_a_consent_that_ran_out_is_put_on_record_as_expired_on_both_sides(coop, agreed, terms):
    gateway, _browser = agreed
    coop.clock.turn(days=364)
    assert expire(coop) == 0
    coop.clock.turn(days=EXPIRY_NOTED_AFTER.days + 1)
    assert (expire(coop), expire(coop)) == (1, 0)
    events = gateway.sync(known=KNOWN).events
    payload = open_message(events[0], DOMAIN_CONSENT, public_bytes(coop.services.keys.coop))
    at_home = apply_event(given(gateway, terms), payload, Authority.COOP)
    assert at_home.state is EventType.EXPIRED
    with coop.services.database.reading() as connection:
        assert grants_of(connection, gateway.household)["group-tariff"] == at_home


def test_what_came_under_a_consent_stays_when_it_expires_and_goes_when_it_is_withdrawn_then(
    coop, agreed, terms
):
    gateway, _browser = agreed
    gateway.send(gateway.part(terms, START - timedelta(hours=1), (5, 6)))
    coop.clock.turn(days=400)
    assert expire(coop) == 1
    erase_what_was_withdrawn(coop.services.database, coop.services.store, coop.clock())
    assert coop.services.store.counts().intervals_distinct == 2
    with coop.services.database.transaction() as connection:
        withdraw_consent(
            connection,
            household=gateway.household,
            consent_id="group-tariff",
            key=coop.services.keys.coop,
            now=coop.clock(),
        )
    erase_what_was_withdrawn(coop.services.database, coop.services.store, coop.clock())
    assert coop.services.store.counts().intervals_distinct == 0


def test_readings_of_the_time_agreed_to_are_welcome_after_the_expiry_too(coop, agreed, terms):
    gateway, _browser = agreed
    coop.clock.turn(days=400)
    expire(coop)
    late = gateway.part(terms, terms.valid_to - timedelta(minutes=15), (7, 8))
    answer = gateway.send(late).parts[0]
    assert (answer.accepted, [item.reason for item in answer.refused]) == (1, ["expired"])


def expire(coop):
    services = coop.services
    return note_expiries(services.database, services.keys.coop, coop.clock())


def given(gateway, terms):
    """The grant after a first yes, as the gateway holds it."""
    return Grant(
        consent_id="group-tariff",
        version=1,
        household=gateway.household,
        state=EventType.GIVEN,
        since=START,
        terms=terms,
        head=gateway.heads["group-tariff"][1],
    )


def offered(coop):
    """The terms of each offer on the table."""
    return {
        offer["offer_id"]: msgspec.convert(offer["terms"], type=Terms)
        for offer in coop.client.get("/api/v1/offers").json()
    }


def test_withdrawing_erases_the_streams_of_that_purpose_only(coop, agreed, terms):
    gateway, browser = agreed
    asked = offered(coop)["billing"]
    billing = msgspec.structs.replace(asked, valid_from=terms.valid_from)
    gateway.give(billing, "billing")
    start = START - timedelta(hours=1)
    gateway.send(
        gateway.part(terms, start, (5, 6)),
        gateway.part(billing, start, (5, 6), grant="billing@1"),
    )
    browser.post("/api/v1/consents/group-tariff/withdraw")
    left = coop.services.store.streams(gateway.household)
    assert [stream.purpose for stream in left] == ["billing"]


def test_readings_that_slip_in_at_the_moment_of_withdrawal_are_erased_too(coop, agreed, terms):
    gateway, browser = agreed
    batch = gateway.batch(gateway.part(terms, START - timedelta(hours=1), (5,)))
    browser.post("/api/v1/consents/group-tariff/withdraw")
    slip_past_the_door(coop, gateway, batch)
    assert coop.services.store.streams(gateway.household) != ()
    coop.clock.turn(seconds=LATE_ARRIVALS.total_seconds())
    services = coop.services
    erase_what_was_withdrawn(services.database, services.store, coop.clock())
    assert services.store.streams(gateway.household) == ()
    with services.database.reading() as connection:
        assert repository.erasures_due(connection) == []
    kinds = [
        json.loads(item)["kind"]
        for item in coop.client.get("/log/entries?count=500").json()["entries"]
    ]
    assert kinds[-1] == "erasure.done"


def slip_past_the_door(coop, gateway, batch):
    from cloud.readings.ports import CheckedBatch, CheckedPart

    parts = tuple(CheckedPart(part=part, admissible=tuple(part.readings())) for part in batch.parts)
    coop.services.store.append(
        CheckedBatch(
            household=gateway.household,
            gateway=gateway.key_id,
            seq=batch.seq,
            payload=b"late",
            signature="",
            received_at=coop.clock(),
            parts=parts,
        )
    ).result()


def test_a_receipt_verifies_with_nothing_but_pinned_keys(coop, agreed):
    gateway, browser = agreed
    receipt = browser.get("/api/v1/consents/group-tariff/receipts/1").json()
    event = receipt["event"]
    message = SignedMessage(payload=event["payload"], key=event["key"], sig=event["sig"])
    payload = open_message(message, DOMAIN_CONSENT, public_bytes(gateway.key))
    opened = hashlib.sha256(bytes.fromhex(receipt["salt"]) + payload).hexdigest()
    assert json.loads(receipt["entry"])["facts"]["commitment"] == opened
    head, _, note = receipt["proof"].partition("\n\n")
    lines = head.split("\n")
    checkpoint = read_checkpoint(
        note,
        origin=coop.services.settings.log_origin,
        public_key=public_bytes(coop.services.keys.log),
    )
    check_inclusion(
        root=checkpoint.root,
        size=checkpoint.size,
        index=int(lines[1].removeprefix("index ")),
        leaf=leaf_hash(receipt["entry"].encode()),
        proof=[base64.b64decode(line) for line in lines[2:]],
    )


def test_the_record_says_what_iso_27560_asks_for(agreed):
    _gateway, browser = agreed
    answer = browser.get("/api/v1/consents/group-tariff/record")
    assert answer.headers["content-type"] == "application/ld+json"
    record = answer.json()
    process = record["dpv:hasProcess"]
    assert record["dpv:hasConsentStatus"].endswith("#ConsentGiven")
    assert record["dpv:hasNotice"]["dct:language"] == "en"
    for field in (
        "dpv:hasPurpose",
        "dpv:hasPersonalData",
        "dpv:hasDataController",
        "dpv:hasRecipient",
        "dpv:hasStorageCondition",
        "dpv:hasJurisdiction",
        "dpv:hasDuration",
        "coop:withdrawalMethod",
    ):
        assert process[field], field
    assert json.loads(record["coop:events"][0]["coop:signedPayload"])["version"] == 1


def test_the_database_itself_refuses_to_change_an_event(coop, agreed):
    del agreed
    for statement in (
        update(repository.consent_events).values(payload="{}"),
        delete(repository.consent_events),
    ):
        with (
            pytest.raises(DatabaseError, match="never changed or deleted"),
            coop.services.database.transaction() as connection,
        ):
            connection.execute(statement)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/consents/group-tariff/events"),
        ("GET", "/api/v1/consents/group-tariff/record"),
        ("GET", "/api/v1/consents/group-tariff/receipts/1"),
        ("POST", "/api/v1/consents/group-tariff/withdraw"),
        ("POST", "/api/v1/consents/group-tariff/narrow"),
    ],
)
def test_another_member_finds_nothing_of_it(coop, agreed, method, path):
    gateway, _browser = agreed
    _person, stranger = coop.member("bob@example.org")
    sent = {"json": {"resolution": "PT1H"}} if path.endswith("narrow") else {}
    assert stranger.request(method, path, **sent).status_code == 404
    assert coop.new_browser().request(method, path, **sent).status_code == 401
    assert stranger.get("/api/v1/consents").json() == []
    assert gateway.sync(known=KNOWN).events == ()


def test_offers_show_the_exact_text_whose_hash_the_terms_carry(coop):
    for offer in coop.client.get("/api/v1/offers").json():
        digest = hashlib.sha256(offer["notice_text"].encode()).hexdigest()
        assert offer["terms"]["notice"]["sha256"] == digest
    assert Resolution.QUARTER_HOUR.value in str(coop.client.get("/api/v1/offers").json())
