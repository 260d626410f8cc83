"""Numbers that `negotiate` is given: decimals, the floor, the power of both sides."""

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, NoReturn

import typer

from tariff_bargainer.errors import NegotiationFault

if TYPE_CHECKING:
    from tariff_bargainer.bargaining.counter_offer import BargainingRange

EXIT_BAD_INPUT = 2
LIKELY_TIMES_WALK_AWAY = 5
"""A price above so many times what the homes pay today is a slip, such as cents for euros."""


def require_likely(limits: "BargainingRange") -> None:
    """Refuse a floor in cents.

    Raises:
        NegotiationFault: It is far above what the homes pay today.
    """
    if limits.floor > LIKELY_TIMES_WALK_AWAY * abs(limits.walk_away):
        raise NegotiationFault(
            f"the floor {limits.floor} is far above the walk-away {limits.walk_away} "
            f"{limits.currency}/kWh; write it per kWh in {limits.currency}, such as 0.2620"
        )


def power_of(power: str | None, patience: str | None) -> Decimal:
    """Take the power as it is given, or from the patience of both sides."""
    from tariff_bargainer.bargaining.packages import rubinstein_share

    if patience is None:
        return decimal("0.5" if power is None else power, "--power")
    if power is not None:
        refuse("--power and --patience both say how strong we are; give one of them")
    ours, comma, theirs = patience.partition(",")
    if not comma:
        refuse(f"--patience is {patience!r}; write ours and theirs, such as 0.98,0.95")
    both = (float(decimal(ours, "--patience")), float(decimal(theirs, "--patience")))
    try:
        return Decimal(f"{rubinstein_share(*both):.6f}")
    except NegotiationFault as wrong:
        refuse(f"--patience: {wrong}")


def decimal(text: str, name: str) -> Decimal:
    """Read the number of an option; exits 2 with one line when it is none."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or abs(found) > 1_000_000:
        refuse(f"{name} is {text!r}; write a decimal number, such as 0.279")
    return found


def refuse(problem: str) -> NoReturn:
    """Print one line on stderr, and exit 2."""
    typer.echo(f"error: {problem}", err=True)
    raise typer.Exit(EXIT_BAD_INPUT)
