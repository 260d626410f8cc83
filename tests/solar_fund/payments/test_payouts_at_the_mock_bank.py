"""A thousand payouts to a bank that rejects some, returns others and is sent everything twice."""

from dataclasses import replace
from datetime import date

import pytest
from mockbank.db import iban as bank_iban

from solar_fund.ledger.accounts import BANK, CAPITAL, POCKET, SUSPENSE, member_account
from solar_fund.money import Money
from solar_fund.payments.camt import read_statements, read_status_report
from solar_fund.payments.desk import PaymentDesk, PaymentRequest
from solar_fund.payments.orders import BatchKind, Mandate
from solar_fund.payments.reconciliation import Reconciler
from solar_fund.payments.sepa import OwnAccount, credit_transfer_file, direct_debit_file
from tests.solar_fund.payments.conftest import OPENING_MINOR, fill_pockets, german_iban

REJECTED = 50
RETURNED = 50
PAYOUTS = 1_000
OWN = OwnAccount(name="ACME Corporation", iban=bank_iban("NL", "MOCK0000000001"))


def open_closed_account(mock_bank, member, number):
    """An account at the bank itself that takes no money any more."""
    account = {"id": member.upper(), "name": member, "iban": bank_iban("NL", f"MOCK{number:010}")}
    account |= {"behaviour": "closed-account", "closed": 1}
    return mock_bank.ask("POST", "/_mock/accounts", account)["iban"]


def pay(engine, clock, batch_key, ibans, execution_on):
    """Propose, release and write a batch, each step twice."""
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock)
        requests = [
            PaymentRequest(
                member_id=member, name=member, iban=ibans[member], money=money, memo="Savings"
            )
            for member, money in desk.payable().items()
            if member in ibans
        ]
        batch = desk.propose(batch_key, requests, kind=BatchKind.PAYOUT, by="anna")
        assert desk.propose(batch_key, requests, kind=BatchKind.PAYOUT, by="anna") == batch
        desk.release(batch.batch_id, by="ben")
        assert not set(ibans) & set(desk.payable())
        return credit_transfer_file(desk.released(batch.batch_id), OWN, execution_on)


def advance(mock_bank, days, statements):
    for _ in range(days):
        mock_bank.ask("POST", "/_mock/advance?days=1")
        statements += mock_bank.collect("camt.053")


@pytest.mark.slow
def test_a_thousand_payouts_reconcile_to_zero_under_rejects_returns_and_replays(
    engine, clock, mock_bank
):
    members = [f"m{number:04}" for number in range(PAYOUTS)]
    pockets_minor = {member: 1_000 + 7 * place for place, member in enumerate(members)}
    ledger = fill_pockets(engine, clock, pockets_minor)
    ibans = {member: german_iban(place) for place, member in enumerate(members)}
    for place, member in enumerate(members[:REJECTED]):
        ibans[member] = open_closed_account(mock_bank, member, 1_000 + place)
    last = members[-RETURNED:]
    statements, reports = [], []

    first_file = pay(
        engine, clock, "first", {m: ibans[m] for m in members[:-RETURNED]}, date(2026, 10, 1)
    )
    mock_bank.ask("POST", "/payments", first_file)
    mock_bank.ask("POST", "/payments", first_file)
    advance(mock_bank, 1, statements)
    behaviour = {"behaviour": "return-later", "parameters": {"days": 3}}
    mock_bank.ask("PATCH", "/_mock/accounts/ACME", behaviour)
    second_file = pay(engine, clock, "second", {m: ibans[m] for m in last}, date(2026, 10, 2))
    mock_bank.ask("POST", "/payments", second_file)
    advance(mock_bank, 9, statements)
    reports += mock_bank.collect("pain.002")
    assert len(reports) == 3, "the bank answers the duplicate too"

    rejected, posted, returned, duplicates = set(), set(), set(), 0
    for report in [*reports, *reports]:
        with engine.begin() as connection:
            reconciler = Reconciler(connection, own_iban=OWN.iban, clock=clock)
            outcome = reconciler.take_status_report(read_status_report(report))
        assert not rejected & set(outcome.rejected)
        rejected |= set(outcome.rejected)
        duplicates += len(outcome.duplicate)
    assert duplicates == 2
    own_statements = [
        statement
        for content in statements
        for statement in read_statements(content)
        if statement.iban == OWN.iban
    ]
    for statement in [*own_statements, *own_statements]:
        with engine.begin() as connection:
            reconciler = Reconciler(connection, own_iban=OWN.iban, clock=clock)
            outcome = reconciler.take_statement(statement)
        assert not posted & set(outcome.posted), "paid twice"
        assert outcome.suspense == []
        posted |= set(outcome.posted)
        returned |= set(outcome.returned)
    assert len(rejected) == REJECTED
    assert len(posted) == PAYOUTS - REJECTED
    assert len(returned) == RETURNED

    assert ledger.open_pendings() == []
    assert ledger.balance(SUSPENSE, "EUR").posted_minor == 0
    bank_says = own_statements[-1].closing
    assert ledger.balance(BANK, "EUR").posted_minor == bank_says.amount_minor
    for place, member in enumerate(members):
        left_minor = -ledger.balance(member_account(POCKET, member), "EUR").posted_minor
        kept = place < REJECTED or place >= PAYOUTS - RETURNED
        assert left_minor == (pockets_minor[member] if kept else 0), member
    paid_minor = sum(pockets_minor[member] for member in members[REJECTED:-RETURNED])
    assert bank_says.amount_minor == OPENING_MINOR - paid_minor
    assert ledger.verify_chain().is_whole


def test_the_bank_collects_by_direct_debit_and_takes_one_back(engine, clock, mock_bank):
    ledger = fill_pockets(engine, clock, {"ann": 1_000, "ben": 1_000, "cy": 1_000})
    own = replace(OWN, creditor_id="NL98ZZZ999999990000", bic="MOCKNL2A")
    requests = [
        PaymentRequest(
            member_id=member,
            name=member,
            iban=german_iban(place),
            money=Money(10_000, "EUR"),
            memo="Share capital",
            mandate=Mandate(mandate_id=f"M-{member}", signed_on=date(2026, 9, 1)),
        )
        for place, member in enumerate(("ann", "ben", "cy"), start=1)
    ]
    with engine.begin() as connection:
        desk = PaymentDesk(connection, clock=clock)
        batch = desk.propose("capital", requests, kind=BatchKind.COLLECTION, by="anna")
        batch = desk.release(batch.batch_id, by="ben")
    mock_bank.ask("POST", "/payments", direct_debit_file(batch, own, date(2026, 10, 2)))
    statements = []
    advance(mock_bank, 3, statements)
    cy = next(order for order in batch.orders if order.member_id == "cy")
    refusal = f"/_mock/collections/{cy.end_to_end_id}/refuse"
    mock_bank.ask("POST", refusal, {"reason": "MD01"})
    advance(mock_bank, 5, statements)
    posted, returned = [], []
    for content in statements:
        for statement in read_statements(content):
            if statement.iban != OWN.iban:
                continue
            with engine.begin() as connection:
                reconciler = Reconciler(connection, own_iban=OWN.iban, clock=clock)
                outcome = reconciler.take_statement(statement)
            assert outcome.suspense == []
            assert outcome.difference.amount_minor == 0
            posted += outcome.posted
            returned += outcome.returned
    assert (len(posted), returned) == (3, [cy.end_to_end_id])
    capital_minor = [
        -ledger.balance(member_account(CAPITAL, member), "EUR").posted_minor
        for member in ("ann", "ben", "cy")
    ]
    assert capital_minor == [10_000, 10_000, 0]
