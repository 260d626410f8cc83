"""A tariff as plain, frozen values: what is charged, when, and how it is rounded.

Rates are `Decimal` in the tariff's currency per kWh, per kW or per period of time. Windows are on
the wall clock of the tariff's own zone. Nothing here computes a bill.
"""

import hashlib
import json
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from tariff_bargainer.tariffs.schedule import Window
from tariff_bargainer.tariffs.tariff_checks import check_tariff

Metering = Literal["none", "net", "net-billing"]
METERING: tuple[Metering, ...] = ("none", "net", "net-billing")

TierBasis = Literal[
    "month", "day", "quarter", "year", "month-daily", "month-per-kw", "month-per-kw-daily"
]
TIER_BASES: tuple[TierBasis, ...] = (
    "month",
    "day",
    "quarter",
    "year",
    "month-daily",
    "month-per-kw",
    "month-per-kw-daily",
)
MONTH_BASES: tuple[TierBasis, ...] = ("month", "month-daily", "month-per-kw", "month-per-kw-daily")
"""Bases that count the energy of a month; only these can be mixed in one charge."""
TierOrder = Literal["auto", "pro-rata", "chronological"]
TIER_ORDERS: tuple[TierOrder, ...] = ("auto", "pro-rata", "chronological")
TierScope = Literal["all", "period"]
TIER_SCOPES: tuple[TierScope, ...] = ("all", "period")

Per = Literal["day", "average-day", "month", "year"]
PERS: tuple[Per, ...] = ("day", "average-day", "month", "year")

Component = Literal["energy", "demand", "fixed", "minimum", "export_credit", "discount", "tax"]
COMPONENTS: tuple[Component, ...] = (
    "energy",
    "demand",
    "fixed",
    "minimum",
    "export_credit",
    "discount",
    "tax",
)
RoundingMode = Literal["half-up", "half-even", "down", "up"]
ROUNDING_MODES: tuple[RoundingMode, ...] = ("half-up", "half-even", "down", "up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One block of a rate.

    Attributes:
        rate: Price per kWh (energy) or per kW (demand) [currency].
        upto: Upper end of the block, in the unit of the charge; None for an open last block. A
            last block with an end says nothing of what lies above: a bill that goes above it is
            refused.
        basis: What `upto` counts, where it differs from the charge's `tier_basis`; both are then
            out of `MONTH_BASES`.
    """

    rate: Decimal
    upto: Decimal | None = None
    basis: TierBasis | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A named part of the time with its own blocks.

    Attributes:
        name: Such as `peak`.
        tiers: Blocks with rising upper ends; the last one is open, unless nothing is said of
            what lies above its end.
        windows: When it holds; empty means at every time no other period claims.
    """

    name: str
    tiers: tuple[Tier, ...]
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLink:
    """A price that follows a published series: `clip(index * loss_factor + markup)`.

    Attributes:
        series: Name of the series, such as `day-ahead`.
        loss_factor: Multiplier for grid losses [1].
        markup_per_kwh: Added to the index [currency/kWh].
        cap_per_kwh: Highest resulting price, or None.
        floor_per_kwh: Lowest resulting price, or None.
    """

    series: str
    loss_factor: Decimal = Decimal(1)
    markup_per_kwh: Decimal = Decimal(0)
    cap_per_kwh: Decimal | None = None
    floor_per_kwh: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCharge:
    """A price per kWh, by time and by block; also used for what exported energy earns.

    Attributes:
        name: Such as `energy`, `network` or `green premium`.
        periods: Parts of the time; their windows cover the year once.
        tier_basis: What a block counts: kWh of the month, day, quarter or year; `month-daily` is
            the limit times the days of the month; `month-per-kw` is the limit times the month's
            peak [kWh/kW]; `month-per-kw-daily` is both.
        tier_order: How blocks meet periods. `pro-rata` splits each block over the periods in
            proportion to the month's kWh; `chronological` fills blocks as the energy is used;
            `auto` is chronological under net billing and pro-rata otherwise.
        tier_scope: `all` counts the energy of all periods together; `period` gives each its own.
        register: Name of the meter register it is charged on; empty for the main one.
        index: Price series added to the rates, or None.
    """

    name: str
    periods: tuple[Period, ...]
    tier_basis: TierBasis = "month"
    tier_order: TierOrder = "auto"
    tier_scope: TierScope = "all"
    register: str = ""
    index: IndexLink | None = None

    @property
    def tiered(self) -> bool:
        """Whether any period has more than one block, or one that ends."""
        return any(
            len(period.tiers) > 1 or period.tiers[0].upto is not None for period in self.periods
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """Billed demand never falls below a share of an earlier peak.

    Attributes:
        percent: Share of the highest earlier peak [%].
        lookback_months: How many months before the billed one count.
        peak_months: Months of the year whose peaks count.
        apply_months: Months of the year in which the ratchet holds.
        across_periods: Whether one demand, the highest of all periods, is billed in every period;
            otherwise each period looks back to its own peaks.
        percent_by_month: Share by the month of the year in which the earlier peak was [%],
            January first, in place of `percent`; empty for the same share in every month.
    """

    percent: Decimal
    lookback_months: int = 11
    across_periods: bool = False
    peak_months: tuple[int, ...] = tuple(range(1, 13))
    apply_months: tuple[int, ...] = tuple(range(1, 13))
    percent_by_month: tuple[Decimal, ...] = ()

    def share_of(self, month: int) -> Decimal:
        """Share of a peak in this month of the year that later months are billed at least [%]."""
        return self.percent_by_month[month - 1] if self.percent_by_month else self.percent


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandCharge:
    """A price per kW of peak demand.

    Attributes:
        name: Such as `capacity`.
        periods: Parts of the time with their blocks [currency/kW].
        window_min: Minutes over which power is averaged; None takes the profile's own step.
        n_highest: How many peaks are averaged.
        distinct_days: Whether these peaks must lie on different days.
        per: `month` bills the month's peak once; `day` bills each day's peak.
        minimum_kw: Demand billed at least [kW].
        ratchet: Lookback to earlier peaks, or None.
        coincident: Whether only the intervals of `Tariff.system_peaks` count.
        register: Name of the meter register; empty for the main one.
    """

    name: str
    periods: tuple[Period, ...]
    window_min: int | None = None
    n_highest: int = 1
    distinct_days: bool = False
    per: Literal["month", "day"] = "month"
    minimum_kw: Decimal = Decimal(0)
    ratchet: Ratchet | None = None
    coincident: bool = False
    register: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingCharge:
    """A charge for being connected.

    Attributes:
        name: Such as `standing charge`.
        amount: Price per period of time [currency].
        per: `day` counts the days of the bill; `average-day` is 365/12 days in every month;
            `month` and `year` are shared out over the days the bill covers.
    """

    name: str
    amount: Decimal
    per: Per = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumBill:
    """A floor under some components of a bill.

    Attributes:
        amount: Least the covered components come to [currency].
        per: Time it covers; a `year` is settled in the last month of the calendar year.
        covers: Components that count towards it.
    """

    amount: Decimal
    per: Per = "month"
    covers: tuple[Component, ...] = ("energy", "demand", "fixed", "export_credit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A reduction, taken before taxes.

    Attributes:
        name: Such as `prompt payment`.
        percent: Share of the components taken off [%].
        amount_per_month: Amount taken off each month [currency].
        on: Components it is a share of.
        first_months: Months from the start of the contract it lasts, or None for always.
        condition: What the member must do, such as `prompt-pay`; empty for nothing.
    """

    name: str
    percent: Decimal = Decimal(0)
    amount_per_month: Decimal = Decimal(0)
    on: tuple[Component, ...] = ("energy",)
    first_months: int | None = None
    condition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tax:
    """A tax or levy, in the order listed.

    Attributes:
        name: Such as `VAT`.
        percent: Share of the components [%].
        per_kwh: Price per imported kWh [currency/kWh].
        on: Components `percent` is a share of; `tax` means the taxes listed before.
        above_kwh: `per_kwh` counts only the month's kWh above this.
        upto_kwh: `per_kwh` counts only the month's kWh up to this, or None.
        when_month_kwh_above: The tax is due only in months with more kWh, or None.
        when_month_kwh_upto: The tax is due only in months with at most these kWh, or None.
    """

    name: str
    percent: Decimal = Decimal(0)
    per_kwh: Decimal = Decimal(0)
    on: tuple[Component, ...] = (
        "energy",
        "demand",
        "fixed",
        "minimum",
        "export_credit",
        "discount",
    )
    above_kwh: Decimal = Decimal(0)
    upto_kwh: Decimal | None = None
    when_month_kwh_above: Decimal | None = None
    when_month_kwh_upto: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetMetering:
    """What happens to a month's surplus under net metering.

    Attributes:
        rollover: `kwh` carries energy to the next month, `money` carries its value.
        year_end_rate_per_kwh: What is paid for energy left at the end of the year [currency/kWh].
        credit_month: Month 1..12 at whose end the year's credit is settled.
        carry_by: `period` keeps a surplus in its own period; `time-of-day` hands it to the period
            that holds at the same hour in the next month, as the SAM engine does.
    """

    rollover: Literal["kwh", "money"] = "kwh"
    carry_by: Literal["period", "time-of-day"] = "period"
    year_end_rate_per_kwh: Decimal = Decimal(0)
    credit_month: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class NetBilling:
    """When money earned by export is used under net billing.

    Attributes:
        carry: `same-month` takes it off the month's bill, even below zero; `next-month` keeps it
            as a credit against later energy charges.
        credit_month: Month 1..12 at whose end a credit that is left is paid out.
    """

    carry: Literal["same-month", "next-month"] = "same-month"
    credit_month: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How money is rounded.

    Attributes:
        places: Decimal places, or None to keep every digit (to 1e-10).
        mode: What happens to a half.
    """

    places: int | None = None
    mode: RoundingMode = "half-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """A complete tariff.

    Attributes:
        name: Name on the supplier's sheet.
        currency: ISO 4217 code.
        timezone: IANA zone whose wall clock the windows are on.
        energy: Prices per kWh; they add up.
        demand: Prices per kW; they add up.
        standing: Standing charges; they add up.
        export: What exported kWh earn; they add up.
        minimum: Minimum bills.
        discounts: Reductions before tax.
        taxes: Taxes and levies, in order.
        metering: How export is treated unless the caller says otherwise.
        net_metering: Rules for surplus when metering is `net`.
        net_billing: When export earnings are used when metering is `net-billing`.
        rounding: How money is rounded.
        holidays: Dates that are no weekday and no weekend.
        holidays_every_year: (month, day) of holidays that recur.
        system_peaks: Instants (ISO 8601, with offset) of system peaks for coincident demand.
        effective_from: First local day it holds, or None.
        effective_to: Local day from which it no longer holds, or None.
        exit_fee: Cost of leaving before the term ends [currency].
        supplier: Who offers it.
        source: Rate sheet, address or file it was taken from.
        source_date: Day on which it was taken from there, or None.
        remarks: What a reader of its bills must know, such as what the source says in words only.
    """

    name: str
    currency: str
    timezone: str
    energy: tuple[EnergyCharge, ...] = ()
    demand: tuple[DemandCharge, ...] = ()
    standing: tuple[StandingCharge, ...] = ()
    export: tuple[EnergyCharge, ...] = ()
    minimum: tuple[MinimumBill, ...] = ()
    discounts: tuple[Discount, ...] = ()
    taxes: tuple[Tax, ...] = ()
    metering: Metering = "none"
    net_metering: NetMetering = NetMetering()
    net_billing: NetBilling = NetBilling()
    rounding: Rounding = Rounding()
    holidays: tuple[date, ...] = ()
    holidays_every_year: tuple[tuple[int, int], ...] = ()
    system_peaks: tuple[str, ...] = ()
    effective_from: date | None = None
    effective_to: date | None = None
    exit_fee: Decimal = Decimal(0)
    supplier: str = ""
    source: str = ""
    source_date: date | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a tariff that contradicts itself."""
        check_tariff(self)

    @property
    def has_holidays(self) -> bool:
        """Whether any day counts as a holiday."""
        return bool(self.holidays or self.holidays_every_year)

    def holidays_between(self, first_year: int, last_year: int) -> frozenset[date]:
        """All holidays of these years, both included."""
        dates = {day for day in self.holidays if first_year <= day.year <= last_year}
        for year in range(first_year, last_year + 1):
            for month, day in self.holidays_every_year:
                if (month, day) != (2, 29) or _is_leap(year):
                    dates.add(date(year, month, day))
        return frozenset(dates)

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over the canonical form; equal rules give equal hashes."""
        text = json.dumps(_canonical(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _canonical(thing: Any) -> Any:
    """Reduce a tariff to JSON values; numbers that are equal are written the same.

    What was added to the model later is left out where it is empty, so that hashes frozen earlier
    still hold.
    """
    if isinstance(thing, Decimal):
        text = format(thing.normalize(), "f")
        return "0" if text == "-0" else text
    if is_dataclass(thing):
        values = {field.name: _canonical(getattr(thing, field.name)) for field in fields(thing)}
        if isinstance(thing, Tier) and thing.basis is None:
            del values["basis"]
        if isinstance(thing, Ratchet) and not thing.percent_by_month:
            del values["percent_by_month"]
        return values
    if isinstance(thing, tuple):
        return [_canonical(item) for item in thing]
    if isinstance(thing, date):
        return thing.isoformat()
    return thing
