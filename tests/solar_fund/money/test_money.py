from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from solar_fund.errors import AmountInvalid, CurrencyMismatch, CurrencyUnknown, SplitImpossible
from solar_fund.money import Money, split_minor

AMOUNTS_MINOR = st.integers(-(10**15), 10**15)
WEIGHTS = st.one_of(
    st.integers(0, 10**9),
    st.decimals(0, 10**6, places=4, allow_nan=False),
    st.fractions(0, 1000, max_denominator=997),
)


@given(AMOUNTS_MINOR, st.lists(WEIGHTS, min_size=1, max_size=40))
def test_the_parts_of_a_split_sum_back_exactly_and_stay_within_one_unit(amount_minor, weights):
    total = sum(Fraction(weight) for weight in weights)
    if total == 0:
        weights = [*weights, 1]
        total = Fraction(1)
    parts = split_minor(amount_minor, weights)
    assert sum(parts) == amount_minor
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - amount_minor * Fraction(weight) / total) < 1


@given(AMOUNTS_MINOR, st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_a_larger_weight_never_gets_less(amount_minor, weights):
    parts = split_minor(abs(amount_minor), [*weights, 1])
    ordered = sorted(zip([*weights, 1], parts, strict=True), key=lambda pair: pair[0])
    for (lighter, less), (heavier, more) in pairwise(ordered):
        assert lighter == heavier or less <= more


def test_equal_remainders_are_served_in_the_order_given():
    assert split_minor(100, [1, 1, 1]) == [34, 33, 33]
    assert split_minor(-100, [1, 1, 1]) == [-34, -33, -33]
    assert split_minor(2, [1, 1, 1]) == [1, 1, 0]


def test_a_split_needs_somebody_with_a_weight():
    for weights in ([], [0, 0], [1, -1]):
        with pytest.raises(SplitImpossible):
            split_minor(5, weights)
    assert split_minor(0, [0, 0]) == [0, 0]


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [("12.34", "EUR", 1234), ("-0.5", "GBP", -50), ("7", "JPY", 7), ("1.005", "KWD", 1005)],
)
def test_plain_decimal_text_becomes_minor_units(text, currency, amount_minor):
    assert Money.parse(text, currency) == Money(amount_minor, currency)


@pytest.mark.parametrize(
    "text", ["", "1,5", "1.005", "1e3", "NaN", "inf", "١٢", " 1", "0x10", "1_0", "9" * 40]
)
def test_other_text_is_refused(text):
    with pytest.raises(AmountInvalid):
        Money.parse(text, "EUR")


def test_money_is_whole_units_of_a_known_currency():
    with pytest.raises(AmountInvalid):
        Money(1.5, "EUR")
    with pytest.raises(AmountInvalid):
        Money(True, "EUR")
    with pytest.raises(CurrencyUnknown):
        Money(1, "eur")
    with pytest.raises(CurrencyMismatch):
        Money(1, "EUR") + Money(1, "GBP")


@given(AMOUNTS_MINOR, st.sampled_from(["EUR", "JPY", "KWD"]))
def test_writing_and_reading_money_is_the_identity(amount_minor, currency):
    money = Money(amount_minor, currency)
    assert Money.parse(f"{money.decimal:f}", currency) == money


def test_a_rate_is_rounded_half_to_even_only_when_told():
    assert Money.from_decimal(Decimal("1.005"), "EUR", rounded=True) == Money(100, "EUR")
    assert Money.from_decimal(Decimal("1.015"), "EUR", rounded=True) == Money(102, "EUR")
    with pytest.raises(AmountInvalid):
        Money.from_decimal(Decimal("1.005"), "EUR")
