"""What a released request pays: by the same door as savings, down the same waterfall."""

from __future__ import annotations

import itertools
import re
from datetime import datetime

from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.proposal import State
from cloud.data_requests.usecases import find_proposal, log_step, text_of
from cloud.errors import BadInput, StateConflict
from cloud.fund.usecases import ledger_in, parameters_in_force
from cloud.profiles.repository import homes_charged
from solar_fund.data_income import data_fee_draft, data_fund_draft, data_income_settlement
from solar_fund.errors import FundError
from solar_fund.ledger.accounts import (
    CAPITAL,
    DATA_INCOME,
    POCKET,
    member_account,
    standard_chart,
)
from solar_fund.money import Money
from solar_fund.settlement_entries import accounts_of_split, settlement_drafts
from solar_fund.waterfall import SavingsSplit, split_savings

_SHA256 = re.compile(r"[0-9a-f]{64}")


def book_fee(
    connection: Connection, proposal_id: str, *, bank_evidence: str, currency: str, now: datetime
) -> SavingsSplit:
    """Book the fee of a released request, the same part for every home whose data were in it.

    Args:
        connection: A transaction that may write.
        proposal_id: Which request.
        bank_evidence: SHA-256 of the bank statement that shows the fee, hex.
        currency: ISO 4217 code of the co-op's money.
        now: The time.

    Raises:
        NotFound: There is no such proposal.
        BadInput: The evidence is no SHA-256.
        StateConflict: Nothing was released, nothing is owed, or it was booked before.
    """
    proposal = find_proposal(connection, proposal_id)
    if not _SHA256.fullmatch(bank_evidence):
        raise BadInput("bank_evidence is the SHA-256 of the bank statement, 64 hex digits")
    text = text_of(proposal)
    if proposal.state is not State.RELEASED or proposal.release_no is None:
        raise StateConflict(f"a proposal that is {proposal.state} owes no fee yet")
    if proposal.fee_booked_at is not None or text.price_minor == 0:
        raise StateConflict("the fee was booked before, or none was agreed")
    homes = homes_charged(connection, proposal.release_no)
    if not homes:
        raise StateConflict("every home whose data were in it was erased; place the fee by hand")
    output = proposal.output_sha256 or ""
    fee = Money(text.price_minor, currency)
    parameters, voted = parameters_in_force(connection, now)
    ledger = ledger_in(connection, now)
    try:
        split = split_savings(data_income_settlement(proposal_id, fee, homes, output), parameters)
        ledger.open_accounts([*standard_chart(currency), *accounts_of_split(split)])
        ledger.post_entry(data_fee_draft(proposal_id, fee, bank_evidence))
        ledger.post_entries(
            settlement_drafts(
                split,
                source_account=DATA_INCOME,
                authorised_by=voted.election_id if voted else proposal.election_id,
                memo=f"Fee of data request {proposal_id}",
            )
        )
        to_fund = data_fund_draft(proposal_id, split, bank_evidence)
        if to_fund is not None:
            ledger.post_entry(to_fund)
    except FundError as fault:
        raise StateConflict(f"the fee cannot be booked: {fault}") from fault
    repository.note(connection, proposal_id, fee_booked_at=now)
    head = ledger.chain_head()
    log_step(
        connection,
        "proposal.paid",
        proposal,
        now,
        fee_minor=text.price_minor,
        fund_minor=split.fund_minor,
        homes=len(homes),
        ledger_head=head.hash,
        ledger_size=head.seq,
        pocket_minor=split.pocket_minor,
    )
    return split


def earned_by(connection: Connection, proposal_id: str, household: str, now: datetime) -> int:
    """What a request earned a home, pocket and capital together, from the books [minor units]."""
    ledger = ledger_in(connection, now)
    own = {member_account(parent, household) for parent in (POCKET, CAPITAL)}
    earned_minor = 0
    for number in itertools.count(1):
        record = ledger.record_of_key(f"settlement:data-{proposal_id}:{number}")
        if record is None:
            return earned_minor
        earned_minor -= sum(leg.amount_minor for leg in record.legs if leg.account in own)
    return earned_minor
