"""The same outcome as pabutools on random elections; pabutools is an oracle for tests only.

Every utility, ballot, completion and stop rule is compared. Pabutools has no utility of its own
for points times cost, and its Borda points begin at the length of each single ballot; so both are
handed to its rules as utilities written out here.
"""

import random
from fractions import Fraction
from itertools import product

import pytest
from pabutools.election import (
    AdditiveSatisfaction,
    ApprovalBallot,
    ApprovalProfile,
    CardinalBallot,
    CardinalProfile,
    Cost_Sat,
    Instance,
    OrdinalBallot,
    OrdinalProfile,
    Project,
)
from pabutools.rules import (
    exhaustion_by_budget_increase,
    greedy_utilitarian_welfare,
    method_of_equal_shares,
)
from pabutools.tiebreaking import TieBreakingRule

from solar_fund.voting.ballots import Ballot, BallotProject, Election, ballot_points
from solar_fund.voting.equal_shares import SharesOptions, equal_shares
from solar_fund.voting.greedy import greedy

VOTE_TYPES = ("approval", "choose-1", "scoring", "cumulative", "ordinal")
COMPLETIONS = [
    ("none", "exhaustive"),
    *product(["add1", "add-opt"], ["exhaustive", "overspend"]),
]


def random_election(seed: int) -> Election:
    """Small elections with few distinct costs, so that ties are common."""
    draw = random.Random(seed)
    n_projects, n_voters = draw.randint(1, 9), draw.randint(1, 14)
    costs = draw.choice([[10, 20, 30], list(range(1, 60)), [5, 5, 7]])
    projects = tuple(
        BallotProject(project_id=f"p{n}", cost=Fraction(draw.choice(costs)))
        for n in range(n_projects)
    )
    vote_type = VOTE_TYPES[seed % len(VOTE_TYPES)]
    longest = 1 if vote_type == "choose-1" else n_projects
    ballots = []
    for voter in range(n_voters):
        named = draw.sample(range(n_projects), draw.randint(0, longest))
        points = (
            tuple(draw.randint(0, 4) for _ in named)
            if vote_type in {"scoring", "cumulative"}
            else ()
        )
        ballots.append(Ballot(f"v{voter}", tuple(f"p{n}" for n in named), points))
    return Election(
        projects=projects,
        ballots=tuple(ballots),
        budget=Fraction(draw.randint(10, 150)),
        vote_type=vote_type,
        ranks_max=draw.choice([0, n_projects, n_projects + 2]) if vote_type == "ordinal" else 0,
    )


class Oracle:
    """One election as pabutools sees it."""

    def __init__(self, election: Election, utility: str) -> None:
        projects = {p.project_id: Project(p.project_id, cost=p.cost) for p in election.projects}
        self.instance = Instance(list(projects.values()), budget_limit=election.budget)
        self.n_voters = len(election.ballots)
        self.votes: dict[str, int] = dict.fromkeys(projects, 0)
        for ballot in election.ballots:
            points = ballot_points(election, ballot)
            for name, point in zip(ballot.project_ids, points, strict=True):
                self.votes[name] += int(point)
        named = [[projects[n] for n in ballot.project_ids] for ballot in election.ballots]
        if election.vote_type in {"approval", "choose-1"}:
            self.profile = ApprovalProfile([ApprovalBallot(n) for n in named])
        elif election.vote_type == "ordinal":
            self.profile = OrdinalProfile([OrdinalBallot(n) for n in named])
        else:
            self.profile = CardinalProfile(
                [
                    CardinalBallot(dict(zip(n, ballot.points, strict=True)))
                    for n, ballot in zip(named, election.ballots, strict=True)
                ]
            )
        longest = election.ranks_max or max(len(b.project_ids) for b in election.ballots)

        def points_in(ballot: object, project: Project) -> int:
            if isinstance(ballot, CardinalBallot):
                return int(ballot.get(project, 0))
            if isinstance(ballot, OrdinalBallot):
                return longest - ballot.position(project) if project in ballot else 0
            return int(project in ballot)

        class Utility(AdditiveSatisfaction):
            def __init__(self, instance: object, profile: object, ballot: object) -> None:
                super().__init__(
                    instance,
                    profile,
                    ballot,
                    lambda _i, _p, own, project, _c: (
                        points_in(own, project) * (project.cost if utility == "cost" else 1)
                    ),
                )

        self.utility = Cost_Sat if isinstance(self.profile, ApprovalProfile) else Utility
        if utility == "cardinality":
            self.utility = Utility
        self.tie = TieBreakingRule(
            lambda _i, _p, project: (project.cost, -self.votes[project.name], project.name)
        )
        self._by_tie = {"sat_class": self.utility, "tie_breaking": self.tie}

    def shares(self, completion: str, stop: str, then: str) -> list[str]:
        if stop == "overspend" and completion != "none":
            chosen = exhaustion_by_budget_increase(
                self.instance,
                self.profile,
                method_of_equal_shares,
                dict(self._by_tie),
                exhaustive_stop=False,
                budget_step=self.n_voters,
            )
        else:
            chosen = method_of_equal_shares(
                self.instance,
                self.profile,
                voter_budget_increment=None if completion == "none" else 1,
                **self._by_tie,
            )
        if then == "utilitarian":
            chosen = self.by_votes(chosen)
        return sorted(project.name for project in chosen if self.votes[project.name])

    def by_votes(self, before: object = None) -> object:
        return greedy_utilitarian_welfare(
            self.instance, self.profile, initial_budget_allocation=before, **self._by_tie
        )


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize(("completion", "stop"), COMPLETIONS)
@pytest.mark.parametrize("utility", ["cost", "cardinality"])
def test_random_elections_are_decided_as_pabutools_decides_them(
    block: int, completion: str, stop: str, utility: str
) -> None:
    for seed in range(block * 50, block * 50 + 50):
        election = random_election(seed)
        oracle = Oracle(election, utility)
        lot = tuple(project.project_id for project in election.projects)
        # Most votes first means the most points whatever the utility, which is what pabutools'
        # greedy does under cost utilities alone.
        for then in ("none", "utilitarian") if utility == "cost" else ("none",):
            options = SharesOptions(
                utility=utility,  # type: ignore[arg-type]
                completion=completion,  # type: ignore[arg-type]
                stop=stop,  # type: ignore[arg-type]
                then=then,  # type: ignore[arg-type]
                lot=lot,
            )
            ours = sorted(equal_shares(election, options).selected)
            assert ours == oracle.shares(completion, stop, then), (seed, then)


@pytest.mark.parametrize("utility", ["cost", "cardinality"])
def test_greedy_selects_what_pabutools_selects(utility: str) -> None:
    for seed in range(300):
        election = random_election(seed)
        oracle = Oracle(election, utility)
        lot = tuple(project.project_id for project in election.projects)
        ours = sorted(greedy(election, utility=utility, lot=lot).selected)  # type: ignore[arg-type]
        theirs = sorted(p.name for p in oracle.by_votes() if oracle.votes[p.name])
        assert ours == theirs, seed
