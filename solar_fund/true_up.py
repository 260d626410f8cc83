"""The true-up, twelve months later: what was held back is released, or covers what was too much.

The corrected savings are compared with the settled ones. If the corrected total is lower, the
hold-back pays the difference back to the supplier first, and what it cannot cover stands on the
equalisation account; nobody is asked to repay what was distributed. If it is higher, the supplier
owes the difference. What is released goes to capital and pockets by corrected gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from solar_fund.errors import DistributionRefused
from solar_fund.ledger.accounts import (
    CAPITAL,
    EQUALISATION,
    MEASUREMENT_RESERVE,
    POCKET,
    SUPPLIER_RECEIVABLE,
    member_account,
)
from solar_fund.ledger.journal import EntryDraft, Leg
from solar_fund.money import share_down, split_minor
from solar_fund.waterfall import MemberSaving, SavingsSplit, WaterfallParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTrueUp:
    """What a member gets from a true-up [minor units]."""

    member_id: str
    capital_minor: int
    pocket_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUp:
    """A period's true-up [minor units].

    `held_back_minor + extra_minor + deficit_minor` equals
    `paid_back_minor + to_capital_minor + to_pockets_minor`.

    Attributes:
        split: The settlement it corrects.
        evidence: Hash of the corrected report, SHA-256 in hexadecimal.
        held_back_minor: What was held back then.
        extra_minor: The supplier owes this, because savings were higher than settled.
        paid_back_minor: The supplier gets this, because savings were lower.
        deficit_minor: The part of it that the hold-back does not cover.
        to_capital_minor: Released to members' capital.
        to_pockets_minor: Released to members' pockets.
        members: One per member, in order of id.
    """

    split: SavingsSplit
    evidence: str
    held_back_minor: int
    extra_minor: int
    paid_back_minor: int
    deficit_minor: int
    to_capital_minor: int
    to_pockets_minor: int
    members: tuple[MemberTrueUp, ...]


def true_up(
    split: SavingsSplit,
    corrected: Sequence[MemberSaving],
    evidence: str,
    parameters: WaterfallParameters | None = None,
) -> TrueUp:
    """Compare corrected with settled savings and release the hold-back.

    Args:
        split: The settlement, as posted.
        corrected: Savings of the same members from the corrected report.
        evidence: Hash of that report, SHA-256 in hexadecimal.
        parameters: As voted for the settled period; None means the defaults.

    Raises:
        DistributionRefused: The members are not the same.
    """
    voted = WaterfallParameters() if parameters is None else parameters
    settled = {saving.member_id: saving.saving_minor for saving in split.settlement.savings}
    ordered = sorted(corrected, key=lambda saving: saving.member_id)
    if [saving.member_id for saving in ordered] != sorted(settled):
        raise DistributionRefused("a true-up must name the members of the settlement, each once")
    change_minor = sum(saving.saving_minor for saving in ordered) - sum(settled.values())
    extra_minor, paid_back_minor = max(change_minor, 0), max(-change_minor, 0)
    deficit_minor = max(paid_back_minor - split.held_back_minor, 0)
    released_minor = split.held_back_minor + extra_minor + deficit_minor - paid_back_minor
    gains = [max(saving.saving_minor, 0) for saving in ordered]
    weights = gains if any(gains) else [1] * len(gains)
    to_capital_minor = share_down(released_minor, voted.fund_share)
    to_pockets_minor = released_minor - to_capital_minor
    return TrueUp(
        split=split,
        evidence=evidence,
        held_back_minor=split.held_back_minor,
        extra_minor=extra_minor,
        paid_back_minor=paid_back_minor,
        deficit_minor=deficit_minor,
        to_capital_minor=to_capital_minor,
        to_pockets_minor=to_pockets_minor,
        members=tuple(
            MemberTrueUp(
                member_id=saving.member_id, capital_minor=capital_minor, pocket_minor=pocket_minor
            )
            for saving, capital_minor, pocket_minor in zip(
                ordered,
                split_minor(to_capital_minor, weights),
                split_minor(to_pockets_minor, weights),
                strict=True,
            )
        ),
    )


def true_up_draft(found: TrueUp, *, authorised_by: str | None = None) -> EntryDraft | None:
    """The adjusting entry; None when nothing was held back and nothing changed."""
    settlement = found.split.settlement
    amounts = [
        (MEASUREMENT_RESERVE, found.held_back_minor),
        (SUPPLIER_RECEIVABLE, found.extra_minor - found.paid_back_minor),
        (EQUALISATION, found.deficit_minor),
    ]
    for member in found.members:
        amounts.append((member_account(CAPITAL, member.member_id), -member.capital_minor))
        amounts.append((member_account(POCKET, member.member_id), -member.pocket_minor))
    legs = tuple(
        Leg(
            account=account,
            amount_minor=amount_minor,
            currency=settlement.currency,
            evidence=found.evidence,
        )
        for account, amount_minor in amounts
        if amount_minor
    )
    if not legs:
        return None
    return EntryDraft(
        idempotency_key=f"true-up:{settlement.period}",
        legs=legs,
        memo=f"True-up of {settlement.period}",
        evidence=(found.evidence,),
        authorised_by=authorised_by,
    )
