"""Commands that move money: `solar-fund payouts …` and `solar-fund reconcile`.

They trust the name given with `--by`; the web pages of the cooperative sign people in instead.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from solar_fund.payments.orders import OrderBatch
    from solar_fund.payments.reconciliation import Reconciler

Database = Annotated[str, typer.Argument(help="An SQLite file, or a postgresql+pg8000:// address.")]
Batch = Annotated[str, typer.Argument(help="Id of the batch.")]
By = Annotated[str, typer.Option(help="Name of the person who does it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to `solar-fund`."""
    payouts = typer.Typer(no_args_is_help=True, help="Propose, release and write payouts.")
    payouts.command(
        "propose",
        epilog="Example: solar-fund payouts propose fund.db --key 2026-10 --accounts payees.csv"
        " --by anna --json",
    )(propose)
    payouts.command("release", epilog="Example: solar-fund payouts release fund.db CW12… --by ben")(
        release
    )
    payouts.command("cancel", epilog="Example: solar-fund payouts cancel fund.db CW12… --by anna")(
        cancel
    )
    payouts.command(
        "file",
        epilog="Example: solar-fund payouts file fund.db CW12… --own-name 'Sonnendach eG'"
        " --own-iban NL91ABNA0417164300 --execution-date 2026-11-02 > payouts.xml",
    )(file)
    payouts.command("list", epilog="Example: solar-fund payouts list fund.db --json")(list_batches)
    app.add_typer(payouts, name="payouts")
    app.command(
        "reconcile",
        epilog="Example: solar-fund reconcile fund.db camt053.xml --own-iban NL91ABNA0417164300"
        " --json",
    )(reconcile)


def propose(
    database: Database,
    key: Annotated[str, typer.Option(help="Names the batch for good; a retry repeats it.")],
    accounts: Annotated[Path, typer.Option(help="CSV with member_id, name and iban.")],
    by: By,
    minimum: Annotated[str, typer.Option(help="Smaller pockets are carried forward.")] = "10.00",
    memo: Annotated[str, typer.Option(help="What members read.")] = "Savings",
    as_json: AsJson = False,
) -> None:
    """Reserve what members' pockets can pay out, for those with a bank account in the file."""
    from solar_fund.errors import PayoutRefused
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.money import Money
    from solar_fund.payments.desk import PaymentDesk, PaymentRequest
    from solar_fund.payments.orders import BatchKind, find_batch
    from solar_fund.payments.payee_file import read_payees

    payees = read_payees(accounts)
    minimum_minor = Money.parse(minimum, "EUR").amount_minor
    with open_for_writing(database) as connection:
        desk = PaymentDesk(connection)
        batch = find_batch(connection, batch_key=key)
        if batch is None:
            requests = [
                PaymentRequest(
                    member_id=member_id,
                    name=payees[member_id].name,
                    iban=payees[member_id].iban,
                    money=money,
                    memo=memo,
                )
                for member_id, money in sorted(desk.payable(minimum_minor=minimum_minor).items())
                if member_id in payees and money.currency == "EUR"
            ]
            if not requests:
                raise PayoutRefused(key, "no pocket of a listed member reaches the minimum")
            batch = desk.propose(key, requests, kind=BatchKind.PAYOUT, by=by)
    _print_batch(batch, as_json)


def release(database: Database, batch_id: Batch, by: By, as_json: AsJson = False) -> None:
    """Let a batch leave; another person than the proposer has to do it."""
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.payments.desk import PaymentDesk

    with open_for_writing(database) as connection:
        batch = PaymentDesk(connection).release(batch_id, by=by)
    _print_batch(batch, as_json)


def cancel(database: Database, batch_id: Batch, by: By, as_json: AsJson = False) -> None:
    """Give back what an unreleased batch reserved."""
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.payments.desk import PaymentDesk

    with open_for_writing(database) as connection:
        batch = PaymentDesk(connection).cancel(batch_id, by=by)
    _print_batch(batch, as_json)


def file(
    database: Database,
    batch_id: Batch,
    own_name: Annotated[str, typer.Option(help="The cooperative's name at its bank.")],
    own_iban: Annotated[str, typer.Option(help="The account that pays or collects.")],
    execution_date: Annotated[str, typer.Option(help="Requested day, as 2026-11-02.")],
    schema: Annotated[
        str | None,
        typer.Option(help="pain.001.001.09 (default) or .03; pain.008.001.08 (default) or .02."),
    ] = None,
    creditor_id: Annotated[
        str | None, typer.Option(help="SEPA creditor identifier, for direct debits.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write here, not to standard output.")] = None,
) -> None:
    """Write a released batch as a SEPA file for the bank."""
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.payments import sepa
    from solar_fund.payments.desk import PaymentDesk
    from solar_fund.payments.orders import BatchKind

    day = _day(execution_date)
    own = sepa.OwnAccount(name=own_name, iban=own_iban, creditor_id=creditor_id)
    with open_for_writing(database) as connection:
        batch = PaymentDesk(connection).released(batch_id)
    if batch.kind is BatchKind.PAYOUT:
        version = _choice(sepa.CreditTransferSchema, schema, sepa.CreditTransferSchema.V09)
        content = sepa.credit_transfer_file(batch, own, day, version)
    else:
        version_dd = _choice(sepa.DirectDebitSchema, schema, sepa.DirectDebitSchema.V08)
        content = sepa.direct_debit_file(batch, own, day, version_dd)
    if output is None:
        sys.stdout.write(content.decode() + "\n")
    else:
        output.write_bytes(content)


def list_batches(database: Database, as_json: AsJson = False) -> None:
    """Print every batch, oldest first."""
    from solar_fund.ledger.database import open_for_reading
    from solar_fund.payments.orders import all_batches, has_payment_tables

    with open_for_reading(database) as connection:
        batches = all_batches(connection) if has_payment_tables(connection) else []
    if as_json:
        print(json.dumps({"batches": [_batch_json(batch) for batch in batches]}))
        return
    for batch in batches:
        print(f"{batch.batch_id}  {batch.total!s:>18}  {_state(batch):9}  {batch.batch_key}")


def reconcile(
    database: Database,
    files: Annotated[list[Path], typer.Argument(help="camt.053 and pain.002 files.")],
    own_iban: Annotated[str, typer.Option(help="The cooperative's account.")],
    assert_closing: Annotated[
        bool, typer.Option(help="Refuse unless the books show the closing balance.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take the bank's files into the books: all of them, or none if one is wrong."""
    from solar_fund.errors import BankFileInvalid, InputFileInvalid
    from solar_fund.ledger.database import open_for_writing
    from solar_fund.payments.bank_xml import read_message
    from solar_fund.payments.camt import read_statements, read_status_report
    from solar_fund.payments.reconciliation import Reconciler

    reports, statements = [], []
    for path in files:
        try:
            content = path.read_bytes()
            if read_message(content).kind == "pain.002":
                reports.append(read_status_report(content))
            else:
                statements.extend(read_statements(content))
        except OSError as error:
            raise InputFileInvalid(str(path), "", f"cannot be read: {error.strerror}") from None
        except BankFileInvalid as error:
            raise InputFileInvalid(str(path), error.place, error.problem) from None
    statements.sort(key=lambda found: (str(found.closing_on or ""), found.statement_id))
    with open_for_writing(database) as connection:
        reconciler = Reconciler(connection, own_iban=own_iban)
        answer = {
            "reports": [_report_json(reconciler, report) for report in reports],
            "statements": [
                _outcome_json(reconciler, statement, assert_closing) for statement in statements
            ],
        }
    if as_json:
        print(json.dumps(answer))
        return
    for report in answer["reports"]:
        print(f"{report['batch_id']}: {len(report['rejected'])} rejected")
    for outcome in answer["statements"]:
        print(
            f"{outcome['statement_id']}: {len(outcome['posted'])} posted,"
            f" {len(outcome['returned'])} returned, {len(outcome['suspense'])} to suspense,"
            f" {outcome['replayed']} known; bank less books {outcome['difference_minor']}"
        )


def _report_json(reconciler: "Reconciler", report: Any) -> dict[str, Any]:
    outcome = reconciler.take_status_report(report)
    return {
        "batch_id": outcome.batch_id,
        "accepted": len(outcome.accepted),
        "rejected": outcome.rejected,
        "duplicate": outcome.duplicate,
        "ignored": outcome.ignored,
    }


def _outcome_json(reconciler: "Reconciler", statement: Any, assert_closing: bool) -> dict[str, Any]:
    outcome = reconciler.take_statement(statement, assert_closing=assert_closing)
    return {
        "statement_id": outcome.statement_id,
        "posted": outcome.posted,
        "returned": outcome.returned,
        "suspense": outcome.suspense,
        "replayed": outcome.replayed,
        "closing_minor": None if outcome.closing is None else outcome.closing.amount_minor,
        "books_minor": None if outcome.books is None else outcome.books.amount_minor,
        "difference_minor": (
            None if outcome.difference is None else outcome.difference.amount_minor
        ),
    }


def _print_batch(batch: "OrderBatch", as_json: bool) -> None:
    if as_json:
        print(json.dumps(_batch_json(batch)))
    else:
        print(f"{batch.batch_id}: {len(batch.orders)} orders, {batch.total}, {_state(batch)}")


def _batch_json(batch: "OrderBatch") -> dict[str, Any]:
    from solar_fund.payments.bank_accounts import mask_iban

    return {
        "batch_id": batch.batch_id,
        "key": batch.batch_key,
        "kind": batch.kind.value,
        "state": _state(batch),
        "created_by": batch.created_by,
        "released_by": batch.released_by,
        "total_minor": batch.total.amount_minor,
        "currency": batch.total.currency,
        "orders": [
            {
                "end_to_end_id": order.end_to_end_id,
                "member_id": order.member_id,
                "amount_minor": order.money.amount_minor,
                "iban": mask_iban(order.iban),
            }
            for order in batch.orders
        ],
    }


def _state(batch: "OrderBatch") -> str:
    if batch.cancelled_at is not None:
        return "cancelled"
    return "proposed" if batch.released_by is None else "released"


def _choice(kinds: Any, text: str | None, default: Any) -> Any:
    from solar_fund.errors import InputFileInvalid

    try:
        return default if text is None else kinds(text)
    except ValueError:
        known = " or ".join(kinds)
        raise InputFileInvalid("--schema", "", f"{text!r} cannot be written; use {known}") from None


def _day(text: str) -> Any:
    from solar_fund.errors import InputFileInvalid

    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise InputFileInvalid("--execution-date", "", f"{text!r} is no day") from None
