"""The one place where a bill's exact fractions become money."""

from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal, localcontext
from fractions import Fraction

from tariff_bargainer.tariffs.tariff import Rounding, RoundingMode

EXACT_PLACES = 10
"""Decimal places kept when a tariff has no rounding rule."""

_MODES: dict[RoundingMode, str] = {
    "half-up": ROUND_HALF_UP,
    "half-even": ROUND_HALF_EVEN,
    "down": ROUND_DOWN,
    "up": ROUND_UP,
}


def round_money(amount: Fraction, rule: Rounding) -> Decimal:
    """Round an exact amount by the tariff's rule.

    Without a rule the amount is kept to ten decimal places, half to even, so that equal inputs
    give equal digits on every machine.
    """
    places = EXACT_PLACES if rule.places is None else rule.places
    mode = ROUND_HALF_EVEN if rule.places is None else _MODES[rule.mode]
    scaled = amount * 10**places
    with localcontext() as context:
        context.prec = 60
        whole = scaled.numerator // scaled.denominator
        rest = scaled - whole
        # Only whether the rest is none, below, at or above a half matters, so three digits do.
        marker = Decimal(0) if rest == 0 else _marker(rest)
        rounded = (Decimal(whole) + marker).quantize(Decimal(1), rounding=mode)
        return rounded.scaleb(-places)


def _marker(rest: Fraction) -> Decimal:
    half = Fraction(1, 2)
    if rest == half:
        return Decimal("0.5")
    return Decimal("0.25") if rest < half else Decimal("0.75")


def money_text(amount: Decimal) -> str:
    """Write money without an exponent and without needless zeros beyond the second place."""
    text = format(amount, "f")
    whole, _, places = text.partition(".")
    kept = places.rstrip("0")
    return f"{whole}.{kept.ljust(2, '0')}" if "." in text else text
