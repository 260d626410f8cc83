"""The books as text that beancount, hledger and spreadsheets read, with equal balances.

Only posted money is exported: those programs know no reservations. Dates are the UTC day on which
an entry takes effect. Amounts are exact, so their tolerance rules never come into play.
"""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum

from sqlalchemy import Connection, select

from solar_fund.ledger import reports
from solar_fund.ledger.journal import JournalRecord, record_from_body
from solar_fund.ledger.tables import JOURNAL
from solar_fund.ledger.verification import ROWS_PER_FETCH
from solar_fund.money import Money, exponent_of

POSTED_KINDS = ("entry", "post", "reverse")


class ExportFormat(StrEnum):
    """Texts the books can be written as."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    CSV = "csv"


def export_lines(connection: Connection, export_format: ExportFormat) -> Iterator[str]:
    """The books in one of the formats, line by line, each with its line end."""
    match export_format:
        case ExportFormat.BEANCOUNT:
            yield from _beancount(connection)
        case ExportFormat.HLEDGER:
            yield from _hledger(connection)
        case ExportFormat.CSV:
            yield from _csv(connection)


def posted_records(connection: Connection) -> Iterator[JournalRecord]:
    """Records that moved posted money, in order of their number."""
    streaming = connection.execution_options(yield_per=ROWS_PER_FETCH)
    rows = streaming.execute(
        select(JOURNAL.c.body, JOURNAL.c.hash)
        .where(JOURNAL.c.kind.in_(POSTED_KINDS))
        .order_by(JOURNAL.c.seq)
    )
    for row in rows:
        yield record_from_body(row.body, row.hash)


def _beancount(connection: Connection) -> Iterator[str]:
    yield 'option "title" "Commonwatt solar fund"\n'
    lines = reports.trial_balance(connection)
    yield from (
        f'option "operating_currency" "{code}"\n'
        for code in sorted({line.currency for line in lines})
    )
    for account in reports.accounts(connection):
        currencies = ",".join(account.currencies)
        yield f"1970-01-01 open {account.name} {currencies}".rstrip() + "\n"
    last = None
    for record in posted_records(connection):
        day = record.effective_at.date()
        last = day if last is None else max(last, day)
        yield f"\n{day} * {_quoted(_memo(record))}\n"
        yield f'  seq: "{record.seq}"\n  recorded: "{record.recorded_at.isoformat()}"\n'
        yield f'  hash: "{record.hash}"\n'
        evidence = " ".join(record.request.get("evidence", ()))
        if evidence:
            yield f'  evidence: "{evidence}"\n'
        if record.request.get("authorised_by"):
            yield f"  authorised: {_quoted(record.request['authorised_by'])}\n"
        for leg in record.legs:
            yield f"  {leg.account}  {_amount(leg.amount_minor, leg.currency)}\n"
            if leg.evidence:
                yield f'    evidence: "{leg.evidence}"\n'
    if last is not None:
        yield "\n"
    for line in lines:
        day_after = (last + timedelta(days=1)) if last is not None else None
        if day_after is not None:
            amount = _amount(line.balance.posted_minor, line.currency)
            yield f"{day_after} balance {line.account}  {amount}\n"


def _hledger(connection: Connection) -> Iterator[str]:
    lines = reports.trial_balance(connection)
    for code in sorted({line.currency for line in lines}):
        yield f"commodity 1000.{'0' * exponent_of(code)} {code}\n"
    for account in reports.accounts(connection):
        yield f"account {account.name}\n"
    last = None
    for record in posted_records(connection):
        day = record.effective_at.date()
        last = day if last is None else max(last, day)
        memo = _memo(record).replace(";", ",")
        yield f"\n{day} * ({record.seq}) {memo}\n    ; hash: {record.hash}\n"
        for leg in record.legs:
            yield f"    {leg.account}  {_amount(leg.amount_minor, leg.currency)}\n"
    if last is not None:
        yield f"\n{last + timedelta(days=1)} * Balances asserted\n"
        for line in lines:
            found = _amount(line.balance.posted_minor, line.currency)
            yield f"    {line.account}  {_amount(0, line.currency)} = {found}\n"


def _csv(connection: Connection) -> Iterator[str]:
    header = (
        "seq kind recorded_at effective_at account currency amount amount_minor memo evidence"
        " authorised_by hash"
    )
    yield _csv_line(header.split())
    for record in posted_records(connection):
        for leg in record.legs:
            evidence = [leg.evidence] if leg.evidence else record.request.get("evidence", ())
            yield _csv_line(
                [
                    str(record.seq),
                    record.kind,
                    record.recorded_at.isoformat(),
                    record.effective_at.isoformat(),
                    leg.account,
                    leg.currency,
                    f"{Money(leg.amount_minor, leg.currency).decimal:f}",
                    str(leg.amount_minor),
                    _memo(record),
                    " ".join(evidence),
                    record.request.get("authorised_by") or "",
                    record.hash,
                ]
            )


def _csv_line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _memo(record: JournalRecord) -> str:
    return str(record.request.get("memo", "")) or record.kind


def _amount(amount_minor: int, currency: str) -> str:
    return str(Money(amount_minor, currency))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
