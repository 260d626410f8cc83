"""Each rule of a tariff on a load small enough to be billed by hand."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.contract import bill_versions
from tariff_bargainer.billing.index_cost import IndexSeries, read_index_csv
from tariff_bargainer.billing.money import round_money
from tariff_bargainer.errors import (
    IndexFileError,
    InsufficientProfile,
    InvalidContract,
    MissingInput,
    UnsupportedRate,
)
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Rounding
from tests.tariff_bargainer.billing.builders import (
    amounts,
    flat_profile,
    tariff,
    utc,
    with_values,
)

JANUARY = flat_profile("2018-01-01T00:00:00+00:00", 31)
YEAR = flat_profile("2018-01-01T00:00:00+00:00", 365)


def test_flat_rate_standing_charge_and_tax_add_up() -> None:
    made = bill(
        JANUARY,
        tariff(
            "[[energy]]\nrate_per_kwh = 0.25\n"
            '[[standing]]\namount = 0.5\nper = "day"\n'
            '[[taxes]]\nname = "VAT"\npercent = 10\n'
        ),
    )
    assert amounts(made) == {
        "energy": Decimal("186.00"),
        "fixed": Decimal("15.5"),
        "tax": Decimal("20.15"),
        "total": Decimal("221.65"),
    }
    assert made.annual == made.monthly[0].amounts


def test_spring_clock_change_has_no_hour_from_two_to_three() -> None:
    march_day = flat_profile("2024-03-31T00:00:00+01:00", 23 / 24)
    rules = (
        '[[energy]]\n[[energy.periods]]\nname = "night"\nrate_per_kwh = 1\n'
        'windows = [{ from = "00:00", to = "06:00" }]\n'
        '[[energy.periods]]\nname = "day"\nrate_per_kwh = 100\n'
    )
    made = bill(march_day, tariff(rules, "Europe/Berlin"))
    assert made.annual.energy == 5 * 1 + 18 * 100


def test_autumn_clock_change_repeats_the_hour_from_two_to_three() -> None:
    october_day = flat_profile("2024-10-27T00:00:00+02:00", 25 / 24)
    rules = (
        '[[energy]]\n[[energy.periods]]\nname = "two"\nrate_per_kwh = 1\n'
        'windows = [{ from = "02:00", to = "03:00" }]\n'
        '[[energy.periods]]\nname = "rest"\nrate_per_kwh = 100\n'
    )
    made = bill(october_day, tariff(rules, "Europe/Berlin"))
    assert made.annual.energy == 2 * 1 + 23 * 100


def test_holiday_is_neither_weekday_nor_weekend() -> None:
    rules = (
        'holidays = ["12-25", 2018-01-02]\n[[energy]]\n'
        '[[energy.periods]]\nname = "holiday"\nrate_per_kwh = 1\n'
        'windows = [{ days = ["holidays"] }]\n'
        '[[energy.periods]]\nname = "other"\nrate_per_kwh = 10\n'
        'windows = [{ days = ["weekdays", "weekends"] }]\n'
    )
    made = bill(YEAR, tariff(rules))
    assert made.annual.energy == 2 * 24 * 1 + 363 * 24 * 10


def test_season_may_begin_within_a_month_and_run_over_new_year() -> None:
    rules = (
        '[[energy]]\n[[energy.periods]]\nname = "winter"\nrate_per_kwh = 1\n'
        'windows = [{ season = "12-16..01-10" }]\n'
        '[[energy.periods]]\nname = "other"\nrate_per_kwh = 10\n'
    )
    made = bill(YEAR, tariff(rules))
    assert amounts(made, 0)["energy"] == 240 * 1 + 21 * 24 * 10
    assert amounts(made, 11)["energy"] == 15 * 24 * 10 + 16 * 24 * 1


def test_leap_day_is_billed() -> None:
    february = flat_profile("2024-02-01T00:00:00+00:00", 29)
    made = bill(february, tariff('[[standing]]\namount = 1\nper = "day"\n'))
    assert made.annual.fixed == 29


TWO_BLOCKS = "tiers = [{ upto_kwh = 100, rate_per_kwh = 1 }, { rate_per_kwh = 10 }]\n"


@pytest.mark.parametrize(
    ("basis", "expected"),
    [
        ("month", 12 * 100 * 1 + (8760 - 1200) * 10),
        ("quarter", 4 * 100 * 1 + (8760 - 400) * 10),
        ("year", 100 * 1 + (8760 - 100) * 10),
        ("day", 8760 * 1),
        ("month-daily", 8760 * 1),
    ],
)
def test_blocks_count_over_their_own_time(basis: str, expected: int) -> None:
    made = bill(YEAR, tariff(f'[[energy]]\ntier_basis = "{basis}"\n{TWO_BLOCKS}'))
    assert made.annual.energy == expected


def test_daily_block_counts_each_day_but_average_daily_block_the_month() -> None:
    one_big_day = with_values(
        flat_profile("2018-01-01T00:00:00+00:00", 31, 0), {"2018-01-05T12:00:00+00:00": 24_000}
    )
    blocks = "tiers = [{ upto_kwh = 10, rate_per_kwh = 1 }, { rate_per_kwh = 10 }]\n"
    daily = bill(one_big_day, tariff(f'[[energy]]\ntier_basis = "day"\n{blocks}'))
    assert daily.annual.energy == 10 * 1 + 14 * 10
    average = bill(one_big_day, tariff(f'[[energy]]\ntier_basis = "month-daily"\n{blocks}'))
    assert average.annual.energy == 24


def test_blocks_per_kw_scale_with_the_peak() -> None:
    peaky = with_values(JANUARY, {"2018-01-10T18:00:00+00:00": 4000})
    blocks = "tiers = [{ upto_kwh = 100, rate_per_kwh = 1 }, { rate_per_kwh = 10 }]\n"
    made = bill(peaky, tariff(f'[[energy]]\ntier_basis = "month-per-kw"\n{blocks}'))
    assert made.annual.energy == 400 * 1 + (747 - 400) * 10


BLOCKS_BY_TIME = (
    '[[energy]]\ntier_scope = "{scope}"\ntier_order = "{order}"\n'
    '[[energy.periods]]\nname = "morning"\nwindows = [{{ to = "12:00" }}]\n'
    "tiers = [{{ upto_kwh = 124, rate_per_kwh = 1 }}, {{ rate_per_kwh = 2 }}]\n"
    '[[energy.periods]]\nname = "evening"\n'
    "tiers = [{{ upto_kwh = 124, rate_per_kwh = 10 }}, {{ rate_per_kwh = 20 }}]\n"
)


def test_blocks_and_periods_meet_in_proportion_in_order_or_apart() -> None:
    share = bill(JANUARY, tariff(BLOCKS_BY_TIME.format(scope="all", order="pro-rata")))
    assert share.annual.energy == 62 * 1 + 310 * 2 + 62 * 10 + 310 * 20
    order = bill(JANUARY, tariff(BLOCKS_BY_TIME.format(scope="all", order="chronological")))
    # 124 kWh are used up at 04:00 of the sixth day: 64 of them in the morning.
    assert order.annual.energy == 64 * 1 + 308 * 2 + 60 * 10 + 312 * 20
    apart = bill(JANUARY, tariff(BLOCKS_BY_TIME.format(scope="period", order="auto")))
    assert apart.annual.energy == 124 * 1 + 248 * 2 + 124 * 10 + 248 * 20


def quarter_hours(values_kw: dict[str, float]) -> LoadProfile:
    base = flat_profile("2018-01-01T00:00:00+00:00", 59, 250, step_s=900)
    return with_values(base, {start: kw * 250 for start, kw in values_kw.items()})


@pytest.mark.parametrize(("window_min", "peak_kw"), [(15, 9), (30, 5), (60, 3)])
def test_demand_is_averaged_over_its_window(window_min: int, peak_kw: int) -> None:
    spike = quarter_hours({"2018-01-10T10:00:00+00:00": 9})
    made = bill(spike, tariff(f"[[demand]]\nwindow_min = {window_min}\nrate_per_kw = 10\n"))
    assert amounts(made, 0)["demand"] == peak_kw * 10
    assert amounts(made, 1)["demand"] == 10


def test_coarse_profile_bills_its_own_step_and_says_so() -> None:
    made = bill(JANUARY, tariff("[[demand]]\nwindow_min = 15\nrate_per_kw = 10\n"))
    assert made.annual.demand == 10
    assert "may be understated" in made.notes[0]


def test_highest_peaks_are_averaged_on_distinct_days() -> None:
    peaks = quarter_hours(
        {
            "2018-01-10T10:00:00+00:00": 9,
            "2018-01-10T10:15:00+00:00": 8,
            "2018-01-12T10:00:00+00:00": 5,
        }
    )
    any_day = bill(peaks, tariff("[[demand]]\nn_highest = 2\nrate_per_kw = 10\n"))
    assert amounts(any_day)["demand"] == Decimal(85)
    distinct = bill(
        peaks, tariff("[[demand]]\nn_highest = 2\ndistinct_days = true\nrate_per_kw = 10\n")
    )
    assert amounts(distinct)["demand"] == 70


def test_demand_has_blocks_a_minimum_and_a_daily_form() -> None:
    blocks = "tiers = [{ upto_kw = 2, rate_per_kw = 1 }, { rate_per_kw = 10 }]\n"
    spike = quarter_hours({"2018-01-10T10:00:00+00:00": 5})
    assert amounts(bill(spike, tariff(f"[[demand]]\n{blocks}")))["demand"] == 2 * 1 + 3 * 10
    least = bill(spike, tariff("[[demand]]\nminimum_kw = 3\nrate_per_kw = 1\n"))
    assert [month.amounts.demand for month in least.monthly] == [5, 3]
    daily = bill(spike, tariff('[[demand]]\nper = "day"\nrate_per_kw = 1\n'))
    assert amounts(daily)["demand"] == 30 * 1 + 5


def test_ratchet_keeps_a_share_of_an_earlier_peak() -> None:
    spike = quarter_hours({"2018-01-10T10:00:00+00:00": 8})
    made = bill(spike, tariff("[[demand]]\nrate_per_kw = 1\nratchet = { percent = 75 }\n"))
    assert [month.amounts.demand for month in made.monthly] == [8, 6]


def test_share_of_an_earlier_peak_may_depend_on_its_month() -> None:
    spike = quarter_hours({"2018-01-10T10:00:00+00:00": 8})
    shares = [50, *[100] * 11]
    rule = f"[[demand]]\nrate_per_kw = 1\nratchet = {{ percent_by_month = {shares} }}\n"
    assert [month.amounts.demand for month in bill(spike, tariff(rule)).monthly] == [8, 4]


def test_coincident_demand_counts_the_hour_of_the_system_peak_only() -> None:
    load = quarter_hours({"2018-01-10T10:00:00+00:00": 9, "2018-01-11T18:15:00+00:00": 4})
    made = bill(
        load,
        tariff(
            'system_peaks = ["2018-01-11T19:20:00+01:00"]\n'
            "[[demand]]\ncoincident = true\nrate_per_kw = 1\n"
        ),
    )
    assert amounts(made, 0)["demand"] == 4
    assert "demand" not in amounts(made, 1)


def test_minimum_bill_tops_up_month_and_year() -> None:
    month = bill(JANUARY, tariff("[[energy]]\nrate_per_kwh = 0.01\n[[minimum]]\namount = 10\n"))
    assert amounts(month) == {
        "energy": Decimal("7.44"),
        "minimum": Decimal("2.56"),
        "total": Decimal(10),
    }
    year = bill(
        YEAR,
        tariff('[[energy]]\nrate_per_kwh = 0.01\n[[minimum]]\namount = 120\nper = "year"\n'),
    )
    assert year.annual.total == 120
    assert amounts(year, 11)["minimum"] == Decimal("32.4")


def test_discounts_depend_on_condition_and_time() -> None:
    rules = (
        "effective_from = 2018-01-01\n[[energy]]\nrate_per_kwh = 1\n"
        '[[discounts]]\nname = "welcome"\npercent = 50\nfirst_months = 2\n'
        '[[discounts]]\nname = "prompt"\namount_per_month = 4\ncondition = "prompt-pay"\n'
    )
    plain = bill(YEAR, tariff(rules))
    assert [m.amounts.discount for m in plain.monthly][:3] == [-372, -336, 0]
    prompt = bill(YEAR, tariff(rules), conditions={"prompt-pay"})
    assert amounts(prompt, 2)["discount"] == -4


def test_taxes_stack_and_have_thresholds() -> None:
    rules = (
        "[[energy]]\nrate_per_kwh = 1\n"
        '[[taxes]]\nname = "levy"\nper_kwh = 0.1\nabove_kwh = 44\nupto_kwh = 544\n'
        '[[taxes]]\nname = "VAT"\npercent = 10\non = ["energy", "tax"]\n'
        '[[taxes]]\nname = "small"\npercent = 100\nwhen_month_kwh_upto = 743\n'
    )
    made = bill(JANUARY, tariff(rules))
    assert amounts(made)["tax"] == 50 + (744 + 50) / Decimal(10)


EXPORTING = flat_profile("2018-01-01T00:00:00+00:00", 31, 1000, export_wh=400)


def test_export_is_ignored_credited_or_netted() -> None:
    rules = "[[energy]]\nrate_per_kwh = 1\n[[export]]\nrate_per_kwh = 0.5\n"
    ignored = bill(EXPORTING, tariff(rules), metering="none")
    assert ignored.annual.total == 744
    credited = bill(EXPORTING, tariff(rules))
    assert amounts(credited) == {
        "energy": Decimal(744),
        "export_credit": Decimal("148.8"),
        "total": Decimal("595.2"),
    }
    netted = bill(EXPORTING, tariff(rules), metering="net")
    assert netted.annual.total == Decimal("446.4")


def test_net_surplus_is_carried_within_its_period_and_settled_at_year_end() -> None:
    export_wh = np.zeros(YEAR.import_wh.shape)
    export_wh[: 31 * 24] = 3000
    sunny_january = LoadProfile(
        start=YEAR.start, step_s=3600, import_wh=YEAR.import_wh, export_wh=export_wh
    )
    rules = (
        'metering = "net"\nnet_metering = { year_end_rate_per_kwh = 0.5 }\n'
        "[[energy]]\nrate_per_kwh = 1\n"
    )
    made = bill(sunny_january, tariff(rules))
    energies = [month.amounts.energy for month in made.monthly]
    # January's surplus of 1,488 kWh covers February, March and a part of April.
    assert energies[:4] == [0, 0, 0, 672 + 744 + 720 - 1488]
    assert made.annual.export_credit == 0
    twice = LoadProfile(
        start=YEAR.start, step_s=3600, import_wh=YEAR.import_wh, export_wh=export_wh * 20
    )
    left_kwh = 744 * 60 - 8760
    settled = bill(twice, tariff(rules))
    assert amounts(settled, 11)["export_credit"] == Decimal(left_kwh) / 2


def test_daily_blocks_have_no_monthly_net() -> None:
    with pytest.raises(UnsupportedRate, match="daily blocks"):
        bill(EXPORTING, tariff(f'[[energy]]\ntier_basis = "day"\n{TWO_BLOCKS}'), metering="net")


def spot(prices: list[float], start: str = "2018-01-01T00:00:00Z") -> IndexSeries:
    hours = pd.date_range(start, periods=len(prices), freq="h")
    return IndexSeries.from_series(pd.Series(prices, index=hours))


LINKED = (
    '[[energy]]\n[energy.index]\nseries = "spot"\nloss_factor = 1.1\nmarkup_per_kwh = 0.02\n'
    "cap_per_kwh = 0.3\nfloor_per_kwh = 0\n"
)


def test_spot_price_takes_losses_markup_cap_and_floor() -> None:
    three_hours = flat_profile("2018-01-01T00:00:00+00:00", 3 / 24)
    made = bill(three_hours, tariff(LINKED), index={"spot": spot([0.1, 0.5, -0.2])})
    assert made.annual.energy == Decimal("0.13") + Decimal("0.3") + 0


def test_a_price_file_has_one_column_of_prices(tmp_path: Path) -> None:
    file = tmp_path / "spot.csv"
    file.write_text(
        "interval_start,price_per_kwh,price_per_mwh\n"
        "2018-01-01T00:00Z,0.1,100\n2018-01-01T01:00Z,0.1,100\n"
    )
    with pytest.raises(IndexFileError, match="2 price columns"):
        read_index_csv(file)


def test_spot_price_that_is_missing_is_not_zero() -> None:
    three_hours = flat_profile("2018-01-01T00:00:00+00:00", 3 / 24)
    with pytest.raises(MissingInput, match="'spot'"):
        bill(three_hours, tariff(LINKED))
    with pytest.raises(InsufficientProfile, match="no price for 1 intervals"):
        bill(three_hours, tariff(LINKED), index={"spot": spot([0.1, float("nan"), 0.1])})


def test_second_register_is_needed_unless_it_is_absent() -> None:
    rules = tariff(
        "[[energy]]\nrate_per_kwh = 1\n"
        '[[energy]]\nname = "boiler"\nregister = "boiler"\nrate_per_kwh = 0.5\n'
    )
    with pytest.raises(MissingInput, match="register 'boiler'"):
        bill(JANUARY, rules)
    both = bill(JANUARY, rules, registers={"boiler": JANUARY})
    assert both.annual.energy == 744 + 372
    assert bill(JANUARY, rules, registers={"boiler": None}).annual.energy == 744


def test_rounding_is_by_line_and_the_total_is_of_rounded_lines() -> None:
    rules = (
        'rounding = { places = 2, mode = "half-up" }\n[[energy]]\nrate_per_kwh = 0.3333\n'
        '[[taxes]]\nname = "VAT"\npercent = 7.7\n'
    )
    made = bill(JANUARY, tariff(rules))
    assert amounts(made) == {
        "energy": Decimal("247.98"),
        "tax": Decimal("19.09"),
        "total": Decimal("267.07"),
    }


@pytest.mark.parametrize(
    ("mode", "rounded"),
    [("up", "0.26"), ("down", "0.25"), ("half-up", "0.25"), ("half-even", "0.25")],
)
def test_an_exact_amount_stays_and_any_rest_goes_as_the_mode_says(mode: str, rounded: str) -> None:
    rule = Rounding(places=2, mode=mode)
    assert round_money(Fraction("0.25"), rule) == Decimal("0.25")
    assert round_money(Fraction("0.250001"), rule) == Decimal(rounded)


def test_missing_interval_is_refused_and_named() -> None:
    gap = with_values(JANUARY, {"2018-01-05T10:00:00+00:00": float("nan")})
    with pytest.raises(InsufficientProfile, match="2018-01-05T10:00:00"):
        bill(gap, tariff("[[energy]]\nrate_per_kwh = 1\n"))


def test_window_inside_an_interval_is_refused() -> None:
    rules = (
        '[[energy]]\n[[energy.periods]]\nname = "a"\nrate_per_kwh = 1\n'
        'windows = [{ from = "00:30", to = "07:30" }]\n'
        '[[energy.periods]]\nname = "b"\nrate_per_kwh = 2\n'
    )
    with pytest.raises(InsufficientProfile, match="straddle"):
        bill(JANUARY, tariff(rules))
    half_hours = flat_profile("2018-01-01T00:00:00+00:00", 1, 500, step_s=1800)
    assert bill(half_hours, tariff(rules)).annual.energy == 7 * 1 + 17 * 2


def test_price_change_within_a_month_shrinks_charges_and_blocks() -> None:
    first = tariff(
        f"[[energy]]\n{TWO_BLOCKS}[[standing]]\namount = 31\n[[demand]]\nrate_per_kw = 31\n"
    )
    second = replace(
        tariff("[[energy]]\nrate_per_kwh = 2\n[[standing]]\namount = 62\n"),
        effective_from=utc(2018, 1, 11).date(),
    )
    made = bill_versions(JANUARY, [second, first])
    block_kwh = Decimal(1000) / 31
    assert float(amounts(made)["energy"]) == pytest.approx(
        float(block_kwh + (240 - block_kwh) * 10 + 504 * 2), abs=1e-8
    )
    assert amounts(made)["fixed"] == 10 + 42
    assert amounts(made)["demand"] == 10


def test_a_day_on_which_the_clock_changes_is_one_day_of_a_standing_charge() -> None:
    """Fifteen days of a March of 743 hours, then the other sixteen, one of them of 23 hours."""
    rules = tariff(
        '[[energy]]\nrate_per_kwh = 0\n[[standing]]\namount = 1\nper = "day"\n'
        "[[standing]]\namount = 31\n",
        zone="Europe/London",
    )
    for start, hours, days in (("2024-03-01", 360, 15), ("2024-03-16", 383, 16)):
        made = bill(flat_profile(f"{start}T00:00:00+00:00", hours / 24), rules)
        assert made.annual.fixed == 2 * days
    part = bill(flat_profile("2024-03-30T12:00:00+00:00", 0.5), rules)
    assert part.annual.fixed == 1


def test_a_tariff_applied_to_days_on_which_it_does_not_hold_is_told() -> None:
    flat = "[[energy]]\nrate_per_kwh = 1\n"
    held = tariff("effective_from = 2018-01-01\neffective_to = 2018-02-01\n" + flat)
    assert bill(JANUARY, held).notes == ()
    later = tariff("effective_from = 2018-01-02\n" + flat)
    assert bill(JANUARY, later).notes == (
        "test holds from 2018-01-02, and is applied to 2018-01-01 to 2018-01-31",
    )
    ended = tariff("effective_to = 2018-01-31\n" + flat)
    assert "holds until before 2018-01-31" in bill(JANUARY, ended).notes[0]


UNCHANGED = {
    "yearly blocks": """
[[energy]]
tier_basis = "year"
tiers = [{ upto_kwh = 2000, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]
""",
    "yearly blocks in order of use, each period its own": """
[[energy]]
tier_basis = "year"
tier_order = "chronological"
tier_scope = "period"
[[energy.periods]]
name = "day"
tiers = [{ upto_kwh = 900, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]
windows = [{ from = "08:00", to = "20:00" }]
[[energy.periods]]
name = "night"
tiers = [{ upto_kwh = 700, rate_per_kwh = 3 }, { rate_per_kwh = 4 }]
""",
    "quarterly blocks": """
[[energy]]
tier_basis = "quarter"
tiers = [{ upto_kwh = 1000, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]
""",
    "ratchet": """
[[demand]]
rate_per_kw = 1
ratchet = { percent = 90 }
""",
    "ratchet and blocks per kW of it": """
[[energy]]
tier_basis = "month-per-kw"
tiers = [{ upto_kwh = 100, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]
[[demand]]
rate_per_kw = 1
ratchet = { percent = 90, across_periods = true }
""",
    "first months": """
[[energy]]
rate_per_kwh = 1
[[discounts]]
name = "welcome"
percent = 10
first_months = 2
""",
}


@pytest.mark.parametrize("name", UNCHANGED)
@pytest.mark.parametrize("day", [date(2018, 7, 1), date(2018, 5, 11)])
def test_a_change_that_changes_no_price_changes_no_bill(name: str, day: date) -> None:
    rules = tariff(UNCHANGED[name])
    load = with_values(flat_profile("2018-01-01T00:00:00+00:00", 365, 700),
                       {"2018-02-03T17:00:00+00:00": 9000})  # fmt: skip
    after = replace(rules, effective_from=day)
    versions = bill_versions(load, [rules, after])
    assert versions.annual.total == bill(load, rules).annual.total
    assert bill_versions(load, [after, rules]) == versions


def test_yearly_blocks_go_on_counting_at_new_prices() -> None:
    """By hand: 100 kWh a day; 5000 kWh are reached on the 50th day, the price changes on the 60th."""
    old = tariff(
        '[[energy]]\ntier_basis = "year"\n'
        "tiers = [{ upto_kwh = 5000, rate_per_kwh = 1 }, { rate_per_kwh = 2 }]\n"
    )
    new = tariff(
        "effective_from = 2018-03-01\n"
        '[[energy]]\ntier_basis = "year"\n'
        "tiers = [{ upto_kwh = 5000, rate_per_kwh = 3 }, { rate_per_kwh = 7 }]\n"
    )
    load = flat_profile("2018-01-01T00:00:00+00:00", 90, 100_000, step_s=86_400)
    made = bill_versions(load, [old, new])
    assert made.annual.energy == 5000 * 1 + 900 * 2 + 3100 * 7


def test_a_credit_carried_to_the_next_month_does_not_pass_a_change_of_tariff() -> None:
    rules = tariff(
        'net_billing = { carry = "next-month" }\n'
        "[[energy]]\nrate_per_kwh = 1\n[[export]]\nrate_per_kwh = 1\n"
    )
    load = flat_profile("2018-01-01T00:00:00+00:00", 59, export_wh=10)
    after = replace(rules, effective_from=date(2018, 2, 1))
    with pytest.raises(UnsupportedRate, match=r"net_billing.carry: a credit"):
        bill_versions(load, [rules, after])


def test_a_net_metered_surplus_does_not_pass_a_change_of_tariff() -> None:
    rules = tariff("[[energy]]\nrate_per_kwh = 1\n[[export]]\nrate_per_kwh = 0.5\n")
    load = flat_profile("2018-01-01T00:00:00+00:00", 59, export_wh=10)
    after = replace(rules, effective_from=date(2018, 2, 1))
    with pytest.raises(UnsupportedRate, match="a net-metered surplus"):
        bill_versions(load, [rules, after], metering="net")
    assert bill_versions(load, [rules, after]).annual.total > 0


def test_a_version_that_ends_before_the_next_begins_leaves_a_hole_that_is_named() -> None:
    rules = tariff("[[energy]]\nrate_per_kwh = 1\n")
    first = replace(rules, effective_to=date(2018, 1, 9))
    late = replace(rules, effective_from=date(2018, 1, 10))
    with pytest.raises(InvalidContract, match="ends on 2018-01-09, and no version follows"):
        bill_versions(JANUARY, [first, late])


def test_versions_must_follow_each_other() -> None:
    early = replace(tariff("[[energy]]\nrate_per_kwh = 1\n"), effective_from=utc(2018, 1, 5).date())
    late = replace(early, effective_from=utc(2018, 1, 9).date())
    with pytest.raises(InvalidContract, match="no version holds on 2018-01-01"):
        bill_versions(JANUARY, [early, late])
    with pytest.raises(InvalidContract, match="same day"):
        bill_versions(JANUARY, [early, early])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 5000), min_size=48, max_size=48),
    st.integers(1, 47),
)
def test_cutting_time_keeps_every_kwh_and_every_cent_of_a_flat_rate(
    values: list[int], cut: int
) -> None:
    whole = LoadProfile(start=utc(2018, 1, 30), step_s=3600, import_wh=np.array(values))
    parts = [
        LoadProfile(start=utc(2018, 1, 30), step_s=3600, import_wh=np.array(values[:cut])),
        LoadProfile(
            start=utc(2018, 1, 30 + cut // 24, cut % 24),
            step_s=3600,
            import_wh=np.array(values[cut:]),
        ),
    ]
    rules = tariff('[[energy]]\nrate_per_kwh = 0.2718\n[[standing]]\namount = 31\nper = "day"\n')
    once = bill(whole, rules)
    twice = [bill(part, rules) for part in parts]
    assert sum(b.annual.energy for b in twice) == once.annual.energy
    assert abs(sum(b.annual.fixed for b in twice) - once.annual.fixed) <= Decimal("1e-9")


def test_the_same_bill_comes_out_to_the_last_digit() -> None:
    rng = np.random.default_rng(1)
    load = LoadProfile(
        start=utc(2018, 1, 1), step_s=900, import_wh=rng.random(35_040) * 300 + 1 / 3
    )
    rules = tariff(f'[[energy]]\n{TWO_BLOCKS}[[taxes]]\nname = "VAT"\npercent = 19\n')
    assert bill(load, rules) == bill(load, rules)
    golden = bill(load, rules).annual.total
    month = pd.date_range(load.start, periods=35_040, freq="15min").month
    month_kwh = pd.Series(load.import_wh / 1000).groupby(month).sum()
    assert float(golden) == pytest.approx(float((100 + (month_kwh - 100) * 10).sum() * 1.19))
    assert golden == Decimal("49731.8156121472")
