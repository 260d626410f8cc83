"""Greedy: most votes first, the rule most cities use; shown beside equal shares."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from solar_fund.voting.ballots import Election
from solar_fund.voting.outcome import Outcome, StepKind, plain_outcome
from solar_fund.voting.profile import VoteProfile, compile_profile
from solar_fund.voting.tie_break import TieBreak, lot_ranks
from solar_fund.voting.utilitarian import most_votes_first


def greedy(
    election: Election,
    *,
    utility: Literal["cost", "cardinality"] = "cost",
    lot: tuple[str, ...] = (),
) -> Outcome:
    """Take projects by utility per cost while they fit.

    Under cost utility that is the number of votes (points), as cities do it; under cardinality
    it is votes per cost.

    Raises:
        ElectionInvalid: The ballots cannot be counted.
        TieUnresolved: A tie decides who is funded, and no lot was drawn.
    """
    return greedy_profile(compile_profile(election), utility=utility, lot=lot)


def greedy_profile(
    profile: VoteProfile,
    *,
    utility: Literal["cost", "cardinality"] = "cost",
    lot: tuple[str, ...] = (),
    budget: Fraction | None = None,
) -> Outcome:
    """Count merged ballots as `greedy` does, on request with another budget [scaled units]."""
    tie = TieBreak(
        profile.project_ids, profile.costs, profile.votes, lot_ranks(lot, profile.project_ids)
    )
    contenders = [n for n in range(len(profile.costs)) if profile.votes[n]]
    limit = profile.budget if budget is None else budget
    won = most_votes_first(profile, contenders, [], limit, tie, per_cost=utility == "cardinality")
    kind: StepKind = "greedy"
    return plain_outcome(f"greedy, {utility} utility", profile, won, kind, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """An outcome beside what most votes first would have funded.

    Attributes:
        greedy_selected: What most votes first would have funded, in its order.
        only_here: Winners that most votes first would not have funded.
        only_greedy: Its winners that did not win here.
        served_here: Voters who support at least one winner.
        served_greedy: The same under most votes first.
    """

    greedy_selected: tuple[str, ...]
    only_here: tuple[str, ...]
    only_greedy: tuple[str, ...]
    served_here: int
    served_greedy: int


def compare_with_greedy(
    profile: VoteProfile, outcome: Outcome, lot: tuple[str, ...] = ()
) -> Comparison:
    """Set an outcome beside most votes first on the same ballots and budget.

    Raises:
        TieUnresolved: Most votes first meets a tie that decides who is funded.
    """
    other = greedy_profile(profile, lot=lot, budget=outcome.budget * profile.cost_scale)
    return Comparison(
        greedy_selected=other.selected,
        only_here=tuple(name for name in outcome.selected if name not in other.selected),
        only_greedy=tuple(name for name in other.selected if name not in outcome.selected),
        served_here=outcome.served_voters,
        served_greedy=other.served_voters,
    )
