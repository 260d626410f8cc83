from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import BallotInvalid, ElectionInvalid
from solar_fund.voting.ballots import BallotProject
from solar_fund.voting.equal_shares import SharesOptions, equal_shares
from solar_fund.voting.policy import (
    TWO_THIRDS,
    PolicyRule,
    decide,
    decide_anonymous,
    freeze_roll,
    quorum_votes,
)
from solar_fund.voting.quadratic import (
    check_credits,
    credits_spent,
    quadratic_election,
    quadratic_slate,
)

RECORD = datetime(2026, 11, 1, tzinfo=UTC)


def roll(size: int):
    return freeze_roll({f"m{n}": RECORD - timedelta(days=400) for n in range(size)}, RECORD)


def test_members_who_joined_too_late_are_not_on_the_roll() -> None:
    joined = {
        "old": RECORD - timedelta(days=90),
        "young": RECORD - timedelta(days=89),
        "later": RECORD + timedelta(days=1),
    }
    assert freeze_roll(joined, RECORD, waiting_days=90).member_ids == {"old"}
    assert freeze_roll(joined, RECORD).member_ids == {"old", "young"}


def test_a_stranger_to_the_roll_cannot_vote() -> None:
    with pytest.raises(BallotInvalid, match="m9"):
        decide({"m9": "yes"}, roll(3))


def test_half_of_the_votes_is_no_majority() -> None:
    assert not decide({"m0": "yes", "m1": "no"}, roll(2)).passed
    assert decide({"m0": "yes", "m1": "yes", "m2": "no"}, roll(3)).passed


def test_two_thirds_exactly_are_enough_for_a_change_of_rules() -> None:
    assert decide({"m0": "yes", "m1": "yes", "m2": "no"}, roll(3), TWO_THIRDS).passed
    assert not decide({"m0": "yes", "m1": "no"}, roll(2), TWO_THIRDS).passed


def test_abstentions_help_the_quorum_but_neither_side() -> None:
    result = decide({"m0": "yes", "m1": "abstain", "m2": "abstain"}, roll(10))
    assert (result.quorum_votes, result.quorum_reached, result.passed) == (3, True, True)
    short = decide({"m0": "yes", "m1": "yes"}, roll(10))
    assert not short.passed
    assert "3 were needed" in short.reason


def test_a_vote_of_abstentions_only_does_not_pass() -> None:
    assert not decide_anonymous(["abstain"] * 5, 5).passed


def test_more_ballots_than_members_are_refused() -> None:
    with pytest.raises(BallotInvalid, match="4 ballots from a roll of 3"):
        decide_anonymous(["yes"] * 4, 3)
    with pytest.raises(BallotInvalid, match="maybe"):
        decide_anonymous(["maybe"], 3)


def test_rules_outside_their_bounds_are_refused() -> None:
    with pytest.raises(ElectionInvalid, match="quorum"):
        PolicyRule(quorum=Fraction(11, 10))


@given(st.integers(1, 10**6), st.fractions(0, 1))
@settings(deadline=None)
def test_the_quorum_is_the_smallest_number_that_reaches_the_share(size, share) -> None:
    needed = quorum_votes(size, share)
    assert Fraction(needed, size) >= share
    assert needed == 0 or Fraction(needed - 1, size) < share


def test_ten_votes_cost_a_hundred_credits() -> None:
    assert credits_spent({"a": 10}) == credits_spent({"a": 6, "b": -8}) == 100
    check_credits({"a": 10}, ["a"])
    with pytest.raises(BallotInvalid, match="21 more"):
        check_credits({"a": 11}, ["a"])
    with pytest.raises(BallotInvalid, match="slate"):
        check_credits({"z": 1}, ["a"])
    with pytest.raises(BallotInvalid, match="against"):
        check_credits({"a": -1}, ["a"], against=False)


def test_few_who_care_can_outweigh_many_who_hardly_do() -> None:
    entries = quadratic_slate(
        [{"school": 9}] * 2 + [{"school": -1, "barn": 1}] * 10, ["barn", "school"]
    )
    assert [(e.name, e.total) for e in entries] == [("barn", 10), ("school", 8)]
    assert (entries[1].for_votes, entries[1].against_votes, entries[1].voters) == (18, 10, 12)


def test_quadratic_votes_become_points_of_equal_shares() -> None:
    projects = [BallotProject(project_id=name, cost=Fraction(10)) for name in ("a", "b")]
    election = quadratic_election(projects, {"x": {"a": 8, "b": 1}, "y": {"a": 2, "b": 0}}, 10)
    outcome = equal_shares(election, SharesOptions(utility="cardinality", completion="none"))
    assert outcome.selected == ("a",)
    with pytest.raises(BallotInvalid, match="ballot x"):
        quadratic_election(projects, {"x": {"a": 11}}, 10)
