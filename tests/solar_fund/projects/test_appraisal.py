import tomllib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solar_fund.errors import CurrencyUnknown, InputFileInvalid, ProjectInvalid
from solar_fund.projects.appraisal import appraisal_report, appraise
from solar_fund.projects.cash_flow import (
    debt_cover,
    internal_rate,
    lcoe_per_kwh,
    npv_minor,
    payback_years,
    present_value,
    project_years,
)
from solar_fund.projects.project_file import parse_project, read_project
from solar_fund.projects.self_consumption import PooledLoad
from tests.solar_fund.projects.conftest import roof


def years_of(plan, energy_wh=10_000_000, share="0.5", price="0.25"):
    return project_years(plan, energy_wh, Decimal(share), Decimal(price))


def test_a_cash_flow_worked_by_hand() -> None:
    # 10,000 kWh, half at 0.25 and half at 0.08: 1250 + 400 - 120 = 1530 in the first year.
    first = years_of(roof())[1]
    assert (first.own_value_minor, first.export_value_minor) == (125_000, 40_000)
    assert first.net_minor == 153_000
    # Half a percent less energy in the second.
    assert years_of(roof())[2].energy_wh == 9_950_000


def test_npv_of_a_plain_case_is_what_a_table_gives() -> None:
    plan = roof(finance={"life_years": 2, "discount_rate": "0.10", "degradation": 0})
    # -12000 + 1530 / 1.1 + 1530 / 1.21 = -9344.63
    assert npv_minor(years_of(plan), Decimal("0.10")) == -934_463


def test_equal_yearly_payments_repay_the_loan() -> None:
    plan = roof(finance={"loan": 6000, "loan_rate": "0.05", "loan_years": 10})
    service = [year.debt_service_minor for year in years_of(plan)]
    assert service[0] == 0
    assert service[11:] == [0] * 15
    repaid = present_value(service, Decimal("0.05"))
    assert float(repaid) == pytest.approx(600_000, abs=5)
    assert debt_cover(years_of(plan)) == pytest.approx(
        min((y.income_minor - y.running_minor) / service[1] for y in years_of(plan)[1:11])
    )


def test_without_a_loan_there_is_no_debt_cover() -> None:
    assert debt_cover(years_of(roof())) is None


def test_payback_counts_the_part_of_the_year() -> None:
    plan = roof(cost={"capex": 1000}, finance={"life_years": 5, "degradation": 0})
    # 1650 a year: paid back after 1000 / 1650 of the first.
    assert payback_years(years_of(plan)) == pytest.approx(1000 / 1650)


def test_payback_waits_for_the_last_time_money_is_missing() -> None:
    plan = roof(
        cost={"capex": 1000, "inverter_replacement": 5000, "inverter_year": 3},
        finance={"life_years": 6, "degradation": 0},
    )
    # 650, 2300, -1050, 600: positive at first, then again only in the fourth year.
    assert payback_years(years_of(plan)) == pytest.approx(3 + 1050 / 1650)


def test_a_project_that_never_pays_back_says_so() -> None:
    plan = roof(finance={"life_years": 3})
    assert payback_years(years_of(plan)) is None


def test_the_return_of_a_project_that_only_costs_is_none() -> None:
    assert internal_rate([-100, -5, -5]) is None


money = st.integers(100, 10**6)
shares = st.decimals(0, "0.05", places=3)


@given(money, st.integers(0, 5000), st.integers(2, 40), shares, shares, st.decimals(0, 1, places=2))
@settings(max_examples=150, deadline=None)
def test_cash_flow_identities(capex, running, life, rate, wear, own) -> None:
    plan = roof(
        cost={"capex": capex, "running_per_year": running},
        finance={"life_years": life, "discount_rate": str(rate), "degradation": str(wear)},
    )
    years = years_of(plan, share=str(own))
    flows = [year.net_minor for year in years]
    assert npv_minor(years, Decimal(0)) == sum(flows)
    assert sum(y.income_minor - y.running_minor - y.renewal_minor for y in years) == sum(flows)
    irr = internal_rate(flows)
    if irr is not None and -0.5 < irr < 5:
        scale = max(abs(flow) for flow in flows)
        assert abs(present_value(flows, Decimal(irr))) < scale * 1e-6
    lcoe = lcoe_per_kwh(years, Decimal(rate), "EUR")
    energy = present_value([year.energy_wh for year in years], Decimal(rate))
    costs = present_value([y.running_minor + y.renewal_minor for y in years], Decimal(rate))
    assert lcoe is not None
    assert abs(lcoe * 100 * energy / 1000 - costs) < Decimal("1e-6") * max(costs, 1)


@given(st.decimals("0.05", "0.5", places=3), st.decimals("0.001", "0.2", places=3), shares)
@settings(max_examples=60, deadline=None)
def test_value_rises_with_prices_and_falls_with_wear(price, more, wear) -> None:
    plan = roof(finance={"degradation": str(wear)})
    worn = roof(finance={"degradation": str(wear + Decimal("0.01"))})
    rate = Decimal("0.04")
    base = npv_minor(years_of(plan, price=str(price)), rate)
    assert npv_minor(years_of(plan, price=str(price + more)), rate) > base
    assert npv_minor(years_of(worn, price=str(price)), rate) < base


def flat_load(power_kw: float, year: int = 2025, prices=None) -> PooledLoad:
    start = pd.date_range(f"{year}-01-01", periods=365 * 48, freq="30min", tz="UTC")
    return PooledLoad(
        source="made up",
        start=start,
        step_s=1800,
        energy_wh=np.full(len(start), round(power_kw * 500), dtype=np.int64),
        price_per_kwh=prices,
    )


def test_without_load_nothing_is_claimed_for_own_use(greensboro) -> None:
    report = appraisal_report(appraise(roof(), greensboro))
    assert report["self_consumption_share"] is None
    assert report["years"][1]["own_value_minor"] == 0
    sources = {entry["name"]: entry["source"] for entry in report["assumptions"]}
    assert "export" in sources["own-use share"]


def test_an_assumed_share_is_marked_as_assumed(greensboro) -> None:
    value = {"own_use_price_per_kwh": 0.25, "own_use_share": "0.3"}
    report = appraisal_report(appraise(roof(value=value), greensboro))
    assert report["self_consumption_share"] == 0.3
    sources = {entry["name"]: entry["source"] for entry in report["assumptions"]}
    assert sources["own-use share"] == "assumed in the project file, not measured"
    assert sources["cost.capex"] == "project file"
    assert sources["cost.end_of_life"].startswith("default")


def test_a_load_above_the_roof_uses_all_and_none_uses_nothing(greensboro) -> None:
    assert appraise(roof(), greensboro, flat_load(100)).own_share == 1
    assert appraise(roof(), greensboro, flat_load(0)).own_share == 0


def test_a_project_after_others_uses_less_itself(greensboro) -> None:
    load = flat_load(4)
    alone = appraise(roof(), greensboro, load)
    second = appraise(roof(), greensboro, load, funded=[roof()])
    assert second.alone == alone.alone
    assert second.after_funded is not None
    assert alone.alone is not None
    assert second.after_funded.own_wh < alone.alone.own_wh
    assert second.npv_minor < alone.npv_minor


def test_the_report_is_complete_and_its_parts_add_up(greensboro) -> None:
    plan = roof(carbon={"grid_kg_per_kwh": "0.3", "source": "a table"})
    report = appraisal_report(appraise(plan, greensboro, flat_load(3)))
    assert sum(report["monthly_energy_kwh"]) == pytest.approx(report["annual_energy_kwh"], abs=0.01)
    assert report["specific_yield_kwh_per_kwp"] == pytest.approx(
        report["annual_energy_kwh"] / 10, abs=0.01
    )
    use = report["self_consumption_alone"]
    assert use["own_kwh"] + use["export_kwh"] == pytest.approx(use["solar_kwh"])
    assert report["carbon_kg_per_year"] == pytest.approx(
        0.3 * report["annual_energy_kwh"], abs=0.01
    )
    assert report["annual_energy_p90_kwh"] < report["annual_energy_kwh"]
    changes = {bar["name"]: bar["change_minor"] for bar in report["sensitivity"]}
    assert changes["energy prices -20 %"] < 0 < changes["energy prices +20 %"]
    assert changes["building cost +10 %"] == -120_000
    assert changes["yield P90"] < 0


def test_uncertainties_add_in_quadrature_and_p90_follows(greensboro) -> None:
    sigmas = {"year_to_year": "0.03", "weather_data": "0.04", "model": 0, "degradation": 0}
    result = appraise(roof(uncertainty=sigmas), greensboro)
    assert result.sigma_share == pytest.approx(0.05)
    assert result.annual_p90_kwh == pytest.approx(result.solar.annual_kwh * (1 - 1.2816 * 0.05))


def test_own_use_is_priced_by_the_windows_of_the_group_tariff(greensboro) -> None:
    # The sun of Greensboro (UTC-5) shines between 10 and 24 UTC, never between 3 and 9.
    value = {"own_use_price_per_kwh": "0.20", "export_price_per_kwh": 0}
    night = {"price_per_kwh": 9, "hour_from": 3, "hour_to": 9}
    day = {"price_per_kwh": "0.40", "hour_from": 10, "hour_to": 3}
    for windows, price in (([night], 0.2), ([night, day], 0.4)):
        plan = roof(value={**value, "window": windows}, site={"timezone": "UTC"})
        result = appraise(plan, greensboro, flat_load(3))
        assert float(result.own_price_per_kwh) == pytest.approx(price)


def test_weather_of_another_place_is_refused(greensboro) -> None:
    site = {"latitude_deg": 48.2, "longitude_deg": 16.4}
    with pytest.raises(ProjectInvalid, match="km from the site"):
        appraise(roof(site=site), greensboro)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"cost": {}}, "cost.capex is missing"),
        ({"cost": {"capex": "lots"}}, "cost.capex is 'lots'"),
        ({"cost": {"capex": -5}}, "cost.capex is -5"),
        ({"cost": {"capex": True}}, "expected a number"),
        ({"cost": {"capex": "12000.005"}}, "cost.capex is 12000.005: EUR has 2 decimals"),
        ({"cost": {"capex": 5, "end_of_life": 1e-3}}, "cost.end_of_life is 0.001"),
        ({"finance": {"loan": "5.001", "loan_years": 9}}, "finance.loan is 5.001"),
        ({"cost": {"capex": 5, "capx": 6}}, "unknown key cost.capx"),
        ({"array": []}, r"\[\[array\]\]"),
        ({"array": [{"peak_kw": 5, "tilt_deg": 5}]}, "array 1 has no azimuth_deg"),
        ({"site": {"timezone": "Mars/Olympus"}}, "Mars/Olympus"),
        ({"finance": {"life_years": "2.5"}}, "whole number"),
        ({"finance": {"discount_rate": 7}}, "finance.discount_rate is 7"),
        ({"value": {"own_use_price_per_kwh": 1, "window": [{}]}}, "window 1 has no price_per_kwh"),
        ({"losses": {"soiling_pct": 100}}, "losses.soiling_pct"),
        ({"colour": "red"}, "unknown key colour"),
    ],
)
def test_a_fault_in_a_project_names_the_key(tables, words) -> None:
    with pytest.raises(ProjectInvalid, match=words):
        roof(**tables)


def test_an_unknown_currency_is_refused() -> None:
    with pytest.raises(CurrencyUnknown):
        parse_project({"currency": "XXX", "array": [{}]})


def test_a_file_that_is_no_project_is_refused_in_one_line(tmp_path) -> None:
    path = tmp_path / "roof.toml"
    for text in ("not toml", "currency = 'EUR'", ""):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputFileInvalid) as caught:
            read_project(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputFileInvalid, match="cannot be read"):
        read_project(tmp_path / "nowhere.toml")


def test_a_higher_building_cost_lengthens_the_payback(greensboro) -> None:
    cheap = appraise(roof(), greensboro, flat_load(5))
    plan = roof()
    dear_plan = replace(plan, costs=replace(plan.costs, capex=plan.costs.capex * 2))
    dear = appraise(dear_plan, greensboro, flat_load(5))
    assert cheap.payback_years is not None
    assert dear.payback_years is None or dear.payback_years > cheap.payback_years
    assert cheap.discounted_payback_years is None or (
        cheap.discounted_payback_years > cheap.payback_years
    )


def test_the_example_in_the_documentation_is_a_project() -> None:
    page = Path(__file__).parents[3] / "docs" / "formats" / "project.md"
    example = page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    plan = parse_project(tomllib.loads(example))
    assert plan.costs.capex == Decimal("74400.00")
    assert plan.value.windows[0].months == {11, 12, 1, 2}
