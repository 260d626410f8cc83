"""The cost of energy by period and block, exactly.

Blocks and periods meet in one of two ways. Pro-rata splits each block over the periods in
proportion to the energy of the month (or day). Chronological fills the blocks as the energy is
used and splits the interval in which a block ends.

Source: the two readings are those of the SAM engine (NREL PySAM `Utilityrate5`): net metering
splits pro-rata, net billing fills chronologically.
"""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.metered_energy import MICRO_PER_KWH, MeteredEnergy, MicroEnergy
from tariff_bargainer.errors import UnsupportedRate
from tariff_bargainer.tariffs.tariff import EnergyCharge, Period, Tariff, Tier

OPEN_UWH = 2**62
"""Upper end of the last block [µWh]; no sum of energy reaches it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockLimits:
    """Edges of the blocks of every period in one counting group.

    Attributes:
        edges_uwh: Rising edges from 0 to open per period [µWh].
        rates: Price of each block per period [currency/kWh].
        known_uwh: Energy up to which the price is certain, per period [µWh].
        doubts: What makes it uncertain above, per period; empty where nothing does.
    """

    edges_uwh: tuple[tuple[int, ...], ...]
    rates: tuple[tuple[Fraction, ...], ...]
    known_uwh: tuple[int, ...]
    doubts: tuple[str, ...]

    def refuse_beyond(self, position: int, counted_uwh: int) -> None:
        """Refuse energy whose price the charge does not say.

        Raises:
            UnsupportedRate: More is counted than the blocks of the period are certain for.
        """
        if counted_uwh > self.known_uwh[position]:
            field, _, problem = self.doubts[position].partition(": ")
            raise UnsupportedRate(
                field=field,
                problem=f"{problem}, and {counted_uwh / MICRO_PER_KWH:.3f} kWh are counted",
                remedy="the rate does not say what is due above",
            )


def block_limits(
    charge: EnergyCharge,
    *,
    days_in_month: int = 1,
    peak_kw: Fraction | None = None,
    share: Fraction = Fraction(1),
) -> BlockLimits:
    """Scale the blocks of a charge to one month.

    Args:
        charge: The charge.
        days_in_month: Multiplier of daily limits [d].
        peak_kw: Multiplier of limits per kW of peak.
        share: Part of the month that is billed; shrinks limits that count by the month.
    """

    def factor(tier: Tier) -> Fraction:
        basis = tier.basis or charge.tier_basis
        scale = Fraction(MICRO_PER_KWH)
        if basis.startswith("month"):
            scale *= share
        if basis in {"month-daily", "month-per-kw-daily"}:
            scale *= days_in_month
        if basis in {"month-per-kw", "month-per-kw-daily"}:
            scale *= Fraction(0) if peak_kw is None else peak_kw
        return scale

    edges = []
    rates = []
    known = []
    doubts = []
    for period in charge.periods:
        ends = [
            OPEN_UWH if tier.upto is None else round(Fraction(tier.upto) * factor(tier))
            for tier in period.tiers
        ]
        upto_uwh, doubt = _certain(charge, period, ends)
        known.append(upto_uwh)
        doubts.append(doubt)
        # A block whose end lies below that of the one before is empty.
        edges.append((0, *accumulate(ends[:-1], max), OPEN_UWH))
        rates.append(tuple(Fraction(tier.rate) for tier in period.tiers))
    return BlockLimits(
        edges_uwh=tuple(edges), rates=tuple(rates), known_uwh=tuple(known), doubts=tuple(doubts)
    )


def _certain(charge: EnergyCharge, period: Period, ends_uwh: Sequence[int]) -> tuple[int, str]:
    """Find the energy up to which blocks say their price [µWh], and what is in doubt above.

    A last block may have an end. And where an end in kWh stands before one in kWh per kW, the
    second may come to lie below the first in a month of low peak demand: then the block between
    them is empty or the first ends early, and nothing says which.
    """
    place = f"energy {charge.name!r}, {period.name}"
    known, doubt = OPEN_UWH, ""
    if period.tiers[-1].upto is not None:
        known = ends_uwh[-1]
        doubt = f"{place}: the last block ends at {known / MICRO_PER_KWH:.3f} kWh"
    per_kw = ["per-kw" in (tier.basis or charge.tier_basis) for tier in period.tiers]
    for later, end in enumerate(ends_uwh):
        for earlier in range(later):
            crossed = per_kw[earlier] != per_kw[later] and end < min(ends_uwh[earlier], known)
            if crossed and period.tiers[later].upto is not None:
                known = end
                doubt = (
                    f"{place}: block {later + 1} ends at {end / MICRO_PER_KWH:.3f} kWh, below "
                    f"block {earlier + 1}, as one counts kWh and the other kWh per kW"
                )
    return known, doubt


def monthly_block_limits(
    charge: EnergyCharge,
    months: Sequence[tuple[int, int]],
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[BlockLimits]:
    """Scale the blocks of a charge to every month."""
    return [
        block_limits(charge, days_in_month=monthrange(*month)[1], peak_kw=peak, share=share)
        for month, peak, share in zip(months, peaks_kw, shares, strict=True)
    ]


def monthly_energy_cost(
    charge: EnergyCharge,
    tariff: Tariff,
    metered: MeteredEnergy,
    energy_uwh: MicroEnergy,
    *,
    chronological: bool,
    peaks_kw: Sequence[Fraction],
    shares: Sequence[Fraction],
) -> list[Fraction]:
    """Price one direction of energy under one charge, month by month, without its index.

    Args:
        charge: The charge; its index link is priced elsewhere.
        tariff: The tariff it belongs to.
        metered: The profile on the tariff's clock.
        energy_uwh: Energy of that direction per interval [µWh], shape (n,).
        chronological: Whether blocks fill in the order of use.
        peaks_kw: Highest demand of each month [kW], for limits per kW.
        shares: Part of each month that its blocks are for.

    Returns:
        Exact cost per local month [currency].
    """
    period = metered.periods(charge.periods, tariff)
    n_periods = len(charge.periods)
    months = metered.calendar.months
    limits = monthly_block_limits(charge, months, peaks_kw, shares)
    if charge.tiered and (chronological or charge.tier_scope == "period"):
        return _chronological(charge, tariff, metered, energy_uwh, period, limits)
    daily = charge.tiered and charge.tier_basis == "day"
    unit = metered.calendar.day_index if daily else metered.calendar.month_index
    n_units = len(metered.calendar.days) if daily else len(months)
    month_of = metered.calendar.day_month_index if daily else np.arange(len(months))
    group = unit * n_periods + period
    sums = metered.sums(energy_uwh, group.astype(np.int32), n_units * n_periods)
    used = BlockCounter(charge, months[0], counted_before(charge, tariff, metered, energy_uwh))
    cost = [Fraction(0)] * len(months)
    for unit_index, row in enumerate(sums.reshape(n_units, n_periods).tolist()):
        month = int(month_of[unit_index])
        before = used.before(months[month], sum(row))
        cost[month] += pro_rata_cost(row, before, limits[month])
    return cost


def pro_rata_cost(energy_uwh: Sequence[int], before_uwh: int, limits: BlockLimits) -> Fraction:
    """Price the energy of all periods of one month, each block shared out in proportion.

    Args:
        energy_uwh: Energy by period [µWh].
        before_uwh: Energy the blocks have already counted before this month [µWh].
        limits: Edges and rates by period.
    """
    total = sum(energy_uwh)
    cost = Fraction(0)
    blocks = zip(energy_uwh, limits.edges_uwh, limits.rates, strict=True)
    for position, (energy, edges, rates) in enumerate(blocks):
        if not energy:
            continue
        limits.refuse_beyond(position, before_uwh + total)
        if len(rates) == 1:
            cost += energy * rates[0]
            continue
        inside = Fraction(0)
        for (low, high), rate in zip(pairwise(edges), rates, strict=True):
            width = min(before_uwh + total, high) - max(before_uwh, low)
            if width > 0:
                inside += width * rate
        cost += inside * Fraction(energy, total)
    return cost / MICRO_PER_KWH


class BlockCounter:
    """Energy counted so far towards quarterly and yearly blocks."""

    def __init__(
        self, charge: EnergyCharge, first_month: tuple[int, int], before_uwh: int = 0
    ) -> None:
        self._basis = charge.tier_basis
        self._key = _counter_key(charge.tier_basis, first_month)
        self._sum_uwh = before_uwh

    def before(self, month: tuple[int, int], energy_uwh: int) -> int:
        """Energy counted before this month [µWh]; then count this month's."""
        key = _counter_key(self._basis, month)
        if key is None:
            return 0
        if key != self._key:
            self._key, self._sum_uwh = key, 0
        before = self._sum_uwh
        self._sum_uwh += energy_uwh
        return before


def counted_before(
    charge: EnergyCharge,
    tariff: Tariff,
    metered: MeteredEnergy,
    energy_uwh: MicroEnergy,
    position: int | None = None,
) -> int:
    """Energy that the quarter or year of the first month counts from before it [µWh].

    Args:
        charge: The charge.
        tariff: The tariff it belongs to.
        metered: The profile on the tariff's clock.
        energy_uwh: Import or export of the profile, whose earlier energy is counted.
        position: Period to count alone, or None for all.
    """
    before = metered.before
    key = _counter_key(charge.tier_basis, metered.calendar.months[0])
    if before is None or key is None:
        return 0
    same = [_counter_key(charge.tier_basis, month) == key for month in before.calendar.months]
    counts = np.array(same)[before.calendar.month_index]
    if position is not None:
        counts &= before.periods(charge.periods, tariff) == position
    imported = energy_uwh is metered.import_uwh
    return int((before.import_uwh if imported else before.export_uwh)[counts].sum())


def _counter_key(basis: str, month: tuple[int, int]) -> tuple[int, int] | None:
    if basis == "quarter":
        return month[0], (month[1] - 1) // 3
    if basis == "year":
        return month[0], 0
    return None


def _chronological(
    charge: EnergyCharge,
    tariff: Tariff,
    metered: MeteredEnergy,
    energy_uwh: MicroEnergy,
    period: NDArray[np.int16],
    limits: Sequence[BlockLimits],
) -> list[Fraction]:
    """Fill blocks in the order of use; the interval that crosses an edge is split."""
    calendar = metered.calendar
    reset = _reset_group(charge, metered)
    scopes: list[tuple[int | None, NDArray[np.bool_]]] = [
        (None, np.ones(len(period), dtype=np.bool_))
    ]
    if charge.tier_scope == "period":
        scopes = [(position, period == position) for position in range(len(charge.periods))]
    cost = [Fraction(0)] * len(calendar.months)
    for own, scope in scopes:
        counted = np.where(scope, energy_uwh, 0)
        after = np.cumsum(counted)
        starts = np.flatnonzero(np.diff(reset, prepend=reset[0] - 1))
        base = (after - counted)[starts]
        after = after - base[np.cumsum(np.isin(np.arange(len(reset)), starts)) - 1]
        after[reset == reset[0]] += counted_before(charge, tariff, metered, energy_uwh, own)
        before = after - counted
        for position, month in _pairs(period, calendar.month_index, scope):
            here = scope & (period == position) & (calendar.month_index == month)
            limits[month].refuse_beyond(position, int(after[here & (counted > 0)].max(initial=0)))
            low_high = pairwise(limits[month].edges_uwh[position])
            for (low, high), rate in zip(low_high, limits[month].rates[position], strict=True):
                inside = np.clip(after[here], low, high) - np.clip(before[here], low, high)
                cost[month] += int(inside.sum()) * rate
    return [amount / MICRO_PER_KWH for amount in cost]


def _pairs(
    period: NDArray[np.int16], month: NDArray[np.int32], scope: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Pairs of period and month that occur."""
    joint = np.unique(month[scope].astype(np.int64) * 1024 + period[scope])
    return [(int(pair % 1024), int(pair // 1024)) for pair in joint]


def _reset_group(charge: EnergyCharge, metered: MeteredEnergy) -> NDArray[np.int64]:
    """Number of the counting group of each interval; blocks start anew when it changes."""
    calendar = metered.calendar
    if charge.tier_basis == "day":
        return calendar.day_index.astype(np.int64)
    keys = [
        _counter_key(charge.tier_basis, month) or (month[0], month[1] + 100)
        for month in calendar.months
    ]
    numbers = np.array([year * 1000 + part for year, part in keys], dtype=np.int64)
    return numbers[calendar.month_index]
