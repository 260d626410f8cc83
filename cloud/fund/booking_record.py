"""Tables of what was proposed, signed and paid for each settled month; rows are only added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    Row,
    String,
    Table,
    Text,
    select,
)

from cloud.database import UtcTime, metadata
from cloud.savings.repository import settlements

settlement_proposals = Table(
    "settlement_proposals",
    metadata,
    Column("proposal_number", Integer, primary_key=True, autoincrement=True),
    Column(
        "settlement_number",
        ForeignKey("settlements.settlement_number"),
        nullable=False,
        index=True,
    ),
    Column("costs_minor", BigInteger, nullable=False),
    Column("monthly_costs_minor", BigInteger, nullable=False),
    Column("sigma_minor", BigInteger, nullable=False),
    Column("left_out", Integer, nullable=False),
    Column("figures_sha256", String(64), nullable=False),
    Column("person_id", ForeignKey("people.person_id"), nullable=False),
    Column("at", UtcTime, nullable=False),
)

settlement_bookings = Table(
    "settlement_bookings",
    metadata,
    Column("settlement_number", ForeignKey("settlements.settlement_number"), primary_key=True),
    Column("proposal_number", ForeignKey("settlement_proposals.proposal_number"), nullable=False),
    Column("parameters_text", Text, nullable=False),
    Column("receivable_minor", BigInteger, nullable=False),
    Column("fund_minor", BigInteger, nullable=False),
    Column("held_back_minor", BigInteger, nullable=False),
    Column("totals_text", Text, nullable=False),
    Column("person_id", ForeignKey("people.person_id"), nullable=False),
    Column("at", UtcTime, nullable=False),
)

supplier_payments = Table(
    "supplier_payments",
    metadata,
    Column("settlement_number", ForeignKey("settlements.settlement_number"), primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("bank_evidence", String(64), nullable=False),
    Column("person_id", ForeignKey("people.person_id"), nullable=False),
    Column("at", UtcTime, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What one person of the board proposed to book: the first of two signatures.

    Args:
        proposal_number: Its number.
        settlement_number: Which revision of which month.
        costs_minor: Direct costs of the month [minor units].
        monthly_costs_minor: Usual costs of a month [minor units].
        sigma_minor: What of the saving is uncertain [minor units].
        left_out: Homes that were not settled, for want of readings.
        figures_sha256: Hash over every leg that would be posted, hex.
        person_id: Who proposed.
        at: When.
    """

    proposal_number: int
    settlement_number: int
    costs_minor: int
    monthly_costs_minor: int
    sigma_minor: int
    left_out: int
    figures_sha256: str
    person_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """A revision that two people signed and that is in the books.

    Args:
        settlement_number: Which.
        proposal_number: What was signed.
        parameters_text: Parameters of its split, JSON.
        receivable_minor: What the supplier owes by it [minor units].
        fund_minor: What of it belongs to the solar fund [minor units].
        held_back_minor: Still held back for the month after it [minor units].
        totals_text: Sums by account, JSON.
        person_id: Who signed second.
        at: When.
    """

    settlement_number: int
    proposal_number: int
    parameters_text: str
    receivable_minor: int
    fund_minor: int
    held_back_minor: int
    totals_text: str
    person_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierPayment:
    """A payment of the supplier as the bank statement has it.

    Args:
        settlement_number: For which revision.
        amount_minor: How much; negative went back to the supplier [minor units].
        bank_evidence: Hash of the bank statement, hex.
        person_id: Who recorded it.
        at: When.
    """

    settlement_number: int
    amount_minor: int
    bank_evidence: str
    person_id: str
    at: datetime


def insert_proposal(connection: Connection, proposal: Proposal) -> int:
    """Add a proposal; returns its number."""
    number = connection.execute(
        settlement_proposals.insert()
        .values(
            settlement_number=proposal.settlement_number,
            costs_minor=proposal.costs_minor,
            monthly_costs_minor=proposal.monthly_costs_minor,
            sigma_minor=proposal.sigma_minor,
            left_out=proposal.left_out,
            figures_sha256=proposal.figures_sha256,
            person_id=proposal.person_id,
            at=proposal.at,
        )
        .returning(settlement_proposals.c.proposal_number)
    ).scalar_one()
    return int(number)


def newest_proposal(connection: Connection, settlement_number: int) -> Proposal | None:
    """What was proposed last for a revision."""
    row = connection.execute(
        select(settlement_proposals)
        .where(settlement_proposals.c.settlement_number == settlement_number)
        .order_by(settlement_proposals.c.proposal_number.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _proposal(row)


def proposal_of(connection: Connection, booking: Booking) -> Proposal:
    """What a booking carried out."""
    row = connection.execute(
        select(settlement_proposals).where(
            settlement_proposals.c.proposal_number == booking.proposal_number
        )
    ).one()
    return _proposal(row)


def insert_booking(connection: Connection, booking: Booking) -> None:
    """Add a booking."""
    connection.execute(
        settlement_bookings.insert().values(
            settlement_number=booking.settlement_number,
            proposal_number=booking.proposal_number,
            parameters_text=booking.parameters_text,
            receivable_minor=booking.receivable_minor,
            fund_minor=booking.fund_minor,
            held_back_minor=booking.held_back_minor,
            totals_text=booking.totals_text,
            person_id=booking.person_id,
            at=booking.at,
        )
    )


def booking_of(connection: Connection, settlement_number: int) -> Booking | None:
    """The booking of a revision."""
    row = connection.execute(
        select(settlement_bookings).where(
            settlement_bookings.c.settlement_number == settlement_number
        )
    ).one_or_none()
    return None if row is None else _booking(row)


def newest_booking(connection: Connection, month: str) -> Booking | None:
    """What was booked last for a month."""
    row = connection.execute(
        select(settlement_bookings)
        .join(
            settlements,
            settlements.c.settlement_number == settlement_bookings.c.settlement_number,
        )
        .where(settlements.c.month == month)
        .order_by(settlements.c.revision.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _booking(row)


def is_booked(connection: Connection, month: str, revision: int) -> bool:
    """Whether a revision of a month is in the books."""
    found = connection.execute(
        select(settlement_bookings.c.settlement_number)
        .join(
            settlements,
            settlements.c.settlement_number == settlement_bookings.c.settlement_number,
        )
        .where(settlements.c.month == month, settlements.c.revision == revision)
    ).one_or_none()
    return found is not None


def insert_payment(connection: Connection, payment: SupplierPayment) -> None:
    """Add a payment."""
    connection.execute(
        supplier_payments.insert().values(
            settlement_number=payment.settlement_number,
            amount_minor=payment.amount_minor,
            bank_evidence=payment.bank_evidence,
            person_id=payment.person_id,
            at=payment.at,
        )
    )


def payment_of(connection: Connection, settlement_number: int) -> SupplierPayment | None:
    """The supplier's payment for a revision."""
    row = connection.execute(
        select(supplier_payments).where(supplier_payments.c.settlement_number == settlement_number)
    ).one_or_none()
    if row is None:
        return None
    return SupplierPayment(
        settlement_number=row.settlement_number,
        amount_minor=row.amount_minor,
        bank_evidence=row.bank_evidence,
        person_id=row.person_id,
        at=row.at,
    )


def _proposal(row: Row[tuple[object, ...]]) -> Proposal:
    return Proposal(
        proposal_number=row.proposal_number,
        settlement_number=row.settlement_number,
        costs_minor=row.costs_minor,
        monthly_costs_minor=row.monthly_costs_minor,
        sigma_minor=row.sigma_minor,
        left_out=row.left_out,
        figures_sha256=row.figures_sha256,
        person_id=row.person_id,
        at=row.at,
    )


def _booking(row: Row[tuple[object, ...]]) -> Booking:
    return Booking(
        settlement_number=row.settlement_number,
        proposal_number=row.proposal_number,
        parameters_text=row.parameters_text,
        receivable_minor=row.receivable_minor,
        fund_minor=row.fund_minor,
        held_back_minor=row.held_back_minor,
        totals_text=row.totals_text,
        person_id=row.person_id,
        at=row.at,
    )
