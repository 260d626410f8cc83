"""Equal shares in whole numbers: voters' money without rounding, however long the count.

All money is kept as whole numbers over one common denominator, which grows with each purchase.
Rows with the same money share a level, so a step touches levels instead of voters.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import gcd

import numpy as np
import numpy.typing as npt

from solar_fund.voting.profile import Ints, VoteProfile

# Purchases between two tidyings; more often costs time, less often lets numbers grow.
COMPACT_EVERY = 6


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
        self._denominator = endowment.denominator
        self._money: list[int] = [endowment.numerator]
        self._level = np.zeros(len(profile.row_weight), dtype=np.int64)
        self.bought = 0

    def left_total(self, number: int) -> Fraction:
        """Return what the supporters of a project hold together [1/cost_scale unit]."""
        money, weight, _, _ = self._classes(number)
        total = sum(m * w for m, w in zip(money, weight, strict=True))
        return Fraction(total, self._denominator)

    def left_by_row(self) -> list[Fraction]:
        """Return what one voter of each row still holds [1/cost_scale currency unit]."""
        amounts = [Fraction(money, self._denominator) for money in self._money]
        return [amounts[level] for level in self._level]

    def left_by_row_in_floats(self) -> npt.NDArray[np.float64]:
        """Return the same in floats, each correctly rounded."""
        # Dividing two whole numbers rounds once, whatever their size.
        amounts = np.array([money / self._denominator for money in self._money])
        return amounts[self._level]

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
        money = [self._money[i] for i in levels.tolist()]
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
        factor = scaled.denominator
        if factor > 1:
            self._money = [m * factor for m in self._money]
            self._denominator *= factor
        zero = len(self._money)
        self._money.append(0)
        target = np.full(len(money), zero, dtype=np.int64)
        for i, is_full in enumerate(full):
            if is_full:
                target[i] = len(self._money)
                self._money.append(money[i] * factor - scaled.numerator * points[i])
        self._level[self._profile.rows[self._profile.span(number)]] = target[index]
        if self.bought % COMPACT_EVERY == COMPACT_EVERY - 1:
            self._compact()

    def _compact(self) -> None:
        """Join equal levels, forget unused ones and shorten the common denominator."""
        used, inverse = np.unique(self._level, return_inverse=True)
        place: dict[int, int] = {}
        joined = [place.setdefault(self._money[i], len(place)) for i in used.tolist()]
        self._level = np.array(joined, dtype=np.int64)[inverse]
        common = gcd(self._denominator, *place)
        self._money = [m // common for m in place]
        self._denominator //= common
