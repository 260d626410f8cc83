"""A solar project as a plan: site, arrays, costs, prices and assumptions."""

from dataclasses import dataclass
from decimal import Decimal

from solar_fund.projects.solar_yield import SolarArray, SolarLosses

DEFAULT = "default of this program; practice value, set your own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a project costs.

    Attributes:
        capex: Paid at the start [currency].
        running_per_year: Insurance, lease, cleaning, metering in the first year [currency].
        running_growth: Yearly growth of that, as a share.
        inverter_replacement: New inverters [currency].
        inverter_year: In which year they are due.
        end_of_life: Taking down after the last year [currency].
    """

    capex: Decimal
    running_per_year: Decimal = Decimal(0)
    running_growth: Decimal = Decimal(0)
    inverter_replacement: Decimal = Decimal(0)
    inverter_year: int = 13
    end_of_life: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceWindow:
    """When energy of the group tariff has its own price, in the site's local time.

    Attributes:
        price_per_kwh: Price inside the window [currency per kWh].
        hour_from: First hour of the day, 0 to 23.
        hour_to: Hour at which it ends, 1 to 24; not before `hour_from`, or it runs past midnight.
        weekdays: ISO weekdays, Monday is 1.
        months: Months, January is 1.
    """

    price_per_kwh: Decimal
    hour_from: int = 0
    hour_to: int = 24
    weekdays: frozenset[int] = frozenset(range(1, 8))
    months: frozenset[int] = frozenset(range(1, 13))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyValue:
    """What a project's energy is worth.

    Attributes:
        own_use_price_per_kwh: Saved per kWh the members use themselves [currency per kWh].
        export_price_per_kwh: Earned per kWh fed into the grid [currency per kWh].
        price_growth: Yearly growth of both, as a share.
        own_use_share: Share used by members when no load is given; an assumption.
        windows: Periods of the group tariff; the first that fits an interval gives its price,
            else `own_use_price_per_kwh` holds.
    """

    own_use_price_per_kwh: Decimal
    export_price_per_kwh: Decimal = Decimal(0)
    price_growth: Decimal = Decimal(0)
    own_use_share: Decimal | None = None
    windows: tuple[PriceWindow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finance:
    """Time and money.

    Attributes:
        life_years: Years of operation.
        discount_rate: Voted yearly rate, as a share.
        degradation: Yearly loss of yield, as a share.
        loan: Borrowed at the start [currency].
        loan_rate: Yearly interest, as a share.
        loan_years: Repaid in equal yearly sums over these.
    """

    life_years: int = 25
    discount_rate: Decimal = Decimal("0.04")
    degradation: Decimal = Decimal("0.005")
    loan: Decimal = Decimal(0)
    loan_rate: Decimal = Decimal(0)
    loan_years: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """One standard deviation of the yearly yield, by cause, as shares; they add in quadrature."""

    year_to_year: Decimal = Decimal("0.04")
    weather_data: Decimal = Decimal("0.04")
    model: Decimal = Decimal("0.03")
    degradation: Decimal = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carbon:
    """What a kWh from the grid emits.

    Attributes:
        grid_kg_per_kwh: Emission factor [kg CO2 per kWh].
        kind: "average" or "marginal".
        source: Where the factor was published.
    """

    grid_kg_per_kwh: Decimal
    kind: str = "average"
    source: str = "not stated in the project file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectPlan:
    """A proposal as it is appraised.

    Attributes:
        project_id: Short name.
        name: Title for people.
        currency: ISO 4217 code.
        timezone: Zone of the site, for months.
        latitude_deg: Of the site, or None to take the weather file's.
        longitude_deg: Of the site, or None.
        arrays: The solar arrays.
        losses: DC losses.
        costs: What it costs.
        value: What its energy is worth.
        finance: Time and money.
        uncertainty: How sure the yield is.
        carbon: Grid emissions, or None when no factor is given.
        stated: Dotted names of all figures written in the file, for the assumptions table.
    """

    project_id: str
    name: str
    currency: str
    timezone: str
    latitude_deg: float | None
    longitude_deg: float | None
    arrays: tuple[SolarArray, ...]
    losses: SolarLosses
    costs: Costs
    value: EnergyValue
    finance: Finance
    uncertainty: Uncertainty
    carbon: Carbon | None
    stated: frozenset[str] = frozenset()
