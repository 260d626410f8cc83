"""Whole minor units: rounding, and splits to the cent."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariff_bargainer.bargaining.minor_units import from_minor, money_text, split_minor, to_minor


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("0.005", "EUR", 1),
        ("-0.005", "EUR", -1),
        ("12.344999", "EUR", 1234),
        ("99.5", "JPY", 100),
        ("1.2345", "KWD", 1235),
    ],
)
def test_amounts_round_half_away_from_zero_to_the_currencys_places(amount, currency, minor):
    assert to_minor(Decimal(amount), currency) == minor


@given(st.integers(-(10**12), 10**12), st.sampled_from(["EUR", "JPY", "KWD"]))
def test_minor_units_come_back(minor, currency):
    assert to_minor(from_minor(minor, currency), currency) == minor


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=40).filter(any),
)
def test_a_split_sums_back_and_nobody_is_a_minor_unit_off(total, weights):
    parts = split_minor(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) < whole
        assert weight or not part


def test_money_for_people():
    assert money_text(123_450, "EUR") == "EUR 1,234.50"
    assert money_text(1234, "JPY") == "JPY 1,234"


def test_a_split_without_weights_is_refused():
    with pytest.raises(ValueError, match="no weight"):
        split_minor(1, [0, 0])
    assert split_minor(0, [0, 0]) == [0, 0]
