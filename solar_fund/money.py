"""Money as an integer of minor units with its currency, and the one way we split it.

Rounding happens in named places only: `Money.from_decimal` (refuses what is not exact unless told
to round half to even), `split_minor` (largest remainder), `share_down` and `share_up`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import lcm

from solar_fund.errors import AmountInvalid, CurrencyMismatch, CurrencyUnknown, SplitImpossible

EXPONENTS: Mapping[str, int] = {
    "AUD": 2,
    "BGN": 2,
    "BHD": 3,
    "BRL": 2,
    "CAD": 2,
    "CHF": 2,
    "CLP": 0,
    "CZK": 2,
    "DKK": 2,
    "EUR": 2,
    "GBP": 2,
    "HUF": 2,
    "INR": 2,
    "ISK": 0,
    "JOD": 3,
    "JPY": 0,
    "KRW": 0,
    "KWD": 3,
    "MXN": 2,
    "NOK": 2,
    "NZD": 2,
    "OMR": 3,
    "PLN": 2,
    "RON": 2,
    "SEK": 2,
    "SGD": 2,
    "TND": 3,
    "TRY": 2,
    "UAH": 2,
    "USD": 2,
    "VND": 0,
    "ZAR": 2,
}
"""Decimal digits of each currency's minor unit. Source: ISO 4217, list one."""

AMOUNT_MINOR_MAX = 10**15
"""Largest amount of one leg [minor units]; sums of 9,000 such legs still fit 64 bits."""

Weight = int | Decimal | Fraction

_AMOUNT_TEXT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?")


def exponent_of(currency: str) -> int:
    """Number of decimal digits of a currency.

    Raises:
        CurrencyUnknown: The code is not in `EXPONENTS`.
    """
    try:
        return EXPONENTS[currency]
    except KeyError:
        raise CurrencyUnknown(currency) from None


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount of one currency; negative amounts are allowed."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int:
            raise AmountInvalid(
                repr(self.amount_minor), self.currency, "give a whole number of minor units"
            )
        exponent_of(self.currency)

    @classmethod
    def zero(cls, currency: str) -> "Money":
        """No money at all, of a currency."""
        return cls(0, currency)

    @classmethod
    def parse(cls, text: str, currency: str) -> "Money":
        """Read a plain decimal text such as `12.34` or `-5`, exactly.

        Raises:
            AmountInvalid: Not plain decimal digits, or finer than the currency's minor unit.
        """
        if not _AMOUNT_TEXT.fullmatch(text):
            raise AmountInvalid(text, currency, "write plain digits with a point, such as 12.34")
        return cls.from_decimal(Decimal(text), currency)

    @classmethod
    def from_decimal(cls, amount: Decimal, currency: str, *, rounded: bool = False) -> "Money":
        """Turn major units into minor units.

        Args:
            amount: Amount [major units, for example euros].
            currency: Code of ISO 4217.
            rounded: Round half to even; otherwise an inexact amount is refused.

        Raises:
            AmountInvalid: The amount is not finite, or not exact and `rounded` is false.
        """
        if not amount.is_finite():
            raise AmountInvalid(str(amount), currency, "it is not a finite number")
        exact = Fraction(amount) * 10 ** exponent_of(currency)
        if exact.denominator == 1:
            return cls(exact.numerator, currency)
        if not rounded:
            raise AmountInvalid(
                str(amount), currency, f"at most {exponent_of(currency)} decimals are allowed"
            )
        return cls(round(exact), currency)

    @property
    def decimal(self) -> Decimal:
        """The amount [major units], exactly."""
        return Decimal(self.amount_minor).scaleb(-exponent_of(self.currency))

    def __str__(self) -> str:
        return f"{self.decimal:f} {self.currency}"

    def __add__(self, other: "Money") -> "Money":
        self._must_match(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._must_match(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.amount_minor, self.currency)

    def split(self, weights: Sequence[Weight]) -> list["Money"]:
        """Split by weights with `split_minor`; the parts sum back exactly."""
        return [Money(part, self.currency) for part in split_minor(self.amount_minor, weights)]

    def _must_match(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(self.currency, other.currency)


def split_minor(amount_minor: int, weights: Sequence[Weight]) -> list[int]:
    """Split minor units by weights with the largest remainder method.

    Each part first gets its share rounded down; the units left over go, one each, to the largest
    remainders. Equal remainders are served in the order given: callers pass members sorted by id,
    so anyone can repeat the split. A negative amount is split as its absolute value.

    Args:
        amount_minor: Amount to split [minor units].
        weights: Not negative, not all zero, shape (n_parts,).

    Returns:
        Parts [minor units] in the order of the weights; they sum to `amount_minor`.

    Raises:
        SplitImpossible: No weights, a negative one, or all zero while there is money to split.

    Source: Hare quota with largest remainders (Hamilton's method).
    """
    if not weights:
        raise SplitImpossible("there is nobody to split among")
    exact = [Fraction(weight) for weight in weights]
    if any(weight < 0 for weight in exact):
        raise SplitImpossible("a weight is negative")
    scale = lcm(*(weight.denominator for weight in exact))
    whole = [weight.numerator * (scale // weight.denominator) for weight in exact]
    total = sum(whole)
    if total == 0:
        if amount_minor == 0:
            return [0] * len(weights)
        raise SplitImpossible("all weights are zero")
    sign = -1 if amount_minor < 0 else 1
    size_minor = abs(amount_minor)
    shares = [divmod(size_minor * weight, total) for weight in whole]
    parts = [quotient for quotient, _ in shares]
    left_over = size_minor - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda index: (-shares[index][1], index))
    for index in by_remainder[:left_over]:
        parts[index] += 1
    return [sign * part for part in parts]


def share_down(amount_minor: int, share: Decimal) -> int:
    """A share of an amount, rounded down [minor units].

    Args:
        amount_minor: Amount [minor units].
        share: For example `Decimal("0.30")`.
    """
    numerator, denominator = share.as_integer_ratio()
    return amount_minor * numerator // denominator


def share_up(amount_minor: int, share: Decimal) -> int:
    """A share of an amount, rounded up [minor units]."""
    return -share_down(-amount_minor, share)
