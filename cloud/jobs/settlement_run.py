"""How far a month has come on its way into the books, from what is on record. Nothing is written."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotFound
from cloud.fund import booking_record
from cloud.fund.booking_record import Proposal
from cloud.fund.settling import BookedMonth, Planned, plan_correction, plan_split
from cloud.members.repository import person_by_id
from cloud.savings import repository as savings
from cloud.savings.repository import HomeSaving, Settlement
from solar_fund.ledger.accounts import CAPITAL, POCKET
from solar_fund.money import AMOUNT_MINOR_MAX
from solar_fund.waterfall import WaterfallParameters


class Stage(enum.StrEnum):
    """How far a revision of a month has come."""

    WORKED_OUT = "worked_out"
    SETTLED = "settled"
    PROPOSED = "proposed"
    BOOKED = "booked"
    PAID = "paid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What the board enters for a month [minor units].

    Args:
        direct_minor: Direct costs of the month: metering, licences, bank.
        usual_minor: Usual costs of a month, for the reserve's target.
    """

    direct_minor: int
    usual_minor: int

    def __post_init__(self) -> None:
        for name in ("direct_minor", "usual_minor"):
            if not 0 <= getattr(self, name) <= AMOUNT_MINOR_MAX:
                raise BadInput(
                    f"the costs of a month are at least 0 and at most {AMOUNT_MINOR_MAX} minor units",
                    faults=(FieldFault(pointer=f"/{name}", problem="is outside"),),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOfMonth:
    """A month on its way into the books, in sums over homes only.

    Args:
        month: `2026-10`.
        revision: 1 at first; corrections are the next ones.
        stage: How far it has come.
        adds_nothing: Whether this run found the evidence of the newest revision unchanged.
        currency: ISO 4217 code.
        saving_minor: Of all homes together [minor units].
        homes: How many.
        left_out: Homes left out for want of readings.
        kept: Homes that keep what they were settled on, because their readings are gone.
        evidence_root: Hash over every home's evidence.
        is_correction: Whether an earlier revision was booked.
        totals_minor: What is or would be posted, by account; debits are positive [minor units].
        figures_sha256: Hash over every leg: what is signed for.
        receivable_minor: What the supplier owes by it [minor units].
        vote: Vote that set the parameters.
        proposed_by: Name of who proposed it.
        signed_by: Name of who signed second.
        booked_at: When it was booked.
        paid_at: When the supplier's payment was recorded.
    """

    month: str
    revision: int
    stage: Stage
    adds_nothing: bool
    currency: str
    saving_minor: int
    homes: int
    left_out: int
    kept: int
    evidence_root: str
    is_correction: bool
    totals_minor: Mapping[str, int]
    figures_sha256: str
    receivable_minor: int
    vote: str | None = None
    proposed_by: str | None = None
    signed_by: str | None = None
    booked_at: datetime | None = None
    paid_at: datetime | None = None

    @property
    def fund_minor(self) -> int:
        """To the solar fund, as members' capital [minor units]."""
        return -self.totals_minor.get(CAPITAL, 0)

    @property
    def pocket_minor(self) -> int:
        """To members' pockets [minor units]."""
        return -self.totals_minor.get(POCKET, 0)


def runs_of(connection: Connection, now: datetime, month: str | None = None) -> list[RunOfMonth]:
    """How far every revision has come, of a month or of all, newest first."""
    return [
        run_of(connection, settlement, now)
        for settlement in savings.all_settlements(connection, month)
    ]


def plan_month(
    connection: Connection,
    settlement: Settlement,
    homes: list[HomeSaving],
    costs: Costs,
    *,
    sigma_minor: int,
    now: datetime,
) -> Planned:
    """The entries of a revision: a split, or a true-up if the month was booked before.

    Raises:
        StateConflict: It cannot be split or trued up.
    """
    earlier = _booked_before(connection, settlement)
    if earlier is not None:
        return plan_correction(
            connection,
            earlier,
            settlement,
            homes,
            monthly_costs_minor=costs.usual_minor,
            now=now,
        )
    planned, _split = plan_split(
        connection,
        settlement,
        homes,
        costs_minor=costs.direct_minor,
        monthly_costs_minor=costs.usual_minor,
        sigma_minor=sigma_minor,
        now=now,
    )
    return planned


def plan_again(
    connection: Connection, settlement: Settlement, proposal: Proposal, now: datetime
) -> Planned:
    """The entries of a proposed revision as the books and parameters are now."""
    return plan_month(
        connection,
        settlement,
        savings.savings_of(connection, settlement.settlement_number),
        Costs(direct_minor=proposal.costs_minor, usual_minor=proposal.monthly_costs_minor),
        sigma_minor=proposal.sigma_minor,
        now=now,
    )


def _booked_before(connection: Connection, settlement: Settlement) -> BookedMonth | None:
    booking = booking_record.newest_booking(connection, settlement.month)
    if booking is None:
        return None
    earlier = savings.settlement_row(connection, booking.settlement_number)
    if earlier is None:
        raise NotFound(f"settlement {booking.settlement_number}")
    kept: dict[str, str] = json.loads(booking.parameters_text)
    return BookedMonth(
        settlement=earlier,
        savings=savings.savings_of(connection, earlier.settlement_number),
        parameters=WaterfallParameters(**{name: Decimal(text) for name, text in kept.items()}),
        held_back_minor=booking.held_back_minor,
    )


def run_of(
    connection: Connection, settlement: Settlement, now: datetime, *, adds_nothing: bool = False
) -> RunOfMonth:
    """How far a revision has come, from what is on record."""
    number = settlement.settlement_number
    booking = booking_record.booking_of(connection, number)
    proposal = (
        booking_record.newest_proposal(connection, number)
        if booking is None
        else booking_record.proposal_of(connection, booking)
    )
    payment = booking_record.payment_of(connection, number)
    shown = RunOfMonth(
        month=settlement.month,
        revision=settlement.revision,
        stage=Stage.SETTLED,
        adds_nothing=adds_nothing,
        currency=settlement.currency,
        saving_minor=settlement.saving_minor,
        homes=settlement.homes,
        left_out=proposal.left_out if proposal else 0,
        kept=0,
        evidence_root=settlement.evidence_root,
        is_correction=False,
        totals_minor={},
        figures_sha256=proposal.figures_sha256 if proposal else "",
        receivable_minor=0,
        proposed_by=_name(connection, proposal.person_id) if proposal else None,
    )
    if booking is not None:
        return replace(
            shown,
            stage=Stage.PAID if payment else Stage.BOOKED,
            is_correction=_was_correction(connection, settlement),
            totals_minor=json.loads(booking.totals_text),
            receivable_minor=booking.receivable_minor,
            signed_by=_name(connection, booking.person_id),
            booked_at=booking.at,
            paid_at=payment.at if payment else None,
        )
    newest = savings.newest_settlement(connection, settlement.month)
    if proposal is None or newest is None or newest.settlement_number != number:
        return shown
    planned = plan_again(connection, settlement, proposal, now)
    return replace(
        shown,
        stage=Stage.PROPOSED,
        is_correction=planned.is_correction,
        totals_minor=planned.totals_minor,
        receivable_minor=planned.receivable_minor,
        vote=planned.vote,
    )


def _was_correction(connection: Connection, settlement: Settlement) -> bool:
    return any(
        booking_record.booking_of(connection, one.settlement_number) is not None
        for one in savings.all_settlements(connection, settlement.month)
        if one.revision < settlement.revision
    )


def run_ahead(
    settlement: Settlement, planned: Planned, *, stage: Stage, left_out: int, kept: int
) -> RunOfMonth:
    """A revision that is planned and not proposed."""
    return RunOfMonth(
        month=settlement.month,
        revision=settlement.revision,
        stage=stage,
        adds_nothing=False,
        currency=settlement.currency,
        saving_minor=settlement.saving_minor,
        homes=settlement.homes,
        left_out=left_out,
        kept=kept,
        evidence_root=settlement.evidence_root,
        is_correction=planned.is_correction,
        totals_minor=planned.totals_minor,
        figures_sha256=planned.sha256,
        receivable_minor=planned.receivable_minor,
        vote=planned.vote,
    )


def _name(connection: Connection, person_id: str) -> str:
    person = person_by_id(connection, person_id)
    return person.name if person else person_id
