"""What people voted on and what they said: projects, ballots and the election around them.

Amounts are exact numbers in the election's own unit (whole euros in most public files, minor
units when the fund counts its own vote); a rule never needs to know which.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from solar_fund.errors import ElectionInvalid

VoteType = Literal["approval", "choose-1", "cumulative", "scoring", "ordinal"]

PROJECTS_MAX = 5_000
BALLOTS_MAX = 2_000_000
# Above this a float no longer holds every whole number, and the fast engines lean on that.
AMOUNT_MAX = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class BallotProject:
    """A project as it stands on the ballot paper.

    Attributes:
        project_id: Short name, unique in the election.
        cost: What it takes from the budget [election's currency unit], exact.
        name: Title for people.
        group: Name of a set of which at most one may win (two designs of one roof), or "".
    """

    project_id: str
    cost: Fraction
    name: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One voter's ballot.

    Attributes:
        voter_id: Pseudonym of the voter, unique in the election.
        project_ids: The projects named, in the order given (best first when ranked).
        points: One number per named project; empty means that each named project counts 1.
    """

    voter_id: str
    project_ids: tuple[str, ...]
    points: tuple[Fraction | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """Everything a counting rule may look at.

    Attributes:
        projects: In the order of the ballot paper.
        ballots: One per voter who took part; an empty ballot still holds an equal share.
        budget: What there is to spend [election's currency unit].
        vote_type: How ballots are to be read.
        currency: ISO 4217 code, or "".
        ranks_max: For ranked ballots, the longest ballot allowed: the first place earns this many
            points; 0 means the longest ballot cast.
        meta: Further facts of the file, kept word for word.
    """

    projects: tuple[BallotProject, ...]
    ballots: tuple[Ballot, ...]
    budget: Fraction
    vote_type: VoteType = "approval"
    currency: str = ""
    ranks_max: int = 0
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.projects:
            raise ElectionInvalid("the election has no projects: name at least one")
        if len(self.projects) > PROJECTS_MAX or len(self.ballots) > BALLOTS_MAX:
            raise ElectionInvalid(
                f"{len(self.projects)} projects and {len(self.ballots)} ballots are more than"
                f" the limits of {PROJECTS_MAX} and {BALLOTS_MAX}: split the election"
            )
        if self.budget <= 0:
            raise ElectionInvalid(f"the budget is {self.budget}: it must be above zero")
        if len({project.project_id for project in self.projects}) != len(self.projects):
            raise ElectionInvalid("two projects share an id: give each its own")
        for project in self.projects:
            if project.cost < 0:
                raise ElectionInvalid(
                    f"project {project.project_id} costs {project.cost}: below zero"
                )


def approval_election(
    costs: Mapping[str, int | Fraction],
    approvals: Sequence[Sequence[str]] | Mapping[str, Sequence[str]],
    budget: int | Fraction,
) -> Election:
    """Build an approval election from plain values.

    Args:
        costs: Cost by project id [election's currency unit].
        approvals: The ids each voter supports, in a list or by voter id.
        budget: What there is to spend [election's currency unit].

    Raises:
        ElectionInvalid: A ballot names an unknown project, or there is nothing to vote on.
    """
    by_voter = (
        approvals
        if isinstance(approvals, Mapping)
        else {str(number): ids for number, ids in enumerate(approvals, start=1)}
    )
    for voter_id, ids in by_voter.items():
        unknown = [project_id for project_id in ids if project_id not in costs]
        if unknown:
            raise ElectionInvalid(
                f"ballot {voter_id} names {unknown[0]}, which is not on the paper"
            )
    return Election(
        projects=tuple(
            BallotProject(project_id=project_id, cost=Fraction(cost))
            for project_id, cost in costs.items()
        ),
        ballots=tuple(Ballot(voter_id, tuple(ids)) for voter_id, ids in by_voter.items()),
        budget=Fraction(budget),
    )


def ballot_points(election: Election, ballot: Ballot) -> tuple[Fraction | int, ...]:
    """Return the points a ballot gives to each project it names.

    Approvals count 1. Points count as written. The n-th place of a ranked ballot earns
    `ranks_max` - n + 1 points (Borda counting as public files score it), so a short ballot's
    first place is worth as much as anyone's.
    """
    if election.vote_type == "ordinal":
        longest = election.ranks_max or max(len(b.project_ids) for b in election.ballots)
        return tuple(max(longest - place, 0) for place in range(len(ballot.project_ids)))
    return ballot.points or (1,) * len(ballot.project_ids)
