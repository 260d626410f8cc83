"""The waterfall's shares are voted within bounds, and a yes counts from the next settlement on."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from cloud.errors import BadInput, StateConflict
from cloud.fund.usecases import ledger_in, parameters_in_force
from tests.cloud.coop_builder import Coop
from tests.cloud.fund.test_settlement_in_the_books import book, newest_settled
from tests.cloud.votes.policy_builder import (
    cast,
    count,
    facts_of,
    members_of,
    open_policy,
    plan_of,
)


def vote_on(coop: Coop, people: list, choice: str, **parameters: str) -> None:
    open_policy(coop, parameters=parameters)
    for _person, browser in people:
        cast(browser, "van", choice=choice)


def settle(coop: Coop, month: str):
    with coop.services.database.transaction() as connection:
        return book(connection, [10_000], month, costs_minor=0, monthly_costs_minor=0)


def test_a_yes_changes_the_next_settlement_and_none_before(coop: Coop) -> None:
    people = members_of(coop, 3)
    vote_on(coop, people, "yes", fund_share="0.45", cost_cap_share="0.05")
    before = settle(coop, "2026-01")
    count(coop, "van")

    after = settle(coop, "2026-02")

    # A reserve whose target is zero flows over to the fund: a tenth in both months.
    assert before.fund_minor == 4_000
    assert after.fund_minor == 5_500
    with coop.services.database.reading() as connection:
        assert newest_settled(connection)["parameters_vote"] == "van"
        ledger = ledger_in(connection, coop.clock())
        first = ledger.record_of_key("settlement:2026-01r1:1")
        second = ledger.record_of_key("settlement:2026-02r1:1")
    assert first.request["authorised_by"] is None
    assert second.request["authorised_by"] == "van"


def test_parameters_cite_the_root_of_the_vote(coop: Coop) -> None:
    people = members_of(coop, 3)
    vote_on(coop, people, "yes", fund_share="0.35")
    count(coop, "van")

    with coop.services.database.reading() as connection:
        parameters, voted = parameters_in_force(connection, coop.clock())

    root = coop.new_browser().get("/votes/van/published.json").json()["merkle_root"]
    assert str(parameters.fund_share) == "0.35"
    assert voted.evidence == root == facts_of(coop, "parameters.voted")[0]["ballots_root"]


@pytest.mark.parametrize("choice", ["no", "abstain"])
def test_without_a_yes_all_stays_as_it_was(coop: Coop, choice: str) -> None:
    people = members_of(coop, 3)
    vote_on(coop, people, choice, fund_share="0.35")
    count(coop, "van")

    with coop.services.database.reading() as connection:
        parameters, voted = parameters_in_force(connection, coop.clock())

    assert (str(parameters.fund_share), voted) == ("0.30", None)
    assert facts_of(coop, "parameters.voted") == []


@pytest.mark.parametrize(
    "parameters",
    [{"fund_share": "0.61"}, {"fund_share": "0.45"}, {"fund_share": "NaN"}, {"x": "0.1"}],
)
def test_out_of_bounds_is_not_even_asked(coop: Coop, parameters: dict) -> None:
    members_of(coop, 1)

    with pytest.raises(BadInput, match="parameter"):
        open_policy(coop, parameters=parameters)

    assert facts_of(coop, "vote.opened") == []


def test_two_votes_on_parameters_do_not_run_at_once(coop: Coop) -> None:
    people = members_of(coop, 2)
    vote_on(coop, people, "yes", fund_share="0.35")

    with pytest.raises(StateConflict, match="not counted yet"):
        open_policy(coop, plan=plan_of(coop, election_id="other"), parameters={"fund_share": "0.2"})


def test_the_paper_shows_every_parameter_not_only_the_changed_one(coop: Coop) -> None:
    members_of(coop, 1)

    open_policy(coop, parameters={"fund_share": "0.350"})

    paper = coop.member("z@example.org")[1].get("/api/v1/votes/van").json()["paper"]
    assert paper["question"]["parameters"]["fund_share"] == "0.35"
    assert len(paper["question"]["parameters"]) == 6


def test_the_fund_page_shows_what_is_in_force_and_who_decided(coop: Coop) -> None:
    people = members_of(coop, 1)
    browser = people[0][1]
    assert "As the co-op began" in browser.get("/fund").text
    vote_on(coop, people, "yes", fund_share="0.35")
    count(coop, "van")

    page = browser.get("/fund").text

    assert 'href="/votes/van"' in page
    assert "<span>35 %</span>" in page


def test_the_database_keeps_what_was_voted(coop: Coop) -> None:
    people = members_of(coop, 1)
    vote_on(coop, people, "yes", fund_share="0.35")
    count(coop, "van")

    with (
        pytest.raises(DatabaseError, match="never changed or deleted"),
        coop.services.database.transaction() as connection,
    ):
        connection.execute(text("UPDATE voted_parameters SET parameters_text = '{}'"))
