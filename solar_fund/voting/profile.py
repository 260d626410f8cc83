"""An election as arrays: equal ballots merged, supporters listed project by project.

Voters with equal ballots always hold equal money under equal shares, so one row stands for all
of them. All amounts are whole numbers after scaling, so exact and float engines share the arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import lcm

import numpy as np
import numpy.typing as npt

from solar_fund.errors import ElectionInvalid
from solar_fund.voting.ballots import AMOUNT_MAX, Election, ballot_points

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteProfile:
    """Ballots in the form the counting rules work on.

    Projects are numbered in the order of the ballot paper. `rows` are distinct ballots.

    Attributes:
        project_ids: Id by project number.
        groups: Exclusive group by project number, "" for none.
        costs: Cost by project number [1/cost_scale currency unit].
        cost_scale: Scaled units in one currency unit.
        budget: Budget [1/cost_scale currency unit]; may be fractional when costs are whole.
        n_voters: Ballots counted, empty ones included.
        row_of_ballot: Row of each ballot, in the order of the file.
        row_weight: Voters per row.
        first: Where each project's supporters begin in `rows`, length n_projects + 1.
        rows: Supporting rows, project after project.
        weight: Voters behind each entry of `rows`.
        points: Scaled points of each entry of `rows`; all ones for approvals.
        uniform: True when all points are 1.
        votes: Sum of scaled points by project number.
        supporters: Voters behind each project.
    """

    project_ids: tuple[str, ...]
    groups: tuple[str, ...]
    costs: tuple[int, ...]
    cost_scale: int
    budget: Fraction
    n_voters: int
    row_of_ballot: Rows
    row_weight: Ints
    first: Ints
    rows: Rows
    weight: Ints
    points: Ints
    uniform: bool
    votes: tuple[int, ...]
    supporters: tuple[int, ...]

    def span(self, number: int) -> slice:
        """Return where the supporters of one project lie."""
        return slice(int(self.first[number]), int(self.first[number + 1]))

    def in_currency(self, scaled: int | Fraction) -> Fraction:
        """Turn a scaled amount back into the election's currency unit."""
        return Fraction(scaled) / self.cost_scale


def compile_profile(election: Election) -> VoteProfile:
    """Merge equal ballots and list the supporters of each project.

    Points of zero or less count as no support.

    Raises:
        ElectionInvalid: Nobody voted, a ballot names an unknown project, or numbers are too large.
    """
    if not election.ballots:
        raise ElectionInvalid("there are no ballots: nothing can be counted")
    number_of = {project.project_id: n for n, project in enumerate(election.projects)}
    cost_scale = reduce(lcm, (project.cost.denominator for project in election.projects), 1)
    costs = tuple(int(project.cost * cost_scale) for project in election.projects)
    row_of_key, row_of_ballot = _merge(election, number_of)
    point_scale = reduce(
        lcm, (Fraction(point).denominator for key in row_of_key for _, point in key), 1
    )
    row_weight = np.bincount(row_of_ballot, minlength=len(row_of_key)).astype(np.int64)
    numbers = np.array([n for key in row_of_key for n, _ in key], dtype=np.int64)
    points_flat = [int(point * point_scale) for key in row_of_key for _, point in key]
    points_sum_max = sum(points_flat) * int(row_weight.max())
    if max(*costs, 1) > AMOUNT_MAX or points_sum_max > AMOUNT_MAX:
        raise ElectionInvalid(f"costs or points are beyond {AMOUNT_MAX}: use a larger unit")
    rows = np.repeat(
        np.arange(len(row_of_key), dtype=np.int32), [len(key) for key in row_of_key]
    ).astype(np.int32)
    order = np.argsort(numbers, kind="stable")
    points = np.array(points_flat, dtype=np.int64)[order]
    rows = rows[order]
    weight = row_weight[rows]
    counts = np.bincount(numbers, minlength=len(costs))
    return VoteProfile(
        project_ids=tuple(number_of),
        groups=tuple(project.group for project in election.projects),
        costs=costs,
        cost_scale=cost_scale,
        budget=election.budget * cost_scale,
        n_voters=len(election.ballots),
        row_of_ballot=row_of_ballot,
        row_weight=row_weight,
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        rows=rows,
        weight=weight,
        points=points,
        uniform=bool((points == 1).all()),
        votes=_sum_by_project(numbers[order], points * weight, len(costs)),
        supporters=_sum_by_project(numbers[order], weight, len(costs)),
    )


Key = tuple[tuple[int, Fraction | int], ...]


def _merge(election: Election, number_of: dict[str, int]) -> tuple[list[Key], Rows]:
    """Number the distinct ballots; the order of a list of approvals does not matter."""
    plain = election.vote_type in {"approval", "choose-1"}
    keys: dict[Key, int] = {}
    short: dict[tuple[object, object], int] = {}
    row_of_ballot = np.empty(len(election.ballots), dtype=np.int32)
    for place, ballot in enumerate(election.ballots):
        known = (ballot.project_ids, None if plain else ballot.points)
        row = short.get(known)
        if row is None:
            try:
                numbers = [number_of[project_id] for project_id in ballot.project_ids]
            except KeyError as error:
                raise ElectionInvalid(
                    f"ballot {ballot.voter_id} names project {error.args[0]},"
                    " which is not on the paper"
                ) from None
            points: Sequence[Fraction | int] = (
                (1,) * len(numbers) if plain else ballot_points(election, ballot)
            )
            pairs = sorted(
                (n, point) for n, point in zip(numbers, points, strict=True) if point > 0
            )
            if len({n for n, _ in pairs}) != len(pairs):
                raise ElectionInvalid(f"ballot {ballot.voter_id} names a project twice")
            row = keys.setdefault(tuple(pairs), len(keys))
            short[known] = row
        row_of_ballot[place] = row
    return list(keys), row_of_ballot


def _sum_by_project(numbers: Ints, amounts: Ints, n_projects: int) -> tuple[int, ...]:
    totals = np.zeros(n_projects, dtype=np.int64)
    np.add.at(totals, numbers, amounts)
    return tuple(int(total) for total in totals)
