"""The Method of Equal Shares, with the ways cities complete it.

Every voter holds an equal slice of the budget. A project can be bought when the voters who want
it can pay for it together, as equally as their money allows; the one with the lowest price per
unit of utility is bought first. Plain equal shares leaves money unspent, so the slices are raised
step by step until the result would overspend (Add1), and what is still left goes by most votes.

Source: Peters, Pierczyński and Skowron, "Proportional Participatory Budgeting with Additive
Utilities" (2021); completions as described on equalshares.net.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from solar_fund.errors import ElectionInvalid
from solar_fund.voting.ballots import Election
from solar_fund.voting.outcome import Loss, LossKind, Outcome, Payments, Step, served_voters
from solar_fund.voting.profile import VoteProfile, compile_profile
from solar_fund.voting.shares_run import Engine, Run, ShareRun
from solar_fund.voting.tie_break import TieBreak, lot_ranks
from solar_fund.voting.utilitarian import most_votes_first

Utility = Literal["cost", "cardinality"]
Completion = Literal["none", "add1", "add-opt"]
Stop = Literal["exhaustive", "overspend"]
Then = Literal["utilitarian", "none"]

RERUNS_MAX = 2_000_000
# Add-opt runs only where something changes, so it may raise much more often.
JUMPED_RAISES_MAX = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesOptions:
    """How equal shares is counted.

    Attributes:
        utility: What a won project is worth to a supporter: its cost, or one (times points).
        completion: How slices are raised when money is left: not at all, by `increment` at a time
            (add1), or the same result reached by jumping over stretches where nothing changes
            (add-opt).
        stop: Stop raising when no further project fits the budget (exhaustive), or only when the
            next raise would overspend (overspend).
        then: Spend what is left by most votes, or leave it.
        increment: The raise per voter [currency unit].
        integral: Begin with the slice rounded down to a whole currency unit.
        lot: Project ids in the order drawn before the count, for ties.
        must_fund: Project ids paid from the budget before it is shared out.
        min_support: Votes (points) that a project needs to be counted at all.
        carry_over: Money from the last round, added to the budget [currency unit].
        engine: What finds the candidates; "auto" takes numba for large elections when installed.
    """

    utility: Utility = "cost"
    completion: Completion = "add1"
    stop: Stop = "exhaustive"
    then: Then = "none"
    increment: Fraction = Fraction(1)
    integral: bool = False
    lot: tuple[str, ...] = ()
    must_fund: tuple[str, ...] = ()
    min_support: int = 0
    carry_over: Fraction = Fraction(0)
    engine: Engine = "auto"


def equal_shares(election: Election, options: SharesOptions | None = None) -> Outcome:
    """Count an election by the Method of Equal Shares.

    The result is exact: floats find the candidates, and every call that is too near for them, as
    well as the whole deciding run, is made in whole numbers.

    Raises:
        ElectionInvalid: The ballots or options cannot be counted.
        TieUnresolved: A tie that cost, votes and the lot do not decide.
    """
    return _Count(election, compile_profile(election), options or SharesOptions()).outcome()


def count_profile(
    election: Election, profile: VoteProfile, options: SharesOptions | None = None
) -> Outcome:
    """Count an election whose ballots are already merged, as `equal_shares` does."""
    return _Count(election, profile, options or SharesOptions()).outcome()


class _Count:
    """One count, from the first run to the outcome."""

    def __init__(self, election: Election, profile: VoteProfile, options: SharesOptions) -> None:
        if options.increment <= 0:
            raise ElectionInvalid(f"the increment is {options.increment}: it must be above zero")
        if options.carry_over < 0:
            raise ElectionInvalid(f"{options.carry_over} carried over: it must not be below zero")
        self._election = election
        self._profile = profile
        self._options = options
        self._tie = TieBreak(
            profile.project_ids,
            profile.costs,
            profile.votes,
            lot_ranks(options.lot, profile.project_ids),
        )
        self._must = self._numbers(options.must_fund)
        self._budget = profile.budget + options.carry_over * profile.cost_scale
        self._shared = self._budget - sum(profile.costs[n] for n in self._must)
        if self._shared < 0:
            raise ElectionInvalid("the must-fund projects cost more than the budget: drop one")
        taken = {profile.groups[n] for n in self._must} - {""}
        open_projects = [
            n
            for n in range(len(profile.costs))
            if n not in self._must
            and profile.groups[n] not in taken
            and profile.votes[n] >= max(options.min_support, 1)
        ]
        self._free = self._one_per_group([n for n in open_projects if profile.costs[n] == 0])
        blocked = {profile.groups[n] for n in self._free} - {""}
        self._contenders = [
            n for n in open_projects if profile.costs[n] > 0 and profile.groups[n] not in blocked
        ]
        self._runner = ShareRun(
            profile, self._contenders, self._tie, options.utility == "cost", options.engine
        )
        self._start = self._shared / profile.n_voters
        if options.integral:
            scale = profile.cost_scale
            self._start = Fraction((self._start / scale).__floor__() * scale)

    def outcome(self) -> Outcome:
        """Find the deciding slice quickly, then prove that run in whole numbers."""
        slice_, reruns, quick = self._settle(self._runner.run)
        proven = self._runner.run_exactly(slice_)
        if proven.sequence != quick.sequence:
            # The floats misjudged a call outside their guard: count everything the slow way.
            slice_, reruns, proven = self._settle(self._runner.run_exactly)
        return self._describe(slice_, reruns, proven)

    def _settle(self, run: Callable[[Fraction], Run]) -> tuple[Fraction, int, Run]:
        """Raise the slice until a stop rule holds; return it, the raises, and its run."""
        slice_ = self._start
        current = run(slice_)
        raises = 0
        if self._options.completion == "none":
            return slice_, raises, current
        raise_by = self._options.increment * self._profile.cost_scale
        jumps = self._options.completion == "add-opt"
        most = JUMPED_RAISES_MAX if jumps else RERUNS_MAX
        while not self._done(current):
            ahead = 1
            if jumps:
                ahead = self._runner.unchanged_for(slice_, current, raise_by) + 1
            following = run(slice_ + ahead * raise_by)
            if self._cost(following) > self._shared:
                return slice_ + (ahead - 1) * raise_by, raises + ahead - 1, current
            slice_ += ahead * raise_by
            raises += ahead
            current = following
            if raises > most:
                raise ElectionInvalid(
                    f"more than {most} raises of {self._options.increment}: use a larger increment"
                )
        return slice_, raises, current

    def _done(self, run: Run) -> bool:
        """Tell whether the slice need not be raised any further."""
        won = set(run.sequence)
        closed = {self._profile.groups[n] for n in won} - {""}
        left = self._shared - self._cost(run)
        rest = [
            n for n in self._contenders if n not in won and self._profile.groups[n] not in closed
        ]
        if self._options.stop == "overspend":
            return not rest
        return all(self._profile.costs[n] > left for n in rest)

    def _cost(self, run: Run) -> int:
        return sum(self._profile.costs[number] for number in run.sequence)

    def _numbers(self, project_ids: Sequence[str]) -> list[int]:
        unknown = [name for name in project_ids if name not in self._profile.project_ids]
        if unknown:
            raise ElectionInvalid(f"must-fund project {unknown[0]} is not on the ballot paper")
        numbers = [self._profile.project_ids.index(name) for name in project_ids]
        for place, number in enumerate(numbers):
            group, name = self._profile.groups[number], project_ids[place]
            for earlier in numbers[:place]:
                if earlier == number:
                    raise ElectionInvalid(f"must-fund project {name} is named twice")
                if group and self._profile.groups[earlier] == group:
                    raise ElectionInvalid(
                        f"must-fund projects {self._profile.project_ids[earlier]} and {name} are"
                        f" of group {group}, of which one can win: drop one"
                    )
        return numbers

    def _one_per_group(self, numbers: list[int]) -> list[int]:
        """Keep the best supported free project of each exclusive group."""
        kept: list[int] = []
        for number in numbers:
            group = self._profile.groups[number]
            rivals = [n for n in numbers if group and self._profile.groups[n] == group]
            if len(rivals) < 2 or self._tie.pick(rivals, f"in group {group}") == number:
                kept.append(number)
        return kept

    def _describe(self, slice_: Fraction, reruns: int, run: Run) -> Outcome:
        profile = self._profile
        steps: list[Step] = []
        left = self._budget
        for number, kind in [(n, "must fund") for n in self._must] + [
            (n, "free") for n in self._free
        ]:
            left -= profile.costs[number]
            steps.append(
                Step(
                    project_id=profile.project_ids[number],
                    kind="must fund" if kind == "must fund" else "free",
                    cost=profile.in_currency(profile.costs[number]),
                    supporters=profile.supporters[number],
                    budget_left=profile.in_currency(left),
                )
            )
        for purchase in run.purchases:
            number = purchase.number
            left -= profile.costs[number]
            worth = profile.costs[number] if self._options.utility == "cost" else 1
            share = profile.in_currency(purchase.share)
            steps.append(
                Step(
                    project_id=profile.project_ids[number],
                    kind="equal shares",
                    cost=profile.in_currency(profile.costs[number]),
                    supporters=profile.supporters[number],
                    budget_left=profile.in_currency(left),
                    rho=share / profile.in_currency(worth)
                    if self._options.utility == "cost"
                    else share,
                    share=share,
                    share_voters=purchase.share_voters,
                    spent_voters=purchase.spent_voters,
                    spent_total=profile.in_currency(purchase.spent_total),
                )
            )
        won = [*self._must, *self._free, *run.sequence]
        if self._options.then == "utilitarian":
            for number in most_votes_first(profile, self._contenders, won, left, self._tie):
                left -= profile.costs[number]
                won.append(number)
                steps.append(
                    Step(
                        project_id=profile.project_ids[number],
                        kind="most votes",
                        cost=profile.in_currency(profile.costs[number]),
                        supporters=profile.supporters[number],
                        budget_left=profile.in_currency(left),
                    )
                )
        return Outcome(
            rule=self._rule_in_words(),
            selected=tuple(profile.project_ids[number] for number in won),
            cost=profile.in_currency(self._budget - left),
            budget=profile.in_currency(self._budget),
            n_voters=profile.n_voters,
            per_voter_start=profile.in_currency(self._start),
            per_voter_budget=profile.in_currency(slice_),
            reruns=reruns,
            steps=tuple(steps),
            losses=self._losses(won, run, left),
            served_voters=served_voters(profile, won),
            payments=Payments(
                profile=profile,
                endowment=slice_,
                purchases=run.purchases,
                place_of_voter={
                    ballot.voter_id: place for place, ballot in enumerate(self._election.ballots)
                },
            ),
        )

    def _losses(self, won: list[int], run: Run, budget_left: Fraction) -> tuple[Loss, ...]:
        profile = self._profile
        closed = {profile.groups[number] for number in won} - {""}
        losses = []
        for number, project_id in enumerate(profile.project_ids):
            if number in won:
                continue
            kind: LossKind = "supporters short"
            held = run.money_left.get(number, Fraction(0))
            votes_missing = max(self._options.min_support - profile.votes[number], 0)
            if profile.votes[number] == 0:
                kind = "no supporters"
            elif votes_missing:
                kind = "below minimum support"
            elif profile.groups[number] in closed:
                kind = "another of its group won"
            elif profile.costs[number] > budget_left and self._options.then == "utilitarian":
                kind = "supporters short" if held < profile.costs[number] else "over the budget"
            losses.append(
                Loss(
                    project_id=project_id,
                    kind=kind,
                    cost=profile.in_currency(profile.costs[number]),
                    supporters=profile.supporters[number],
                    money_left=profile.in_currency(held),
                    missing=profile.in_currency(max(profile.costs[number] - held, Fraction(0))),
                    votes_missing=votes_missing,
                )
            )
        return tuple(losses)

    def _rule_in_words(self) -> str:
        options = self._options
        words = f"equal shares, {options.utility} utility"
        if options.completion != "none":
            words += f", {options.completion} by {options.increment}, stop {options.stop}"
        if options.then == "utilitarian":
            words += ", then most votes"
        return words
