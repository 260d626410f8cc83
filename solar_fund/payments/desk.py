"""The payment desk: one person proposes a batch, another releases it, and only then a file leaves.

Proposing reserves every order in the ledger, so that money is never promised twice. Nothing here
sends anything: a person hands the file to the bank.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from solar_fund.errors import PayoutRefused, ReleaseRefused
from solar_fund.ledger import reports
from solar_fund.ledger.accounts import BANK, CAPITAL, POCKET, member_account
from solar_fund.ledger.journal import EntryDraft, Leg, canonical_text, check_text, time_text
from solar_fund.ledger.reader import utc_now
from solar_fund.ledger.sql import SqlLedger
from solar_fund.legal_forms import LegalRules
from solar_fund.money import Money
from solar_fund.payments.bank_accounts import check_iban
from solar_fund.payments.orders import (
    BatchKind,
    Mandate,
    OrderBatch,
    PaymentOrder,
    create_payment_tables,
    erase_member,
    find_batch,
    insert_batch,
    mark_batch,
)
from solar_fund.payments.sepa import ORDERS_MAX

PAYOUT_MIN_MINOR = 1_000
"""Smaller pockets are carried forward: EUR 10.00."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRequest:
    """A payment somebody proposes.

    Attributes:
        member_id: Whose pocket is paid out, or whose capital is paid in.
        name: Holder of the bank account.
        iban: Account number, not yet checked.
        money: Amount, positive.
        memo: What the member reads.
        mandate: For collections.
    """

    member_id: str
    name: str
    iban: str
    money: Money
    memo: str
    mandate: Mandate | None = None


class PaymentDesk:
    """Proposes and releases batches of payments inside the caller's transaction."""

    def __init__(
        self,
        connection: Connection,
        *,
        bank_account: str = BANK,
        clock: Callable[[], datetime] = utc_now,
        rules: LegalRules | None = None,
    ) -> None:
        """Use a connection whose transaction the caller commits.

        Args:
            connection: To a database with a ledger.
            bank_account: Ledger account of the bank account that pays.
            clock: Gives the time, aware UTC.
            rules: Of the legal form; they limit the capital a collection may bring a member to.
        """
        self._connection = connection
        self._ledger = SqlLedger(connection, clock=clock)
        self._bank_account = bank_account
        self._clock = clock
        self._rules = rules
        create_payment_tables(connection)

    def payable(self, *, minimum_minor: int = PAYOUT_MIN_MINOR) -> dict[str, Money]:
        """What each member's pocket can pay out now, by member id.

        Args:
            minimum_minor: Smaller pockets are carried forward [minor units].
        """
        lines = {
            (line.account, line.currency): line.balance
            for line in reports.trial_balance(self._connection)
        }
        found = {}
        for account in reports.accounts(self._connection):
            if account.member_id is None or not account.name.startswith(f"{POCKET}:"):
                continue
            for currency in account.currencies:
                balance = lines.get((account.name, currency))
                available_minor = 0 if balance is None else balance.available_minor(account)
                if available_minor >= max(minimum_minor, 1):
                    found[account.member_id] = Money(available_minor, currency)
        return found

    def propose(
        self, batch_key: str, requests: Sequence[PaymentRequest], *, kind: BatchKind, by: str
    ) -> OrderBatch:
        """Check and reserve a batch; a retry with the same key returns the first one.

        Args:
            batch_key: Names the batch for good, such as `2026-10 savings`.
            requests: One per member.
            kind: Payouts from pockets, or collections into capital.
            by: Who proposes.

        Raises:
            PayoutRefused: The key was used with other payments, a member is named twice, or an
                amount is not positive.
            AccountNumberInvalid: An IBAN is wrong.
            OverdraftRefused: A pocket holds less than its payout.
        """
        for text, name in ((batch_key, "batch key"), (by, "name")):
            check_text(text, name)
        batch_id = _batch_id(batch_key, kind, requests)
        earlier = find_batch(self._connection, batch_key=batch_key)
        if earlier is not None:
            if earlier.batch_id != batch_id:
                raise PayoutRefused(batch_key, "the key was used for other payments")
            return earlier
        if not 0 < len(requests) <= ORDERS_MAX:
            raise PayoutRefused(batch_key, f"a batch holds 1 to {ORDERS_MAX} payments")
        if len({request.member_id for request in requests}) != len(requests):
            raise PayoutRefused(batch_key, "a member is named twice; add the amounts")
        batch = OrderBatch(
            batch_id=batch_id,
            batch_key=batch_key,
            kind=kind,
            created_at=time_text(self._clock()),
            created_by=by,
            released_at=None,
            released_by=None,
            cancelled_at=None,
            orders=tuple(self._reserve(batch_id, kind, request) for request in requests),
        )
        insert_batch(self._connection, batch)
        return self.batch(batch_id)

    def release(self, batch_id: str, *, by: str) -> OrderBatch:
        """Let a batch leave; the second pair of eyes.

        Raises:
            ReleaseRefused: The proposer tries it, or the batch is unknown, cancelled or was
                released by somebody else.
        """
        batch = self.batch(batch_id)
        if _same_person(by, batch.created_by) or not by.strip():
            raise ReleaseRefused(batch_id, "another person than the proposer must release it")
        if batch.cancelled_at is not None:
            raise ReleaseRefused(batch_id, "it was cancelled")
        if batch.released_by is not None:
            if batch.released_by != by:
                raise ReleaseRefused(batch_id, f"{batch.released_by} released it already")
            return batch
        marks = {"released_at": time_text(self._clock()), "released_by": by}
        mark_batch(self._connection, batch_id, marks)
        return self.batch(batch_id)

    def cancel(self, batch_id: str, *, by: str) -> OrderBatch:
        """Give back what a batch reserved, as long as it was not released.

        Raises:
            ReleaseRefused: It was released: what the bank may already hold cannot be taken back.
        """
        batch = self.batch(batch_id)
        if batch.released_by is not None:
            raise ReleaseRefused(batch_id, "it was released; the bank decides now")
        if batch.cancelled_at is None:
            for order in batch.orders:
                self._ledger.void_pending(
                    order.pending_seq,
                    idempotency_key=f"order:{order.end_to_end_id}:cancelled",
                    reason="batch cancelled",
                )
            marks = {"cancelled_at": time_text(self._clock()), "cancelled_by": by}
            mark_batch(self._connection, batch_id, marks)
        return self.batch(batch_id)

    def erase_member(self, member_id: str) -> int:
        """Blank a member's name and account number in orders that are settled for good.

        Returns:
            How many orders were blanked; those the bank may still report on keep both.
        """
        waiting = {pending.seq for pending in self._ledger.open_pendings()}
        return erase_member(self._connection, member_id, waiting)

    def batch(self, batch_id: str) -> OrderBatch:
        """A batch with its orders.

        Raises:
            ReleaseRefused: It is unknown.
        """
        found = find_batch(self._connection, batch_id=batch_id)
        if found is None:
            raise ReleaseRefused(batch_id, "it is unknown")
        return found

    def released(self, batch_id: str) -> OrderBatch:
        """A batch that may leave.

        Raises:
            ReleaseRefused: Nobody released it yet, or it was cancelled.
        """
        batch = self.batch(batch_id)
        if batch.released_by is None:
            raise ReleaseRefused(batch_id, "a second person has to release it first")
        return batch

    def _reserve(self, batch_id: str, kind: BatchKind, request: PaymentRequest) -> PaymentOrder:
        account = check_iban(request.iban)
        if request.money.amount_minor <= 0:
            raise PayoutRefused(request.member_id, "the amount must be positive")
        if not request.name.strip():
            raise PayoutRefused(request.member_id, "the account holder's name is missing")
        end_to_end_id = _end_to_end_id(batch_id, request.member_id)
        amount_minor = request.money.amount_minor
        if kind is BatchKind.PAYOUT:
            other, bank_minor = member_account(POCKET, request.member_id), -amount_minor
        else:
            other, bank_minor = member_account(CAPITAL, request.member_id), amount_minor
            self._check_limit(request, other)
        currency = request.money.currency
        draft = EntryDraft(
            idempotency_key=f"order:{end_to_end_id}",
            legs=(
                Leg(account=self._bank_account, amount_minor=bank_minor, currency=currency),
                Leg(account=other, amount_minor=-bank_minor, currency=currency),
            ),
            memo=f"{kind.value} {end_to_end_id}",
            authorised_by=f"batch {batch_id}",
        )
        return PaymentOrder(
            end_to_end_id=end_to_end_id,
            batch_id=batch_id,
            member_id=request.member_id,
            name=request.name.strip()[:70],
            iban=account.iban,
            money=request.money,
            memo=request.memo[:140],
            pending_seq=self._ledger.reserve(draft).seq,
            mandate=request.mandate,
        )

    def _check_limit(self, request: PaymentRequest, capital_account: str) -> None:
        """Count what is held and what other collections are about to bring."""
        if self._rules is None:
            return
        held = self._ledger.balance(capital_account, request.money.currency)
        expected_minor = held.pending_credit_minor - held.posted_minor
        coming = Money(expected_minor, request.money.currency)
        self._rules.check_capital(request.member_id, coming + request.money)


def _batch_id(batch_key: str, kind: BatchKind, requests: Sequence[PaymentRequest]) -> str:
    """A message id that names the content: 35 characters at most, letters and digits."""
    content = {
        "key": batch_key,
        "kind": kind.value,
        "orders": sorted(
            [
                request.member_id,
                request.name,
                request.iban.replace(" ", ""),
                request.money.amount_minor,
                request.money.currency,
                request.memo,
            ]
            for request in requests
        ),
    }
    return "CW" + hashlib.sha256(canonical_text(content).encode()).hexdigest()[:28].upper()


def _end_to_end_id(batch_id: str, member_id: str) -> str:
    digest = hashlib.sha256(f"{batch_id}|{member_id}".encode()).hexdigest()
    return "E" + digest[:31].upper()


def _same_person(left: str, right: str) -> bool:
    return left.strip().casefold() == right.strip().casefold()
