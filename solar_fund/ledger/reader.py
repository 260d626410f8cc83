"""The reading half of the ledger; it never changes anything."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine

from solar_fund.errors import EntryUnknown
from solar_fund.ledger import reports, verification
from solar_fund.ledger.accounts import Account
from solar_fund.ledger.balances import Balance, Pending
from solar_fund.ledger.books import Books
from solar_fund.ledger.journal import JournalRecord
from solar_fund.ledger.stored_books import StoredBooks


def utc_now() -> datetime:
    """The clock of real ledgers; tests pass their own."""
    return datetime.now(UTC)


class LedgerReader:
    """Balances, statements and checks over one database."""

    def __init__(
        self, bind: Engine | Connection, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        """Use a database.

        Args:
            bind: An engine (each operation commits) or a connection (the caller commits).
            clock: Gives the time a record is taken, aware UTC.
        """
        self._bind = bind
        self._clock = clock
        # Accounts never change once open, so those that were committed may be remembered. Inside
        # a caller's transaction they might still be rolled back.
        self._accounts: dict[str, Account] | None = {} if isinstance(bind, Engine) else None

    def record(self, seq: int) -> JournalRecord:
        """A journal record.

        Raises:
            EntryUnknown: There is no such number.
        """
        with self.reading() as connection:
            found = StoredBooks(connection).record(seq)
        if found is None:
            raise EntryUnknown(seq, "record of this ledger")
        return found

    def record_of_key(self, idempotency_key: str) -> JournalRecord | None:
        """The record that used an idempotency key."""
        with self.reading() as connection:
            return StoredBooks(connection).by_keys([idempotency_key]).get(idempotency_key)

    def pending(self, seq: int) -> Pending:
        """A reservation and what is left of it.

        Raises:
            EntryUnknown: The record is no reservation.
        """
        with self.reading() as connection:
            return Books(StoredBooks(connection)).pending(seq)

    def open_pendings(self) -> list[Pending]:
        """All reservations that are not resolved, in order."""
        with self.reading() as connection:
            return reports.open_pendings(connection)

    def accounts(self, *, member_id: str | None = None) -> list[Account]:
        """Open accounts in order of name, or one member's."""
        with self.reading() as connection:
            return reports.accounts(connection, member_id)

    def balance(
        self,
        account: str,
        currency: str,
        *,
        as_of: datetime | None = None,
        known_at: datetime | None = None,
    ) -> Balance:
        """What stands on an account.

        Args:
            account: Name of an account.
            currency: Code of ISO 4217.
            as_of: Count only what took effect before this time, aware UTC.
            known_at: Count only what was recorded before this time, aware UTC.
        """
        with self.reading() as connection:
            if as_of is None and known_at is None:
                return StoredBooks(connection).balance(account, currency)
            lines = reports.trial_balance(
                connection, as_of=as_of, known_at=known_at, account=account, currency=currency
            )
        return lines[0].balance if lines else Balance()

    def trial_balance(
        self, *, as_of: datetime | None = None, known_at: datetime | None = None
    ) -> list[reports.TrialBalanceLine]:
        """Every account's balance; the posted ones sum to zero in each currency."""
        with self.reading() as connection:
            return reports.trial_balance(connection, as_of=as_of, known_at=known_at)

    def statement(
        self,
        account: str,
        currency: str,
        *,
        start: datetime,
        end: datetime,
        known_at: datetime | None = None,
    ) -> reports.Statement:
        """What happened on an account in `[start, end)` by effective time."""
        with self.reading() as connection:
            return reports.statement(
                connection, account, currency, start=start, end=end, known_at=known_at
            )

    def member_statements(
        self,
        member_id: str,
        *,
        start: datetime,
        end: datetime,
        known_at: datetime | None = None,
    ) -> list[reports.Statement]:
        """What happened on a member's sub-accounts in `[start, end)` by effective time."""
        with self.reading() as connection:
            return reports.member_statements(
                connection, member_id, start=start, end=end, known_at=known_at
            )

    def suspense_ageing(self) -> list[reports.SuspenseItem]:
        """What still stands on suspense accounts, oldest first."""
        with self.reading() as connection:
            return reports.suspense_ageing(connection, self._clock())

    def chain_head(self) -> verification.ChainHead:
        """Number and hash of the newest record, for the transparency log."""
        with self.reading() as connection:
            return verification.chain_head(connection)

    def verify_chain(
        self, expected_head: verification.ChainHead | None = None
    ) -> verification.ChainReport:
        """Replay the whole journal and compare everything that is stored with it."""
        with self.reading() as connection:
            return verification.verify_chain(connection, expected_head)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from; the caller's own when one was passed in."""
        if isinstance(self._bind, Connection):
            yield self._bind
        else:
            with self._bind.connect() as connection:
                yield connection
