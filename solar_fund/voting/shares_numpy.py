"""Equal shares in floats over numpy arrays: quick, and honest about how near a call was."""

from heapq import heapify, heappop, heappush
from math import inf
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from solar_fund.voting.profile import VoteProfile

# Two prices (or money and a cost) closer than this, relative to their size, are left to the exact
# engine. Rounding in a count of 100 purchases by 100,000 voters stays some hundred times below it.
GUARD = 1e-9

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
BoolTable = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


class FollowedRun(NamedTuple):
    """The purchases of a run in floats.

    Attributes:
        sequence: Project numbers in the order bought.
        prices: Price per worth paid at each step.
        at_floor: Whether all supporters surely paid alike at each step.
    """

    sequence: list[int]
    prices: list[float]
    at_floor: list[bool]


class FloatMoney(Protocol):
    """What a run needs of a float engine."""

    def start(self, endowment: float, contenders: list[int]) -> None:
        """Begin a run."""

    def best(self, at_least: float = 0.0) -> list[tuple[float, int]]:
        """Return the cheapest contenders with all that may tie."""

    def is_doubtful(self, number: int) -> bool:
        """Tell whether affordability was too near to call."""

    def is_at_floor(self, number: int) -> bool:
        """Tell whether all supporters surely pay alike."""

    def hold(self, money: Floats) -> None:
        """Replace what each row holds."""

    def drop(self, numbers: set[int]) -> None:
        """Take projects out of the race."""

    def buy(self, number: int, price: float) -> None:
        """Take the price from the supporters."""

    def follow(
        self, run: FollowedRun, never_after: BoolTable, rivals: BoolTable, safe: int
    ) -> FollowedRun | int:
        """Follow a run from where `start` left; or the step where a rival might come first."""


class NumpyMoney:
    """What every row of voters holds, in floats, and lower bounds on every price.

    A price never falls during a run, because money only leaves. So the last price of a project
    is a bound, and a project is priced again only when its bound could win.
    """

    def __init__(self, profile: VoteProfile, cost_utility: bool) -> None:
        """Prepare the arrays once; `start` begins a run.

        Args:
            profile: The compiled ballots.
            cost_utility: Count a project's worth as its cost times the points, else the points.
        """
        self._first = [int(i) for i in profile.first]
        self._rows = profile.rows
        self._weight = profile.weight.astype(np.float64)
        self._points = None if profile.uniform else profile.points.astype(np.float64)
        self._costs = [float(cost) for cost in profile.costs]
        self._worth = list(self._costs) if cost_utility else [1.0] * len(self._costs)
        self._n_rows = len(profile.row_weight)
        self._votes = [float(votes) for votes in profile.votes]
        self._money: Floats = np.empty(0)
        self._bounds: list[tuple[float, int]] = []
        self._doubtful: set[int] = set()
        self._at_floor: set[int] = set()

    def start(self, endowment: float, contenders: list[int]) -> None:
        """Give every voter the endowment and put the contenders in the race."""
        self._doubtful.clear()
        self._at_floor.clear()
        self._money = np.full(self._n_rows, endowment)
        self._bounds = [
            (self._costs[n] / self._votes[n] / self._worth[n], n)
            for n in contenders
            if self._costs[n] <= endowment * self._votes[n] * (1 + GUARD)
            or self._points is not None
        ]
        heapify(self._bounds)

    def best(self, at_least: float = 0.0) -> list[tuple[float, int]]:
        """Return the cheapest contenders by price per worth, with all that may tie with them.

        Args:
            at_least: Also list every contender whose price is not surely above this.

        Returns:
            (price, project number), cheapest first; empty when nothing is affordable. Numbers
            whose affordability is too near to call are listed, too; `is_doubtful` tells. For
            those of `is_at_floor` all supporters surely pay alike, so their price is the lowest
            they can ever have.
        """
        lowest = inf
        seen: list[tuple[float, int]] = []
        bounds = self._bounds
        while bounds and bounds[0][0] <= max(lowest, at_least) * (1 + GUARD):
            bound, number = heappop(bounds)
            priced = self._price(number, bound, at_least)
            if priced is None:
                continue
            price, is_final = priced
            if is_final:
                seen.append((price, number))
                lowest = min(lowest, price)
            else:
                heappush(bounds, (price, number))
        for entry in seen:
            heappush(bounds, entry)
        limit = max(lowest, at_least) * (1 + GUARD)
        return sorted(entry for entry in seen if entry[0] <= limit)

    def is_doubtful(self, number: int) -> bool:
        """Tell whether it was too near to call if the supporters can pay."""
        return number in self._doubtful

    def is_at_floor(self, number: int) -> bool:
        """Tell whether all supporters surely pay alike."""
        return number in self._at_floor

    def hold(self, money: Floats) -> None:
        """Replace what each row holds by better figures from the exact engine."""
        self._money = money

    def drop(self, numbers: set[int]) -> None:
        """Take projects out of the race for this run."""
        self._bounds = [entry for entry in self._bounds if entry[1] not in numbers]
        heapify(self._bounds)

    def buy(self, number: int, price: float) -> None:
        """Take the price from the supporters and the project out of the race."""
        span = slice(self._first[number], self._first[number + 1])
        rows = self._rows[span]
        share = price * self._worth[number]
        due = share if self._points is None else self._points[span] * share
        self._money[rows] = np.maximum(self._money[rows] - due, 0.0)
        self.drop({number})

    def follow(
        self, run: FollowedRun, never_after: BoolTable, rivals: BoolTable, safe: int
    ) -> FollowedRun | int:
        """Follow a run from where `start` left.

        Args:
            run: The run at a lower endowment.
            never_after: Whether the first project, at its lowest price, goes before the second
                whatever the price of that, shape (n_projects, n_projects).
            rivals: Whether the first project, once bought, excludes the second.
            safe: Steps at the beginning where no rival needs to be looked at.

        Returns:
            The run here, or the number of steps after which a rival might have come first.
        """
        prices: list[float] = []
        at_floor: list[bool] = []
        steps = zip(*run, strict=True)
        for step, (number, price_before, was_at_floor) in enumerate(steps):
            price_now = None
            if step < safe and (priced := self._price(number, 0.0, price_before)):
                price_now = priced[0] if priced[1] else None
            for price, rival in [] if step < safe else self.best(at_least=price_before):
                if rival == number:
                    price_now = price
                elif not (was_at_floor and never_after[number, rival]):
                    return step
            if price_now is None:
                return step
            prices.append(price_now)
            at_floor.append(self.is_at_floor(number))
            self.buy(number, price_now)
            if rivals[number].any():
                self.drop(set(np.flatnonzero(rivals[number]).tolist()))
        return len(prices) if self.best() else FollowedRun(run.sequence, prices, at_floor)

    def _price(self, number: int, bound: float, hint: float = 0.0) -> tuple[float, bool] | None:
        """Return the price per worth, or nothing when the supporters surely cannot pay.

        Args:
            number: Which project.
            bound: The price is surely not below this.
            hint: Where to look first; a price that is surely above it is not looked for further.

        Returns:
            The price and True, or something below it but above the hint and False.
        """
        span = slice(self._first[number], self._first[number + 1])
        money = self._money[self._rows[span]]
        weight = self._weight[span]
        cost = self._costs[number]
        # numpy adds up in pairs, so the rounding of a sum stays far below the guard. (A dot
        # product would wake the threads of a linear algebra library, for nothing.)
        total = float((money * weight).sum())
        if total < cost * (1 - GUARD):
            return None
        if total <= cost * (1 + GUARD):
            self._doubtful.add(number)
        if self._points is None:
            ceiling, voice = money, weight
        else:
            ceiling, voice = money / self._points[span], weight * self._points[span]
        votes, worth = self._votes[number], self._worth[number]
        share = cost / votes
        start, n_poor, first_look = bound * worth, -1, hint * worth
        if first_look > start:
            poor = np.flatnonzero(ceiling < first_look)
            lower = self._not_above(cost, votes, poor, weight, money, voice)
            n_poor = -1 if lower is None else len(poor)
            start = max(start, lower or 0.0)
            if start > first_look * (1 + 4 * GUARD):
                return start / worth, False
        # Once above its lowest price, a price never returns to it within a run.
        if start <= share * (1 + GUARD) and float(ceiling.min()) >= share * (1 + GUARD):
            self._at_floor.add(number)
            return share / worth, True
        self._at_floor.discard(number)
        # The search may begin at any lower bound; it ends at the same price.
        share = max(share, start)
        while True:
            poor = np.flatnonzero(ceiling < share)
            if len(poor) == n_poor:
                return share / worth, True
            n_poor = len(poor)
            lower = self._not_above(cost, votes, poor, weight, money, voice)
            if lower is None:
                return float(ceiling.max()) / worth, True
            share = max(share, lower)

    @staticmethod
    def _not_above(
        cost: float, votes: float, poor: Places, weight: Floats, money: Floats, voice: Floats
    ) -> float | None:
        """Return a share that is not too high, if these give all they have and the rest pays."""
        paying = votes - float(voice[poor].sum())
        # Whole numbers below 2^53 add up exactly, so this is zero when nobody is left.
        if paying <= 0:
            return None
        return (cost - float((money[poor] * weight[poor]).sum())) / paying
