"""The same outcome as pabutools on random elections; pabutools is an oracle for tests only."""

import random
from fractions import Fraction

import pytest
from pabutools.election import (
    Additive_Cardinal_Sat,
    ApprovalBallot,
    ApprovalProfile,
    CardinalBallot,
    Cardinality_Sat,
    CardinalProfile,
    Cost_Sat,
    Instance,
    Project,
)
from pabutools.rules import method_of_equal_shares
from pabutools.tiebreaking import TieBreakingRule

from solar_fund.voting.ballots import Ballot, BallotProject, Election
from solar_fund.voting.equal_shares import SharesOptions, equal_shares


def random_election(seed: int) -> Election:
    """Small elections with few distinct costs, so that ties are common."""
    draw = random.Random(seed)
    n_projects, n_voters = draw.randint(1, 9), draw.randint(1, 14)
    costs = draw.choice([[10, 20, 30], list(range(1, 60)), [5, 5, 7]])
    projects = tuple(
        BallotProject(project_id=f"p{n}", cost=Fraction(draw.choice(costs)))
        for n in range(n_projects)
    )
    points = draw.random() < 0.4
    ballots = []
    for voter in range(n_voters):
        named = draw.sample(range(n_projects), draw.randint(0, n_projects))
        ballots.append(
            Ballot(
                f"v{voter}",
                tuple(f"p{n}" for n in named),
                tuple(draw.randint(1, 4) for _ in named) if points else (),
            )
        )
    return Election(
        projects=projects,
        ballots=tuple(ballots),
        budget=Fraction(draw.randint(10, 150)),
        vote_type="scoring" if points else "approval",
    )


def pabutools_selects(election: Election, utility: str, increment: int | None) -> list[str]:
    projects = {p.project_id: Project(p.project_id, cost=p.cost) for p in election.projects}
    instance = Instance(list(projects.values()), budget_limit=election.budget)
    votes: dict[str, int] = dict.fromkeys(projects, 0)
    for ballot in election.ballots:
        for place, name in enumerate(ballot.project_ids):
            votes[name] += int(ballot.points[place]) if ballot.points else 1
    tie = TieBreakingRule(
        lambda _i, _p, project: (project.cost, -votes[project.name], project.name)
    )
    if election.vote_type == "approval":
        profile = ApprovalProfile(
            [ApprovalBallot([projects[n] for n in b.project_ids]) for b in election.ballots]
        )
        sat = Cost_Sat if utility == "cost" else Cardinality_Sat
    else:
        profile = CardinalProfile(
            [
                CardinalBallot(
                    {projects[n]: p for n, p in zip(b.project_ids, b.points, strict=True)}
                )
                for b in election.ballots
            ]
        )
        sat = Additive_Cardinal_Sat
    chosen = method_of_equal_shares(
        instance, profile, sat, tie_breaking=tie, voter_budget_increment=increment
    )
    return [project.name for project in chosen]


@pytest.mark.parametrize("block", range(8))
@pytest.mark.parametrize("completion", ["none", "add1", "add-opt"])
def test_random_elections_are_decided_as_pabutools_decides_them(
    block: int, completion: str
) -> None:
    for seed in range(block * 60, block * 60 + 60):
        election = random_election(seed)
        utilities = ["cost", "cardinality"] if election.vote_type == "approval" else ["cardinality"]
        for utility in utilities:
            lot = tuple(project.project_id for project in election.projects)
            ours = equal_shares(
                election,
                SharesOptions(utility=utility, completion=completion, lot=lot),  # type: ignore[arg-type]
            )
            theirs = pabutools_selects(election, utility, None if completion == "none" else 1)
            assert sorted(ours.selected) == sorted(theirs), (seed, utility)
