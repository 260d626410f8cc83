"""Yes or no on a frozen roll: quorum, threshold, revoting, sealed counts, and who may do what."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from fractions import Fraction

import pytest
from sqlalchemy import text

from cloud.errors import BadInput, StateConflict
from cloud.jobs.count_votes import count_due_votes, count_vote
from cloud.members.roles import Role
from cloud.members.usecases import add_person
from cloud.votes import repository
from cloud.votes.policy_votes import paper_hash
from tests.cloud.coop_builder import START, Coop
from tests.cloud.votes.policy_builder import (
    TEXT,
    board_browser,
    cast,
    count,
    facts_of,
    members_of,
    open_policy,
    open_slate,
    plan_of,
)

PATH = "/api/v1/votes"


def test_a_majority_of_yes_passes_when_enough_take_part(coop: Coop) -> None:
    people = members_of(coop, 10)
    vote = open_policy(coop)
    for (_person, browser), choice in zip(people, ("yes", "yes", "no", "abstain"), strict=False):
        assert cast(browser, vote, choice=choice).status_code == 200

    result = count(coop, vote)

    assert (result["yes"], result["no"], result["abstain"]) == (2, 1, 1)
    assert (result["quorum_votes"], result["quorum_reached"], result["passed"]) == (3, True, True)
    assert facts_of(coop, "vote.closed")[0]["passed"] is True


def test_without_a_quorum_nothing_passes_and_the_result_says_why(coop: Coop) -> None:
    people = members_of(coop, 10)
    vote = open_policy(coop)
    for _person, browser in people[:2]:
        cast(browser, vote, choice="yes")

    result = count(coop, vote)

    assert not result["passed"]
    assert result["reason"] == "no quorum: 2 of 10 took part, 3 were needed"
    assert facts_of(coop, "vote.closed")[0]["quorum_reached"] is False


def test_a_two_thirds_threshold_is_not_met_by_a_majority(coop: Coop) -> None:
    people = members_of(coop, 5)
    vote = open_policy(coop, threshold=Fraction(2, 3), above=False)
    for (_person, browser), choice in zip(people, ("yes", "yes", "yes", "no", "no"), strict=True):
        cast(browser, vote, choice=choice)

    result = count(coop, vote)

    assert not result["passed"]
    assert "at least 2/3" in result["reason"]


def test_nobody_votes_and_the_vote_is_closed_all_the_same(coop: Coop) -> None:
    members_of(coop, 3)
    vote = open_policy(coop)

    assert count(coop, vote)["passed"] is False
    assert coop.new_browser().get(f"/votes/{vote}/published.json").json()["turnout"] == 0


def test_the_roll_is_of_the_record_date(coop: Coop) -> None:
    members_of(coop, 2)
    coop.clock.turn(days=10)
    _late, newcomer = coop.member("late@example.org")
    record_at = coop.clock() - timedelta(days=1)
    vote = open_policy(coop, plan=plan_of(coop, record_at=record_at))
    _later, after = coop.member("later@example.org")

    for browser in (newcomer, after):
        assert cast(browser, vote, choice="yes").status_code == 403
    with coop.services.database.reading() as connection:
        assert repository.election_row(connection, vote).roll_size == 2


def test_a_waiting_time_keeps_new_homes_off_the_roll(coop: Coop) -> None:
    members_of(coop, 2)
    coop.clock.turn(days=40)
    coop.member("late@example.org")

    open_policy(coop, plan=plan_of(coop, waiting_days=30))

    with coop.services.database.reading() as connection:
        assert repository.election_row(connection, "van").roll_size == 2


def test_two_people_of_one_home_have_one_vote(coop: Coop) -> None:
    person, browser = coop.member()
    with coop.services.database.transaction() as connection:
        other = add_person(
            connection,
            email="partner@example.org",
            name="Partner",
            roles=[Role.MEMBER],
            household=person.household,
            now=coop.clock(),
        )
    vote = open_policy(coop)

    assert cast(browser, vote, choice="yes").status_code == 200
    assert cast(coop.browser_of(other), vote, choice="no").status_code == 403
    with coop.services.database.reading() as connection:
        assert repository.election_row(connection, vote).roll_size == 1


def test_a_ballot_is_changed_until_the_close_with_its_token(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 2)
    vote = open_policy(coop)
    first = cast(browser, vote, choice="no").json()
    second = cast(browser, vote, choice="yes", token=first["token"]).json()

    result = count(coop, vote)

    assert (result["yes"], result["no"]) == (1, 0)
    stranger = coop.new_browser()
    assert stranger.get(f"/votes/{vote}/receipts/{second['receipt']}.json").status_code == 200
    assert stranger.get(f"/votes/{vote}/receipts/{first['receipt']}.json").status_code == 404
    assert cast(browser, vote, choice="no", token=first["token"]).status_code == 409


def test_counts_are_sealed_and_turnout_is_open(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 3)
    board = board_browser(coop)
    vote = open_policy(coop)
    cast(browser, vote, choice="yes")

    seen = browser.get(f"{PATH}/{vote}").json()

    assert (seen["turnout"], seen["result"]) == (1, None)
    for path in ("published.json", "recount", f"receipts/{'0' * 64}.json"):
        assert coop.new_browser().get(f"/votes/{vote}/{path}").status_code == 409
    assert board.post(f"{PATH}/{vote}/count").status_code == 409


def test_the_question_cannot_change_after_the_opening(coop: Coop) -> None:
    members_of(coop, 2)
    vote = open_policy(coop)
    (opened,) = facts_of(coop, "vote.opened")
    count(coop, vote)

    content = coop.new_browser().get(f"/votes/{vote}/published.json").json()

    assert content["question"]["text"] == TEXT
    paper = {"question": content["question"], "rule": content["rule"]}
    assert paper_hash(paper) == opened["paper_sha256"]


def test_the_box_holds_no_home_and_the_roll_no_choice(coop: Coop) -> None:
    (person, browser), *_others = members_of(coop, 2)
    vote = open_policy(coop)
    cast(browser, vote, choice="yes")

    with coop.services.database.reading() as connection:
        box = connection.execute(text("SELECT * FROM ballot_box")).mappings().one()
    assert person.household not in json.dumps(dict(box))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"closes_at": START}, "close"),
        ({"closes_at": START + timedelta(days=400)}, "366 days"),
        ({"record_at": START + timedelta(days=1)}, "record date"),
        ({"quorum": Fraction(3, 2)}, "quorum"),
    ],
)
def test_a_vote_that_makes_no_sense_is_not_opened(coop: Coop, changes: dict, said: str) -> None:
    members_of(coop, 2)

    with pytest.raises(BadInput, match=said):
        open_policy(coop, plan=plan_of(coop, **changes))

    assert facts_of(coop, "vote.opened") == []


def test_a_vote_without_members_is_not_opened(coop: Coop) -> None:
    with pytest.raises(StateConflict, match="roll is empty"):
        open_policy(coop)


def test_the_server_counts_due_votes_once(coop: Coop) -> None:
    members_of(coop, 2)
    vote = open_policy(coop)
    database = coop.services.database
    assert count_due_votes(database, coop.clock()) == 0
    coop.clock.turn(days=8)

    count_due_votes(database, coop.clock())

    assert count_due_votes(database, coop.clock()) == 0
    assert len(facts_of(coop, "vote.closed")) == 1
    with (
        pytest.raises(StateConflict, match="counted already"),
        database.transaction() as connection,
    ):
        count_vote(connection, vote, now=coop.clock())


def browser_as(coop: Coop, role: Role):
    supplier = "nord" if role is Role.SUPPLIER else None
    return coop.browser_of(coop.person(role, email="x@example.org", supplier=supplier))


BODY = {"title": "The van", "text": TEXT, "closes_at": "2026-03-20T12:00:00Z"}


def post(browser, path="policies", key="k", **changes):
    return browser.post(f"{PATH}/{path}", json=BODY | changes, headers={"Idempotency-Key": key})


def test_the_board_opens_a_vote_once_per_key(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 4)
    board = board_browser(coop)

    first, again = post(board), post(board)

    assert first.status_code == 201
    assert first.json() == again.json()
    vote = browser.get(f"{PATH}/{first.json()['election_id']}").json()
    assert (vote["roll_size"], vote["quorum_votes"], vote["kind"]) == (4, 2, "policy")
    assert len(browser.get(PATH).json()) == 1


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.BOARD])
def test_only_the_board_opens_and_counts(coop: Coop, role: Role) -> None:
    coop.member("m@example.org")
    browser = browser_as(coop, role)
    vote = open_policy(coop)

    assert post(browser).status_code == 403
    assert post(browser, "slates", items={"a": "One", "b": "Two"}).status_code in (403, 422)
    assert browser.post(f"{PATH}/{vote}/count").status_code == 403


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.MEMBER])
def test_only_members_vote(coop: Coop, role: Role) -> None:
    coop.member("m@example.org")
    vote = open_policy(coop)

    answer = cast(browser_as(coop, role), vote, choice="yes")

    assert answer.status_code == 403


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SUPPLIER, Role.REQUESTER])
def test_votes_are_not_for_operators_suppliers_and_requesters(coop: Coop, role: Role) -> None:
    assert browser_as(coop, role).get(PATH).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": "1.5"},
        {"quorum": "1/0"},
        {"threshold": "most"},
        {"closes_at": "2026-03-20T12:00:00"},
        {"text": "no"},
        {"parameters": {}},
        {"parameters": {"fund_share": "0.99"}},
        {"parameters": {"board_share": "0.1"}},
        {"parameters": {"fund_share": "much"}},
        {"surprise": 1},
    ],
)
def test_a_malformed_request_opens_nothing(coop: Coop, changes: dict) -> None:
    members_of(coop, 1)

    answer = post(board_browser(coop), **changes)

    assert answer.status_code == 422
    assert facts_of(coop, "vote.opened") == []


@pytest.mark.parametrize(
    "marks", [{}, {"choice": "maybe"}, {"approve": []}, {"votes": {"a": 1}}, {"choice": ["yes"]}]
)
def test_a_ballot_of_another_form_is_refused(coop: Coop, marks: dict) -> None:
    (_person, browser), *_others = members_of(coop, 1)
    vote = open_policy(coop)

    assert cast(browser, vote, **marks).status_code == 422
    assert browser.get(f"{PATH}/{vote}").json()["turnout"] == 0


def test_the_log_holds_the_hash_of_the_very_bytes_that_are_served(coop: Coop) -> None:
    people = members_of(coop, 3)
    vote = open_policy(coop)
    for _person, browser in people:
        cast(browser, vote, choice="yes")
    count(coop, vote)

    file = coop.new_browser().get(f"/votes/{vote}/published.json").content

    facts = facts_of(coop, "vote.closed")[0]
    assert facts["published_sha256"] == hashlib.sha256(file).hexdigest()
    assert facts["ballots_root"] == json.loads(file)["merkle_root"]


def test_a_slate_ranks_by_credits_and_its_lot_can_be_drawn_again(coop: Coop) -> None:
    people = members_of(coop, 4)
    vote = open_slate(coop)
    given = ({"van": 9, "tools": -4}, {"bikes": 7, "tools": -7}, {"bikes": 3})
    for (_person, browser), votes in zip(people, given, strict=False):
        assert cast(browser, vote, votes=votes).status_code == 200

    result = count(coop, vote)

    assert result["totals"] == {"bikes": 10, "van": 9, "tools": -11}
    assert result["accepted"] == ["bikes", "van"]
    (opened,) = facts_of(coop, "vote.opened")
    content = coop.new_browser().get(f"/votes/{vote}/published.json").json()
    assert content["lot"] == opened["lot"]
    assert content["lot_seed"] == opened["lot_seed"] != ""


def test_more_credits_than_everyone_has_are_refused(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 1)
    vote = open_slate(coop)

    answer = cast(browser, vote, votes={"van": 8, "bikes": 7})

    assert answer.status_code == 422
    assert "13 more than the 100" in answer.json()["detail"]
    assert cast(browser, vote, votes={"castle": 1}).status_code == 422


def test_equal_totals_of_a_slate_stand_in_the_order_of_the_lot(coop: Coop) -> None:
    people = members_of(coop, 1)
    vote = open_slate(coop)
    cast(people[0][1], vote, votes={"van": 2, "bikes": 2, "tools": 2})

    result = count(coop, vote)

    assert result["accepted"] == facts_of(coop, "vote.opened")[0]["lot"]
