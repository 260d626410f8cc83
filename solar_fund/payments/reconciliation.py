"""What the bank reports, matched to our orders: posted, returned, rejected, or put in suspense.

Every line of a statement has a reference of its own and is taken into the books once, however
often the statement is read. A line that fits no open order goes to suspense, where it ages until a
person places it; an order is never posted twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import Connection, select

from solar_fund.errors import (
    AssertedBalanceWouldChange,
    BankFileInvalid,
    PendingAlreadyResolved,
    PeriodClosed,
)
from solar_fund.ledger.accounts import BANK, SUSPENSE
from solar_fund.ledger.journal import EntryDraft, Leg
from solar_fund.ledger.reader import utc_now
from solar_fund.ledger.sql import SqlLedger
from solar_fund.ledger.stored_books import StoredBooks
from solar_fund.ledger.tables import JOURNAL
from solar_fund.money import Money
from solar_fund.payments.camt import BankStatement, StatementLine, StatusReport
from solar_fund.payments.orders import (
    BatchKind,
    PaymentOrder,
    blocks_of,
    create_payment_tables,
    find_batch,
    find_released_block,
    find_released_order,
)

REJECTED = frozenset({"RJCT", "CANC"})
DUPLICATE = frozenset({"AM05", "DUPL", "DU01", "DU02", "DU03", "DU04", "DU05"})
"""Reasons that say: we have this already. The first copy may still be paid, so nothing is freed."""


@dataclass(slots=True, kw_only=True)
class StatementOutcome:
    """What became of a statement's lines.

    Attributes:
        statement_id: The bank's id.
        posted: Orders that are final now.
        returned: Orders whose money came back.
        suspense: References of lines nobody could place.
        replayed: Lines that were in the books already.
        closing: What the bank says, if it does.
        books: What the ledger says for the same time.
    """

    statement_id: str
    posted: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    suspense: list[str] = field(default_factory=list)
    replayed: int = 0
    closing: Money | None = None
    books: Money | None = None

    @property
    def difference(self) -> Money | None:
        """Bank less books; None when the statement gives no closing balance."""
        if self.closing is None or self.books is None:
            return None
        return self.closing - self.books


@dataclass(slots=True, kw_only=True)
class StatusOutcome:
    """What became of a status report.

    Attributes:
        batch_id: The file it answers.
        accepted: Orders the bank will execute; the statement makes them final.
        rejected: Orders whose reservation was given back, with the bank's reason.
        duplicate: Ids the bank refused because it holds them already; they stay reserved.
        ignored: Ids that are unknown or were resolved before.
    """

    batch_id: str
    accepted: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    duplicate: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class Reconciler:
    """Takes bank files into the books, inside the caller's transaction."""

    def __init__(
        self,
        connection: Connection,
        *,
        own_iban: str,
        bank_account: str = BANK,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """Use a connection whose transaction the caller commits.

        Args:
            connection: To a database with a ledger.
            own_iban: The bank account; statements of others are refused.
            bank_account: Its ledger account.
            clock: Gives the time, aware UTC.
        """
        self._connection = connection
        self._ledger = SqlLedger(connection, clock=clock)
        self._own_iban = own_iban.replace(" ", "").upper()
        self._bank_account = bank_account
        create_payment_tables(connection)

    def take_status_report(self, report: StatusReport) -> StatusOutcome:
        """Give back what the bank rejected; acceptance alone makes nothing final."""
        outcome = StatusOutcome(batch_id=report.original_message_id)
        batch = find_batch(self._connection, batch_id=report.original_message_id)
        if batch is None:
            outcome.ignored.append(report.original_message_id)
            return outcome
        known = {order.end_to_end_id: order for order in batch.orders}
        for status in report.statuses:
            is_rejected = status.status in REJECTED
            if is_rejected and status.reason in DUPLICATE:
                outcome.duplicate.append(status.end_to_end_id or report.original_message_id)
                continue
            if status.block_id is not None:
                block = blocks_of(batch).get(status.block_id, [])
                concerned = [order.end_to_end_id for order in block] if is_rejected else []
                if is_rejected and not concerned:
                    outcome.ignored.append(status.block_id)
            elif status.end_to_end_id is None:
                concerned = list(known) if is_rejected else []
            else:
                concerned = [status.end_to_end_id]
            for end_to_end_id in concerned:
                order = known.get(end_to_end_id)
                if order is None:
                    outcome.ignored.append(end_to_end_id)
                elif is_rejected:
                    self._give_back(order, status.reason or status.status, outcome)
                else:
                    outcome.accepted.append(end_to_end_id)
        return outcome

    def take_statement(
        self, statement: BankStatement, *, assert_closing: bool = False
    ) -> StatementOutcome:
        """Take every line of a statement into the books, once.

        Args:
            statement: Of the own account.
            assert_closing: Record the closing balance as an assertion; refused when the books
                differ, and afterwards no entry may change that past.

        Raises:
            BankFileInvalid: The statement is of another account.
            BalanceAssertionFailed: `assert_closing` is set and the books differ.
        """
        if statement.iban != self._own_iban:
            raise BankFileInvalid(statement.statement_id, "it is a statement of another account")
        outcome = StatementOutcome(statement_id=statement.statement_id, closing=statement.closing)
        for line in statement.lines:
            if self._ledger.record_of_key(_key(line)) is not None:
                outcome.replayed += 1
            else:
                self._take_line(line, statement.sha256, outcome)
        if statement.closing is not None and statement.closing_on is not None:
            as_of = _start_of(statement.closing_on) + timedelta(days=1)
            books = self._ledger.balance(self._bank_account, statement.currency, as_of=as_of)
            outcome.books = Money(books.posted_minor, statement.currency)
            if assert_closing:
                self._ledger.assert_balance(
                    self._bank_account,
                    statement.closing,
                    as_of=as_of,
                    idempotency_key=f"bank-closing:{statement.sha256}:{statement.statement_id}"[
                        :255
                    ],
                )
        return outcome

    def _take_line(self, line: StatementLine, evidence: str, outcome: StatementOutcome) -> None:
        found = (
            None
            if line.end_to_end_id is None
            else find_released_order(self._connection, line.end_to_end_id)
        )
        if found is not None:
            order, kind = found
            expected = -order.money if kind is BatchKind.PAYOUT else order.money
            if line.money == expected and not line.is_return and self._post(order, line, evidence):
                outcome.posted.append(order.end_to_end_id)
                return
            if line.money == -expected and self._return(order, line):
                outcome.returned.append(order.end_to_end_id)
                return
        if line.collective_id is not None and self._post_together(line, evidence, outcome):
            return
        self._suspend(line, evidence)
        outcome.suspense.append(line.reference)

    def _post(
        self, order: PaymentOrder, line: StatementLine, evidence: str, suffix: str = ""
    ) -> bool:
        """Make an order final; false when it was resolved before."""

        def attempt(effective_at: datetime | None) -> None:
            self._ledger.post_pending(
                order.pending_seq,
                idempotency_key=_key(line) + suffix,
                memo=f"{order.end_to_end_id} booked by the bank",
                effective_at=effective_at,
                evidence=(evidence,),
            )

        try:
            _when_booked_or_now(line, attempt)
        except PendingAlreadyResolved:
            return False
        return True

    def _post_together(self, line: StatementLine, evidence: str, outcome: StatementOutcome) -> bool:
        """Make all open orders of a file or block final that the bank booked in one sum.

        Returns:
            Whether it was one of ours and the sum is right; nothing is posted otherwise.
        """
        found = find_released_block(self._connection, line.collective_id or "")
        if found is None:
            return False
        open_orders = self._open_among(found[0])
        total_minor = sum(order.money.amount_minor for order in open_orders)
        expected_minor = -total_minor if found[1] is BatchKind.PAYOUT else total_minor
        if not open_orders or line.money.amount_minor != expected_minor:
            return False
        for number, order in enumerate(open_orders):
            # The first takes the line's own key, so that a replay is known by it.
            self._post(order, line, evidence, f":{order.end_to_end_id}" if number else "")
            outcome.posted.append(order.end_to_end_id)
        return True

    def _open_among(self, orders: list[PaymentOrder]) -> list[PaymentOrder]:
        """Leave out the orders that were posted, voided or expired."""
        resolved = set(
            self._connection.execute(
                select(JOURNAL.c.about_seq).where(
                    JOURNAL.c.about_seq.in_([order.pending_seq for order in orders]),
                    JOURNAL.c.is_final == 1,
                )
            ).scalars()
        )
        return [order for order in orders if order.pending_seq not in resolved]

    def _return(self, order: PaymentOrder, line: StatementLine) -> bool:
        """Reverse a final order; false when it is not final or came back before."""
        posted_seq = self._connection.execute(
            select(JOURNAL.c.seq).where(
                JOURNAL.c.about_seq == order.pending_seq, JOURNAL.c.kind == "post"
            )
        ).scalar_one_or_none()
        if posted_seq is None or StoredBooks(self._connection).reversed_by(posted_seq) is not None:
            return False

        def attempt(effective_at: datetime | None) -> None:
            self._ledger.reverse_entry(
                posted_seq,
                idempotency_key=_key(line),
                reason=f"{order.end_to_end_id} returned by the bank {line.reason or ''}".strip(),
                effective_at=effective_at,
            )

        _when_booked_or_now(line, attempt)
        return True

    def _suspend(self, line: StatementLine, evidence: str) -> None:
        legs = tuple(
            Leg(account=account, amount_minor=amount_minor, currency=line.money.currency)
            for account, amount_minor in (
                (self._bank_account, line.money.amount_minor),
                (SUSPENSE, -line.money.amount_minor),
            )
        )
        note = line.end_to_end_id or line.note or "no reference"

        def attempt(effective_at: datetime | None) -> None:
            self._ledger.post_entry(
                EntryDraft(
                    idempotency_key=_key(line),
                    legs=legs,
                    memo=f"Unmatched bank line: {note}"[:200],
                    effective_at=effective_at,
                    evidence=(evidence,),
                )
            )

        _when_booked_or_now(line, attempt)

    def _give_back(self, order: PaymentOrder, reason: str, outcome: StatusOutcome) -> None:
        try:
            record = self._ledger.void_pending(
                order.pending_seq,
                idempotency_key=f"order:{order.end_to_end_id}:rejected:{reason}",
                reason=f"rejected by the bank: {reason}",
            )
        except PendingAlreadyResolved:
            outcome.ignored.append(order.end_to_end_id)
            return
        if record.replayed:
            outcome.ignored.append(order.end_to_end_id)
        else:
            outcome.rejected[order.end_to_end_id] = reason


def _when_booked_or_now(line: StatementLine, attempt: Callable[[datetime | None], None]) -> None:
    """Let a line take effect on its day of booking, or now if that past is closed."""
    try:
        attempt(_start_of(line.booked_on))
    except (PeriodClosed, AssertedBalanceWouldChange):
        attempt(None)


def _key(line: StatementLine) -> str:
    return f"bank-line:{line.reference}"


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)
