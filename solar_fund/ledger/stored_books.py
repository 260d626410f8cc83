"""What the rules look up, read from the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from solar_fund.ledger.accounts import Account
from solar_fund.ledger.balances import NO_BALANCE, PERIOD_MARK, Balance, Pending, mark_key
from solar_fund.ledger.journal import JournalRecord, record_from_body
from solar_fund.ledger.tables import ACCOUNT, JOURNAL, MOVEMENT

KEYS_PER_QUERY = 500

# Built once: putting a statement together costs more than running it.
_ACCOUNT_QUERY = select(ACCOUNT).where(ACCOUNT.c.name == bindparam("wanted"))
_BALANCE_QUERY = (
    select(
        MOVEMENT.c.posted_after_minor,
        MOVEMENT.c.pending_debit_after_minor,
        MOVEMENT.c.pending_credit_after_minor,
    )
    .where(
        MOVEMENT.c.account == bindparam("wanted"),
        MOVEMENT.c.currency == bindparam("wanted_currency"),
    )
    .order_by(MOVEMENT.c.seq.desc(), MOVEMENT.c.line.desc())
    .limit(1)
)
_MARKS_QUERY = (
    select(JOURNAL.c.mark_key, func.max(JOURNAL.c.mark_at))
    .where(JOURNAL.c.mark_key.is_not(None))
    .group_by(JOURNAL.c.mark_key)
)
_BY_KEYS_QUERY = select(JOURNAL.c.idempotency_key, JOURNAL.c.body, JOURNAL.c.hash).where(
    JOURNAL.c.idempotency_key.in_(bindparam("wanted", expanding=True))
)


class StoredBooks:
    """A `BooksSource` over one connection."""

    def __init__(self, connection: Connection, accounts: dict[str, Account] | None = None) -> None:
        self._connection = connection
        self._accounts = {} if accounts is None else accounts
        self._marks: dict[str, str] | None = None

    def account(self, name: str, /) -> Account | None:
        """An open account."""
        if name not in self._accounts:
            row = self._connection.execute(_ACCOUNT_QUERY, {"wanted": name}).first()
            if row is None:
                return None
            self._accounts[name] = account_of(row)
        return self._accounts[name]

    def balance(self, account: str, currency: str, /) -> Balance:
        """The balance after the newest movement."""
        wanted = {"wanted": account, "wanted_currency": currency}
        row = self._connection.execute(_BALANCE_QUERY, wanted).first()
        return NO_BALANCE if row is None else Balance(*row)

    def posted_before(self, account: str, currency: str, as_of: str, /) -> int:
        """Posted balance of what took effect before a time [minor units]."""
        total = self._connection.execute(
            select(func.coalesce(func.sum(MOVEMENT.c.posted_minor), 0)).where(
                MOVEMENT.c.account == account,
                MOVEMENT.c.currency == currency,
                MOVEMENT.c.effective_at < as_of,
            )
        ).scalar_one()
        return int(total)

    def pending(self, seq: int, /) -> Pending | None:
        """A reservation less what was posted of it."""
        reserved = self.record(seq)
        if reserved is None or reserved.kind != "reserve":
            return None
        rows = self._connection.execute(
            select(JOURNAL.c.seq, JOURNAL.c.body)
            .where(JOURNAL.c.about_seq == seq, JOURNAL.c.kind != "reverse")
            .order_by(JOURNAL.c.seq)
        )
        return pending_after(reserved, [record_from_body(row.body, "") for row in rows])

    def record(self, seq: int, /) -> JournalRecord | None:
        """A journal record."""
        row = self._connection.execute(
            select(JOURNAL.c.body, JOURNAL.c.hash).where(JOURNAL.c.seq == seq)
        ).first()
        return None if row is None else record_from_body(row.body, row.hash)

    def reversed_by(self, seq: int, /) -> int | None:
        """The record that reversed another one."""
        return self._connection.execute(
            select(JOURNAL.c.seq).where(JOURNAL.c.about_seq == seq, JOURNAL.c.kind == "reverse")
        ).scalar_one_or_none()

    def closed_before(self) -> str | None:
        """End of the last closed period."""
        return self._read_marks().get(PERIOD_MARK)

    def asserted_before(self, account: str, currency: str, /) -> str | None:
        """The latest time as of which a balance was asserted."""
        return self._read_marks().get(mark_key(account, currency))

    def by_keys(self, keys: Sequence[str]) -> dict[str, JournalRecord]:
        """The records that used some idempotency keys."""
        found = {}
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            rows = self._connection.execute(_BY_KEYS_QUERY, {"wanted": part})
            for row in rows:
                found[row.idempotency_key] = record_from_body(row.body, row.hash)
        return found

    def _read_marks(self) -> dict[str, str]:
        """Closed periods and balance assertions, both few, in one query."""
        if self._marks is None:
            rows = self._connection.execute(_MARKS_QUERY)
            self._marks = {row[0]: row[1] for row in rows}
        return self._marks


def pending_after(reserved: JournalRecord, later: Sequence[JournalRecord]) -> Pending:
    """What is left of a reservation after the records that are about it."""
    remaining_minor = {(leg.account, leg.currency): leg.amount_minor for leg in reserved.legs}
    resolved_by = None
    for record in later:
        for leg in record.legs if record.kind == "post" else ():
            remaining_minor[leg.account, leg.currency] -= leg.amount_minor
        is_final = record.kind != "post" or not record.request["keep_remainder"]
        if is_final or not any(remaining_minor.values()):
            remaining_minor = dict.fromkeys(remaining_minor, 0)
            resolved_by = record.seq
    return Pending(reserved.seq, reserved.request["expires_at"], remaining_minor, resolved_by)


def account_of(row: Row[Any]) -> Account:
    """Read an account from its row."""
    return Account(
        name=row.name,
        currencies=tuple(row.currencies.split()),
        no_overdraft=row.no_overdraft == 1,
        member_id=row.member_id,
        suspense=row.suspense == 1,
    )
