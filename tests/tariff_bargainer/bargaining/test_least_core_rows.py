"""The least core by row generation agrees with enumeration, and goes beyond it."""

import numpy as np
import pytest

from tariff_bargainer.bargaining.cost_sharing import coalition_costs, least_core, peak_cost
from tariff_bargainer.bargaining.least_core_rows import least_core_of_peak
from tariff_bargainer.errors import NoFairSplit

STEP_S = 3600


def loads_of(players: int, cells: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 400.0, size=(players, cells))


@pytest.mark.parametrize(("players", "seed"), [(2, 0), (5, 1), (8, 2), (10, 3)])
def test_rows_find_the_least_core_of_enumeration(players: int, seed: int) -> None:
    loads = loads_of(players, 24, seed)
    costs = coalition_costs(loads, peak_cost(60.0, step_s=STEP_S))
    enumerated = least_core(costs)

    found = least_core_of_peak(loads, 60.0, step_s=STEP_S)

    assert found.excess == pytest.approx(enumerated.excess, abs=1e-5 * costs[-1])
    assert found.shares.sum() == pytest.approx(costs[-1])


def test_thirty_homes_share_a_peak_and_no_sampled_group_gains_by_leaving() -> None:
    loads = loads_of(30, 24, 4)
    cost = peak_cost(60.0, step_s=STEP_S)

    found = least_core_of_peak(loads, 60.0, step_s=STEP_S)

    whole = cost(loads.sum(axis=0, keepdims=True))[0]
    assert found.shares.sum() == pytest.approx(whole)
    groups = np.random.default_rng(5).integers(0, 2, size=(20_000, 30)).astype(float)
    proper = groups[(groups.sum(axis=1) > 0) & (groups.sum(axis=1) < 30)]
    complaints = proper @ found.shares - cost(proper @ loads)
    assert complaints.max() <= found.excess + 1e-5 * whole


def test_too_many_players_or_cells_are_refused() -> None:
    with pytest.raises(NoFairSplit, match="61 players"):
        least_core_of_peak(np.ones((61, 24)), 1.0, step_s=STEP_S)
    with pytest.raises(NoFairSplit, match="2001 cells"):
        least_core_of_peak(np.ones((3, 2001)), 1.0, step_s=STEP_S)
