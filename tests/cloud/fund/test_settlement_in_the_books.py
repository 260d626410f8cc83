from __future__ import annotations

import contextlib
import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.errors import StateConflict
from cloud.fund.settling import plan_split, post_planned, post_supplier_payment
from cloud.fund.usecases import holding_of, ledger_in
from cloud.savings.repository import HomeSaving, Settlement
from cloud.transparency.repository import newest_entries
from solar_fund.ledger.accounts import (
    BANK,
    COSTS_PAYABLE,
    EQUALISATION,
    FUND_CASH,
    MEASUREMENT_RESERVE,
    RESERVE,
    SUPPLIER_RECEIVABLE,
)
from solar_fund.waterfall import SavingsSplit
from tests.cloud.coop_builder import Coop

NOW = datetime(2026, 11, 1, tzinfo=UTC)


class Undone(Exception):
    """Takes a transaction back, so that every example begins with empty books."""


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def savings_of(amounts_minor: list[int], month: str) -> list[HomeSaving]:
    return [
        HomeSaving(
            month=month,
            revision=1,
            household=f"home-{number}",
            currency="EUR",
            old_minor=1_000_000_000 + amount_minor,
            actual_minor=1_000_000_000,
            energy_wh=250_000,
            estimated_intervals=0,
            evidence=hash_of(f"{month} {number}"),
        )
        for number, amount_minor in enumerate(amounts_minor)
    ]


def settlement_of(savings: list[HomeSaving], month: str) -> Settlement:
    return Settlement(
        settlement_number=1,
        month=month,
        revision=1,
        currency="EUR",
        saving_minor=sum(saving.saving_minor for saving in savings),
        homes=len(savings),
        evidence_root=hash_of(month),
        settled_at=NOW,
    )


def book(connection, amounts_minor: list[int], month: str = "2026-10", **costs) -> SavingsSplit:
    savings = savings_of(amounts_minor, month)
    planned, split = plan_split(
        connection,
        settlement_of(savings, month),
        savings,
        now=NOW,
        **({"costs_minor": 700, "monthly_costs_minor": 700} | costs),
    )
    post_planned(connection, planned, now=NOW)
    return split


def newest_settled(connection) -> dict:
    newest = newest_entries(connection, kind="ledger.settled", count=1)
    return json.loads(newest[0].entry)["facts"]


def test_the_newest_log_entry_of_the_ledger_is_its_chain_head(coop: Coop) -> None:
    for month in ("2026-09", "2026-10"):
        with coop.services.database.transaction() as connection:
            book(connection, [5_000, 2_345, -120], month)

        with coop.services.database.reading() as connection:
            facts = newest_settled(connection)
            head = ledger_in(connection, NOW).chain_head()
        assert facts["ledger_head"] == head.hash
        assert facts["ledger_size"] == head.seq
        assert facts["month"] == month


def test_a_refused_settlement_leaves_books_and_log_as_they_were(coop: Coop) -> None:
    with coop.services.database.transaction() as connection:
        book(connection, [5_000, 2_345])
    with coop.services.database.reading() as connection:
        before = ledger_in(connection, NOW).chain_head()

    with (
        pytest.raises(StateConflict, match="2026-10"),
        coop.services.database.transaction() as connection,
    ):
        book(connection, [5_000, 2_346])

    with coop.services.database.reading() as connection:
        assert ledger_in(connection, NOW).chain_head() == before
        assert newest_settled(connection)["ledger_head"] == before.hash


amounts = st.lists(st.integers(-20_000, 60_000), min_size=1, max_size=12).filter(any)


def check_books(
    connection, amounts_minor: list[int], split: SavingsSplit, *, is_paid: bool
) -> None:
    ledger = ledger_in(connection, NOW)
    assert sum(line.balance.posted_minor for line in ledger.trial_balance()) == 0
    held = {
        account: ledger.balance(account, "EUR").posted_minor
        for account in (
            BANK,
            COSTS_PAYABLE,
            EQUALISATION,
            FUND_CASH,
            MEASUREMENT_RESERVE,
            RESERVE,
            SUPPLIER_RECEIVABLE,
        )
    }
    came_in = held[SUPPLIER_RECEIVABLE] + held[BANK] + held[FUND_CASH]
    members = [
        holding_of(connection, f"home-{number}", "EUR", NOW) for number in range(len(amounts_minor))
    ]
    to_members = sum(member.pocket_minor + member.capital_minor for member in members)
    kept = -(held[COSTS_PAYABLE] + held[RESERVE] + held[MEASUREMENT_RESERVE])
    assert came_in == sum(amount for amount in amounts_minor if amount > 0)
    assert came_in + held[EQUALISATION] == to_members + kept
    assert sum(member.capital_minor for member in members) == split.fund_minor
    assert held[FUND_CASH] == (split.fund_minor if is_paid else 0)
    for amount_minor, member in zip(amounts_minor, members, strict=True):
        if amount_minor < 0:
            assert (member.pocket_minor, member.capital_minor) == (-amount_minor, 0)


@pytest.mark.parametrize("is_paid", [False, True])
def test_the_cents_that_come_in_are_the_cents_that_go_out(coop: Coop, is_paid: bool) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(amounts, st.integers(0, 5_000), st.integers(0, 5_000))
    def holds(amounts_minor: list[int], costs_minor: int, monthly_costs_minor: int) -> None:
        with contextlib.suppress(Undone), coop.services.database.transaction() as connection:
            split = book(
                connection,
                amounts_minor,
                costs_minor=costs_minor,
                monthly_costs_minor=monthly_costs_minor,
            )
            if is_paid and split.gains_minor:
                post_supplier_payment(
                    connection,
                    settlement_of(savings_of(amounts_minor, "2026-10"), "2026-10"),
                    receivable_minor=split.gains_minor,
                    fund_minor=split.fund_minor,
                    bank_evidence=hash_of("bank"),
                    now=NOW,
                )
            check_books(connection, amounts_minor, split, is_paid=is_paid)
            raise Undone

    holds()
