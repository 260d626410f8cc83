"""Commands over a ledger: `solar-fund ledger …`."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

Database = Annotated[str, typer.Argument(help="An SQLite file, or a postgresql+pg8000:// address.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class FormatName(StrEnum):
    """Texts the books can be written as."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `solar-fund`."""
    ledger = typer.Typer(no_args_is_help=True, help="Check, export and read the books.")
    ledger.command("init", epilog="Example: solar-fund ledger init fund.db --currency EUR")(init)
    ledger.command("check", epilog="Example: solar-fund ledger check fund.db --json")(check)
    ledger.command(
        "export", epilog="Example: solar-fund ledger export fund.db --format beancount > fund.bean"
    )(export)
    ledger.command("balances", epilog="Example: solar-fund ledger balances fund.db --json")(
        balances
    )
    ledger.command(
        "statement",
        epilog="Example: solar-fund ledger statement fund.db --account Assets:Bank"
        " --currency EUR --start 2026-10-01 --end 2026-11-01 --json",
    )(statement)
    ledger.command("suspense", epilog="Example: solar-fund ledger suspense fund.db --json")(
        suspense
    )
    ledger.command("prove", epilog="Example: solar-fund ledger prove fund.db 17 --json")(prove)
    app.add_typer(ledger, name="ledger")


def init(
    database: Annotated[Path, typer.Argument(help="A new SQLite file.")],
    currency: Annotated[list[str], typer.Option(help="Code of ISO 4217; may be repeated.")],
) -> None:
    """Create a ledger with the cooperative's standard accounts."""
    from solar_fund.errors import InputFileInvalid
    from solar_fund.ledger.accounts import standard_chart
    from solar_fund.ledger.sql import open_ledger

    chart = standard_chart(*currency)
    if database.exists():
        raise InputFileInvalid(str(database), "", "the file exists already; choose a new name")
    if not database.parent.is_dir():
        raise InputFileInvalid(str(database.parent), "", "there is no such folder")
    ledger = open_ledger(database)
    try:
        ledger.open_accounts(chart)
    finally:
        ledger.close()
    print(f"{database}: {len(chart)} accounts open")


def check(
    database: Database,
    expect_head: Annotated[
        str | None,
        typer.Option(help="A published chain head as NUMBER:HASH that must still be there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay the whole journal and name the first record that is wrong (exit code 1)."""
    from solar_fund.errors import LedgerDamaged
    from solar_fund.ledger.file_check import check_database, unreadable
    from solar_fund.ledger.verification import ChainHead

    expected = None if expect_head is None else ChainHead.parse(expect_head)
    try:
        with _reading(database) as connection:
            report = check_database(connection, expected)
    except LedgerDamaged as damage:
        report = unreadable(damage.problem)
    if as_json:
        print(
            json.dumps(
                {
                    "ok": report.is_whole,
                    "records": report.records,
                    "first_bad": report.first_bad_seq,
                    "problem": report.problem,
                    "head": {"seq": report.head.seq, "hash": report.head.hash},
                }
            )
        )
    elif report.is_whole:
        print(f"{report.records} records, all well; head {report.head.seq}:{report.head.hash}")
    if not report.is_whole:
        where = "" if report.first_bad_seq is None else f"record {report.first_bad_seq}: "
        print(f"error: {database}: {where}{report.problem}", file=sys.stderr)
        raise typer.Exit(1)


def export(
    database: Database,
    export_format: Annotated[
        FormatName, typer.Option("--format", help="For which program.")
    ] = FormatName.BEANCOUNT,
) -> None:
    """Write the posted books as text to standard output."""
    from solar_fund.ledger.export import ExportFormat, export_lines

    with _reading(database) as connection:
        for line in export_lines(connection, ExportFormat(export_format.value)):
            sys.stdout.write(line)


def prove(
    database: Database,
    seq: Annotated[int, typer.Argument(help="Number of the record.")],
    first: Annotated[int, typer.Option(help="First record under the root.")] = 1,
    last: Annotated[int | None, typer.Option(help="Last one; the newest if left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print a record with the proof that it stands under the root of a run of records."""
    from solar_fund.ledger.period_root import record_proof
    from solar_fund.ledger.verification import chain_head

    with _reading(database) as connection:
        last_seq = chain_head(connection).seq if last is None else last
        proof = record_proof(connection, seq, first, last_seq)
    if as_json:
        period = {"first": first, "last": last_seq, "root": proof.period.root}
        found = {"seq": seq, "body": proof.body, "period": period, "path": list(proof.path)}
        print(json.dumps(found))
        return
    print(f"{proof.body}\nroot of records {first} to {last_seq}: {proof.period.root}")
    for node in proof.path:
        print(f"  {node}")


def balances(database: Database, as_json: AsJson = False) -> None:
    """Print the trial balance: posted and pending, per account and currency."""
    from solar_fund.ledger.reports import trial_balance
    from solar_fund.money import Money

    with _reading(database) as connection:
        lines = trial_balance(connection)
    if as_json:
        rows = [
            {
                "account": line.account,
                "currency": line.currency,
                "posted_minor": line.balance.posted_minor,
                "pending_debit_minor": line.balance.pending_debit_minor,
                "pending_credit_minor": line.balance.pending_credit_minor,
            }
            for line in lines
        ]
        print(json.dumps({"balances": rows}))
        return
    for line in lines:
        print(f"{Money(line.balance.posted_minor, line.currency)!s:>22}  {line.account}")


def statement(
    database: Database,
    start: Annotated[str, typer.Option(help="First day, UTC, as 2026-10-01.")],
    end: Annotated[str, typer.Option(help="Day after the last one, UTC.")],
    account: Annotated[str | None, typer.Option(help="Name of one account.")] = None,
    currency: Annotated[str, typer.Option(help="Code of ISO 4217, with --account.")] = "EUR",
    member: Annotated[str | None, typer.Option(help="All sub-accounts of this member.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print what happened on an account or to a member, with opening and closing balance."""
    from solar_fund.errors import InputFileInvalid
    from solar_fund.ledger import reports

    if (account is None) == (member is None):
        raise InputFileInvalid("--account", "", "give either --account or --member")
    first, last = _day(start, "--start"), _day(end, "--end")
    with _reading(database) as connection:
        if member is not None:
            found = reports.member_statements(connection, member, start=first, end=last)
        else:
            name = account or ""
            found = [reports.statement(connection, name, currency, start=first, end=last)]
    if as_json and member is None:
        print(json.dumps(_statement_json(found[0])))
    elif as_json:
        statements = [_statement_json(one) for one in found]
        print(json.dumps({"member_id": member, "statements": statements}))
    else:
        for one in found:
            _print_statement(one)


def _print_statement(found: Any) -> None:
    from solar_fund.money import Money

    currency = found.currency
    print(found.account)
    print(f"{Money(found.opening_minor, currency)!s:>22}  opening")
    for line in found.lines:
        day = line.effective_at.date()
        print(f"{Money(line.amount_minor, currency)!s:>22}  {day}  {line.memo} (record {line.seq})")
    print(f"{Money(found.closing_minor, currency)!s:>22}  closing")


def suspense(database: Database, as_json: AsJson = False) -> None:
    """Print what still stands on suspense accounts, oldest first."""
    from solar_fund.ledger.reader import utc_now
    from solar_fund.ledger.reports import suspense_ageing
    from solar_fund.money import Money

    with _reading(database) as connection:
        items = suspense_ageing(connection, utc_now())
    if as_json:
        rows = [
            {
                "account": item.account,
                "currency": item.currency,
                "open_minor": item.open_minor,
                "seq": item.seq,
                "since": item.since.isoformat(),
                "age_days": item.age_days,
                "memo": item.memo,
            }
            for item in items
        ]
        print(json.dumps({"items": rows}))
        return
    for item in items:
        amount = Money(item.open_minor, item.currency)
        print(f"{amount!s:>22}  {item.age_days:>5} days  {item.memo} (record {item.seq})")


def _statement_json(found: Any) -> dict[str, Any]:
    return {
        "account": found.account,
        "currency": found.currency,
        "start": found.start.isoformat(),
        "end": found.end.isoformat(),
        "opening_minor": found.opening_minor,
        "closing_minor": found.closing_minor,
        "lines": [
            {
                "seq": line.seq,
                "effective_at": line.effective_at.isoformat(),
                "recorded_at": line.recorded_at.isoformat(),
                "amount_minor": line.amount_minor,
                "after_minor": line.after_minor,
                "memo": line.memo,
                "evidence": list(line.evidence),
                "authorised_by": line.authorised_by,
            }
            for line in found.lines
        ],
    }


def _day(day_text: str, option: str) -> Any:
    from datetime import UTC, datetime

    from solar_fund.errors import InputFileInvalid

    try:
        return datetime.strptime(day_text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputFileInvalid(option, "", f"{day_text!r} is no day such as 2026-10-01") from None


@contextmanager
def _reading(database: str) -> "Iterator[Connection]":
    from solar_fund.ledger.database import open_for_reading

    with open_for_reading(database) as connection:
        yield connection
