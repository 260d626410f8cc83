"""Proof that the books are what was written: replay the journal, compare all that is stored."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, func, select
from sqlalchemy.exc import DatabaseError

from solar_fund.errors import EntryInvalid, FundError, LedgerDamaged
from solar_fund.ledger.accounts import Account, account_as_plain
from solar_fund.ledger.balances import NO_BALANCE, Balance, Movement, Pending
from solar_fund.ledger.books import Books
from solar_fund.ledger.journal import (
    GENESIS_HASH,
    JournalRecord,
    canonical_text,
    chain_hash,
    check_hash,
    record_from_body,
    request_digest,
)
from solar_fund.ledger.tables import ACCOUNT, JOURNAL, MOVEMENT

# What reading a damaged file may end in: SQLite's message about it is itself not always text.
UNREADABLE = (DatabaseError, UnicodeDecodeError)


ROWS_PER_FETCH = 5_000

_HEAD_QUERY = (
    select(JOURNAL.c.seq, JOURNAL.c.hash, JOURNAL.c.recorded_at)
    .order_by(JOURNAL.c.seq.desc())
    .limit(1)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainHead:
    """The newest record: publish it, and nobody can rewrite what is behind it."""

    seq: int
    hash: str
    recorded_at: str = ""

    @classmethod
    def parse(cls, text: str) -> "ChainHead":
        """Read a published head written as `SEQ:HASH`.

        Raises:
            EntryInvalid: The text has another form.
        """
        seq_text, _, digest = text.partition(":")
        if not seq_text.isdecimal():
            raise EntryInvalid(f"chain head {text[:80]!r} must be written as NUMBER:HASH")
        check_hash(digest)
        return cls(seq=int(seq_text), hash=digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What a check of the whole ledger found.

    Attributes:
        records: How many records were replayed without fault.
        first_bad_seq: The first record that is wrong; None if all is well, or if no single record
            can be named.
        problem: What is wrong with it; None if all is well.
        head: The newest record.
    """

    records: int
    first_bad_seq: int | None
    problem: str | None
    head: ChainHead

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return self.problem is None


def chain_head(connection: Connection) -> ChainHead:
    """Number and hash of the newest record."""
    row = connection.execute(_HEAD_QUERY).first()
    if row is None:
        return ChainHead(seq=0, hash=GENESIS_HASH)
    return ChainHead(seq=row.seq, hash=row.hash, recorded_at=row.recorded_at)


def verify_chain(connection: Connection, expected_head: ChainHead | None = None) -> ChainReport:
    """Replay every record under the rules and compare hashes, columns, accounts and movements.

    Args:
        connection: To read from; records appended meanwhile are left out.
        expected_head: A head published earlier; detects a journal cut short or written anew.
    """
    head = chain_head(connection)
    replay = _Replay(connection, expected_head)
    try:
        try:
            _replay_in_bulk(connection, replay, head.seq)
        except UNREADABLE:
            # A page or text that cannot be read spoils a whole fetch; go on record by record.
            _replay_one_by_one(connection, replay, head.seq)
    except LedgerDamaged as damage:
        return ChainReport(
            records=replay.seq, first_bad_seq=damage.seq, problem=damage.problem, head=head
        )
    if expected_head is not None and expected_head.seq > replay.seq:
        return ChainReport(
            records=replay.seq,
            first_bad_seq=replay.seq + 1,
            problem=f"the journal was cut: a published head names record {expected_head.seq}",
            head=head,
        )
    return ChainReport(records=replay.seq, first_bad_seq=None, problem=None, head=head)


def account_row(seq: int, plain: Mapping[str, Any]) -> dict[str, Any]:
    """An account's body as its row."""
    return {
        "name": plain["name"],
        "seq": seq,
        "currencies": " ".join(plain["currencies"]),
        "no_overdraft": int(plain["no_overdraft"]),
        "member_id": plain["member_id"],
        "suspense": int(plain["suspense"]),
    }


def movement_row(movement: Movement) -> dict[str, Any]:
    """A movement as its row."""
    return {
        "seq": movement.seq,
        "line": movement.line,
        "account": movement.account,
        "currency": movement.currency,
        "effective_at": movement.effective_at,
        "posted_minor": movement.posted_minor,
        "pending_debit_minor": movement.pending_debit_minor,
        "pending_credit_minor": movement.pending_credit_minor,
        "posted_after_minor": movement.after.posted_minor,
        "pending_debit_after_minor": movement.after.pending_debit_minor,
        "pending_credit_after_minor": movement.after.pending_credit_minor,
    }


class _Replay:
    """The books as the journal alone makes them."""

    def __init__(self, connection: Connection, expected_head: ChainHead | None) -> None:
        self.expected_head = expected_head
        self.seq = 0
        self.hash = GENESIS_HASH
        self.recorded_at = ""
        self.source = _ReplaySource(connection)
        self.books = Books(self.source)

    def step(
        self,
        row: RowMapping,
        stored_accounts: list[RowMapping],
        stored_movements: list[RowMapping],
    ) -> None:
        """Replay one record.

        Raises:
            LedgerDamaged: It is wrong.
        """
        seq = self.seq + 1
        if row["seq"] != seq:
            raise LedgerDamaged(seq, "the record is missing")
        self._check_hash(seq, row)
        try:
            record = record_from_body(row["body"], row["hash"])
            movements = self._check_journal(seq, row, record)
        except LedgerDamaged:
            raise
        except FundError as refusal:
            raise LedgerDamaged(seq, f"the rules refuse it: {refusal}") from None
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            problem = f"its body cannot be read ({type(error).__name__}: {error})"
            raise LedgerDamaged(seq, problem) from None
        if stored_accounts != self._account_rows(record):
            raise LedgerDamaged(seq, "its row in ledger_account differs from its body")
        if stored_movements != [movement_row(movement) for movement in movements]:
            raise LedgerDamaged(seq, "its rows in ledger_movement differ from its body")
        self._check_published(seq, row["hash"])
        self.seq, self.hash, self.recorded_at = seq, row["hash"], row["recorded_at"]
        self.source.seq = seq

    def _check_hash(self, seq: int, row: RowMapping) -> None:
        body, digest = row["body"], row["hash"]
        try:
            found = chain_hash(self.hash, body)
        except (AttributeError, UnicodeEncodeError):
            raise LedgerDamaged(seq, "its body is not text") from None
        if found != digest:
            problem = "its body does not match its hash: it was changed after it was written"
            raise LedgerDamaged(seq, problem)

    def _check_journal(
        self, seq: int, row: RowMapping, record: JournalRecord
    ) -> tuple[Movement, ...]:
        """Apply the record's request and compare what is stored about it in the journal."""
        fields = json.loads(row["body"])
        request = fields["request"]
        if canonical_text(fields) != row["body"]:
            raise LedgerDamaged(seq, "its body is not in canonical form")
        applied = self.books.apply(seq, fields["recorded_at"], request)
        wanted = {
            "seq": fields["seq"],
            "kind": record.kind,
            "about_seq": applied.about_seq,
            "is_final": applied.is_final,
            "expires_at": applied.expires_at,
            "mark_key": applied.mark_key,
            "mark_at": applied.mark_at,
            "idempotency_key": request["key"],
            "request_sha256": request_digest(request),
            "recorded_at": fields["recorded_at"],
            "effective_at": applied.effective_at,
        }
        for name, value in wanted.items():
            if row[name] != value:
                raise LedgerDamaged(seq, f"column {name} of ledger_journal differs from its body")
        if fields["recorded_at"] < self.recorded_at:
            raise LedgerDamaged(seq, "it was recorded before the record in front of it")
        legs = [leg.as_list() for leg in applied.moved] if applied.worked_out else None
        if fields.get("applied") != legs:
            raise LedgerDamaged(seq, "the legs it applied differ from what the rules give")
        return applied.movements

    def _account_rows(self, record: JournalRecord) -> list[dict[str, Any]]:
        if record.kind != "open":
            return []
        plain = account_as_plain(self.books.account(record.request["account"]["name"]))
        return [account_row(record.seq, plain)]

    def _check_published(self, seq: int, found: str) -> None:
        published = self.expected_head
        if published is not None and published.seq == seq and published.hash != found:
            raise LedgerDamaged(seq, f"its hash differs from the published head {published.hash}")


class _ReplaySource:
    """A `BooksSource` that gives out nothing but what was replayed.

    The originals of reversals and the sums of assertions are few and far between: they are read
    from the rows already checked instead of being kept in memory for a journal of any length.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.seq = 0

    def account(self, _name: str, /) -> Account | None:
        """Accounts opened so far are remembered by the books."""
        return None

    def balance(self, _account: str, _currency: str, /) -> Balance:
        """Balances moved so far are remembered by the books."""
        return NO_BALANCE

    def posted_before(self, account: str, currency: str, as_of: str, /) -> int:
        total = self.connection.execute(
            select(func.coalesce(func.sum(MOVEMENT.c.posted_minor), 0)).where(
                MOVEMENT.c.account == account,
                MOVEMENT.c.currency == currency,
                MOVEMENT.c.effective_at < as_of,
                MOVEMENT.c.seq <= self.seq,
            )
        ).scalar_one()
        return int(total)

    def pending(self, _seq: int, /) -> Pending | None:
        """Reservations made so far are remembered by the books."""
        return None

    def record(self, seq: int, /) -> JournalRecord | None:
        if seq > self.seq:
            return None
        row = self.connection.execute(
            select(JOURNAL.c.body, JOURNAL.c.hash).where(JOURNAL.c.seq == seq)
        ).first()
        return None if row is None else record_from_body(row.body, row.hash)

    def reversed_by(self, _seq: int, /) -> int | None:
        """Reversals made so far are remembered by the books."""
        return None

    def closed_before(self) -> str | None:
        """Closed periods so far are remembered by the books."""
        return None

    def asserted_before(self, _account: str, _currency: str, /) -> str | None:
        """Assertions so far are remembered by the books."""
        return None


def _replay_in_bulk(connection: Connection, replay: _Replay, seq_max: int) -> None:
    """Replay the journal with the rows of all three tables read side by side."""
    accounts = _by_seq(_rows(connection, ACCOUNT, seq_max))
    movements = _by_seq(_rows(connection, MOVEMENT, seq_max))
    next_accounts, next_movements = next(accounts, None), next(movements, None)
    for row in _rows(connection, JOURNAL, seq_max):
        own_accounts: list[RowMapping] = []
        own_movements: list[RowMapping] = []
        if next_accounts is not None and next_accounts[0] <= row["seq"]:
            own_accounts, next_accounts = next_accounts[1], next(accounts, None)
        if next_movements is not None and next_movements[0] <= row["seq"]:
            own_movements, next_movements = next_movements[1], next(movements, None)
        replay.step(row, own_accounts, own_movements)
    for left in (next_accounts, next_movements):
        if left is not None:
            raise LedgerDamaged(left[0], "accounts or movements are stored without their record")


def _replay_one_by_one(connection: Connection, replay: _Replay, seq_max: int) -> None:
    """Replay the rest of the journal with one query per record and table."""
    for seq in range(replay.seq + 1, seq_max + 1):
        try:
            rows = {
                table.name: connection.execute(_query(table).where(table.c.seq == seq))
                .mappings()
                .all()
                for table in (JOURNAL, MOVEMENT)
            }
            journal = rows[JOURNAL.name]
            named = _opened_name(journal[0]["body"]) if journal else None
            by_name = _query(ACCOUNT).where(ACCOUNT.c.name == named)
            accounts = connection.execute(by_name).mappings().all() if named else []
        except UNREADABLE as error:
            raise LedgerDamaged(
                seq, f"the database cannot read it: {why_unreadable(error)}"
            ) from None
        if not journal:
            raise LedgerDamaged(seq, "the record is missing")
        replay.step(journal[0], list(accounts), list(rows[MOVEMENT.name]))


def _opened_name(body: str) -> str | None:
    try:
        name = json.loads(body)["request"]["account"]["name"]
    except (KeyError, TypeError, ValueError):
        return None
    return name if isinstance(name, str) else None


def _query(table: Table) -> Select[Any]:
    order = [table.c.seq, table.c.line] if "line" in table.c else [table.c.seq]
    return select(table).order_by(*order)


def _rows(connection: Connection, table: Table, seq_max: int) -> Iterator[RowMapping]:
    """All rows up to a record, in order, a few thousand at a time."""
    streaming = connection.execution_options(yield_per=ROWS_PER_FETCH)
    yield from streaming.execute(_query(table).where(table.c.seq <= seq_max)).mappings()


def _by_seq(rows: Iterator[RowMapping]) -> Iterator[tuple[int, list[RowMapping]]]:
    """Rows gathered by the record they belong to."""
    seq: int | None = None
    group: list[RowMapping] = []
    for row in rows:
        if seq is not None and row["seq"] != seq:
            yield seq, group
            group = []
        seq = row["seq"]
        group.append(row)
    if seq is not None:
        yield seq, group


def why_unreadable(error: DatabaseError | UnicodeDecodeError) -> str:
    """Say in one line why a damaged database could not be read."""
    if isinstance(error, UnicodeDecodeError):
        return "a text in it, or the message about it, is no UTF-8"
    return " ".join(str(error.orig).split())
