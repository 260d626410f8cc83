"""The ledger entries of a period's split, each amount citing its evidence."""

from collections.abc import Sequence

from solar_fund.ledger.accounts import (
    BANK,
    CAPITAL,
    COSTS_PAYABLE,
    EQUALISATION,
    FUND_CASH,
    MEASUREMENT_RESERVE,
    POCKET,
    RESERVE,
    SETTLEMENT_CLEARING,
    SUPPLIER_RECEIVABLE,
    Account,
    member_account,
    member_chart,
    standard_chart,
)
from solar_fund.ledger.journal import EntryDraft, Leg
from solar_fund.waterfall import MemberShare, SavingsSplit

MEMBERS_PER_ENTRY = 2_500


def accounts_of_split(split: SavingsSplit) -> tuple[Account, ...]:
    """The accounts that must be open before the entries of a split are posted."""
    currency = split.settlement.currency
    members = (
        account for share in split.members for account in member_chart(share.member_id, currency)
    )
    return (*standard_chart(currency), *members)


def settlement_drafts(
    split: SavingsSplit,
    *,
    source_account: str = SUPPLIER_RECEIVABLE,
    authorised_by: str | None = None,
    memo: str = "",
) -> list[EntryDraft]:
    """The entries that put a split into the books; post them together.

    Up to `MEMBERS_PER_ENTRY` members make one entry. More go through the settlement clearing
    account, which the entries together bring back to zero.

    Args:
        split: Made by `split_savings`.
        source_account: Where the pool comes from: the supplier's debt, or the income of data
            requests.
        authorised_by: Id of the vote that set the parameters.
        memo: What a person should read; empty means the savings of the period.
    """
    settlement = split.settlement
    pool_legs = _legs(
        settlement.currency,
        settlement.evidence,
        [
            (source_account, split.gains_minor),
            (EQUALISATION, split.deficit_minor - split.repaid_loss_minor),
            (MEASUREMENT_RESERVE, -split.held_back_minor),
            (COSTS_PAYABLE, -split.costs_minor),
            (RESERVE, -split.reserve_minor),
        ],
    )
    chunks = [
        split.members[start : start + MEMBERS_PER_ENTRY]
        for start in range(0, len(split.members), MEMBERS_PER_ENTRY)
    ]
    member_legs = [
        [leg for share in chunk for leg in _member_legs(share, settlement.currency)]
        for chunk in chunks
    ]
    if len(chunks) == 1:
        legs_of_entries = [[*pool_legs, *member_legs[0]]]
    else:
        cleared = [-sum(leg.amount_minor for leg in legs) for legs in member_legs]
        to_clearing = _legs(
            settlement.currency, settlement.evidence, [(SETTLEMENT_CLEARING, -sum(cleared))]
        )
        legs_of_entries = [[*pool_legs, *to_clearing]]
        for legs, cleared_minor in zip(member_legs, cleared, strict=True):
            from_clearing = _legs(
                settlement.currency, settlement.evidence, [(SETTLEMENT_CLEARING, cleared_minor)]
            )
            legs_of_entries.append([*from_clearing, *legs])
    return [
        EntryDraft(
            idempotency_key=f"settlement:{settlement.period}:{number}",
            legs=tuple(legs),
            memo=memo or f"Savings of {settlement.period}",
            evidence=(settlement.evidence,),
            authorised_by=authorised_by,
        )
        for number, legs in enumerate(legs_of_entries, start=1)
        if legs
    ]


def supplier_payment_draft(split: SavingsSplit, *, bank_evidence: str) -> EntryDraft:
    """The supplier's payment of a settled pool: the fund's part to the fund's cash, rest to bank.

    Args:
        split: The settled period; its gains must be positive.
        bank_evidence: Hash of the bank statement, SHA-256 in hexadecimal.
    """
    return supplier_payment_of_period(
        split.settlement.period,
        split.settlement.currency,
        receivable_minor=split.gains_minor,
        fund_minor=split.fund_minor,
        bank_evidence=bank_evidence,
    )


def supplier_payment_of_period(
    period: str, currency: str, *, receivable_minor: int, fund_minor: int, bank_evidence: str
) -> EntryDraft:
    """The payment that settles what a split or a true-up made the supplier owe.

    Args:
        period: Name of the period, as the split or true-up has it.
        currency: Code of ISO 4217.
        receivable_minor: What the supplier owes; negative is paid back to it [minor units].
        fund_minor: What of it belongs to the fund's cash [minor units].
        bank_evidence: Hash of the bank statement, SHA-256 in hexadecimal.
    """
    legs = _legs(
        currency,
        bank_evidence,
        [
            (FUND_CASH, fund_minor),
            (BANK, receivable_minor - fund_minor),
            (SUPPLIER_RECEIVABLE, -receivable_minor),
        ],
    )
    return EntryDraft(
        idempotency_key=f"supplier-payment:{period}",
        legs=tuple(legs),
        memo=f"Supplier pays the savings of {period}",
        evidence=(bank_evidence,),
    )


def _member_legs(share: MemberShare, currency: str) -> list[Leg]:
    pocket_minor = share.pocket_minor + share.made_whole_minor
    return _legs(
        currency,
        share.evidence,
        [
            (member_account(POCKET, share.member_id), -pocket_minor),
            (member_account(CAPITAL, share.member_id), -share.capital_minor),
        ],
    )


def _legs(currency: str, evidence: str, amounts: Sequence[tuple[str, int]]) -> list[Leg]:
    return [
        Leg(account=account, amount_minor=amount_minor, currency=currency, evidence=evidence)
        for account, amount_minor in amounts
        if amount_minor
    ]
