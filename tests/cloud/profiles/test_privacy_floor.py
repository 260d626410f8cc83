"""The floor itself: size, dominance per cell, and what several sums reveal together."""

from __future__ import annotations

import hashlib
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.profiles.privacy_floor import (
    Cells,
    EarlierRelease,
    Floor,
    Shortfall,
    check_cells,
    check_differences,
    check_size,
    cohort_root,
)
from gateway.wire.log_proof import leaf_hash, node_hash

FLOOR = Floor(homes_min=15, top_share_max=0.15)


def homes(count: int, first: int = 0) -> frozenset[str]:
    return frozenset(f"home-{number}" for number in range(first, first + count))


def earlier(*groups: frozenset[str]) -> list[EarlierRelease]:
    return [EarlierRelease(name=str(at + 1), homes=group) for at, group in enumerate(groups)]


def cells(energy: list[int], count: list[int], share: list[float]) -> Cells:
    return Cells(
        energy_wh=np.array(energy), homes=np.array(count), top_share=np.array(share, dtype=float)
    )


def test_fifteen_homes_are_enough_and_fourteen_are_not() -> None:
    assert check_size(15, FLOOR) == ()
    (reason,) = check_size(14, FLOOR)
    assert reason.shortfall is Shortfall.TOO_FEW_HOMES
    assert "14 homes" in reason.text
    assert "at least 15" in reason.text


def test_exactly_fifteen_percent_passes_and_a_little_more_does_not() -> None:
    assert check_cells(cells([100, 100], [20, 20], [15 / 100, 0.1]), FLOOR) == ()
    (reason,) = check_cells(cells([1000, 100], [20, 20], [151 / 1000, 0.1]), FLOOR)
    assert reason.shortfall is Shortfall.DOMINATED
    assert "1 of 2 figures" in reason.text


def test_one_thin_cell_refuses_the_release() -> None:
    (reason,) = check_cells(cells([100, 100], [20, 14], [0.1, 0.1]), FLOOR)
    assert reason.shortfall is Shortfall.TOO_FEW_IN_CELL
    assert "least on 14" in reason.text


def test_a_sum_of_zero_discloses_everybody_and_is_refused() -> None:
    assert check_cells(cells([0], [20], [1.0]), FLOOR)


def test_the_same_homes_again_reveal_nothing() -> None:
    assert check_differences(homes(20), earlier(homes(20)), FLOOR) == ()


def test_homes_entirely_different_reveal_nothing() -> None:
    assert check_differences(homes(20, 100), earlier(homes(20)), FLOOR) == ()


@pytest.mark.parametrize("gone", [1, 7, 14])
def test_leaving_out_a_few_homes_is_refused(gone: int) -> None:
    (reason,) = check_differences(homes(40 - gone), earlier(homes(40)), FLOOR)
    assert reason.shortfall is Shortfall.DIFFERENCE
    assert f"by {gone}" in reason.text


def test_leaving_out_as_many_as_the_floor_asks_passes() -> None:
    assert check_differences(homes(25), earlier(homes(40)), FLOOR) == ()


def test_two_halves_that_leave_one_home_of_the_whole_are_refused() -> None:
    whole, first, rest = homes(101), homes(50), homes(50, 50)
    assert check_differences(first, earlier(whole), FLOOR) == ()
    (reason,) = check_differences(rest, earlier(whole, first), FLOOR)
    assert "together with earlier releases" in reason.text


def test_a_home_whose_readings_changed_since_counts_as_a_difference() -> None:
    before = EarlierRelease(name="1", homes=homes(20), changed=homes(3))
    (reason,) = check_differences(homes(20), [before], FLOOR)
    assert "by 3" in reason.text
    all_changed = EarlierRelease(name="1", homes=homes(20), changed=homes(20))
    assert check_differences(homes(20), [all_changed], FLOOR) == ()


def test_many_small_sets_told_apart_are_refused_without_searching() -> None:
    draw = random.Random(4)
    everybody = sorted(homes(60))
    groups = [frozenset(draw.sample(everybody, 30)) for _ in range(5)]
    assert all(len(one ^ other) >= 15 for one, other in itertools.combinations(groups, 2))
    (reason,) = check_differences(groups[-1], earlier(*groups[:-1]), FLOOR)
    assert "together with earlier releases" in reason.text


@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=2, max_size=4),
    homes_min=st.integers(2, 5),
)
def test_no_combination_with_small_factors_reveals_few_where_the_check_passes(
    groups: list[set[int]], homes_min: int
) -> None:
    named = [frozenset(f"home-{number}" for number in group) for group in groups]
    floor = Floor(homes_min=homes_min, top_share_max=1.0)
    if check_differences(named[-1], earlier(*named[:-1]), floor):
        return
    everybody = sorted(set().union(*named))
    for factors in itertools.product(range(-2, 3), repeat=len(named)):
        weights = [
            sum(factor for factor, group in zip(factors, named, strict=True) if home in group)
            for home in everybody
        ]
        revealed = sum(1 for weight in weights if weight)
        assert revealed == 0 or revealed >= homes_min


def test_the_cohort_root_is_a_merkle_root_over_sorted_salted_commitments() -> None:
    salts = {"a": "00" * 32, "b": "11" * 32, "c": "22" * 32}
    leaves = sorted(
        hashlib.sha256(bytes.fromhex(salt) + home.encode()).digest() for home, salt in salts.items()
    )
    first, second, third = (leaf_hash(leaf) for leaf in leaves)
    assert cohort_root(salts) == node_hash(node_hash(first, second), third).hex()
    assert cohort_root(salts | {"c": "23" * 32}) != cohort_root(salts)
