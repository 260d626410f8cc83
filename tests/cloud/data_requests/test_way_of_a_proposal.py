"""A proposal to use data, from submission to release: each step needs the one before."""

from __future__ import annotations

import json
from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text as sql

from cloud.consents.offers import offer_of, usual_offers
from cloud.consents.usecases import keep_home_event, publish_offers
from cloud.data_requests import repository, usecases
from cloud.data_requests.proposal import NOTICE_TIME, ProposalText, State, Template
from cloud.erasure import erase_home
from cloud.errors import NotAllowed, StateConflict
from cloud.members.roles import Role
from cloud.members.usecases import add_household
from gateway.wire.consent import EventType
from gateway.wire.signing import public_bytes
from tests.cloud.coop_builder import START, HomeGateway

PATH = "/api/v1/data-requests"
HOMES = 12
BODY = {
    "title": "Evening peaks",
    "question": "How much of the evening peak could move into the night?",
    "purpose": "research",
    "template": "typical_day_576",
    "period_start": "2025-03-01T00:00:00Z",
    "period_end": "2026-03-01T00:00:00Z",
    "recipient": "University of Nowhere",
    "retention_days": 365,
    "modifiers": ["no_link", "no_resell"],
    "price_minor": 120_000,
}


@pytest.fixture
def requester(coop):
    return coop.browser_of(coop.person(Role.REQUESTER, email="r@example.org"))


@pytest.fixture
def board(coop):
    return [
        coop.browser_of(coop.person(Role.BOARD, email=f"board{number}@example.org"))
        for number in range(3)
    ]


def submit(browser, key="k1", **changes):
    return browser.post(PATH, json=BODY | changes, headers={"Idempotency-Key": key})


def review(browser, proposal_id, *, is_for=True):
    opinion = {"is_for": is_for, "reasons": "The five safes were looked at."}
    return browser.post(f"{PATH}/{proposal_id}/reviews", json=opinion)


def approved(coop, requester, board):
    proposal_id = submit(requester).json()["proposal_id"]
    for browser in board[:2]:
        review(browser, proposal_id)
    coop.clock.turn(days=NOTICE_TIME.days)
    with coop.services.database.transaction() as connection:
        usecases.record_vote(
            connection, proposal_id, is_approved=True, tally_sha256="0" * 64, now=coop.clock()
        )
    return proposal_id


def agreeing_homes(coop, count):
    """Homes that agreed to research on the whole year of the proposal."""
    research = next(
        offer for offer in usual_offers("Co-op", group_min=15) if offer.offer_id == "research"
    )
    asked = msgspec.structs.replace(research, group_min=10)
    terms = msgspec.structs.replace(
        offer_of(asked, coop.clock()).terms,
        valid_from=START - timedelta(days=400),
        valid_to=START + timedelta(days=99),
    )
    with coop.services.database.transaction() as connection:
        publish_offers(connection, [asked], now=coop.clock())
    found = []
    with coop.services.database.transaction() as connection:
        for number in range(count):
            household = add_household(connection, label=f"Home {number}", now=coop.clock())
            home = HomeGateway(
                client=None,
                clock=coop.clock,
                key=Ed25519PrivateKey.generate(),
                household=household,
            )
            keep_home_event(
                connection,
                home.event(EventType.GIVEN, terms, "research"),
                household=household,
                public_key=public_bytes(home.key),
                now=coop.clock(),
            )
            found.append(household)
    return found


def freeze(coop, proposal_id, homes_min=10):
    with coop.services.database.transaction() as connection:
        return usecases.freeze_cohort(
            connection, proposal_id, homes_min=homes_min, now=coop.clock()
        )


def kinds(coop):
    entries = coop.client.get("/log/entries?count=500").json()["entries"]
    return [json.loads(entry)["kind"] for entry in entries]


def test_the_whole_way_leaves_a_trace_in_the_log(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    homes = agreeing_homes(coop, HOMES)
    frozen = freeze(coop, proposal_id)
    assert (frozen.state, frozen.cohort_size) == (State.FROZEN, HOMES)
    with coop.services.database.transaction() as connection:
        assert repository.cohort_of(connection, proposal_id) == sorted(homes)
        usecases.record_release(
            connection,
            proposal_id,
            output_sha256="1" * 64,
            people=("p-1", "p-2"),
            now=coop.clock(),
        )
    expected = [
        "proposal.submitted",
        "proposal.vetted",
        "proposal.voted",
        "cohort.frozen",
        "proposal.released",
    ]
    assert [kind for kind in kinds(coop) if kind in expected] == expected
    entries = "".join(coop.client.get("/log/entries?count=500").json()["entries"])
    assert not any(household in entries for household in homes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purpose": "billing"}, "only research"),
        ({"period_end": "2027-01-01T00:00:00Z"}, "not over"),
        ({"period_end": "2024-01-01T00:00:00Z"}, "before it begins"),
        ({"period_start": "2015-01-01T00:00:00Z"}, "longer than"),
        ({"modifiers": []}, "no_link"),
    ],
)
def test_screening_names_every_reason(requester, changes, said):
    answer = submit(requester, **changes)
    assert answer.status_code == 422
    assert any(said in fault["problem"] for fault in answer.json()["errors"])


def test_free_queries_cannot_be_asked(requester):
    assert submit(requester, template="SELECT * FROM readings").status_code == 400
    assert Template.TYPICAL_DAY.cells == 576


def test_two_of_the_board_decide_and_one_does_not(requester, board):
    proposal_id = submit(requester).json()["proposal_id"]
    assert review(board[0], proposal_id).json()["state"] == "screened"
    assert review(board[0], proposal_id).json()["state"] == "screened", "the same voice twice"
    assert review(board[1], proposal_id).json()["state"] == "notice"
    assert review(board[2], proposal_id).status_code == 409


def test_two_against_reject_it(requester, board):
    proposal_id = submit(requester).json()["proposal_id"]
    review(board[0], proposal_id, is_for=False)
    assert review(board[1], proposal_id, is_for=False).json()["state"] == "rejected"


def test_nobody_reviews_a_proposal_of_their_own(coop, board):
    both = coop.browser_of(coop.person(Role.BOARD, Role.REQUESTER, email="both@example.org"))
    proposal_id = submit(both).json()["proposal_id"]
    assert review(both, proposal_id).status_code == 403
    assert review(board[0], proposal_id).status_code == 200


def test_members_are_told_for_fourteen_days_before_a_vote_counts(coop, requester, board):
    proposal_id = submit(requester).json()["proposal_id"]
    for browser in board[:2]:
        review(browser, proposal_id)
    coop.clock.turn(days=13)
    with (
        pytest.raises(StateConflict, match="14 days"),
        coop.services.database.transaction() as connection,
    ):
        usecases.record_vote(
            connection, proposal_id, is_approved=True, tally_sha256="", now=coop.clock()
        )


def test_a_home_that_opted_out_is_not_in_the_cohort(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    homes = agreeing_homes(coop, HOMES)
    with coop.services.database.transaction() as connection:
        usecases.leave_out(
            connection, proposal_id, household=homes[0], is_out=True, now=coop.clock()
        )
    freeze(coop, proposal_id)
    with coop.services.database.reading() as connection:
        assert set(repository.cohort_of(connection, proposal_id)) == set(homes[1:])


def test_too_few_homes_cancel_it(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    agreeing_homes(coop, 9)
    assert freeze(coop, proposal_id).state is State.CANCELLED
    assert "cohort.refused" in kinds(coop)


def test_a_text_changed_after_the_vote_is_found_out(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    with coop.services.database.transaction() as connection:
        connection.execute(sql("UPDATE data_proposals SET text = replace(text, '365', '999')"))
    with pytest.raises(StateConflict, match="changed"):
        freeze(coop, proposal_id)


def test_one_person_cannot_release_alone(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    agreeing_homes(coop, HOMES)
    freeze(coop, proposal_id)
    with (
        pytest.raises(NotAllowed, match="two people"),
        coop.services.database.transaction() as connection,
    ):
        usecases.record_release(
            connection, proposal_id, output_sha256="", people=("p-1", "p-1"), now=coop.clock()
        )


def test_an_erased_home_leaves_the_cohort(coop, requester, board):
    proposal_id = approved(coop, requester, board)
    homes = agreeing_homes(coop, HOMES)
    freeze(coop, proposal_id)
    with coop.services.database.transaction() as connection:
        erase_home(connection, homes[0], now=coop.clock())
        assert homes[0] not in repository.cohort_of(connection, proposal_id)


def test_requesters_see_their_own_and_suppliers_nothing(coop, requester, board):
    submit(requester)
    other = coop.browser_of(coop.person(Role.REQUESTER, email="other@example.org"))
    supplier = coop.browser_of(coop.person(Role.SUPPLIER, email="s@example.org", supplier="nord"))
    assert len(requester.get(PATH).json()) == 1
    assert other.get(PATH).json() == []
    assert supplier.get(PATH).status_code == 403
    assert len(board[0].get(PATH).json()) == 1
    assert submit(board[0]).status_code == 403


def test_the_same_submission_again_is_the_same_proposal(requester):
    assert submit(requester).json() == submit(requester).json()
    assert len(requester.get(PATH).json()) == 1


def test_a_proposal_reads_back_as_it_was_written():
    text = msgspec.convert(BODY, type=ProposalText)
    assert msgspec.json.decode(msgspec.json.encode(text), type=ProposalText) == text
