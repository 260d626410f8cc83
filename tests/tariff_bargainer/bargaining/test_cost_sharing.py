"""Shapley values and the least core, against definitions and known games."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.cost_sharing import (
    coalition_costs,
    core_excess,
    imbalance_cost,
    least_core,
    peak_cost,
    shapley_estimate,
    shapley_exact,
    shapley_sampled,
)
from tariff_bargainer.errors import NoFairSplit

PEAK = peak_cost(10.0, step_s=3600)


def loads(players: int, seed: int, cells: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).gamma(1.5, 400, size=(players, cells))


def by_definition(costs: np.ndarray, players: int) -> np.ndarray:
    """Average marginal cost over every order."""
    values = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        mask = 0
        for player in order:
            values[player] += costs[mask | 1 << player] - costs[mask]
            mask |= 1 << player
    return values / len(orders)


@given(st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_exact_values_are_the_mean_over_all_orders(players, seed):
    costs = coalition_costs(loads(players, seed), PEAK)
    np.testing.assert_allclose(shapley_exact(costs), by_definition(costs, players), rtol=1e-9)


def test_a_known_game_the_runway():
    # Airport game: planes need runways of 1, 2 and 4; the value is 1/3, 1/3+1/2, 1/3+1/2+2.
    need = np.array([1.0, 2.0, 4.0])
    inside = (np.arange(8)[:, None] >> np.arange(3)) & 1
    costs = (inside * need).max(axis=1)
    np.testing.assert_allclose(shapley_exact(costs), [1 / 3, 5 / 6, 17 / 6])


def test_twelve_homes_sampled_come_within_one_percent_of_the_total():
    homes = loads(12, seed=4, cells=96)
    for cost in (PEAK, imbalance_cost(50.0, lag=24)):
        costs = coalition_costs(homes, cost)
        sampled = shapley_sampled(homes, cost, permutations=2000, seed=1)
        assert sampled.sum() == pytest.approx(costs[-1])
        assert np.abs(sampled - shapley_exact(costs)).max() < 0.01 * costs[-1]


@pytest.mark.parametrize("seed", range(6))
def test_an_estimate_stops_when_it_is_within_one_percent_and_says_so(seed):
    homes = loads(12, seed=40 + seed, cells=96)
    for cost in (PEAK, imbalance_cost(50.0, lag=24)):
        costs = coalition_costs(homes, cost)
        found = shapley_estimate(homes, cost, seed=seed)
        error = np.abs(found.values - shapley_exact(costs))
        assert found.good_enough
        assert found.error_share <= 0.01
        assert found.values.sum() == pytest.approx(costs[-1])
        assert error.max() <= 0.01 * costs[-1]
        assert (error <= 5 * found.standard_error + 1e-9 * costs[-1]).all()


def test_the_stated_error_is_the_error():
    homes = loads(10, seed=3, cells=48)
    exact = shapley_exact(coalition_costs(homes, PEAK))
    runs = [shapley_estimate(homes, PEAK, seed=seed, error_share_max=1.0) for seed in range(40)]
    spread = np.sqrt(np.mean([(run.values - exact) ** 2 for run in runs], axis=0))
    stated = np.mean([run.standard_error for run in runs], axis=0)
    np.testing.assert_allclose(stated, spread, rtol=0.45)


def test_an_estimate_that_may_not_look_longer_says_that_it_is_not_good_enough():
    found = shapley_estimate(
        loads(12, seed=1), PEAK, error_share_max=1e-6, permutations_max=1200, seed=2
    )
    assert not found.good_enough
    assert found.permutations == 1200
    with pytest.raises(NoFairSplit, match="permutations_max"):
        shapley_estimate(loads(3, seed=1), PEAK, permutations_max=999)


@pytest.mark.parametrize("players", [1, 2, 3, 5, 13])
def test_any_number_of_players_shares_the_whole_cost(players):
    homes = loads(players, seed=players)
    found = shapley_estimate(homes, PEAK)
    assert found.good_enough
    assert found.values.sum() == pytest.approx(PEAK(homes.sum(axis=0, keepdims=True))[0])
    if players <= 2:  # both orders of two were looked at
        exact = shapley_exact(coalition_costs(homes, PEAK))
        np.testing.assert_allclose(found.values, exact, rtol=1e-9)


def airport(need: np.ndarray) -> np.ndarray:
    """Values in closed form: each stretch of runway is paid by those that need it (n log n)."""
    ordered = np.argsort(need)
    steps = np.diff(need[ordered], prepend=0.0) / np.arange(need.size, 0, -1)
    values = np.empty(need.size)
    values[ordered] = np.cumsum(steps)
    return values


@pytest.mark.parametrize("seed", range(4))
def test_long_runways_of_forty_planes_come_within_one_percent(seed):
    # One plane far larger than the rest makes the values hard to sample.
    need = np.random.default_rng(seed).gamma(0.3, 1.0, size=40)
    found = shapley_estimate(np.eye(40), lambda pooled: (pooled * need).max(axis=1), seed=seed)
    assert found.good_enough
    assert np.abs(found.values - airport(need)).max() <= found.error_share * need.max()
    assert found.error_share <= 0.01


@pytest.mark.parametrize("seed", range(3))
def test_rare_orders_in_which_a_small_player_decides_are_not_overlooked(seed):
    # The first holds 48 of 97 votes and 49 decide: it needs one of the small, and only all of the
    # small together do without it.
    players = 50
    votes = np.ones(players)
    votes[0] = players - 2

    def passes(pooled: np.ndarray) -> np.ndarray:
        return (pooled @ votes >= players - 1).astype(np.float64)

    # The first decides at every place but the first and the last, each with chance 1 / players;
    # the others share the rest evenly.
    exact = np.full(players, 2 / players / (players - 1))
    exact[0] = (players - 2) / players
    found = shapley_estimate(np.eye(players), passes, seed=seed)
    assert found.good_enough
    assert np.abs(found.values - exact).max() <= 0.01


def test_a_cost_of_nothing_that_hides_unequal_shares_is_not_called_good_enough():
    # Together the two cancel, so a share of the whole says nothing.
    homes = loads(12, seed=3)

    def cancels(pooled: np.ndarray) -> np.ndarray:
        whole = homes.sum(axis=0).max()
        return pooled.max(axis=1) * (whole - pooled.max(axis=1))

    found = shapley_estimate(homes, cancels, permutations_max=1200)
    assert not found.good_enough


def test_many_homes_share_the_whole_cost_and_equals_pay_about_the_same():
    homes = loads(80, seed=5)
    homes[1] = homes[0]
    values = shapley_sampled(homes, PEAK, permutations=400)
    total = PEAK(homes.sum(axis=0, keepdims=True))[0]
    assert values.sum() == pytest.approx(total)
    assert values[0] == pytest.approx(values[1], abs=0.01 * total)


@given(st.integers(2, 7), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_the_least_core_is_no_worse_than_any_other_sharing(players, seed):
    costs = coalition_costs(loads(players, seed), PEAK)
    found = least_core(costs)
    assert found.shares.sum() == pytest.approx(costs[-1])
    assert core_excess(found.shares, costs) == pytest.approx(found.excess, abs=1e-6)
    rng = np.random.default_rng(seed)
    for _ in range(20):
        other = rng.dirichlet(np.ones(players)) * costs[-1]
        assert core_excess(other, costs) >= found.excess - 1e-6


def test_a_peak_that_is_a_sum_of_maxima_has_nobody_who_gains_by_leaving():
    # The pooled peak is at most the sum of peaks, so a core sharing by share of the common peak
    # hour exists: each pays for its own load in that hour.
    homes = loads(8, seed=9)
    costs = coalition_costs(homes, PEAK)
    assert least_core(costs).excess <= 1e-9


def test_too_many_players_are_refused():
    with pytest.raises(NoFairSplit, match="13 players"):
        coalition_costs(loads(13, seed=1), PEAK)


def test_one_player_pays_all():
    costs = coalition_costs(loads(1, seed=1), PEAK)
    assert shapley_exact(costs)[0] == costs[1] == least_core(costs).shares[0]
