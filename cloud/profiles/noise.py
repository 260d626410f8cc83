"""Sums with noise: what protects a home when the exact sum would not. Pure but for the dice.

Each home's figures for the whole period are one vector of whole Wh. It is shortened to a length
that was fixed beforehand from public data, the vectors are added, and each figure gets discrete
Gaussian noise. Changing or leaving out one home's readings then changes the odds of any outcome by
no more than the budget says. Everything is whole numbers and fractions, because floating-point
noise leaks through its rounding.

Source: C. Canonne, G. Kamath, T. Steinke, "The Discrete Gaussian for Differential Privacy", 2020,
algorithms 1 to 3 and proposition 12; concentrated differential privacy as in M. Bun, T. Steinke,
2016.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

DELTA = 1e-6
"""Chance that the promise in epsilon fails, for showing a budget to people."""

Dice = Callable[[int], int]
"""Gives a whole number below its argument, each equally likely."""

_ALPHA_MAX = 10_000.0
_SEARCH_STEPS = 200


def shorten(energy_wh: Sequence[int], length_max_wh: int) -> list[int]:
    """Scale a home's figures down to a Euclidean length, in whole Wh, never up.

    Args:
        energy_wh: Figures of one home [Wh], none negative.
        length_max_wh: Longest length [Wh], from public data and never from the members.
    """
    squares = sum(figure * figure for figure in energy_wh)
    if squares <= length_max_wh * length_max_wh:
        return list(energy_wh)
    length = math.isqrt(squares) + 1
    return [figure * length_max_wh // length for figure in energy_wh]


def noised_sum(
    homes_wh: NDArray[np.int64],
    *,
    length_max_wh: int,
    rho: Fraction,
    dice: Dice = secrets.randbelow,
) -> list[int]:
    """Add homes up and add noise.

    Args:
        homes_wh: Figures per home [Wh], shape (homes, figures).
        length_max_wh: See `shorten`; it is what one home can change.
        rho: Budget spent, in zero-concentrated differential privacy.
        dice: Where randomness comes from.

    Returns:
        Noised sums [Wh]; small ones may be negative, and are not cut, to keep totals unbiased.
    """
    variance = Fraction(length_max_wh * length_max_wh) / (2 * rho)
    totals = [0] * homes_wh.shape[1]
    for home in homes_wh.tolist():
        totals = [a + b for a, b in zip(totals, shorten(home, length_max_wh), strict=True)]
    return [total + discrete_gaussian(variance, dice) for total in totals]


def noise_deviation_wh(length_max_wh: int, rho: Fraction) -> float:
    """Standard deviation of the noise on each figure [Wh]."""
    return length_max_wh / math.sqrt(2 * rho)


def epsilon_of(rho: Fraction, delta: float = DELTA) -> float:
    """The budget as people know it: epsilon at a delta.

    Source: Canonne, Kamath, Steinke 2020, proposition 12, minimised over alpha.
    """
    if rho <= 0:
        return 0.0
    spent = float(rho)

    def at(alpha: float) -> float:
        slack = math.log(1 / (alpha * delta)) / (alpha - 1) + math.log1p(-1 / alpha)
        return spent * alpha + slack

    low, high = 1.0 + 1e-9, _ALPHA_MAX
    for _ in range(_SEARCH_STEPS):
        third = (high - low) / 3
        if at(low + third) < at(high - third):
            high -= third
        else:
            low += third
    return max(at((low + high) / 2), 0.0)


def discrete_gaussian(variance: Fraction, dice: Dice = secrets.randbelow) -> int:
    """Draw a whole number x with odds in proportion to exp(-x² / 2·variance), exactly."""
    scale = math.isqrt(variance.numerator // variance.denominator) + 1
    while True:
        drawn = _discrete_laplace(scale, dice)
        off = abs(drawn) - variance / scale
        if _bernoulli_exp(off * off / (2 * variance), dice):
            return drawn


def _discrete_laplace(scale: int, dice: Dice) -> int:
    """Odds in proportion to exp(-|x| / scale)."""
    while True:
        offset = dice(scale)
        if not _bernoulli_exp(Fraction(offset, scale), dice):
            continue
        rounds = 0
        while _bernoulli_exp(Fraction(1), dice):
            rounds += 1
        size = offset + scale * rounds
        is_negative = dice(2) == 1
        if size or not is_negative:
            return -size if is_negative else size


def _bernoulli_exp(gamma: Fraction, dice: Dice) -> bool:
    """True with chance exp(-gamma), for gamma of zero or more."""
    while gamma > 1:
        if not _bernoulli_exp_small(Fraction(1), dice):
            return False
        gamma -= 1
    return _bernoulli_exp_small(gamma, dice)


def _bernoulli_exp_small(gamma: Fraction, dice: Dice) -> bool:
    count = 1
    while dice(gamma.denominator * count) < gamma.numerator:
        count += 1
    return count % 2 == 1
