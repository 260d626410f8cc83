import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from schwifty import IBAN
from sqlalchemy import text

from solar_fund.ledger.accounts import BANK, POCKET, member_account, member_chart, standard_chart
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from solar_fund.payments.sepa import OwnAccount

OPENING_MINOR = 12_500_000


def eur(amount_minor):
    return Money(amount_minor, "EUR")


def german_iban(number):
    return str(IBAN.generate("DE", bank_code="37040044", account_code=f"{number:010}"))


class SettableClock:
    """A clock that moves one second per look, and wherever a test sets it."""

    def __init__(self):
        self.now = datetime(2026, 10, 1, 8, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def engine(tmp_path):
    found = open_engine(f"sqlite:///{tmp_path}/fund.db")
    yield found
    found.dispose()


@pytest.fixture
def postgres_engine(postgres_url):
    """An empty PostgreSQL database."""
    found = open_engine(postgres_url)
    with found.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    yield found
    found.dispose()


@pytest.fixture
def own():
    return OwnAccount(
        name="Sonnendach eG", iban="NL91ABNA0417164300", creditor_id="NL98ZZZ999999990000"
    )


def fill_pockets(engine, clock, pockets_minor):
    """Open the books with money in the bank that is owed to members' pockets."""
    ledger = SqlLedger(engine, clock=clock)
    ledger.create_tables()
    members = [account for member in pockets_minor for account in member_chart(member, "EUR")]
    ledger.open_accounts([*standard_chart("EUR"), *members])
    rest_minor = OPENING_MINOR - sum(pockets_minor.values())
    legs = [debit(BANK, eur(OPENING_MINOR)), credit("Equity:Reserve", eur(rest_minor))]
    legs += [
        credit(member_account(POCKET, member), eur(minor))
        for member, minor in pockets_minor.items()
    ]
    opening = EntryDraft(
        idempotency_key="opening",
        legs=tuple(legs),
        memo="opening",
        effective_at=datetime(2026, 9, 1, tzinfo=UTC),
    )
    ledger.post_entry(opening)
    return ledger


class MockBank:
    """The other end of the line, over HTTP."""

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def ask(self, method, path, body=None):
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(self.base + path, data=content, method=method)  # noqa: S310 - loopback only
        if isinstance(body, dict):
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback only
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refusal:
            with refusal:
                if refusal.code not in {409, 422}:
                    raise
                return json.loads(refusal.read())

    def collect(self, kind):
        """The messages of a kind that were not yet collected, as files."""
        return [m["body"].encode() for m in self.ask("GET", f"/_mock/mailbox?type={kind}")]


@pytest.fixture
def mock_bank():
    """A mock bank in a process of its own, on a Thursday morning."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mockbank",
            "-q",
            "--port",
            str(port),
            "--clock",
            "2026-10-01T09:00",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        bank = MockBank(port)
        for _ in range(100):
            try:
                bank.ask("GET", "/_mock/health")
                break
            except OSError:
                time.sleep(0.1)
        yield bank
    finally:
        process.kill()
        process.wait()
