"""Walk-aways with exit fees, and how sure a saving is."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from tariff_bargainer.bargaining.alternatives import best_alternatives, chance_of_saving
from tariff_bargainer.bargaining.offers import price_homes
from tariff_bargainer.errors import InsufficientProfile, MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.offer_texts import flat_tariff
from tests.tariff_bargainer.bargaining.street import START, hourly_homes


def test_an_exit_fee_decides_between_staying_and_leaving():
    homes = hourly_homes(2, days=365)
    own = flat_tariff(0.30)
    bills = price_homes(homes, own)
    cheap = flat_tariff(0.25, name="cheap")
    gain = {home: bills[home] - price_homes(homes, cheap)[home] for home in homes}
    for home, profile in homes.items():
        fee = Decimal(gain[home]) / 100
        held = replace(own, exit_fee=fee)
        free = replace(own, exit_fee=fee - Decimal("0.01"))
        assert best_alternatives({home: profile}, {home: held}, [cheap])[home].stays
        leaving = best_alternatives({home: profile}, {home: free}, [cheap])[home]
        assert not leaving.stays
        assert leaving.cost_minor == bills[home] - 1


def test_a_fee_counts_over_a_year_whatever_the_span_of_the_profile():
    home = hourly_homes(1, days=73)
    own = replace(flat_tariff(0.30), exit_fee=Decimal(100))
    (found,) = best_alternatives(home, {"home-000": own}, []).values()
    assert (found.exit_fee_minor, found.fee_counted_minor) == (10_000, 2_000)
    assert found.joining_limit_minor == found.cost_minor - 2_000


def test_nobody_walks_away_to_something_dearer_than_staying():
    homes = hourly_homes(5, days=60)
    own = {home: flat_tariff(0.2 + 0.03 * place) for place, home in enumerate(homes)}
    found = best_alternatives(homes, own, [flat_tariff(0.24), flat_tariff(0.27)])
    bills = price_homes(homes, own)
    assert all(found[home].cost_minor <= bills[home] for home in homes)
    assert found["home-000"].stays
    assert found["home-004"].tariff.energy[0].periods[0].tiers[0].rate == Decimal("0.24")


def test_a_tariff_that_is_cheaper_at_every_kwh_saves_for_sure():
    home = hourly_homes(1, days=120)["home-000"]
    assert chance_of_saving(home, flat_tariff(0.30), flat_tariff(0.29), samples=20) == 1
    assert chance_of_saving(home, flat_tariff(0.29), flat_tariff(0.30), samples=20) == 0


def test_a_tariff_at_the_break_even_is_uncertain():
    rng = np.random.default_rng(4)
    weekly = np.repeat(rng.lognormal(6, 0.5, size=20), 168)
    home = LoadProfile(start=START, step_s=3600, import_wh=np.rint(weekly))
    kwh = float(home.import_wh.sum()) / 1000
    months = price_homes({"h": home}, flat_tariff(0.0, standing=8))["h"] / 800
    # A higher standing charge is worth it only when the drawn year uses enough.
    dear_standing = 8 + 0.05 * kwh / months
    chance = chance_of_saving(
        home, flat_tariff(0.30), flat_tariff(0.25, standing=round(dear_standing, 4)), samples=60
    )
    assert 0.1 < chance < 0.9


def test_groups_that_do_not_fit_are_refused():
    homes = hourly_homes(1, days=60)
    with pytest.raises(MismatchedHomes, match="no tariff of its own"):
        best_alternatives(homes, {}, [])
    short = LoadProfile(start=START, step_s=3600, import_wh=np.ones(400))
    with pytest.raises(InsufficientProfile, match="four"):
        chance_of_saving(short, flat_tariff(0.3), flat_tariff(0.2))
