"""Members' shares as a list from the bank: read as a whole, or refused by line."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotAllowed, StateConflict
from cloud.fund.bank_evidence import require_bank_evidence
from cloud.fund.usecases import ledger_in, pay_shares
from cloud.members.repository import all_households
from cloud.members.roles import Person, Role
from cloud.transparency.usecases import record
from solar_fund.money import exponent_of

SHARES_MAX = 10_000
SHARE_MINOR_MAX = 100_000_000
COLUMNS = ["household", "amount"]
CALL = re.compile(r"[a-z0-9][a-z0-9 -]{0,62}[a-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesPaid:
    """What a list of shares did.

    Args:
        call: Name of the call.
        added: Shares that were booked now.
        known: Shares that were booked before, with the same amount.
        added_minor: Sum of those booked now [minor units].
        currency: ISO 4217 code.
    """

    call: str
    added: int
    known: int
    added_minor: int
    currency: str


def read_shares(text: str, currency: str) -> dict[str, int]:
    """Read a CSV of `household,amount` with a header [currency] into minor units.

    Raises:
        BadInput: A line cannot be taken; it is named.
    """
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff")), strict=True)
    shares: dict[str, int] = {}
    try:
        for cells in reader:
            if reader.line_num == 1:
                if [cell.strip() for cell in cells] != COLUMNS:
                    raise _bad(1, f"the first line must be {','.join(COLUMNS)}")
                continue
            if not cells:
                continue
            if len(cells) != len(COLUMNS):
                raise _bad(reader.line_num, "write a household and an amount, such as h-…,150.00")
            household = cells[0].strip()
            if household in shares:
                raise _bad(reader.line_num, "this household was named before; add its amounts up")
            if len(shares) >= SHARES_MAX:
                raise _bad(reader.line_num, f"a list takes {SHARES_MAX} lines; send the rest apart")
            shares[household] = _minor(cells[1].strip(), currency, reader.line_num)
    except csv.Error as fault:
        raise _bad(reader.line_num, f"is no CSV: {fault}") from fault
    if not shares:
        raise BadInput("the list of shares is empty; write a line household,amount for each")
    return shares


def book_shares(
    connection: Connection,
    shares_minor: dict[str, int],
    *,
    call: str,
    bank_evidence: str,
    currency: str,
    person: Person,
    now: datetime,
) -> SharesPaid:
    """Book shares that arrived at the bank; those booked before in the same call are left alone.

    Raises:
        NotAllowed: The person is not of the board.
        BadInput: The call, the evidence or a household is none; all of them are named.
        StateConflict: A home paid another amount in this call before.
    """
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board book shares")
    _check(connection, shares_minor, call=call, bank_evidence=bank_evidence)
    ledger = ledger_in(connection, now)
    new: dict[str, int] = {}
    for household, amount_minor in shares_minor.items():
        booked = ledger.record_of_key(f"share:{call}:{household}")
        if booked is None:
            new[household] = amount_minor
            continue
        before_minor = max(int(leg[2]) for leg in booked.request["legs"])
        if before_minor != amount_minor:
            raise StateConflict(
                f"{household} has a share of {before_minor} minor units in the call {call!r}, not "
                f"{amount_minor}; use another call for what came later"
            )
    if new:
        pay_shares(connection, new, call=call, currency=currency, evidence=bank_evidence, now=now)
        head = ledger.chain_head()
        record(
            connection,
            kind="shares.paid",
            facts={
                "bank_evidence": bank_evidence,
                "homes": len(new),
                "ledger_head": head.hash,
                "ledger_size": head.seq,
                "sum_minor": sum(new.values()),
            },
            at=now,
        )
    return SharesPaid(
        call=call,
        added=len(new),
        known=len(shares_minor) - len(new),
        added_minor=sum(new.values()),
        currency=currency,
    )


def _check(
    connection: Connection, shares_minor: dict[str, int], *, call: str, bank_evidence: str
) -> None:
    if not CALL.fullmatch(call):
        raise BadInput(
            "the call needs a short name of small letters, digits, blanks and hyphens",
            faults=(FieldFault(pointer="/call", problem="write one such as founding-2026"),),
        )
    require_bank_evidence(bank_evidence)
    homes = {row.household for row in all_households(connection) if row.erased_at is None}
    strangers = [household for household in shares_minor if household not in homes]
    if strangers:
        raise BadInput(
            f"{len(strangers)} of {len(shares_minor)} households are not known here; nothing was "
            "booked",
            faults=tuple(
                FieldFault(pointer="/shares", problem=f"{household[:40]!r} is no household")
                for household in strangers[:20]
            ),
        )


def _minor(text: str, currency: str, line: int) -> int:
    try:
        amount = Decimal(text)
    except InvalidOperation as fault:
        raise _bad(line, "the amount is no number such as 150.00") from fault
    if not amount.is_finite():
        raise _bad(line, "the amount is no number such as 150.00")
    minor = amount.scaleb(exponent_of(currency))
    if minor != minor.to_integral_value():
        raise _bad(line, f"the amount is finer than {currency} has units")
    if not 1 <= minor <= SHARE_MINOR_MAX:
        raise _bad(line, f"the amount must be above 0 and at most {SHARE_MINOR_MAX} minor units")
    return int(minor)


def _bad(line: int, problem: str) -> BadInput:
    return BadInput(
        f"the list of shares cannot be taken: line {line}: {problem}",
        faults=(FieldFault(pointer=f"/shares/line {line}", problem=problem),),
    )
