"""Ledger entries a second that survive a power cut: one per commit, and in batches.

Every figure is measured in this run on this machine's disk; SQLite syncs on every commit.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from solar_fund.ledger.accounts import (
    BANK,
    CAPITAL,
    SUPPLIER_RECEIVABLE,
    member_account,
    member_chart,
    standard_chart,
)
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.journal import EntryDraft, credit, debit
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from solar_fund.settlement_entries import accounts_of_split, settlement_drafts
from solar_fund.waterfall import MemberSaving, Settlement, split_savings

SINGLE_ENTRIES = 2_000
BATCH_ENTRIES = 1_000
BATCHES = 20
MEMBERS = 200
SETTLED_MEMBERS = 10_000


def run() -> list[dict[str, object]]:
    """Measure, and return one row per measurement."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = _opened(Path(folder) / "entries.db")
        single_s = _timed(lambda: _post_singly(ledger))
        batch_s = _timed(lambda: _post_in_batches(ledger))
        records = ledger.chain_head().seq
        verify_s = _timed(lambda: _verify(ledger))
        ledger.close()
        settle_s, legs = _settle(Path(folder) / "settlement.db")
    rows: list[dict[str, object]] = [
        {
            "name": "ledger: durable entries, one per commit",
            "entries": SINGLE_ENTRIES,
            "entries_per_s": round(SINGLE_ENTRIES / single_s),
        },
        {
            "name": f"ledger: durable entries, {BATCH_ENTRIES} per commit",
            "entries": BATCHES * BATCH_ENTRIES,
            "entries_per_s": round(BATCHES * BATCH_ENTRIES / batch_s),
            "ratio_to_single": round(
                single_s / SINGLE_ENTRIES * BATCHES * BATCH_ENTRIES / batch_s, 1
            ),
        },
        {
            "name": "ledger: full check, hashes and rules replayed",
            "records": records,
            "records_per_s": round(records / verify_s),
        },
        {
            "name": f"ledger: settlement of {SETTLED_MEMBERS} members, split and posted",
            "legs": legs,
            "wall_s": round(settle_s, 2),
        },
    ]
    return rows


def _timed(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _opened(path: Path) -> SqlLedger:
    ledger = SqlLedger(open_engine(f"sqlite:///{path}"))
    ledger.create_tables()
    members = [account for place in range(MEMBERS) for account in member_chart(f"m{place}", "EUR")]
    ledger.open_accounts([*standard_chart("EUR"), *members])
    return ledger


def _draft(key: str, place: int) -> EntryDraft:
    money = Money(1 + place % 997, "EUR")
    member = member_account(CAPITAL, f"m{place % MEMBERS}")
    return EntryDraft(
        idempotency_key=key, legs=(debit(BANK, money), credit(member, money)), memo="pay in"
    )


def _post_singly(ledger: SqlLedger) -> None:
    for place in range(SINGLE_ENTRIES):
        ledger.post_entry(_draft(f"single-{place}", place))


def _post_in_batches(ledger: SqlLedger) -> None:
    for batch in range(BATCHES):
        ledger.post_entries(
            [_draft(f"batch-{batch}-{place}", place) for place in range(BATCH_ENTRIES)]
        )


def _verify(ledger: SqlLedger) -> None:
    report = ledger.verify_chain()
    if not report.is_whole:
        raise RuntimeError(report.problem)


def _settle(path: Path) -> tuple[float, int]:
    """Seconds to split and post a settlement, accounts opened before; and its legs."""
    split = split_savings(
        Settlement(
            period="2026-10",
            currency="EUR",
            savings=tuple(
                MemberSaving(member_id=f"m{place}", saving_minor=place % 5_000 - 50)
                for place in range(SETTLED_MEMBERS)
            ),
            evidence="00" * 32,
        )
    )
    ledger = SqlLedger(open_engine(f"sqlite:///{path}"))
    ledger.create_tables()
    accounts = accounts_of_split(split)
    for start in range(0, len(accounts), 5_000):
        ledger.open_accounts(accounts[start : start + 5_000])
    started = time.perf_counter()
    drafts = settlement_drafts(split)
    ledger.post_entries(drafts)
    wall_s = time.perf_counter() - started
    if ledger.balance(SUPPLIER_RECEIVABLE, "EUR").posted_minor != split.gains_minor:
        raise RuntimeError("the settlement was not booked")
    ledger.close()
    return wall_s, sum(len(draft.legs) for draft in drafts)
