"""Over which raises of the slice the purchases of equal shares surely stay the same.

Two runs with the same order of purchases, at the near and at the far end of a stretch, bound all
runs between them. With a higher slice every voter holds at least as much at every step, no price
rises, and who must give all they have (is poor) at the far end is poor all along. Between the
ends a price falls at the pace at which the poor get richer, shared by those who are not poor, so
bounds on the pace of everyone's money give bounds on the pace of every price. A rival stays
behind as long as its lead cannot be used up at the fastest pace.

Source: the idea to jump to the next budget that changes something is add-opt of Kraiczy, Robinson
and Elkind, "Streamlining Equal Shares" (2025); the bounds are this project's own.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from solar_fund.voting.profile import VoteProfile
from solar_fund.voting.shares_numpy import (
    GUARD,
    BoolTable,
    Floats,
    NumpyMoney,
    Places,
    sum_of_products,
)


class Followed(NamedTuple):
    """Purchases that a stretch is followed by.

    Attributes:
        sequence: Project numbers in the order bought.
        at_floor: Whether all supporters surely pay alike at the near end, at each step.
        prices: Prices per worth that are surely not above those at the near end.
    """

    sequence: list[int]
    at_floor: list[bool]
    prices: list[float]


class Proof(NamedTuple):
    """How long the purchases stay the same [1/cost_scale currency unit above the near slice].

    Attributes:
        surely: Up to here nothing changes; the whole length if nothing does.
        perhaps: Where the first change is to be expected; infinite if none is.
        run: The purchases, with prices for a stretch that begins no further than it is proven.
    """

    surely: float
    perhaps: float
    run: Followed


class _NearPrice(NamedTuple):
    """What a project costs its supporters at the near end.

    Attributes:
        per_worth: Price per worth.
        poor: Places of the poor among the supporters.
    """

    per_worth: float
    poor: Places


class Stretch:
    """Proves over how much of a stretch the purchases stay the same."""

    def __init__(
        self, profile: VoteProfile, cost_utility: bool, goes_first: BoolTable, excludes: BoolTable
    ) -> None:
        """Prepare the arrays once.

        Args:
            profile: The compiled ballots.
            cost_utility: Count a project's worth as its cost times the points, else the points.
            goes_first: Whether the first project, at its lowest price, goes before the second
                whatever the price of that, shape (n_projects, n_projects).
            excludes: Whether the first project, once bought, excludes the second.
        """
        self._far = NumpyMoney(profile, cost_utility)
        self._goes_first = goes_first
        self._excluded_by = [set(np.flatnonzero(row).tolist()) for row in excludes]
        # What one voter of each row holds at the near end, and between which paces [money per
        # raise of the slice by one] that grows anywhere in the stretch.
        self._near: Floats = np.empty(0)
        self._fastest: Floats = np.empty(0)
        self._slowest: Floats = np.empty(0)

    def proof(
        self, run: Followed, near: float, far: float, paid: Floats, contenders: list[int]
    ) -> Proof:
        """Follow the purchases at both ends.

        Args:
            run: The purchases at the near end, after the steps that are paid already.
            near: Slice at the near end [1/cost_scale currency unit].
            far: Slice at the far end.
            paid: What each row has paid in earlier steps, the same anywhere in the stretch.
            contenders: Project numbers in the race.
        """
        money = self._far
        money.start(far, contenders)
        money.hold(far - paid)
        self._near = near - paid
        self._fastest = np.ones(len(paid))
        self._slowest = np.ones(len(paid))
        surely, perhaps = far - near, inf
        prices = list(run.prices)
        for step, number in enumerate(run.sequence):
            before = self._price_near(number, prices[step])
            if before is None:
                return Proof(0.0, 0.0, run)
            calls = {rival: price for price, rival in money.best(at_least=before.per_worth)}
            after = calls.pop(number, None)
            if after is None:
                return Proof(0.0, 0.0, run)
            poor_after = self._poor_far(number, after)
            fastest = self._pace(number, before.poor, self._fastest, otherwise=inf)
            slowest = self._pace(number, poor_after, self._slowest, otherwise=0.0)
            worth = money.worth[number]
            for rival, price in calls.items():
                if run.at_floor[step] and self._goes_first[number, rival]:
                    continue
                sure, likely = self._until_level(
                    rival,
                    before.per_worth,
                    slowest / worth,
                    # From the far end backwards: its lead there, and how fast it may have grown.
                    price - after * (1 + 4 * GUARD),
                    fastest / worth,
                    far - near,
                )
                surely, perhaps = min(surely, sure), min(perhaps, likely)
                if surely <= 0 and perhaps <= 0:
                    return Proof(0.0, 0.0, run)
            prices[step] = after
            self._pay_near(number, before, poor_after, fastest, slowest)
            money.buy(number, after)
            money.drop(self._excluded_by[number])
        # Whoever can pay at the far end, at any price, may begin to be able to anywhere.
        for _, rival in money.best(at_least=inf):
            sure, likely = self._until_affordable(rival, far - near)
            surely, perhaps = min(surely, sure), min(perhaps, likely)
        return Proof(max(surely, 0.0), perhaps, run._replace(prices=prices))

    def _price_near(self, number: int, not_above: float) -> _NearPrice | None:
        """Return the price at the near end, or nothing when the supporters cannot pay."""
        far = self._far
        money = self._near[far.rows[number]]
        if sum_of_products(money, far.weight[number]) < far.costs[number]:
            return None
        ceiling = money if far.points is None else money / far.points[number]
        worth = far.worth[number]
        share = max(far.costs[number] / far.votes[number], not_above * worth)
        n_poor = -1
        while True:
            poor = (ceiling < share).nonzero()[0]
            lower = None if len(poor) == n_poor else far.not_above(number, poor, money)
            if len(poor) == n_poor:
                return _NearPrice(share / worth, poor)
            if lower is None:
                return _NearPrice(float(ceiling.max()) / worth, poor)
            n_poor = len(poor)
            share = max(share, lower)

    def _poor_far(self, number: int, price: float) -> Places:
        far = self._far
        money = far.money[far.rows[number]]
        ceiling = money if far.points is None else money / far.points[number]
        return (ceiling < price * far.worth[number]).nonzero()[0]

    def _pace(self, number: int, poor: Places, pace: Floats, otherwise: float) -> float:
        """Return how fast the share per point falls while these are poor.

        Args:
            number: Which project.
            poor: Places of the poor among its supporters.
            pace: How fast the money of each row grows.
            otherwise: What to say when nobody but the poor is left.
        """
        if not len(poor):
            return 0.0
        far = self._far
        weight = far.weight[number][poor]
        paying = far.votes[number] - float(np.add.reduce(far.voice[number][poor]))
        if paying <= 0:
            return otherwise
        return sum_of_products(pace[far.rows[number][poor]], weight) / paying

    def _until_level(
        self,
        rival: int,
        price: float,
        slowest: float,
        lead_after: float,
        fastest: float,
        length: float,
    ) -> tuple[float, float]:
        """Return how far the slice may surely, and perhaps, rise before the rival is as cheap.

        Args:
            rival: Which project.
            price: The winner's price at the near end.
            slowest: Its slowest pace of falling anywhere in the stretch.
            lead_after: How much dearer the rival is at the far end.
            fastest: The winner's fastest pace of falling.
            length: Length of the stretch.
        """
        before = self._price_near(rival, 0.0)
        if before is None:
            return self._until_affordable(rival, length)
        lead = before.per_worth - price * (1 + 4 * GUARD)
        if lead <= 0:
            return 0.0, 0.0
        closing = (
            self._pace(rival, before.poor, self._fastest, otherwise=inf) / self._far.worth[rival]
            - slowest
        )
        if closing <= 0:
            return inf, inf
        # Seen from both ends the lead may shrink, but not to nothing where the two views meet.
        if closing * fastest * length < fastest * lead + closing * lead_after and lead_after > 0:
            return inf, inf
        likely = lead * length / (lead - lead_after) if lead_after < lead else inf
        return lead / closing * (1 - GUARD), likely

    def _until_affordable(self, rival: int, length: float) -> tuple[float, float]:
        """Return how far the slice may surely, and perhaps, rise before the rival can be paid."""
        far = self._far
        rows, weight = far.rows[rival], far.weight[rival]
        cost = far.costs[rival] * (1 - GUARD)
        missing = cost - sum_of_products(self._near[rows], weight)
        gained = missing - cost + sum_of_products(far.money[rows], weight)
        pace = sum_of_products(self._fastest[rows], weight)
        return (
            missing / pace if pace > 0 else inf,
            missing * length / gained if gained > missing else inf,
        )

    def _pay_near(
        self, number: int, price: _NearPrice, poor_after: Places, fastest: float, slowest: float
    ) -> None:
        """Take the price at the near end, and bound the pace of what is left anywhere."""
        far = self._far
        rows = far.rows[number]
        share = price.per_worth * far.worth[number]
        points = 1.0 if far.points is None else far.points[number]
        left = self._near[rows] - share * points
        self._near[rows] = np.maximum(left, 0.0, out=left)
        if not len(price.poor):
            return
        # Whoever is poor all along keeps nothing; whoever stops being poor somewhere keeps
        # something from there on.
        pace = self._fastest[rows] + fastest * points
        pace[poor_after] = 0.0
        self._fastest[rows] = pace
        pace = self._slowest[rows] + slowest * points
        pace[price.poor] = 0.0
        self._slowest[rows] = pace
