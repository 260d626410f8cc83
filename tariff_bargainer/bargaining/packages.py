"""Bargaining over several things at once: price, term, standing charge, day and night, green, cap.

A package fixes a level of every issue and a price. Each level has a worth to the members and a cost
to the supplier, both in money a year, so that giving way where it is cheap for us and dear to them
becomes visible. The search keeps the packages that no other beats on both sides, and points at the
Nash and the Kalai-Smorodinsky solution among them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from math import inf, log, prod

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.bargaining.counter_offer import TICK, BargainingRange
from tariff_bargainer.bargaining.minor_units import minor_places, money_text
from tariff_bargainer.errors import NegotiationFault

PACKAGES_MAX = 2_000_000
PRICES_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One way to settle an issue; both numbers are relative to the issue's other levels.

    Attributes:
        label: Such as `24 months` or `cap 0.36`.
        worth_minor: What it is worth to the members a year [minor units].
        cost_minor: What it costs the supplier a year [minor units].
    """

    label: str
    worth_minor: int
    cost_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing to settle beside the price.

    Attributes:
        name: Such as `term` or `green share`.
        levels: Ways to settle it, at least one.
    """

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A complete proposal.

    Attributes:
        price_per_kwh: All-in price before the issues' worth [currency/kWh].
        labels: Chosen level of each issue, by name.
        our_gain_minor: Gain of the members over walking away, a year [minor units].
        their_gain_minor: Gain of the supplier over its floor, a year [minor units].
    """

    price_per_kwh: Decimal
    labels: Mapping[str, str]
    our_gain_minor: int
    their_gain_minor: int


def pareto_packages(
    limits: BargainingRange, issues: Sequence[Issue], *, step_per_kwh: Decimal = TICK
) -> tuple[Package, ...]:
    """Return all packages that help both sides and that no other beats, best for us first.

    Args:
        limits: Floor and walk-away for the plain package, where every issue stands at zero.
        issues: What else is to be settled.
        step_per_kwh: Step between prices that are tried [currency/kWh].

    Raises:
        NegotiationFault: There are too many packages, or an issue has no level.
    """
    if any(not issue.levels for issue in issues):
        raise NegotiationFault("every issue needs at least one level")
    settled = _undominated_settlements(issues)
    worths = np.array([worth for _, worth, _ in settled], dtype=np.int64)
    costs = np.array([cost for _, _, cost in settled], dtype=np.int64)
    prices = _prices(limits, worths, costs, step_per_kwh)
    if len(prices) * len(settled) > PACKAGES_MAX:
        raise NegotiationFault(
            f"{len(prices) * len(settled)} packages: use a wider price step or fewer levels"
        )
    per_unit = 10 ** minor_places(limits.currency)
    ours = np.array([_minor((limits.walk_away - p) * limits.energy_kwh, per_unit) for p in prices])
    theirs = np.array([_minor((p - limits.floor) * limits.energy_kwh, per_unit) for p in prices])
    our_gain = (ours[:, None] + worths[None, :]).ravel()
    their_gain = (theirs[:, None] - costs[None, :]).ravel()
    keep = _undominated(our_gain, their_gain)
    keep = keep[(our_gain[keep] >= 0) & (their_gain[keep] >= 0)]
    return tuple(
        Package(
            price_per_kwh=prices[place // len(settled)],
            labels=settled[place % len(settled)][0],
            our_gain_minor=int(our_gain[place]),
            their_gain_minor=int(their_gain[place]),
        )
        for place in keep
    )


def nash_package(packages: Sequence[Package], *, power: Decimal = Decimal("0.5")) -> Package:
    """Return the package that maximises our gain ^ power x their gain ^ (1 - power).

    Raises:
        NegotiationFault: No package helps both sides, or the power is not between 0 and 1.

    Source: J. Nash, "The bargaining problem", Econometrica 18, 1950.
    """
    if not 0 <= power <= 1:
        raise NegotiationFault(f"the bargaining power is {power}: choose between 0 and 1")
    share = float(power)

    def value(package: Package) -> tuple[float, int]:
        ours = _log(package.our_gain_minor) * share if share else 0.0
        theirs = _log(package.their_gain_minor) * (1 - share) if share < 1 else 0.0
        return ours + theirs, package.our_gain_minor

    return max(_some(packages), key=value)


def kalai_smorodinsky_package(packages: Sequence[Package]) -> Package:
    """Return the package in which both sides get the most equal share of what each could hope for.

    Raises:
        NegotiationFault: No package helps both sides.

    Source: E. Kalai, M. Smorodinsky, "Other solutions to Nash's bargaining problem",
    Econometrica 43, 1975.
    """
    most_ours = max(package.our_gain_minor for package in _some(packages)) or 1
    most_theirs = max(package.their_gain_minor for package in packages) or 1
    return max(
        packages,
        key=lambda package: (
            min(package.our_gain_minor / most_ours, package.their_gain_minor / most_theirs),
            package.our_gain_minor,
        ),
    )


def counter_package(packages: Sequence[Package], *, our_gain_minor: int) -> Package:
    """Return the package that gives the supplier most while we gain at least what we aspire to.

    Raises:
        NegotiationFault: No package gives us that much.
    """
    enough = [package for package in packages if package.our_gain_minor >= our_gain_minor]
    if not enough:
        raise NegotiationFault(
            f"no package gains the group {our_gain_minor} minor units a year: aspire to less"
        )
    return max(enough, key=lambda package: (package.their_gain_minor, package.our_gain_minor))


def explain_package(package: Package, before: Package | None, currency: str) -> str:
    """Say in words what a package holds and what changed against the one before."""
    terms = ", ".join(f"{name} {label}" for name, label in package.labels.items())
    text = (
        f"{package.price_per_kwh * 100:.2f} ct/kWh{', ' + terms if terms else ''}: the group gains "
        f"{money_text(package.our_gain_minor, currency)} a year, the supplier probably "
        f"{money_text(package.their_gain_minor, currency)}"
    )
    if before is None:
        return text
    changed = [
        f"{name} from {before.labels[name]} to {label}"
        for name, label in package.labels.items()
        if name in before.labels and before.labels[name] != label
    ]
    step = package.price_per_kwh - before.price_per_kwh
    if step:
        changed.insert(0, f"price {'up' if step > 0 else 'down'} {abs(step) * 100:.2f} ct")
    return f"{text}; {'; '.join(changed) if changed else 'unchanged'}"


def rubinstein_share(our_patience: float, their_patience: float) -> float:
    """Return the share of the surplus for us when we offer first and both may refuse for ever.

    Args:
        our_patience: Worth to us of a deal one round later over one now, in [0, 1).
        their_patience: The same for the supplier.

    Source: A. Rubinstein, "Perfect equilibrium in a bargaining model", Econometrica 50, 1982.
    """
    if not (0 <= our_patience < 1 and 0 <= their_patience < 1):
        raise NegotiationFault("patience lies between 0 and 1; 1 would wait for ever")
    return (1 - their_patience) / (1 - our_patience * their_patience)


def term_issue(
    terms_months: Sequence[int],
    *,
    acquisition_minor: int,
    worth_minor_per_month: int,
) -> Issue:
    """Make the issue of contract length.

    Args:
        terms_months: Lengths to choose from [months].
        acquisition_minor: What winning the group costs the supplier once [minor units]; a longer
            term spreads it.
        worth_minor_per_month: Worth to the members of each month of security beyond twelve, a
            year [minor units]; negative when they prefer to stay free.
    """
    return Issue(
        name="term",
        levels=tuple(
            Level(
                label=f"{months} months",
                worth_minor=worth_minor_per_month * (months - 12),
                cost_minor=round(acquisition_minor * 12 / months) - acquisition_minor,
            )
            for months in terms_months
        ),
    )


def green_issue(
    shares: Sequence[Decimal], *, energy_kwh: Decimal, cost_per_kwh: Decimal, worth_per_kwh: Decimal
) -> Issue:
    """Make the issue of the renewable share; cost and worth are minor units per green kWh."""
    return Issue(
        name="green",
        levels=tuple(
            Level(
                label=f"{share:.0%}",
                worth_minor=round(share * energy_kwh * worth_per_kwh),
                cost_minor=round(share * energy_kwh * cost_per_kwh),
            )
            for share in shares
        ),
    )


def time_of_use_issue(
    ratios: Sequence[Decimal],
    *,
    peak_kwh: Decimal,
    shift_share_per_ratio: Decimal,
    saved_minor_per_kwh: Decimal,
    effort_minor_per_kwh: Decimal,
) -> Issue:
    """Make the issue of the peak price over the base price.

    The average price stays the same; what changes is how much use moves out of the peak.

    Args:
        ratios: Peak over base price to choose from; 1 is a flat price.
        peak_kwh: Energy used in the peak [kWh a year].
        shift_share_per_ratio: Share of it that moves per whole step of the ratio [0..1].
        saved_minor_per_kwh: What a moved kWh saves the supplier [minor units].
        effort_minor_per_kwh: What moving a kWh is felt to cost the members [minor units].
    """
    levels = []
    for ratio in ratios:
        moved_kwh = peak_kwh * min(Decimal(1), shift_share_per_ratio * (ratio - 1))
        levels.append(
            Level(
                label=f"peak x {ratio}",
                worth_minor=-round(moved_kwh * effort_minor_per_kwh),
                cost_minor=-round(moved_kwh * saved_minor_per_kwh),
            )
        )
    return Issue(name="time of use", levels=tuple(levels))


def _undominated_settlements(
    issues: Sequence[Issue],
) -> list[tuple[dict[str, str], int, int]]:
    """Combine the levels of all issues, leaving out what another combination beats twice."""
    if prod(len(issue.levels) for issue in issues) > PACKAGES_MAX:
        raise NegotiationFault("the issues have too many combinations: use fewer levels")
    combined = []
    for chosen in product(*(issue.levels for issue in issues)):
        labels = {issue.name: level.label for issue, level in zip(issues, chosen, strict=True)}
        worth = sum(level.worth_minor for level in chosen)
        combined.append((labels, worth, sum(level.cost_minor for level in chosen)))
    worths = np.array([worth for _, worth, _ in combined], dtype=np.int64)
    costs = np.array([cost for _, _, cost in combined], dtype=np.int64)
    return [combined[place] for place in _undominated(worths, -costs)]


def _undominated(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places that no other place beats in one and equals in the other."""
    order = np.lexsort((-theirs, -ours))
    best_before = np.maximum.accumulate(theirs[order])
    first = np.ones(order.size, dtype=np.bool_)
    first[1:] = theirs[order][1:] > best_before[:-1]
    kept: NDArray[np.int64] = order[first].astype(np.int64)
    return kept


def _prices(
    limits: BargainingRange,
    worths: NDArray[np.int64],
    costs: NDArray[np.int64],
    step: Decimal,
) -> list[Decimal]:
    """List prices from below the floor to above the walk-away, as far as issues can pay for."""
    if step <= 0:
        raise NegotiationFault("the price step must be above zero")
    per_unit = 10 ** minor_places(limits.currency)
    unit = limits.energy_kwh * per_unit
    low = limits.floor + min(Decimal(int(costs.min())), Decimal(0)) / unit
    high = limits.walk_away + max(Decimal(int(worths.max())), Decimal(0)) / unit
    count = max(0, int((high - low) / step)) + 1
    if count > PRICES_MAX:
        raise NegotiationFault(f"{count} prices to try: use a wider step")
    return [(low + step * number).quantize(TICK) for number in range(count)]


def _minor(amount: Decimal, per_unit: int) -> int:
    return int((amount * per_unit).to_integral_value())


def _log(gain_minor: int) -> float:
    return log(gain_minor) if gain_minor > 0 else -inf


def _some(packages: Sequence[Package]) -> Sequence[Package]:
    if not packages:
        raise NegotiationFault("no package helps both sides: the floor lies above the walk-away")
    return packages
