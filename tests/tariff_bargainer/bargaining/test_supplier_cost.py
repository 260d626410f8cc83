"""The supplier's floor: its identities, and the same numbers found another way."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.supplier_cost import (
    FloorAssumptions,
    capture_ratio,
    estimate_floor,
)
from tariff_bargainer.errors import InsufficientProfile, InvalidProfile
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.street import START, hourly_homes, pool, spot_per_mwh

FULL = FloorAssumptions(
    forward_premium_share=0.03,
    imbalance_spread_per_mwh=12,
    risk_weight=0.8,
    scenarios=400,
    serving_per_meter_year=45,
    acquisition_per_meter=30,
    term_months=24,
    credit_days=40,
    credit_rate_per_year=0.07,
    validity_days=21,
    forward_volatility_per_year=0.4,
    pass_through_per_kwh=0.11,
    pass_through_per_meter_year=60,
    margin_per_kwh=0.005,
    uncertainty_share=0.5,
)


def floor(profile, spot, *, meters=10, assumptions=FULL, **more):
    return estimate_floor(
        profile,
        spot,
        currency="EUR",
        timezone="Europe/Berlin",
        meters=meters,
        assumptions=assumptions,
        **more,
    )


def of(energy) -> LoadProfile:
    return LoadProfile(start=START, step_s=3600, import_wh=np.asarray(energy))


def test_lines_sum_exactly_and_energy_lines_are_the_load_at_spot():
    load, spot = pool(hourly_homes(12)), spot_per_mwh(364 * 24)
    estimate = floor(load, spot, meters=12)
    assert estimate.total == sum(line.amount for line in estimate.lines)
    energy = sum(
        estimate.amount(key) for key in ("base_block", "peak_block", "shape", "covariance")
    )
    assert float(energy) == pytest.approx(float((load.import_wh * spot).sum()) / 1e6, abs=1e-4)
    assert estimate.rate_per_kwh == (estimate.total / estimate.energy_kwh).quantize(
        Decimal("0.000001")
    )


def test_each_energy_line_agrees_with_a_group_by_in_pandas():
    load, spot = pool(hourly_homes(9)), spot_per_mwh(364 * 24)
    estimate = floor(load, spot, assumptions=FloorAssumptions(scenarios=1))
    index = pd.date_range(START, periods=len(load), freq="h").tz_convert("Europe/Berlin")
    frame = pd.DataFrame({"mwh": load.import_wh / 1e6, "price": spot}, index=index)
    month = index.strftime("%Y-%m")
    working = index.day_of_week < 5
    peak = working & (index.hour >= 8) & (index.hour < 20)

    def at_means(*keys):
        means = frame.groupby(list(keys))["price"].transform("mean")
        return (frame["mwh"] * means).sum()

    base, block = at_means(month), at_means(month, peak)
    cells = at_means(month, working, index.hour)
    assert float(estimate.amount("base_block")) == pytest.approx(base, abs=1e-5)
    assert float(estimate.amount("peak_block")) == pytest.approx(block - base, abs=1e-5)
    assert float(estimate.amount("shape")) == pytest.approx(cells - block, abs=1e-5)


@given(st.integers(1, 100_000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_flat_load_has_no_profile_cost_and_no_risk(wh, seed):
    estimate = floor(of(np.full(60 * 24, wh)), spot_per_mwh(60 * 24, seed=seed))
    for key in ("peak_block", "shape", "covariance", "imbalance", "risk"):
        assert abs(estimate.amount(key)) <= Decimal("0.00001"), key
    assert estimate.capture_ratio == pytest.approx(1)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_merging_two_pools_never_costs_more(seed, first, second):
    homes = list(hourly_homes(first + second, days=70, seed=seed).items())
    one, two = dict(homes[:first]), dict(homes[first:])
    spot = spot_per_mwh(70 * 24, seed=seed)
    merged = floor(pool(dict(homes)), spot, meters=first + second, seed=seed)
    apart = [floor(pool(part), spot, meters=len(part), seed=seed) for part in (one, two)]
    assert merged.total <= sum(estimate.total for estimate in apart) + Decimal("0.0001")


def test_the_floor_rises_with_risk_weight_spread_and_margin():
    load, spot = pool(hourly_homes(5, days=84)), spot_per_mwh(84 * 24)
    for key in ("risk_weight", "imbalance_spread_per_mwh", "margin_per_kwh"):
        totals = [
            floor(load, spot, assumptions=replace(FULL, **{key: level})).total
            for level in (0.0, 0.5, 1.0)
        ]
        assert totals == sorted(totals), key
        assert totals[0] < totals[2], key


def test_load_that_rises_with_price_costs_more_than_load_that_falls():
    spot = spot_per_mwh(84 * 24)
    with_price, against = of(1000 + 8 * (spot - 60)), of(1000 - 8 * (spot - 100))
    dear = floor(with_price, spot, assumptions=FloorAssumptions(scenarios=1))
    cheap = floor(against, spot, assumptions=FloorAssumptions(scenarios=1))
    assert dear.capture_ratio > 1 > cheap.capture_ratio
    assert dear.amount("covariance") > 0 > cheap.amount("covariance")


def test_nothing_is_assumed_unless_it_is_said():
    estimate = floor(pool(hourly_homes(3)), spot_per_mwh(364 * 24), assumptions=FloorAssumptions())
    assumed = {line.key for line in estimate.lines if line.amount} - {
        "base_block",
        "peak_block",
        "shape",
        "covariance",
    }
    assert assumed == set()


def test_the_range_opens_with_uncertainty_around_assumed_lines_only():
    estimate = floor(pool(hourly_homes(3)), spot_per_mwh(364 * 24))
    assert estimate.rate_low_per_kwh < estimate.rate_per_kwh < estimate.rate_high_per_kwh
    measured = [line for line in estimate.lines if line.key in ("base_block", "pass_through")]
    assert all(line.low == line.amount == line.high for line in measured)


def test_a_perfect_forecast_leaves_no_imbalance():
    load, spot = pool(hourly_homes(3)), spot_per_mwh(364 * 24)
    assert floor(load, spot, forecast_wh=load.import_wh).amount("imbalance") == 0
    assert floor(load, spot).amount("imbalance") > 0


def test_the_same_seed_gives_the_same_floor():
    load, spot = pool(hourly_homes(3)), spot_per_mwh(364 * 24)
    assert floor(load, spot, seed=4).lines == floor(load, spot, seed=4).lines
    assert floor(load, spot, seed=4).total != floor(load, spot, seed=5).total


def test_capture_ratio_is_the_weighted_mean_over_the_mean():
    assert capture_ratio([1, 3], [10, 30]) == pytest.approx(25 / 20)


def test_input_that_cannot_be_priced_is_refused():
    load, spot = pool(hourly_homes(2)), spot_per_mwh(364 * 24)
    with pytest.raises(InvalidProfile, match="one price per interval"):
        floor(load, spot[:-1])
    holed = spot.copy()
    holed[77] = np.nan
    with pytest.raises(InvalidProfile, match="interval 77"):
        floor(load, holed)
    gap = load.import_wh.astype(float)
    gap[3] = np.nan
    with pytest.raises(InsufficientProfile, match="misses 1"):
        floor(of(gap), spot)
    with pytest.raises(InsufficientProfile, match="4 weeks"):
        floor(of(np.ones(600)), spot[:600])
    with pytest.raises(InvalidProfile, match="margin_per_kwh"):
        FloorAssumptions(margin_per_kwh=-1)
