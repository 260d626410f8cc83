"""Month charges of many homes at once, in floats: the array twin of `month_charges`."""

from calendar import monthrange
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.month_charges import AVERAGE_DAYS_PER_MONTH
from tariff_bargainer.tariffs.tariff import Discount, Per, Tariff, Tax

Floats = NDArray[np.float64]
Months = Sequence[tuple[int, int]]


PARTS = ("energy", "demand", "export_credit", "fixed", "minimum", "discount", "tax")


def parts_of(tariff: Tariff, *, exports: bool) -> frozenset[str]:
    """Parts of a bill that a tariff can have, with or without export that is paid for."""
    there = {
        "energy": tariff.energy,
        "demand": tariff.demand,
        "export_credit": exports and tariff.export,
        "fixed": tariff.standing,
        "minimum": tariff.minimum,
        "discount": tariff.discounts,
        "tax": tariff.taxes,
    }
    return frozenset(name for name, found in there.items() if found)


@dataclass(slots=True, kw_only=True, eq=False)
class HomeMonths:
    """Money by home and month while one tariff is priced [currency], each (n_homes, n_months).

    Attributes:
        used: Names of the parts that this tariff can have; the others are zero and not written to.
    """

    used: frozenset[str]
    energy: Floats
    demand: Floats
    export_credit: Floats
    fixed: Floats
    minimum: Floats
    discount: Floats
    tax: Floats

    @classmethod
    def empty(cls, nothing: Floats, used: frozenset[str]) -> "HomeMonths":
        """Start with nothing owed.

        Args:
            nothing: Zeros of shape (n_homes, n_months), read-only, shared by all unused parts.
            used: As in the class.
        """
        return cls(
            used=used,
            **{name: np.zeros(nothing.shape) if name in used else nothing for name in PARTS},
        )

    def owed(self, components: Sequence[str]) -> Floats:
        """What some components come to; an export credit counts against them."""
        total = np.zeros(self.energy.shape)
        for name in components:
            part: Floats = getattr(self, name)
            total += -part if name == "export_credit" else part
        return total


def add_month_charges(
    amounts: HomeMonths,
    tariff: Tariff,
    months: Months,
    shares: Floats,
    month_kwh: Floats,
    conditions: AbstractSet[str],
) -> None:
    """Add standing charges, minimum bills, discounts and taxes, as `billing.bill` does."""
    for charge in tariff.standing:
        amounts.fixed += _each_month(charge.amount, charge.per, months, shares)
    payout = None
    if "export_credit" in amounts.used and tariff.net_billing.carry == "next-month":
        payout = _carry_credit(amounts, tariff, months)
    _add_minimum_bills(amounts, tariff, months, shares)
    if payout is not None:
        amounts.export_credit = amounts.export_credit + payout
    start = tariff.effective_from or date(*months[0], 1)
    for discount in tariff.discounts:
        if not discount.condition or discount.condition in conditions:
            _add_discount(amounts, discount, start, months, shares)
    for tax in tariff.taxes:
        _add_tax(amounts, tax, month_kwh)


def _each_month(amount: Decimal, per: Per, months: Months, shares: Floats) -> Floats:
    """Bring an amount per day, month or year to every month, shape (n_months,)."""
    if per == "day":
        days = np.array([float(days_in(month)) for month in months])
        by_day: Floats = shares * days * float(amount)
        return by_day
    factor = {"average-day": float(AVERAGE_DAYS_PER_MONTH), "month": 1.0, "year": 1 / 12}[per]
    each: Floats = shares * (float(amount) * factor)
    return each


def _carry_credit(amounts: HomeMonths, tariff: Tariff, months: Months) -> Floats:
    bank = np.zeros(len(amounts.energy))
    payout = np.zeros(amounts.energy.shape)
    used = np.zeros(amounts.energy.shape)
    for index, (_, month) in enumerate(months):
        used[:, index] = np.minimum(bank, amounts.energy[:, index])
        bank = bank + amounts.export_credit[:, index] - used[:, index]
        if month == tariff.net_billing.credit_month:
            payout[:, index] = bank
            bank = np.zeros(len(bank))
    amounts.export_credit = used
    return payout


def _add_minimum_bills(amounts: HomeMonths, tariff: Tariff, months: Months, shares: Floats) -> None:
    for rule in tariff.minimum:
        if rule.per != "year":
            least = _each_month(rule.amount, rule.per, months, shares)
            paid = np.maximum(amounts.owed(rule.covers), 0.0)
            amounts.minimum += np.maximum(least - paid, 0.0)
    for rule in tariff.minimum:
        if rule.per != "year":
            continue
        for year in sorted({year for year, _ in months}):
            inside = [index for index, month in enumerate(months) if month[0] == year]
            least_year = _each_month(rule.amount, rule.per, months, shares)[inside].sum()
            paid = np.maximum(amounts.owed((*rule.covers, "minimum")), 0.0)[:, inside].sum(axis=1)
            amounts.minimum[:, inside[-1]] += np.maximum(least_year - paid, 0.0)


def _add_discount(
    amounts: HomeMonths, rule: Discount, start: date, months: Months, shares: Floats
) -> None:
    passed = np.array([(y - start.year) * 12 + m - start.month for y, m in months])
    lasts = np.ones(len(months)) if rule.first_months is None else passed < rule.first_months
    per_month = _each_month(rule.amount_per_month, "month", months, shares)
    part = amounts.owed(rule.on) * (float(rule.percent) / 100)
    amounts.discount -= (part + per_month) * lasts


def _add_tax(amounts: HomeMonths, rule: Tax, month_kwh: Floats) -> None:
    due = np.ones(month_kwh.shape, dtype=np.bool_)
    if rule.when_month_kwh_above is not None:
        due &= month_kwh > float(rule.when_month_kwh_above)
    if rule.when_month_kwh_upto is not None:
        due &= month_kwh <= float(rule.when_month_kwh_upto)
    upto = np.inf if rule.upto_kwh is None else float(rule.upto_kwh)
    counted = np.maximum(np.minimum(month_kwh, upto) - float(rule.above_kwh), 0.0)
    tax = counted * float(rule.per_kwh)
    if rule.percent:
        tax += amounts.owed(rule.on) * (float(rule.percent) / 100)
    amounts.tax += tax * due


def days_in(month: tuple[int, int]) -> int:
    """Days of a calendar month."""
    return monthrange(*month)[1]
