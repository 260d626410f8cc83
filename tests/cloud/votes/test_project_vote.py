from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from cloud.errors import BadInput, NotAllowed, StateConflict
from cloud.fund.usecases import fund_state, holding_of, ledger_in, open_grants, pay_shares
from cloud.members.roles import Role
from cloud.votes import repository
from cloud.votes.repository import ElectionRow, Project
from cloud.votes.usecases import (
    cast_ballot,
    close_election,
    count_again,
    open_election,
    pabulib_file,
    published_ballots,
)
from solar_fund.voting.pabulib import read_pb
from solar_fund.voting.published_vote import recount
from solar_fund.voting.tie_break import draw_lot
from tests.cloud.coop_builder import Coop
from tests.cloud.votes.policy_builder import facts_of

FACTS = {
    "kwp": 4.0,
    "site": "a roof",
    "words": "A test.",
    "annual_energy_kwh": 4_000,
    "monthly_energy_kwh": [300] * 12,
    "payback_years": 9.0,
    "irr": 0.05,
}


def project(project_id: str, cost_minor: int) -> Project:
    return Project(
        project_id=project_id, name=project_id.title(), cost_minor=cost_minor, facts=FACTS
    )


def open_vote(coop: Coop, people: list, **changes) -> None:
    with coop.services.database.transaction() as connection:
        pay_shares(
            connection,
            {person.household: 10_000 for person in people},
            call="founding",
            currency="EUR",
            evidence="ab" * 32,
            now=coop.clock(),
        )
        projects = [project("school", 30_000), project("hall", 25_000), project("barn", 90_000)]
        election = ElectionRow(
            **{
                "election_id": "round-1",
                "title": "Round 1",
                "opens_at": coop.clock(),
                "closes_at": coop.clock() + timedelta(days=7),
                "budget_minor": 60_000,
                "currency": "EUR",
                "quorum": 2,
                "roll_size": len(people),
                "lot": ("hall", "school", "barn"),
                "closed_at": None,
                "result": None,
                "ballots_root": None,
            }
            | changes
        )
        open_election(
            connection,
            election,
            projects,
            [person.household for person in people],
            now=coop.clock(),
        )


@pytest.fixture
def people(coop: Coop) -> list:
    return [coop.member(f"m{number}@example.org")[0] for number in range(6)]


def vote(coop: Coop, person, *approvals: str, token: str | None = None):
    with coop.services.database.transaction() as connection:
        return cast_ballot(
            connection,
            election_id="round-1",
            household=person.household,
            approvals=approvals,
            token=token,
            now=coop.clock(),
        )


def close(coop: Coop):
    coop.clock.turn(days=7)
    with coop.services.database.transaction() as connection:
        return close_election(connection, "round-1", now=coop.clock())


def test_winners_are_set_aside_in_the_ledger_and_cite_the_vote(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    for person in people[:4]:
        vote(coop, person, "school")
    for person in people[4:]:
        vote(coop, person, "hall", "barn")

    outcome = close(coop)

    assert outcome.selected[0] == "school"
    with coop.services.database.reading() as connection:
        grants = open_grants(connection, coop.clock())
        ledger = ledger_in(connection, coop.clock())
        first = ledger.record(grants[0].seq).request
        state = fund_state(connection, "EUR", coop.clock())
        election = repository.election_row(connection, "round-1")
    assert first["key"] == "grant:round-1:school"
    assert first["authorised_by"] == "round-1"
    assert first["evidence"] == [election.ballots_root]
    assert state.granted_minor == int(outcome.cost)
    assert state.available_minor == 60_000 - int(outcome.cost)


def test_a_member_changes_the_ballot_until_the_close(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    first = vote(coop, people[0], "barn")
    second = vote(coop, people[0], "school", token=first.token)
    vote(coop, people[1], "school")

    close(coop)

    with coop.services.database.reading() as connection:
        listed = published_ballots(connection, "round-1")
    receipts = {ballot.receipt.hex() for ballot in listed.ballots}
    assert second.receipt in receipts
    assert first.receipt not in receipts
    assert len(receipts) == 2
    assert listed.prove(bytes.fromhex(second.receipt)).holds()


def test_another_browser_cannot_replace_a_ballot(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    vote(coop, people[0], "barn")

    for token in (None, "guessed"):
        with pytest.raises(NotAllowed, match="another browser"):
            vote(coop, people[0], "school", token=token)


def test_who_is_not_on_the_roll_cannot_vote(coop: Coop, people: list) -> None:
    open_vote(coop, people[:3])

    with pytest.raises(NotAllowed, match="not on the roll"):
        vote(coop, people[5], "school")


def test_a_project_that_is_not_on_the_paper_is_refused(coop: Coop, people: list) -> None:
    open_vote(coop, people)

    with pytest.raises(BadInput):
        vote(coop, people[0], "casino")
    with coop.services.database.reading() as connection:
        assert repository.turnout(connection, "round-1") == 0


def test_counts_are_sealed_until_the_close(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    vote(coop, people[0], "school")
    vote(coop, people[1], "school")

    with coop.services.database.reading() as connection:
        for look in (count_again, published_ballots, pabulib_file):
            with pytest.raises(StateConflict):
                look(connection, "round-1")
    page = coop.new_browser().get("/votes/round-1").text
    assert "sealed" in page
    with (
        pytest.raises(StateConflict, match="has not closed"),
        coop.services.database.transaction() as connection,
    ):
        close_election(connection, "round-1", now=coop.clock())


def test_no_ballot_is_taken_after_the_close(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    coop.clock.turn(days=7)

    with pytest.raises(StateConflict, match="not open"):
        vote(coop, people[0], "school")


def test_below_the_quorum_nothing_binds(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    vote(coop, people[0], "school")

    assert close(coop) is None
    with coop.services.database.reading() as connection:
        assert open_grants(connection, coop.clock()) == []
        election = repository.election_row(connection, "round-1")
    assert election.closed_at == coop.clock()
    assert election.result["quorum_reached"] is False
    assert recount(coop.new_browser().get("/votes/round-1/published.json").json()).matches
    page = coop.new_browser().get("/votes/round-1").text
    assert "1 of 6 voted, 2 were needed" in page
    assert "no quorum" in coop.new_browser().get("/votes").text


def test_the_published_file_counts_to_the_same_result(
    coop: Coop, people: list, tmp_path: Path
) -> None:
    open_vote(coop, people)
    for person, approvals in zip(people, (["school"], ["school", "hall"], ["hall"]), strict=False):
        vote(coop, person, *approvals)
    outcome = close(coop)
    with coop.services.database.reading() as connection:
        file = tmp_path / "round.pb"
        file.write_text(pabulib_file(connection, "round-1"))
        assert count_again(connection, "round-1").selected == outcome.selected

    election = read_pb(file)

    assert int(election.budget) == 60_000
    assert len(election.ballots) == 3


def test_the_lot_is_drawn_from_a_seed_that_is_in_the_log_before_the_first_ballot(
    coop: Coop, people: list
) -> None:
    open_vote(coop, people, lot=())

    (opened,) = facts_of(coop, "vote.opened")

    assert len(opened["lot_seed"]) == 32
    assert tuple(opened["lot"]) == draw_lot(["school", "hall", "barn"], opened["lot_seed"])


def test_the_published_file_lets_anyone_draw_the_lot_again(coop: Coop, people: list) -> None:
    open_vote(coop, people, lot=(), lot_seed="drawn from a hat")
    for person in people[:3]:
        vote(coop, person, "school", "hall")
    close(coop)

    content = coop.new_browser().get("/votes/round-1/published.json").json()

    assert content["lot_seed"] == "drawn from a hat"
    assert recount(content).matches
    changed = recount(content | {"lot": content["lot"][::-1]})
    assert any("lot" in fault for fault in changed.faults)


def test_a_lot_that_its_seed_does_not_give_is_refused(coop: Coop, people: list) -> None:
    drawn = draw_lot(["school", "hall", "barn"], "a seed")

    with pytest.raises(BadInput, match="seed"):
        open_vote(coop, people, lot=drawn[::-1], lot_seed="a seed")


def test_the_board_counts_a_closed_vote_with_a_button_and_hears_of_a_missed_quorum(
    coop: Coop, people: list
) -> None:
    open_vote(coop, people)
    board = coop.browser_of(coop.person(Role.BOARD, email="board@example.org"))
    vote(coop, people[0], "school")
    assert "Count it now" not in board.get("/votes/round-1").text
    coop.clock.turn(days=7)
    assert "Count it now" in board.get("/votes/round-1").text

    answer = board.post("/votes/round-1/count")

    assert answer.status_code == 303
    assert "1 of 6 voted, 2 were needed" in board.get("/votes/round-1").text


def test_roll_and_box_share_no_column_and_the_box_holds_no_time(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    cast = vote(coop, people[0], "school")

    with coop.services.database.reading() as connection:
        box = connection.execute(text("SELECT * FROM ballot_box")).mappings().one()
        roll = (
            connection.execute(text("SELECT * FROM election_roll WHERE token_issued"))
            .mappings()
            .one()
        )
    assert set(box) & set(roll) == {"election_id"}
    assert people[0].household not in json.dumps(dict(box))
    assert cast.token not in json.dumps(dict(box))


def test_shares_are_capital_of_each_member_and_the_books_balance(coop: Coop, people: list) -> None:
    open_vote(coop, people)

    with coop.services.database.reading() as connection:
        holding = holding_of(connection, people[0].household, "EUR", coop.clock())
        ledger = ledger_in(connection, coop.clock())
        total = sum(line.balance.posted_minor for line in ledger.trial_balance())
        assert ledger.verify_chain().is_whole
    assert holding.capital_minor == 10_000
    assert total == 0


def test_the_vote_page_takes_a_ballot_and_shows_the_receipt(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    browser = coop.browser_of(people[0])

    cast = browser.post("/votes/round-1/ballot", data={"approve": ["school", "hall"]})

    assert cast.status_code == 303
    page = browser.get("/votes/round-1").text
    assert "Your ballot is in the box" in page
    assert page.count("checked") == 2


def test_a_forged_ballot_from_another_site_is_refused(coop: Coop, people: list) -> None:
    open_vote(coop, people)
    browser = coop.browser_of(people[0])
    browser.headers["Sec-Fetch-Site"] = "cross-site"

    answer = browser.post("/votes/round-1/ballot", data={"approve": ["school"]})

    assert answer.status_code == 403
    with coop.services.database.reading() as connection:
        assert repository.turnout(connection, "round-1") == 0
