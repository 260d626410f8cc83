import csv
import io
import subprocess
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from beancount import loader
from beancount.core import data as bean

from solar_fund.ledger.accounts import BANK, FUND_CASH, PROJECT_VALUE, Account, member_chart
from solar_fund.ledger.export import ExportFormat, export_lines
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.money import Money
from tests.solar_fund.ledger.conftest import EVIDENCE, eur, pay_in, transfer

pytestmark = pytest.mark.xdist_group("ledger-postgres")


@pytest.fixture
def busy_ledger(funded_ledger):
    """Odd memos, odd member ids, three currencies, pending and reversed entries."""
    ledger = funded_ledger
    ledger.open_accounts(
        [
            *member_chart("jürgen_o'neil@x", "EUR"),
            Account(name="Assets:Yen", currencies=("JPY",)),
            Account(name="Assets:Dinar", currencies=("KWD",)),
            Account(name="Income:Gifts"),
        ]
    )
    late = datetime(2026, 9, 3, tzinfo=UTC)
    ledger.post_entry(pay_in(1, memo='quote " backslash \\ semi ; pipe | = @', effective_at=late))
    ledger.post_entry(
        EntryDraft(
            idempotency_key="foreign",
            legs=(
                debit("Assets:Yen", Money(1_234, "JPY"), EVIDENCE),
                credit("Income:Gifts", Money(1_234, "JPY")),
                debit("Assets:Dinar", Money(5, "KWD")),
                credit("Income:Gifts", Money(5, "KWD")),
            ),
            memo="",
            evidence=(EVIDENCE,),
            authorised_by="vote-3",
        )
    )
    grant = ledger.reserve(transfer(FUND_CASH, PROJECT_VALUE, 5_000))
    part = ledger.post_pending(grant.seq, idempotency_key="p", part=eur(2_000), keep_remainder=True)
    ledger.reverse_entry(part.seq, idempotency_key="r", reason="returned")
    return ledger


def exported(ledger, export_format):
    with ledger.reading() as connection:
        return "".join(export_lines(connection, export_format))


def our_balances(ledger):
    return {
        (line.account, line.currency): Money(line.balance.posted_minor, line.currency).decimal
        for line in ledger.trial_balance()
        if line.balance.posted_minor
    }


def test_beancount_accepts_the_export_with_equal_balances(busy_ledger):
    entries, errors, _ = loader.load_string(exported(busy_ledger, ExportFormat.BEANCOUNT))
    assert errors == []
    sums = {}
    for entry in entries:
        for posting in entry.postings if isinstance(entry, bean.Transaction) else ():
            key = (posting.account, posting.units.currency)
            sums[key] = sums.get(key, Decimal(0)) + posting.units.number
    assert {key: total for key, total in sums.items() if total} == our_balances(busy_ledger)


def test_hledger_accepts_the_export_with_equal_balances(busy_ledger, tmp_path):
    journal = tmp_path / "fund.journal"
    journal.write_text(exported(busy_ledger, ExportFormat.HLEDGER))
    command = ["hledger", "-f", str(journal), "--strict"]
    subprocess.run([*command, "check"], check=True, capture_output=True)
    answer = subprocess.run(
        [*command, "balance", "--flat", "--no-total", "-O", "csv", "--layout=bare"],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = csv.DictReader(io.StringIO(answer.stdout))
    found = {(row["account"], row["commodity"]): Decimal(row["balance"]) for row in rows}
    assert {key: total for key, total in found.items() if total} == our_balances(busy_ledger)


def test_the_csv_lists_every_leg_and_sums_to_the_balances(busy_ledger):
    rows = list(csv.DictReader(io.StringIO(exported(busy_ledger, ExportFormat.CSV))))
    sums = {}
    for row in rows:
        key = (row["account"], row["currency"])
        sums[key] = sums.get(key, Decimal(0)) + Decimal(row["amount"])
    assert {key: total for key, total in sums.items() if total} == our_balances(busy_ledger)
    (yen,) = [row for row in rows if row["account"] == "Assets:Yen"]
    assert (yen["amount"], yen["amount_minor"], yen["evidence"]) == ("1234", "1234", EVIDENCE)


def test_an_empty_ledger_exports_too(ledger):
    for export_format in ExportFormat:
        text = exported(ledger, export_format)
        assert BANK in text or export_format is ExportFormat.CSV
    _, errors, _ = loader.load_string(exported(ledger, ExportFormat.BEANCOUNT))
    assert errors == []
