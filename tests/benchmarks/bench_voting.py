"""Counting rules on generated elections of the largest public sizes, beside pabutools.

Both count the same merged ballots in the same process; CPU seconds throughout, and merging equal
ballots counts as reading, in both. A small election is counted with Add1 from end to end by both.
For the large ones pabutools would need many minutes, so it makes its first runs, which also
prepare what all runs use, and its last ones up to its result; the raises between are taken to
cost as much as the mean of those that were made.

Once, by hand, pabutools counted the first large election from end to end, on a busy machine of
two cores: the same 66 projects; 185 s and 3.6 GB, beside 0.53 s with numpy, a ratio of 347. The
same by its first and last runs, an hour later: 195 s, beside 0.34 s.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from pabutools.election import ApprovalBallot, ApprovalProfile, Cost_Sat, Instance, Project
from pabutools.fractions import frac
from pabutools.rules.budgetallocation import BudgetAllocation
from pabutools.rules.mes.mes_rule import method_of_equal_shares_scheme
from pabutools.tiebreaking import TieBreakingRule

from solar_fund.voting.ballots import Ballot, BallotProject, Election
from solar_fund.voting.blt import RankedElection
from solar_fund.voting.equal_shares import SharesOptions, count_profile
from solar_fund.voting.outcome import Outcome
from solar_fund.voting.profile import VoteProfile, compile_profile
from solar_fund.voting.stv import scottish_stv

T = TypeVar("T")

CHUNK = 5_000
TOPICS = 12
LONGEST = 15
# Raises of the slice that pabutools makes at either end of a large count.
RAISES_TIMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size and statistics of a generated election."""

    name: str
    voters: int
    projects: int
    approvals_mean: float
    budget_share: float
    unit: int = 1


SMALL = Shape(name="3,000 x 40", voters=3_000, projects=40, approvals_mean=6, budget_share=0.1)
LARGE = (
    Shape(name="90,000 x 160", voters=90_000, projects=160, approvals_mean=3, budget_share=0.15),
    Shape(
        name="60,000 x 80",
        voters=60_000,
        projects=80,
        approvals_mean=10,
        budget_share=0.3,
        unit=12,
    ),
)
FINE = Shape(
    name="20,000 x 120",
    voters=20_000,
    projects=120,
    approvals_mean=8,
    budget_share=0.3,
    unit=100,
)


def generated(shape: Shape, seed: int = 1) -> Election:
    """Draw an election: costs spread over two decades, tastes by topic, few or many approvals."""
    draw = np.random.default_rng(seed)
    costs = np.exp(draw.uniform(np.log(10_000), np.log(1_000_000), shape.projects))
    costs = (costs.round(-2) * shape.unit).astype(np.int64)
    appeal = draw.gamma(0.8, 1, shape.projects)
    topic = draw.integers(0, TOPICS, shape.projects)
    weights = np.stack([appeal * np.where(topic == t, 6, 1) for t in range(TOPICS)])
    names = [f"p{n}" for n in range(shape.projects)]
    ballots: list[Ballot] = []
    for first in range(0, shape.voters, CHUNK):
        size = min(CHUNK, shape.voters - first)
        taste = draw.integers(0, TOPICS, size)
        lengths = np.clip(draw.poisson(shape.approvals_mean, size), 1, LONGEST)
        keys = draw.exponential(size=(size, shape.projects)) / weights[taste]
        order = np.argsort(keys, axis=1)[:, :LONGEST]
        ballots += [
            Ballot(str(first + i), tuple(names[n] for n in sorted(order[i, : lengths[i]])))
            for i in range(size)
        ]
    return Election(
        projects=tuple(
            BallotProject(project_id=name, cost=Fraction(int(cost)))
            for name, cost in zip(names, costs, strict=True)
        ),
        ballots=tuple(ballots),
        budget=Fraction(int(costs.sum() * shape.budget_share)),
    )


class Enough(Exception):
    """Pabutools has made as many runs as were asked for."""


class TimedRaise:
    """One currency unit, which notes the CPU time whenever it is added to a slice."""

    def __init__(self, raises_max: int) -> None:
        """Stop the count at the raise after `raises_max`."""
        self._raises_max = raises_max
        self.at_s = [time.process_time()]

    def __radd__(self, slice_: Any) -> Any:
        """Raise a slice."""
        self.at_s.append(time.process_time())
        if len(self.at_s) > self._raises_max + 1:
            raise Enough
        return slice_ + 1

    @property
    def runs_s(self) -> list[float]:
        """CPU time of each run; that of the first holds the preparation."""
        return [after - before for before, after in pairwise(self.at_s)]


class Pabutools:
    """One election, its equal ballots merged, as pabutools counts it."""

    def __init__(self, election: Election) -> None:
        """Merge the ballots."""
        projects = {
            p.project_id: Project(p.project_id, cost=int(p.cost)) for p in election.projects
        }
        votes = dict.fromkeys(projects, 0)
        for ballot in election.ballots:
            for name in ballot.project_ids:
                votes[name] += 1
        self._instance = Instance(list(projects.values()), budget_limit=int(election.budget))
        self._profile = ApprovalProfile(
            [ApprovalBallot([projects[n] for n in b.project_ids]) for b in election.ballots]
        ).as_multiprofile()
        self._tie = TieBreakingRule(lambda _i, _p, p: (p.cost, -votes[p.name], p.name))

    def add1(self, begin: Fraction, increment: int | TimedRaise = 1) -> list[str]:
        """Count with Add1 from a given slice on."""
        chosen = method_of_equal_shares_scheme(
            self._instance,
            self._profile,
            self._profile.as_sat_profile(Cost_Sat),
            frac(begin.numerator, begin.denominator),
            BudgetAllocation(),
            self._tie,
            voter_budget_increment=increment,
            binary_sat=True,
        )
        return sorted(project.name for project in chosen)


def cpu_s(work: Callable[[], T]) -> tuple[T, float]:
    """Do the work; return what it gives and the CPU seconds it took."""
    begin = time.process_time()
    done = work()
    return done, time.process_time() - begin


def counted(
    election: Election, profile: VoteProfile, engine: str, completion: str, increment: int = 1
) -> tuple[Outcome, float]:
    """Count by one engine, once it is compiled and loaded."""
    options = SharesOptions(
        completion=completion,  # type: ignore[arg-type]
        engine=engine,  # type: ignore[arg-type]
        increment=Fraction(increment),
        lot=tuple(sorted(project.project_id for project in election.projects)),
    )
    return cpu_s(lambda: count_profile(election, profile, options))


def warm_up() -> None:
    """Compile the numba engine, so that no row pays for it."""
    election = generated(Shape(name="", voters=50, projects=5, approvals_mean=2, budget_share=0.5))
    counted(election, compile_profile(election), "numba", "add-opt")


def peak_mb_of(shape: Shape, engine: str) -> int:
    """Return the peak memory of a process that only makes and counts one election [MB]."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_count_alone, (shape, engine))


def _count_alone(shape: Shape, engine: str) -> int:
    election = generated(shape)
    counted(election, compile_profile(election), engine, "add1")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


def run() -> list[dict[str, object]]:
    """Measure, and return one row per measurement."""
    # First, while this process is small: a child inherits the peak of its parent.
    peaks_mb = {
        (shape.name, engine): peak_mb_of(shape, engine)
        for shape in LARGE
        for engine in ("numpy", "numba")
    }
    warm_up()
    small = generated(SMALL)
    small_profile = compile_profile(small)
    pabutools = Pabutools(small)
    theirs, theirs_s = cpu_s(lambda: pabutools.add1(small.budget / SMALL.voters))
    rows: list[dict[str, object]] = []
    for engine in ("numpy", "numba"):
        ours, ours_s = counted(small, small_profile, engine, "add1")
        rows.append(
            {
                "name": f"voting: equal shares Add1, {SMALL.name}, {engine}",
                "reruns": ours.reruns,
                "cpu_s": round(ours_s, 3),
                "pabutools_cpu_s": round(theirs_s, 2),
                "ratio": round(theirs_s / ours_s),
                "same_outcome": sorted(ours.selected) == theirs,
            }
        )
    for shape in LARGE:
        rows += _large_rows(shape, peaks_mb)
    return [*rows, *_add_opt_rows(), _stv_row()]


def _large_rows(shape: Shape, peaks_mb: dict[tuple[str, str], int]) -> list[dict[str, object]]:
    election = generated(shape)
    profile, compile_s = cpu_s(lambda: compile_profile(election))
    by_engine = {
        engine: counted(election, profile, engine, "add1") for engine in ("numpy", "numba")
    }
    deciding = by_engine["numpy"][0]
    pabutools = Pabutools(election)
    first, last = TimedRaise(RAISES_TIMED), TimedRaise(RAISES_TIMED + 1)
    with suppress(Enough):
        pabutools.add1(deciding.per_voter_start, first)
    begin = max(deciding.per_voter_budget - RAISES_TIMED, deciding.per_voter_start)
    theirs = pabutools.add1(begin, last)
    raises_s = first.runs_s[1:] + last.runs_s[1:]
    scaled_s = first.runs_s[0] + sum(raises_s) / len(raises_s) * deciding.reruns
    same = sorted(deciding.selected) == theirs
    same = same and by_engine["numba"][0].selected == deciding.selected
    return [
        {
            "name": f"voting: equal shares Add1, {shape.name}, {engine}",
            "reruns": ours.reruns,
            "distinct_ballots": len(profile.row_weight),
            "supports": len(profile.rows),
            "merge_cpu_s": round(compile_s, 2),
            "cpu_s": round(ours_s, 3),
            "pabutools_first_run_cpu_s": round(first.runs_s[0], 1),
            "pabutools_raise_cpu_s": round(sum(raises_s) / len(raises_s), 2),
            "pabutools_cpu_s_by_those": round(scaled_s),
            "ratio": round(scaled_s / ours_s),
            "same_outcome": same,
            "peak_mb": peaks_mb[shape.name, engine],
        }
        for engine, (ours, ours_s) in by_engine.items()
    ]


def _add_opt_rows() -> list[dict[str, object]]:
    election = generated(FINE)
    profile = compile_profile(election)
    stepped, stepped_s = counted(election, profile, "numba", "add1", increment=20)
    jumped, _ = counted(election, profile, "numba", "add-opt", increment=20)
    rows: list[dict[str, object]] = []
    for engine in ("numpy", "numba"):
        ours, ours_s = counted(election, profile, engine, "add-opt")
        rows.append(
            {
                "name": f"voting: add-opt, {FINE.name}, {engine}",
                "reruns_jumped": ours.reruns,
                "cpu_s": round(ours_s, 2),
                "add1_scaled_cpu_s": round(stepped_s / (stepped.reruns + 1) * ours.reruns, 1),
                "same_as_add1_at_increment_20": jumped.selected == stepped.selected
                and jumped.reruns == stepped.reruns,
            }
        )
    return rows


def ward(seed: int, papers: int = 5_000, candidates: int = 8, seats: int = 4) -> RankedElection:
    """Draw a ward: four parties, voters who mostly rank within and near their own."""
    draw = np.random.default_rng(seed)
    appeal = draw.gamma(2, 1, candidates)
    party = np.arange(candidates) % 4
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(papers):
        weights = appeal * np.where(party == draw.integers(4), 8, 1)
        length = int(draw.integers(1, candidates + 1))
        keys = draw.exponential(size=candidates) / weights
        ranking = tuple(int(n) for n in np.argsort(keys)[:length])
        counts[ranking] = counts.get(ranking, 0) + 1
    return RankedElection(
        candidates=tuple(f"c{n}" for n in range(candidates)),
        seats=seats,
        papers=tuple(counts.items()),
    )


def _stv_row() -> dict[str, object]:
    wards = [ward(seed) for seed in range(10)]
    lot = wards[0].candidates

    def count_all() -> None:
        for _ in range(100):
            for one in wards:
                scottish_stv(one, lot)

    _, seconds = cpu_s(count_all)
    return {
        "name": "voting: Scottish STV, 1,000 counts of 10 generated wards",
        "papers_per_ward": 5_000,
        "distinct_papers_mean": round(sum(len(one.papers) for one in wards) / len(wards)),
        "cpu_s": round(seconds, 2),
    }
