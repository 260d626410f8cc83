"""What each member could do without the group, and how sure a saving is.

A member's walk-away is the cheapest of staying and of every tariff that is open to it, with the fee
for leaving the present one. A saving on last year's use is one number; drawing the year's weeks
again shows whether it would hold in another year like it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import InsufficientProfile, MismatchedHomes
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.tariff import Tariff

WEEK_S = 7 * 86_400
SAMPLES_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """The best a member can do alone.

    Attributes:
        home: Name of the home.
        tariff: Its best tariff.
        stays: Whether that is the tariff it has.
        cost_minor: Bill, with the exit fee that counts if it leaves [minor units].
        exit_fee_minor: The fee for leaving the present tariff [minor units].
        fee_counted_minor: The part of it that counts over the span of the bill: all of it over a
            year, and by days where the profile is of another length [minor units].
    """

    home: str
    tariff: Tariff
    stays: bool
    cost_minor: int
    exit_fee_minor: int
    fee_counted_minor: int

    @property
    def joining_limit_minor(self) -> int:
        """Highest bill on a group contract at which joining costs no more than this [minor units].

        Who joins leaves the present tariff as well, and pays the same fee for it.
        """
        return self.cost_minor - self.fee_counted_minor


def best_alternatives(
    homes: Mapping[str, LoadProfile],
    own_tariffs: Mapping[str, Tariff],
    open_tariffs: Sequence[Tariff],
    *,
    index: Mapping[str, IndexSeries] | None = None,
) -> dict[str, Alternative]:
    """Find every member's walk-away: stay, or leave for the cheapest open tariff.

    Staying wins when both cost the same.

    Args:
        homes: Each home's profile, without gaps.
        own_tariffs: Each home's present tariff, with its exit fee.
        open_tariffs: Tariffs that any of these homes could sign alone.
        index: Price series by the name that tariffs use.

    Raises:
        MismatchedHomes: A home has no tariff, or an open tariff is in another currency.
    """
    found = {}
    for home, profile in homes.items():
        own = own_tariffs.get(home)
        if own is None:
            raise MismatchedHomes(home=home, problem="has no tariff of its own")
        fee_minor = to_minor(own.exit_fee, own.currency)
        counted_minor = _over_span(fee_minor, profile)
        best = Alternative(
            home=home,
            tariff=own,
            stays=True,
            cost_minor=_bill_minor(profile, own, index),
            exit_fee_minor=fee_minor,
            fee_counted_minor=counted_minor,
        )
        for tariff in open_tariffs:
            if tariff.currency != own.currency:
                raise MismatchedHomes(
                    home=home, problem=f"pays in {own.currency}, {tariff.name} is {tariff.currency}"
                )
            cost_minor = _bill_minor(profile, tariff, index) + counted_minor
            if cost_minor < best.cost_minor:
                best = Alternative(
                    home=home,
                    tariff=tariff,
                    stays=False,
                    cost_minor=cost_minor,
                    exit_fee_minor=fee_minor,
                    fee_counted_minor=counted_minor,
                )
        found[home] = best
    return found


def chance_of_saving(
    profile: LoadProfile,
    old: Tariff,
    new: Tariff,
    *,
    samples: int = 100,
    window_weeks: int = 4,
    seed: int = 0,
    index: Mapping[str, IndexSeries] | None = None,
) -> float:
    """Return the share of resampled years in which the new tariff costs less than the old [0..1].

    Each week of the year is drawn from the weeks near it, so season and weekday stay; both
    tariffs bill the same drawn year, with everything that is not a plain price per kWh.

    Args:
        profile: The home's profile, without gaps.
        old: Its present tariff.
        new: The tariff on offer.
        samples: Years to draw.
        window_weeks: How far, before and after, a week may be drawn from.
        seed: Seed of the draws; the same seed draws the same weeks for every home.
        index: Price series by the name that tariffs use; they stay in place.

    Raises:
        InsufficientProfile: Less than four weeks, or gaps.
    """
    per_week = WEEK_S // profile.step_s
    weeks = len(profile) // per_week
    if weeks < 4:
        raise InsufficientProfile(reasons=[f"{weeks} whole weeks; four are needed to draw from"])
    if not 1 <= samples <= SAMPLES_MAX:
        raise InsufficientProfile(reasons=[f"{samples} samples; give 1 to {SAMPLES_MAX}"])
    rng = np.random.default_rng(seed)
    reach = min(window_weeks, (weeks - 1) // 2)
    saves = 0
    for _ in range(samples):
        shifts = rng.integers(-reach, reach + 1, size=weeks)
        places = (np.arange(weeks) + shifts) % weeks
        order = (places[:, None] * per_week + np.arange(per_week)).ravel()
        order = np.concatenate([order, np.arange(weeks * per_week, len(profile))])
        drawn = LoadProfile(
            start=profile.start,
            step_s=profile.step_s,
            import_wh=profile.import_wh[order],
            export_wh=None if profile.export_wh is None else profile.export_wh[order],
            missing=None if profile.missing is None else profile.missing[order],
        )
        saves += _bill_minor(drawn, new, index) < _bill_minor(drawn, old, index)
    return saves / samples


def _over_span(yearly_minor: int, profile: LoadProfile) -> int:
    """Share an amount of a year out to the days of a profile, rounded up; a year takes all of it."""
    days = (profile.end - profile.start).total_seconds() / 86_400
    return yearly_minor if 364 <= days <= 366 else ceil(yearly_minor * days / 365)


def _bill_minor(
    profile: LoadProfile, tariff: Tariff, index: Mapping[str, IndexSeries] | None
) -> int:
    return to_minor(bill(profile, tariff, index=index).annual.total, tariff.currency)
