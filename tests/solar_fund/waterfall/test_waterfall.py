import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.errors import DistributionRefused, ParameterOutOfBounds
from solar_fund.ledger.accounts import (
    CAPITAL,
    EQUALISATION,
    POCKET,
    SETTLEMENT_CLEARING,
    SUPPLIER_RECEIVABLE,
    member_account,
)
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.sql import SqlLedger
from solar_fund.settlement_entries import (
    MEMBERS_PER_ENTRY,
    accounts_of_split,
    settlement_drafts,
    supplier_payment_draft,
)
from solar_fund.waterfall import MemberSaving, Settlement, WaterfallParameters, split_savings

EVIDENCE = "cd" * 32


def settlement(savings_minor, **more):
    savings = tuple(
        MemberSaving(member_id=member_id, saving_minor=saving_minor)
        for member_id, saving_minor in savings_minor.items()
    )
    return Settlement(period="2026-10", currency="EUR", savings=savings, evidence=EVIDENCE, **more)


@pytest.fixture
def ledger():
    made = SqlLedger(open_engine("sqlite://"))
    made.create_tables()
    yield made
    made.close()


def open_for(ledger, split):
    accounts = accounts_of_split(split)
    for start in range(0, len(accounts), 5_000):
        ledger.open_accounts(accounts[start : start + 5_000])


def test_the_default_shares_of_a_thousand_euros():
    split = split_savings(
        settlement({"a": 100_000}, costs_minor=10_000, monthly_costs_minor=10_000)
    )
    assert (split.costs_minor, split.reserve_minor) == (10_000, 10_000)
    assert (split.fund_minor, split.pocket_minor) == (30_000, 50_000)


def test_members_who_lost_are_made_whole_before_anything_else():
    split = split_savings(settlement({"winner": 1_000, "loser": -400}, costs_minor=900))
    loser = split.members[0]
    assert (loser.member_id, loser.made_whole_minor, loser.pocket_minor) == ("loser", 400, 0)
    assert split.net_saving_minor == 600
    assert split.costs_minor == 60
    assert split.uncovered_costs_minor == 840


def test_a_period_of_losses_distributes_nothing_and_carries_the_deficit():
    split = split_savings(settlement({"winner": 100, "loser": -400}, costs_minor=50))
    assert split.deficit_minor == 300
    assert split.made_whole_minor == 400
    assert split.fund_minor == split.pocket_minor == split.costs_minor == 0
    later = split_savings(settlement({"winner": 1_000}, carried_loss_minor=300))
    assert later.repaid_loss_minor == 300
    assert later.fund_minor == 210 + 70  # The reserve's target is nil: its share overflows.


def test_a_full_reserve_overflows_into_the_fund():
    split = split_savings(
        settlement({"a": 100_000}, monthly_costs_minor=1_000, reserve_minor=4_000)
    )
    assert split.reserve_minor == 2_000
    assert split.fund_minor == 30_000 + 8_000


def test_half_a_standard_error_is_held_back():
    split = split_savings(settlement({"a": 100_000}, sigma_minor=10_001))
    assert split.held_back_minor == 5_001


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1, max_size=4), st.integers(-(10**6), 10**6), min_size=1
    ),
    st.integers(0, 10**6),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.decimals(Decimal("0.10"), Decimal("0.40"), places=3),
)
def test_cents_in_are_cents_out_and_the_pockets_keep_their_floor(
    savings_minor, costs_minor, sigma_minor, carried_loss_minor, reserve_minor, fund_share
):
    split = split_savings(
        settlement(
            savings_minor,
            costs_minor=costs_minor,
            sigma_minor=sigma_minor,
            carried_loss_minor=carried_loss_minor,
            reserve_minor=reserve_minor,
            monthly_costs_minor=500,
        ),
        WaterfallParameters(fund_share=fund_share),
    )
    assert split.total_in_minor == split.total_out_minor
    assert sum(share.capital_minor for share in split.members) == split.fund_minor
    assert sum(share.pocket_minor for share in split.members) == split.pocket_minor
    base_minor = split.costs_minor + split.reserve_minor + split.fund_minor + split.pocket_minor
    assert split.pocket_minor * 10 >= base_minor * 4 or split.fund_minor > base_minor * fund_share
    for share in split.members:
        assert share.saving_minor + share.made_whole_minor >= 0
        assert share.capital_minor >= 0
        assert share.pocket_minor >= 0
    for draft in settlement_drafts(split):
        assert sum(leg.amount_minor for leg in draft.legs) == 0
        assert all(leg.evidence == EVIDENCE for leg in draft.legs)


def test_the_entries_leave_the_split_in_the_books_and_the_supplier_pays_the_pool(ledger):
    split = split_savings(settlement({"anna": 3_001, "ben": -500, "cy": 1_999}, costs_minor=100))
    open_for(ledger, split)
    ledger.post_entries(settlement_drafts(split, authorised_by="vote-2"))
    ledger.post_entry(supplier_payment_draft(split, bank_evidence="ef" * 32))
    assert ledger.balance(SUPPLIER_RECEIVABLE, "EUR").posted_minor == 0
    for share in split.members:
        capital = ledger.balance(member_account(CAPITAL, share.member_id), "EUR")
        pocket = ledger.balance(member_account(POCKET, share.member_id), "EUR")
        assert -capital.posted_minor == share.capital_minor
        assert -pocket.posted_minor == share.pocket_minor + share.made_whole_minor
    assert ledger.verify_chain().is_whole


def test_a_deficit_stands_on_the_equalisation_account_until_it_is_repaid(ledger):
    bad = split_savings(settlement({"anna": 100, "ben": -400}))
    open_for(ledger, bad)
    ledger.post_entries(settlement_drafts(bad))
    assert ledger.balance(EQUALISATION, "EUR").posted_minor == 300
    savings = (MemberSaving(member_id="anna", saving_minor=1_000),)
    good = split_savings(
        Settlement(
            period="2026-11",
            currency="EUR",
            savings=savings,
            evidence=EVIDENCE,
            carried_loss_minor=300,
        )
    )
    ledger.post_entries(settlement_drafts(good))
    assert ledger.balance(EQUALISATION, "EUR").posted_minor == 0


def test_many_members_go_through_a_clearing_account_that_returns_to_zero(ledger):
    split = split_savings(
        settlement(
            {f"m{number:05}": number % 50 + 1 for number in range(2 * MEMBERS_PER_ENTRY + 1)}
        )
    )
    open_for(ledger, split)
    drafts = settlement_drafts(split)
    assert len(drafts) == 4
    ledger.post_entries(drafts)
    assert ledger.balance(SETTLEMENT_CLEARING, "EUR").posted_minor == 0
    sums = sum(line.balance.posted_minor for line in ledger.trial_balance())
    assert sums == 0


@pytest.mark.parametrize(
    "shares",
    [
        {"fund_share": Decimal("0.09")},
        {"fund_share": Decimal("0.61")},
        {"pocket_floor_share": Decimal("0.39")},
        {"fund_share": Decimal("0.50")},
        {"reserve_share": Decimal("NaN")},
        {"cost_cap_share": Decimal("0.11")},
    ],
)
def test_shares_out_of_bounds_are_refused(shares):
    with pytest.raises(ParameterOutOfBounds):
        WaterfallParameters(**shares)


def test_a_member_is_named_once_and_amounts_are_not_negative():
    twice = (MemberSaving(member_id="a", saving_minor=1),) * 2
    with pytest.raises(DistributionRefused):
        Settlement(period="p", currency="EUR", savings=twice, evidence=EVIDENCE)
    with pytest.raises(DistributionRefused):
        settlement({"a": 1}, costs_minor=-1)
    with pytest.raises(DistributionRefused):
        settlement({})


def test_the_command_prints_one_object_that_adds_up(tmp_path):
    savings = tmp_path / "savings.csv"
    savings.write_text("member_id,saving\nben,10.01\nanna,20.02\ncy,-1.00\n")
    voted = tmp_path / "voted.toml"
    voted.write_text("fund_share = 0.2\nreserve_share = 0\n")
    command = ["waterfall", str(savings), "--costs", "1", "--parameters", str(voted), "--json"]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["total_in_minor"] == found["total_out_minor"] == 3_003
    assert found["fund_minor"] == 580
    assert [share["member_id"] for share in found["members"]] == ["anna", "ben", "cy"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("who,saving\na,1\n", "line 1"),
        ("member_id,saving\na,1\nb,1.001\n", "line 3"),
        ("member_id,saving\na,1\n,2\n", "line 3"),
        ("member_id,saving_minor\na,x\n", "line 2"),
        ("member_id,saving\na,1\na,2\n", "'a'"),
        ("member_id,saving\n", "1 to"),
        ("member_id,saving,evidence\na,1,zz\n", "line 2"),
    ],
)
def test_a_bad_savings_file_gets_one_line_with_the_place(tmp_path, text, place):
    savings = tmp_path / "savings.csv"
    savings.write_text(text)
    answer = CliRunner().invoke(app, ["waterfall", str(savings), "--json"])
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert "savings.csv" in answer.stderr
    assert place in answer.stderr
    assert answer.stderr.count("\n") == 1
