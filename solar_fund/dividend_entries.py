"""The ledger entry of a project's returns, each amount citing its evidence."""

from solar_fund.dividends import ReturnsSplit
from solar_fund.ledger.accounts import (
    BANK,
    CAPITAL,
    COMMUNITY_POT,
    COSTS_PAYABLE,
    FUND_CASH,
    POCKET,
    PROJECT_VALUE,
    SINKING_FUND,
    WITHHOLDING,
    member_account,
)
from solar_fund.ledger.journal import EntryDraft, Leg


def returns_draft(split: ReturnsSplit, *, authorised_by: str | None = None) -> EntryDraft:
    """The entry of a split; principal and the fund's part move as cash to the fund."""
    project = split.project
    to_fund_cash_minor = split.principal_minor + split.to_fund_minor
    amounts = [
        (BANK, split.gross_minor - to_fund_cash_minor),
        (FUND_CASH, to_fund_cash_minor),
        (COSTS_PAYABLE, -split.running_costs_minor - split.debt_service_minor),
        (SINKING_FUND, -split.sinking_minor),
        (PROJECT_VALUE, -split.principal_minor),
        (COMMUNITY_POT, -split.community_minor),
        (WITHHOLDING, -sum(member.withheld_minor for member in split.members)),
    ]
    for member in split.members:
        pocket_minor = member.interest_minor - member.withheld_minor + member.pocket_minor
        amounts.append((member_account(POCKET, member.member_id), -pocket_minor))
        amounts.append((member_account(CAPITAL, member.member_id), -member.capital_minor))
    return EntryDraft(
        idempotency_key=f"returns:{project.project_id}:{project.period}",
        legs=tuple(
            Leg(
                account=account,
                amount_minor=amount_minor,
                currency=project.currency,
                evidence=project.evidence,
            )
            for account, amount_minor in amounts
            if amount_minor
        ),
        memo=f"Returns of {project.project_id} in {project.period}",
        evidence=(project.evidence,),
        authorised_by=authorised_by,
    )
