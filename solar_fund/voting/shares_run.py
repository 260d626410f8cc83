"""One run of equal shares at a given slice: floats lead, whole numbers decide near calls."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import permutations
from typing import Literal

import numpy as np

from solar_fund.voting.profile import VoteProfile
from solar_fund.voting.shares_exact import ExactMoney, ExactPurchase
from solar_fund.voting.shares_numpy import BoolTable, FloatMoney, Floats, NumpyMoney
from solar_fund.voting.shares_stretch import Followed, Stretch
from solar_fund.voting.tie_break import TieBreak

Engine = Literal["auto", "numpy", "numba"]

# Below this many supports numpy is done before numba has been loaded.
NUMBA_SUPPORTS_MIN = 100_000

# The first stretch that add-opt looks at, and the most it jumps at once, in raises.
JUMP_FIRST = 64
JUMP_MAX = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run bought.

    Attributes:
        sequence: Project numbers in the order bought.
        prices: Price per worth paid at each step, in floats.
        at_floor: Whether all supporters surely paid alike at each step.
        purchases: Who paid what, for runs made in whole numbers.
        money_left: What the supporters of each contender not bought hold at the end, for runs
            made in whole numbers [1/cost_scale currency unit].
    """

    sequence: list[int]
    prices: list[float]
    at_floor: list[bool]
    purchases: tuple[ExactPurchase, ...] = ()
    money_left: dict[int, Fraction] = field(default_factory=dict)


def _float_engine(profile: VoteProfile, cost_utility: bool, engine: Engine) -> FloatMoney:
    """Choose the engine; the result never depends on it."""
    if engine == "numba" or (engine == "auto" and len(profile.rows) >= NUMBA_SUPPORTS_MIN):
        try:
            # Loading the compiler takes a moment that small elections need not spend.
            from solar_fund.voting.shares_numba import NumbaMoney  # noqa: PLC0415
        except ImportError:
            # Not installed, or not for this Python: only asking for it by name is an error.
            if engine == "numba":
                raise
        else:
            return NumbaMoney(profile, cost_utility)
    return NumpyMoney(profile, cost_utility)


class ShareRun:
    """Runs equal shares again and again over one election."""

    def __init__(
        self,
        profile: VoteProfile,
        contenders: list[int],
        tie: TieBreak,
        cost_utility: bool,
        engine: Engine = "auto",
    ) -> None:
        """Prepare the arrays once."""
        self._profile = profile
        self._contenders = contenders
        self._tie = tie
        self._worth = profile.costs if cost_utility else (1,) * len(profile.costs)
        self._cost_utility = cost_utility
        self._stretch: Stretch | None = None
        self._floats = _float_engine(profile, cost_utility, engine)
        self._keys, self._goes_first = self._order_at_lowest_price()
        self._excludes = np.zeros(self._goes_first.shape, dtype=np.bool_)
        self._rivals: dict[int, set[int]] = {n: set() for n in contenders}
        for n, m in permutations([n for n in contenders if profile.groups[n]], 2):
            if profile.groups[n] == profile.groups[m]:
                self._rivals[n].add(m)
                self._excludes[n, m] = True

    def _order_at_lowest_price(self) -> tuple[dict[int, tuple[int, int]], BoolTable]:
        """Order projects by the lowest price each can have, then by the tie rule.

        Returns:
            A sort key by project number, and a table: whether the first project, at its lowest
            price, goes before the second whatever the price of that.
        """
        profile = self._profile
        undrawn = len(profile.costs)
        lowest = {
            n: (
                Fraction(profile.costs[n], profile.votes[n] * self._worth[n]),
                profile.costs[n],
                -profile.votes[n],
            )
            for n in self._contenders
        }
        rank_of = {key: rank for rank, key in enumerate(sorted(set(lowest.values())))}
        rank = np.full(undrawn, len(rank_of), dtype=np.int64)
        drawn = np.full(undrawn, undrawn, dtype=np.int64)
        for n, key in lowest.items():
            rank[n] = rank_of[key]
            drawn[n] = self._tie.ranks.get(profile.project_ids[n], undrawn)
        first = (rank[:, None] == rank) & (drawn[:, None] < drawn) & (drawn < undrawn)
        first |= rank[:, None] < rank
        return {n: (int(rank[n]), int(drawn[n])) for n in self._contenders}, first

    def run(self, slice_: Fraction) -> Run:
        """Run in floats, asking the exact engine where a call is too near.

        Raises:
            TieUnresolved: A tie that cost, votes and the lot do not decide.
        """
        return self._run(slice_, None)

    def run_exactly(self, slice_: Fraction) -> Run:
        """Run with the money of each step taken from whole numbers, so that no error builds up.

        Raises:
            TieUnresolved: A tie that cost, votes and the lot do not decide.
        """
        return self._run(slice_, ExactMoney(self._profile, slice_))

    def unchanged_for(self, slice_: Fraction, run: Run, raise_by: Fraction) -> int:
        """Return how many raises surely buy the same projects in the same order.

        Stretches double while nothing changes within them. Where something does, the next one
        begins at the last raise that surely changes nothing and ends where the change is
        expected, until that is less than a raise away: then that raise is to be run.

        Args:
            slice_: Slice of the run [1/cost_scale currency unit].
            run: What was bought at that slice.
            raise_by: The raise [1/cost_scale currency unit].
        """
        if self._stretch is None:
            self._stretch = Stretch(
                self._profile, self._cost_utility, self._goes_first, self._excludes
            )
        fixed, paid, open_ = self._fixed_steps(run)
        followed = Followed(run.sequence[fixed:], run.at_floor[fixed:], run.prices[fixed:])
        sure, stride = 0, JUMP_FIRST
        while True:
            near = float(slice_ + sure * raise_by)
            far = float(slice_ + (sure + stride) * raise_by)
            proof = self._stretch.proof(followed, near, far, paid, open_)
            followed = proof.run
            if proof.surely >= far - near:
                sure += stride
                stride *= 2
                if sure >= JUMP_MAX:
                    return sure
                continue
            # A little less than proven, so that rounding cannot count a raise too many.
            raises = int(proof.surely / float(raise_by) * (1 - 1e-6))
            sure += raises
            expected = proof.perhaps / float(raise_by) - raises
            if expected < 1 or stride == 1:
                return sure
            stride = max(int(min(expected + 1, stride / 2)), 1)

    def _fixed_steps(self, run: Run) -> tuple[int, Floats, list[int]]:
        """Find the first steps that are the same in this run and in all with a higher slice.

        While all supporters of the winner pay alike, its price is its lowest and stays that when
        they hold more; if that also beats whatever the others could reach, nothing can change.

        Returns:
            How many such steps there are, what each row pays in them together
            [1/cost_scale currency unit], and the contenders left after them.
        """
        profile, fixed = self._profile, 0
        paid = np.zeros(len(profile.row_weight))
        open_ = set(self._contenders)
        for number, price, is_at_floor in zip(run.sequence, run.prices, run.at_floor, strict=True):
            others = open_ - {number}
            if not is_at_floor or not self._goes_first[number, list(others)].all():
                break
            span = profile.span(number)
            paid[profile.rows[span]] += price * self._worth[number] * profile.points[span]
            open_ = others - self._rivals[number]
            fixed += 1
        return fixed, paid, sorted(open_)

    def _take(self, number: int, price: float) -> None:
        self._floats.buy(number, price)
        if self._rivals[number]:
            self._floats.drop(self._rivals[number])

    def _run(self, slice_: Fraction, proof: ExactMoney | None) -> Run:
        floats = self._floats
        floats.start(float(slice_), self._contenders)
        sequence: list[int] = []
        prices: list[float] = []
        at_floor: list[bool] = []
        purchases: list[ExactPurchase] = []
        exact = proof
        while near := floats.best():
            price, number = self._plain_winner(near)
            if number < 0:
                exact = exact or ExactMoney(self._profile, slice_)
                for earlier in sequence[exact.bought :]:
                    exact.buy(earlier)
                decided = self._decide(exact, near, len(sequence))
                if decided is None:
                    continue
                number = decided
                price = next(p for p, n in near if n == number)
            self._take(number, price)
            sequence.append(number)
            prices.append(price)
            at_floor.append(floats.is_at_floor(number))
            if proof:
                purchases.append(proof.buy(number))
                floats.hold(proof.left_by_row_in_floats())
        left = {n: proof.left_total(n) for n in self._contenders if proof and n not in sequence}
        return Run(
            sequence=sequence,
            prices=prices,
            at_floor=at_floor,
            purchases=tuple(purchases),
            money_left=left,
        )

    def _plain_winner(self, near: list[tuple[float, int]]) -> tuple[float, int]:
        """Return the winner where floats alone are sure of it, else number -1.

        Besides the lone cheapest, that is a project at its lowest possible price whose rivals
        can at best reach the same and then lose the tie.
        """
        price, number = near[0]
        if len(near) > 1:
            price, number = min(near, key=lambda entry: self._keys[entry[1]])
            if not self._floats.is_at_floor(number) or not all(
                self._goes_first[number, rival] for _, rival in near if rival != number
            ):
                return price, -1
        return price, -1 if self._floats.is_doubtful(number) else number

    def _decide(self, exact: ExactMoney, near: list[tuple[float, int]], step: int) -> int | None:
        """Return the cheapest of several near calls, or nothing when none can be paid for."""
        price_of: dict[int, Fraction] = {}
        for _, number in near:
            share = exact.share(number)
            if share is not None:
                price_of[number] = share / self._worth[number]
        short = {number for _, number in near} - price_of.keys()
        if short:
            self._floats.drop(short)
        if not price_of:
            return None
        lowest = min(price_of.values())
        tied = [number for number, price in price_of.items() if price == lowest]
        if len(tied) == 1 or self._independent(tied):
            return min(tied)
        return self._tie.pick(tied, f"for purchase {step + 1}")

    def _independent(self, tied: list[int]) -> bool:
        """Tell whether tied projects share no supporter and no group, so order does not matter."""
        rows = [self._profile.rows[self._profile.span(number)] for number in tied]
        joined = np.concatenate(rows)
        if len(np.unique(joined)) != len(joined):
            return False
        return not any(self._rivals[number] & set(tied) for number in tied)
