"""The cost of peak demand, exactly: windows, highest peaks, minimum, ratchet and blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.billing.metered_energy import MICRO_PER_KWH, MeteredEnergy, MicroEnergy
from tariff_bargainer.errors import InsufficientProfile, UnsupportedRate
from tariff_bargainer.tariffs.tariff import DemandCharge, Period, Ratchet, Tariff

EarlierPeak = tuple[tuple[int, int], Fraction]
"""Year and month, and its demand [kW]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemandWindows:
    """Energy of whole averaging windows, each labelled by where it starts.

    Attributes:
        energy_uwh: Energy per window [µWh], shape (n_windows,).
        first_interval: Position of each window's first interval, shape (n_windows,).
        window_s: Length of a window [s].
    """

    energy_uwh: MicroEnergy
    first_interval: NDArray[np.int64]
    window_s: int

    def kw(self, energy_uwh: int | Fraction) -> Fraction:
        """Average power of a window [kW]."""
        return Fraction(energy_uwh) * 3600 / (self.window_s * MICRO_PER_KWH)


def demand_windows(
    metered: MeteredEnergy, energy_uwh: MicroEnergy, window_min: int | None
) -> DemandWindows:
    """Add intervals up to averaging windows on the tariff's wall clock.

    A profile coarser than the window is used at its own step; `coarse_window` tells.
    """
    step_s = metered.profile.step_s
    n_intervals = len(energy_uwh)
    if window_min is None or window_min * 60 <= step_s:
        return DemandWindows(
            energy_uwh=energy_uwh,
            first_interval=np.arange(n_intervals, dtype=np.int64),
            window_s=step_s,
        )
    if (window_min * 60) % step_s:
        raise InsufficientProfile(
            reasons=(
                (
                    f"demand is averaged over {window_min} min, which intervals of {step_s} s do not "
                    "fill evenly; give a profile whose step divides the window"
                ),
            )
        )
    opens = metered.calendar.minute_of_day % window_min == 0
    if step_s < 60:
        opens &= np.diff(metered.calendar.minute_of_day, prepend=-1) != 0
    opens[0] = True
    first = np.flatnonzero(opens).astype(np.int64)
    return DemandWindows(
        energy_uwh=np.add.reduceat(energy_uwh, first),
        first_interval=first,
        window_s=window_min * 60,
    )


def coarse_window(metered: MeteredEnergy, charge: DemandCharge) -> str:
    """Say that peaks are understated because the profile is coarser than the window, or nothing."""
    step_s = metered.profile.step_s
    if charge.window_min is None or charge.window_min * 60 >= step_s:
        return ""
    return (
        f"{charge.name}: demand is averaged over {charge.window_min} min, but the profile has "
        f"{step_s // 60} min, so the peak may be understated"
    )


def unknown_peaks(metered: MeteredEnergy, charge: DemandCharge, tariff: Tariff) -> str:
    """Say which months have no system peak, whose coincident demand is therefore not billed."""
    if not charge.coincident:
        return ""
    windows = demand_windows(metered, metered.import_uwh, charge.window_min)
    held = windows.first_interval[_holds_a_system_peak(metered, tariff, windows)]
    known = set(metered.calendar.month_index[held].tolist())
    missing = [
        f"{year:04d}-{month:02d}"
        for index, (year, month) in enumerate(metered.calendar.months)
        if index not in known
    ]
    if not missing:
        return ""
    return f"{charge.name}: not billed in {', '.join(missing)}, for which no system peak is given"


def monthly_peaks_kw(tariff: Tariff, metered: MeteredEnergy) -> list[Fraction]:
    """Demand of each local month that blocks per kW are scaled by [kW].

    It is the highest import at the profile's own step, raised by a ratchet that holds across all
    periods, because such blocks are per kW of *billed* demand.
    """
    peaks = _highest_kw(metered)
    for charge in tariff.demand:
        if charge.ratchet and charge.ratchet.across_periods:
            earlier = _before(metered, _highest_kw(metered.before))
            return _ratcheted(charge.ratchet, peaks, metered.calendar.months, earlier)
    return peaks


def _highest_kw(metered: MeteredEnergy | None) -> list[Fraction]:
    """Highest import of each local month at the profile's own step [kW]."""
    if metered is None:
        return []
    windows = demand_windows(metered, metered.import_uwh, None)
    highest = np.zeros(metered.n_months, dtype=np.int64)
    np.maximum.at(highest, metered.calendar.month_index, metered.import_uwh)
    return [windows.kw(int(peak)) for peak in highest]


def _before(metered: MeteredEnergy, peaks_kw: Sequence[Fraction]) -> list[EarlierPeak]:
    """Peaks of the whole months before the first one billed, under the same contract."""
    if metered.before is None:
        return []
    first = metered.calendar.months[0]
    months = metered.before.calendar.months
    return [(month, peak) for month, peak in zip(months, peaks_kw, strict=True) if month < first]


def monthly_demand_cost(
    charge: DemandCharge, tariff: Tariff, metered: MeteredEnergy, energy_uwh: MicroEnergy
) -> list[Fraction]:
    """Price peak demand under one charge, month by month.

    Args:
        charge: The charge.
        tariff: The tariff it belongs to.
        metered: The profile on the tariff's clock.
        energy_uwh: Energy whose power is charged, per interval [µWh], shape (n,).

    Returns:
        Exact cost per local month [currency].
    """
    windows = demand_windows(metered, energy_uwh, charge.window_min)
    period = metered.periods(charge.periods, tariff)[windows.first_interval]
    day = metered.calendar.day_index[windows.first_interval]
    counts = np.ones(len(day), dtype=np.bool_)
    if charge.coincident:
        counts = _holds_a_system_peak(metered, tariff, windows)
    by_day = charge.per == "day"
    day_month = metered.calendar.day_month_index
    n_groups = len(metered.calendar.days) if by_day else metered.n_months
    group = day if by_day else day_month[day]
    months = metered.calendar.months
    cost = [Fraction(0)] * len(months)
    across = charge.ratchet is not None and charge.ratchet.across_periods
    for position, priced in enumerate(charge.periods):
        here = counts if across else counts & (period == position)
        peaks = _peaks_kw(charge, windows, here, group, day, n_groups)
        occurs = np.zeros(n_groups, dtype=np.bool_)
        occurs[group[period == position]] = True
        if charge.ratchet and not by_day:
            earlier = _before(metered, _peaks_before(charge, tariff, metered, position))
            peaks = _ratcheted(charge.ratchet, peaks, months, earlier)
        for index in np.flatnonzero(occurs):
            demand = max(peaks[index], Fraction(charge.minimum_kw))
            month = int(day_month[index]) if by_day else int(index)
            cost[month] += block_cost(charge, priced, demand, months[month])
    return cost


def _peaks_before(
    charge: DemandCharge, tariff: Tariff, metered: MeteredEnergy, position: int
) -> list[Fraction]:
    """Demand of one period in each month metered earlier under the same contract [kW]."""
    before = metered.before
    if before is None:
        return []
    windows = demand_windows(before, before.import_uwh, charge.window_min)
    here = np.ones(len(windows.first_interval), dtype=np.bool_)
    if charge.coincident:
        here = _holds_a_system_peak(before, tariff, windows)
    if charge.ratchet is None or not charge.ratchet.across_periods:
        here &= before.periods(charge.periods, tariff)[windows.first_interval] == position
    day = before.calendar.day_index[windows.first_interval]
    group = before.calendar.day_month_index[day]
    return _peaks_kw(charge, windows, here, group, day, before.n_months)


def block_cost(
    charge: DemandCharge, period: Period, demand_kw: Fraction, month: tuple[int, int]
) -> Fraction:
    """Price a demand block by block [currency].

    Raises:
        UnsupportedRate: The demand lies above the end of a last block that has one.
    """
    end = period.tiers[-1].upto
    if end is not None and demand_kw > end:
        raise UnsupportedRate(
            field=f"demand {charge.name!r}, {period.name}",
            problem=f"the last block ends at {end} kW, and {month[0]:04d}-{month[1]:02d} has "
            f"{float(demand_kw):.3f} kW",
            remedy="the rate does not say what is due above",
        )
    cost = Fraction(0)
    low = Fraction(0)
    for tier in period.tiers:
        high = demand_kw if tier.upto is None else min(Fraction(tier.upto), demand_kw)
        if high > low:
            cost += (high - low) * Fraction(tier.rate)
            low = high
    return cost


def _peaks_kw(
    charge: DemandCharge,
    windows: DemandWindows,
    here: NDArray[np.bool_],
    group: NDArray[np.int32],
    day: NDArray[np.int32],
    n_groups: int,
) -> list[Fraction]:
    """Average of the n highest windows of each group [kW]; zero where the period is absent."""
    if charge.n_highest == 1:
        highest = np.zeros(n_groups, dtype=np.int64)
        np.maximum.at(highest, group[here], windows.energy_uwh[here])
        return [windows.kw(int(peak)) for peak in highest]
    energy, groups, days = windows.energy_uwh[here], group[here], day[here]
    if charge.distinct_days:
        joint, where = np.unique(
            groups.astype(np.int64) * (int(days.max(initial=0)) + 1) + days, return_inverse=True
        )
        per_day = np.zeros(len(joint), dtype=np.int64)
        np.maximum.at(per_day, where, energy)
        groups = (joint // (int(days.max(initial=0)) + 1)).astype(np.int32)
        energy = per_day
    peaks = []
    for index in range(n_groups):
        found = np.sort(energy[groups == index])[::-1][: charge.n_highest]
        mean = Fraction(int(found.sum()), len(found)) if len(found) else Fraction(0)
        peaks.append(windows.kw(mean))
    return peaks


def _ratcheted(
    ratchet: Ratchet,
    peaks: Sequence[Fraction],
    months: Sequence[tuple[int, int]],
    before: Sequence[EarlierPeak],
) -> list[Fraction]:
    """Raise each month's demand to a share of the highest peak in the months before."""
    known = [*before, *zip(months, peaks, strict=True)]
    raised = []
    for index, ((_, month), demand) in enumerate(known):
        earlier = [
            peak * Fraction(ratchet.share_of(past)) / 100
            for (_, past), peak in known[max(0, index - ratchet.lookback_months) : index]
            if past in ratchet.peak_months
        ]
        applies = earlier and month in ratchet.apply_months
        raised.append(max(demand, *earlier) if applies else demand)
    return raised[len(before) :]


def _holds_a_system_peak(
    metered: MeteredEnergy, tariff: Tariff, windows: DemandWindows
) -> NDArray[np.bool_]:
    """True for the windows in which a system peak of the tariff falls."""
    starts_s = windows.first_interval * metered.profile.step_s
    counts = np.zeros(len(starts_s), dtype=np.bool_)
    for text in tariff.system_peaks:
        offset_s = (datetime.fromisoformat(text) - metered.profile.start).total_seconds()
        position = int(np.searchsorted(starts_s, offset_s, side="right")) - 1
        if position >= 0 and offset_s < starts_s[position] + windows.window_s:
            counts[position] = True
    return counts
