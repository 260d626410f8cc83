"""Yes or no: policies and data requests, one member one vote, on a frozen roll."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Literal

from solar_fund.errors import BallotInvalid, ElectionInvalid

Choice = Literal["yes", "no", "abstain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Who may vote, fixed at the record date; later members and leavers do not change it.

    Attributes:
        frozen_at: The record date, aware UTC.
        member_ids: One id per membership; a joint household is one.
    """

    frozen_at: datetime
    member_ids: frozenset[str]

    def __post_init__(self) -> None:
        if self.frozen_at.tzinfo is None:
            raise ElectionInvalid("the record date of a roll must carry a time zone")
        if not self.member_ids:
            raise ElectionInvalid("the roll is empty: nobody could vote")


def freeze_roll(
    joined_at: Mapping[str, datetime], record_at: datetime, waiting_days: int = 0
) -> Roll:
    """List the members who may vote.

    Args:
        joined_at: When each membership began, aware UTC, by member id.
        record_at: The record date, aware UTC.
        waiting_days: How long a member must have belonged at the record date.

    Raises:
        ElectionInvalid: Nobody qualifies.
    """
    return Roll(
        frozen_at=record_at,
        member_ids=frozenset(
            member_id
            for member_id, since in joined_at.items()
            if (record_at - since).total_seconds() >= waiting_days * 86_400
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """What a proposal needs to pass.

    Attributes:
        quorum: Share of the roll that must take part; abstentions count as taking part.
        threshold: Share of yes among yes and no.
        above: True when the share must exceed the threshold, False when reaching it is enough.
    """

    quorum: Fraction = Fraction(3, 10)
    threshold: Fraction = Fraction(1, 2)
    above: bool = True

    def __post_init__(self) -> None:
        for name, share in (("quorum", self.quorum), ("threshold", self.threshold)):
            if not 0 <= share <= 1:
                raise ElectionInvalid(f"the {name} is {share}: it must be between 0 and 1")


MAJORITY = PolicyRule()
TWO_THIRDS = PolicyRule(threshold=Fraction(2, 3), above=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """How a yes-or-no vote ended.

    Attributes:
        yes: Members for it.
        no: Members against.
        abstain: Members who took part without a side.
        roll_size: Members who might have voted.
        quorum_votes: Votes needed for a quorum.
        quorum_reached: Whether enough took part.
        passed: Whether the proposal is accepted.
        reason: The same in a sentence.
    """

    yes: int
    no: int
    abstain: int
    roll_size: int
    quorum_votes: int
    quorum_reached: bool
    passed: bool
    reason: str


def quorum_votes(roll_size: int, quorum: Fraction) -> int:
    """Return the smallest number of votes that is at least this share of the roll."""
    return -(-(roll_size * quorum.numerator) // quorum.denominator)


def decide(choices: Mapping[str, Choice], roll: Roll, rule: PolicyRule = MAJORITY) -> PolicyResult:
    """Count a vote of named members on a frozen roll.

    Raises:
        BallotInvalid: Somebody voted who is not on the roll, or not yes, no or abstain.
    """
    strangers = sorted(choices.keys() - roll.member_ids)
    if strangers:
        raise BallotInvalid(f"{strangers[0]} is not on the roll of {roll.frozen_at.isoformat()}")
    return decide_anonymous(choices.values(), len(roll.member_ids), rule)


def decide_anonymous(
    choices: Iterable[str], roll_size: int, rule: PolicyRule = MAJORITY
) -> PolicyResult:
    """Count published ballots, of which only the roll's size is known.

    Raises:
        BallotInvalid: A choice is not yes, no or abstain, or there are more ballots than members.
    """
    counts = {"yes": 0, "no": 0, "abstain": 0}
    for choice in choices:
        if choice not in counts:
            raise BallotInvalid(f"a ballot says {choice!r}: it must be yes, no or abstain")
        counts[choice] += 1
    taking_part = sum(counts.values())
    if taking_part > roll_size:
        raise BallotInvalid(f"{taking_part} ballots from a roll of {roll_size}")
    needed = quorum_votes(roll_size, rule.quorum)
    sided = counts["yes"] + counts["no"]
    reached = counts["yes"] - rule.threshold * sided
    enough = sided > 0 and (reached > 0 if rule.above else reached >= 0)
    quorum_reached = taking_part >= needed
    if not quorum_reached:
        reason = f"no quorum: {taking_part} of {roll_size} took part, {needed} were needed"
    elif enough:
        reason = f"passed with {counts['yes']} of {sided} votes for or against"
    else:
        bar = "more than" if rule.above else "at least"
        reason = (
            f"failed: {counts['yes']} of {sided} votes for or against,"
            f" {bar} {rule.threshold} were needed"
        )
    return PolicyResult(
        yes=counts["yes"],
        no=counts["no"],
        abstain=counts["abstain"],
        roll_size=roll_size,
        quorum_votes=needed,
        quorum_reached=quorum_reached,
        passed=quorum_reached and enough,
        reason=reason,
    )
