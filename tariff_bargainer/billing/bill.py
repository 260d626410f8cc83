"""A bill: a load profile priced under a tariff, line by line, exactly.

Energy is whole µWh, rates are exact fractions of decimals, and money is rounded once, in
`money.round_money`. The same profile and tariff give the same digits on every machine, which is
what lets savings be paid on the difference of two bills.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pandas as pd

from tariff_bargainer.billing.demand_cost import (
    coarse_window,
    monthly_demand_cost,
    monthly_peaks_kw,
    unknown_peaks,
)
from tariff_bargainer.billing.energy_cost import monthly_energy_cost
from tariff_bargainer.billing.index_cost import IndexSeries, monthly_index_cost
from tariff_bargainer.billing.metered_energy import (
    MICRO_PER_KWH,
    MeteredEnergy,
    MicroEnergy,
    metered_energy,
    month_shares,
)
from tariff_bargainer.billing.money import money_text, round_money
from tariff_bargainer.billing.month_charges import (
    MonthAmounts,
    add_discounts,
    add_minimum_bills,
    add_standing_charges,
    add_taxes,
    carry_export_credit,
)
from tariff_bargainer.billing.net_metering import monthly_net_cost
from tariff_bargainer.errors import InsufficientProfile, MissingInput
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import EnergyCharge, Metering, Rounding, Tariff


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Money by component; `total` is the sum of the others less `export_credit`.

    Attributes:
        total: What is to pay [currency].
        energy: Per kWh, net of what netting saved.
        demand: Per kW.
        fixed: Standing charges.
        minimum: What a minimum bill adds.
        export_credit: What exported energy earned, as a positive amount that lowers the total.
        discount: Reductions, as a negative amount.
        tax: Taxes and levies.
    """

    total: Decimal
    energy: Decimal
    demand: Decimal
    fixed: Decimal
    minimum: Decimal
    export_credit: Decimal
    discount: Decimal
    tax: Decimal

    def as_strings(self) -> dict[str, str]:
        """Write every component as a decimal string."""
        return {field.name: money_text(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthBill:
    """One local calendar month of a bill.

    Attributes:
        month: Such as `2018-01`, on the tariff's clock.
        import_kwh: Energy imported in the month [kWh].
        export_kwh: Energy exported in the month [kWh].
        amounts: Money by component.
    """

    month: str
    import_kwh: Decimal
    export_kwh: Decimal
    amounts: Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A priced profile.

    Attributes:
        currency: ISO 4217 code.
        tariff_hash: Content hash of the tariff that was applied.
        annual: Sums over all months billed.
        monthly: Every local month touched, in order.
        notes: What a reader should know, such as a demand window finer than the profile.
    """

    currency: str
    tariff_hash: str
    annual: Amounts
    monthly: tuple[MonthBill, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give the bill as JSON values, money as decimal strings."""
        return {
            "currency": self.currency,
            "annual": self.annual.as_strings(),
            "monthly": [{"month": m.month, **m.amounts.as_strings()} for m in self.monthly],
            "tariff_hash": self.tariff_hash,
            "notes": list(self.notes),
        }

    def to_frame(self) -> pd.DataFrame:
        """Give the months as a frame of exact decimals, indexed by month."""
        rows = [
            {
                "import_kwh": month.import_kwh,
                "export_kwh": month.export_kwh,
                **{field.name: getattr(month.amounts, field.name) for field in fields(Amounts)},
            }
            for month in self.monthly
        ]
        return pd.DataFrame(rows, index=pd.Index([m.month for m in self.monthly], name="month"))

    def _repr_html_(self) -> str:
        """Show the months as a table in a notebook."""
        return str(self.to_frame().to_html())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Earlier:
    """What a contract had before the part that is billed, for what looks back over a change.

    Attributes:
        start: Day on which the contract began, or None.
        profile: The main load up to the first interval billed, or None.
        registers: Loads of the further registers over the same time.
    """

    start: date | None
    profile: LoadProfile | None
    registers: Mapping[str, LoadProfile | None]


def bill(
    profile: LoadProfile,
    tariff: Tariff,
    *,
    metering: Metering | None = None,
    registers: Mapping[str, LoadProfile | None] | None = None,
    index: Mapping[str, IndexSeries] | None = None,
    conditions: AbstractSet[str] = frozenset(),
    prorate: bool = False,
    earlier: Earlier | None = None,
) -> Bill:
    """Price a load profile under a tariff, line by line.

    Args:
        profile: Import and export per interval [Wh], no gaps.
        tariff: Rates [currency per kWh, kW, day …] with windows on the tariff's own clock.
        metering: `none` ignores export, `net` nets it within the month, `net-billing` credits it
            at the export rates; None does what the tariff says.
        registers: Profiles of further meter registers by name, over the same time; None for a
            register that this home does not have.
        index: Price series by the name the tariff uses.
        conditions: Conditions of discounts the member meets, such as `prompt-pay`.
        prorate: Whether monthly blocks and demand charges shrink with the part of a month that is
            billed, as when prices change within a month; standing charges always do.
        earlier: What came before under the same contract, for blocks of a quarter or a year, for
            ratchets and for discounts of the first months.

    Returns:
        Annual and monthly amounts; the months' amounts add up to the annual ones exactly.

    Raises:
        InsufficientProfile: The profile has gaps or is too coarse; `reasons` lists why.
        MissingInput: The tariff needs a series or a register that was not given.

    Source: the supplier's published rate sheet named in `tariff.source`.
    """
    metered: dict[str, MeteredEnergy | None] = {}
    for name, other in (registers or {}).items():
        if other is None:
            metered[name] = None
            continue
        if (other.start, other.step_s, len(other)) != (profile.start, profile.step_s, len(profile)):
            raise InsufficientProfile(
                reasons=(f"register {name!r} covers other intervals than the main one",)
            )
        metered[name] = metered_energy(
            other, tariff, earlier.registers.get(name) if earlier else None
        )
    main = metered_energy(profile, tariff, earlier.profile if earlier else None)
    shares = month_shares(main.calendar, profile.step_s)
    run = _Run(
        tariff=tariff,
        metering=tariff.metering if metering is None else metering,
        main=main,
        metered=metered,
        index=index or {},
        shares=shares if prorate else [Fraction(1)] * len(shares),
    )
    months = run.amounts()
    kwh = [Fraction(int(sum_uwh), MICRO_PER_KWH) for sum_uwh in _by_month(main, main.import_uwh)]
    add_standing_charges(months, tariff, main.calendar.months, shares)
    add_minimum_bills(months, tariff, main.calendar.months, shares)
    for month in months:
        month.pay_out()
    start = earlier.start if earlier else None
    add_discounts(months, tariff, main.calendar.months, shares, conditions, start)
    add_taxes(months, tariff, kwh, run.shares)
    return _rounded(months, tariff, main, tuple(run.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What one bill is made from."""

    tariff: Tariff
    metering: Metering
    main: MeteredEnergy
    metered: Mapping[str, MeteredEnergy | None]
    index: Mapping[str, IndexSeries]
    shares: Sequence[Fraction]

    @property
    def notes(self) -> list[str]:
        coarse = [coarse_window(self.main, charge) for charge in self.tariff.demand]
        coarse += [unknown_peaks(self.main, charge, self.tariff) for charge in self.tariff.demand]
        dated = _outside(self.tariff, self.main.calendar.days)
        return [note for note in (dated, *coarse, *self.tariff.remarks) if note]

    def register(self, name: str) -> MeteredEnergy | None:
        if not name:
            return self.main
        if name not in self.metered:
            raise MissingInput(
                name=name,
                kind="register",
                remedy="give its load profile beside the main one (--register NAME=FILE), or say "
                "that the home has none (NAME=none)",
            )
        return self.metered[name]

    def amounts(self) -> list[MonthAmounts]:
        """Energy, export and demand by month."""
        months = [MonthAmounts() for _ in range(self.main.n_months)]
        if self.metering == "net":
            peaks = monthly_peaks_kw(self.tariff, self.main)
            netted = monthly_net_cost(self.tariff, self.main, peaks, self.shares)
            for month, net in zip(months, netted, strict=True):
                month.energy += net.energy
                month.payout = net.credit
        for charge in self.tariff.energy:
            if self.metering != "net" or charge.register:
                _add(months, "energy", self._directed(charge, "import"))
        if self.metering == "net-billing":
            for charge in self.tariff.export:
                _add(months, "export_credit", self._directed(charge, "export"))
            if self.tariff.net_billing.carry == "next-month":
                carry_export_credit(months, self.tariff, self.main.calendar.months)
        for demand in self.tariff.demand:
            metered = self.register(demand.register)
            if metered is not None:
                cost = monthly_demand_cost(demand, self.tariff, metered, metered.import_uwh)
                pairs = zip(cost, self.shares, strict=True)
                _add(months, "demand", [amount * share for amount, share in pairs])
        return months

    def _directed(self, charge: EnergyCharge, direction: str) -> list[Fraction]:
        metered = self.register(charge.register)
        if metered is None:
            return [Fraction(0)] * self.main.n_months
        energy_uwh = metered.import_uwh if direction == "import" else metered.export_uwh
        cost = monthly_energy_cost(
            charge,
            self.tariff,
            metered,
            energy_uwh,
            chronological=is_chronological(charge, self.tariff, self.metering),
            peaks_kw=monthly_peaks_kw(self.tariff, metered),
            shares=self.shares,
        )
        if charge.index:
            linked = monthly_index_cost(charge.index, metered, energy_uwh, self.index)
            cost = [rate + spot for rate, spot in zip(cost, linked, strict=True)]
        return cost


def _outside(tariff: Tariff, days: Sequence[date]) -> str:
    """Say that a tariff is applied to days on which it does not hold, or nothing."""
    first, end = tariff.effective_from, tariff.effective_to
    if (first is None or first <= days[0]) and (end is None or days[-1] < end):
        return ""
    since = f" from {first}" if first else ""
    until = f" until before {end}" if end else ""
    return f"{tariff.name} holds{since}{until}, and is applied to {days[0]} to {days[-1]}"


def is_chronological(charge: EnergyCharge, tariff: Tariff, metering: Metering) -> bool:
    """Whether a charge's blocks fill in the order of use under this metering."""
    if charge.tier_order != "auto":
        return charge.tier_order == "chronological"
    return "net-billing" in {metering, tariff.metering if metering == "none" else metering}


def _by_month(metered: MeteredEnergy, energy_uwh: MicroEnergy) -> list[int]:
    sums = metered.sums(energy_uwh, metered.calendar.month_index, metered.n_months)
    return [int(total) for total in sums]


def _add(months: Sequence[MonthAmounts], name: str, cost: Sequence[Fraction]) -> None:
    for month, amount in zip(months, cost, strict=True):
        setattr(month, name, getattr(month, name) + amount)


def _rounded(
    months: Sequence[MonthAmounts], tariff: Tariff, metered: MeteredEnergy, notes: tuple[str, ...]
) -> Bill:
    """Round every component of every month, and add up what was rounded."""
    imported = _by_month(metered, metered.import_uwh)
    exported = _by_month(metered, metered.export_uwh)
    monthly = tuple(
        MonthBill(
            month=f"{year:04d}-{month:02d}",
            import_kwh=Decimal(imported[index]).scaleb(-9),
            export_kwh=Decimal(exported[index]).scaleb(-9),
            amounts=_month_rounded(months[index], tariff.rounding),
        )
        for index, (year, month) in enumerate(metered.calendar.months)
    )
    names = [field.name for field in fields(Amounts)]
    sums = {
        name: sum((getattr(month.amounts, name) for month in monthly), Decimal(0)) for name in names
    }
    return Bill(
        currency=tariff.currency,
        tariff_hash=tariff.content_hash,
        annual=Amounts(**sums),
        monthly=monthly,
        notes=notes,
    )


def _month_rounded(month: MonthAmounts, rule: Rounding) -> Amounts:
    parts = {name: round_money(amount, rule) for name, amount in month.parts().items()}
    total = sum(parts.values(), Decimal(0)) - 2 * parts["export_credit"]
    return Amounts(total=total, **parts)
