"""Quadratic credits: v votes on one thing cost v² credits, so intensity can be shown, at a price.

Everyone has the same credits. Totals rank a slate of proposals; for projects under a budget the
votes become utilities of equal shares, so that a determined minority still gets its part.

Source: Lalley and Weyl, "Quadratic Voting" (2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from solar_fund.errors import BallotInvalid
from solar_fund.voting.ballots import Ballot, BallotProject, Election

CREDITS_DEFAULT = 100


def credits_spent(votes: Mapping[str, int]) -> int:
    """Return what a ballot costs: the sum of squares [credits]."""
    return sum(count * count for count in votes.values())


def check_credits(
    votes: Mapping[str, int],
    names: Sequence[str],
    credit_limit: int = CREDITS_DEFAULT,
    against: bool = True,
) -> None:
    """Refuse a ballot that spends too much or names something unknown.

    Args:
        votes: Votes by name; negative ones are votes against.
        names: What may be voted on.
        credit_limit: What each member has [credits].
        against: Whether votes against are allowed.

    Raises:
        BallotInvalid: The ballot may not be cast; the message says why.
    """
    for name, count in votes.items():
        if name not in names:
            raise BallotInvalid(f"{name} is not on the slate")
        if type(count) is not int:
            raise BallotInvalid(f"{count!r} votes on {name}: give a whole number")
        if count < 0 and not against:
            raise BallotInvalid(f"{count} votes on {name}: votes against are not counted here")
    spent = credits_spent(votes)
    if spent > credit_limit:
        raise BallotInvalid(
            f"these votes cost {spent} credits, {spent - credit_limit} more than the"
            f" {credit_limit} everyone has: take some back"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlateEntry:
    """How one proposal of a slate fared.

    Attributes:
        name: The proposal.
        total: Votes for less votes against.
        for_votes: Votes for it.
        against_votes: Votes against it, as a positive number.
        voters: Members who spent credits on it.
    """

    name: str
    total: int
    for_votes: int
    against_votes: int
    voters: int


def quadratic_slate(
    ballots: Sequence[Mapping[str, int]],
    names: Sequence[str],
    credit_limit: int = CREDITS_DEFAULT,
) -> tuple[SlateEntry, ...]:
    """Count a slate, highest total first; equal totals stay in the order of the slate.

    Raises:
        BallotInvalid: A ballot spends too much or names something unknown.
    """
    for number, votes in enumerate(ballots, start=1):
        try:
            check_credits(votes, names, credit_limit)
        except BallotInvalid as error:
            raise BallotInvalid(f"ballot {number}: {error}") from None
    entries = []
    for name in names:
        cast = [votes[name] for votes in ballots if votes.get(name)]
        entries.append(
            SlateEntry(
                name=name,
                total=sum(cast),
                for_votes=sum(count for count in cast if count > 0),
                against_votes=-sum(count for count in cast if count < 0),
                voters=len(cast),
            )
        )
    return tuple(sorted(entries, key=lambda entry: -entry.total))


def quadratic_election(
    projects: Sequence[BallotProject],
    ballots: Mapping[str, Mapping[str, int]],
    budget: int,
    credit_limit: int = CREDITS_DEFAULT,
) -> Election:
    """Turn quadratic ballots on projects into points for equal shares.

    Raises:
        BallotInvalid: A ballot spends too much, votes against, or names something unknown.
    """
    names = [project.project_id for project in projects]
    counted = []
    for voter_id, votes in ballots.items():
        try:
            check_credits(votes, names, credit_limit, against=False)
        except BallotInvalid as error:
            raise BallotInvalid(f"ballot {voter_id}: {error}") from None
        given = {name: count for name, count in votes.items() if count}
        counted.append(Ballot(voter_id, tuple(given), tuple(given.values())))
    return Election(
        projects=tuple(projects),
        ballots=tuple(counted),
        budget=Fraction(budget),
        vote_type="scoring",
    )
