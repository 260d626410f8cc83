"""The co-op's books: settlements in, grants out, and what each member holds.

Every function takes a `Connection` and takes part in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, StateConflict
from cloud.fund import repository
from cloud.fund.repository import VotedParameters
from cloud.transparency.usecases import record
from solar_fund.errors import FundError, ParameterOutOfBounds
from solar_fund.ledger.accounts import (
    CAPITAL,
    FUND_CASH,
    POCKET,
    PROJECT_VALUE,
    RESERVE,
    member_account,
    member_chart,
    standard_chart,
)
from solar_fund.ledger.balances import Pending
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from solar_fund.waterfall import WaterfallParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberHolding:
    """What one member holds in the co-op's books [minor units].

    Args:
        pocket_minor: Owed to the member.
        capital_minor: The member's part of the solar fund.
    """

    pocket_minor: int
    capital_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FundState:
    """The solar fund now [minor units].

    Args:
        cash_minor: Cash of the fund.
        granted_minor: Of it, set aside for grants that are not paid yet.
        reserve_minor: The co-op's reserve.
        projects_minor: Paid into projects.
    """

    cash_minor: int
    granted_minor: int
    reserve_minor: int
    projects_minor: int

    @property
    def available_minor(self) -> int:
        """What a vote may spend [minor units]."""
        return self.cash_minor - self.granted_minor


def ledger_in(connection: Connection, now: datetime) -> SqlLedger:
    """The co-op's ledger within the caller's transaction."""
    return SqlLedger(connection, clock=lambda: now)


def pay_shares(
    connection: Connection,
    shares_minor: Mapping[str, int],
    *,
    call: str,
    currency: str,
    evidence: str,
    now: datetime,
) -> None:
    """Book members' shares as cash of the fund and capital of each member.

    Args:
        connection: The caller's transaction.
        shares_minor: What each household pays in [minor units].
        call: Which call for shares, such as `founding`; a member pays once in each.
        currency: ISO 4217 code.
        evidence: Hash of the bank statement, SHA-256 in hex.
        now: The clock.
    """
    ledger = ledger_in(connection, now)
    members = [account for home in shares_minor for account in member_chart(home, currency)]
    ledger.open_accounts([*standard_chart(currency), *members])
    ledger.post_entries(
        [
            EntryDraft(
                idempotency_key=f"share:{call}:{home}",
                legs=(
                    debit(FUND_CASH, Money(amount_minor, currency)),
                    credit(member_account(CAPITAL, home), Money(amount_minor, currency)),
                ),
                memo=f"Share, {call}",
                evidence=(evidence,),
            )
            for home, amount_minor in shares_minor.items()
        ]
    )


def parameters_in_force(
    connection: Connection, now: datetime
) -> tuple[WaterfallParameters, VotedParameters | None]:
    """The parameters that the next settlement uses, and the vote that set them, if any did."""
    voted = repository.parameters_at(connection, now)
    return _read(voted) or WaterfallParameters(), voted


def proposed_parameters(current: WaterfallParameters, changes: Mapping[str, str]) -> dict[str, str]:
    """Put proposed changes in place of current values and hold the whole to the bounds.

    Args:
        current: What is in force.
        changes: New values as decimals in text, by parameter.

    Returns:
        Every parameter as text, as it goes on the paper of the vote.

    Raises:
        BadInput: A name is unknown, a value no decimal, or the whole out of bounds.
    """
    whole = {name: str(value) for name, value in asdict(current).items()}
    strangers = sorted(changes.keys() - whole.keys())
    if strangers:
        raise _bad_parameter(strangers[0], f"is no parameter; use one of {', '.join(whole)}")
    for name, written in changes.items():
        try:
            value = Decimal(written)
        except InvalidOperation as fault:
            raise _bad_parameter(name, "is no decimal such as 0.35") from fault
        whole[name] = f"{value.normalize():f}" if value.is_finite() else written
    try:
        WaterfallParameters(**{name: Decimal(written) for name, written in whole.items()})
    except ParameterOutOfBounds as fault:
        raise _bad_parameter(next(iter(changes), "parameters"), str(fault)) from fault
    return whole


def adopt_parameters(
    connection: Connection,
    *,
    election_id: str,
    parameters: Mapping[str, str],
    evidence: str,
    now: datetime,
) -> None:
    """Put voted parameters in force from the next settlement on.

    Args:
        connection: The caller's transaction.
        election_id: The vote that decided.
        parameters: Every parameter, as `proposed_parameters` gave them for the paper.
        evidence: Merkle root over the vote's ballots, hex.
        now: The clock.
    """
    voted = VotedParameters(
        election_id=election_id, decided_at=now, parameters=dict(parameters), evidence=evidence
    )
    repository.insert_parameters(connection, voted)
    record(
        connection,
        kind="parameters.voted",
        facts={"ballots_root": evidence, "election": election_id, "parameters": dict(parameters)},
        at=now,
    )


def _read(voted: VotedParameters | None) -> WaterfallParameters | None:
    if voted is None:
        return None
    return WaterfallParameters(
        **{name: Decimal(written) for name, written in voted.parameters.items()}
    )


def _bad_parameter(name: str, problem: str) -> BadInput:
    return BadInput(
        f"parameter {name[:40]}: {problem}",
        faults=(FieldFault(pointer=f"/parameters/{name[:40]}", problem=problem),),
    )


def reserve_grant(
    connection: Connection,
    *,
    election_id: str,
    project_id: str,
    amount_minor: int,
    currency: str,
    evidence: str,
    now: datetime,
) -> int:
    """Set a won project's cost aside; returns the number of the pending record.

    Raises:
        StateConflict: The fund does not hold the money.
    """
    money = Money(amount_minor, currency)
    ledger = ledger_in(connection, now)
    ledger.open_accounts(standard_chart(currency))
    draft = EntryDraft(
        idempotency_key=f"grant:{election_id}:{project_id}",
        legs=(debit(PROJECT_VALUE, money), credit(FUND_CASH, money)),
        memo=f"Grant to {project_id}",
        evidence=(evidence,),
        authorised_by=election_id,
    )
    try:
        return ledger.reserve(draft).seq
    except FundError as fault:
        raise StateConflict(f"the grant to {project_id} cannot be set aside: {fault}") from fault


def fund_state(connection: Connection, currency: str, now: datetime) -> FundState:
    """The solar fund as it stands."""
    ledger = ledger_in(connection, now)
    cash = ledger.balance(FUND_CASH, currency)
    return FundState(
        cash_minor=cash.posted_minor,
        granted_minor=cash.pending_credit_minor,
        reserve_minor=-ledger.balance(RESERVE, currency).posted_minor,
        projects_minor=ledger.balance(PROJECT_VALUE, currency).posted_minor,
    )


def holding_of(
    connection: Connection, household: str, currency: str, now: datetime
) -> MemberHolding:
    """What a member holds."""
    ledger = ledger_in(connection, now)
    return MemberHolding(
        pocket_minor=-ledger.balance(member_account(POCKET, household), currency).posted_minor,
        capital_minor=-ledger.balance(member_account(CAPITAL, household), currency).posted_minor,
    )


def open_grants(connection: Connection, now: datetime) -> list[Pending]:
    """Grants that are set aside and not paid yet."""
    return ledger_in(connection, now).open_pendings()
