"""How ties are decided: lowest cost, then most votes, then a lot drawn before the count."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from solar_fund.errors import ElectionInvalid, TieUnresolved


def draw_lot(names: Sequence[str], seed: str) -> tuple[str, ...]:
    """Draw an order from a public seed, so that anyone can draw it again.

    Args:
        names: Everything that could tie.
        seed: Text fixed and published before voting closes, or drawn in public after it.

    Returns:
        The names ordered by SHA-256 of seed, a zero byte and the name.
    """
    return tuple(
        sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).digest())
    )


def lot_ranks(lot: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return the place of each name in the lot; the first drawn wins.

    Raises:
        ElectionInvalid: The lot names something twice or something that is not in the election.
    """
    ranks = {name: place for place, name in enumerate(lot)}
    if len(ranks) != len(lot):
        raise ElectionInvalid("the lot names something twice: list each once")
    known = set(names)
    strangers = [name for name in lot if name not in known]
    if strangers:
        raise ElectionInvalid(f"the lot names {strangers[0]}, which is not in the election")
    return ranks


@dataclass(frozen=True, slots=True)
class TieBreak:
    """Decides between projects that a rule finds equally good.

    Attributes:
        project_ids: Names by project number.
        costs: Scaled cost by project number.
        votes: Votes (approvals or points) by project number.
        ranks: Place in the lot by project id; empty when none was drawn.
    """

    project_ids: tuple[str, ...]
    costs: Sequence[int]
    votes: Sequence[int]
    ranks: dict[str, int]

    def pick(self, tied: Sequence[int], where: str) -> int:
        """Return the winner of a tie.

        Raises:
            TieUnresolved: Cost and votes are the same and the lot does not order all of them.
        """
        best = min((self.costs[number], -self.votes[number]) for number in tied)
        left = [n for n in tied if (self.costs[n], -self.votes[n]) == best]
        if len(left) == 1:
            return left[0]
        return self.by_lot(left, where)

    def by_lot(self, tied: Sequence[int], where: str) -> int:
        """Return the first drawn of several.

        Raises:
            TieUnresolved: One of them is not in the lot.
        """
        if any(self.project_ids[number] not in self.ranks for number in tied):
            raise TieUnresolved(tuple(self.project_ids[number] for number in tied), where)
        return min(tied, key=lambda number: self.ranks[self.project_ids[number]])
