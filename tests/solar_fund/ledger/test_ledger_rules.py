"""One conformance suite, run over SQLite and over PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from solar_fund.errors import (
    AccountConflict,
    AccountInvalid,
    AccountUnknown,
    AssertedBalanceWouldChange,
    BalanceAssertionFailed,
    CurrencyUnknown,
    EntryInvalid,
    EntryUnbalanced,
    IdempotencyConflict,
    OverdraftRefused,
    PendingAlreadyResolved,
    PendingExceeded,
    PendingExpired,
    PeriodClosed,
    ReversalRefused,
)
from solar_fund.ledger.accounts import BANK, FUND_CASH, PROJECT_VALUE, SUSPENSE, Account
from solar_fund.ledger.journal import EntryDraft, canonical_text, credit, debit
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from tests.solar_fund.ledger.conftest import (
    ANNA_CAPITAL,
    ANNA_POCKET,
    EVIDENCE,
    eur,
    pay_in,
    transfer,
)

pytestmark = pytest.mark.xdist_group("ledger-postgres")

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)


def grant(amount_minor, key="grant"):
    return transfer(FUND_CASH, PROJECT_VALUE, amount_minor, key, authorised_by="vote-7")


def posted(ledger, account):
    return ledger.balance(account, "EUR").posted_minor


def test_a_posted_entry_moves_both_accounts_and_keeps_its_evidence_and_vote(ledger):
    record = ledger.post_entry(
        pay_in(500, key="k", evidence=(EVIDENCE,), authorised_by="vote-1", memo="Share capital")
    )
    assert posted(ledger, BANK) == 500
    assert posted(ledger, ANNA_CAPITAL) == -500
    stored = ledger.record(record.seq)
    assert stored.request["evidence"] == [EVIDENCE]
    assert stored.request["authorised_by"] == "vote-1"


def test_an_entry_of_two_currencies_must_balance_in_each_of_them():
    with pytest.raises(EntryUnbalanced) as refusal:
        EntryDraft(
            idempotency_key="k",
            legs=(debit("Assets:A", Money(5, "EUR")), credit("Assets:B", Money(5, "GBP"))),
            memo="",
        )
    assert refusal.value.excess_minor == 5


def test_a_retry_with_the_same_key_and_body_returns_the_first_record(ledger):
    first = ledger.post_entry(pay_in(500, key="same"))
    again = ledger.post_entry(pay_in(500, key="same"))
    assert (again.seq, again.hash, again.replayed) == (first.seq, first.hash, True)
    assert posted(ledger, BANK) == 500


def test_the_same_key_with_another_body_is_refused(ledger):
    first = ledger.post_entry(pay_in(500, key="same"))
    with pytest.raises(IdempotencyConflict) as refusal:
        ledger.post_entry(pay_in(501, key="same"))
    assert refusal.value.first_seq == first.seq
    assert posted(ledger, BANK) == 500


def test_a_protected_account_cannot_be_overdrawn(funded_ledger):
    with pytest.raises(OverdraftRefused):
        funded_ledger.post_entry(transfer(FUND_CASH, BANK, 60_001))
    assert posted(funded_ledger, FUND_CASH) == 60_000


def test_a_reservation_counts_against_the_overdraft_rule_before_it_is_posted(funded_ledger):
    funded_ledger.reserve(grant(50_000))
    with pytest.raises(OverdraftRefused):
        funded_ledger.reserve(grant(10_001, key="second"))
    funded_ledger.reserve(grant(10_000, key="third"))
    assert posted(funded_ledger, FUND_CASH) == 60_000


def test_milestones_post_a_grant_in_parts_and_the_rest_is_released_on_lapse(funded_ledger):
    reserved = funded_ledger.reserve(grant(50_000))
    for number, part_minor in enumerate((15_000, 30_000)):
        funded_ledger.post_pending(
            reserved.seq,
            idempotency_key=f"milestone-{number}",
            part=eur(part_minor),
            keep_remainder=True,
        )
    assert posted(funded_ledger, PROJECT_VALUE) == 45_000
    assert funded_ledger.balance(FUND_CASH, "EUR").pending_credit_minor == 5_000
    funded_ledger.void_pending(reserved.seq, idempotency_key="lapse", reason="never built")
    assert funded_ledger.balance(FUND_CASH, "EUR").pending_credit_minor == 0
    assert posted(funded_ledger, FUND_CASH) == 15_000
    assert funded_ledger.open_pendings() == []


def test_posting_a_part_without_keeping_the_remainder_releases_it(funded_ledger):
    reserved = funded_ledger.reserve(grant(50_000))
    funded_ledger.post_pending(reserved.seq, idempotency_key="p", part=eur(20_000))
    with pytest.raises(PendingAlreadyResolved):
        funded_ledger.post_pending(reserved.seq, idempotency_key="q", part=eur(1))
    assert funded_ledger.balance(FUND_CASH, "EUR").pending_credit_minor == 0


def test_more_than_was_reserved_cannot_be_posted(funded_ledger):
    reserved = funded_ledger.reserve(grant(50_000))
    funded_ledger.post_pending(
        reserved.seq, idempotency_key="p", part=eur(49_999), keep_remainder=True
    )
    with pytest.raises(PendingExceeded):
        funded_ledger.post_pending(reserved.seq, idempotency_key="q", part=eur(2))


def test_a_posted_or_voided_reservation_is_resolved_once_only(funded_ledger):
    reserved = funded_ledger.reserve(grant(50_000))
    done = funded_ledger.post_pending(reserved.seq, idempotency_key="p")
    with pytest.raises(PendingAlreadyResolved) as refusal:
        funded_ledger.void_pending(reserved.seq, idempotency_key="v", reason="late")
    assert refusal.value.by_seq == done.seq
    assert funded_ledger.post_pending(reserved.seq, idempotency_key="p").replayed


def test_an_expired_reservation_can_only_be_swept_up(funded_ledger, clock):
    reserved = funded_ledger.reserve(grant(50_000), expires_at=clock.now + timedelta(days=1))
    assert funded_ledger.expire_pendings() == []
    clock.now += timedelta(days=2)
    with pytest.raises(PendingExpired):
        funded_ledger.post_pending(reserved.seq, idempotency_key="late")
    assert [record.kind for record in funded_ledger.expire_pendings()] == ["expire"]
    assert funded_ledger.balance(FUND_CASH, "EUR").pending_credit_minor == 0
    assert funded_ledger.expire_pendings() == []


def test_a_reversal_mirrors_an_entry_once(funded_ledger):
    entry = funded_ledger.post_entry(pay_in(700))
    funded_ledger.reverse_entry(entry.seq, idempotency_key="r", reason="wrong member")
    assert posted(funded_ledger, ANNA_CAPITAL) == -100_000
    with pytest.raises(ReversalRefused):
        funded_ledger.reverse_entry(entry.seq, idempotency_key="r2", reason="again")
    assert funded_ledger.verify_chain().is_whole


def test_a_posted_part_can_be_reversed_but_a_reversal_or_reservation_cannot(funded_ledger):
    reserved = funded_ledger.reserve(grant(50_000))
    part = funded_ledger.post_pending(reserved.seq, idempotency_key="p", part=eur(20_000))
    back = funded_ledger.reverse_entry(part.seq, idempotency_key="r", reason="bank returned it")
    assert posted(funded_ledger, FUND_CASH) == 60_000
    for seq in (back.seq, reserved.seq, 1):
        with pytest.raises(ReversalRefused):
            funded_ledger.reverse_entry(seq, idempotency_key=f"x{seq}", reason="no")


def test_a_batch_is_posted_whole_or_not_at_all(ledger):
    head = ledger.chain_head()
    with pytest.raises(OverdraftRefused):
        ledger.post_entries([pay_in(100), transfer(FUND_CASH, BANK, 1)])
    assert ledger.chain_head() == head
    assert len(ledger.post_entries([pay_in(100), transfer(BANK, FUND_CASH, 60)])) == 2


def test_reads_as_of_a_time_and_as_known_at_a_time_differ_for_late_entries(ledger, clock):
    ledger.post_entry(pay_in(100))
    before_correction = clock.now + timedelta(seconds=30)
    clock.now += timedelta(days=40)
    ledger.post_entry(pay_in(11, effective_at=OCTOBER + timedelta(days=1)))
    assert ledger.balance(BANK, "EUR", as_of=NOVEMBER).posted_minor == 111
    as_known = ledger.balance(BANK, "EUR", as_of=NOVEMBER, known_at=before_correction)
    assert as_known.posted_minor == 100
    assert ledger.balance(BANK, "EUR", as_of=OCTOBER).posted_minor == 0


def test_an_entry_may_lie_a_year_ahead_and_no_further(ledger, clock):
    year = timedelta(days=366)
    ledger.post_entry(pay_in(5, effective_at=clock.now + year - timedelta(days=1)))
    with pytest.raises(EntryInvalid, match="more than a year ahead"):
        ledger.post_entry(pay_in(5, effective_at=clock.now + year + timedelta(days=1)))


@pytest.mark.parametrize("memo", ["two\nlines", "a bell \a", "x" * 100_000])
def test_a_memo_is_one_printable_line(ledger, memo):
    with pytest.raises(EntryInvalid, match="memo must be one line"):
        ledger.post_entry(pay_in(5, memo=memo))


def test_an_account_in_a_currency_that_does_not_exist_is_refused():
    with pytest.raises(CurrencyUnknown):
        Account(name=BANK, currencies=("XQZ",))


def test_a_closed_period_takes_no_entries_any_more(ledger, clock):
    clock.now = NOVEMBER + timedelta(days=14)
    ledger.close_period(NOVEMBER, label="2026-10", idempotency_key="close-10")
    with pytest.raises(PeriodClosed):
        ledger.post_entry(pay_in(5, effective_at=NOVEMBER - timedelta(seconds=1)))
    ledger.post_entry(pay_in(5, effective_at=NOVEMBER))
    with pytest.raises(PeriodClosed):
        ledger.close_period(OCTOBER, label="2026-09", idempotency_key="close-09")
    with pytest.raises(EntryInvalid):
        ledger.close_period(
            NOVEMBER + timedelta(days=300), label="future", idempotency_key="close-future"
        )


def test_a_balance_assertion_holds_or_is_refused_and_then_guards_the_past(ledger, clock):
    ledger.post_entry(pay_in(100, effective_at=OCTOBER))
    clock.now = NOVEMBER + timedelta(days=1)
    with pytest.raises(BalanceAssertionFailed) as refusal:
        ledger.assert_balance(BANK, eur(99), as_of=NOVEMBER, idempotency_key="a")
    assert refusal.value.found_minor == 100
    ledger.assert_balance(BANK, eur(100), as_of=NOVEMBER, idempotency_key="a")
    with pytest.raises(AssertedBalanceWouldChange):
        ledger.post_entry(pay_in(1, effective_at=OCTOBER + timedelta(days=3)))
    ledger.post_entry(pay_in(1))
    assert ledger.verify_chain().is_whole


def test_accounts_open_once_and_refuse_what_they_may_not_hold(ledger):
    ledger.open_accounts([Account(name=BANK, currencies=("EUR",))])
    with pytest.raises(AccountConflict):
        ledger.open_accounts([Account(name=BANK, currencies=("GBP",))])
    with pytest.raises(AccountUnknown):
        ledger.post_entry(transfer("Assets:Nowhere", BANK, 1))
    pounds = Money(5, "GBP")
    with pytest.raises(AccountInvalid):
        ledger.post_entry(
            EntryDraft(
                idempotency_key="gbp",
                legs=(debit(BANK, pounds), credit(ANNA_CAPITAL, pounds)),
                memo="",
            )
        )


def test_a_statement_opens_with_the_past_and_ends_with_the_running_balance(ledger, clock):
    ledger.post_entry(pay_in(100, effective_at=OCTOBER - timedelta(days=1)))
    ledger.post_entry(pay_in(20, effective_at=OCTOBER))
    ledger.post_entry(transfer(BANK, FUND_CASH, 50, effective_at=OCTOBER + timedelta(hours=1)))
    clock.now = NOVEMBER
    ledger.post_entry(pay_in(7, effective_at=NOVEMBER))
    found = ledger.statement(BANK, "EUR", start=OCTOBER, end=NOVEMBER)
    assert found.opening_minor == 100
    assert [line.amount_minor for line in found.lines] == [20, -50]
    assert found.closing_minor == 70


def test_suspense_shows_what_is_left_of_the_oldest_items(ledger, clock):
    ledger.post_entry(transfer(SUSPENSE, BANK, 300, memo="unknown payer"))
    clock.now += timedelta(days=10)
    ledger.post_entry(transfer(SUSPENSE, BANK, 50, memo="another"))
    ledger.post_entry(transfer(BANK, SUSPENSE, 120, memo="found the payer"))
    oldest, newest = ledger.suspense_ageing()
    assert (oldest.open_minor, oldest.age_days) == (-180, 10)
    assert (newest.open_minor, newest.age_days) == (-50, 0)


def test_member_accounts_are_found_by_member(ledger):
    names = [account.name for account in ledger.accounts(member_id="anna")]
    assert names == sorted([ANNA_CAPITAL, ANNA_POCKET])


def test_the_clock_may_step_back_but_recorded_time_never_does(ledger, clock):
    first = ledger.post_entry(pay_in(1))
    clock.now -= timedelta(hours=5)
    second = ledger.post_entry(pay_in(2))
    assert second.recorded_at == first.recorded_at
    assert ledger.verify_chain().is_whole


def test_an_append_takes_part_in_the_callers_transaction(engine, ledger, clock):
    head = ledger.chain_head()
    with engine.connect() as connection:
        inside = SqlLedger(connection, clock=clock)
        inside.post_entry(pay_in(5, key="rolled-back"))
        inside.open_accounts([Account(name="Assets:Petty")])
        connection.rollback()
    assert ledger.chain_head() == head
    with pytest.raises(AccountUnknown):
        ledger.post_entry(transfer("Assets:Petty", BANK, 1))
    with engine.begin() as connection:
        SqlLedger(connection, clock=clock).post_entry(pay_in(5, key="committed"))
    assert ledger.chain_head().seq == head.seq + 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_journal SET body = 'x' WHERE seq = 1",
        "DELETE FROM ledger_journal",
        "UPDATE ledger_movement SET posted_minor = 0",
        "DELETE FROM ledger_movement",
        "UPDATE ledger_account SET no_overdraft = 1 - no_overdraft",
        "DELETE FROM ledger_account",
    ],
)
def test_the_database_itself_refuses_update_and_delete(engine, funded_ledger, statement):
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
    assert funded_ledger.verify_chain().is_whole


def test_the_trial_balance_sums_to_zero(funded_ledger):
    lines = funded_ledger.trial_balance()
    assert sum(line.balance.posted_minor for line in lines) == 0
    assert {line.account for line in lines} == {BANK, FUND_CASH, ANNA_CAPITAL}


def test_writers_at_the_same_time_neither_lose_nor_repeat_an_entry(engine, ledger, clock):
    def write(writer):
        own = SqlLedger(engine, clock=clock)
        for number in range(20):
            own.post_entry(pay_in(1, key=f"{writer % 2}-{number}"))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    assert posted(ledger, BANK) == 40
    assert ledger.verify_chain().is_whole


def test_a_members_statements_cover_every_sub_account_that_moved(ledger):
    ledger.post_entry(pay_in(100, effective_at=OCTOBER))
    (capital,) = ledger.member_statements("anna", start=OCTOBER, end=NOVEMBER)
    assert (capital.account, capital.closing_minor) == (ANNA_CAPITAL, -100)
    ledger.post_entry(transfer(ANNA_POCKET, BANK, 7, effective_at=OCTOBER))
    found = ledger.member_statements("anna", start=OCTOBER, end=NOVEMBER)
    assert [one.account for one in found] == [ANNA_CAPITAL, ANNA_POCKET]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text("abcxyz_", max_size=6), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_canonical_text_is_sorted_json_without_spaces(plain):
    assert canonical_text({"k": plain}) == json.dumps(
        {"k": plain}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
