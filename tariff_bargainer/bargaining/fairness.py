"""Nobody worse off: transfers among members that sum to zero, to the minor unit.

A group tariff helps the group, yet some homes may lose by it. Bill credits for them, paid by those
who save most, repair that exactly whenever the group saves enough. Where the members' mandate
allows some losers, the cheapest remedy brings their number down to what is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tariff_bargainer.bargaining.minor_units import split_minor
from tariff_bargainer.errors import NoFairSplit

Payers = Literal["top", "proportional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """Bill credits (positive) and contributions (negative) that sum to zero.

    Attributes:
        credit_minor: What each home receives [minor units]; negative when it pays.
        moved_minor: How much money changes hands [minor units].
        least_saving_minor: The smallest saving after transfers [minor units].
    """

    credit_minor: Mapping[str, int]
    moved_minor: int
    least_saving_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """The cheapest credits that bring the losers down to what the mandate allows.

    Attributes:
        credit_minor: Credits of the homes that get one [minor units].
        cost_minor: Their sum, to be paid by the others or by the group's saving [minor units].
        homes_over_before: Homes over the limit without the remedy.
        homes_over_after: Homes over the limit with it.
    """

    credit_minor: Mapping[str, int]
    cost_minor: int
    homes_over_before: int
    homes_over_after: int


def guarantee_transfers(
    saving_minor: Mapping[str, int], *, least_minor: int = 0, payers: Payers = "top"
) -> Transfers:
    """Find transfers after which every home saves at least `least_minor`.

    Args:
        saving_minor: Each home's saving before transfers [minor units]; negative for losers.
        least_minor: Saving guaranteed to every home [minor units].
        payers: `top` takes from the largest savings down to one common level, which leaves the
            least saving among payers as high as it can be; `proportional` takes the same share
            of every home's saving above the guarantee.

    Raises:
        NoFairSplit: The group saves less than the guarantee needs; says by how much.

    Source: water-filling; the feasible set is non-empty exactly when the sum of savings is at
    least the guarantee times the number of homes.
    """
    if not saving_minor:
        return Transfers(credit_minor={}, moved_minor=0, least_saving_minor=0)
    short_minor = least_minor * len(saving_minor) - sum(saving_minor.values())
    if short_minor > 0:
        raise NoFairSplit(
            problem=f"the group saves {short_minor} minor units too little for every home to save "
            f"at least {least_minor}: bargain for more, or lower the guarantee",
            short_minor=short_minor,
        )
    spare = {home: max(0, saving - least_minor) for home, saving in saving_minor.items()}
    need = {home: max(0, least_minor - saving) for home, saving in saving_minor.items()}
    moved_minor = sum(need.values())
    if payers == "top":
        pays = _take_from_top(spare, moved_minor)
    else:
        # No part exceeds its home's spare: the total moved is at most the sum of spares.
        parts = split_minor(moved_minor, list(spare.values()))
        pays = dict(zip(spare, parts, strict=True))
    credit = {home: need[home] - pays[home] for home in saving_minor}
    return Transfers(
        credit_minor=credit,
        moved_minor=moved_minor,
        least_saving_minor=min(saving + credit[home] for home, saving in saving_minor.items()),
    )


def cheapest_remedy(
    saving_minor: Mapping[str, int], *, loss_limit_minor: int, homes_allowed: int
) -> Remedy:
    """Find the cheapest credits after which at most `homes_allowed` lose more than the limit.

    Lifting a home to the limit costs what it loses beyond it, and homes are lifted one by one,
    so lifting those nearest to the limit is cheapest.

    Args:
        saving_minor: Each home's saving [minor units]; negative for losers.
        loss_limit_minor: Loss that does not count [minor units].
        homes_allowed: How many homes may stay over the limit.
    """
    beyond = sorted(
        (-saving - loss_limit_minor, home)
        for home, saving in saving_minor.items()
        if -saving > loss_limit_minor
    )
    lifted = beyond[: max(0, len(beyond) - homes_allowed)]
    credit = {home: excess for excess, home in lifted}
    return Remedy(
        credit_minor=credit,
        cost_minor=sum(credit.values()),
        homes_over_before=len(beyond),
        homes_over_after=len(beyond) - len(lifted),
    )


def remedy_transfers(saving_minor: Mapping[str, int], remedy: Remedy) -> Transfers:
    """Let the largest savings pay for a remedy, so that the transfers sum to zero.

    Raises:
        NoFairSplit: The winners together save less than the remedy costs.
    """
    spare = {home: max(0, saving) for home, saving in saving_minor.items()}
    short_minor = remedy.cost_minor - sum(spare.values())
    if short_minor > 0:
        raise NoFairSplit(
            problem=f"the homes that save do so by {short_minor} minor units too little to pay "
            "the remedy: bargain for more",
            short_minor=short_minor,
        )
    pays = _take_from_top(spare, remedy.cost_minor)
    credit = {home: remedy.credit_minor.get(home, 0) - pays[home] for home in saving_minor}
    after = [saving + credit[home] for home, saving in saving_minor.items()]
    return Transfers(
        credit_minor=credit,
        moved_minor=remedy.cost_minor,
        least_saving_minor=min(after, default=0),
    )


def _take_from_top(spare: Mapping[str, int], total_minor: int) -> dict[str, int]:
    """Take a total from the largest entries down to one level, to the minor unit.

    Where the level does not come out even, homes that come first by name keep one minor unit.
    """
    pays = dict.fromkeys(spare, 0)
    if total_minor == 0:
        return pays
    ordered = sorted(spare.values(), reverse=True)
    taken, level = 0, ordered[0]
    for count, height in enumerate(ordered, start=1):
        below = ordered[count] if count < len(ordered) else 0
        room = count * (height - below)
        if taken + room >= total_minor:
            level = height - -(-(total_minor - taken) // count)
            break
        taken, level = taken + room, below
    above = sorted(home for home, amount in spare.items() if amount > level)
    for home in above:
        pays[home] = spare[home] - level
    for home in above[: sum(pays.values()) - total_minor]:
        pays[home] -= 1
    return pays
