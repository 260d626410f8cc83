import random
from fractions import Fraction

import pytest
from pabutools.election import ApprovalBallot, ApprovalProfile, Instance, Project
from pabutools.rules import sequential_phragmen
from pabutools.tiebreaking import TieBreakingRule

from solar_fund.errors import TieUnresolved
from solar_fund.voting.ballots import Election, approval_election
from solar_fund.voting.greedy import greedy
from solar_fund.voting.phragmen import phragmen


def random_approvals(seed: int) -> Election:
    draw = random.Random(seed)
    n_projects = draw.randint(1, 8)
    names = [f"p{n}" for n in range(n_projects)]
    return approval_election(
        {name: draw.choice([5, 10, draw.randint(1, 40)]) for name in names},
        [draw.sample(names, draw.randint(0, n_projects)) for _ in range(draw.randint(1, 12))],
        draw.randint(10, 100),
    )


def phragmen_by_pabutools(election: Election) -> list[str]:
    projects = {p.project_id: Project(p.project_id, cost=p.cost) for p in election.projects}
    votes = {n: sum(n in b.project_ids for b in election.ballots) for n in projects}
    profile = ApprovalProfile(
        [ApprovalBallot([projects[n] for n in b.project_ids]) for b in election.ballots]
    )
    tie = TieBreakingRule(lambda _i, _p, p: (p.cost, -votes[p.name], p.name))
    instance = Instance(list(projects.values()), budget_limit=election.budget)
    chosen = sequential_phragmen(instance, profile, tie_breaking=tie)
    # Its infinite load also buys projects that nobody wants, once nothing else is left.
    return sorted(project.name for project in chosen if votes[project.name])


@pytest.mark.parametrize("block", range(4))
def test_phragmen_selects_what_pabutools_selects(block: int) -> None:
    for seed in range(block * 100, block * 100 + 100):
        election = random_approvals(seed)
        lot = tuple(project.project_id for project in election.projects)
        assert sorted(phragmen(election, lot=lot).selected) == phragmen_by_pabutools(election), seed


def test_greedy_takes_most_votes_and_skips_what_does_not_fit() -> None:
    election = approval_election(
        {"a": 60, "b": 50, "c": 30}, [["a", "b"]] * 3 + [["a"], ["c"]], budget=100
    )
    outcome = greedy(election)
    assert outcome.selected == ("a", "c")
    assert outcome.losses[0].kind == "over the budget"


def test_greedy_per_cost_prefers_the_cheap() -> None:
    election = approval_election({"a": 60, "b": 10}, [["a"]] * 3 + [["b"]] * 2, budget=65)
    assert greedy(election, utility="cardinality").selected == ("b",)


def test_a_greedy_tie_matters_only_when_not_all_fit() -> None:
    fits = approval_election({"a": 10, "b": 10}, [["a"], ["b"]], budget=20)
    assert set(greedy(fits).selected) == {"a", "b"}
    tight = approval_election({"a": 10, "b": 10}, [["a"], ["b"]], budget=15)
    with pytest.raises(TieUnresolved, match="a, b"):
        greedy(tight)
    assert greedy(tight, lot=("b", "a")).selected == ("b",)


def test_phragmen_stops_when_the_next_purchase_would_overspend() -> None:
    election = approval_election({"a": 10, "b": 95, "c": 5}, [["a", "b"]] * 9 + [["c"]], 100)
    outcome = phragmen(election)
    assert outcome.selected == ("a", "c")
    assert outcome.leftover == Fraction(85)
