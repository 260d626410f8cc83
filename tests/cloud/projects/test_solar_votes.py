"""Votes on projects: two open one, the server counts it once, and what won is granted."""

from __future__ import annotations

import threading
from datetime import timedelta
from fractions import Fraction

import pytest

from cloud.errors import BadInput, NotAllowed, StateConflict
from cloud.fund.usecases import fund_state, ledger_in, open_grants
from cloud.jobs.count_votes import count_due_votes
from cloud.members.roles import Role
from cloud.projects import repository, usecases
from cloud.projects.solar_votes import open_prepared_vote, prepare_vote, withdraw_vote
from cloud.transparency.repository import newest_entries
from cloud.votes import repository as votes
from cloud.votes.publication import content_of, paper_hash
from cloud.votes.usecases import cast_ballot
from solar_fund.ledger.accounts import FUND_CASH, PROJECT_VALUE
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.money import Money
from solar_fund.voting.published_vote import recount
from tests.cloud.projects.project_builder import SHARE_MINOR, Fundable


def election(fundable: Fundable, election_id: str = "spring"):
    return fundable.read(lambda connection: votes.election_row(connection, election_id))


def facts_of(fundable: Fundable, kind: str) -> list[str]:
    found = fundable.read(lambda connection: newest_entries(connection, kind=kind, count=50))
    return [entry.entry for entry in found]


def due(fundable: Fundable) -> int:
    return count_due_votes(fundable.coop.services.database, fundable.coop.clock())


def test_one_prepares_and_another_opens(fundable: Fundable) -> None:
    fundable.appraised("school", "barn")
    fundable.prepare("school", "barn")
    assert election(fundable) is None

    with pytest.raises(NotAllowed, match="second member"):
        fundable.do(open_prepared_vote, "spring", currency="EUR")
    opened = fundable.open()

    assert opened.budget_minor == 6 * SHARE_MINOR
    assert (opened.roll_size, opened.quorum) == (6, 2)
    assert sorted(election(fundable).lot) == ["barn", "school"]
    entry = facts_of(fundable, "vote.opened")[0]
    assert election(fundable).lot_seed in entry
    assert "paper_sha256" in entry
    with pytest.raises(StateConflict, match="opened or withdrawn"):
        fundable.open()


@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR, Role.OPERATOR])
def test_only_the_board_prepares_opens_and_withdraws(fundable: Fundable, role: Role) -> None:
    fundable.appraised("school")
    other = fundable.coop.person(role, email="other@example.org")
    with pytest.raises(NotAllowed):
        fundable.do(prepare_vote, fundable.plan("school"), person=other)
    fundable.prepare("school")
    with pytest.raises(NotAllowed):
        fundable.do(open_prepared_vote, "spring", person=other, currency="EUR")
    with pytest.raises(NotAllowed):
        fundable.do(withdraw_vote, "spring", person=other)


def test_a_withdrawn_vote_does_not_open(fundable: Fundable) -> None:
    fundable.appraised("school")
    fundable.prepare("school")
    fundable.do(withdraw_vote, "spring")
    with pytest.raises(StateConflict, match="withdrawn"):
        fundable.open()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"project_ids": ()}, "at least one project"),
        ({"project_ids": ("school", "school")}, "stands twice"),
        ({"quorum": Fraction(3, 2)}, "quorum"),
        ({"utility": "joy"}, "utility"),
        ({"completion": "all"}, "completion"),
        ({"must_fund": ("barn",)}, "must be funded"),
        ({"groups": {"barn": "roof"}}, "not on the paper"),
        ({"min_support": -1}, "not negative"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    fundable: Fundable, changes: dict, named: str
) -> None:
    fundable.appraised("school")
    with pytest.raises(BadInput, match=named):
        fundable.prepare(*changes.pop("project_ids", ("school",)), **changes)


def test_a_vote_closes_in_the_future_and_its_record_date_lies_behind(fundable: Fundable) -> None:
    fundable.appraised("school")
    now = fundable.coop.clock()
    for closes_at in (now, now + timedelta(days=400)):
        with pytest.raises(BadInput, match="closes in the future"):
            fundable.prepare("school", closes_at=closes_at)
    with pytest.raises(BadInput, match="lies in the past"):
        fundable.prepare("school", record_at=now + timedelta(hours=1))


def test_only_appraised_projects_stand_and_on_one_paper_at_a_time(fundable: Fundable) -> None:
    fundable.propose("barn")
    with pytest.raises(StateConflict, match="barn is proposed"):
        fundable.prepare("barn")
    fundable.appraised("school")
    fundable.prepare("school")
    fundable.prepare("school", election_id="summer")
    fundable.open()

    with pytest.raises(StateConflict, match="paper of another vote"):
        fundable.open("summer")
    with pytest.raises(StateConflict, match="ballot paper"):
        fundable.appraise("school")
    with pytest.raises(StateConflict, match="ballot paper"):
        fundable.do(usecases.reject_project, "school", words="We changed our mind.")


def test_money_is_promised_to_one_vote_only(fundable: Fundable) -> None:
    fundable.appraised("school", "barn")
    fundable.prepare("school")
    fundable.prepare("barn", election_id="summer")
    fundable.open()

    with pytest.raises(StateConflict, match="not enough money free"):
        fundable.open("summer")


def test_what_was_left_over_is_part_of_the_next_vote(fundable: Fundable) -> None:
    fundable.granted("school")
    fundable.appraised("barn")
    fundable.prepare("barn", election_id="summer")
    opened = fundable.open("summer")
    assert opened.budget_minor == 6 * SHARE_MINOR - 150_000
    assert opened.paper["carry_over_minor"] == opened.budget_minor


def test_homes_that_joined_after_the_record_date_have_no_vote(fundable: Fundable) -> None:
    fundable.appraised("school")
    record_at = fundable.coop.clock()
    fundable.coop.clock.turn(days=1)
    fundable.coop.member("late@example.org")
    fundable.prepare("school", record_at=record_at)
    assert fundable.open().roll_size == 6


def test_the_chore_counts_once_and_grants_what_won(fundable: Fundable) -> None:
    fundable.appraised("school", "barn")
    fundable.prepare("school", "barn")
    fundable.open()
    fundable.vote(["school"])
    assert due(fundable) == 0
    fundable.coop.clock.turn(days=8)

    assert due(fundable) == 1
    assert due(fundable) == 0

    assert (fundable.state("school"), fundable.state("barn")) == ("granted", "voted")
    assert fundable.life("school").grant_minor == 150_000
    grants = fundable.read(lambda connection: open_grants(connection, fundable.coop.clock()))
    assert len(grants) == 1
    root = election(fundable).ballots_root
    assert [event.evidence_hash for event in fundable.life("school").events[-2:]] == [root, root]
    # Not chosen: appraised again, now after the funded one, it may stand in the next vote.
    assert fundable.appraise("barn", with_load=True)["after"] == ["school"]
    fundable.prepare("barn", election_id="summer")
    fundable.open("summer")


def test_servers_that_count_at_the_same_time_count_once(fundable: Fundable) -> None:
    fundable.appraised("school")
    fundable.prepare("school")
    fundable.open()
    fundable.vote(["school"])
    fundable.coop.clock.turn(days=8)
    counted: list[int] = []
    threads = [threading.Thread(target=lambda: counted.append(due(fundable))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(counted) == 1
    assert len(facts_of(fundable, "vote.closed")) == 1
    assert facts_of(fundable, "vote.held_up") == []
    assert fundable.state() == "granted"


def test_below_the_quorum_it_closes_without_a_result_and_projects_may_stand_again(
    fundable: Fundable,
) -> None:
    fundable.appraised("school")
    fundable.prepare("school", quorum=Fraction(1, 2))
    fundable.open()
    fundable.vote(["school"], voters=2)
    fundable.coop.clock.turn(days=8)

    assert due(fundable) == 1

    closed = election(fundable)
    assert closed.result["quorum_reached"] is False
    assert '"quorum_reached":false' in facts_of(fundable, "vote.closed")[0]
    assert fundable.state() == "appraised"
    assert fundable.read(lambda connection: recount(content_of(connection, "spring"))).matches
    fundable.prepare("school", election_id="summer")
    assert fundable.open("summer").budget_minor == 6 * SHARE_MINOR


def test_a_vote_nobody_took_part_in_is_closed_too(fundable: Fundable) -> None:
    fundable.appraised("school")
    fundable.prepare("school", quorum=Fraction(0))
    fundable.open()
    fundable.coop.clock.turn(days=8)
    assert due(fundable) == 1
    assert election(fundable).result["selected"] == []


def test_a_vote_the_fund_cannot_pay_waits_and_says_why(fundable: Fundable) -> None:
    fundable.appraised("school")
    fundable.prepare("school")
    fundable.open()
    fundable.vote(["school"])
    now = fundable.coop.clock()

    def spend(amount_minor: int, key: str):
        money = Money(amount_minor, "EUR")
        legs = (debit(PROJECT_VALUE, money), credit(FUND_CASH, money))
        if amount_minor < 0:
            money = Money(-amount_minor, "EUR")
            legs = (debit(FUND_CASH, money), credit(PROJECT_VALUE, money))
        return lambda connection: ledger_in(connection, now).post_entry(
            EntryDraft(idempotency_key=key, legs=legs, memo="repair", evidence=("cd" * 32,))
        )

    fundable.write(spend(6 * SHARE_MINOR - 1_000, "storm"))
    fundable.coop.clock.turn(days=8)
    assert due(fundable) == due(fundable) == 0

    reason = fundable.read(lambda connection: repository.held_up(connection, "spring"))
    assert "the grant to school cannot be set aside" in reason
    assert len(facts_of(fundable, "vote.held_up")) == 1
    assert "cannot be counted yet" in fundable.coop.new_browser().get("/votes/spring").text
    assert (fundable.state(), election(fundable).closed_at) == ("appraised", None)

    fundable.write(spend(-(6 * SHARE_MINOR - 1_000), "insurance"))
    assert due(fundable) == 1
    assert fundable.state() == "granted"
    assert fundable.read(lambda connection: repository.held_up(connection, "spring")) is None


def test_must_fund_groups_and_least_support_are_counted_published_and_said(
    fundable: Fundable,
) -> None:
    fundable.appraised("school", "barn", "hall", "shed")
    fundable.prepare(
        "school",
        "barn",
        "hall",
        "shed",
        must_fund=("shed",),
        groups={"school": "yard", "barn": "yard"},
        min_support=3,
        utility="cardinality",
    )
    fundable.open()
    fundable.vote(["school", "barn", "hall"], voters=2)
    for person in fundable.members[2:]:
        fundable.write(lambda connection, person=person: support_two(connection, fundable, person))
    page = fundable.coop.new_browser().get("/votes/spring").text
    for said in ("Paid first", "at least 3 supporters", "At most one of these", "counts one"):
        assert said in page
    fundable.coop.clock.turn(days=8)
    assert due(fundable) == 1

    selected = election(fundable).result["selected"]
    assert "shed" in selected
    assert len({"school", "barn"} & set(selected)) == 1
    assert "hall" not in selected
    published = fundable.read(lambda connection: content_of(connection, "spring"))
    assert recount(published).matches
    paper = {key: published[key] for key in ("question", "rule")}
    assert paper_hash(paper) in facts_of(fundable, "vote.opened")[0]
    state = fundable.read(lambda connection: fund_state(connection, "EUR", fundable.coop.clock()))
    assert state.granted_minor == 300_000
    assert fundable.coop.new_browser().get("/votes/spring").status_code == 200


def support_two(connection, fundable: Fundable, person) -> None:
    cast_ballot(
        connection,
        election_id="spring",
        household=person.household,
        approvals=["school", "barn"],
        token=None,
        now=fundable.coop.clock(),
    )
