"""Most votes first: the city rule, and what equal shares leaves over."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from solar_fund.voting.profile import VoteProfile
from solar_fund.voting.tie_break import TieBreak


def most_votes_first(
    profile: VoteProfile,
    contenders: Iterable[int],
    won: Sequence[int],
    budget_left: Fraction,
    tie: TieBreak,
    per_cost: bool = False,
) -> list[int]:
    """Take projects by votes, skipping what does not fit.

    A tie matters only when the tied projects do not all fit, or exclude one another; only then
    are lowest cost and the lot asked.

    Args:
        profile: The compiled ballots.
        contenders: Project numbers that may win.
        won: Project numbers already won.
        budget_left: Money to spend [1/cost_scale currency unit].
        tie: The tie-break.
        per_cost: Rank by votes per cost instead of votes.

    Returns:
        Project numbers in the order taken.

    Raises:
        TieUnresolved: A tie that decides who is funded, and no lot was drawn.
    """
    closed = {profile.groups[number] for number in won} - {""}
    taken: list[int] = []

    def fits(number: int) -> bool:
        return profile.costs[number] <= budget_left and profile.groups[number] not in closed

    waiting = [n for n in contenders if n not in won]
    while waiting := [number for number in waiting if fits(number)]:
        merit = {
            n: Fraction(profile.votes[n], max(profile.costs[n], 1))
            if per_cost
            else profile.votes[n]
            for n in waiting
        }
        best = max(merit.values())
        tied = [number for number in waiting if merit[number] == best]
        number = _first_of(profile, tied, budget_left, tie)
        waiting.remove(number)
        taken.append(number)
        budget_left -= profile.costs[number]
        if profile.groups[number]:
            closed = closed | {profile.groups[number]}
    return taken


def _first_of(profile: VoteProfile, tied: list[int], budget_left: Fraction, tie: TieBreak) -> int:
    groups = [profile.groups[n] for n in tied if profile.groups[n]]
    all_fit = sum(profile.costs[n] for n in tied) <= budget_left
    if all_fit and len(groups) == len(set(groups)):
        return min(tied, key=lambda n: (profile.costs[n], n))
    return tie.pick(tied, "by most votes")
