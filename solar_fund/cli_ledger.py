"""Commands over a ledger and the waterfall: `solar-fund ledger …`, `solar-fund waterfall`."""

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

    from solar_fund.waterfall import SavingsSplit

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
    app.add_typer(ledger, name="ledger")
    app.command(
        "waterfall",
        epilog="Example: solar-fund waterfall savings.csv --currency EUR --costs 12.50 --json",
    )(waterfall)


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


def waterfall(
    savings: Annotated[
        Path,
        typer.Argument(help="CSV with member_id and saving (or saving_minor), maybe evidence."),
    ],
    currency: Annotated[str, typer.Option(help="Code of ISO 4217.")] = "EUR",
    period: Annotated[str, typer.Option(help="Name of the period.")] = "period",
    costs: Annotated[str, typer.Option(help="Direct costs of the period.")] = "0",
    sigma: Annotated[str, typer.Option(help="Standard error of the total saving.")] = "0",
    carried_loss: Annotated[str, typer.Option(help="Deficit of earlier periods.")] = "0",
    reserve: Annotated[str, typer.Option(help="What the reserve holds now.")] = "0",
    monthly_costs: Annotated[
        str | None,
        typer.Option(help="Usual costs of a month; they set the reserve's target."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="TOML file with the voted shares.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Split a period's savings to losers, costs, reserve, fund and pockets, to the cent."""
    from solar_fund.money import Money
    from solar_fund.savings_file import read_parameters, read_savings
    from solar_fund.waterfall import Settlement, split_savings

    rows, evidence = read_savings(savings, currency)
    costs_minor = Money.parse(costs, currency).amount_minor
    settlement = Settlement(
        period=period,
        currency=currency,
        savings=rows,
        evidence=evidence,
        costs_minor=costs_minor,
        sigma_minor=Money.parse(sigma, currency).amount_minor,
        carried_loss_minor=Money.parse(carried_loss, currency).amount_minor,
        reserve_minor=Money.parse(reserve, currency).amount_minor,
        monthly_costs_minor=(
            costs_minor
            if monthly_costs is None
            else Money.parse(monthly_costs, currency).amount_minor
        ),
    )
    split = split_savings(settlement, None if parameters is None else read_parameters(parameters))
    if as_json:
        print(json.dumps(_split_json(split)))
        return
    for name, amount_minor in _split_amounts(split).items():
        print(f"{Money(amount_minor, currency)!s:>22}  {name.removesuffix('_minor')}")


def _split_amounts(split: "SavingsSplit") -> dict[str, int]:
    return {
        "gains_minor": split.gains_minor,
        "net_saving_minor": split.net_saving_minor,
        "deficit_minor": split.deficit_minor,
        "made_whole_minor": split.made_whole_minor,
        "repaid_loss_minor": split.repaid_loss_minor,
        "held_back_minor": split.held_back_minor,
        "costs_minor": split.costs_minor,
        "uncovered_costs_minor": split.uncovered_costs_minor,
        "reserve_minor": split.reserve_minor,
        "fund_minor": split.fund_minor,
        "pocket_minor": split.pocket_minor,
        "total_in_minor": split.total_in_minor,
        "total_out_minor": split.total_out_minor,
    }


def _split_json(split: "SavingsSplit") -> dict[str, Any]:
    from solar_fund.settlement_entries import settlement_drafts

    return {
        "period": split.settlement.period,
        "currency": split.settlement.currency,
        "evidence": split.settlement.evidence,
        **_split_amounts(split),
        "members": [
            {
                "member_id": share.member_id,
                "saving_minor": share.saving_minor,
                "made_whole_minor": share.made_whole_minor,
                "capital_minor": share.capital_minor,
                "pocket_minor": share.pocket_minor,
            }
            for share in split.members
        ],
        "entries": [draft.request("entry") for draft in settlement_drafts(split)],
    }


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
