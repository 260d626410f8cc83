"""Why a load profile cannot be used, as values.

A profile is checked before anything is computed from it, and every reason is returned together,
so that a person can mend them in one go. Nothing is mended here and no energy is ever invented.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.profiles.intervals import LoadProfile


class Fault(StrEnum):
    """Kinds of reason, for programs; `Insufficiency.text` says the same for people."""

    TOO_SHORT = "too_short"
    COARSE_STEP = "coarse_step"
    MISSING = "missing"
    LONG_GAP = "long_gap"
    NO_ENERGY = "no_energy"
    STUCK = "stuck"
    SILENT = "silent"
    IMPLAUSIBLE = "implausible"
    NO_ZONE = "no_zone"
    CLOCK = "clock"
    NOT_NUMBERS = "not_numbers"
    NEGATIVE = "negative"
    IRREGULAR = "irregular"


@dataclass(frozen=True, slots=True, kw_only=True)
class Insufficiency:
    """One reason why one home's profile cannot be used.

    Attributes:
        home: Name of the home.
        fault: Kind of reason.
        text: What is wrong, where, and what would mend it.
        intervals: How many intervals are concerned.
        first: Start of the first one, UTC; None when the whole profile is meant.
    """

    home: str
    fault: Fault
    text: str
    intervals: int
    first: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a profile must show before a yearly tariff may be judged on it.

    Attributes:
        days_min: Shortest span [days]; a year less a day passes.
        step_s_max: Coarsest step [s]; hourly by default, since typical days need hours.
        missing_share_max: Largest share of missing intervals [0..1].
        gap_h_max: Longest single gap [h].
        stuck_h_max: Longest run of one same reading above zero [h]; a real home never repeats the
            same watt-hours for so long, a stuck meter does.
        silent_h_max: Longest run of zeros without export [h]; a fridge alone ends one, so a longer
            run is a dead meter, or missing readings that were written as zero.
        power_w_max: Highest plausible mean power of one home [W]: three phases at 100 A.
        mean_w_min: Least plausible mean power over the profile [W]; below, the unit is in doubt.
        mean_w_max: Highest plausible mean power over the profile [W]: 175 MWh a year.
    """

    days_min: int = 364
    step_s_max: int = 3600
    missing_share_max: float = 0.10
    gap_h_max: float = 7 * 24
    stuck_h_max: float = 48
    silent_h_max: float = 14 * 24
    power_w_max: float = 69_000
    mean_w_min: float = 5
    mean_w_max: float = 20_000


def insufficiencies(
    home: str, profile: LoadProfile, requirements: Requirements | None = None
) -> list[Insufficiency]:
    """List the reasons why a home's profile cannot be used; an empty list means it can.

    Args:
        home: Name used in the reasons.
        profile: The home's import per interval [Wh].
        requirements: Limits; the defaults ask for a year of hours.
    """
    limits = requirements or Requirements()
    missing = profile.missing_mask
    return [
        *_span_reasons(home, profile, limits),
        *_gap_reasons(home, profile, missing, limits),
        *_reading_reasons(home, profile, missing, limits),
    ]


def group_insufficiencies(
    homes: Mapping[str, LoadProfile], requirements: Requirements | None = None
) -> list[Insufficiency]:
    """List the reasons of every home, in the order of the mapping."""
    return [
        reason
        for home, profile in homes.items()
        for reason in insufficiencies(home, profile, requirements)
    ]


def _span_reasons(home: str, profile: LoadProfile, limits: Requirements) -> list[Insufficiency]:
    reasons = []
    span = profile.end - profile.start
    if span < timedelta(days=limits.days_min):
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.TOO_SHORT,
                text=f"{home}: covers {span / timedelta(days=1):.1f} days, "
                f"{limits.days_min} are needed; wait for more readings or ask for older ones",
                intervals=len(profile),
                first=None,
            )
        )
    if profile.step_s > limits.step_s_max:
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.COARSE_STEP,
                text=f"{home}: intervals of {profile.step_s} s are coarser than "
                f"{limits.step_s_max} s; the home would have to agree to a finer resolution",
                intervals=len(profile),
                first=None,
            )
        )
    return reasons


def _gap_reasons(
    home: str, profile: LoadProfile, missing: NDArray[np.bool_], limits: Requirements
) -> list[Insufficiency]:
    reasons = []
    count = int(missing.sum())
    share = count / len(profile)
    if share > limits.missing_share_max:
        first = _at(profile, int(missing.argmax()))
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.MISSING,
                text=f"{home}: {count} of {len(profile)} intervals ({share:.1%}) are missing, at "
                f"most {limits.missing_share_max:.0%} may be; first at {first.isoformat()}",
                intervals=count,
                first=first,
            )
        )
    start, length = longest_run(missing)
    if length * profile.step_s > limits.gap_h_max * 3600:
        first = _at(profile, start)
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.LONG_GAP,
                text=f"{home}: no readings for {length * profile.step_s / 3600:.1f} h from "
                f"{first.isoformat()}, at most {limits.gap_h_max:.0f} h may be missing in a row",
                intervals=length,
                first=first,
            )
        )
    return reasons


def _reading_reasons(
    home: str, profile: LoadProfile, missing: NDArray[np.bool_], limits: Requirements
) -> list[Insufficiency]:
    reasons = []
    energy = np.where(missing, 0, profile.import_wh)
    if not missing.all() and not energy.any():
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.NO_ENERGY,
                text=f"{home}: every reading is zero; check the meter or whether the home is empty",
                intervals=len(profile) - int(missing.sum()),
                first=None,
            )
        )
    same = np.zeros(len(profile), dtype=np.bool_)
    same[1:] = (energy[1:] == energy[:-1]) & (energy[1:] > 0) & ~missing[1:] & ~missing[:-1]
    start, length = longest_run(same)
    if (length + 1) * profile.step_s > limits.stuck_h_max * 3600:
        first = _at(profile, start - 1)
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.STUCK,
                text=f"{home}: the same reading of {energy[start]:.0f} Wh repeats for "
                f"{(length + 1) * profile.step_s / 3600:.1f} h from {first.isoformat()}; check "
                "whether the meter is stuck",
                intervals=length + 1,
                first=first,
            )
        )
    exported = np.zeros(len(profile)) if profile.export_wh is None else profile.export_wh
    start, length = longest_run((energy == 0) & ~missing & ~(exported > 0))
    if energy.any() and length * profile.step_s > limits.silent_h_max * 3600:
        first = _at(profile, start)
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.SILENT,
                text=f"{home}: zero for {length * profile.step_s / 3600:.1f} h from "
                f"{first.isoformat()}, where a fridge alone would show; check whether the meter was "
                "dead, or missing readings were written as zero",
                intervals=length,
                first=first,
            )
        )
    return [*reasons, *_size_reasons(home, profile, missing, limits)]


def _size_reasons(
    home: str, profile: LoadProfile, missing: NDArray[np.bool_], limits: Requirements
) -> list[Insufficiency]:
    reasons = []
    energy = np.where(missing, 0, profile.import_wh)
    measured = energy[~missing]
    mean_w = float(measured.mean()) * 3600 / profile.step_s if measured.size else 0.0
    if measured.any() and not limits.mean_w_min <= mean_w <= limits.mean_w_max:
        low = mean_w < limits.mean_w_min
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.IMPLAUSIBLE,
                text=f"{home}: the mean power is {mean_w:,.3g} W, a home's lies between "
                f"{limits.mean_w_min:,.0f} and {limits.mean_w_max:,.0f} W; check the unit"
                + (", kWh may have been read as Wh" if low else ", Wh may have been read as kWh"),
                intervals=int(measured.size),
                first=None,
            )
        )
    high = energy * (3600 / profile.step_s) > limits.power_w_max
    if high.any():
        first = _at(profile, int(high.argmax()))
        reasons.append(
            Insufficiency(
                home=home,
                fault=Fault.IMPLAUSIBLE,
                text=f"{home}: {int(high.sum())} intervals lie above "
                f"{limits.power_w_max / 1000:.0f} kW, first at {first.isoformat()}; check the "
                "meter's unit or whether a catch-up reading was booked to one interval",
                intervals=int(high.sum()),
                first=first,
            )
        )
    return reasons


def longest_run(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return (first position, length) of the longest run of True; (0, 0) when there is none."""
    edges = np.diff(np.concatenate(([0], mask.astype(np.int8), [0])))
    starts = np.flatnonzero(edges == 1)
    if starts.size == 0:
        return 0, 0
    lengths = np.flatnonzero(edges == -1) - starts
    best = int(lengths.argmax())
    return int(starts[best]), int(lengths[best])


def _at(profile: LoadProfile, interval: int) -> datetime:
    return profile.start + timedelta(seconds=profile.step_s * interval)
