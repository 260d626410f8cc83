"""Grants after the vote: set aside, paid out by milestones, and the rest given back.

Every function takes a `Connection` and takes part in the caller's transaction. The reservation
itself is made by `cloud.fund.usecases.reserve_grant` when a vote is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import StateConflict
from cloud.fund.usecases import ledger_in
from solar_fund.errors import FundError
from solar_fund.ledger.accounts import FUND_CASH
from solar_fund.money import Money


def grant_number(
    connection: Connection, *, election_id: str, project_id: str, now: datetime
) -> int | None:
    """The pending record that a vote made for a project; None if it made none."""
    found = ledger_in(connection, now).record_of_key(f"grant:{election_id}:{project_id}")
    return None if found is None else found.seq


def pay_milestone(
    connection: Connection,
    *,
    grant_seq: int,
    project_id: str,
    milestone: str,
    amount: Money,
    is_last: bool,
    evidence: Sequence[str],
    now: datetime,
) -> int:
    """Post a part of a grant; returns the number of the record.

    Raises:
        StateConflict: The grant does not hold that much any more.
    """
    try:
        return (
            ledger_in(connection, now)
            .post_pending(
                grant_seq,
                idempotency_key=f"milestone:{project_id}:{milestone}",
                part=amount,
                keep_remainder=not is_last,
                memo=f"{project_id}: {milestone}",
                evidence=evidence,
                authorised_by=f"two of the board, project {project_id}",
            )
            .seq
        )
    except FundError as fault:
        raise StateConflict(f"{milestone} of {project_id} cannot be paid: {fault}") from fault


def return_grant(
    connection: Connection, *, grant_seq: int, project_id: str, reason: str, now: datetime
) -> int:
    """Give what is left of a grant back to the fund; returns how much that was [minor units].

    Raises:
        StateConflict: It was paid or given back before.
    """
    ledger = ledger_in(connection, now)
    left_minor = open_grant_minor(connection, grant_seq=grant_seq, now=now)
    try:
        ledger.void_pending(
            grant_seq, idempotency_key=f"return:{project_id}:{grant_seq}", reason=reason
        )
    except FundError as fault:
        raise StateConflict(f"the grant to {project_id} cannot be returned: {fault}") from fault
    return left_minor


def open_grant_minor(connection: Connection, *, grant_seq: int, now: datetime) -> int:
    """What of a grant is still set aside [minor units]."""
    left = ledger_in(connection, now).pending(grant_seq).remaining_minor
    return sum(-minor for (account, _currency), minor in left.items() if account == FUND_CASH)
