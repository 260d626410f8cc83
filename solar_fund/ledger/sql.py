"""The ledger over SQLAlchemy Core: SQLite by default, PostgreSQL for scale-out.

Give it an `Engine` and every operation is a transaction of its own, durable when it returns. Give
it a `Connection` and every operation takes part in the caller's transaction; the caller commits or
rolls back. A refused operation writes nothing in either case.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine

from solar_fund.errors import (
    AccountConflict,
    EntryInvalid,
    EntryUnknown,
    IdempotencyConflict,
    PendingExceeded,
)
from solar_fund.ledger import reports, verification
from solar_fund.ledger.accounts import Account, account_as_plain
from solar_fund.ledger.books import Books
from solar_fund.ledger.database import NewRows, open_engine, take_write_lock
from solar_fund.ledger.journal import (
    Body,
    EntryDraft,
    JournalRecord,
    Leg,
    chain_hash,
    check_hash,
    check_key,
    check_text,
    record_body,
    request_digest,
    time_of,
    time_text,
)
from solar_fund.ledger.reader import LedgerReader
from solar_fund.ledger.stored_books import StoredBooks
from solar_fund.ledger.tables import create_tables
from solar_fund.money import Money

BATCH_ENTRIES_MAX = 10_000


def open_ledger(path: Path) -> "SqlLedger":
    """Open, or create, a ledger in an SQLite file."""
    ledger = SqlLedger(open_engine(f"sqlite:///{path}"))
    ledger.create_tables()
    return ledger


class SqlLedger(LedgerReader):
    """A double-entry ledger: append-only, hash-chained, idempotent."""

    def create_tables(self) -> None:
        """Create what is missing: tables, indexes and triggers."""
        if isinstance(self._bind, Connection):
            create_tables(self._bind)
            return
        with self._bind.begin() as connection:
            create_tables(connection)

    def close(self) -> None:
        """Close the connections of an engine; a caller's connection is left alone."""
        if isinstance(self._bind, Engine):
            self._bind.dispose()

    def open_accounts(self, accounts: Iterable[Account]) -> None:
        """Open accounts; those open already with the same properties stay as they are.

        Raises:
            AccountConflict: One is open with other properties.
        """
        requests = [
            {
                "kind": "open",
                "key": f"open:{account.name}",
                "account": account_as_plain(account),
            }
            for account in accounts
        ]
        try:
            self._append(requests)
        except IdempotencyConflict as conflict:
            raise AccountConflict(conflict.idempotency_key.removeprefix("open:")) from None

    def post_entry(self, draft: EntryDraft) -> JournalRecord:
        """Post an entry at once; a retry with the same key and body returns the first record.

        Raises:
            LedgerError: The rule that refuses it.
        """
        return self._append([draft.request("entry")])[0]

    def post_entries(self, drafts: Sequence[EntryDraft]) -> list[JournalRecord]:
        """Post entries all together or not at all, in order.

        Raises:
            LedgerError: The rule that refuses one of them; then none was posted.
        """
        return self._append([draft.request("entry") for draft in drafts])

    def reserve(self, draft: EntryDraft, *, expires_at: datetime | None = None) -> JournalRecord:
        """Make a pending entry: the money is set aside until it is posted, voided or expires.

        Args:
            draft: Its legs name each account and currency once.
            expires_at: After this time it can no longer be posted, aware UTC.
        """
        request = draft.request("reserve")
        request["expires_at"] = None if expires_at is None else time_text(expires_at)
        return self._append([request])[0]

    def post_pending(
        self,
        seq: int,
        *,
        idempotency_key: str,
        part: Money | None = None,
        legs: Sequence[Leg] | None = None,
        keep_remainder: bool = False,
        memo: str = "",
        effective_at: datetime | None = None,
        evidence: Sequence[str] = (),
        authorised_by: str | None = None,
    ) -> JournalRecord:
        """Make a pending entry final, whole or in part.

        Args:
            seq: Number of the pending record.
            idempotency_key: A retry repeats it.
            part: Amount to post of a pending entry with two legs; None posts all that is left.
            legs: Instead of `part`, for entries with more legs: what to post of each.
            keep_remainder: Leave what is not posted pending; otherwise it is released.
            memo: One line for the statement.
            effective_at: When it counts, aware UTC; None means now.
            evidence: Hashes of documents, SHA-256 in hexadecimal.
            authorised_by: Id of the vote or decision that allows it.

        Raises:
            PendingAlreadyResolved: It was posted in full, voided or expired before.
            PendingExceeded: More than is left.
            PendingExpired: Its time ran out.
        """
        check_text(memo, "memo")
        for digest in evidence:
            check_hash(digest)
        with self._writing() as connection:
            if part is not None:
                legs = _part_legs(StoredBooks(connection).record(seq), seq, part)
            request: Body = {
                "kind": "post",
                "key": idempotency_key,
                "about": seq,
                "legs": None if legs is None else [leg.as_list() for leg in legs],
                "keep_remainder": keep_remainder,
                "memo": memo,
                "effective_at": None if effective_at is None else time_text(effective_at),
                "evidence": list(evidence),
                "authorised_by": authorised_by,
            }
            return self._append_within(connection, [request])[0]

    def void_pending(self, seq: int, *, idempotency_key: str, reason: str) -> JournalRecord:
        """Release what is left of a pending entry.

        Raises:
            PendingAlreadyResolved: It was posted in full, voided or expired before.
        """
        check_text(reason, "reason")
        request = {"kind": "void", "key": idempotency_key, "about": seq, "memo": reason}
        return self._append([request])[0]

    def expire_pendings(self) -> list[JournalRecord]:
        """Release every pending entry whose time has run out."""
        now = time_text(self._clock())
        with self._writing() as connection:
            due = [pending.seq for pending in reports.open_pendings(connection, expired_at=now)]
            return self._append_within(
                connection,
                [
                    {"kind": "expire", "key": f"expire:{seq}", "about": seq, "memo": "expired"}
                    for seq in due
                ],
            )

    def reverse_entry(
        self,
        seq: int,
        *,
        idempotency_key: str,
        reason: str,
        effective_at: datetime | None = None,
        authorised_by: str | None = None,
    ) -> JournalRecord:
        """Post the mirror image of an entry, once.

        Raises:
            ReversalRefused: It is no posted entry, or was reversed before.
        """
        check_text(reason, "reason")
        request = {
            "kind": "reverse",
            "key": idempotency_key,
            "about": seq,
            "memo": reason,
            "effective_at": None if effective_at is None else time_text(effective_at),
            "authorised_by": authorised_by,
        }
        return self._append([request])[0]

    def assert_balance(
        self, account: str, posted: Money, *, as_of: datetime, idempotency_key: str
    ) -> JournalRecord:
        """Record that an account stands where an outside source (a bank statement) says.

        Afterwards no entry on the account may take effect before `as_of`.

        Args:
            account: Name of an open account.
            posted: Debits less credits of all that took effect before `as_of`.
            as_of: End of the statement, exclusive, aware UTC.
            idempotency_key: A retry repeats it.

        Raises:
            BalanceAssertionFailed: The books say otherwise; nothing is recorded.
        """
        request = {
            "kind": "assert",
            "key": idempotency_key,
            "account": account,
            "currency": posted.currency,
            "posted_minor": posted.amount_minor,
            "as_of": time_text(as_of),
        }
        return self._append([request])[0]

    def close_period(self, end: datetime, *, label: str, idempotency_key: str) -> JournalRecord:
        """Lock everything that takes effect before a time; later corrections are new entries.

        Args:
            end: End of the period, exclusive, aware UTC, not in the future.
            label: Name of the period, such as `2026-10`.
            idempotency_key: A retry repeats it.
        """
        check_text(label, "label")
        request = {
            "kind": "close",
            "key": idempotency_key,
            "end": time_text(end),
            "memo": label,
        }
        return self._append([request])[0]

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if isinstance(self._bind, Connection):
            take_write_lock(self._bind)
            yield self._bind
        else:
            with self._bind.begin() as connection:
                take_write_lock(connection)
                yield connection

    def _append(self, requests: Sequence[Body]) -> list[JournalRecord]:
        with self._writing() as connection:
            return self._append_within(connection, requests)

    def _append_within(
        self, connection: Connection, requests: Sequence[Body]
    ) -> list[JournalRecord]:
        if len(requests) > BATCH_ENTRIES_MAX:
            raise EntryInvalid(f"a batch holds at most {BATCH_ENTRIES_MAX} entries")
        source = StoredBooks(connection, self._accounts)
        for request in requests:
            check_key(request["key"])
        known = source.by_keys([request["key"] for request in requests])
        head = verification.chain_head(connection)
        recorded_at = max(time_text(self._clock()), head.recorded_at)
        recorded_time = time_of(recorded_at)
        books, seq, digest = Books(source), head.seq, head.hash
        answers, rows = [], NewRows()
        for request in requests:
            request_sha256 = request_digest(request)
            earlier = known.get(request["key"])
            if earlier is not None:
                if request_digest(earlier.request) != request_sha256:
                    raise IdempotencyConflict(request["key"], earlier.seq)
                answers.append(replace(earlier, replayed=True))
                continue
            seq += 1
            applied = books.apply(seq, recorded_at, request)
            worked_out = applied.moved if applied.worked_out else None
            body = record_body(seq, recorded_at, request, worked_out)
            digest = chain_hash(digest, body)
            rows.add(seq, recorded_at, request, request_sha256, applied, body, digest)
            record = JournalRecord(
                seq=seq,
                kind=request["kind"],
                recorded_at=recorded_time,
                effective_at=time_of(applied.effective_at),
                request=request,
                legs=applied.moved,
                body=body,
                hash=digest,
            )
            known[request["key"]] = record
            answers.append(record)
        rows.insert(connection)
        return answers


def _part_legs(reserved: JournalRecord | None, seq: int, part: Money) -> tuple[Leg, ...]:
    if reserved is None or reserved.kind != "reserve":
        raise EntryUnknown(seq, "pending entry")
    if len(reserved.legs) != 2 or part.amount_minor <= 0:
        raise PendingExceeded(seq, "a part needs a positive amount and two legs; give legs instead")
    return tuple(
        Leg(
            account=leg.account,
            amount_minor=part.amount_minor if leg.amount_minor > 0 else -part.amount_minor,
            currency=part.currency,
        )
        for leg in reserved.legs
    )
