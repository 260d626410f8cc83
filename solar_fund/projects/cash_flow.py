"""The years of a project in money: cash flow, present value, return, payback, debt cover.

Every yearly figure is rounded half to even to minor units once, when the year is made; everything
after that is computed from those whole numbers, so tables add up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pyxirr

from solar_fund.money import exponent_of
from solar_fund.projects.project_plan import ProjectPlan

# Enough digits that 60 years of discounting never shows in a minor unit.
PRECISION_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectYear:
    """One year of a project.

    Attributes:
        year: 0 is the moment of building, 1 the first year of operation.
        energy_wh: Made in the year.
        own_wh: Of that, used by members.
        own_value_minor: Saved by own use.
        export_value_minor: Earned by export.
        running_minor: Running costs.
        renewal_minor: Building, new inverters, taking down.
        debt_service_minor: Interest and repayment.
    """

    year: int
    energy_wh: int
    own_wh: int
    own_value_minor: int
    export_value_minor: int
    running_minor: int
    renewal_minor: int
    debt_service_minor: int

    @property
    def income_minor(self) -> int:
        """Saved and earned together."""
        return self.own_value_minor + self.export_value_minor

    @property
    def net_minor(self) -> int:
        """Income less costs, before any loan."""
        return self.income_minor - self.running_minor - self.renewal_minor


def project_years(
    plan: ProjectPlan, energy_wh: int, own_share: Decimal, own_price_per_kwh: Decimal
) -> tuple[ProjectYear, ...]:
    """Lay out the years of a project, year 0 first.

    Args:
        plan: Costs, prices and time.
        energy_wh: Made in the first year of operation [Wh].
        own_share: Share of that used by members.
        own_price_per_kwh: Saved per own kWh in the first year [currency per kWh].
    """
    costs, value, finance = plan.costs, plan.value, plan.finance
    minor = Decimal(10) ** exponent_of(plan.currency)

    def rounded(amount: Decimal) -> int:
        return int((amount * minor).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))

    with localcontext() as context:
        context.prec = PRECISION_DIGITS
        debt_service = rounded(_annuity(finance.loan, finance.loan_rate, finance.loan_years))
        years = [
            ProjectYear(
                year=0,
                energy_wh=0,
                own_wh=0,
                own_value_minor=0,
                export_value_minor=0,
                running_minor=0,
                renewal_minor=rounded(costs.capex),
                debt_service_minor=0,
            )
        ]
        for year in range(1, finance.life_years + 1):
            wear = (1 - finance.degradation) ** (year - 1)
            made_wh = int((energy_wh * wear).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
            own_wh = int((made_wh * own_share).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
            grown = (1 + value.price_growth) ** (year - 1) / 1000
            renewal = costs.inverter_replacement if year == costs.inverter_year else Decimal(0)
            renewal += costs.end_of_life if year == finance.life_years else Decimal(0)
            years.append(
                ProjectYear(
                    year=year,
                    energy_wh=made_wh,
                    own_wh=own_wh,
                    own_value_minor=rounded(own_wh * own_price_per_kwh * grown),
                    export_value_minor=rounded(
                        (made_wh - own_wh) * value.export_price_per_kwh * grown
                    ),
                    running_minor=rounded(
                        costs.running_per_year * (1 + costs.running_growth) ** (year - 1)
                    ),
                    renewal_minor=rounded(renewal),
                    debt_service_minor=debt_service if year <= finance.loan_years else 0,
                )
            )
    return tuple(years)


def _annuity(principal: Decimal, rate: Decimal, years: int) -> Decimal:
    """Return the equal yearly sum that repays a loan."""
    if not rate:
        return principal / years
    return principal * rate / (1 - (1 + rate) ** -years)


def present_value(flows: Sequence[int], rate: Decimal) -> Decimal:
    """Discount yearly figures, year 0 first, to year 0.

    Args:
        flows: One figure per year, in any unit.
        rate: Yearly rate, as a share above -1.
    """
    with localcontext() as context:
        context.prec = PRECISION_DIGITS
        factor = 1 / (1 + rate)
        total = Decimal(0)
        for flow in reversed(flows):
            total = total * factor + flow
        return total


def npv_minor(years: Sequence[ProjectYear], rate: Decimal) -> int:
    """Net present value before any loan, rounded half to even [minor units]."""
    total = present_value([year.net_minor for year in years], rate)
    return int(total.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def internal_rate(flows: Sequence[int]) -> float | None:
    """Return the rate at which the net present value is zero, or None when there is none.

    Args:
        flows: Net yearly figures, year 0 first.
    """
    if not (any(flow < 0 for flow in flows) and any(flow > 0 for flow in flows)):
        return None
    rate = pyxirr.irr([float(flow) for flow in flows])
    return None if rate is None else float(rate)


def lcoe_per_kwh(years: Sequence[ProjectYear], rate: Decimal, currency: str) -> Decimal | None:
    """Levelised cost: present value of all costs over present value of the energy.

    Returns:
        Currency per kWh, or None when no energy is made.
    """
    energy_wh = present_value([year.energy_wh for year in years], rate)
    if energy_wh <= 0:
        return None
    costs = present_value([year.running_minor + year.renewal_minor for year in years], rate)
    return costs * 1000 / energy_wh / Decimal(10) ** exponent_of(currency)


def payback_years(years: Sequence[ProjectYear], rate: Decimal = Decimal(0)) -> float | None:
    """Return when the discounted sum first stays paid back, with the part of that year.

    Later renewals may make the sum negative again; the answer is the last crossing, so that
    nobody is told a year after which money is still missing.

    Returns:
        Years from building, or None when it never pays back within its life.
    """
    total = Decimal(0)
    crossing: float | None = None
    with localcontext() as context:
        context.prec = PRECISION_DIGITS
        for year in years:
            flow = year.net_minor / (1 + rate) ** year.year
            before, total = total, total + flow
            if total < 0:
                crossing = None
            elif crossing is None:
                crossing = float(year.year - 1 + (-before / flow)) if before < 0 else 0.0
    return crossing


def debt_cover(years: Sequence[ProjectYear]) -> float | None:
    """Return the lowest debt service cover ratio of all years with a loan, or None without one."""
    ratios = [
        (year.income_minor - year.running_minor) / year.debt_service_minor
        for year in years
        if year.debt_service_minor
    ]
    return min(ratios) if ratios else None
