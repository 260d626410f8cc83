"""Equal shares in floats over numpy arrays: quick, and honest about how near a call was."""

from heapq import heapify, heappop, heappush
from math import inf
from typing import Protocol

import numpy as np
import numpy.typing as npt

from solar_fund.voting.profile import VoteProfile

# Two prices (or money and a cost) closer than this, relative to their size, are left to the exact
# engine. Rounding in a count of 100 purchases by 100,000 voters stays some hundred times below it.
GUARD = 1e-9

# Above this length a dot product would wake the threads of a linear algebra library, for nothing.
DOT_LENGTH_MAX = 8_192

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
BoolTable = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


def sum_of_products(these: Floats, those: Floats) -> float:
    """Add up the products; either way the rounding stays far below the guard."""
    if len(these) <= DOT_LENGTH_MAX:
        return float(these.dot(those))
    return float(np.add.reduce(these * those))


class FloatMoney(Protocol):
    """What a run needs of a float engine."""

    def start(self, endowment: float, contenders: list[int]) -> None:
        """Begin a run."""

    def best(self) -> list[tuple[float, int]]:
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
        spans = [profile.span(number) for number in range(len(profile.costs))]
        # Places of the size numpy looks things up by, so that it need not convert them each time.
        every_row = profile.rows.astype(np.int64)
        every_weight = profile.weight.astype(np.float64)
        every_point = profile.points.astype(np.float64)
        self.rows: list[Places] = [every_row[span] for span in spans]
        self.weight: list[Floats] = [every_weight[span] for span in spans]
        self.points = None if profile.uniform else [every_point[span] for span in spans]
        self.voice = (
            self.weight
            if self.points is None
            else [w * p for w, p in zip(self.weight, self.points, strict=True)]
        )
        self.costs = [float(cost) for cost in profile.costs]
        self.worth = list(self.costs) if cost_utility else [1.0] * len(self.costs)
        self.votes = [float(votes) for votes in profile.votes]
        self.money: Floats = np.empty(0)
        self._n_rows = len(profile.row_weight)
        self._bounds: list[tuple[float, int]] = []
        self._out: set[int] = set()
        self._doubtful: set[int] = set()
        self._at_floor: set[int] = set()

    def start(self, endowment: float, contenders: list[int]) -> None:
        """Give every voter the endowment and put the contenders in the race."""
        self._doubtful.clear()
        self._at_floor.clear()
        self._out.clear()
        self.money = np.full(self._n_rows, endowment)
        self._bounds = [
            (self.costs[n] / self.votes[n] / self.worth[n], n)
            for n in contenders
            if self.costs[n] <= endowment * self.votes[n] * (1 + GUARD) or self.points is not None
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
            if number in self._out:
                continue
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
        self.money = money

    def drop(self, numbers: set[int]) -> None:
        """Take projects out of the race for this run."""
        self._out |= numbers

    def buy(self, number: int, price: float) -> None:
        """Take the price from the supporters and the project out of the race."""
        rows = self.rows[number]
        share = price * self.worth[number]
        due = share if self.points is None else self.points[number] * share
        left = self.money[rows] - due
        self.money[rows] = np.maximum(left, 0.0, out=left)
        self._out.add(number)

    def _price(self, number: int, bound: float, hint: float = 0.0) -> tuple[float, bool] | None:
        """Return the price per worth, or nothing when the supporters surely cannot pay.

        Args:
            number: Which project.
            bound: The price is surely not below this.
            hint: Where to look first; a price that is surely above it is not looked for further.

        Returns:
            The price and True, or something below it but above the hint and False.
        """
        money = self.money[self.rows[number]]
        cost = self.costs[number]
        total = sum_of_products(money, self.weight[number])
        if total < cost * (1 - GUARD):
            return None
        if total <= cost * (1 + GUARD):
            self._doubtful.add(number)
        ceiling = money if self.points is None else money / self.points[number]
        worth = self.worth[number]
        floor = cost / self.votes[number]
        start, n_poor, first_look = bound * worth, -1, hint * worth
        if first_look > start:
            poor = (ceiling < first_look).nonzero()[0]
            lower = self.not_above(number, poor, money)
            n_poor = -1 if lower is None else len(poor)
            start = max(start, lower or 0.0)
            if start > first_look * (1 + 4 * GUARD):
                return start / worth, False
        # Once above its lowest price, a price never returns to it within a run.
        if start <= floor * (1 + GUARD) and float(ceiling.min()) >= floor * (1 + GUARD):
            self._at_floor.add(number)
            return floor / worth, True
        self._at_floor.discard(number)
        # The search may begin at any lower bound; it ends at the same price.
        share = max(floor, start)
        while True:
            poor = (ceiling < share).nonzero()[0]
            if len(poor) == n_poor:
                return share / worth, True
            n_poor = len(poor)
            lower = self.not_above(number, poor, money)
            if lower is None:
                return float(ceiling.max()) / worth, True
            share = max(share, lower)

    def not_above(self, number: int, poor: Places, money: Floats) -> float | None:
        """Return a share that is not too high: these give all they have and the rest pays.

        Args:
            number: Which project.
            poor: Places of such supporters among its supporters.
            money: What one voter of each supporting row holds.

        Returns:
            The share per point, or nothing when nobody is left to pay it.
        """
        weight = self.weight[number][poor]
        voice = weight if self.points is None else self.voice[number][poor]
        paying = self.votes[number] - float(np.add.reduce(voice))
        # Whole numbers below 2^53 add up exactly, so this is zero when nobody is left.
        if paying <= 0:
            return None
        return (self.costs[number] - sum_of_products(money[poor], weight)) / paying
