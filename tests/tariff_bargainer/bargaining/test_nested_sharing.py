"""Owen values: exact between groups, and by definition within small ones."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.cost_sharing import (
    coalition_costs,
    imbalance_cost,
    peak_cost,
    shapley_exact,
)
from tariff_bargainer.bargaining.nested_sharing import owen_values
from tariff_bargainer.errors import NoFairSplit

PEAK = peak_cost(10.0, step_s=3600)


def loads(players: int, seed: int, cells: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.5, 400, size=(players, cells))


def by_definition(homes: np.ndarray, labels: list[int]) -> np.ndarray:
    """Average added cost over every order in which groups join as a whole."""
    costs = coalition_costs(homes, PEAK)
    values = np.zeros(len(labels))
    orders = [
        order
        for order in permutations(range(len(labels)))
        if sum(labels[a] != labels[b] for a, b in pairwise(order)) == len(set(labels)) - 1
    ]
    for order in orders:
        mask = 0
        for player in order:
            values[player] += costs[mask | 1 << player] - costs[mask]
            mask |= 1 << player
    return values / len(orders)


@given(
    st.sampled_from([[0, 0, 1, 1, 2, 2], [0, 1, 1, 2], [0, 1, 2, 3], [0, 0]]), st.integers(0, 99)
)
@settings(max_examples=20, deadline=None)
def test_groups_of_one_and_two_are_exact(labels, seed):
    homes = loads(len(labels), seed)
    found = owen_values(homes, np.array(labels), PEAK, orders=1, seed=seed)
    np.testing.assert_allclose(found.values, by_definition(homes, labels), rtol=1e-9)
    assert (found.standard_error == 0).all()


def test_larger_groups_come_close_and_say_how_close():
    homes, labels = loads(7, seed=3), [0, 0, 0, 1, 1, 1, 1]
    found = owen_values(homes, np.array(labels), PEAK, orders=400, seed=1)
    error = np.abs(found.values - by_definition(homes, labels))
    assert (error <= 4 * found.standard_error).all()
    assert error.max() < 0.01 * found.values.sum()
    assert np.isnan(owen_values(homes, np.array(labels), PEAK, orders=1).standard_error).all()


@pytest.mark.parametrize("cost", [PEAK, imbalance_cost(50.0, lag=24)])
def test_what_a_group_pays_is_exact_whatever_happens_inside_it(cost):
    homes = loads(200, seed=8, cells=48)
    labels = np.arange(200) % 5
    pooled = np.array([homes[labels == group].sum(axis=0) for group in range(5)])
    between = shapley_exact(coalition_costs(pooled, cost))
    found = owen_values(homes, labels, cost, orders=1, seed=2)
    np.testing.assert_allclose(found.groups, between, rtol=1e-9)
    assert found.values.sum() == pytest.approx(cost(homes.sum(axis=0, keepdims=True))[0])


def test_a_group_for_each_home_is_the_shapley_value():
    homes = loads(8, seed=4)
    found = owen_values(homes, np.arange(8), PEAK)
    np.testing.assert_allclose(found.values, shapley_exact(coalition_costs(homes, PEAK)), rtol=1e-9)


def test_alike_homes_of_one_group_pay_about_the_same():
    homes = loads(60, seed=5)
    homes[1] = homes[0]
    found = owen_values(homes, np.arange(60) // 30, PEAK, orders=200)
    assert abs(found.values[0] - found.values[1]) <= 4 * np.hypot(*found.standard_error[:2])


def test_too_many_groups_and_empty_ones_are_refused():
    with pytest.raises(NoFairSplit, match="13 groups"):
        owen_values(loads(13, seed=1), np.arange(13), PEAK)
    with pytest.raises(NoFairSplit, match="smallest of 0"):
        owen_values(loads(2, seed=1), np.array([0, 2]), PEAK)
