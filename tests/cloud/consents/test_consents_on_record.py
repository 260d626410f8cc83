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
from cloud.consents.usecases import LATE_ARRIVALS, erase_what_was_withdrawn, grants_of
from gateway.wire.consent import Authority, EventType, fold
from gateway.wire.log_proof import check_inclusion, leaf_hash, read_checkpoint
from gateway.wire.reading import Resolution
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


def test_withdrawing_erases_the_streams_of_that_purpose_only(coop, agreed, terms):
    gateway, browser = agreed
    billing = msgspec.structs.replace(terms, purpose="billing")
    billing = msgspec.convert(msgspec.to_builtins(billing), type=type(terms))
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
