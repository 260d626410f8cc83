"""Pairing by claim code, syncing with a rising counter, rotating and revoking keys."""

from __future__ import annotations

import base64

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.gateways.claim_code import ALPHABET, make_code, normal_form
from cloud.members.roles import Role
from gateway.wire.codec import encode
from gateway.wire.consent import EventType
from gateway.wire.log_proof import check_consistency, read_checkpoint
from gateway.wire.session import (
    PATH_PAIR,
    PATH_ROTATE,
    PATH_SYNC,
    KnownConsent,
    PairAnswer,
    RotateRequest,
    SyncRequest,
)
from gateway.wire.signing import (
    DOMAIN_PAIR,
    DOMAIN_ROTATE,
    DOMAIN_SYNC,
    HEADER_KEY,
    open_message,
    public_bytes,
    public_key_to_text,
    signature_of,
)
from tests.cloud.coop_builder import HomeGateway


def claim_for(browser):
    response = browser.post("/api/v1/gateways/claims")
    assert response.status_code == 201, response.text
    return response.json()["claim_code"]


def new_gateway(coop):
    return HomeGateway(client=coop.client, clock=coop.clock)


def test_a_claim_code_binds_a_gateway_to_the_home_that_made_it(coop):
    person, browser = coop.member()
    gateway = new_gateway(coop)
    answer = msgspec.json.decode(gateway.pair(claim_for(browser)).content, type=PairAnswer)
    assert answer.household == person.household
    assert answer.coop_key == public_key_to_text(public_bytes(coop.services.keys.coop))
    assert [item["gateway"] for item in browser.get("/api/v1/gateways").json()] == [gateway.key_id]
    assert {offer.offer_id for offer in answer.offers} >= {"group-tariff", "billing"}


def test_a_claim_code_may_be_typed_as_people_type(coop):
    _person, browser = coop.member()
    code = claim_for(browser).lower().replace("-", " ")
    assert new_gateway(coop).pair(code).status_code == 200


def test_a_claim_code_works_once(coop):
    _person, browser = coop.member()
    code = claim_for(browser)
    assert new_gateway(coop).pair(code).status_code == 200
    second = new_gateway(coop).pair(code)
    assert (second.status_code, second.json()["type"]) == (
        403,
        "urn:commonwatt:problem:bad-claim-code",
    )


def test_a_pairing_whose_answer_was_lost_can_be_asked_again_by_the_same_key_only(coop):
    _person, browser = coop.member()
    gateway, code = new_gateway(coop), claim_for(browser)
    assert gateway.pair(code).status_code == 200
    assert gateway.pair(code).status_code == 200
    assert new_gateway(coop).pair(code).status_code == 403
    assert len(browser.get("/api/v1/gateways").json()) == 1


def test_a_claim_code_dies_after_fifteen_minutes(coop):
    _person, browser = coop.member()
    code = claim_for(browser)
    coop.clock.turn(minutes=15)
    assert new_gateway(coop).pair(code).status_code == 403


def test_a_new_claim_code_ends_the_one_before(coop):
    _person, browser = coop.member()
    first, second = claim_for(browser), claim_for(browser)
    assert new_gateway(coop).pair(first).status_code == 403
    assert new_gateway(coop).pair(second).status_code == 200


def test_claim_codes_are_long_enough_not_to_be_guessed():
    signs = normal_form(make_code())
    assert len(ALPHABET) ** len(signs) >= 2**50
    assert set(signs) <= set(ALPHABET)


def test_guessing_claim_codes_is_rate_limited(coop):
    gateway = new_gateway(coop)
    answers = [gateway.pair(make_code()).status_code for _ in range(21)]
    assert answers == [403] * 20 + [429]


def test_pairing_needs_possession_of_the_key(coop):
    _person, browser = coop.member()
    code = claim_for(browser)
    gateway, thief = new_gateway(coop), new_gateway(coop)
    request = {
        "claim_code": code,
        "public_key": public_key_to_text(public_bytes(gateway.key)),
        "made_at": "2026-03-02T12:00:00Z",
        "software": "test",
    }
    payload = msgspec.json.encode(request)
    stolen = thief.post(PATH_PAIR, DOMAIN_PAIR, payload, **{HEADER_KEY: gateway.key_id})
    assert stolen.status_code == 401
    assert gateway.pair(code).status_code == 200, "the failed try must not use the code up"


def test_a_home_made_consent_goes_on_record_and_into_the_log(coop, home, terms):
    answer = home.sync(home.event(EventType.GIVEN, terms))
    assert answer.accepted == (KnownConsent(consent_id="group-tariff", version=1),)
    assert answer.events == (), "the gateway has it already"
    kinds = [msgspec.json.decode(item)["kind"] for item in log_entries(coop)]
    assert kinds[-1] == "consent.event"
    assert home.household not in "".join(log_entries(coop))


def log_entries(coop):
    return coop.client.get("/log/entries", params={"count": 500}).json()["entries"]


def test_a_lost_answer_does_no_harm(coop, home, terms):
    event = home.event(EventType.GIVEN, terms)
    first, second = home.sync(event), home.sync(event)
    assert first.accepted == second.accepted
    assert len([item for item in log_entries(coop) if "consent.event" in item]) == 1


def test_a_replayed_sync_is_refused(home):
    request = SyncRequest(
        gateway=home.key_id, sent_at=home.clock(), counter=5, known=(), software="test"
    )
    assert home.post(PATH_SYNC, DOMAIN_SYNC, encode(request)).status_code == 200
    replay = home.post(PATH_SYNC, DOMAIN_SYNC, encode(request))
    assert (replay.status_code, replay.json()["type"]) == (
        409,
        "urn:commonwatt:problem:counter-not-raised",
    )


def test_each_sync_proves_that_the_log_only_grew(coop, home, terms):
    settings, log_key = coop.services.settings, public_bytes(coop.services.keys.log)

    def read(note):
        return read_checkpoint(note, origin=settings.log_origin, public_key=log_key)

    old = read(home.sync().checkpoint)
    home.give(terms)
    answer = home.sync(checkpoint_size=old.size)
    proof = [bytes.fromhex(item) for item in answer.consistency]
    new = read(answer.checkpoint)
    assert new.size == old.size + 1
    check_consistency(old=old, new=new, proof=proof)


def test_an_event_for_another_home_is_left_out_and_the_rest_taken(home, terms):
    real = home.household
    home.household = "h-somebody-else"
    foreign = home.event(EventType.GIVEN, terms, "foreign")
    home.household = real
    answer = home.sync(foreign, home.event(EventType.GIVEN, terms))
    assert [item.consent_id for item in answer.accepted] == ["group-tariff"]


def test_an_event_signed_by_another_key_is_left_out(home, terms):
    home.key, own = Ed25519PrivateKey.generate(), home.key
    forged = home.event(EventType.GIVEN, terms)
    home.key = own
    assert home.sync(forged).accepted == ()


def test_a_second_gateway_of_the_home_learns_what_the_first_agreed_to(coop):
    _person, browser = coop.member()
    first, second = new_gateway(coop), new_gateway(coop)
    first.pair(claim_for(browser))
    second.pair(claim_for(browser))
    offered = coop.client.get("/api/v1/offers").json()[0]["terms"]
    event = first.event(EventType.GIVEN, msgspec.convert(offered, type=type_of_terms()))
    first.sync(event)
    events = second.sync().events
    assert events == (event,)
    assert open_message(events[0], "consent/1", public_bytes(first.key))


def type_of_terms():
    from gateway.wire.consent import Terms

    return Terms


def rotate(home, new_key, *, proof_by=None):
    request = RotateRequest(
        gateway=home.key_id,
        new_public_key=public_key_to_text(public_bytes(new_key)),
        proof=signature_of(proof_by or new_key, DOMAIN_ROTATE, home.key_id.encode()),
        made_at=home.clock(),
    )
    return home.post(PATH_ROTATE, DOMAIN_ROTATE, encode(request))


def test_a_rotated_key_takes_over_and_the_old_one_counts_no_more(home, terms):
    home.give(terms)
    new_key, old_key = Ed25519PrivateKey.generate(), home.key
    assert rotate(home, new_key).status_code == 204
    assert home.sync_raw().status_code == 403
    home.key, home.counter = new_key, 0
    assert home.sync(known=(KnownConsent(consent_id="group-tariff", version=1),)).events == ()
    assert old_key is not new_key


def test_a_rotation_whose_answer_was_lost_can_be_asked_again(home):
    new_key = Ed25519PrivateKey.generate()
    assert rotate(home, new_key).status_code == 204
    assert rotate(home, new_key).status_code == 204
    assert rotate(home, Ed25519PrivateKey.generate()).status_code == 403


def test_rotation_needs_both_keys(home):
    new_key = Ed25519PrivateKey.generate()
    assert rotate(home, new_key, proof_by=home.key).status_code == 401
    assert home.sync_raw().status_code == 200


def test_a_revoked_gateway_is_refused_at_every_door(coop, home, terms):
    home.give(terms)
    person = coop.person(Role.OPERATOR, email="op@example.org")
    operator = coop.browser_of(person)
    assert operator.post(f"/api/v1/gateways/{home.key_id}/revoke").status_code == 204
    batch = home.batch(home.part(terms, home.clock().replace(hour=10), (1,)))
    answers = [home.sync_raw(), home.send_raw(batch), rotate(home, Ed25519PrivateKey.generate())]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert operator.post(f"/api/v1/gateways/{home.key_id}/revoke").status_code == 409


@pytest.mark.parametrize(
    ("payload", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b'{"v":2}', 400), (b"\xff\xfe", 400)],
)
def test_nonsense_from_a_known_key_is_a_clear_400(home, payload, status):
    answer = home.post(PATH_SYNC, DOMAIN_SYNC, payload)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_signature_made_for_another_kind_of_message_does_not_count(home):
    request = SyncRequest(
        gateway=home.key_id, sent_at=home.clock(), counter=5, known=(), software="test"
    )
    assert home.post(PATH_SYNC, DOMAIN_PAIR, encode(request)).status_code == 401


def test_an_unknown_key_is_told_to_pair(coop):
    stranger = new_gateway(coop)
    answer = stranger.sync_raw()
    assert (answer.status_code, answer.json()["type"]) == (
        401,
        "urn:commonwatt:problem:unknown-gateway",
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "br"}, 400),
        ({"Content-Encoding": "identity"}, 401),
        ({"Commonwatt-Signature": "x" * 500}, 401),
        ({"Commonwatt-Signature": base64.b64encode(b"0" * 64).decode()}, 401),
        ({"Commonwatt-Key": "nobody"}, 401),
    ],
)
def test_broken_envelopes_are_refused(home, headers, status):
    request = SyncRequest(
        gateway=home.key_id, sent_at=home.clock(), counter=5, known=(), software="test"
    )
    assert home.post(PATH_SYNC, DOMAIN_SYNC, encode(request), **headers).status_code == status
