"""Meek's STV: the method that passes every vote on as if losers had never stood.

Each elected candidate keeps only the part of every vote that is needed for the quota; the rest
flows to the next preference. All figures are whole numbers of a billionth or smaller, rounded as
the reference rule says, so two programs give the same digits.

Source: PR Foundation, "Reference Meek Rule"; method by B. L. Meek (1969), algorithm by Hill,
Wichmann and Woodall, "Algorithm 123: Single Transferable Vote by Meek's Method" (1987).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from solar_fund.errors import ElectionInvalid, TieUnresolved
from solar_fund.voting.blt import RankedElection
from solar_fund.voting.stv import StvResult, StvRound, round_of
from solar_fund.voting.tie_break import lot_ranks

# Twelve decimals: three more than the bound on the surplus at which a round ends.
UNITS_PER_VOTE = 10**12
OMEGA_UNITS = 10**3
ITERATIONS_MAX = 100_000


def meek_stv(election: RankedElection, lot: Sequence[str] = ()) -> StvResult:
    """Count by Meek's method, with surpluses settled to 1e-9 of a vote.

    Args:
        election: The ballots.
        lot: Names in the order drawn before the count; who is drawn first is favoured.

    Raises:
        ElectionInvalid: Nobody voted.
        TieUnresolved: A tie for exclusion between candidates the lot does not order.
    """
    return _MeekCount(election, lot).result()


@dataclass(slots=True)
class _MeekCount:
    election: RankedElection
    lot: Sequence[str]
    ranks: dict[str, int] = field(init=False)
    papers: list[tuple[tuple[int, ...], int]] = field(init=False)
    keep: list[int] = field(init=False)
    votes: list[int] = field(init=False)
    hopeful: set[int] = field(init=False)
    elected: list[int] = field(default_factory=list)
    quota: int = 0
    exhausted: int = 0
    rounds: list[StvRound] = field(default_factory=list)
    lots_used: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        election = self.election
        self.ranks = lot_ranks(self.lot, election.candidates)
        merged: dict[tuple[int, ...], int] = {}
        for ranking, count in election.papers:
            standing = tuple(number for number in ranking if number not in election.withdrawn)
            if standing:
                merged[standing] = merged.get(standing, 0) + count
        if not merged:
            raise ElectionInvalid("there are no valid papers: nobody can be elected")
        self.papers = list(merged.items())
        self.keep = [UNITS_PER_VOTE] * len(election.candidates)
        self.votes = [0] * len(election.candidates)
        self.hopeful = set(range(len(election.candidates))) - election.withdrawn

    def result(self) -> StvResult:
        seats = self.election.seats
        while len(self.elected) < seats and len(self.elected) + len(self.hopeful) > seats:
            new, surplus = self._iterate()
            if new:
                self._record("election at the quota", new)
            else:
                loser = self._lowest(surplus)
                self.hopeful.remove(loser)
                self.keep[loser] = 0
                self._record(f"exclusion of {self._name(loser)}", [], (self._name(loser),))
        if len(self.elected) < seats:
            last = sorted(self.hopeful, key=lambda number: -self.votes[number])
            self.hopeful.clear()
            self.elected += last
            self._distribute()
            self._record("last candidates fill the last seats", last)
        return StvResult(
            rule="Meek STV (reference rule, omega 1e-9)",
            elected=tuple(self._name(number) for number in self.elected),
            quota=self.quota,
            units_per_vote=UNITS_PER_VOTE,
            valid_papers=self.election.valid_papers,
            rounds=tuple(self.rounds),
            lots_used=tuple(self.lots_used),
        )

    def _iterate(self) -> tuple[list[int], int]:
        """Move surpluses until somebody new has the quota or nothing moves any more."""
        last_surplus: int | None = None
        for _ in range(ITERATIONS_MAX):
            self._distribute()
            new = sorted(
                (n for n in self.hopeful if self.votes[n] >= self.quota),
                key=lambda number: -self.votes[number],
            )
            new = new[: self.election.seats - len(self.elected)]
            self.hopeful.difference_update(new)
            self.elected += new
            surplus = max(sum(self.votes[n] - self.quota for n in self.elected), 0)
            if new:
                return new, surplus
            if surplus < OMEGA_UNITS or (last_surplus is not None and surplus >= last_surplus):
                return [], surplus
            last_surplus = surplus
            for number in self.elected:
                kept = -(-self.keep[number] * self.quota // UNITS_PER_VOTE)
                self.keep[number] = -(-kept * UNITS_PER_VOTE // self.votes[number])
        raise ElectionInvalid(f"surpluses did not settle within {ITERATIONS_MAX} iterations")

    def _distribute(self) -> None:
        """Let each paper flow down its preferences, then set the quota anew."""
        votes = [0] * len(self.votes)
        exhausted = 0
        keep = self.keep
        for ranking, count in self.papers:
            weight = UNITS_PER_VOTE
            for number in ranking:
                kept = keep[number]
                if kept:
                    # Keeping is rounded up; a whole factor takes all that is left.
                    part = min(-(-weight * kept // UNITS_PER_VOTE), weight)
                    votes[number] += part * count
                    weight -= part
                    if not weight:
                        break
            exhausted += weight * count
        self.votes, self.exhausted = votes, exhausted
        self.quota = sum(votes) // (self.election.seats + 1) + 1

    def _lowest(self, surplus: int) -> int:
        """Return whom to exclude.

        What is still to flow could reverse a small difference, and so could rounding: whoever is
        within the surplus and omega of the lowest is tied with them.
        """
        least = min(self.votes[number] for number in self.hopeful)
        tied = sorted(n for n in self.hopeful if self.votes[n] <= least + surplus + OMEGA_UNITS)
        if len(tied) == 1:
            return tied[0]
        stay = len(self.hopeful) - len(tied)
        if stay >= self.election.seats - len(self.elected) and not any(
            self.votes[number] for number in tied
        ):
            # Without votes nothing is passed on: all of them go next, whoever goes first.
            return tied[0]
        names = tuple(self._name(number) for number in tied)
        if any(name not in self.ranks for name in names):
            raise TieUnresolved(names, f"for exclusion in round {len(self.rounds) + 1}")
        self.lots_used.append(names)
        return max(tied, key=lambda number: self.ranks[self._name(number)])

    def _name(self, number: int) -> str:
        return self.election.candidates[number]

    def _record(self, action: str, new: list[int], excluded: tuple[str, ...] = ()) -> None:
        self.rounds.append(
            round_of(self.election, action, self.votes, self.exhausted, new, excluded)
        )
