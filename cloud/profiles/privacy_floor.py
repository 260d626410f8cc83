"""The privacy floor: what a sum over homes must satisfy before anyone may see it. Pure.

A group that is large enough over a year can still be one home in the hour it charges its car, so
size and dominance are asked of every released cell. Two sums whose homes differ by a few reveal
those few by subtraction, and so may several sums together, so all exact releases that overlap in
time are looked at as one system of equations.

Source: the 15/15 rule (California PUC D.14-05-016 and successors), asked per cell; differencing as
in L. Sweeney and others' set-difference attacks, decided here by linear algebra over the homes.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloud.transparency import merkle
from gateway.wire.log_proof import leaf_hash

SMALL_ATOMS_MAX = 10
"""Sets of few homes told apart by earlier releases; above this many the answer is no."""


class Audience(enum.StrEnum):
    """Who will see a release."""

    INSIDE = "inside"
    OUTSIDE = "outside"


class Shortfall(enum.StrEnum):
    """Kinds of reason for a refusal, for programs; `Reason.text` says it for people."""

    TOO_FEW_HOMES = "too_few_homes"
    TOO_FEW_IN_CELL = "too_few_in_cell"
    DOMINATED = "dominated"
    DIFFERENCE = "difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The rule.

    Attributes:
        homes_min: Least homes in every released cell, and in every difference of releases.
        top_share_max: Largest share of one home in any released cell [0..1].
    """

    homes_min: int
    top_share_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One way in which a release falls short."""

    shortfall: Shortfall
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """Sums over homes, cell by cell, with what the floor must know of each.

    Attributes:
        energy_wh: Sum over the homes with a reading [Wh], shape (cells,).
        homes: Homes with a reading, shape (cells,).
        top_share: Largest home's share [0..1]; 1 where the sum is zero.
    """

    energy_wh: NDArray[np.int64]
    homes: NDArray[np.int64]
    top_share: NDArray[np.float64]


def check_size(homes: int, floor: Floor) -> tuple[Reason, ...]:
    """Whether a group is large enough to be looked at at all."""
    if homes >= floor.homes_min:
        return ()
    text = f"the group has {homes} homes that agreed, and at least {floor.homes_min} are needed"
    return (Reason(shortfall=Shortfall.TOO_FEW_HOMES, text=text),)


def check_cells(cells: Cells, floor: Floor) -> tuple[Reason, ...]:
    """Whether every cell has enough homes and none that dominates.

    Cells that nobody has a reading for count as too few homes: a hole would tell who is missing.
    """
    reasons: list[Reason] = []
    total = cells.homes.size
    too_few = int((cells.homes < floor.homes_min).sum())
    if too_few:
        text = (
            f"{too_few} of {total} figures rest on fewer than {floor.homes_min} homes "
            f"(the least on {int(cells.homes.min())})"
        )
        reasons.append(Reason(shortfall=Shortfall.TOO_FEW_IN_CELL, text=text))
    dominated = int((cells.top_share > floor.top_share_max).sum())
    if dominated:
        text = (
            f"in {dominated} of {total} figures one home makes up more than "
            f"{floor.top_share_max:.0%}, or the sum is zero"
        )
        reasons.append(Reason(shortfall=Shortfall.DOMINATED, text=text))
    return tuple(reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRelease:
    """An exact release of the same quantity that overlaps in time.

    Attributes:
        name: Its number, for people.
        homes: Its homes.
        changed: Those of them whose readings over the shared time are not the same any more.
    """

    name: str
    homes: frozenset[str]
    changed: frozenset[str] = frozenset()


def check_differences(
    homes: frozenset[str], earlier: Sequence[EarlierRelease], floor: Floor
) -> tuple[Reason, ...]:
    """Whether exact releases that overlap in time would together reveal a few homes.

    Args:
        homes: The homes of the new release.
        earlier: All exact releases of the same quantity that overlap in time.
        floor: `homes_min` is the least number of homes that any difference may be about.
    """
    for release in earlier:
        difference = len((homes ^ release.homes) | (release.changed & homes))
        if 0 < difference < floor.homes_min:
            text = (
                f"its homes differ from those of release {release.name} over the same time by "
                f"{difference}; subtracting one from the other would reveal them "
                f"(0, or at least {floor.homes_min}, may differ)"
            )
            return (Reason(shortfall=Shortfall.DIFFERENCE, text=text),)
    new = frozenset((home, "") for home in homes)
    if _reveals_few([new, *map(_unknowns_of, earlier)], floor.homes_min):
        text = (
            "together with earlier releases over the same time it would reveal the sum of fewer "
            f"than {floor.homes_min} homes"
        )
        return (Reason(shortfall=Shortfall.DIFFERENCE, text=text),)
    return ()


def cohort_root(salts: Mapping[str, str]) -> str:
    """Root over the salted commitments of a cohort, hex.

    Leaves are `SHA-256(salt || household)`, sorted, so that membership and non-membership can both
    be shown, and nobody can be found by guessing without the salt.

    Args:
        salts: Salt [hex] per household.

    Source: RFC 6962 section 2.1 over sorted leaves.
    """
    leaves = sorted(
        hashlib.sha256(bytes.fromhex(salt) + household.encode()).digest()
        for household, salt in salts.items()
    )
    nodes: dict[merkle.Node, bytes] = {}
    for index, leaf in enumerate(leaves):
        nodes.update(merkle.nodes_completed_by(index, leaf_hash(leaf), nodes.__getitem__))
    return merkle.root_of(len(leaves), nodes.__getitem__).hex()


_Unknown = tuple[str, str]
"""A home, and the release that knows other readings of it; empty for the usual ones."""


def _unknowns_of(release: EarlierRelease) -> frozenset[_Unknown]:
    return frozenset(
        (home, release.name if home in release.changed else "") for home in release.homes
    )


def _reveals_few(releases: Sequence[frozenset[_Unknown]], homes_min: int) -> bool:
    """Whether some combination of the sums is about fewer than `homes_min` homes.

    Homes that are in the same releases cannot be told apart; each such set is one unknown. A
    combination that is about the set U alone exists exactly if leaving U's columns out lowers the
    rank of the equations.
    """
    distinct = sorted(set(releases), key=sorted)
    members: dict[tuple[bool, ...], set[str]] = {}
    for unknown in frozenset().union(*distinct):
        pattern = tuple(unknown in release for release in distinct)
        members.setdefault(pattern, set()).add(unknown[0])
    patterns = list(members)
    rows = [[int(pattern[row]) for pattern in patterns] for row in range(len(distinct))]
    small = [at for at, pattern in enumerate(patterns) if len(members[pattern]) < homes_min]
    if len(small) > SMALL_ATOMS_MAX:
        return True
    full_rank = _rank(rows)
    return any(
        _rank([[row[at] for at in range(len(patterns)) if at not in chosen] for row in rows])
        < full_rank
        for chosen in _subsets(small)
        if len(set[str]().union(*(members[patterns[at]] for at in chosen))) < homes_min
    )


def _subsets(items: Sequence[int]) -> Iterable[tuple[int, ...]]:
    sizes = range(1, len(items) + 1)
    return itertools.chain.from_iterable(itertools.combinations(items, size) for size in sizes)


def _rank(rows: Sequence[Sequence[int]]) -> int:
    """Rank over the rationals, by elimination in whole numbers."""
    remaining = [list(row) for row in rows]
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in remaining if row[column]), None)
        if pivot is None:
            continue
        remaining.remove(pivot)
        rank += 1
        remaining = [
            [
                pivot[column] * cell - row[column] * head
                for cell, head in zip(row, pivot, strict=True)
            ]
            for row in remaining
        ]
    return rank
