from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_fund.errors import RedemptionRefused
from solar_fund.redemptions import (
    CapitalLot,
    Liquidity,
    RedemptionReason,
    RedemptionRequest,
    RedemptionRules,
    plan_redemptions,
    redemption_draft,
)

NOW = datetime(2026, 11, 1, tzinfo=UTC)
OLD = datetime(2020, 2, 29, tzinfo=UTC)


def lot(member_id, amount_minor, credited_at=OLD):
    return CapitalLot(member_id=member_id, credited_at=credited_at, amount_minor=amount_minor)


def wish(member_id, amount_minor, day=0, **more):
    return RedemptionRequest(
        request_id=f"{member_id}-{day}",
        member_id=member_id,
        asked_at=NOW - timedelta(days=100 - day),
        amount_minor=amount_minor,
        **more,
    )


def liquidity(**more):
    defaults = {
        "cash_minor": 1_000_000,
        "monthly_costs_minor": 1_000,
        "pending_grants_minor": 0,
        "redeemed_this_year_minor": 0,
    }
    return Liquidity(**(defaults | more))


def plan(requests, lots, *, redeemed=None, money=None, rules=None):
    found = plan_redemptions(
        requests, lots, redeemed or {}, money or liquidity(), rules or RedemptionRules(), NOW
    )
    return [(decision.request.member_id, decision.paid_minor) for decision in found]


def test_first_come_is_first_served_until_a_tenth_of_all_capital():
    lots = [lot("ann", 60_000), lot("ben", 40_000)]
    asked = [wish("ben", 7_000, day=2), wish("ann", 6_000, day=1)]
    assert plan(asked, lots) == [("ann", 6_000), ("ben", 4_000)]


def test_what_was_paid_this_year_counts_against_the_tenth():
    lots = [lot("ann", 100_000)]
    money = liquidity(redeemed_this_year_minor=9_000)
    assert plan([wish("ann", 5_000)], lots, redeemed={"ann": 9_000}, money=money) == [
        ("ann", 1_000)
    ]


def test_young_capital_stays_but_an_exit_is_paid_and_comes_first():
    young = NOW - timedelta(days=1_000)
    lots = [lot("ann", 50_000, young), lot("ben", 50_000, young), lot("cy", 100_000)]
    exit_wish = wish("ben", 5_000, day=9, reason=RedemptionReason.EXIT)
    assert plan([wish("ann", 5_000), exit_wish], lots) == [("ben", 5_000), ("ann", 0)]


def test_cash_for_six_months_of_costs_and_promised_grants_is_not_touched():
    money = liquidity(cash_minor=20_000, monthly_costs_minor=1_000, pending_grants_minor=12_500)
    assert plan([wish("ann", 5_000)], [lot("ann", 100_000)], money=money) == [("ann", 1_500)]


def test_a_suspension_stops_all_and_gives_its_reason():
    rules = RedemptionRules(suspended_because="inverter failure")
    (decision,) = plan_redemptions([wish("ann", 1)], [lot("ann", 100)], {}, liquidity(), rules, NOW)
    assert decision.paid_minor == 0
    assert "inverter failure" in decision.why_not_more
    with pytest.raises(RedemptionRefused):
        redemption_draft(decision, "EUR", round_key="2026-11")


def test_a_request_paid_in_parts_gets_one_balanced_entry_in_each_round():
    (decision,) = plan_redemptions(
        [wish("ann", 20_000)], [lot("ann", 100_000)], {}, liquidity(), RedemptionRules(), NOW
    )
    assert decision.paid_minor == 10_000
    first = redemption_draft(decision, "EUR", round_key="2026")
    second = redemption_draft(decision, "EUR", round_key="2027")
    assert first.idempotency_key != second.idempotency_key
    assert sum(leg.amount_minor for leg in first.legs) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 10**6), st.integers(0, 90)), max_size=12
    ),
    st.integers(0, 10**6),
)
def test_no_plan_pays_more_than_capital_the_cap_or_the_cash(asked, cash_minor):
    lots = [lot("a", 300_000), lot("b", 200_000), lot("c", 100_000, NOW)]
    money = liquidity(cash_minor=cash_minor, pending_grants_minor=500)
    paid = plan([wish(*parts) for parts in asked], lots, money=money)
    total_minor = sum(minor for _, minor in paid)
    assert total_minor <= 60_000
    assert total_minor <= max(cash_minor - 6_500, 0)
    assert sum(minor for member, minor in paid if member == "c") == 0
