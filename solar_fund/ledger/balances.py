"""Balances, the movements that change them, and the door through which the rules read them."""

from dataclasses import dataclass
from typing import Protocol

from solar_fund.ledger.accounts import Account
from solar_fund.ledger.journal import JournalRecord, Leg

Key = tuple[str, str]
"""Account name and currency."""

PERIOD_MARK = "period"
"""What a closed period locks: everything before its end."""


def mark_key(account: str, currency: str) -> str:
    """What a balance assertion locks: one account in one currency."""
    return f"{account} {currency}"


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on an account in one currency [minor units].

    Attributes:
        posted_minor: Debits less credits that are final.
        pending_debit_minor: Reserved debits, not negative.
        pending_credit_minor: Reserved credits, not negative.
    """

    posted_minor: int = 0
    pending_debit_minor: int = 0
    pending_credit_minor: int = 0

    def normal_minor(self, account: Account) -> int:
        """Posted balance, positive on the account's normal side [minor units]."""
        return self.posted_minor if account.account_type.debit_is_normal else -self.posted_minor

    def available_minor(self, account: Account) -> int:
        """Normal balance less pending outflows; pending inflows do not count [minor units]."""
        if account.account_type.debit_is_normal:
            return self.posted_minor - self.pending_credit_minor
        return -self.posted_minor - self.pending_debit_minor


NO_BALANCE = Balance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What one record changed on one account and currency, and what stood there afterwards."""

    seq: int
    line: int
    account: str
    currency: str
    effective_at: str
    posted_minor: int
    pending_debit_minor: int
    pending_credit_minor: int
    after: Balance


@dataclass(slots=True)
class Pending:
    """A reservation and what is left of it."""

    seq: int
    expires_at: str | None
    remaining_minor: dict[Key, int]
    resolved_by: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What a request did to the books.

    Attributes:
        effective_at: When it counts.
        movements: What it changed on each account.
        moved: The legs behind the movements.
        worked_out: Whether those legs are the ledger's own work, not listed in the request.
        about_seq: The record it resolves or reverses.
        is_final: Whether it leaves nothing of a reservation.
        expires_at: When a reservation runs out.
        mark_key: What a closed period or an assertion locks.
        mark_at: Before when it locks it.
    """

    effective_at: str
    movements: tuple[Movement, ...] = ()
    moved: tuple[Leg, ...] = ()
    worked_out: bool = False
    about_seq: int | None = None
    is_final: bool = False
    expires_at: str | None = None
    mark_key: str | None = None
    mark_at: str | None = None


class BooksSource(Protocol):
    """Where the books look up what they have not seen themselves."""

    def account(self, name: str, /) -> Account | None:
        """An open account."""

    def balance(self, account: str, currency: str, /) -> Balance:
        """The newest balance; `NO_BALANCE` when nothing moved yet."""

    def posted_before(self, account: str, currency: str, as_of: str, /) -> int:
        """Posted balance of what took effect before a time [minor units]."""

    def pending(self, seq: int, /) -> Pending | None:
        """A reservation with what is left of it."""

    def record(self, seq: int, /) -> JournalRecord | None:
        """A journal record."""

    def reversed_by(self, seq: int, /) -> int | None:
        """The record that reversed another one."""

    def closed_before(self) -> str | None:
        """End of the last closed period."""

    def asserted_before(self, account: str, currency: str, /) -> str | None:
        """The latest time as of which a balance was asserted."""
