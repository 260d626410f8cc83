"""Net metering: export nets import within a month and a period, and surplus is carried on.

Surplus is carried either as energy, to be used in later months, or as money at the export rates.
Once a year, at the end of the credit month, what is left is settled.

Source: the readings are those of the SAM engine (NREL PySAM `Utilityrate5`, metering options 0
and 1), so that results can be compared; carrying a surplus by period instead of by time of day is
ours, because the engine loses the surplus of periods that hold at none of its four test hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tariff_bargainer.billing.energy_cost import (
    BlockCounter,
    BlockLimits,
    counted_before,
    monthly_block_limits,
    pro_rata_cost,
)
from tariff_bargainer.billing.metered_energy import MICRO_PER_KWH, MeteredEnergy
from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.tariffs.schedule import ScheduleTable, schedule_table
from tariff_bargainer.tariffs.tariff import EnergyCharge, NetMetering, Period, Tariff

ROLLOVER_HOURS = (0, 5, 11, 17)
"""Wall-clock hours whose periods the SAM engine pairs from one month to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetMonth:
    """One month under net metering [currency]; `credit` is what a settlement pays out."""

    energy: Fraction
    credit: Fraction


def monthly_net_cost(
    tariff: Tariff,
    metered: MeteredEnergy,
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[NetMonth]:
    """Price the main register's net energy month by month.

    Args:
        tariff: The tariff.
        metered: The profile on the tariff's clock.
        peaks_kw: Highest demand of each month [kW], for limits per kW.
        shares: Part of each month that its blocks are for.

    Raises:
        UnsupportedRate: A charge has no meaning when energy is netted by month.
    """
    charges = [charge for charge in tariff.energy if not charge.register]
    for charge in charges:
        _refuse_what_needs_order(charge)
    if tariff.net_metering.rollover == "money":
        return _with_money_carried(tariff, charges, metered, peaks_kw, shares)
    return _with_energy_carried(tariff, charges, metered, peaks_kw, shares)


def _refuse_what_needs_order(charge: EnergyCharge) -> None:
    problem = ""
    if charge.index:
        problem = "an index-linked price has no monthly net; use net billing"
    elif charge.tiered and charge.tier_basis == "day":
        problem = "daily blocks have no monthly net; use net billing"
    elif charge.tiered and charge.tier_order == "chronological":
        problem = "blocks in the order of use have no monthly net; use net billing"
    elif charge.tiered and charge.tier_scope == "period":
        problem = "blocks of each period's own have no monthly net; use net billing"
    if problem:
        raise UnsupportedRate(field=f"energy {charge.name!r} under net metering", problem=problem)


def _net_uwh(
    metered: MeteredEnergy, periods: tuple[Period, ...], tariff: Tariff
) -> list[list[int]]:
    """Import less export by month and period [µWh]."""
    n_periods = len(periods)
    group = metered.calendar.month_index * n_periods + metered.periods(periods, tariff)
    n_groups = metered.n_months * n_periods
    net = metered.sums(metered.import_uwh, group, n_groups) - metered.sums(
        metered.export_uwh, group, n_groups
    )
    rows: list[list[int]] = net.reshape(metered.n_months, n_periods).tolist()
    return rows


def _with_energy_carried(
    tariff: Tariff,
    charges: Sequence[EnergyCharge],
    metered: MeteredEnergy,
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[NetMonth]:
    rule = tariff.net_metering
    months = metered.calendar.months
    cost = [Fraction(0)] * len(months)
    for charge in charges:
        for index, amount in enumerate(
            _charge_with_energy_carried(charge, tariff, metered, peaks_kw, shares)
        ):
            cost[index] += amount
    payouts = [Fraction(0)] * len(months)
    left_uwh = 0
    totals = _month_nets(metered)
    for index, (_, month) in enumerate(months):
        left_uwh = max(0, left_uwh - totals[index])
        if month == rule.credit_month:
            rate = Fraction(rule.year_end_rate_per_kwh)
            payouts[index] = left_uwh * rate / MICRO_PER_KWH
            left_uwh = 0
    return [NetMonth(energy=e, credit=c) for e, c in zip(cost, payouts, strict=True)]


def _month_nets(metered: MeteredEnergy) -> list[int]:
    net = metered.sums(metered.import_uwh, metered.calendar.month_index, metered.n_months)
    net = net - metered.sums(metered.export_uwh, metered.calendar.month_index, metered.n_months)
    return [int(total) for total in net]


def _charge_with_energy_carried(
    charge: EnergyCharge,
    tariff: Tariff,
    metered: MeteredEnergy,
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[Fraction]:
    rule = tariff.net_metering
    months = metered.calendar.months
    limits = monthly_block_limits(charge, months, peaks_kw, shares)
    table = schedule_table(
        tuple(period.windows for period in charge.periods), holidays=tariff.has_holidays
    )
    # A surplus is never carried over a change of tariff, so what counted before was imported.
    before_uwh = counted_before(charge, tariff, metered, metered.import_uwh)
    counter = BlockCounter(charge, months[0], before_uwh)
    carried = [0] * len(charge.periods)
    cost = []
    for index, row in enumerate(_net_uwh(metered, charge.periods, tariff)):
        net = [energy - surplus for energy, surplus in zip(row, carried, strict=True)]
        use = [max(0, energy) for energy in net]
        before = counter.before(months[index], sum(use))
        cost.append(pro_rata_cost(use, before, limits[index]))
        surplus = [max(0, -energy) for energy in net]
        month = months[index][1]
        carried = (
            [0] * len(surplus)
            if month == rule.credit_month
            else _carry(surplus, rule, table, month)
        )
    return cost


def _carry(surplus: list[int], rule: NetMetering, table: ScheduleTable, month: int) -> list[int]:
    """Bring each period's surplus [µWh] to the period that may use it next month."""
    if rule.carry_by == "period":
        return surplus
    here = _rollover_periods(table, month)
    following = _rollover_periods(table, month % 12 + 1)
    carried = [0] * len(surplus)
    for period, energy in enumerate(surplus):
        if energy and period in here:
            carried[following[here.index(period)]] += energy
    return carried


def _rollover_periods(table: ScheduleTable, month: int) -> list[int]:
    row = table.period[table.class_of_day[month - 1, 0], 0]
    return [int(row[hour * 60 // table.slot_minutes]) for hour in ROLLOVER_HOURS]


def _with_money_carried(
    tariff: Tariff,
    charges: Sequence[EnergyCharge],
    metered: MeteredEnergy,
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[NetMonth]:
    months = metered.calendar.months
    gross = [Fraction(0)] * len(months)
    value = [Fraction(0)] * len(months)
    for charge in charges:
        limits = monthly_block_limits(charge, months, peaks_kw, shares)
        _add_one_side(gross, _net_uwh(metered, charge.periods, tariff), limits, sign=1)
    for charge in tariff.export:
        if charge.index:
            raise UnsupportedRate(
                field=f"export {charge.name!r} under net metering",
                problem="an index-linked price has no monthly net; use net billing",
            )
        limits = monthly_block_limits(charge, months, peaks_kw, shares)
        _add_one_side(value, _net_uwh(metered, charge.periods, tariff), limits, sign=-1)
    settled = []
    bank = Fraction(0)
    for index, (_, month) in enumerate(months):
        owed = gross[index] - bank
        bank = value[index]
        if owed < 0:
            bank -= owed
            owed = Fraction(0)
        used = min(owed, bank)
        owed, bank = owed - used, bank - used
        credit = Fraction(0)
        if month == tariff.net_metering.credit_month:
            credit, bank = bank, Fraction(0)
        settled.append(NetMonth(energy=owed, credit=credit))
    return settled


def _add_one_side(
    target: list[Fraction], net: list[list[int]], limits: Sequence[BlockLimits], *, sign: int
) -> None:
    """Price each month's net use (sign 1) or net surplus (sign -1) of every period."""
    for index, row in enumerate(net):
        energy = [max(0, sign * period) for period in row]
        target[index] += pro_rata_cost(energy, 0, limits[index])
