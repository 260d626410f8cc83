"""How pages write prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloud.web import formats


@pytest.mark.parametrize(
    ("price", "decimals", "text"),
    [
        ("0.28895", 2, "28.90"),
        ("0.28885", 2, "28.88"),
        ("-0.001", 1, "−0.1"),
        ("0.2735", 1, "27.4"),
    ],
)
def test_a_price_reads_the_same_from_text_and_from_decimal(
    price: str, decimals: int, text: str
) -> None:
    """Halves go to the even digit, exactly, as everywhere in the bill engine."""
    assert formats.cents(price, decimals) == text
    assert formats.cents(Decimal(price), decimals) == text
