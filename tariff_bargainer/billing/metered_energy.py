"""Exact energy: profiles as whole micro-watt-hours, and their sums by month and period.

A bill that money is paid on must come out the same to the last digit on every machine. So energy
becomes 64-bit whole µWh once, here, and only whole numbers are added afterwards.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.errors import InsufficientProfile
from tariff_bargainer.profiles.calendar import LocalCalendar, local_calendar, zone
from tariff_bargainer.profiles.intervals import MICRO_PER_WH, Energy, LoadProfile
from tariff_bargainer.tariffs.schedule import period_of_interval, schedule_table
from tariff_bargainer.tariffs.tariff import Period, Tariff

SECONDS_PER_DAY = 86_400
MICRO_PER_KWH = 1000 * MICRO_PER_WH
SUM_UWH_MAX = 9e18
"""Largest sum that fits 64 bits [µWh]: 9 TWh."""

MicroEnergy = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeteredEnergy:
    """A gapless profile on the clock of one tariff, in whole micro-watt-hours.

    Attributes:
        profile: Where it came from.
        calendar: The intervals on the tariff's wall clock.
        import_uwh: Import per interval [µWh], shape (n,).
        export_uwh: Export per interval [µWh], shape (n,).
        before: What was metered earlier under the same contract, for blocks and ratchets that
            look back over a change of prices; None where nothing was.
    """

    profile: LoadProfile
    calendar: LocalCalendar
    import_uwh: MicroEnergy
    export_uwh: MicroEnergy
    before: "MeteredEnergy | None" = None

    @property
    def n_months(self) -> int:
        """Number of local calendar months touched."""
        return len(self.calendar.months)

    def periods(self, periods: tuple[Period, ...], tariff: Tariff) -> NDArray[np.int16]:
        """Position of the period each interval falls in, shape (n,).

        Raises:
            InsufficientProfile: Intervals are too long for the windows.
        """
        table = schedule_table(
            tuple(period.windows for period in periods), holidays=tariff.has_holidays
        )
        found, straddling = period_of_interval(table, self.calendar, self.profile.step_s)
        if straddling:
            raise InsufficientProfile(
                reasons=(
                    (
                        f"{straddling} intervals of {self.profile.step_s} s straddle a change of "
                        f"period in {tariff.timezone}; give a profile with a finer step, or the right "
                        "time zone"
                    ),
                )
            )
        return found

    def sums(self, energy_uwh: MicroEnergy, group: NDArray[np.int32], n: int) -> MicroEnergy:
        """Add energy by group, exactly, shape (n,)."""
        total: MicroEnergy = np.zeros(n, dtype=np.int64)
        np.add.at(total, group, energy_uwh)
        return total


def metered_energy(
    profile: LoadProfile, tariff: Tariff, before: LoadProfile | None = None
) -> MeteredEnergy:
    """Put a profile on a tariff's clock, in whole µWh.

    Args:
        profile: The profile.
        tariff: The tariff.
        before: The profile up to the first interval, under the same contract.

    Raises:
        InsufficientProfile: Intervals are missing.
    """
    mask = profile.missing_mask
    if mask.any():
        first = profile.start + timedelta(seconds=profile.step_s * int(np.argmax(mask)))
        raise InsufficientProfile(
            reasons=(
                (
                    f"{int(mask.sum())} of {len(profile)} intervals are missing, the first at "
                    f"{first.isoformat()}; fill them as estimates, flagged, or bill a shorter time"
                ),
            )
        )
    export = np.zeros(len(profile), dtype=np.int64)
    if profile.export_wh is not None:
        export = _micro(profile.export_wh)
    return MeteredEnergy(
        profile=profile,
        calendar=tariff_calendar(profile, tariff),
        import_uwh=_micro(profile.import_wh),
        export_uwh=export,
        before=None if before is None else metered_energy(before, tariff),
    )


def tariff_calendar(profile: LoadProfile, tariff: Tariff) -> LocalCalendar:
    """Put a profile's intervals on the wall clock of a tariff, holidays included."""
    years = (profile.start.year - 1, profile.end.year + 1)
    return local_calendar(
        profile.start,
        profile.step_s,
        len(profile),
        tariff.timezone,
        tariff.holidays_between(*years),
    )


def _micro(energy_wh: Energy) -> MicroEnergy:
    if float(energy_wh.sum(dtype=np.float64)) * MICRO_PER_WH > SUM_UWH_MAX:
        raise InsufficientProfile(
            reasons=("the energy adds up to more than 9 TWh; check the unit of the profile",)
        )
    if energy_wh.dtype.kind == "i":
        return energy_wh.astype(np.int64) * MICRO_PER_WH
    return np.rint(energy_wh * float(MICRO_PER_WH)).astype(np.int64)


def month_shares(calendar: LocalCalendar, step_s: int) -> list[Fraction]:
    """Share of each local month that a series covers, exactly, by its days.

    A day counts whole whatever the clock does on it; a day that is covered in part counts by
    elapsed time.

    Args:
        calendar: The series on the tariff's wall clock.
        step_s: Length of every interval [s].
    """
    covered_s = np.bincount(calendar.day_index, minlength=len(calendar.days)) * step_s
    days = [Fraction(0)] * len(calendar.months)
    for day, month, seconds in zip(
        calendar.days, calendar.day_month_index.tolist(), covered_s.tolist(), strict=True
    ):
        whole_s = SECONDS_PER_DAY
        if seconds != SECONDS_PER_DAY:
            whole_s = day_seconds(day, calendar.timezone)
        days[month] += min(Fraction(1), Fraction(seconds, whole_s))
    return [
        count / monthrange(*month)[1] for count, month in zip(days, calendar.months, strict=True)
    ]


def day_seconds(day: date, timezone: str) -> int:
    """Elapsed seconds of a local day, clock changes included."""
    local = zone(timezone)
    midnights = [
        datetime(at.year, at.month, at.day, tzinfo=local).timestamp()
        for at in (day, day + timedelta(days=1))
    ]
    return round(midnights[1] - midnights[0])
