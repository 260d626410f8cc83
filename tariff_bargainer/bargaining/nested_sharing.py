"""Sharing a common cost in a large pool: first between archetypes, then within each.

The Owen value is the Shapley value with groups that join as a whole: orders are drawn between
groups, and within the group that is joining. What a group pays together is the Shapley value of
the game between groups, which is exact here, because every coalition of the other groups is looked
at with its exact weight; the members' shares within it sum to that, whatever their own error.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.bargaining.cost_sharing import PLAYERS_EXACT_MAX, Costs, PoolCost
from tariff_bargainer.errors import NoFairSplit

ORDERS_MAX = 10_000
FEWEST_DRAWS = 30
"""Draws below which a spread says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedShares:
    """Owen values of the members of groups.

    Attributes:
        values: Cost of each member, summing to the cost of all.
        groups: Cost of each group, exact; the members of a group sum to it.
        standard_error: Standard error of each member's value, zero where it is exact; not known
            (NaN) where there were too few draws to tell.
    """

    values: Costs
    groups: Costs
    standard_error: Costs


def owen_values(
    loads: NDArray[np.float64],
    labels: NDArray[np.int64],
    cost: PoolCost,
    *,
    orders: int = 2,
    seed: int = 0,
) -> NestedShares:
    """Share a pool's cost between groups, and within each group between its members.

    Args:
        loads: Load of each member, shape (members, cells).
        labels: Group of each member, 0 to groups - 1, such as its archetype; at most 12 groups.
        cost: Cost of pooled loads.
        orders: Pairs of orders within a group for every coalition of the others.
        seed: Seed of the orders.

    Raises:
        NoFairSplit: There are more groups than can be enumerated, or one of them is empty.

    Source: G. Owen, "Values of games with a priori unions", Mathematical Economics and Game Theory,
    1977; between groups as in L. S. Shapley, 1953.
    """
    count = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels, minlength=count)
    if not 1 <= count <= PLAYERS_EXACT_MAX or not sizes.all() or not 1 <= orders <= ORDERS_MAX:
        raise NoFairSplit(
            problem=f"{count} groups, the smallest of {sizes.min(initial=0)}: give 1 to "
            f"{PLAYERS_EXACT_MAX} groups with a member each, and 1 to {ORDERS_MAX} orders",
            short_minor=0,
        )
    rng = np.random.default_rng(seed)
    pooled = np.array([loads[labels == group].sum(axis=0) for group in range(count)])
    masks = np.arange(1 << count)
    values, errors = np.zeros(len(loads)), np.zeros(len(loads))
    for group in range(count):
        members = np.flatnonzero(labels == group)
        # A pair of opposite orders is every order of one or two members.
        pairs = 1 if len(members) <= 2 else orders
        variance = np.zeros(len(members))
        for mask in masks[(masks >> group) & 1 == 0]:
            inside = (int(mask) >> np.arange(count)) & 1
            weight = 1.0 / (count * comb(count - 1, int(inside.sum())))
            draws = _draws(loads[members], inside @ pooled, cost, pairs, rng)
            values[members] += weight * draws.mean(axis=0)
            if pairs > 1:
                variance += weight**2 * draws.var(axis=0, ddof=1) / pairs
        if len(members) > 2:
            known = pairs > 1 and pairs << (count - 1) >= FEWEST_DRAWS
            errors[members] = np.sqrt(variance) if known else np.nan
    groups = np.array([values[labels == group].sum() for group in range(count)])
    return NestedShares(values=values, groups=groups, standard_error=errors)


def _draws(
    loads: NDArray[np.float64],
    others: NDArray[np.float64],
    cost: PoolCost,
    pairs: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What members add after these others, each draw an order and the same order backwards."""
    before = 0.0
    if others.any():
        before = float(np.asarray(cost(others[None, :]))[0])
    added = np.zeros((pairs, len(loads)))
    for draw in added:
        forwards = rng.permutation(len(loads))
        for order in (forwards, forwards[::-1]):
            joined = np.asarray(cost(others + np.cumsum(loads[order], axis=0)), dtype=np.float64)
            draw[order] += np.diff(joined, prepend=before) / 2
    return added
