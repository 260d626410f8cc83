"""Archetypes: found where they exist, never too small, and judged in money."""

import numpy as np
import pytest

from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.archetypes import (
    find_archetypes,
    price_distance,
    shape_distance,
    tariff_error,
)

HOUR = np.arange(48) % 24
EVENING = np.exp(-(((HOUR - 19) / 2) ** 2)) + 0.1
NIGHT = np.exp(-(((HOUR - 2) / 2) ** 2)) + 0.1
DAY = np.exp(-(((HOUR - 13) / 2) ** 2)) + 0.1
FLAT = np.full(48, 0.30)
TIME_OF_USE = np.where((HOUR >= 17) & (HOUR < 21), 0.45, np.where(HOUR < 6, 0.15, 0.28))
RATES = np.vstack([FLAT, TIME_OF_USE])


def street(*groups: tuple[np.ndarray, int], seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = [
        shape * rng.uniform(1e3, 4e3) * rng.lognormal(0, 0.1, size=48)
        for shape, count in groups
        for _ in range(count)
    ]
    return np.array(rows)


def test_three_kinds_of_home_are_told_apart():
    cells = street((EVENING, 40), (NIGHT, 25), (DAY, 15))
    found = find_archetypes(cells, RATES, candidates=range(1, 5))
    assert found.sizes.size >= 3
    truth = np.repeat([0, 1, 2], [40, 25, 15])
    for label in range(found.sizes.size):
        assert len(set(truth[found.labels == label])) == 1, "no archetype mixes two kinds"
    assert found.stability >= 0.8
    assert found.sizes.min() >= 10
    np.testing.assert_allclose(found.shapes.sum(axis=1), 1)


def test_more_archetypes_than_one_lower_the_bill_error():
    cells = street((EVENING, 40), (NIGHT, 40))
    one = find_archetypes(cells, RATES, candidates=[1])
    more = find_archetypes(cells, RATES, candidates=[2])
    assert more.tariff_error < one.tariff_error / 2
    own = cells @ RATES.T
    shape = cells.sum(axis=0) / cells.sum()
    by_hand = np.abs(np.outer(cells.sum(axis=1), shape) @ RATES.T / own - 1).mean()
    assert one.tariff_error == pytest.approx(by_hand)


def test_a_small_group_joins_the_nearest_and_is_never_shown():
    cells = street((EVENING, 40), (NIGHT, 4))
    found = find_archetypes(cells, RATES)
    assert found.sizes.min() >= 10


def test_ten_homes_of_each_kind_are_enough():
    found = find_archetypes(street((EVENING, 10), (NIGHT, 10)), RATES)
    assert found.sizes.tolist() == [10, 10]
    assert find_archetypes(street((EVENING, 10), (NIGHT, 9)), RATES).sizes.tolist() == [19]


def test_groups_that_only_chance_tells_apart_are_not_made():
    for seed in range(3):
        found = find_archetypes(street((EVENING, 40), (NIGHT, 40)), RATES, seed=seed)
        assert found.sizes.tolist() == [40, 40]


def test_homes_that_are_all_alike_are_one_archetype_without_a_warning():
    found = find_archetypes(np.tile(street((DAY, 1)), (40, 1)), RATES)
    assert found.sizes.tolist() == [40]
    assert found.tariff_error == pytest.approx(0, abs=1e-12)


def test_one_strange_home_is_no_archetype():
    cells = np.vstack([street((EVENING, 20), (NIGHT, 20)), np.eye(48)[3:4] * 1e4])
    found = find_archetypes(cells, RATES)
    assert sorted(found.sizes.tolist()) == [20, 21]


def test_homes_without_kinds_give_no_unstable_grouping():
    cells = street((EVENING, 60), seed=5)
    found = find_archetypes(cells, RATES, candidates=range(1, 7))
    assert found.stability >= 0.8


def test_under_a_flat_tariff_every_shape_costs_the_same():
    cells = street((EVENING, 20), (NIGHT, 20))
    mean = np.tile(cells.sum(axis=0) / cells.sum(), (40, 1))
    assert tariff_error(cells, mean, FLAT[None, :]) == pytest.approx(0, abs=1e-12)


def test_the_same_seed_gives_the_same_archetypes():
    cells = street((EVENING, 30), (NIGHT, 30))
    first, second = (find_archetypes(cells, RATES, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)


def test_distances_between_shapes():
    assert shape_distance([1, 1], [2, 2]) == 0
    assert shape_distance([1, 0], [0, 5]) == 1
    assert price_distance([1, 3], [1, 1], [0.2, 0.4]) == pytest.approx(0.35 - 0.30)


def test_groups_too_small_or_empty_homes_are_refused():
    with pytest.raises(InsufficientProfile, match="9 homes"):
        find_archetypes(street((EVENING, 9)), RATES)
    empty = street((EVENING, 12))
    empty[3] = 0
    with pytest.raises(InvalidProfile, match="energy above zero"):
        find_archetypes(empty, RATES)
    with pytest.raises(InvalidProfile, match="do not match"):
        find_archetypes(street((EVENING, 12)), RATES[:, :5])


def test_the_frame_has_a_row_per_archetype():
    found = find_archetypes(street((EVENING, 20), (NIGHT, 20)), RATES)
    frame = found.to_frame()
    assert frame["homes"].sum() == 40
    assert "archetypes" in found._repr_html_()
