"""Noise: exact odds, the budget in words people know, and what is charged to whom."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import BadInput, NotAllowed, ReleaseRefused
from cloud.profiles import repository
from cloud.profiles.noise import discrete_gaussian, epsilon_of, noised_sum, shorten
from cloud.profiles.noised_release import RHO_PER_YEAR, NoiseWanted, release_noised
from cloud.profiles.privacy_floor import Audience
from gateway.wire.consent import Release
from tests.cloud.profiles.test_release import ASKED, NOW, PRIVACY, Street

WANTED = NoiseWanted(cut="month-hour", rho=Fraction(1, 10), length_max_wh=20_000)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=30), st.integers(1, 10**6))
def test_shortening_never_passes_the_length_and_never_adds(figures: list[int], most: int) -> None:
    short = shorten(figures, most)
    assert sum(figure * figure for figure in short) <= most * most
    assert all(0 <= b <= a for a, b in zip(figures, short, strict=True))
    if sum(figure * figure for figure in figures) <= most * most:
        assert short == figures


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(3), Fraction(50)])
def test_draws_have_the_odds_of_the_discrete_gaussian(variance: Fraction) -> None:
    dice = random.Random(11).randrange
    draws = Counter(discrete_gaussian(variance, dice) for _ in range(6_000))
    reach = range(-60, 61)
    weights = {x: math.exp(-x * x / (2 * float(variance))) for x in reach}
    whole = sum(weights.values())
    expected = {x: 6_000 * weight / whole for x, weight in weights.items()}
    common = [x for x in reach if expected[x] >= 5]
    chi2 = sum((draws[x] - expected[x]) ** 2 / expected[x] for x in common)
    freedom = len(common) - 1
    # Five standard deviations of a chi-squared: a wrong sampler fails, an unlucky seed does not.
    assert chi2 < freedom + 5 * math.sqrt(2 * max(freedom, 1))


@pytest.mark.parametrize(("sigma", "epsilon"), [(4.531, 1.0), (1.644, 3.0), (0.570, 10.0)])
def test_budgets_convert_to_the_epsilon_that_is_published(sigma: float, epsilon: float) -> None:
    rho = Fraction(1 / (2 * sigma**2))
    assert epsilon_of(rho) == pytest.approx(epsilon, rel=0.003)


def test_epsilon_rises_with_the_budget_and_nothing_costs_nothing() -> None:
    spent = [epsilon_of(Fraction(step, 100)) for step in range(20)]
    assert spent == sorted(spent)
    assert spent[0] == 0


def test_one_home_moves_the_sum_by_no_more_than_the_length() -> None:
    homes = np.array([[5_000, 4_000], [900_000, 0]])
    without = homes.copy()
    without[1] = 0
    same = [random.Random(3).randrange for _ in range(2)]
    kept, left = (
        noised_sum(rows, length_max_wh=10_000, rho=Fraction(1, 2), dice=dice)
        for rows, dice in zip((homes, without), same, strict=True)
    )
    assert kept[0] - left[0] <= 10_000
    assert kept[1] == left[1]


def test_the_noise_has_the_size_it_says() -> None:
    dice = random.Random(8).randrange
    homes = np.zeros((1, 2_000), dtype=np.int64)
    drawn = noised_sum(homes, length_max_wh=1_000, rho=Fraction(1, 8), dice=dice)
    assert np.std(drawn) == pytest.approx(1_000 / math.sqrt(2 / 8), rel=0.08)
    assert abs(np.mean(drawn)) < 5 * 2_000 / math.sqrt(2_000)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    opened = Street(tmp_path)
    for number in range(20):
        opened.add_home(number, release=Release.NOISED if number % 2 else Release.GROUP)
    yield opened
    opened.database.close()


def noised(street: Street, wanted: NoiseWanted = WANTED, **changes):
    asked = replace(ASKED, **changes)
    return release_noised(street.database, street.store, asked, wanted, privacy=PRIVACY, now=NOW)


def test_a_noised_release_is_near_the_sum_logged_and_charged(street: Street) -> None:
    released = noised(street)
    exact = sum(1000 + number % 7 for number in range(20))
    assert released.homes == 20
    assert len(released.frame) == 24
    off = released.frame["energy_wh"] - exact
    assert (off.abs() < 6 * released.noise_deviation_wh).all()
    assert off.abs().max() > 0
    (facts,) = street.log("release.made")
    assert (facts["rho"], facts["kind"], facts["cells"]) == ("1/10", "noised", 24)
    with street.database.reading() as connection:
        assert repository.spent_by_home(connection, [2026])["home-003"] == Fraction(1, 10)


def test_a_spent_budget_refuses_and_other_years_are_not_touched(street: Street) -> None:
    noised(street)
    with pytest.raises(ReleaseRefused, match="0 homes agreed and have budget left"):
        noised(street)
    assert street.log("release.refused")[0]["reasons"] == ["too_few_homes"]
    noised(street, replace(WANTED, rho=RHO_PER_YEAR - Fraction(1, 10)))
    with pytest.raises(ReleaseRefused):
        noised(street, replace(WANTED, rho=Fraction(1, 10**6)))
    with street.database.reading() as connection:
        assert repository.spent_by_home(connection, [2025]) == {}


def test_noised_releases_do_not_count_as_exact_ones(street: Street) -> None:
    noised(street)
    with street.database.reading() as connection:
        assert (
            repository.exact_releases_over(
                connection, quantity=ASKED.quantity, start=ASKED.start, end=ASKED.end
            )
            == []
        )


def test_own_only_stays_own(street: Street) -> None:
    street.add_home(90, release=Release.OWN_ONLY)
    assert noised(street).homes == 20


def test_a_forgotten_home_leaves_no_budget_line(street: Street) -> None:
    noised(street)
    with street.database.transaction() as connection:
        repository.forget_home(connection, "home-003")
        assert "home-003" not in repository.spent_by_home(connection, [2026])


@pytest.mark.parametrize(
    ("wanted", "changes", "problem"),
    [
        (replace(WANTED, cut="minutes"), {}, "use one of month-hour"),
        (replace(WANTED, rho=Fraction(0)), {}, "rho must be above 0"),
        (replace(WANTED, rho=Fraction(1)), {}, "rho must be above 0"),
        (replace(WANTED, length_max_wh=0), {}, "must be positive"),
        (WANTED, {"timezone": "Mars/Olympus"}, "time zone"),
        (WANTED, {"end": NOW.replace(year=2027)}, "over"),
        (WANTED, {"end": ASKED.start}, "over"),
    ],
)
def test_amounts_without_meaning_are_refused(
    street: Street, wanted: NoiseWanted, changes: dict, problem: str
) -> None:
    with pytest.raises(BadInput, match=problem):
        noised(street, wanted, **changes)


def test_the_outside_needs_two_people_for_noised_sums_too(street: Street) -> None:
    with pytest.raises(NotAllowed, match="two people"):
        noised(street, audience=Audience.OUTSIDE, approved_by=("a",))
