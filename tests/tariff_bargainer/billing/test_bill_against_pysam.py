"""Bills equal the SAM engine's wherever it can represent the rate, to 1e-8 of the largest month."""

import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tariff_bargainer.billing.bill import Bill, bill
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.tariffs.tariff import (
    EnergyCharge,
    IndexLink,
    NetMetering,
    Period,
    Tariff,
    Tier,
)
from tariff_bargainer.tariffs.urdb import parse_urdb
from tests.tariff_bargainer.billing.pysam_oracle import (
    FIXED_ZONE,
    START,
    OracleBill,
    as_json,
    ask_pysam,
    in_bulk_names,
    profile_of,
    random_generation_kw,
    random_load_kw,
    random_urdb,
    random_urdb_of_mixed_blocks,
    rates_of,
    with_ratchet_percentage,
)

RELATIVE = 1e-8
OPTION = {"net": 0, "net-billing": 2}


def assert_equal(made: Bill, wanted: OracleBill) -> None:
    scale = max(1.0, *(abs(total) for total in wanted.total))
    months = [month.amounts for month in made.monthly]
    assert len(months) == 12
    found = {
        "total": [m.total for m in months],
        "fixed": [m.fixed for m in months],
        "demand": [m.demand for m in months],
        "minimum": [m.minimum for m in months],
    }
    for component, amounts in found.items():
        error = np.abs(np.array([float(a) for a in amounts]) - getattr(wanted, component)).max()
        assert error <= RELATIVE * scale, f"{component} is off by {error}"
    assert abs(float(made.annual.total) - sum(wanted.total)) <= RELATIVE * max(
        1.0, abs(sum(wanted.total))
    )


def one_case(seed: int, make: Callable[[random.Random], dict[str, Any]] = random_urdb) -> None:
    rng = random.Random(seed)
    urdb = make(rng)
    steps = rng.choice([1, 1, 2, 4])
    load_kw = random_load_kw(seed, steps)
    generation_kw = random_generation_kw(seed, steps, rng.choice([0.0, 0.0, 1.0, 4.0]))
    metering = rng.choice(["net", "net-billing"])
    option = OPTION[metering]
    if metering == "net-billing" and rng.random() < 0.3:
        urdb["dgrules"] = "Net Billing Hourly"
        option = 3
    wanted = ask_pysam(load_kw, generation_kw, rates_of(urdb, option))
    tariff = parse_urdb(as_json(urdb), timezone=FIXED_ZONE)
    assert_equal(bill(profile_of(load_kw, generation_kw), tariff, metering=metering), wanted)


@pytest.mark.parametrize("seed", range(40))
def test_random_rates_cost_the_same(seed: int) -> None:
    one_case(seed)


@pytest.mark.parametrize("seed", range(20))
def test_blocks_by_the_month_beside_blocks_by_the_day_cost_the_same(seed: int) -> None:
    one_case(seed, random_urdb_of_mixed_blocks)


@pytest.mark.parametrize("seed", range(12))
def test_a_ratchet_percentage_costs_the_same(seed: int) -> None:
    one_case(seed, lambda rng: with_ratchet_percentage(rng, random_urdb(rng)))


@pytest.mark.parametrize("seed", range(10))
def test_a_rate_in_the_names_of_the_bulk_download_is_the_same_tariff(seed: int) -> None:
    urdb = random_urdb(random.Random(seed))
    bulk = in_bulk_names(urdb)
    assert not set(bulk) & {"energyratestructure", "energyweekdayschedule"}
    by_service = parse_urdb(as_json(urdb), timezone=FIXED_ZONE)
    assert parse_urdb(as_json(bulk), timezone=FIXED_ZONE) == by_service


def test_kwh_beside_kwh_per_kw_is_priced_whole_where_the_engine_bills_only_a_part() -> None:
    rate = [
        {"rate": 1.0, "max": 60, "unit": "kWh/kW"},
        {"rate": 1.0, "max": 4000, "unit": "kWh"},
        {"rate": 1.0, "unit": "kWh"},
    ]
    urdb = {
        "energyratestructure": [rate],
        "energyweekdayschedule": [[0] * 24] * 12,
        "energyweekendschedule": [[0] * 24] * 12,
    }
    load_kw = random_load_kw(3, 1)
    wanted = ask_pysam(load_kw, np.zeros(8760), rates_of(urdb, 0))
    assert sum(wanted.total) < 0.7 * load_kw.sum()  # at 1.0 per kWh whichever the block
    made = bill(profile_of(load_kw, np.zeros(8760)), parse_urdb(as_json(urdb), timezone=FIXED_ZONE))
    assert float(made.annual.total) == pytest.approx(load_kw.sum(), rel=1e-9)


@pytest.mark.parametrize("field", ["lookbackpercent", "demandratchetpercentage"])
@pytest.mark.parametrize("seed", range(4))
def test_shares_of_earlier_peaks_that_differ_by_month_cost_the_same(seed: int, field: str) -> None:
    rng = random.Random(seed)
    urdb = with_ratchet_percentage(rng, random_urdb(rng))
    del urdb["demandratchetpercentage"]
    shares = [round(rng.uniform(0, 1), 2) for _ in range(12)]
    load_kw = random_load_kw(seed, 1)
    rates = rates_of(urdb | {"lookbackpercent": 1.0, "lookbackrange": 7}, 0)
    rates["ur_billing_demand_lookback_percentages"] = [[share * 100, 1] for share in shares]
    wanted = ask_pysam(load_kw, np.zeros(8760), rates)
    urdb |= {field: shares, "lookbackrange": 7}
    tariff = parse_urdb(as_json(urdb), timezone=FIXED_ZONE)
    assert_equal(bill(profile_of(load_kw, np.zeros(8760)), tariff, metering="net"), wanted)


@pytest.mark.parametrize("seed", range(6))
def test_all_bought_and_all_sold_cost_the_same(seed: int) -> None:
    rng = random.Random(seed)
    urdb = random_urdb(rng) | {"mincharge": 60.0, "minchargeunits": "$/month"}
    urdb["dgrules"] = "Buy All Sell All"
    load_kw, generation_kw = random_load_kw(seed, 1, 0.3), random_generation_kw(seed, 1, 1.5)
    wanted = ask_pysam(load_kw, generation_kw, rates_of(urdb))
    none = np.zeros(8760)
    used, made_kw = profile_of(load_kw, none), profile_of(none, generation_kw)
    both = replace(used, export_wh=made_kw.export_wh)
    assert_equal(bill(both, parse_urdb(as_json(urdb), timezone=FIXED_ZONE)), wanted)


def test_the_sam_engine_drops_what_a_negative_price_owes_under_net_metering_and_bills_do_not() -> (
    None
):
    urdb = {
        "energyratestructure": [[{"rate": -0.01, "unit": "kWh"}]],
        "energyweekdayschedule": [[0] * 24] * 12,
        "energyweekendschedule": [[0] * 24] * 12,
    }
    load_kw, none = np.ones(8760), np.zeros(8760)
    assert sum(ask_pysam(load_kw, none, rates_of(urdb, 0)).total) == 0
    made = bill(profile_of(load_kw, none), parse_urdb(as_json(urdb), timezone=FIXED_ZONE))
    assert made.annual.total == Decimal("-87.6")


@pytest.mark.slow
@pytest.mark.parametrize("block", range(6))
def test_many_random_rates_cost_the_same(block: int) -> None:
    for seed in range(1000 + 40 * block, 1040 + 40 * block):
        one_case(seed)


@pytest.mark.parametrize("seed", range(12))
def test_surplus_carried_as_money_costs_the_same(seed: int) -> None:
    rng = random.Random(seed)
    urdb = random_urdb(rng)
    load_kw = random_load_kw(seed, 1)
    generation_kw = random_generation_kw(seed, 1, rng.choice([1.0, 2.5, 4.0]))
    credit_month = rng.randint(1, 12)
    rates = rates_of(urdb, 1) | {"ur_nm_credit_month": credit_month - 1}
    wanted = ask_pysam(load_kw, generation_kw, rates)
    tariff = replace(
        parse_urdb(as_json(urdb), timezone=FIXED_ZONE),
        net_metering=NetMetering(rollover="money", credit_month=credit_month),
    )
    assert_equal(bill(profile_of(load_kw, generation_kw), tariff, metering="net"), wanted)


@pytest.mark.parametrize("seed", range(12))
def test_energy_left_at_the_credit_month_is_paid_the_same(seed: int) -> None:
    rng = random.Random(seed)
    urdb = random_urdb(rng)
    load_kw = random_load_kw(seed, 1)
    generation_kw = random_generation_kw(seed, 1, rng.choice([2.5, 4.0, 8.0]))
    credit_month = rng.randint(1, 12)
    rates = rates_of(urdb, 0) | {
        "ur_nm_credit_month": credit_month - 1,
        "ur_nm_yearend_sell_rate": 0.0317,
    }
    wanted = ask_pysam(load_kw, generation_kw, rates)
    tariff = replace(
        parse_urdb(as_json(urdb), timezone=FIXED_ZONE),
        net_metering=NetMetering(
            carry_by="time-of-day",
            credit_month=credit_month,
            year_end_rate_per_kwh=Decimal("0.0317"),
        ),
    )
    assert_equal(bill(profile_of(load_kw, generation_kw), tariff, metering="net"), wanted)


@pytest.mark.parametrize("steps", [1, 4])
def test_hourly_buy_and_sell_prices_cost_the_same(steps: int) -> None:
    rng = np.random.default_rng(5)
    price = np.round(rng.normal(0.12, 0.06, 8760), 5)
    load_kw, generation_kw = random_load_kw(3, steps), random_generation_kw(3, steps, 3.0)
    free = {"rate": 0.0, "unit": "kWh"}
    urdb = {
        "energyratestructure": [[free]],
        "energyweekdayschedule": [[0] * 24] * 12,
        "energyweekendschedule": [[0] * 24] * 12,
    }
    rates = rates_of(urdb, 2) | {
        "ur_en_ts_buy_rate": 1,
        "ur_ts_buy_rate": np.repeat(price, steps).tolist(),
        "ur_en_ts_sell_rate": 1,
        "ur_ts_sell_rate": np.repeat(price / 2, steps).tolist(),
    }
    wanted = ask_pysam(load_kw, generation_kw, rates)
    open_block = (Period(name="all", tiers=(Tier(rate=Decimal(0)),)),)
    half = IndexLink(series="spot", loss_factor=Decimal("0.5"))
    tariff = Tariff(
        name="spot",
        currency="USD",
        timezone=FIXED_ZONE,
        energy=(EnergyCharge(name="e", periods=open_block, index=IndexLink(series="spot")),),
        export=(EnergyCharge(name="x", periods=open_block, index=half),),
    )
    hours = pd.date_range(START, periods=8760, freq="h")
    series = IndexSeries.from_series(pd.Series(price, index=hours))
    made = bill(
        profile_of(load_kw, generation_kw),
        tariff,
        metering="net-billing",
        index={"spot": series},
    )
    assert_equal(made, wanted)


def test_blocks_of_unequal_size_by_period_are_refused_by_pysam_but_priced_here() -> None:
    urdb = {
        "energyratestructure": [
            [{"rate": 0.1, "max": 100, "unit": "kWh"}, {"rate": 0.2, "unit": "kWh"}],
            [{"rate": 0.3, "max": 300, "unit": "kWh"}, {"rate": 0.5, "unit": "kWh"}],
        ],
        "energyweekdayschedule": [[0] * 12 + [1] * 12] * 12,
        "energyweekendschedule": [[0] * 12 + [1] * 12] * 12,
    }
    load_kw = np.full(8760, 1.0)
    none = np.zeros(8760)
    with pytest.raises(Exception, match="utilityrate5 execution error"):
        ask_pysam(load_kw, none, rates_of(urdb, 0))
    tariff = parse_urdb(as_json(urdb), timezone=FIXED_ZONE)
    made = bill(profile_of(load_kw, none), tariff, metering="net")
    # January: 744 kWh, half in each period; each period's blocks share out the month's energy.
    morning = 372 * (100 * 0.1 + 644 * 0.2) / 744
    evening = 372 * (300 * 0.3 + 444 * 0.5) / 744
    assert float(made.monthly[0].amounts.energy) == pytest.approx(morning + evening, rel=1e-12)
    ordered = bill(profile_of(load_kw, none), tariff, metering="net-billing")
    # In order of use the first 100 kWh of the month end on the morning of 5 January; energy of
    # the evening counts up to 300 kWh, which the month reaches at noon of 13 January.
    early = 52 * 0.1 + (372 - 52) * 0.2
    late = 144 * 0.3 + (372 - 144) * 0.5
    assert float(ordered.monthly[0].amounts.energy) == pytest.approx(early + late, rel=1e-12)
