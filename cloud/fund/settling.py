"""A settled month in the books: planned first, so that people see what they sign, then posted.

The first booking of a month splits its savings by the voted parameters. A later revision of the
same month is a true-up: new entries for what changed, and never a change of what was posted. Homes
whose readings came too late for the first booking are split in the revision that has them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import StateConflict
from cloud.fund.usecases import ledger_in, parameters_in_force
from cloud.savings.public_sums import public_sums
from cloud.savings.repository import HomeSaving, Settlement
from cloud.transparency.usecases import record
from solar_fund.errors import FundError
from solar_fund.ledger.accounts import (
    CAPITAL,
    EQUALISATION,
    MEASUREMENT_RESERVE,
    RESERVE,
    SUPPLIER_RECEIVABLE,
    Account,
    standard_chart,
)
from solar_fund.ledger.journal import EntryDraft
from solar_fund.settlement_entries import (
    accounts_of_split,
    settlement_drafts,
    supplier_payment_of_period,
)
from solar_fund.true_up import true_up, true_up_draft
from solar_fund.waterfall import MemberSaving, SavingsSplit, WaterfallParameters, split_savings
from solar_fund.waterfall import Settlement as PeriodSettlement


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedMonth:
    """What was booked last for a month, as a correction needs to know it.

    Args:
        settlement: The revision that was booked.
        savings: Each home's saving in it.
        parameters: The parameters its split used.
        held_back_minor: Still held back for it [minor units].
    """

    settlement: Settlement
    savings: Sequence[HomeSaving]
    parameters: WaterfallParameters
    held_back_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Entries that are ready to be posted.

    Args:
        settlement: The revision they book.
        drafts: The entries; none if nothing changed in money.
        accounts: Accounts that must be open before.
        parameters: As voted, or for a correction as they were when the month was split.
        vote: Vote that set them; None before the first one.
        held_back_minor: Held back for the month once these are posted [minor units].
        is_correction: Whether an earlier revision was booked.
    """

    settlement: Settlement
    drafts: tuple[EntryDraft, ...]
    accounts: tuple[Account, ...]
    parameters: WaterfallParameters
    vote: str | None
    held_back_minor: int
    is_correction: bool

    @property
    def totals_minor(self) -> dict[str, int]:
        """Sum of all legs by account; members' sub-accounts are one sum [minor units]."""
        sums: dict[str, int] = {}
        for draft in self.drafts:
            for leg in draft.legs:
                name = ":".join(leg.account.split(":")[:2])
                sums[name] = sums.get(name, 0) + leg.amount_minor
        return {name: minor for name, minor in sorted(sums.items()) if minor}

    @property
    def receivable_minor(self) -> int:
        """What the supplier owes by it; negative when the supplier gets something back."""
        return self.totals_minor.get(SUPPLIER_RECEIVABLE, 0)

    @property
    def fund_minor(self) -> int:
        """What of it belongs to the solar fund [minor units]."""
        return -self.totals_minor.get(CAPITAL, 0)

    @property
    def sha256(self) -> str:
        """Hash over every leg, hex: what two people sign for."""
        legs = [
            [draft.idempotency_key, [leg.as_list() for leg in draft.legs]] for draft in self.drafts
        ]
        text = json.dumps([self.settlement.evidence_root, legs], separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def plan_split(
    connection: Connection,
    settlement: Settlement,
    savings: Iterable[HomeSaving],
    *,
    costs_minor: int,
    monthly_costs_minor: int,
    sigma_minor: int = 0,
    now: datetime,
) -> tuple[Planned, SavingsSplit]:
    """Split a settled month by the parameters that the members decided last. Nothing is posted.

    Args:
        connection: Where the books are; nothing is written.
        settlement: The month.
        savings: What each home saved.
        costs_minor: Direct costs of the month [minor units].
        monthly_costs_minor: Usual costs of a month, for the reserve's target [minor units].
        sigma_minor: What of the saving is uncertain [minor units].
        now: The clock.

    Raises:
        StateConflict: It cannot be split.
    """
    ledger = ledger_in(connection, now)
    parameters, voted = parameters_in_force(connection, now)
    currency = settlement.currency
    try:
        period = _period(
            settlement,
            savings,
            costs_minor=costs_minor,
            sigma_minor=sigma_minor,
            # Losses that no gain has made up for yet stand on this account: the high-water mark.
            carried_loss_minor=max(ledger.balance(EQUALISATION, currency).posted_minor, 0),
            reserve_minor=-ledger.balance(RESERVE, currency).posted_minor,
            monthly_costs_minor=monthly_costs_minor,
        )
        split = split_savings(period, parameters)
        vote = voted.election_id if voted else None
        drafts = tuple(settlement_drafts(split, authorised_by=vote))
    except FundError as fault:
        raise StateConflict(f"{settlement.month} cannot be split: {fault}") from fault
    planned = Planned(
        settlement=settlement,
        drafts=drafts,
        accounts=accounts_of_split(split),
        parameters=parameters,
        vote=vote,
        held_back_minor=split.held_back_minor,
        is_correction=False,
    )
    return planned, split


def plan_correction(
    connection: Connection,
    earlier: BookedMonth,
    settlement: Settlement,
    savings: Sequence[HomeSaving],
    *,
    monthly_costs_minor: int,
    now: datetime,
) -> Planned:
    """Work out the new entries by which a booked month becomes a later revision of it.

    The hold-back stays until no interval is an estimate any more. Homes that were not in the
    earlier revision get their split of their own.

    Args:
        connection: Where the books are; nothing is written.
        earlier: What was booked last.
        settlement: The later revision.
        savings: Each home's saving in it; holds every home of the earlier one.
        monthly_costs_minor: Usual costs of a month, for the reserve's target [minor units].
        now: The clock.

    Raises:
        StateConflict: The revisions do not fit.
    """
    known = {saving.household for saving in earlier.savings}
    late = [saving for saving in savings if saving.household not in known]
    is_final = not any(saving.estimated_intervals for saving in savings)
    released_minor = earlier.held_back_minor if is_final else 0
    try:
        settled = split_savings(_period(earlier.settlement, earlier.savings), earlier.parameters)
        found = true_up(
            replace(settled, held_back_minor=released_minor),
            [_member(saving) for saving in savings if saving.household in known],
            settlement.evidence_root,
            earlier.parameters,
        )
        draft = true_up_draft(found)
    except FundError as fault:
        raise StateConflict(f"{settlement.month} cannot be trued up: {fault}") from fault
    planned = Planned(
        settlement=settlement,
        drafts=(draft,) if draft else (),
        accounts=accounts_of_split(settled),
        parameters=earlier.parameters,
        vote=None,
        held_back_minor=earlier.held_back_minor - released_minor,
        is_correction=True,
    )
    if not late:
        return planned
    added, _split = plan_split(
        connection,
        settlement,
        late,
        costs_minor=0,
        monthly_costs_minor=monthly_costs_minor,
        now=now,
    )
    return replace(
        planned,
        drafts=planned.drafts + added.drafts,
        accounts=planned.accounts + added.accounts,
        vote=added.vote,
    )


def post_planned(connection: Connection, planned: Planned, *, now: datetime) -> None:
    """Post what was planned, each leg citing its evidence, and put the ledger's head in the log.

    Raises:
        StateConflict: It was booked with other figures, or a rule of the ledger refuses it.
    """
    ledger = ledger_in(connection, now)
    settlement = planned.settlement
    try:
        ledger.open_accounts([*standard_chart(settlement.currency), *planned.accounts])
        ledger.post_entries(planned.drafts)
    except FundError as fault:
        raise StateConflict(f"{settlement.month} cannot be booked: {fault}") from fault
    head = ledger.chain_head()
    totals = planned.totals_minor
    record(
        connection,
        kind="ledger.trued_up" if planned.is_correction else "ledger.settled",
        facts={
            "ledger_head": head.hash,
            "ledger_size": head.seq,
            "month": settlement.month,
            "parameters_vote": planned.vote,
            "revision": settlement.revision,
            **public_sums(
                settlement.revision,
                fund_minor=planned.fund_minor,
                held_back_minor=-totals.get(MEASUREMENT_RESERVE, 0),
                receivable_minor=planned.receivable_minor,
            ),
        },
        at=now,
    )


def post_supplier_payment(
    connection: Connection,
    settlement: Settlement,
    *,
    receivable_minor: int,
    fund_minor: int,
    bank_evidence: str,
    now: datetime,
) -> None:
    """Book that the supplier paid what a booking made it owe; the fund's part goes to its cash.

    Args:
        connection: The caller's transaction.
        settlement: The revision that was booked.
        receivable_minor: What the booking made the supplier owe; negative is paid back to it.
        fund_minor: What of it belongs to the solar fund [minor units].
        bank_evidence: Hash of the bank statement, SHA-256 in hex.
        now: The clock.

    Raises:
        StateConflict: It was booked from another statement, or a rule of the ledger refuses it.
    """
    draft = supplier_payment_of_period(
        period_name(settlement),
        settlement.currency,
        receivable_minor=receivable_minor,
        fund_minor=fund_minor,
        bank_evidence=bank_evidence,
    )
    ledger = ledger_in(connection, now)
    try:
        ledger.open_accounts(standard_chart(settlement.currency))
        ledger.post_entry(draft)
    except FundError as fault:
        raise StateConflict(f"the payment cannot be booked: {fault}") from fault
    head = ledger.chain_head()
    record(
        connection,
        kind="supplier.paid",
        facts={
            "bank_evidence": bank_evidence,
            "ledger_head": head.hash,
            "ledger_size": head.seq,
            "month": settlement.month,
            "revision": settlement.revision,
            **public_sums(settlement.revision, receivable_minor=receivable_minor),
        },
        at=now,
    )


def period_name(settlement: Settlement) -> str:
    """Name of a revision in the ledger's keys, such as `2026-10r1`."""
    return f"{settlement.month}r{settlement.revision}"


def parameters_as_text(parameters: WaterfallParameters) -> str:
    """Parameters as they are kept with a booking."""
    return json.dumps({name: str(share) for name, share in asdict(parameters).items()})


def _period(
    settlement: Settlement, savings: Iterable[HomeSaving], **state_minor: int
) -> PeriodSettlement:
    return PeriodSettlement(
        period=period_name(settlement),
        currency=settlement.currency,
        savings=tuple(_member(saving) for saving in savings),
        evidence=settlement.evidence_root,
        **state_minor,
    )


def _member(saving: HomeSaving) -> MemberSaving:
    return MemberSaving(
        member_id=saving.household, saving_minor=saving.saving_minor, evidence=saving.evidence
    )
