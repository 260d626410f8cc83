"""The same as `shares_numpy`, compiled with numba where it is installed: quicker, never different.

Imported only for large elections, because loading the compiler takes a moment.
"""

from typing import Any

import numba
import numpy as np

from solar_fund.voting.profile import Rows, VoteProfile
from solar_fund.voting.shares_numpy import GUARD, Bools, Floats, Places

_UNAFFORDABLE = -1.0


def _poor(
    ceiling: Floats, weight: Floats, points: Floats, share: float
) -> tuple[int, float, float]:
    """Return how many rows hold less than the share, what they hold, and their points."""
    uniform = len(points) == 0
    count = 0
    money = 0.0
    voice = 0.0
    # Written without branches, so that the compiler can take several rows at once.
    for i in range(len(ceiling)):
        poor = ceiling[i] < share
        own = poor * (weight[i] if uniform else weight[i] * points[i])
        count += poor
        money += ceiling[i] * own
        voice += own
    return count, money, voice


# Sums may be taken in any order: that moves the last digits, far inside the guard.
_poor_compiled: Any = numba.njit(cache=True, fastmath={"reassoc", "contract"})(_poor)


def _gathered(money: Floats, rows: Rows, weight: Floats, points: Floats) -> tuple[Floats, float]:
    """Return what each supporter can pay per point, and what they hold together."""
    ceiling = np.empty(len(rows))
    # Gathering alone, then adding up, lets the compiler take several rows at once.
    for i in range(len(rows)):
        ceiling[i] = money[rows[i]]
    total = 0.0
    for i in range(len(rows)):
        total += ceiling[i] * weight[i]
    if len(points):
        ceiling /= points
    return ceiling, total


_gathered_compiled: Any = numba.njit(cache=True, fastmath={"reassoc", "contract"})(_gathered)


def _share(
    money: Floats,
    rows: Rows,
    weight: Floats,
    points: Floats,
    cost: float,
    votes: float,
    start: float,
) -> tuple[float, int]:
    """Return the price per point, and 1 if affordability is doubtful, 2 if all pay alike."""
    ceiling, total = _gathered_compiled(money, rows, weight, points)
    if total < cost * (1 - GUARD):
        return _UNAFFORDABLE, 0
    note = 1 if total <= cost * (1 + GUARD) else 0
    floor = cost / votes
    # Once above its lowest price, a price never returns to it within a run.
    margin = floor * (1 + GUARD)
    if start <= margin and not (ceiling < margin).any():
        return floor, note + 2
    share = max(floor, start)
    n_poor = -1
    while True:
        count, poor_money, poor_voice = _poor_compiled(ceiling, weight, points, share)
        if count == n_poor:
            return share, note
        n_poor = count
        # Whole numbers below 2^53 add up exactly, so this is zero when nobody is left.
        paying = votes - poor_voice
        if paying <= 0.0:
            return ceiling.max(), note
        share = max(share, (cost - poor_money) / paying)


_share_compiled: Any = numba.njit(cache=True, fastmath={"reassoc", "contract"})(_share)


def _best(
    first: Places,
    rows: Rows,
    weight: Floats,
    points: Floats,
    costs: Floats,
    votes: Floats,
    worth: Floats,
    money: Floats,
    bounds: Floats,
    alive: Bools,
    doubtful: Bools,
    at_floor: Bools,
) -> Places:
    """Price the contenders whose bound may win; return those that may tie, unsorted."""
    fresh = np.zeros(len(costs), dtype=np.bool_)
    lowest = np.inf
    while True:
        number = -1
        for n in range(len(costs)):
            if alive[n] and not fresh[n] and (number < 0 or bounds[n] < bounds[number]):
                number = n
        if number < 0 or bounds[number] > lowest * (1 + GUARD):
            break
        begin, end = first[number], first[number + 1]
        share, note = _share_compiled(
            money,
            rows[begin:end],
            weight[begin:end],
            points[begin:end] if len(points) else points,
            costs[number],
            votes[number],
            bounds[number] * worth[number],
        )
        if share < 0:
            alive[number] = False
            continue
        fresh[number] = True
        doubtful[number] = note % 2 == 1
        at_floor[number] = note >= 2
        bounds[number] = share / worth[number]
        lowest = min(lowest, bounds[number])
    limit = lowest * (1 + GUARD)
    chosen = np.zeros(len(costs), dtype=np.bool_)
    for n in range(len(costs)):
        chosen[n] = fresh[n] and bounds[n] <= limit
    return np.flatnonzero(chosen)


_best_compiled: Any = numba.njit(cache=True)(_best)


def _pay(money: Floats, rows: Rows, points: Floats, share: float) -> None:
    for i in range(len(rows)):
        due = share * points[i] if len(points) else share
        money[rows[i]] = max(money[rows[i]] - due, 0.0)


_pay_compiled: Any = numba.njit(cache=True)(_pay)


class NumbaMoney:
    """What every row of voters holds; the interface and meaning of `NumpyMoney`."""

    def __init__(self, profile: VoteProfile, cost_utility: bool) -> None:
        """Prepare the arrays once."""
        n = len(profile.costs)
        self._first = profile.first
        self._rows = profile.rows
        self._weight = profile.weight.astype(np.float64)
        self._points: Floats = np.empty(0) if profile.uniform else profile.points.astype(float)
        self._costs = np.array(profile.costs, dtype=np.float64)
        self._worth = self._costs.copy() if cost_utility else np.ones(n)
        self._votes = np.array(profile.votes, dtype=np.float64)
        self._n_rows = len(profile.row_weight)
        self._money: Floats = np.empty(0)
        self._bounds = np.zeros(n)
        self._alive = np.zeros(n, dtype=np.bool_)
        self._doubtful = np.zeros(n, dtype=np.bool_)
        self._at_floor = np.zeros(n, dtype=np.bool_)

    def start(self, endowment: float, contenders: list[int]) -> None:
        """Give every voter the endowment and put the contenders in the race."""
        self._money = np.full(self._n_rows, endowment)
        self._alive[:] = False
        self._alive[contenders] = True
        self._doubtful[:] = False
        self._at_floor[:] = False
        self._bounds[contenders] = (
            self._costs[contenders] / self._votes[contenders] / self._worth[contenders]
        )

    def is_doubtful(self, number: int) -> bool:
        """Tell whether it was too near to call if the supporters can pay."""
        return bool(self._doubtful[number])

    def is_at_floor(self, number: int) -> bool:
        """Tell whether all supporters surely pay alike."""
        return bool(self._at_floor[number])

    def best(self) -> list[tuple[float, int]]:
        """Return the cheapest contenders with all that may tie, as `NumpyMoney.best` does."""
        near = _best_compiled(
            self._first,
            self._rows,
            self._weight,
            self._points,
            self._costs,
            self._votes,
            self._worth,
            self._money,
            self._bounds,
            self._alive,
            self._doubtful,
            self._at_floor,
        )
        return sorted((float(self._bounds[n]), int(n)) for n in near)

    def hold(self, money: Floats) -> None:
        """Replace what each row holds by better figures from the exact engine."""
        self._money = money

    def drop(self, numbers: set[int]) -> None:
        """Take projects out of the race for this run."""
        self._alive[list(numbers)] = False

    def buy(self, number: int, price: float) -> None:
        """Take the price from the supporters and the project out of the race."""
        span = slice(int(self._first[number]), int(self._first[number + 1]))
        share = price * float(self._worth[number])
        points = self._points[span] if len(self._points) else self._points
        _pay_compiled(self._money, self._rows[span], points, share)
        self._alive[number] = False
