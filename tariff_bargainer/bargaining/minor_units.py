"""Money as whole minor units of a currency, and splits that sum back exactly."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

MINOR_PLACES = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
"""Decimal places of currencies that do not have two. Source: ISO 4217, list one."""


def minor_places(currency: str) -> int:
    """Return how many decimal places a currency's minor unit has; two unless listed."""
    return MINOR_PLACES.get(currency, 2)


def to_minor(amount: Decimal, currency: str) -> int:
    """Round an amount [currency] half up to whole minor units; the one place that does so."""
    scaled = amount.scaleb(minor_places(currency))
    return int(scaled.to_integral_value(rounding=ROUND_HALF_UP))


def from_minor(amount_minor: int, currency: str) -> Decimal:
    """Return whole minor units as an amount [currency]."""
    return Decimal(amount_minor).scaleb(-minor_places(currency))


def money_text(amount_minor: int, currency: str) -> str:
    """Write an amount for people, such as `EUR 1,234.50`."""
    return f"{currency} {from_minor(amount_minor, currency):,.{minor_places(currency)}f}"


def split_minor(total_minor: int, weights: Sequence[int]) -> list[int]:
    """Split a total in proportion to whole weights, to the minor unit, by largest remainder.

    Equal remainders go to the earlier entry. A negative total is split as its opposite.

    Raises:
        ValueError: A weight is negative, or none is positive while there is money to split.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if total_minor < 0:
        return [-part for part in split_minor(-total_minor, weights)]
    whole = sum(weights)
    if whole == 0:
        if total_minor:
            raise ValueError("there is money to split, but no weight is positive")
        return [0] * len(weights)
    shares = [divmod(total_minor * weight, whole) for weight in weights]
    left = total_minor - sum(quotient for quotient, _ in shares)
    by_remainder = sorted(range(len(weights)), key=lambda place: (-shares[place][1], place))
    extra = set(by_remainder[:left])
    return [quotient + (place in extra) for place, (quotient, _) in enumerate(shares)]
