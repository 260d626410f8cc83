"""Offers replayed on every home's real use, against hand-made arithmetic."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.bargaining.offers import (
    HomeOutcome,
    Mandate,
    check_mandate,
    evaluate_offer,
    price_homes,
    savings_histogram,
)
from tariff_bargainer.errors import MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.offer_texts import flat_offer, flat_tariff

JANUARY = datetime(2024, 12, 31, 23, tzinfo=UTC)  # New Year 2025 in Vienna.


def january(wh_per_hour: int) -> LoadProfile:
    """Exactly January on the tariff's clock: 744 hours."""
    return LoadProfile(start=JANUARY, step_s=3600, import_wh=np.full(744, wh_per_hour))


def test_savings_are_the_hand_made_ones():
    homes = {"small": january(100), "large": january(1000)}
    old = {"small": flat_tariff(0.20), "large": flat_tariff(0.35)}
    made = evaluate_offer(flat_offer(0.30), homes, old, Mandate(loss_limit_minor=100))
    # 74.4 kWh: 14.88 + 8 -> 22.32 + 8; 744 kWh: 260.40 + 8 -> 223.20 + 8.
    by_home = {
        home.home: (home.old_minor, home.new_minor, home.saving_minor) for home in made.homes
    }
    assert by_home == {"small": (2288, 3032, -744), "large": (26840, 23120, 3720)}
    assert (made.winners, made.losers, made.saving_minor) == (1, 1, 2976)
    assert made.energy_kwh == Decimal("818.4")
    assert made.price_per_kwh == Decimal("0.319550")  # 261.52 / 818.4
    assert made.saving_of("large") == 3720


def test_each_home_keeps_its_own_tariff_and_nobody_is_mixed_up():
    homes = {f"h{number}": january(100 + number) for number in range(6)}
    old = {home: flat_tariff(0.2 + 0.01 * place) for place, home in enumerate(homes)}
    new = price_homes(homes, flat_tariff(0.25))
    each = price_homes(homes, old)
    made = evaluate_offer(flat_offer(0.25), dict(reversed(homes.items())), old, Mandate())
    assert {home.home: home.old_minor for home in made.homes} == each
    assert {home.home: home.new_minor for home in made.homes} == new


@given(st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=60))
def test_every_home_is_in_exactly_one_bar_and_zero_parts_winners_from_losers(savings):
    histogram = savings_histogram(savings)
    assert sum(histogram.counts) == len(savings)
    assert 0 in histogram.edges_minor
    assert len(histogram.edges_minor) == len(histogram.counts) + 1
    zero = histogram.edges_minor.index(0)
    assert sum(histogram.counts[:zero]) == sum(saving < 0 for saving in savings)
    assert len(histogram.counts) <= 25


def outcomes(savings: list[int]) -> list[HomeOutcome]:
    return [
        HomeOutcome(home=f"h{place}", old_minor=100_000, new_minor=100_000 - saving)
        for place, saving in enumerate(savings)
    ]


def test_three_percent_of_412_homes_are_twelve():
    mandate = Mandate(losers_share_max=Decimal("0.03"), loss_limit_minor=4000)
    savings = [10_000] * 400 + [-4001] * 12
    check = check_mandate(mandate, flat_offer(0.3), outcomes(savings))
    assert (check.kept, check.homes_over_limit, check.homes_allowed) == (True, 12, 12)
    one_more = [10_000] * 399 + [-4001] * 13
    broken = check_mandate(mandate, flat_offer(0.3), outcomes(one_more))
    assert not broken.kept
    assert broken.broken == ("13 homes would pay over EUR 40.00 more, 12 of 412 may",)


def test_a_loss_at_the_limit_does_not_count():
    mandate = Mandate(loss_limit_minor=4000)
    assert check_mandate(mandate, flat_offer(0.3), outcomes([9000, -4000])).kept


def test_the_yearly_limit_is_scaled_to_a_month():
    mandate = Mandate(loss_limit_minor=3650)
    assert not check_mandate(mandate, flat_offer(0.3), outcomes([5000, -400]), days=31).kept
    assert check_mandate(mandate, flat_offer(0.3), outcomes([5000, -310]), days=31).kept


def test_every_broken_clause_is_named():
    mandate = Mandate(
        saving_share_min=Decimal("0.04"), green_share_min=Decimal(1), term_months_max=12
    )
    offer = flat_offer(0.3)
    check = check_mandate(mandate, offer, outcomes([1000, -1]))
    assert len(check.broken) == 3
    assert "4.0% is asked" in check.broken[1]
    assert "at most 12" in check.broken[2]


def test_groups_that_do_not_fit_are_refused():
    homes = {"a": january(100)}
    with pytest.raises(MismatchedHomes, match="a: has no tariff"):
        evaluate_offer(flat_offer(0.3), homes, {}, Mandate())
    with pytest.raises(MismatchedHomes, match="empty"):
        evaluate_offer(flat_offer(0.3), {}, {}, Mandate())


def test_an_offer_is_open_until_its_last_instant_only():
    from dataclasses import replace

    until = datetime(2026, 12, 1, 16, tzinfo=UTC)
    offer = replace(flat_offer(0.3), valid_until=until)
    assert offer.is_open(datetime(2026, 12, 1, 15, 59, tzinfo=UTC))
    assert not offer.is_open(until)


def test_quick_prices_are_the_exact_ones_to_the_minor_unit():
    from tests.tariff_bargainer.bargaining.street import hourly_homes

    homes = hourly_homes(25, days=90)
    own = {home: flat_tariff(0.2 + 0.001 * place) for place, home in enumerate(homes)}
    for tariffs in (flat_tariff(0.31), own):
        exact, quick = price_homes(homes, tariffs), price_homes(homes, tariffs, quick=True)
        assert list(exact) == list(quick)
        assert max(abs(exact[home] - quick[home]) for home in homes) <= 1


def test_a_suppliers_name_is_shown_and_never_run():
    name = "<script>alert(1)</script>"
    offer = flat_offer(0.30)
    offer = replace(offer, supplier=name, tariff=replace(offer.tariff, name=name))
    homes = {"a": january(100)}
    shown = evaluate_offer(offer, homes, {"a": flat_tariff(0.2)}, Mandate())._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 2
