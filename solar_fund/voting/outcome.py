"""What a count says: who won, at what price, why the others lost, and where each slice went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from solar_fund.errors import ElectionInvalid
from solar_fund.voting.profile import VoteProfile
from solar_fund.voting.shares_exact import ExactPurchase

StepKind = Literal["equal shares", "must fund", "free", "most votes", "greedy", "phragmen"]
LossKind = Literal[
    "supporters short",
    "over the budget",
    "another of its group won",
    "below minimum support",
    "no supporters",
    "ranked too low",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One project won.

    Attributes:
        project_id: The project.
        kind: By which part of the rule.
        cost: Its cost [currency unit].
        supporters: Voters who support it.
        rho: Price per unit of utility, the figure the rule minimises (None outside the rule).
        share: What each supporter pays per point, one point for an approval [currency unit].
        share_voters: Supporters who paid the full share.
        spent_voters: Supporters who gave all they had left, being less.
        spent_total: What those gave together [currency unit].
        budget_left: Budget after this step [currency unit].
    """

    project_id: str
    kind: StepKind
    cost: Fraction
    supporters: int
    budget_left: Fraction
    rho: Fraction | None = None
    share: Fraction | None = None
    share_voters: int = 0
    spent_voters: int = 0
    spent_total: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Why one project did not win.

    Attributes:
        project_id: The project.
        kind: The reason.
        cost: Its cost [currency unit].
        supporters: Voters who support it.
        money_left: What its supporters had left together at the end [currency unit].
        missing: What they would have needed beyond that [currency unit]; 0 if they had enough.
        votes_missing: Votes (points) short of the minimum support, or 0.
    """

    project_id: str
    kind: LossKind
    cost: Fraction
    supporters: int
    money_left: Fraction = Fraction(0)
    missing: Fraction = Fraction(0)
    votes_missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Payments:
    """Who paid what, kept per distinct ballot and looked up per voter."""

    profile: VoteProfile
    endowment: Fraction
    purchases: tuple[ExactPurchase, ...]
    place_of_voter: Mapping[str, int]

    def of(self, voter_id: str) -> dict[str, Fraction]:
        """Return what one voter paid for each project won [currency unit].

        Raises:
            ElectionInvalid: No such voter took part.
        """
        if voter_id not in self.place_of_voter:
            raise ElectionInvalid(f"voter {voter_id} is not among the ballots")
        row = int(self.profile.row_of_ballot[self.place_of_voter[voter_id]])
        paid: dict[str, Fraction] = {}
        for purchase in self.purchases:
            rows = self.profile.rows[self.profile.span(purchase.number)]
            # Rows are in rising order within a project.
            place = int(rows.searchsorted(row))
            if place < len(rows) and rows[place] == row:
                amount = purchase.paid_by_class(int(purchase.payer_class[place]))
                name = self.profile.project_ids[purchase.number]
                paid[name] = self.profile.in_currency(amount)
        return paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a count.

    Attributes:
        rule: Name of the rule with its options, in words.
        selected: Winning project ids, in the order they won.
        cost: What they cost together [currency unit].
        budget: What there was to spend, carried-over money included [currency unit].
        n_voters: Ballots counted.
        per_voter_start: Budget divided by voters [currency unit].
        per_voter_budget: The slice each voter held in the run that decided [currency unit].
        reruns: How often the slice was raised after the first run.
        steps: One per winner.
        losses: One per other project, in the order of the ballot paper.
        served_voters: Voters who support at least one winner.
        payments: Who paid what, under equal shares.
    """

    rule: str
    selected: tuple[str, ...]
    cost: Fraction
    budget: Fraction
    n_voters: int
    per_voter_start: Fraction
    per_voter_budget: Fraction
    reruns: int
    steps: tuple[Step, ...]
    losses: tuple[Loss, ...]
    served_voters: int
    payments: Payments | None = field(default=None, repr=False)

    @property
    def leftover(self) -> Fraction:
        """Money not spent, which the fund carries over to its next round [currency unit]."""
        return self.budget - self.cost

    def slice_of(self, voter_id: str) -> dict[str, Fraction]:
        """Return where one voter's slice went, by project id [currency unit].

        Raises:
            ElectionInvalid: No such voter, or the rule has no slices.
        """
        if self.payments is None:
            raise ElectionInvalid(f"the rule {self.rule} gives voters no slices")
        return self.payments.of(voter_id)

    def slice_minor(self, voter_id: str, minor_per_unit: int = 100) -> dict[str, int]:
        """Return one voter's slice in minor units, the parts summing to the rounded whole.

        The key "" holds what was left unspent. Largest remainders get the last cents, first
        bought first.
        """
        paid = self.slice_of(voter_id)
        parts = {**paid, "": self.per_voter_budget - sum(paid.values(), Fraction(0))}
        exact = {name: part * minor_per_unit for name, part in parts.items()}
        whole = round(sum(exact.values(), Fraction(0)))
        minor = {name: part.__floor__() for name, part in exact.items()}
        by_remainder = sorted(exact, key=lambda name: minor[name] - exact[name])
        for name in by_remainder[: whole - sum(minor.values())]:
            minor[name] += 1
        return minor


def served_voters(profile: VoteProfile, selected: Sequence[int]) -> int:
    """Count the voters who support at least one of the projects."""
    served = np.zeros(len(profile.row_weight), dtype=np.bool_)
    for number in selected:
        served[profile.rows[profile.span(number)]] = True
    return int(profile.row_weight[served].sum())


def plain_outcome(
    rule: str, profile: VoteProfile, won: Sequence[int], kind: StepKind, budget: Fraction
) -> Outcome:
    """Describe a count by a rule without slices.

    Args:
        rule: The rule in words.
        profile: The compiled ballots.
        won: Winning project numbers in order.
        kind: What each step is called.
        budget: What there was to spend [1/cost_scale currency unit].
    """
    left = budget
    steps = []
    for number in won:
        left -= profile.costs[number]
        steps.append(
            Step(
                project_id=profile.project_ids[number],
                kind=kind,
                cost=profile.in_currency(profile.costs[number]),
                supporters=profile.supporters[number],
                budget_left=profile.in_currency(left),
            )
        )
    closed = {profile.groups[number] for number in won} - {""}
    losses = []
    for number, project_id in enumerate(profile.project_ids):
        if number in won:
            continue
        reason: LossKind = "ranked too low"
        if profile.votes[number] == 0:
            reason = "no supporters"
        elif profile.groups[number] in closed:
            reason = "another of its group won"
        elif profile.costs[number] > left:
            reason = "over the budget"
        losses.append(
            Loss(
                project_id=project_id,
                kind=reason,
                cost=profile.in_currency(profile.costs[number]),
                supporters=profile.supporters[number],
                missing=profile.in_currency(max(profile.costs[number] - left, Fraction(0))),
            )
        )
    slice_ = profile.in_currency(budget) / profile.n_voters
    return Outcome(
        rule=rule,
        selected=tuple(profile.project_ids[number] for number in won),
        cost=profile.in_currency(budget - left),
        budget=profile.in_currency(budget),
        n_voters=profile.n_voters,
        per_voter_start=slice_,
        per_voter_budget=slice_,
        reruns=0,
        steps=tuple(steps),
        losses=tuple(losses),
        served_voters=served_voters(profile, won),
    )
