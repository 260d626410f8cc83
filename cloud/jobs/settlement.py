"""The order of a settlement, and how to run it again.

1. **Work out** each home's saving from its billing readings and tariffs (`savings.months`). Nothing
   is written; anybody of the board may look at what would be booked.
2. **Propose**: one person of the board writes the month down as a revision and fixes the figures.
3. **Book**: a second person signs for exactly these figures, and in the same transaction they are
   posted: the first revision by the voted split, a later one as a true-up, new entries only.
4. **Pay**: somebody of the board records the supplier's payment with the hash of the bank statement.
5. **Statement**: members are told, and see their part on their page.

Each step is one transaction, so a run that was interrupted goes on where it stopped: what is on
record says which step comes next. A month that is run again is worked out again; on the same
evidence nothing is added, and the answer says so. Late or corrected readings make a new revision,
whose difference to what was booked goes the same way, with the same two signatures.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import NotAllowed, NotFound, StateConflict
from cloud.fund import booking_record
from cloud.fund.bank_evidence import require_bank_evidence
from cloud.fund.booking_record import Booking, Proposal, SupplierPayment
from cloud.fund.settling import (
    Planned,
    parameters_as_text,
    post_planned,
    post_supplier_payment,
)
from cloud.jobs.settlement_run import (
    Costs,
    RunOfMonth,
    Stage,
    plan_again,
    plan_month,
    run_ahead,
    run_of,
)
from cloud.members.repository import people_of_household
from cloud.members.roles import Person, Role
from cloud.notices.ports import Letter
from cloud.notices.usecases import write_letter
from cloud.savings import repository as savings
from cloud.savings.months import WorkedOut, next_settlement, write_month
from cloud.savings.public_sums import public_sums
from cloud.savings.repository import Settlement
from cloud.transparency.usecases import record


def look_ahead(
    connection: Connection, worked: WorkedOut, costs: Costs, *, now: datetime
) -> RunOfMonth:
    """Show what would be booked for a month. Nothing is written.

    Raises:
        StateConflict: The month is not over, or it cannot be split.
    """
    _require_over(worked, now)
    newest = savings.newest_settlement(connection, worked.month.name)
    if newest is not None and newest.evidence_root == worked.root:
        found = run_of(connection, newest, now, adds_nothing=True)
        if found.stage in (Stage.BOOKED, Stage.PAID):
            return found
    settlement, is_new = (
        (newest, False)
        if newest is not None and newest.evidence_root == worked.root
        else (next_settlement(connection, worked, now=now), True)
    )
    planned = plan_month(
        connection, settlement, list(worked.savings), costs, sigma_minor=worked.sigma_minor, now=now
    )
    return run_ahead(
        settlement,
        planned,
        stage=Stage.WORKED_OUT if is_new else Stage.SETTLED,
        left_out=worked.left_out,
        kept=worked.kept,
    )


def propose(
    connection: Connection, worked: WorkedOut, costs: Costs, *, person: Person, now: datetime
) -> RunOfMonth:
    """Write a month down and propose to book it: the first of two signatures.

    Run again on the same evidence it adds nothing; with other costs, before it is booked, it
    replaces the proposal.

    Raises:
        NotAllowed: The person is not of the board.
        StateConflict: The month is not over, or it cannot be split.
    """
    _require_board(person)
    _require_over(worked, now)
    settlement, _ = write_month(connection, worked, now=now)
    if booking_record.booking_of(connection, settlement.settlement_number) is not None:
        return run_of(connection, settlement, now, adds_nothing=True)
    homes = savings.savings_of(connection, settlement.settlement_number)
    planned = plan_month(
        connection, settlement, homes, costs, sigma_minor=worked.sigma_minor, now=now
    )
    last = booking_record.newest_proposal(connection, settlement.settlement_number)
    if last is not None and last.figures_sha256 == planned.sha256:
        return run_of(connection, settlement, now, adds_nothing=True)
    booking_record.insert_proposal(
        connection,
        Proposal(
            proposal_number=0,
            settlement_number=settlement.settlement_number,
            costs_minor=costs.direct_minor,
            monthly_costs_minor=costs.usual_minor,
            sigma_minor=worked.sigma_minor,
            left_out=worked.left_out,
            figures_sha256=planned.sha256,
            person_id=person.person_id,
            at=now,
        ),
    )
    record(
        connection,
        kind="settlement.proposed",
        facts={
            "figures": planned.sha256,
            "month": settlement.month,
            "revision": settlement.revision,
            **public_sums(settlement.revision, saving_minor=settlement.saving_minor),
        },
        at=now,
    )
    return replace(run_of(connection, settlement, now), kept=worked.kept)


def book(
    connection: Connection,
    month: str,
    *,
    figures_sha256: str,
    person: Person,
    base_url: str,
    now: datetime,
) -> RunOfMonth:
    """Sign for proposed figures as the second person, and post them in the same transaction.

    Args:
        connection: A transaction that may write.
        month: `2026-10`.
        figures_sha256: Hash of the figures that were seen; others are not signed for.
        person: Who signs.
        base_url: Address of the members' pages, for the letter.
        now: The clock.

    Raises:
        NotAllowed: The person is not of the board, or proposed it.
        NotFound: The month was not settled.
        StateConflict: Nothing is proposed, it is booked already, or the figures are others.
    """
    _require_board(person)
    settlement = _newest(connection, month)
    number = settlement.settlement_number
    if booking_record.booking_of(connection, number) is not None:
        raise StateConflict(f"{month} revision {settlement.revision} is booked already")
    proposal = booking_record.newest_proposal(connection, number)
    if proposal is None:
        raise StateConflict(f"nothing is proposed for {month}; settle it first")
    if proposal.person_id == person.person_id:
        raise NotAllowed("you proposed these figures; a second member of the board has to sign")
    planned = plan_again(connection, settlement, proposal, now)
    if planned.sha256 != proposal.figures_sha256:
        raise StateConflict(
            "the books or the voted parameters have moved since this was proposed; settle the month "
            "again and look at the new figures"
        )
    if figures_sha256 != proposal.figures_sha256:
        raise StateConflict("these are not the figures that are proposed; load them again")
    post_planned(connection, planned, now=now)
    booking_record.insert_booking(
        connection,
        Booking(
            settlement_number=number,
            proposal_number=proposal.proposal_number,
            parameters_text=parameters_as_text(planned.parameters),
            receivable_minor=planned.receivable_minor,
            fund_minor=planned.fund_minor,
            held_back_minor=planned.held_back_minor,
            totals_text=json.dumps(planned.totals_minor),
            person_id=person.person_id,
            at=now,
        ),
    )
    _tell_members(connection, settlement, planned, base_url=base_url, now=now)
    return run_of(connection, settlement, now)


def record_payment(
    connection: Connection,
    month: str,
    revision: int,
    *,
    amount_minor: int,
    bank_evidence: str,
    person: Person,
    now: datetime,
) -> RunOfMonth:
    """Record the supplier's payment of a booked revision; the same again adds nothing.

    Args:
        connection: A transaction that may write.
        month: `2026-10`.
        revision: Which revision it pays.
        amount_minor: As the bank statement has it; negative went back to the supplier.
        bank_evidence: SHA-256 of the bank statement, hex.
        person: Who records it.
        now: The clock.

    Raises:
        NotAllowed: The person is not of the board.
        NotFound: There is no such revision.
        BadInput: The evidence is no hash.
        StateConflict: It is not booked, was paid otherwise, or another amount is owed.
    """
    _require_board(person)
    require_bank_evidence(bank_evidence)
    settlement = next(
        (one for one in savings.all_settlements(connection, month) if one.revision == revision),
        None,
    )
    if settlement is None:
        raise NotFound(f"settlement of {month} with revision {revision}")
    booking = booking_record.booking_of(connection, settlement.settlement_number)
    if booking is None:
        raise StateConflict(f"{month} revision {revision} is not booked, so nothing is owed for it")
    known = booking_record.payment_of(connection, settlement.settlement_number)
    if known is not None:
        if (known.amount_minor, known.bank_evidence) != (amount_minor, bank_evidence):
            raise StateConflict(
                f"{month} revision {revision} is paid already, by another statement"
            )
        return run_of(connection, settlement, now, adds_nothing=True)
    if amount_minor != booking.receivable_minor:
        raise StateConflict(
            f"{booking.receivable_minor} minor units are owed for {month} revision {revision}, not "
            f"{amount_minor}; a part cannot be recorded, ask the supplier for the rest first"
        )
    if booking.receivable_minor == 0 == booking.fund_minor:
        raise StateConflict(f"nothing is owed for {month} revision {revision}")
    post_supplier_payment(
        connection,
        settlement,
        receivable_minor=booking.receivable_minor,
        fund_minor=booking.fund_minor,
        bank_evidence=bank_evidence,
        now=now,
    )
    booking_record.insert_payment(
        connection,
        SupplierPayment(
            settlement_number=settlement.settlement_number,
            amount_minor=amount_minor,
            bank_evidence=bank_evidence,
            person_id=person.person_id,
            at=now,
        ),
    )
    return run_of(connection, settlement, now)


def _tell_members(
    connection: Connection,
    settlement: Settlement,
    planned: Planned,
    *,
    base_url: str,
    now: datetime,
) -> None:
    """A letter to the people of every home, without figures: those are on the page."""
    what = "was corrected" if planned.is_correction else "is settled"
    for saving in savings.savings_of(connection, settlement.settlement_number):
        for person in people_of_household(connection, saving.household):
            if person.email.endswith("@erased.invalid"):
                continue
            letter = Letter(
                to=person.email,
                subject=f"{settlement.month} {what}",
                text=(
                    f"{settlement.month} {what}. What your home saved and what was credited to you "
                    f"is on your page:\n\n{base_url}/home#benefits\n"
                ),
            )
            write_letter(connection, letter, now=now)


def _newest(connection: Connection, month: str) -> Settlement:
    settlement = savings.newest_settlement(connection, month)
    if settlement is None:
        raise NotFound(f"settlement of {month[:20]}")
    return settlement


def _require_over(worked: WorkedOut, now: datetime) -> None:
    if now < worked.month.end:
        raise StateConflict(f"{worked.month.name} is not over; settle it when it is")


def _require_board(person: Person) -> None:
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board settle a month")
