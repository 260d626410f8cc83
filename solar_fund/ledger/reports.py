"""What people read from the books: trial balance, statements, pending money, suspense by age."""

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, exists, func, select

from solar_fund.ledger.accounts import Account
from solar_fund.ledger.balances import Balance, Pending
from solar_fund.ledger.journal import record_from_body, time_text
from solar_fund.ledger.stored_books import StoredBooks, account_of
from solar_fund.ledger.tables import ACCOUNT, JOURNAL, MOVEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialBalanceLine:
    """One account and currency of the trial balance."""

    account: str
    currency: str
    balance: Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One movement on a statement.

    Attributes:
        seq: Journal record behind it.
        recorded_at: When the ledger took it, aware UTC.
        effective_at: When it counts, aware UTC.
        amount_minor: Debit if positive, credit if negative [minor units].
        after_minor: Balance after it, in order of the statement [minor units].
        memo: What a person should read.
        evidence: Hashes of the documents it rests on.
        authorised_by: Id of the vote or decision behind it.
    """

    seq: int
    recorded_at: datetime
    effective_at: datetime
    amount_minor: int
    after_minor: int
    memo: str
    evidence: tuple[str, ...]
    authorised_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One account's movements in `[start, end)`, opening and closing balance [minor units]."""

    account: str
    currency: str
    start: datetime
    end: datetime
    opening_minor: int
    closing_minor: int
    lines: tuple[StatementLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspenseItem:
    """Money on a suspense account that nobody has placed yet.

    Attributes:
        account: The suspense account.
        currency: Code of ISO 4217.
        open_minor: What is still open of this record, with its sign [minor units].
        seq: Record that brought it.
        since: When that took effect, aware UTC.
        age_days: Whole days since then.
        memo: What the record says.
    """

    account: str
    currency: str
    open_minor: int
    seq: int
    since: datetime
    age_days: int
    memo: str


def accounts(connection: Connection, member_id: str | None = None) -> list[Account]:
    """Open accounts in order of name, or one member's."""
    query = select(ACCOUNT).order_by(ACCOUNT.c.name)
    if member_id is not None:
        query = query.where(ACCOUNT.c.member_id == member_id)
    return sorted((account_of(row) for row in connection.execute(query)), key=_by_name)


def trial_balance(
    connection: Connection,
    *,
    as_of: datetime | None = None,
    known_at: datetime | None = None,
    account: str | None = None,
    currency: str | None = None,
) -> list[TrialBalanceLine]:
    """Balances of all accounts, or of one, by effective and recorded time."""
    filters = [
        *_time_filters(connection, as_of, known_at),
        *([] if account is None else [MOVEMENT.c.account == account]),
        *([] if currency is None else [MOVEMENT.c.currency == currency]),
    ]
    rows = connection.execute(
        select(
            MOVEMENT.c.account,
            MOVEMENT.c.currency,
            func.sum(MOVEMENT.c.posted_minor),
            func.sum(MOVEMENT.c.pending_debit_minor),
            func.sum(MOVEMENT.c.pending_credit_minor),
        )
        .where(*filters)
        .group_by(MOVEMENT.c.account, MOVEMENT.c.currency)
    )
    lines = [
        TrialBalanceLine(
            account=name,
            currency=code,
            balance=Balance(int(posted), int(pending_debit), int(pending_credit)),
        )
        for name, code, posted, pending_debit, pending_credit in rows
    ]
    return sorted(lines, key=lambda line: (line.account, line.currency))


def statement(
    connection: Connection,
    account: str,
    currency: str,
    *,
    start: datetime,
    end: datetime,
    known_at: datetime | None = None,
) -> Statement:
    """Posted movements of an account in `[start, end)` by effective time."""
    filters = [
        MOVEMENT.c.account == account,
        MOVEMENT.c.currency == currency,
        MOVEMENT.c.posted_minor != 0,
        *_time_filters(connection, None, known_at),
    ]
    opening_minor = int(
        connection.execute(
            select(func.coalesce(func.sum(MOVEMENT.c.posted_minor), 0)).where(
                *filters, MOVEMENT.c.effective_at < time_text(start)
            )
        ).scalar_one()
    )
    rows = connection.execute(
        select(MOVEMENT.c.posted_minor, JOURNAL.c.body, JOURNAL.c.hash)
        .join(JOURNAL, JOURNAL.c.seq == MOVEMENT.c.seq)
        .where(
            *filters,
            MOVEMENT.c.effective_at >= time_text(start),
            MOVEMENT.c.effective_at < time_text(end),
        )
        .order_by(MOVEMENT.c.effective_at, MOVEMENT.c.seq, MOVEMENT.c.line)
    )
    lines = []
    after_minor = opening_minor
    for row in rows:
        record = record_from_body(row.body, row.hash)
        after_minor += row.posted_minor
        own_evidence = [
            leg.evidence
            for leg in record.legs
            if leg.evidence is not None and (leg.account, leg.currency) == (account, currency)
        ]
        lines.append(
            StatementLine(
                seq=record.seq,
                recorded_at=record.recorded_at,
                effective_at=record.effective_at,
                amount_minor=row.posted_minor,
                after_minor=after_minor,
                memo=record.request.get("memo", ""),
                evidence=(*own_evidence, *record.request.get("evidence", ())),
                authorised_by=record.request.get("authorised_by"),
            )
        )
    return Statement(
        account=account,
        currency=currency,
        start=start,
        end=end,
        opening_minor=opening_minor,
        closing_minor=after_minor,
        lines=tuple(lines),
    )


def member_statements(
    connection: Connection,
    member_id: str,
    *,
    start: datetime,
    end: datetime,
    known_at: datetime | None = None,
) -> list[Statement]:
    """Statements of all sub-accounts of a member: pocket and capital, in each currency they hold.

    An account that stands at zero and did not move is left out.
    """
    found = []
    for account in accounts(connection, member_id):
        lines = trial_balance(connection, account=account.name, known_at=known_at)
        for line in lines:
            one = statement(
                connection, account.name, line.currency, start=start, end=end, known_at=known_at
            )
            if one.lines or one.opening_minor:
                found.append(one)
    return found


def open_pendings(connection: Connection, *, expired_at: str | None = None) -> list[Pending]:
    """All reservations that are not resolved, in order.

    Args:
        connection: To read from.
        expired_at: Only those whose time has run out by then, text of `time_text`.
    """
    later = JOURNAL.alias("later")
    about = later.c.about_seq == JOURNAL.c.seq
    query = (
        select(JOURNAL.c.seq)
        .where(JOURNAL.c.kind == "reserve", ~exists().where(about, later.c.is_final == 1))
        .order_by(JOURNAL.c.seq)
    )
    if expired_at is not None:
        query = query.where(JOURNAL.c.expires_at <= expired_at)
    source = StoredBooks(connection)
    found = [source.pending(seq) for seq in connection.execute(query).scalars().all()]
    return [pending for pending in found if pending is not None]


def suspense_ageing(connection: Connection, now: datetime) -> list[SuspenseItem]:
    """What still stands on suspense accounts, oldest first.

    Money that leaves a suspense account is taken to settle the oldest of the other side first.
    """
    rows = connection.execute(
        select(MOVEMENT.c.account, MOVEMENT.c.currency, MOVEMENT.c.posted_minor, JOURNAL.c.body)
        .join(ACCOUNT, ACCOUNT.c.name == MOVEMENT.c.account)
        .join(JOURNAL, JOURNAL.c.seq == MOVEMENT.c.seq)
        .where(ACCOUNT.c.suspense == 1, MOVEMENT.c.posted_minor != 0)
        .order_by(MOVEMENT.c.effective_at, MOVEMENT.c.seq, MOVEMENT.c.line)
    )
    queues: dict[tuple[str, str], list[SuspenseItem]] = {}
    for account, currency, posted_minor, body in rows:
        record = record_from_body(body, "")
        item = SuspenseItem(
            account=account,
            currency=currency,
            open_minor=posted_minor,
            seq=record.seq,
            since=record.effective_at,
            age_days=(now - record.effective_at).days,
            memo=record.request.get("memo", ""),
        )
        queue = queues.setdefault((account, currency), [])
        queues[account, currency] = _settle_oldest(queue, item)
    items = [item for queue in queues.values() for item in queue]
    return sorted(items, key=lambda item: (item.since, item.seq))


def _settle_oldest(queue: list[SuspenseItem], item: SuspenseItem) -> list[SuspenseItem]:
    """Add an item to a queue of one sign, or use it up against the oldest of the other sign."""
    left_minor = item.open_minor
    rest = list(queue)
    while rest and left_minor and (rest[0].open_minor < 0) != (left_minor < 0):
        both_minor = rest[0].open_minor + left_minor
        if both_minor == 0 or (both_minor < 0) == (left_minor < 0):
            rest.pop(0)
            left_minor = both_minor
        else:
            rest[0] = replace(rest[0], open_minor=both_minor)
            left_minor = 0
    return [*rest, replace(item, open_minor=left_minor)] if left_minor else rest


def _by_name(account: Account) -> str:
    return account.name


def _time_filters(
    connection: Connection, as_of: datetime | None, known_at: datetime | None
) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if as_of is not None:
        filters.append(MOVEMENT.c.effective_at < time_text(as_of))
    if known_at is not None:
        seq_max = connection.execute(
            select(func.coalesce(func.max(JOURNAL.c.seq), 0)).where(
                JOURNAL.c.recorded_at < time_text(known_at)
            )
        ).scalar_one()
        filters.append(MOVEMENT.c.seq <= seq_max)
    return filters
