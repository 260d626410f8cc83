"""Transfers: exact, enough, and never more than needed."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from tariff_bargainer.bargaining.fairness import (
    cheapest_remedy,
    guarantee_transfers,
    remedy_transfers,
)
from tariff_bargainer.errors import NoFairSplit

savings_lists = st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=50)


def named(savings: list[int]) -> dict[str, int]:
    return {f"h{place:03d}": saving for place, saving in enumerate(savings)}


@given(savings_lists, st.integers(-100, 100), st.sampled_from(["top", "proportional"]))
def test_nobody_is_worse_off_and_no_cent_appears_or_vanishes(savings, least, payers):
    homes = named(savings)
    if sum(savings) < least * len(savings):
        with pytest.raises(NoFairSplit) as refused:
            guarantee_transfers(homes, least_minor=least, payers=payers)
        assert refused.value.short_minor == least * len(savings) - sum(savings)
        return
    made = guarantee_transfers(homes, least_minor=least, payers=payers)
    assert sum(made.credit_minor.values()) == 0
    after = {home: saving + made.credit_minor[home] for home, saving in homes.items()}
    assert min(after.values()) == made.least_saving_minor >= least
    assert made.moved_minor == sum(max(0, least - saving) for saving in savings)
    for home, saving in homes.items():
        if saving < least:
            assert after[home] == least, "a loser is lifted to the guarantee and no further"
        else:
            assert made.credit_minor[home] <= 0


@given(savings_lists.filter(lambda savings: sum(savings) >= 0))
def test_payers_from_the_top_leave_the_highest_possible_least_payer(savings):
    """Oracle: a linear programme that maximises the least remaining saving of payers."""
    homes = named(savings)
    made = guarantee_transfers(homes)
    paid = {home: -credit for home, credit in made.credit_minor.items() if credit < 0}
    if not paid:
        return
    winners = [saving for saving in savings if saving > 0]
    remaining = [homes[home] - amount for home, amount in paid.items()]
    # With common level z, the most that can be taken is sum(max(0, s - z)).
    level = max(remaining)
    assert max(remaining) - min(remaining) <= 1, "payers end on one level"
    untouched = [homes[home] for home in homes if home not in paid and homes[home] > 0]
    assert all(saving <= level for saving in untouched)
    solved = linprog(
        c=[*[0.0] * len(winners), 1.0],
        A_ub=[[-float(i == j) for j in range(len(winners))] + [-1.0] for i in range(len(winners))],
        b_ub=[-float(saving) for saving in winners],
        A_eq=[[1.0] * len(winners) + [0.0]],
        b_eq=[float(made.moved_minor)],
        bounds=[*[(0, float(saving)) for saving in winners], (0, None)],
        method="highs",
    )
    highest_after = max(homes[home] + made.credit_minor[home] for home in homes)
    assert highest_after - solved.fun < 1 + 1e-6, "the largest saving is cut as evenly as can be"


def test_proportional_payers_give_the_same_share():
    made = guarantee_transfers({"a": 3000, "b": 1000, "c": -400}, payers="proportional")
    assert made.credit_minor == {"a": -300, "b": -100, "c": 400}


def test_ten_thousand_members_take_no_time():
    rng = np.random.default_rng(2)
    homes = named([int(saving) for saving in rng.normal(3000, 4000, size=10_000)])
    made = guarantee_transfers(homes)
    assert sum(made.credit_minor.values()) == 0
    assert made.least_saving_minor >= 0


@given(
    st.lists(st.integers(-300, 200), min_size=1, max_size=9),
    st.integers(0, 100),
    st.integers(0, 3),
)
def test_the_remedy_is_the_cheapest_of_all_choices(savings, limit, allowed):
    homes = named(savings)
    made = cheapest_remedy(homes, loss_limit_minor=limit, homes_allowed=allowed)
    excess = [-saving - limit for saving in savings if -saving > limit]
    choices = (
        sum(lifted)
        for count in range(len(excess) + 1)
        for lifted in combinations(excess, count)
        if len(excess) - count <= allowed
    )
    assert made.cost_minor == min(choices)
    after = [saving + made.credit_minor.get(home, 0) for home, saving in homes.items()]
    assert (
        sum(-saving > limit for saving in after)
        == made.homes_over_after
        <= max(allowed, made.homes_over_before if allowed >= made.homes_over_before else 0)
    )


def test_winners_pay_the_remedy_to_the_cent():
    homes = {"a": 5000, "b": 4000, "c": -4500, "d": -9000}
    remedy = cheapest_remedy(homes, loss_limit_minor=4000, homes_allowed=1)
    assert remedy.credit_minor == {"c": 500}
    made = remedy_transfers(homes, remedy)
    assert made.credit_minor == {"a": -500, "b": 0, "c": 500, "d": 0}
    poor = {"a": 10, "b": -9000}
    dear = cheapest_remedy(poor, loss_limit_minor=0, homes_allowed=0)
    with pytest.raises(NoFairSplit):
        remedy_transfers(poor, dear)
