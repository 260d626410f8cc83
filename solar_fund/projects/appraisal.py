"""Appraise a project: yield, own use, money, carbon, how sure, and from which assumptions."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from math import sqrt
from typing import Any

import numpy as np

from solar_fund.errors import ProjectInvalid
from solar_fund.projects.cash_flow import (
    ProjectYear,
    debt_cover,
    internal_rate,
    lcoe_per_kwh,
    npv_minor,
    payback_years,
    project_years,
)
from solar_fund.projects.project_plan import DEFAULT, ProjectPlan
from solar_fund.projects.self_consumption import (
    OwnUse,
    PooledLoad,
    own_use,
    solar_on_load,
    with_window_prices,
)
from solar_fund.projects.solar_yield import SolarYear, solar_year
from solar_fund.projects.weather_files import WeatherYear

# Nine years in ten lie above the mean less this many standard deviations. Source: normal law.
P90_SIGMAS = 1.2816
# A weather file farther from the site than this describes another place.
WEATHER_KM_MAX = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One figure an appraisal rests on."""

    name: str
    figure: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityBar:
    """How the net present value moves with one assumption.

    Attributes:
        name: What is changed, and by how much.
        npv_minor: The value then.
        change_minor: Less the value of the base case.
    """

    name: str
    npv_minor: int
    change_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """Everything the proposal page shows.

    Attributes:
        plan: The proposal.
        solar: Yield of the typical first year.
        monthly_kwh: Energy of each month in the site's zone, January first [kWh].
        annual_p90_kwh: Energy reached in nine years of ten [kWh].
        sigma_share: One standard deviation of the yearly yield, as a share.
        own_share: Share used by members, or None when neither load nor assumption is given.
        own_price_per_kwh: Saved per own kWh [currency per kWh].
        alone: Own use as if it were the only project, when a load is given.
        after_funded: Own use after the projects funded before, when a load is given.
        years: The years in money, year 0 first.
        npv_minor: Net present value at the voted rate.
        irr: Internal rate of return, or None.
        lcoe_per_kwh: Levelised cost [currency per kWh].
        payback_years: Simple payback, or None within its life.
        discounted_payback_years: The same with discounting.
        debt_cover_min: Lowest debt service cover ratio, or None without a loan.
        carbon_kg_per_year: Avoided in the first year, or None without a factor.
        bars: Sensitivity of the net present value.
        assumptions: The figures everything rests on.
    """

    plan: ProjectPlan
    solar: SolarYear
    monthly_kwh: tuple[float, ...]
    annual_p90_kwh: float
    sigma_share: float
    own_share: Decimal | None
    own_price_per_kwh: Decimal
    alone: OwnUse | None
    after_funded: OwnUse | None
    years: tuple[ProjectYear, ...]
    npv_minor: int
    irr: float | None
    lcoe_per_kwh: Decimal | None
    payback_years: float | None
    discounted_payback_years: float | None
    debt_cover_min: float | None
    carbon_kg_per_year: float | None
    bars: tuple[SensitivityBar, ...]
    assumptions: tuple[Assumption, ...]


def appraise(
    plan: ProjectPlan,
    weather: WeatherYear,
    load: PooledLoad | None = None,
    funded: Sequence[ProjectPlan] = (),
) -> Appraisal:
    """Appraise one project.

    Args:
        plan: The proposal.
        weather: A weather year at the site.
        load: The members' pooled load; without it the own-use share is an assumption.
        funded: Projects funded before, whose energy uses up part of the load.

    Raises:
        ProjectInvalid: The weather is not of the site, or the load has no daylight to compare.
    """
    _check_place(plan, weather)
    solar = solar_year(plan.arrays, weather, plan.losses)
    alone = after = None
    own_share = plan.value.own_use_share
    own_price = plan.value.own_use_price_per_kwh
    if load is not None:
        load = with_window_prices(load, own_price, plan.value.windows, plan.timezone)
        made_wh = solar_on_load(solar.hourly_kwh, load)
        if not made_wh.sum():
            raise ProjectInvalid("the load covers no hour in which the project makes energy")
        before = np.zeros_like(made_wh)
        for earlier in funded:
            before += solar_on_load(
                solar_year(earlier.arrays, weather, earlier.losses).hourly_kwh, load
            )
        alone, after = own_use(load, made_wh), own_use(load, made_wh, before)
        own_share = Decimal(after.own_wh) / Decimal(after.solar_wh)
        if after.value is not None and after.own_wh:
            own_price = Decimal(str(after.value)) * 1000 / after.own_wh
    energy_wh = round(solar.annual_kwh * 1000)
    # Without load or assumption, nothing is claimed for own use.
    used_share = own_share if own_share is not None else Decimal(0)
    sigma = sqrt(
        sum(float(getattr(plan.uncertainty, f.name)) ** 2 for f in fields(plan.uncertainty))
    )
    p90_share = Decimal(str(max(1 - P90_SIGMAS * sigma, 0.0)))
    years = project_years(plan, energy_wh, used_share, own_price)
    rate = plan.finance.discount_rate
    base = npv_minor(years, rate)
    return Appraisal(
        plan=plan,
        solar=solar,
        monthly_kwh=solar.monthly_kwh(weather, plan.timezone),
        annual_p90_kwh=solar.annual_kwh * float(p90_share),
        sigma_share=sigma,
        own_share=own_share,
        own_price_per_kwh=own_price,
        alone=alone,
        after_funded=after,
        years=years,
        npv_minor=base,
        irr=internal_rate([year.net_minor for year in years]),
        lcoe_per_kwh=lcoe_per_kwh(years, rate, plan.currency),
        payback_years=payback_years(years),
        discounted_payback_years=payback_years(years, rate),
        debt_cover_min=debt_cover(years),
        carbon_kg_per_year=None
        if plan.carbon is None
        else float(plan.carbon.grid_kg_per_kwh) * solar.annual_kwh,
        bars=_bars(plan, energy_wh, used_share, own_price, p90_share, base),
        assumptions=_assumptions(plan, weather, solar, load, own_share, sigma),
    )


def _check_place(plan: ProjectPlan, weather: WeatherYear) -> None:
    if plan.latitude_deg is None or plan.longitude_deg is None:
        return
    north_km = (plan.latitude_deg - weather.latitude_deg) * 111.2
    middle = np.radians((plan.latitude_deg + weather.latitude_deg) / 2)
    degrees = (plan.longitude_deg - weather.longitude_deg + 180) % 360 - 180
    east_km = degrees * 111.2 * float(np.cos(middle))
    apart_km = sqrt(north_km**2 + east_km**2)
    if apart_km > WEATHER_KM_MAX:
        raise ProjectInvalid(
            f"the weather of {weather.source} is {apart_km:.0f} km from the site of"
            f" {plan.project_id}: give a file within {WEATHER_KM_MAX:.0f} km"
        )


def _bars(
    plan: ProjectPlan,
    energy_wh: int,
    own_share: Decimal,
    own_price: Decimal,
    p90_share: Decimal,
    base_minor: int,
) -> tuple[SensitivityBar, ...]:
    """Change one thing at a time and value the project anew."""

    def with_prices(factor: str) -> tuple[ProjectPlan, int, Decimal]:
        value = replace(
            plan.value, export_price_per_kwh=plan.value.export_price_per_kwh * Decimal(factor)
        )
        return replace(plan, value=value), energy_wh, own_price * Decimal(factor)

    dearer = replace(plan, costs=replace(plan.costs, capex=plan.costs.capex * Decimal("1.1")))
    wear = min(plan.finance.degradation * 2, Decimal("0.2"))
    worn = replace(plan, finance=replace(plan.finance, degradation=wear))
    cases: list[tuple[str, tuple[ProjectPlan, int, Decimal]]] = [
        ("energy prices -20 %", with_prices("0.8")),
        ("energy prices +20 %", with_prices("1.2")),
        ("yield P90", (plan, int(energy_wh * p90_share), own_price)),
        ("building cost +10 %", (dearer, energy_wh, own_price)),
        ("degradation twice as fast", (worn, energy_wh, own_price)),
    ]
    bars = []
    for name, (changed, made_wh, price) in cases:
        years = project_years(changed, made_wh, own_share, price)
        npv = npv_minor(years, changed.finance.discount_rate)
        bars.append(SensitivityBar(name=name, npv_minor=npv, change_minor=npv - base_minor))
    return tuple(bars)


def _assumptions(
    plan: ProjectPlan,
    weather: WeatherYear,
    solar: SolarYear,
    load: PooledLoad | None,
    own_share: Decimal | None,
    sigma: float,
) -> tuple[Assumption, ...]:
    def of(name: str, figure: Any, unit: str) -> Assumption:
        source = "project file" if name in plan.stated else DEFAULT
        return Assumption(name=name, figure=f"{figure} {unit}".strip(), source=source)

    if load is not None:
        share_source = f"sum of min(load, solar) over {load.source}"
    elif own_share is not None:
        share_source = "assumed in the project file, not measured"
    else:
        share_source = "no load given: all energy is valued as export"
    money = plan.currency
    table = [
        Assumption(name="weather", figure=weather.kind, source=weather.source),
        Assumption(name="temperature model", figure=solar.temperature_model, source="pvlib"),
        Assumption(
            name="DC losses",
            figure=f"{solar.losses_pct:.2f} %",
            source="project file"
            if any(name.startswith("losses.") for name in plan.stated)
            else "defaults of PVWatts (NREL/TP-6A20-62641, table 4)",
        ),
        Assumption(
            name="own-use share",
            figure="none" if own_share is None else f"{own_share:.4f}",
            source=share_source,
        ),
        of("cost.capex", plan.costs.capex, money),
        of("cost.running_per_year", plan.costs.running_per_year, f"{money} a year"),
        of("cost.running_growth", plan.costs.running_growth, "a year"),
        of("cost.inverter_replacement", plan.costs.inverter_replacement, money),
        of("cost.inverter_year", plan.costs.inverter_year, "th year"),
        of("cost.end_of_life", plan.costs.end_of_life, money),
        of("value.own_use_price_per_kwh", plan.value.own_use_price_per_kwh, f"{money} per kWh"),
        of("value.export_price_per_kwh", plan.value.export_price_per_kwh, f"{money} per kWh"),
        of("value.price_growth", plan.value.price_growth, "a year"),
        of("finance.life_years", plan.finance.life_years, "years"),
        of("finance.discount_rate", plan.finance.discount_rate, "a year"),
        of("finance.degradation", plan.finance.degradation, "a year"),
        Assumption(
            name="yield uncertainty",
            figure=f"{sigma:.4f} (one standard deviation)",
            source="project file, in quadrature"
            if any(name.startswith("uncertainty.") for name in plan.stated)
            else DEFAULT,
        ),
    ]
    if plan.carbon:
        table.append(
            Assumption(
                name=f"grid emissions, {plan.carbon.kind}",
                figure=f"{plan.carbon.grid_kg_per_kwh} kg CO2 per kWh",
                source=plan.carbon.source,
            )
        )
    return tuple(table)


def appraisal_report(appraisal: Appraisal) -> dict[str, Any]:
    """Return an appraisal as one JSON object; money in minor units, energy in kWh."""
    solar, plan = appraisal.solar, appraisal.plan
    lcoe = appraisal.lcoe_per_kwh
    return {
        "project": plan.project_id,
        "name": plan.name,
        "currency": plan.currency,
        "peak_kw": solar.peak_kw,
        "annual_energy_kwh": round(solar.annual_kwh, 3),
        "annual_energy_p90_kwh": round(appraisal.annual_p90_kwh, 3),
        "yield_sigma_share": round(appraisal.sigma_share, 6),
        "specific_yield_kwh_per_kwp": round(solar.annual_kwh / solar.peak_kw, 3),
        "monthly_energy_kwh": [round(month, 3) for month in appraisal.monthly_kwh],
        "self_consumption_share": None
        if appraisal.own_share is None
        else round(float(appraisal.own_share), 6),
        "self_consumption_alone": _use_report(appraisal.alone),
        "self_consumption_after_funded": _use_report(appraisal.after_funded),
        "own_use_price_per_kwh": str(round(appraisal.own_price_per_kwh, 6)),
        "npv_minor": appraisal.npv_minor,
        "irr": None if appraisal.irr is None else round(appraisal.irr, 8),
        "lcoe_per_kwh": None if lcoe is None else round(float(lcoe), 8),
        "payback_years": appraisal.payback_years,
        "discounted_payback_years": appraisal.discounted_payback_years,
        "debt_cover_min": appraisal.debt_cover_min,
        "carbon_kg_per_year": appraisal.carbon_kg_per_year,
        "sensitivity": [
            {"name": bar.name, "npv_minor": bar.npv_minor, "change_minor": bar.change_minor}
            for bar in appraisal.bars
        ],
        "years": [
            {
                "year": year.year,
                "energy_kwh": year.energy_wh / 1000,
                "own_kwh": year.own_wh / 1000,
                "own_value_minor": year.own_value_minor,
                "export_value_minor": year.export_value_minor,
                "running_minor": year.running_minor,
                "renewal_minor": year.renewal_minor,
                "debt_service_minor": year.debt_service_minor,
                "net_minor": year.net_minor,
            }
            for year in appraisal.years
        ],
        "assumptions": [
            {"name": entry.name, "figure": entry.figure, "source": entry.source}
            for entry in appraisal.assumptions
        ],
    }


def _use_report(use: OwnUse | None) -> dict[str, Any] | None:
    if use is None:
        return None
    return {
        "solar_kwh": use.solar_wh / 1000,
        "own_kwh": use.own_wh / 1000,
        "export_kwh": use.export_wh / 1000,
        "own_share": round(use.own_share, 6),
        "load_kwh": use.load_wh / 1000,
        "peak_before_kw": round(use.peak_before_kw, 3),
        "peak_after_kw": round(use.peak_after_kw, 3),
        "intervals": use.intervals,
    }
