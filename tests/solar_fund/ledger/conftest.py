import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, text

from solar_fund.ledger.accounts import (
    BANK,
    CAPITAL,
    FUND_CASH,
    POCKET,
    member_account,
    member_chart,
    standard_chart,
)
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money

ANNA_CAPITAL = member_account(CAPITAL, "anna")
ANNA_POCKET = member_account(POCKET, "anna")
EVIDENCE = "ab" * 32


class SettableClock:
    """A clock that moves one second per look, and wherever a test sets it."""

    def __init__(self):
        self.now = datetime(2026, 10, 1, 12, tzinfo=UTC)

    def __call__(self):
        self.now += timedelta(seconds=1)
        return self.now


def eur(amount_minor):
    return Money(amount_minor, "EUR")


_NUMBERS = itertools.count(1)


def transfer(source, destination, amount_minor, key=None, **more):
    """A draft that takes euro cents from one account and gives them to another."""
    return EntryDraft(
        idempotency_key=key or f"test-{next(_NUMBERS)}",
        legs=(debit(destination, eur(amount_minor)), credit(source, eur(amount_minor))),
        memo=more.pop("memo", "a transfer"),
        **more,
    )


def pay_in(amount_minor, key=None, **more):
    """Anna pays capital into the bank."""
    return transfer(ANNA_CAPITAL, BANK, amount_minor, key, **more)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        found = open_engine(f"sqlite:///{tmp_path}/fund.db")
    else:
        found = create_engine(request.getfixturevalue("postgres_url"))
        with found.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield found
    found.dispose()


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def ledger(engine, clock):
    """A ledger with the standard chart and the member Anna."""
    made = SqlLedger(engine, clock=clock)
    made.create_tables()
    made.open_accounts([*standard_chart("EUR"), *member_chart("anna", "EUR")])
    return made


@pytest.fixture
def funded_ledger(ledger):
    """Anna paid in 1,000 euros, 600 of them are the fund's cash."""
    ledger.post_entry(pay_in(100_000, key="pay-in"))
    ledger.post_entry(transfer(BANK, FUND_CASH, 60_000, key="to-fund"))
    return ledger
