"""Equal shares in whole numbers: voters' money without rounding, however long the count.

All money is kept as whole numbers over one common denominator, which grows with each purchase.
Rows with the same money share a level, so a step touches levels instead of voters.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from solar_fund.voting.profile import Ints, VoteProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactPurchase:
    """One project bought, with what every supporting row paid.

    Attributes:
        number: Project number.
        share: Price per point [1/cost_scale currency unit], exact.
        share_voters: Voters who paid the full share.
        spent_voters: Voters who paid all they had left, being less than the share.
        spent_total: What the latter paid together [1/cost_scale currency unit].
        payer_class: For each supporting row, an index into `paid`.
        paid_parts: Amounts per voter [1/paid_per_unit of 1/cost_scale currency unit].
        paid_per_unit: Common denominator of those.
    """

    number: int
    share: Fraction
    share_voters: int
    spent_voters: int
    spent_total: Fraction
    payer_class: Ints
    paid_parts: tuple[int, ...]
    paid_per_unit: int

    def paid_by_class(self, index: int) -> Fraction:
        """Return what one voter of a class paid [1/cost_scale currency unit]."""
        return Fraction(self.paid_parts[index], self.paid_per_unit)


class ExactMoney:
    """What every row of voters holds, exactly, after the purchases made so far."""

    def __init__(self, profile: VoteProfile, endowment: Fraction) -> None:
        """Give every voter the endowment [1/cost_scale currency unit]."""
        self._profile = profile
        # Level 0 is an empty purse. A level's money is over the denominator of its birth, so a
        # purchase need only touch the levels of its supporters.
        self._money: list[int] = [0, endowment.numerator]
        self._born: list[int] = [0, 0]
        self._denominators: list[int] = [endowment.denominator]
        self._level = np.ones(len(profile.row_weight), dtype=np.int64)
        self._floats = np.full(len(self._level), endowment.numerator / endowment.denominator)
        self.bought = 0

    @property
    def _denominator(self) -> int:
        return self._denominators[-1]

    def left_total(self, number: int) -> Fraction:
        """Return what the supporters of a project hold together [1/cost_scale unit]."""
        money, weight, _, _ = self._classes(number)
        total = sum(m * w for m, w in zip(money, weight, strict=True))
        return Fraction(total, self._denominator)

    def left_by_row_in_floats(self) -> npt.NDArray[np.float64]:
        """Return what one voter of each row holds, correctly rounded [1/cost_scale unit]."""
        return self._floats.copy()

    def share(self, number: int) -> Fraction | None:
        """Return the lowest price per point at which the supporters can pay, if they can."""
        money, weight, points, _ = self._classes(number)
        return self._share_of(number, money, weight, points)

    def buy(self, number: int) -> ExactPurchase:
        """Take the price of a project from its supporters.

        Raises:
            ValueError: They cannot pay; the caller has not asked for the share before.
        """
        money, weight, points, index = self._classes(number)
        share = self._share_of(number, money, weight, points)
        if share is None:
            raise ValueError(f"project number {number} is not affordable")
        scaled = share * self._denominator
        full = [
            scaled.numerator * p <= m * scaled.denominator
            for m, p in zip(money, points, strict=True)
        ]
        short = [i for i, is_full in enumerate(full) if not is_full]
        spent_parts = sum(money[i] * weight[i] for i in short)
        spent_voters = sum(weight[i] for i in short)
        purchase = ExactPurchase(
            number=number,
            share=share,
            share_voters=sum(weight) - spent_voters,
            spent_voters=spent_voters,
            spent_total=Fraction(spent_parts, self._denominator),
            payer_class=index,
            paid_parts=tuple(
                scaled.numerator * p if is_full else m * scaled.denominator
                for m, p, is_full in zip(money, points, full, strict=True)
            ),
            paid_per_unit=self._denominator * scaled.denominator,
        )
        self._settle(number, money, points, full, scaled, index)
        self.bought += 1
        return purchase

    def _classes(self, number: int) -> tuple[list[int], list[int], list[int], Ints]:
        """Group the supporters by money and points: money, voters, points, class of each row."""
        profile = self._profile
        span = profile.span(number)
        level = self._level[profile.rows[span]]
        weight = profile.weight[span]
        if profile.uniform:
            keys, index = np.unique(level, return_inverse=True)
            levels, points = keys, np.ones_like(keys)
        else:
            most = int(profile.points.max()) + 1
            keys, index = np.unique(level * most + profile.points[span], return_inverse=True)
            levels, points = keys // most, keys % most
        voters = np.zeros(len(keys), dtype=np.int64)
        np.add.at(voters, index, weight)
        widened: dict[int, int] = {}
        money = []
        for level_ in levels.tolist():
            born = self._born[level_]
            if born not in widened:
                widened[born] = self._denominator // self._denominators[born]
            money.append(self._money[level_] * widened[born])
        return money, voters.tolist(), points.tolist(), index.astype(np.int64)

    def _share_of(
        self, number: int, money: list[int], weight: list[int], points: list[int]
    ) -> Fraction | None:
        missing = self._profile.costs[number] * self._denominator
        if sum(m * w for m, w in zip(money, weight, strict=True)) < missing:
            return None
        paying = sum(w * p for w, p in zip(weight, points, strict=True))
        if self._profile.uniform:
            order = sorted(range(len(money)), key=money.__getitem__)
        else:
            order = sorted(range(len(money)), key=lambda i: Fraction(money[i], points[i]))
        for i in order:
            # All poorer voters give what they have; the rest is shared by points.
            if missing * points[i] <= money[i] * paying:
                return Fraction(missing, paying * self._denominator)
            missing -= money[i] * weight[i]
            paying -= weight[i] * points[i]
        return None

    def _settle(
        self,
        number: int,
        money: list[int],
        points: list[int],
        full: list[bool],
        scaled: Fraction,
        index: Ints,
    ) -> None:
        """Move the supporters to their new levels and widen the denominator as needed."""
        self._denominators.append(self._denominator * scaled.denominator)
        target = np.zeros(len(money), dtype=np.int64)
        floats = np.zeros(len(money))
        place: dict[int, int] = {0: 0}
        for i, is_full in enumerate(full):
            if is_full:
                left = money[i] * scaled.denominator - scaled.numerator * points[i]
                if left not in place:
                    place[left] = len(self._money)
                    self._money.append(left)
                    self._born.append(len(self._denominators) - 1)
                target[i] = place[left]
                # Dividing two whole numbers rounds once, whatever their size.
                floats[i] = left / self._denominator
        rows = self._profile.rows[self._profile.span(number)]
        self._level[rows] = target[index]
        self._floats[rows] = floats[index]
