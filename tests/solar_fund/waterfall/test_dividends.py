from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_fund.dividend_entries import returns_draft
from solar_fund.dividends import (
    MemberStake,
    ProjectPeriod,
    ReturnsParameters,
    split_returns,
    straight_line_due_minor,
)
from solar_fund.errors import DistributionRefused, ParameterOutOfBounds
from solar_fund.legal_forms import RULES, LegalForm
from solar_fund.money import Money

COOP = RULES[LegalForm.COOPERATIVE]
EVIDENCE = "ab" * 32


def period(**more):
    defaults = {
        "project_id": "roof-1",
        "period": "2026",
        "currency": "EUR",
        "avoided_purchases_minor": 80_000,
        "export_revenue_minor": 20_000,
        "running_costs_minor": 10_000,
        "debt_service_minor": 5_000,
        "sinking_due_minor": 3_000,
        "principal_due_minor": 40_000,
        "months": 12,
        "stakes": (
            MemberStake(member_id="ann", capital_minor=100_000, use_wh=1_000),
            MemberStake(member_id="ben", capital_minor=300_000, use_wh=3_000),
        ),
        "evidence": EVIDENCE,
    }
    return ProjectPeriod(**(defaults | more))


def test_the_steps_are_served_in_order_down_to_the_pockets():
    split = split_returns(period(), COOP)
    assert split.principal_minor == 40_000
    assert split.interest_minor == 12_000
    assert split.community_minor == 1_500
    assert split.to_pockets_minor == 28_500
    ann, ben = split.members
    assert (ann.interest_minor, ben.interest_minor) == (3_000, 9_000)
    # Half equally, half by use: 1/2 * 1/2 + 1/2 * 1/4 = 3/8 of the pockets' money.
    assert (ann.pocket_minor, ben.pocket_minor) == (10_688, 17_812)


def test_what_is_not_earned_is_uncovered_and_later_steps_get_nothing():
    split = split_returns(period(avoided_purchases_minor=0), COOP)
    assert (split.running_costs_minor, split.debt_service_minor) == (10_000, 5_000)
    assert (split.sinking_minor, split.principal_minor) == (3_000, 2_000)
    assert split.uncovered_minor == 38_000
    assert split.interest_minor == split.community_minor == split.to_pockets_minor == 0


def test_interest_of_a_month_is_a_twelfth_of_a_years():
    assert split_returns(period(months=1), COOP).interest_minor == 1_000


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 10**5), min_size=4, max_size=4),
    st.lists(
        st.tuples(
            st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from(["0", "0.19", "1"])
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(list(LegalForm)),
)
def test_cents_earned_are_cents_distributed(avoided, exported, dues, stakes, form):
    names = (
        "running_costs_minor",
        "debt_service_minor",
        "sinking_due_minor",
        "principal_due_minor",
    )
    split = split_returns(
        period(
            avoided_purchases_minor=avoided,
            export_revenue_minor=exported,
            stakes=tuple(
                MemberStake(
                    member_id=f"m{place}",
                    capital_minor=capital,
                    use_wh=use_wh,
                    withholding_rate=Decimal(rate),
                )
                for place, (capital, use_wh, rate) in enumerate(stakes)
            ),
            **dict(zip(names, dues, strict=True)),
        ),
        RULES[form],
    )
    parts_minor = (
        split.running_costs_minor
        + split.debt_service_minor
        + split.sinking_minor
        + split.principal_minor
        + split.interest_minor
        + split.community_minor
        + split.to_fund_minor
        + split.to_pockets_minor
    )
    assert parts_minor == split.gross_minor
    assert sum(member.interest_minor for member in split.members) == split.interest_minor
    assert sum(member.pocket_minor for member in split.members) == split.to_pockets_minor
    assert sum(member.capital_minor for member in split.members) == split.to_fund_minor
    if split.gross_minor:
        draft = returns_draft(split)
        assert sum(leg.amount_minor for leg in draft.legs) == 0


def test_a_bencom_pays_no_dividend_by_use_and_a_us_coop_no_interest():
    bencom, us_coop = RULES[LegalForm.BENCOM], RULES[LegalForm.US_COOP]
    split = split_returns(period(), bencom)
    assert (split.to_pockets_minor, split.to_fund_minor) == (0, 28_500)
    with pytest.raises(DistributionRefused, match="no dividend by use"):
        split_returns(period(), bencom, ReturnsParameters())
    with pytest.raises(DistributionRefused, match="interest"):
        split_returns(period(), us_coop, ReturnsParameters())
    credits_only = split_returns(period(), us_coop)
    assert (credits_only.interest_minor, credits_only.to_pockets_minor) == (0, 0)
    assert sum(member.capital_minor for member in credits_only.members) == 39_900


def test_a_uk_member_may_not_hold_more_than_the_limit():
    COOP.check_capital("ann", Money(10_000_000, "GBP"))
    COOP.check_capital("ann", Money(10_000_001, "EUR"))
    with pytest.raises(DistributionRefused):
        COOP.check_capital("ann", Money(10_000_001, "GBP"))


@pytest.mark.parametrize(
    "voted",
    [
        {"interest_rate": Decimal("0.031")},
        {"community_share": Decimal("0.21")},
        {"equal_share": Decimal("0.6")},
        {"use_share": Decimal("NaN")},
    ],
)
def test_votes_out_of_bounds_are_refused(voted):
    with pytest.raises(ParameterOutOfBounds):
        ReturnsParameters(**voted)


@given(st.integers(0, 10**9), st.integers(1, 400), st.integers(1, 12))
def test_principal_comes_back_evenly_and_exactly(cost_minor, life_months, months):
    parts = [
        straight_line_due_minor(cost_minor, life_months, before, months)
        for before in range(0, life_months + months, months)
    ]
    assert sum(parts) == cost_minor
    whole = [part for part in parts if part][:-1]
    assert not whole or max(whole) - min(whole) <= 1
