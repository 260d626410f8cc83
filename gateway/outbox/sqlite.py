"""The gateway's state store: a thin, locked wrapper that makes each use case one transaction."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from gateway.consent.book import ConsentBook, Keyring
from gateway.outbox import consents, ledger, sealing
from gateway.outbox.reserve import Reserve
from gateway.outbox.rows import (
    KEPT,
    Commit,
    OpenStream,
    at_seconds,
    is_quantity,
    period_to_bytes,
)
from gateway.outbox.schema import FILE_NAME, connect
from gateway.outbox.sealing import SealedBatch
from gateway.wire.batch import BatchAnswer, GapRecord
from gateway.wire.consent import Authority, Grant, decode_event
from gateway.wire.errors import BadConsentEvent
from gateway.wire.reading import Purpose, StreamKey
from gateway.wire.session import KnownConsent
from gateway.wire.signing import SignedMessage

INTERVALS_PER_BATCH_MAX = 20_000
NUMBERS_AT_ONCE = 1_000


class StaleBook(Exception):
    """The consents changed between deciding and writing; decide again."""


class SqliteOutbox:
    """Everything the gateway must not forget.

    Methods may be called from worker threads; one lock serves them one at a time. Another
    process, such as a `coop-gateway consent` command, may write at the same time;
    `changed_elsewhere` tells, and `commit` refuses what an older book of consents decided.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open state file; use `open`."""
        self.path = path
        self.reserve = Reserve(path.parent)
        self._connection = connection
        self._lock = threading.RLock()
        self._numbers: dict[str, tuple[int, int]] = {}
        self._data_version = self._read_data_version()
        self._file = _file_at(path)

    @classmethod
    def open(cls, state_dir: Path, *, read_only: bool = False) -> SqliteOutbox:
        """Open the state in a directory, and make it if there is none.

        Raises:
            StateFault: It cannot be used.
        """
        store = cls(connect(state_dir, read_only=read_only), state_dir / FILE_NAME)
        if not read_only:
            # Power may have been cut after a withdrawal was committed and before the log was cut.
            with suppress(sqlite3.Error):
                store.truncate_log()
        return store

    def close(self) -> None:
        """Close the file; what was committed is on disk already."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements as one: all of them, or none."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look, without writing."""
        with self._lock:
            yield self._connection

    def changed_elsewhere(self) -> bool:
        """Whether another process wrote since this was last asked.

        While one of our own threads waits for a slow card the answer is no: whoever reads the
        meters must not wait along, and `commit` refuses what an older book decided anyway.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            version = self._read_data_version()
        finally:
            self._lock.release()
        changed = version != self._data_version
        self._data_version = version
        return changed

    def fact(self, name: str) -> bytes | None:
        """Read a named fact."""
        with self.reading() as connection:
            return ledger.fact(connection, name)

    def set_fact(self, name: str, content: bytes | None) -> None:
        """Write a named fact, or erase it."""
        with self.transaction() as connection:
            ledger.set_fact(connection, name, content)

    def next_number(self, name: str) -> int:
        """A number higher than any returned before, by this run or an earlier one.

        Numbers are set aside on disk a thousand at a time, so that most cost no write.
        """
        with self._lock:
            following, reserved = self._numbers.get(name, (0, 0))
            # Another process may have set numbers aside beyond ours in the meantime.
            if following >= reserved or ledger.number(self._connection, name) != reserved:
                with self.transaction() as connection:
                    following = ledger.number(connection, name)
                    reserved = following + NUMBERS_AT_ONCE
                    ledger.set_fact(connection, name, str(reserved).encode())
            self._numbers[name] = (following + 1, reserved)
            return following + 1

    def skip_numbers(self, name: str, taken: int) -> None:
        """Go well past a number that the co-op has seen already."""
        with self.transaction() as connection:
            ledger.skip_numbers(connection, name, taken)

    def set_facts(self, **facts: bytes | None) -> None:
        """Write named facts together; what is there already costs no write."""
        with self.reading() as connection:
            changed = {
                name: content
                for name, content in facts.items()
                if ledger.fact(connection, name) != content
            }
        if changed:
            with self.transaction() as connection:
                for name, content in changed.items():
                    ledger.set_fact(connection, name, content)

    def note(self, at: datetime, kind: str, said: str) -> None:
        """Write down something the household should see."""
        with self.transaction() as connection:
            ledger.note(connection, at, kind, said)

    def note_once(self, at: datetime, kind: str, said: str) -> None:
        """Write down something that would be said again and again, once."""
        with self.transaction() as connection:
            ledger.note_once(connection, at, kind, said)

    def book(self, household: str) -> tuple[ConsentBook, int]:
        """The book of consents and its generation, which `commit` asks for."""
        with self.reading() as connection:
            return consents.read_book(connection, household), ledger.generation(connection)

    def take_event(
        self,
        book: ConsentBook,
        message: SignedMessage,
        *,
        keyring: Keyring,
        now: datetime,
        sign: consents.Signer,
    ) -> ConsentBook:
        """Check and record a consent event; erase what it no longer covers; all in one.

        Args:
            book: The book as known, for its household.
            message: The signed event.
            keyring: Whose signatures count.
            now: When, aware UTC.
            sign: Signs the receipt.

        Returns:
            The book with the event in it.

        Raises:
            BadSignature: No known key signed it.
            BadConsentEvent: It rolls back, breaks the chain or widens without a key of the home.
            MalformedMessage: It is no consent event.
        """
        payload, authority = keyring.open_event(message)
        with self.transaction() as connection:
            current = consents.read_book(connection, book.household)
            after = current.with_event(payload, authority)
            if after is current:
                consents.acknowledge(connection, _known(payload))
                return current
            grant = _changed(current, after)
            consents.record(
                connection, message, authority=authority, acknowledged=authority is Authority.COOP
            )
            narrowed = grant.consent_id in current.grants
            if narrowed:
                consents.erase_uncovered(connection, grant, now=now, sign=sign)
                consents.erase_counters(connection, after, now)
            ledger.note(connection, now, "consent", _said(grant))
        if narrowed:
            self.truncate_log()
        return after

    def forget_expired(self, book: ConsentBook, now: datetime) -> None:
        """Erase counter states whose grants have run out, as a withdrawal would."""
        with self.transaction() as connection:
            gone = consents.erase_counters(connection, book, now)
        if gone:
            self.truncate_log()

    def yield_to_coop(
        self, household: str, consent_id: str, version: int
    ) -> tuple[ConsentBook, list[SignedMessage]]:
        """Drop own events that crossed with one from the web, and say which they were."""
        with self.transaction() as connection:
            dropped = [
                event.message
                for event in consents.events(connection)
                if not event.acknowledged and _is_from(event.message, consent_id, version)
            ]
            consents.forget_unacknowledged(connection, consent_id, version)
            ledger.raise_generation(connection)
            return consents.read_book(connection, household), dropped

    def truncate_log(self) -> None:
        """Move everything into the main file and cut the write-ahead log to nothing."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def give_back_room(self) -> None:
        """On a full disk: give up the reserve, and try to empty the write-ahead log."""
        self.reserve.give_up()
        with suppress(sqlite3.Error):
            self.truncate_log()

    def unacknowledged(self) -> tuple[list[SignedMessage], list[SignedMessage]]:
        """Home-made events and receipts that the co-op has not acknowledged."""
        with self.reading() as connection:
            events = [e.message for e in consents.events(connection) if not e.acknowledged]
            return events, consents.receipts(connection, unacknowledged=True)

    def all_receipts(self) -> list[SignedMessage]:
        """Signed receipts of every narrowing and withdrawal."""
        with self.reading() as connection:
            return consents.receipts(connection, unacknowledged=False)

    def acknowledge(
        self, accepted: Iterable[KnownConsent], receipts: Iterable[SignedMessage]
    ) -> None:
        """Note what the co-op has on record."""
        accepted, receipts = list(accepted), list(receipts)
        if not accepted and not receipts:
            return
        with self.transaction() as connection:
            consents.acknowledge(connection, accepted)
            consents.acknowledge_receipts(connection, receipts)

    def open_streams(self) -> dict[StreamKey, OpenStream]:
        """How far each stream has come."""
        with self.reading() as connection:
            return consents.open_streams(connection)

    def counters(self) -> dict[tuple[str, str], bytes]:
        """Counter states by meter and quantity."""
        with self.reading() as connection:
            rows = connection.execute("SELECT meter, quantity, state FROM counter")
            return {(meter, quantity): bytes(state) for meter, quantity, state in rows}

    def commit(self, commit: Commit, *, generation: int) -> None:
        """Write what one commit period added.

        Raises:
            StaleBook: The consents changed since `generation`; nothing was written.
            sqlite3.OperationalError: The disk takes nothing, or the file is not there any more.
        """
        if _file_at(self.path) != self._file:
            # Writing would succeed, into a file that nobody finds again.
            raise sqlite3.OperationalError(
                "the state file was removed or replaced; start the gateway again"
            )
        with self.transaction() as connection:
            if ledger.generation(connection) != generation:
                raise StaleBook
            for stream, state in commit.streams.items():
                _write_stream(connection, stream, state)
            for row in commit.rows:
                ledger.insert_waiting(connection, row)
                ledger.count(connection, row.stream, KEPT, 1)
            for (meter, quantity), stored in commit.counters.items():
                connection.execute(
                    "INSERT INTO counter (meter, quantity, state) VALUES (?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET state = excluded.state",
                    (meter, quantity, stored),
                )
            for (meter, quantity, purpose, what), intervals in commit.tallies.items():
                ledger.count_for(connection, meter, quantity, purpose, what, intervals)
            for gap in commit.gaps:
                ledger.insert_gap(connection, gap)

    def seal(
        self,
        *,
        key_id: str,
        now: datetime,
        purposes: Collection[Purpose],
        intervals_max: int = INTERVALS_PER_BATCH_MAX,
    ) -> bool:
        """Seal the oldest waiting rows into a batch; False if nothing waits."""
        with self.transaction() as connection:
            return sealing.seal_next(
                connection,
                key_id=key_id,
                now=now,
                purposes=purposes,
                intervals_max=intervals_max,
            )

    def next_sealed(self, purposes: Collection[Purpose], *, after: int = 0) -> SealedBatch | None:
        """The oldest sealed batch that may be sent."""
        with self.reading() as connection:
            return sealing.next_sealed(connection, purposes, after=after)

    def settle(self, answer: BatchAnswer, *, now: datetime, day: str) -> bool:
        """Take in an answer; False if the batch is not here any more."""
        with self.transaction() as connection:
            return sealing.settle(connection, answer, now=now, day=day)

    def refuse_whole(self, seq: int, *, reason: str, now: datetime) -> None:
        """Set a batch aside that the co-op will never take."""
        with self.transaction() as connection:
            sealing.refuse_whole(connection, seq, reason=reason, now=now)
            ledger.note(connection, now, "refused", f"batch {seq} was refused: {reason}")

    def unpack(self, seq: int) -> None:
        """Put the rows of a batch back among those that wait."""
        with self.transaction() as connection:
            sealing.unpack(connection, seq)

    def renumber(self, seq: int, *, now: datetime) -> None:
        """Put a batch back whose number the co-op knows with other contents, and go past it."""
        with self.transaction() as connection:
            sealing.unpack(connection, seq)
            ledger.skip_numbers(connection, "batch_seq", seq)
            said = (
                f"the co-op has another batch {seq} of this gateway. If it was not set up again from"
                " an old copy, another device uses its key: rotate it"
            )
            ledger.note(connection, now, "identity", said)

    def erase_waiting(self, now: datetime) -> int:
        """Erase all that waits, because the household chose not to send it; returns how many."""
        with self.transaction() as connection:
            erased = sealing.erase_all(connection)
            ledger.note(connection, now, "pause", f"{erased} waiting intervals were erased")
        self.truncate_log()
        return erased

    def unpack_all(self) -> None:
        """Put the rows of all sealed batches back among those that wait."""
        with self.transaction() as connection:
            for (seq,) in connection.execute("SELECT seq FROM sealed ORDER BY seq").fetchall():
                sealing.unpack(connection, seq)

    def waiting(self) -> int:
        """Intervals that have not been acknowledged."""
        with self.reading() as connection:
            (waiting,) = connection.execute(
                "SELECT (SELECT count(*) FROM waiting)"
                " + (SELECT coalesce(sum(intervals), 0) FROM sealed)"
            ).fetchone()
            return int(waiting)

    def add_gap(self, gap: GapRecord) -> None:
        """Queue a gap record for the next batch."""
        with self.transaction() as connection:
            ledger.insert_gap(connection, gap)

    def _read_data_version(self) -> int:
        with self._lock:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file is at a path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _write_stream(connection: sqlite3.Connection, stream: StreamKey, state: OpenStream) -> None:
    if not is_quantity(stream.quantity):
        raise ValueError(f"{stream}: not a quantity that may be kept")
    period = None
    if state.period is not None and state.permit is not None:
        period = period_to_bytes(state.period, state.permit)
    connection.execute(
        "UPDATE stream SET closed_to_s = ?, period = ? WHERE id = ?",
        (at_seconds(state.closed_to), period, ledger.stream_id(connection, stream)),
    )


def _changed(before: ConsentBook, after: ConsentBook) -> Grant:
    for consent_id, grant in after.grants.items():
        if before.grants.get(consent_id) != grant:
            return grant
    raise BadConsentEvent(consent_id="?", problem="nothing changed")


def _known(payload: bytes) -> list[KnownConsent]:
    event = decode_event(payload)
    return [KnownConsent(consent_id=event.consent_id, version=event.version)]


def _is_from(message: SignedMessage, consent_id: str, version: int) -> bool:
    event = decode_event(message.payload.encode())
    return event.consent_id == consent_id and event.version >= version


def _said(grant: Grant) -> str:
    return f"consent {grant.reference} {grant.state}: {grant.terms.purpose}"
