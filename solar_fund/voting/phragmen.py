"""Sequential Phragmén: everyone's purse fills at the same pace, groups buy when they can.

Source: Brill, Freeman, Janson and Lackner, "Phragmén's Voting Methods and Justified
Representation" (2017), with costs as in Los, Christoff and Grossi (2022): the count stops when
the next purchase would exceed the budget.
"""

from fractions import Fraction

import numpy as np

from solar_fund.voting.ballots import Election
from solar_fund.voting.outcome import Outcome, plain_outcome
from solar_fund.voting.profile import VoteProfile, compile_profile
from solar_fund.voting.tie_break import TieBreak, lot_ranks


def phragmen(election: Election, *, lot: tuple[str, ...] = ()) -> Outcome:
    """Count an election by sequential Phragmén, exactly.

    Points do not matter to this rule: a project named with points above zero is supported.

    Raises:
        ElectionInvalid: The ballots cannot be counted.
        TieUnresolved: A tie that cost, votes and the lot do not decide.
    """
    return phragmen_profile(compile_profile(election), lot=lot)


def phragmen_profile(profile: VoteProfile, *, lot: tuple[str, ...] = ()) -> Outcome:
    """Count merged ballots as `phragmen` does."""
    tie = TieBreak(
        profile.project_ids, profile.costs, profile.votes, lot_ranks(lot, profile.project_ids)
    )
    # A load is the time at which a voter's purse was last emptied; few distinct ones exist.
    loads: list[Fraction] = [Fraction(0)]
    level = np.zeros(len(profile.row_weight), dtype=np.int64)
    left = profile.budget
    waiting = [
        n for n in range(len(profile.costs)) if profile.votes[n] and profile.costs[n] <= left
    ]
    won: list[int] = []
    while waiting:
        ready = {n: _time_of(profile, n, level, loads) for n in waiting}
        first = min(ready.values())
        tied = [number for number in waiting if ready[number] == first]
        if any(profile.costs[number] > left for number in tied):
            break
        number = tied[0] if len(tied) == 1 else tie.pick(tied, f"for purchase {len(won) + 1}")
        won.append(number)
        left -= profile.costs[number]
        level[profile.rows[profile.span(number)]] = len(loads)
        loads.append(first)
        group = profile.groups[number]
        waiting = [n for n in waiting if n != number and not (group and profile.groups[n] == group)]
    return plain_outcome("sequential Phragmén", profile, won, "phragmen", profile.budget)


def _time_of(
    profile: VoteProfile, number: int, level: np.ndarray, loads: list[Fraction]
) -> Fraction:
    """Return when the supporters together could buy the project."""
    span = profile.span(number)
    voters = np.zeros(len(loads), dtype=np.int64)
    np.add.at(voters, level[profile.rows[span]], profile.weight[span])
    held_back = sum((loads[i] * int(count) for i, count in enumerate(voters) if count), Fraction(0))
    return (held_back + profile.costs[number]) / profile.supporters[number]
