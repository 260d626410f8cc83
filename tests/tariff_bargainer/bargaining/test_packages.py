"""Packages: the frontier, and the solutions on it, against brute force."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.counter_offer import BargainingRange
from tariff_bargainer.bargaining.packages import (
    Issue,
    Level,
    counter_package,
    explain_package,
    green_issue,
    kalai_smorodinsky_package,
    nash_package,
    pareto_packages,
    rubinstein_share,
    term_issue,
    time_of_use_issue,
)
from tariff_bargainer.errors import NegotiationFault

LIMITS = BargainingRange(
    currency="EUR",
    energy_kwh=Decimal(100_000),
    floor_low=Decimal("0.26"),
    floor=Decimal("0.26"),
    floor_high=Decimal("0.26"),
    target=Decimal("0.27"),
    walk_away=Decimal("0.29"),
)
STEP = Decimal("0.005")

levels = st.builds(
    Level,
    label=st.uuids().map(str),
    worth_minor=st.integers(-200_000, 200_000),
    cost_minor=st.integers(-200_000, 200_000),
)
issue_lists = st.lists(st.lists(levels, min_size=1, max_size=3), max_size=3).map(
    lambda found: [
        Issue(name=f"issue {place}", levels=tuple(one)) for place, one in enumerate(found)
    ]
)


def every_gain(issues, prices):
    for price, *chosen in product(prices, *(issue.levels for issue in issues)):
        ours = round((LIMITS.walk_away - price) * 100_000 * 100)
        theirs = round((price - LIMITS.floor) * 100_000 * 100)
        yield (
            ours + sum(level.worth_minor for level in chosen),
            theirs - sum(level.cost_minor for level in chosen),
        )


@given(issue_lists)
@settings(max_examples=60, deadline=None)
def test_no_package_on_the_frontier_is_beaten_and_none_is_missing(issues):
    found = pareto_packages(LIMITS, issues, step_per_kwh=STEP)
    gains = [(one.our_gain_minor, one.their_gain_minor) for one in found]
    assert all(ours >= 0 and theirs >= 0 for ours, theirs in gains)
    assert gains == sorted(gains, reverse=True)
    for ours, theirs in gains:
        assert not any((a >= ours and b >= theirs and (a, b) != (ours, theirs)) for a, b in gains)
    prices = sorted({one.price_per_kwh for one in found})
    for ours, theirs in every_gain(issues, prices):
        if ours >= 0 and theirs >= 0:
            assert any(a >= ours and b >= theirs for a, b in gains)


@given(issue_lists, st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_the_nash_package_has_the_largest_product(issues, tenths):
    found = pareto_packages(LIMITS, issues, step_per_kwh=STEP)
    if not any(one.our_gain_minor > 0 and one.their_gain_minor > 0 for one in found):
        return
    power = tenths / 10
    best = nash_package(found, power=Decimal(tenths) / 10)

    def value(one):
        return one.our_gain_minor**power * one.their_gain_minor ** (1 - power)

    assert value(best) >= max(value(one) for one in found) * (1 - 1e-9)


def test_kalai_smorodinsky_equalises_shares_of_the_ideal():
    found = pareto_packages(LIMITS, [], step_per_kwh=Decimal("0.0001"))
    fair = kalai_smorodinsky_package(found)
    most_ours = max(one.our_gain_minor for one in found)
    most_theirs = max(one.their_gain_minor for one in found)
    assert fair.our_gain_minor / most_ours == pytest.approx(
        fair.their_gain_minor / most_theirs, abs=0.01
    )


def test_what_is_cheap_for_them_and_dear_to_us_is_traded_for_price():
    green = Issue(
        name="green",
        levels=(
            Level(label="0%", worth_minor=0, cost_minor=0),
            Level(label="100%", worth_minor=90_000, cost_minor=20_000),
        ),
    )
    found = pareto_packages(LIMITS, [green])
    assert {one.labels["green"] for one in found} == {"100%"}
    plain = nash_package(pareto_packages(LIMITS, []))
    traded = nash_package(found)
    assert traded.our_gain_minor > plain.our_gain_minor
    assert traded.their_gain_minor > plain.their_gain_minor
    assert traded.price_per_kwh > plain.price_per_kwh


def test_a_deal_can_exist_only_because_of_an_issue():
    narrow = replace(LIMITS, walk_away=Decimal("0.255"))
    assert pareto_packages(narrow, []) == ()
    with pytest.raises(NegotiationFault, match="no package helps both"):
        nash_package(())
    term = term_issue([12, 36], acquisition_minor=120_000, worth_minor_per_month=0)
    assert term.levels[1].cost_minor == -80_000
    assert pareto_packages(narrow, [term]) != ()


def test_the_counter_package_is_the_suppliers_best_at_our_aspiration():
    found = pareto_packages(LIMITS, [], step_per_kwh=STEP)
    ask = counter_package(found, our_gain_minor=200_000)
    assert ask.our_gain_minor >= 200_000
    assert all(
        one.their_gain_minor <= ask.their_gain_minor
        for one in found
        if one.our_gain_minor >= 200_000
    )
    with pytest.raises(NegotiationFault, match="aspire to less"):
        counter_package(found, our_gain_minor=10**9)


def test_a_package_is_explained_by_what_changed():
    green = green_issue(
        [Decimal(0), Decimal(1)],
        energy_kwh=Decimal(100_000),
        cost_per_kwh=Decimal("0.2"),
        worth_per_kwh=Decimal("0.5"),
    )
    found = pareto_packages(LIMITS, [green], step_per_kwh=STEP)
    text = explain_package(found[1], found[0], "EUR")
    assert "green 100%" in text
    assert "price up" in text
    assert "the group gains EUR" in text


def test_a_steeper_peak_price_moves_more_use():
    tou = time_of_use_issue(
        [Decimal(1), Decimal(2)],
        peak_kwh=Decimal(24_000),
        shift_share_per_ratio=Decimal("0.1"),
        saved_minor_per_kwh=Decimal(6),
        effort_minor_per_kwh=Decimal(2),
    )
    assert [(one.worth_minor, one.cost_minor) for one in tou.levels] == [(0, 0), (-4800, -14400)]


def test_patience_pays_and_equal_haste_favours_who_speaks_first():
    assert rubinstein_share(0.9, 0.9) == pytest.approx(1 / 1.9)
    assert rubinstein_share(0.99, 0.9) > rubinstein_share(0.9, 0.9)
    # As rounds follow each other ever faster, equals split evenly: the Nash solution.
    assert rubinstein_share(1 - 1e-9, 1 - 1e-9) == pytest.approx(0.5)
    with pytest.raises(NegotiationFault):
        rubinstein_share(1.0, 0.5)


def test_too_many_combinations_are_refused():
    level = tuple(Level(label=str(n), worth_minor=n, cost_minor=-n) for n in range(100))
    with pytest.raises(NegotiationFault, match="too many combinations"):
        pareto_packages(LIMITS, [Issue(name=str(n), levels=level) for n in range(4)])
