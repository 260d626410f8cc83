"""Counting rules on generated elections of the largest public sizes, beside pabutools.

Pabutools needs minutes and gigabytes for those, so it runs on a smaller election with the same
statistics, in the same process; its time is scaled up by supports and reruns, which is kind to it
(it also sorts). CPU seconds throughout; merging equal ballots counts as reading, in both.

Once, by hand, pabutools was also run on a tenth of the voters of the first large shape (9,000 x
160, 824 reruns, on a busy machine of two cores): the same 66 projects; 146 s and 3.8 GB, beside
1.5 s with numpy. On a tenth of the second (6,000 x 80, raises of 60, 33 reruns): the same 42
projects; 20.8 s beside 0.13 s.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np
from pabutools.election import ApprovalBallot, ApprovalProfile, Cost_Sat, Instance, Project
from pabutools.rules import method_of_equal_shares
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


def by_pabutools(election: Election) -> Callable[[], list[str]]:
    """Prepare a count with Add1 by pabutools on merged ballots."""
    projects = {p.project_id: Project(p.project_id, cost=int(p.cost)) for p in election.projects}
    votes = dict.fromkeys(projects, 0)
    for ballot in election.ballots:
        for name in ballot.project_ids:
            votes[name] += 1
    instance = Instance(list(projects.values()), budget_limit=int(election.budget))
    profile = ApprovalProfile(
        [ApprovalBallot([projects[n] for n in b.project_ids]) for b in election.ballots]
    ).as_multiprofile()
    tie = TieBreakingRule(lambda _i, _p, p: (p.cost, -votes[p.name], p.name))
    return lambda: sorted(
        project.name
        for project in method_of_equal_shares(
            instance, profile, Cost_Sat, tie_breaking=tie, voter_budget_increment=1
        )
    )


def cpu_s(work: Callable[[], T]) -> tuple[T, float]:
    """Do the work; return what it gives and the CPU seconds it took."""
    begin = time.process_time()
    done = work()
    return done, time.process_time() - begin


def counted(
    election: Election, profile: VoteProfile, engine: str, completion: str, increment: int = 1
) -> tuple[Outcome, float]:
    """Count with Add1 or add-opt by one engine, once it is compiled and loaded."""
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
    theirs, theirs_s = cpu_s(by_pabutools(small))
    rows: list[dict[str, object]] = []
    reruns = 0
    for engine in ("numpy", "numba"):
        ours, ours_s = counted(small, small_profile, engine, "add1")
        reruns = ours.reruns
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
    per_support_s = theirs_s / (len(small_profile.rows) * (reruns + 1))
    for shape in LARGE:
        rows += _large_rows(shape, per_support_s, peaks_mb)
    return [*rows, *_add_opt_rows(), _stv_row()]


def _large_rows(
    shape: Shape, per_support_s: float, peaks_mb: dict[tuple[str, str], int]
) -> list[dict[str, object]]:
    election = generated(shape)
    profile, compile_s = cpu_s(lambda: compile_profile(election))
    rows = []
    for engine in ("numpy", "numba"):
        ours, ours_s = counted(election, profile, engine, "add1")
        scaled_s = per_support_s * len(profile.rows) * (ours.reruns + 1)
        rows.append(
            {
                "name": f"voting: equal shares Add1, {shape.name}, {engine}",
                "reruns": ours.reruns,
                "distinct_ballots": len(profile.row_weight),
                "supports": len(profile.rows),
                "merge_cpu_s": round(compile_s, 2),
                "cpu_s": round(ours_s, 3),
                "pabutools_scaled_cpu_s": round(scaled_s),
                "ratio_scaled": round(scaled_s / ours_s),
                "peak_mb": peaks_mb[shape.name, engine],
            }
        )
    return rows


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
