"""Fees of data requests: they enter by the same door as savings and go down the same waterfall."""

from collections.abc import Sequence

from solar_fund.ledger.accounts import BANK, DATA_INCOME, FUND_CASH
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.money import Money
from solar_fund.waterfall import MemberSaving, SavingsSplit, Settlement


def data_income_settlement(
    request_id: str, fee: Money, member_ids: Sequence[str], evidence: str
) -> Settlement:
    """A settlement of a fee: every consenting household counts the same.

    Post its entries with `settlement_drafts(split, source_account=DATA_INCOME)`.

    Args:
        request_id: Of the data request.
        fee: What the requester pays, positive.
        member_ids: Households whose data were in the release.
        evidence: Hash of the release, SHA-256 in hexadecimal.
    """
    ordered = sorted(member_ids)
    parts = fee.split([1] * len(ordered))
    return Settlement(
        period=f"data-{request_id}",
        currency=fee.currency,
        savings=tuple(
            MemberSaving(member_id=member_id, saving_minor=part.amount_minor, evidence=evidence)
            for member_id, part in zip(ordered, parts, strict=True)
        ),
        evidence=evidence,
    )


def data_fee_draft(request_id: str, fee: Money, evidence: str) -> EntryDraft:
    """The entry for a fee that reached the bank account."""
    return EntryDraft(
        idempotency_key=f"data-fee:{request_id}",
        legs=(debit(BANK, fee, evidence), credit(DATA_INCOME, fee, evidence)),
        memo=f"Fee of data request {request_id}",
        evidence=(evidence,),
    )


def data_fund_draft(request_id: str, split: SavingsSplit, evidence: str) -> EntryDraft | None:
    """The entry that moves the fund's part of a fee from the bank account to the fund's cash.

    Args:
        request_id: Of the data request.
        split: The fee's split; members hold its fund part as capital.
        evidence: Hash of the bank statement, SHA-256 in hexadecimal.

    Returns:
        None if the fund has no part in it.
    """
    if not split.fund_minor:
        return None
    part = Money(split.fund_minor, split.settlement.currency)
    return EntryDraft(
        idempotency_key=f"data-fund:{request_id}",
        legs=(debit(FUND_CASH, part, evidence), credit(BANK, part, evidence)),
        memo=f"The fund's part of data request {request_id}",
        evidence=(evidence,),
    )
