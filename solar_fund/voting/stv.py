"""Single transferable vote as Scotland counts it, for boards and committees.

Whole-number Droop quota, one surplus at a time with the largest first, every paper of the elected
candidate passed on at a value cut to five decimals, exclusions one by one, ties by the latest
earlier stage that differs and then by lot.

Source: The Scottish Local Government Elections Order 2007 (SSI 2007/42), schedule 1, rules 45-52.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from solar_fund.errors import ElectionInvalid, TieUnresolved
from solar_fund.voting.blt import RankedElection
from solar_fund.voting.tie_break import lot_ranks

# Votes are whole numbers of hundred-thousandths, as the Order computes to five decimals.
UNITS_PER_VOTE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StvRound:
    """One stage of the count, as it stood at its end.

    Attributes:
        action: What was done, in words.
        votes: Votes by candidate name [1/units_per_vote of a vote].
        exhausted: Votes that no longer name anyone standing [same unit].
        elected: Names deemed elected at this stage.
        excluded: Names excluded at this stage.
    """

    action: str
    votes: dict[str, int]
    exhausted: int
    elected: tuple[str, ...]
    excluded: tuple[str, ...] = ()


def round_of(
    election: RankedElection,
    action: str,
    votes: Sequence[int],
    exhausted: int,
    elected: Sequence[int],
    excluded: tuple[str, ...] = (),
) -> StvRound:
    """One stage of the count by names; who withdrew is not in it.

    Args:
        election: Gives the names.
        action: What was done, in words.
        votes: Votes by number of the candidate [1/units_per_vote of a vote].
        exhausted: Votes that no longer name anyone standing [same unit].
        elected: Numbers of those deemed elected at this stage.
        excluded: Names excluded at this stage.
    """
    return StvRound(
        action=action,
        votes={
            name: votes[number]
            for number, name in enumerate(election.candidates)
            if number not in election.withdrawn
        },
        exhausted=exhausted,
        elected=tuple(election.candidates[number] for number in elected),
        excluded=excluded,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StvResult:
    """The result of an STV count.

    Attributes:
        rule: Name of the rule.
        elected: Names in the order they were deemed elected.
        quota: Votes that elect [1/units_per_vote of a vote].
        units_per_vote: Units in one vote.
        valid_papers: Papers counted.
        rounds: The stages.
        lots_used: Names between whom a drawn lot decided, stage by stage.
    """

    rule: str
    elected: tuple[str, ...]
    quota: int
    units_per_vote: int
    valid_papers: int
    rounds: tuple[StvRound, ...]
    lots_used: tuple[tuple[str, ...], ...] = ()


def scottish_stv(
    election: RankedElection,
    lot: Sequence[str] = (),
    protected: frozenset[int] = frozenset(),
) -> StvResult:
    """Count by the Scottish rules.

    Args:
        election: The ballots.
        lot: Names in the order drawn before the count; who is drawn first is favoured.
        protected: Candidates who may not be excluded (sitting members in a vacancy recount).

    Raises:
        ElectionInvalid: Nobody voted, or more members are protected than there are seats.
        TieUnresolved: A tie at all stages between candidates the lot does not order.
    """
    return _ScottishCount(election, lot, protected).result()


# Papers with the same ranking and value: ranking, place reached in it, papers, value of each.
_Pile = tuple[tuple[int, ...], int, int, int]


@dataclass(slots=True)
class _ScottishCount:
    election: RankedElection
    lot: Sequence[str]
    protected: frozenset[int]
    ranks: dict[str, int] = field(init=False)
    quota: int = field(init=False)
    hopeful: set[int] = field(init=False)
    votes: list[int] = field(init=False)
    piles: list[list[_Pile]] = field(init=False)
    elected: list[int] = field(default_factory=list)
    surpluses: set[int] = field(default_factory=set)
    exhausted: int = 0
    history: list[list[int]] = field(default_factory=list)
    rounds: list[StvRound] = field(default_factory=list)
    lots_used: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        election = self.election
        self.ranks = lot_ranks(self.lot, election.candidates)
        if not election.valid_papers:
            raise ElectionInvalid("there are no valid papers: nobody can be elected")
        if len(self.protected) > election.seats:
            raise ElectionInvalid("more members are protected than there are seats")
        self.quota = (election.valid_papers // (election.seats + 1) + 1) * UNITS_PER_VOTE
        self.hopeful = set(range(len(election.candidates))) - election.withdrawn
        self.votes = [0] * len(election.candidates)
        self.piles = [[] for _ in election.candidates]

    def result(self) -> StvResult:
        # A paper that names nobody standing is not valid and was not in the quota either.
        self._pass_on(
            [(ranking, -1, papers, UNITS_PER_VOTE) for ranking, papers in self.election.papers]
        )
        self._close_stage("first preferences")
        while len(self.elected) < self.election.seats and self.hopeful:
            if self.surpluses:
                self._transfer_surplus()
            else:
                self._exclude()
        return StvResult(
            rule="Scottish STV (SSI 2007/42)",
            elected=tuple(self._name(number) for number in self.elected),
            quota=self.quota,
            units_per_vote=UNITS_PER_VOTE,
            valid_papers=self.election.valid_papers,
            rounds=tuple(self.rounds),
            lots_used=tuple(self.lots_used),
        )

    def _name(self, number: int) -> str:
        return self.election.candidates[number]

    def _pass_on(self, piles: list[_Pile]) -> int:
        """Give piles to the next preference still in the running; return what nobody gets."""
        hopeful, votes, taken = self.hopeful, self.votes, self.piles
        unwanted = 0
        for ranking, place, papers, value in piles:
            for further in range(place + 1, len(ranking)):
                number = ranking[further]
                if number in hopeful:
                    taken[number].append((ranking, further, papers, value))
                    votes[number] += papers * value
                    break
            else:
                unwanted += papers * value
        return unwanted

    def _transfer_surplus(self) -> None:
        number = self._largest_surplus()
        self.surpluses.remove(number)
        total = self.votes[number]
        surplus = total - self.quota
        piles, self.piles[number] = self.piles[number], []
        self.votes[number] = self.quota
        before = sum(self.votes)
        # Rule 48: surplus times the value when received over the total, cut at five decimals.
        self._pass_on(
            [
                (ranking, place, papers, surplus * value // total)
                for ranking, place, papers, value in piles
            ]
        )
        # What found no taker, and what the cut leaves, belongs to nobody any more.
        self.exhausted += surplus - (sum(self.votes) - before)
        self._close_stage(f"transfer of the surplus of {self._name(number)}")

    def _largest_surplus(self) -> int:
        most = max(self.votes[number] for number in self.surpluses)
        tied = sorted(n for n in self.surpluses if self.votes[n] == most)
        return self._by_earlier_stage(tied, highest=True)

    def _exclude(self) -> None:
        open_to_exclusion = [n for n in self.hopeful if n not in self.protected]
        if not open_to_exclusion:
            raise ElectionInvalid("only protected members are left, but seats are not filled")
        least = min(self.votes[number] for number in open_to_exclusion)
        tied = sorted(n for n in open_to_exclusion if self.votes[n] == least)
        number = self._by_earlier_stage(tied, highest=False)
        self.hopeful.remove(number)
        piles, self.piles[number] = self.piles[number], []
        self.votes[number] = 0
        self.exhausted += self._pass_on(piles)
        self._close_stage(f"exclusion of {self._name(number)}", excluded=(self._name(number),))

    def _by_earlier_stage(self, tied: list[int], highest: bool) -> int:
        """Decide a tie by the latest earlier stage at which the tied differ, then by lot."""
        for votes in reversed(self.history[:-1]):
            if len(tied) == 1:
                break
            best = (max if highest else min)(votes[number] for number in tied)
            tied = [number for number in tied if votes[number] == best]
        if len(tied) == 1:
            return tied[0]
        if not highest and self._order_is_idle(tied):
            return tied[0]
        names = tuple(self._name(number) for number in tied)
        if any(name not in self.ranks for name in names):
            purpose = "for the next surplus" if highest else "for exclusion"
            raise TieUnresolved(names, f"{purpose} at stage {len(self.rounds) + 1}")
        self.lots_used.append(names)
        drawn = sorted(tied, key=lambda number: self.ranks[self._name(number)])
        return drawn[0] if highest else drawn[-1]

    def _order_is_idle(self, tied: list[int]) -> bool:
        """Tell whether all of them go next, whoever goes first.

        Without a paper nothing is passed on, so nobody rises and the others stay the lowest,
        unless the seats are filled before all of them have gone.
        """
        stay = len(self.hopeful) - len(tied)
        return stay >= self.election.seats - len(self.elected) and not any(
            self.piles[number] for number in tied
        )

    def _close_stage(self, action: str, excluded: tuple[str, ...] = ()) -> None:
        """Deem elected who has the quota, or everyone left if they just fill the seats."""
        new = sorted(
            (n for n in self.hopeful if self.votes[n] >= self.quota),
            key=lambda number: -self.votes[number],
        )
        self.history.append(list(self.votes))
        self._elect(new)
        rest = self.election.seats - len(self.elected)
        if self.hopeful and len(self.hopeful) <= rest:
            last = sorted(self.hopeful, key=lambda number: -self.votes[number])
            self._elect(last)
            new += last
        self.rounds.append(
            round_of(self.election, action, self.votes, self.exhausted, new, excluded)
        )

    def _elect(self, numbers: list[int]) -> None:
        for number in numbers:
            self.hopeful.remove(number)
            self.elected.append(number)
            if self.votes[number] > self.quota:
                self.surpluses.add(number)


def recount_without(
    election: RankedElection, sitting: Sequence[str], leaver: str, lot: Sequence[str] = ()
) -> tuple[str, StvResult]:
    """Fill a casual vacancy from the ballots already cast.

    The papers are counted again as if the leaver had not stood; members who still sit cannot lose
    their seat. Who is newly elected fills the vacancy.

    Args:
        election: The original ballots.
        sitting: All members elected then, the leaver included.
        leaver: Who leaves.
        lot: Names in the order drawn before the count.

    Returns:
        The new member's name and the recount.

    Raises:
        ElectionInvalid: The leaver does not sit, or nobody is left to fill the seat.
        TieUnresolved: A tie the lot does not decide.
    """
    if leaver not in sitting:
        raise ElectionInvalid(f"{leaver} does not sit on the board: {', '.join(sitting)} do")
    strangers = [name for name in sitting if name not in election.candidates]
    if strangers:
        raise ElectionInvalid(f"{strangers[0]} is not a candidate of this election")
    withdrawn = election.withdrawn | {election.candidates.index(leaver)}
    if len(election.candidates) - len(withdrawn) < len(sitting):
        raise ElectionInvalid("nobody is left to fill the seat: hold a new election")
    keep = frozenset(election.candidates.index(name) for name in sitting if name != leaver)
    again = RankedElection(
        candidates=election.candidates,
        seats=election.seats,
        papers=election.papers,
        withdrawn=frozenset(withdrawn),
        title=election.title,
    )
    result = scottish_stv(again, lot, protected=keep)
    new = [name for name in result.elected if name not in sitting]
    if not new:
        raise ElectionInvalid("the recount elects nobody new: hold a new election")
    return new[0], result
