"""What is added to a month after energy and demand: standing charges, minimum, discounts, tax."""

from calendar import monthrange
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from tariff_bargainer.tariffs.tariff import Discount, MinimumBill, Per, Tariff, Tax

Months = Sequence[tuple[int, int]]
AVERAGE_DAYS_PER_MONTH = Fraction(365, 12)


@dataclass(slots=True, kw_only=True)
class MonthAmounts:
    """Exact money of one month while a bill is being made [currency].

    `payout` is a settled surplus: it joins `export_credit` once minimum bills are found, since a
    yearly settlement does not make the last month's bill smaller than its minimum.
    """

    energy: Fraction = Fraction(0)
    demand: Fraction = Fraction(0)
    fixed: Fraction = Fraction(0)
    minimum: Fraction = Fraction(0)
    export_credit: Fraction = Fraction(0)
    discount: Fraction = Fraction(0)
    tax: Fraction = Fraction(0)
    payout: Fraction = Fraction(0)

    def pay_out(self) -> None:
        """Credit a settled surplus."""
        self.export_credit += self.payout
        self.payout = Fraction(0)

    def parts(self) -> dict[str, Fraction]:
        """Every component by name; only `export_credit` lowers the total when positive."""
        return {
            "energy": self.energy,
            "demand": self.demand,
            "fixed": self.fixed,
            "minimum": self.minimum,
            "export_credit": self.export_credit,
            "discount": self.discount,
            "tax": self.tax,
        }

    def owed(self, components: Iterable[str]) -> Fraction:
        """What some components come to; an export credit counts against them."""
        parts = self.parts()
        signed = (-parts[name] if name == "export_credit" else parts[name] for name in components)
        return sum(signed, Fraction(0))


def amount_for_month(
    amount: Fraction, per: Per, month: tuple[int, int], share: Fraction
) -> Fraction:
    """Bring an amount per day, month or year to one month.

    Args:
        amount: Amount [currency].
        per: Time it is for.
        month: Year and month.
        share: Part of the month that is billed.
    """
    if per == "day":
        return amount * monthrange(*month)[1] * share
    if per == "average-day":
        return amount * AVERAGE_DAYS_PER_MONTH * share
    if per == "year":
        return amount * share / 12
    return amount * share


def add_standing_charges(
    amounts: Sequence[MonthAmounts], tariff: Tariff, months: Months, shares: Sequence[Fraction]
) -> None:
    """Add standing charges, in proportion to the part of each month that is billed."""
    for target, month, share in zip(amounts, months, shares, strict=True):
        for charge in tariff.standing:
            target.fixed += amount_for_month(Fraction(charge.amount), charge.per, month, share)


def add_minimum_bills(
    amounts: Sequence[MonthAmounts], tariff: Tariff, months: Months, shares: Sequence[Fraction]
) -> None:
    """Add what is missing to minimum bills, monthly ones first."""
    for rule in tariff.minimum:
        if rule.per == "year":
            continue
        for target, month, share in zip(amounts, months, shares, strict=True):
            least = amount_for_month(Fraction(rule.amount), rule.per, month, share)
            target.minimum += max(Fraction(0), least - _paid(target, rule.covers))
    for rule in tariff.minimum:
        if rule.per == "year":
            _add_annual_minimum(rule, amounts, months, shares)


def _paid(amounts: MonthAmounts, covers: Iterable[str]) -> Fraction:
    """What a month pays towards a minimum; a credit stays a credit and is not eaten by it."""
    return max(Fraction(0), amounts.owed(covers))


def _add_annual_minimum(
    rule: MinimumBill, amounts: Sequence[MonthAmounts], months: Months, shares: Sequence[Fraction]
) -> None:
    """Settle a yearly minimum in the last billed month of each calendar year."""
    for year in sorted({year for year, _ in months}):
        inside = [index for index, month in enumerate(months) if month[0] == year]
        least = sum((Fraction(rule.amount) * shares[i] / 12 for i in inside), Fraction(0))
        covers = (*rule.covers, "minimum")
        paid = sum((_paid(amounts[index], covers) for index in inside), Fraction(0))
        amounts[inside[-1]].minimum += max(Fraction(0), least - paid)


def add_discounts(
    amounts: Sequence[MonthAmounts],
    tariff: Tariff,
    months: Months,
    shares: Sequence[Fraction],
    conditions: AbstractSet[str],
    contract_start: date | None = None,
) -> None:
    """Add the discounts whose condition the member meets."""
    start = contract_start or tariff.effective_from or date(*months[0], 1)
    for rule in tariff.discounts:
        if rule.condition and rule.condition not in conditions:
            continue
        for target, month, share in zip(amounts, months, shares, strict=True):
            if _lasts(rule, start, month):
                part = target.owed(rule.on) * Fraction(rule.percent) / 100
                target.discount -= part + Fraction(rule.amount_per_month) * share


def _lasts(rule: Discount, start: date, month: tuple[int, int]) -> bool:
    passed = (month[0] - start.year) * 12 + month[1] - start.month
    return rule.first_months is None or passed < rule.first_months


def add_taxes(
    amounts: Sequence[MonthAmounts],
    tariff: Tariff,
    kwh: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> None:
    """Add taxes and levies in their order; a later one may stand on earlier ones.

    Args:
        amounts: Money by month, which grows.
        tariff: The tariff.
        kwh: Energy imported by month [kWh].
        shares: Part of each month that its thresholds are for.
    """
    for rule in tariff.taxes:
        for target, month_kwh, share in zip(amounts, kwh, shares, strict=True):
            if not _is_due(rule, month_kwh, share):
                continue
            above = Fraction(rule.above_kwh) * share
            upto = month_kwh
            if rule.upto_kwh is not None:
                upto = min(month_kwh, Fraction(rule.upto_kwh) * share)
            counted = max(Fraction(0), upto - above)
            target.tax += target.owed(rule.on) * Fraction(rule.percent) / 100 + counted * Fraction(
                rule.per_kwh
            )


def _is_due(rule: Tax, month_kwh: Fraction, share: Fraction) -> bool:
    above, upto = rule.when_month_kwh_above, rule.when_month_kwh_upto
    return (above is None or month_kwh > Fraction(above) * share) and (
        upto is None or month_kwh <= Fraction(upto) * share
    )


def carry_export_credit(amounts: Sequence[MonthAmounts], tariff: Tariff, months: Months) -> None:
    """Use each month's export earnings against the energy charges of later months.

    Source: metering option 3 of the SAM engine (NREL PySAM `Utilityrate5`).
    """
    bank = Fraction(0)
    for target, (_, month) in zip(amounts, months, strict=True):
        earned = target.export_credit
        used = min(bank, target.energy)
        bank += earned - used
        target.export_credit = used
        if month == tariff.net_billing.credit_month:
            target.payout = bank
            bank = Fraction(0)
