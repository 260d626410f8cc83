from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_fund.data_income import data_fee_draft, data_income_settlement
from solar_fund.errors import DistributionRefused, InputFileInvalid
from solar_fund.ledger.accounts import (
    DATA_INCOME,
    EQUALISATION,
    MEASUREMENT_RESERVE,
    SUPPLIER_RECEIVABLE,
)
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.sql import SqlLedger
from solar_fund.money import Money
from solar_fund.settlement_entries import accounts_of_split, settlement_drafts
from solar_fund.tax_classes import read_tax_classes, withholding_rate
from solar_fund.true_up import true_up, true_up_draft
from solar_fund.waterfall import MemberSaving, Settlement, split_savings

EVIDENCE, CORRECTED = "ab" * 32, "cd" * 32


def savings(**minor):
    return tuple(
        MemberSaving(member_id=member, saving_minor=amount) for member, amount in minor.items()
    )


def settled(sigma_minor=2_000, **minor):
    return split_savings(
        Settlement(
            period="2025-10",
            currency="EUR",
            savings=savings(**minor),
            evidence=EVIDENCE,
            sigma_minor=sigma_minor,
        )
    )


@pytest.fixture
def ledger():
    made = SqlLedger(open_engine("sqlite://"))
    made.create_tables()
    yield made
    made.close()


def booked(ledger, split, found):
    ledger.open_accounts(accounts_of_split(split))
    ledger.post_entries(settlement_drafts(split))
    draft = true_up_draft(found)
    if draft is not None:
        ledger.post_entry(draft)
    return lambda account: ledger.balance(account, "EUR").posted_minor


def test_an_unchanged_measurement_releases_all_that_was_held_back(ledger):
    split = settled(ann=6_000, ben=4_000)
    found = true_up(split, savings(ann=6_000, ben=4_000), CORRECTED)
    assert (found.held_back_minor, found.to_capital_minor, found.to_pockets_minor) == (
        1_000,
        300,
        700,
    )
    balance = booked(ledger, split, found)
    assert balance(MEASUREMENT_RESERVE) == 0
    assert balance(SUPPLIER_RECEIVABLE) == 10_000


def test_a_lower_measurement_pays_the_supplier_back_from_the_hold_back(ledger):
    split = settled(ann=6_000, ben=4_000)
    found = true_up(split, savings(ann=5_400, ben=4_000), CORRECTED)
    assert (found.paid_back_minor, found.deficit_minor) == (600, 0)
    assert found.to_capital_minor + found.to_pockets_minor == 400
    balance = booked(ledger, split, found)
    assert balance(SUPPLIER_RECEIVABLE) == 9_400


def test_what_the_hold_back_cannot_cover_stands_on_the_equalisation_account(ledger):
    split = settled(ann=6_000, ben=4_000)
    found = true_up(split, savings(ann=3_000, ben=4_000), CORRECTED)
    assert (found.paid_back_minor, found.deficit_minor) == (3_000, 2_000)
    assert found.to_capital_minor == found.to_pockets_minor == 0
    balance = booked(ledger, split, found)
    assert balance(EQUALISATION) == 2_000
    assert balance(SUPPLIER_RECEIVABLE) == 7_000


def test_nothing_held_and_nothing_changed_makes_no_entry():
    split = settled(sigma_minor=0, ann=100)
    assert true_up_draft(true_up(split, savings(ann=100), CORRECTED)) is None


def test_a_true_up_names_the_same_members():
    with pytest.raises(DistributionRefused):
        true_up(settled(ann=1), savings(ben=1), CORRECTED)


@given(
    st.lists(st.tuples(st.integers(-500, 9_000), st.integers(-500, 9_000)), min_size=1, max_size=6),
    st.integers(0, 3_000),
)
def test_a_true_up_keeps_every_cent(pairs, sigma_minor):
    members = [f"m{place}" for place in range(len(pairs))]
    split = settled(sigma_minor, **dict(zip(members, [first for first, _ in pairs], strict=True)))
    later = savings(**dict(zip(members, [second for _, second in pairs], strict=True)))
    found = true_up(split, later, CORRECTED)
    assert (
        found.held_back_minor + found.extra_minor + found.deficit_minor
        == found.paid_back_minor + found.to_capital_minor + found.to_pockets_minor
    )
    assert sum(member.capital_minor for member in found.members) == found.to_capital_minor
    assert sum(member.pocket_minor for member in found.members) == found.to_pockets_minor


def test_a_data_fee_goes_down_the_same_waterfall(ledger):
    fee = Money(10_001, "EUR")
    split = split_savings(data_income_settlement("r1", fee, ["ben", "ann", "cy"], EVIDENCE))
    assert [share.saving_minor for share in split.members] == [3_334, 3_334, 3_333]
    ledger.open_accounts(accounts_of_split(split))
    ledger.post_entry(data_fee_draft("r1", fee, EVIDENCE))
    ledger.post_entries(settlement_drafts(split, source_account=DATA_INCOME))
    assert ledger.balance(DATA_INCOME, "EUR").posted_minor == 0


def test_the_shipped_tax_classes_read_and_an_unlisted_kind_is_unknown():
    classes = read_tax_classes()
    assert withholding_rate(classes, "ES", "in-kind-saving") == Decimal("0.19")
    assert withholding_rate(classes, "ES", "interest") is None


@pytest.mark.parametrize(
    "text",
    [
        "[[class]]\njurisdiction='DE'\n",
        "[[class]]\njurisdiction='DE'\nincome='i'\nwithholding_rate='1.1'\nsource='s'\n",
        "[[class]]\njurisdiction='DE'\nincome='i'\nwithholding_rate=0.25\nsource='s'\n",
        "class = [",
    ],
)
def test_an_incomplete_tax_class_names_its_place(tmp_path, text):
    path = tmp_path / "tax.toml"
    path.write_text(text)
    with pytest.raises(InputFileInvalid, match=r"tax\.toml"):
        read_tax_classes(path)
