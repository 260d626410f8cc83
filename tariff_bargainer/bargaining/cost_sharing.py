"""Who brings what to the pool: Shapley values and the least core, as a report.

The parts of a bill that add up, such as energy and levies, need no game: each home causes its own.
What is shared is the rest, such as a common peak or imbalance, where homes help each other by
being different. Nothing here moves money by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.stats import t as student_t

from tariff_bargainer.errors import NoFairSplit

Costs = NDArray[np.float64]
PoolCost = Callable[[NDArray[np.float64]], Costs]
"""Cost of pooled loads: (pools x cells) in, (pools,) out; zero load must cost nothing."""

PLAYERS_EXACT_MAX = 12
PERMUTATIONS_MAX = 1_000_000
ORDERS_MIN = 1000
"""Orders before an error is believed: what adds to a value in one of a hundred orders is then missed
with a chance of 0.99 ^ 1000 = 0.00004."""
ROTATIONS_MAX = 6
"""Turns of one order that make a draw; each is also used backwards."""
LOOK_GROWTH = 1.5
"""How many times as many draws there are from one look at the error to the next."""
CONFIDENCE = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastCore:
    """A sharing in which the most dissatisfied coalition is as content as it can be.

    Attributes:
        shares: Cost of each player, summing to the cost of all.
        excess: By how much the worst-off coalition pays more than it would cost alone; zero or
            less means that nobody gains by leaving.
    """

    shares: Costs
    excess: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapleyEstimate:
    """Shapley values from random orders, with what is known of their error.

    Attributes:
        values: Cost of each player, summing to the cost of all.
        standard_error: Standard error of each value, from the spread between draws.
        permutations: Orders that were looked at.
        error_share: Largest half-width of the intervals that hold all values together with 99.9 %
            confidence, as a share of the whole cost.
        good_enough: Whether `error_share` came down to what was asked for.
    """

    values: Costs
    standard_error: Costs
    permutations: int
    error_share: float
    good_enough: bool


def coalition_costs(loads: NDArray[np.float64], cost: PoolCost) -> Costs:
    """Return the cost of every coalition of at most twelve players, indexed by bit mask.

    Args:
        loads: Load of each player, shape (players, cells).
        cost: Cost of pooled loads.

    Raises:
        NoFairSplit: There are more players than can be enumerated.
    """
    players = loads.shape[0]
    if not 1 <= players <= PLAYERS_EXACT_MAX:
        raise NoFairSplit(
            problem=f"{players} players cannot be enumerated: give 1 to {PLAYERS_EXACT_MAX}, or "
            "group homes into archetypes first",
            short_minor=0,
        )
    masks = np.arange(1 << players)
    inside = (masks[:, None] >> np.arange(players)) & 1
    costs = np.asarray(cost(inside @ loads), dtype=np.float64)
    costs[0] = 0.0
    return costs


def shapley_exact(costs: Costs) -> Costs:
    """Return each player's Shapley value from the cost of every coalition, by bit mask.

    Source: L. S. Shapley, "A value for n-person games", Contributions to the Theory of Games II,
    1953.
    """
    players = (costs.size - 1).bit_length()
    masks = np.arange(costs.size)
    size = np.array([int(mask).bit_count() for mask in masks])
    weight = np.ones(players)
    for others in range(1, players):
        weight[others] = weight[others - 1] * others / (players - others)
    weight /= players
    values = np.zeros(players)
    for player in range(players):
        without = masks[(masks >> player) & 1 == 0]
        added = costs[without | (1 << player)] - costs[without]
        values[player] = (weight[size[without]] * added).sum()
    return values


def shapley_sampled(
    loads: NDArray[np.float64], cost: PoolCost, *, permutations: int = 2000, seed: int = 0
) -> Costs:
    """Estimate Shapley values from random orders, each turned in steps and used both ways.

    Every order shares out the whole cost, so the estimates sum to it whatever their error.

    Args:
        loads: Load of each player, shape (players, cells).
        cost: Cost of pooled loads.
        permutations: Orders to look at; rounded up to whole draws, of 12 orders from 12 players on.
        seed: Seed of the orders.

    Source: J. Castro, D. Gomez, J. Tejada, "Polynomial calculation of the Shapley value based on
    sampling", Computers & Operations Research 36, 2009; backwards as in R. Mitchell et al., "Sampling
    permutations for Shapley value estimation", JMLR 23, 2022; turned, so that each player stands
    at the beginning, in the middle and at the end, as in J. Castro et al., "Improving polynomial
    estimation of the Shapley value by stratified random sampling with optimum allocation",
    Computers & Operations Research 82, 2017.
    """
    if not 1 <= permutations <= PERMUTATIONS_MAX:
        raise NoFairSplit(
            problem=f"permutations is {permutations}: give 1 to {PERMUTATIONS_MAX}", short_minor=0
        )
    rng = np.random.default_rng(seed)
    draws = -(-permutations // (2 * _rotations(loads)))
    values = np.zeros(loads.shape[0])
    for _ in range(draws):
        values += _added_by_draw(loads, cost, rng)
    return values / draws


def shapley_estimate(
    loads: NDArray[np.float64],
    cost: PoolCost,
    *,
    error_share_max: float = 0.01,
    permutations_max: int = 100_000,
    seed: int = 0,
) -> ShapleyEstimate:
    """Estimate Shapley values until they are good enough, and say how good they are.

    All turns of an order are one draw, so the spread between draws tells the error. It stops when
    the intervals that hold all players' values together with 99.9 % confidence are at most a share
    of the whole cost wide on either side; not before `ORDERS_MIN` orders, and not after
    `permutations_max`. The confidence is for all players and all looks together (Bonferroni):
    who stops as soon as the error looks small would otherwise stop at lucky moments.

    Args:
        loads: Load of each player, shape (players, cells).
        cost: Cost of pooled loads.
        error_share_max: Half-width to stop at, as a share of the cost of all [0..1].
        permutations_max: Most orders to look at, at least `ORDERS_MIN`.
        seed: Seed of the orders.

    Source: as `shapley_sampled`; the error as in S. Maleki et al., "Bounding the estimation error
    of sampling-based Shapley value approximation", arXiv 1306.4265, 2013.
    """
    if not ORDERS_MIN <= permutations_max <= PERMUTATIONS_MAX or not error_share_max > 0:
        raise NoFairSplit(
            problem=f"permutations_max is {permutations_max} and error_share_max "
            f"{error_share_max}: give {ORDERS_MIN} to {PERMUTATIONS_MAX} and a share above 0",
            short_minor=0,
        )
    rng = np.random.default_rng(seed)
    players, per_draw = loads.shape[0], 2 * _rotations(loads)
    whole = abs(float(np.asarray(cost(loads.sum(axis=0, keepdims=True)))[0]))
    looks = _looks(-(-ORDERS_MIN // per_draw), permutations_max // per_draw)
    unsure = (1.0 - CONFIDENCE) / (2 * players * len(looks))
    mean, squares = np.zeros(players), np.zeros(players)
    standard_error, error_share, draws = np.full(players, np.inf), np.inf, 0
    for look in looks:
        while draws < look:
            draws += 1
            added = _added_by_draw(loads, cost, rng)
            apart = added - mean
            mean += apart / draws
            squares += apart * (added - mean)
        standard_error = np.sqrt(squares / (draws - 1) / draws)
        width = float(student_t.isf(unsure, draws - 1)) * float(standard_error.max())
        error_share = width / whole if whole else (np.inf if width else 0.0)
        if error_share <= error_share_max:
            break
    return ShapleyEstimate(
        values=mean,
        standard_error=standard_error,
        permutations=per_draw * draws,
        error_share=error_share,
        good_enough=error_share <= error_share_max,
    )


def _looks(fewest: int, most: int) -> list[int]:
    """After how many draws the error is looked at: ever farther apart, the last time at the end."""
    looks = [min(fewest, most)]
    while looks[-1] < most:
        looks.append(min(most, int(looks[-1] * LOOK_GROWTH) + 1))
    return looks


def _rotations(loads: NDArray[np.float64]) -> int:
    """How many turns of an order make a draw; half of all turns, since each is used both ways."""
    return max(1, min(ROTATIONS_MAX, len(loads) // 2))


def _added_by_draw(loads: NDArray[np.float64], cost: PoolCost, rng: np.random.Generator) -> Costs:
    """What each player adds, averaged over the turns of a random order, forwards and backwards."""
    players, rotations = loads.shape[0], _rotations(loads)
    added = np.zeros(players)
    drawn = rng.permutation(players)
    for number in range(rotations):
        turned = np.roll(drawn, number * players // rotations)
        for order in (turned, turned[::-1]):
            pooled = np.asarray(cost(np.cumsum(loads[order], axis=0)), dtype=np.float64)
            added[order] += np.diff(pooled, prepend=0.0)
    return added / (2 * rotations)


def least_core(costs: Costs) -> LeastCore:
    """Find the least core from the cost of every coalition, by bit mask.

    Raises:
        NoFairSplit: The linear programme has no solution.

    Source: M. Maschler, B. Peleg, L. S. Shapley, "Geometric properties of the kernel, nucleolus,
    and related solution concepts", Mathematics of Operations Research 4, 1979.
    """
    players = (costs.size - 1).bit_length()
    masks = np.arange(1, costs.size - 1)
    inside = ((masks[:, None] >> np.arange(players)) & 1).astype(np.float64)
    if players == 1:
        return LeastCore(shares=costs[1:].copy(), excess=0.0)
    solved = linprog(
        c=np.append(np.zeros(players), 1.0),
        A_ub=np.hstack([inside, -np.ones((masks.size, 1))]),
        b_ub=costs[masks],
        A_eq=np.append(np.ones(players), 0.0)[None, :],
        b_eq=costs[-1:],
        bounds=[(None, None)] * (players + 1),
        method="highs",
    )
    if not solved.success:
        raise NoFairSplit(problem=f"no least core was found: {solved.message}", short_minor=0)
    return LeastCore(shares=np.asarray(solved.x[:-1]), excess=float(solved.x[-1]))


def core_excess(shares: Sequence[float] | Costs, costs: Costs) -> float:
    """Return how much the worst-off coalition pays beyond its own cost; at most zero in the core.

    Args:
        shares: Cost of each player.
        costs: Cost of every coalition, by bit mask.
    """
    given = np.asarray(shares, dtype=np.float64)
    masks = np.arange(1, costs.size - 1)
    if masks.size == 0:
        return 0.0
    inside = (masks[:, None] >> np.arange(given.size)) & 1
    return float((inside @ given - costs[masks]).max())


def peak_cost(price_per_kw: float, *, step_s: int) -> PoolCost:
    """Return a pool cost that charges the highest mean power [currency per kW]."""

    def cost(pooled_wh: NDArray[np.float64]) -> Costs:
        peaks: Costs = pooled_wh.max(axis=1) * (3.6 / step_s) * price_per_kw
        return peaks

    return cost


def imbalance_cost(spread_per_mwh: float, *, lag: int) -> PoolCost:
    """Return a pool cost for missing a forecast equal to the load `lag` intervals before."""

    def cost(pooled_wh: NDArray[np.float64]) -> Costs:
        missed = np.abs(pooled_wh[:, lag:] - pooled_wh[:, :-lag]).sum(axis=1)
        costs: Costs = missed * (1e-6 * spread_per_mwh)
        return costs

    return cost
