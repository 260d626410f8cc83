"""Batches over HTTP: what is taken in, what is refused, and why."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from cloud.consents.usecases import withdraw_consent
from cloud.database import Database
from cloud.members.roles import Role
from gateway.wire.batch import part_hash
from gateway.wire.consent import EventType
from gateway.wire.reading import Resolution
from tests.cloud.coop_builder import START, HomeGateway


def test_granted_readings_are_accepted_and_counted(coop, home, terms):
    home.give(terms)
    answer = home.send(home.part(terms, START - timedelta(hours=1), (100, 200, 300, 400)))
    assert [(part.outcome, part.accepted) for part in answer.parts] == [("accepted", 4)]
    assert coop.services.store.counts().intervals_distinct == 4


def test_the_same_batch_again_is_a_duplicate(coop, home, terms):
    home.give(terms)
    batch = home.batch(home.part(terms, START - timedelta(hours=1), (1, 2, 3)))
    first, second = home.send_raw(batch).json(), home.send_raw(batch).json()
    assert (first["parts"][0]["accepted"], first["parts"][0]["duplicate"]) == (3, 0)
    assert (second["parts"][0]["accepted"], second["parts"][0]["duplicate"]) == (0, 3)
    assert coop.services.store.counts().energy_wh == {("import_wh", "group_tariff"): 6}


def test_readings_without_a_grant_are_refused_and_nothing_is_stored(coop, home, terms):
    answer = home.send(home.part(terms, START - timedelta(hours=1), (1,)))
    assert answer.parts[0].outcome == "refused"
    assert [item.reason for item in answer.parts[0].refused] == ["no_grant"]
    assert coop.services.store.counts().intervals_distinct == 0


def test_readings_queued_before_a_withdrawal_are_refused_after_it(home, terms):
    home.give(terms)
    home.sync(home.event(EventType.WITHDRAWN, None))
    answer = home.send(home.part(terms, START - timedelta(hours=1), (1,)))
    assert [item.reason for item in answer.parts[0].refused] == ["withdrawn"]


def test_readings_queued_before_a_renewal_stay_welcome(home, terms):
    home.give(terms)
    later = msgspec.structs.replace(terms, valid_from=START)
    home.sync(home.event(EventType.RENEWED, later))
    old = home.part(terms, START - timedelta(hours=1), (1,))
    new = home.part(later, START - timedelta(minutes=15), (1,), grant="group-tariff@2")
    reasons = [[item.reason for item in part.refused] for part in home.send(old, new).parts]
    assert reasons == [[], ["not_yet_valid"]]


def test_a_finer_step_than_granted_is_refused_even_in_disguise(home, terms):
    home.give(msgspec.structs.replace(terms, resolution=Resolution.HOUR))
    start = START - timedelta(hours=2)
    open_lie = home.part(terms, start, (1,), resolution=Resolution.QUARTER_HOUR)
    disguised = home.part(terms, start, (1, 1), resolution=Resolution.HOUR)
    parts = home.send(open_lie, disguised).parts
    assert {item.reason for part in parts for item in part.refused} == {"finer_than_granted"}
    assert sum(part.accepted for part in parts) == 0


@pytest.mark.parametrize("epoch", [0, 1])
def test_shifted_intervals_are_refused_as_their_differences_are_finer(coop, home, terms, epoch):
    home.give(terms)
    start = START - timedelta(hours=2)
    home.send(home.part(terms, start, (1, 1, 1)))
    shifted = home.part(terms, start + timedelta(minutes=7), (1, 1, 1))
    answer = home.send(msgspec.structs.replace(shifted, epoch=epoch))
    assert [part.accepted for part in answer.parts] == [0]
    assert {item.reason for item in answer.parts[0].refused} == {"finer_than_granted"}


def test_intervals_from_the_future_are_refused_one_by_one(home, terms):
    home.give(terms)
    part = home.part(terms, START - timedelta(minutes=15), (1, 2, 3))
    answer = home.send(part)
    assert answer.parts[0].accepted == 1
    assert {item.reason for item in answer.parts[0].refused} == {"in_the_future"}
    assert len(answer.parts[0].refused) == 2


def test_a_home_cannot_use_the_grant_of_another(coop, home, terms):
    home.give(terms)
    _person, browser = coop.member("bob@example.org")
    other = HomeGateway(client=coop.client, clock=coop.clock)
    other.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
    answer = other.send(other.part(terms, START - timedelta(hours=1), (1,)))
    assert [item.reason for item in answer.parts[0].refused] == ["no_grant"]


def test_a_withdrawal_by_another_process_counts_for_the_very_next_batch(coop, home, terms):
    """The door remembers senders; another connection's commit makes it forget at once."""
    home.give(terms)
    assert home.send(home.part(terms, START - timedelta(hours=2), (1,))).parts[0].accepted == 1
    elsewhere = Database(coop.services.settings.database_address)
    with elsewhere.transaction() as connection:
        withdraw_consent(
            connection,
            household=home.household,
            consent_id="group-tariff",
            key=coop.services.keys.coop,
            now=coop.clock(),
        )
    elsewhere.close()
    answer = home.send(home.part(terms, START - timedelta(hours=1), (1,)))
    assert [item.reason for item in answer.parts[0].refused] == ["withdrawn"]


def test_another_batch_under_a_used_number_is_a_conflict(home, terms):
    home.give(terms)
    home.send(home.part(terms, START - timedelta(hours=2), (1,)))
    home.batch_seq -= 1
    other = home.batch(home.part(terms, START - timedelta(hours=1), (2,)))
    answer = home.send_raw(other)
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:commonwatt:problem:batch-number-reused",
    )


def test_a_batch_in_the_name_of_another_gateway_is_refused(home, terms):
    home.give(terms)
    batch = home.batch(home.part(terms, START - timedelta(hours=1), (1,)))
    foreign = msgspec.structs.replace(batch, gateway="0" * 32)
    assert home.send_raw(foreign).status_code == 400


def test_a_store_that_takes_nothing_is_a_503_to_come_back_to(coop, home, terms):
    home.give(terms)
    coop.services.store.close()
    answer = home.send_raw(home.batch(home.part(terms, START - timedelta(hours=1), (1,))))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_a_broken_chain_is_shown_to_the_home_and_counted_for_the_operator(coop, terms):
    _person, browser = coop.member()
    home = HomeGateway(client=coop.client, clock=coop.clock)
    home.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
    home.give(terms)
    home.send(home.part(terms, START - timedelta(hours=4), (1, 2)))
    assert browser.get("/api/v1/gateways/shortfalls").json() == {"gaps": [], "broken_chains": []}
    lost = home.part(terms, START - timedelta(hours=3), (1, 2))
    later = home.part(terms, START - timedelta(hours=2), (1, 2), prev=part_hash(lost))
    assert home.send(later).parts[0].accepted == 2
    (broken,) = browser.get("/api/v1/gateways/shortfalls").json()["broken_chains"]
    assert (broken["meter"], broken["parts_missing"]) == ("main", 1)
    assert "One message is missing" in browser.get("/home").text
    operator = coop.browser_of(coop.person(Role.OPERATOR, email="op@example.org"))
    (seen,) = operator.get("/api/v1/gateways/broken-chains").json()
    assert (seen["gateway"], seen["parts_missing"]) == (home.key_id, 1)
    assert "meter" not in seen
    assert browser.get("/api/v1/gateways/broken-chains").status_code == 403
