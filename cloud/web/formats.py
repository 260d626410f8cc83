"""How pages write money, energy and time: one place, one style.

Tabular figures, a real minus sign, the unit always shown.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from zoneinfo import ZoneInfo

CURRENCY_SIGN = {"EUR": "€", "GBP": "£", "USD": "$", "AUD": "A$", "CHF": "CHF "}
CURRENCY_DECIMALS = {"JPY": 0, "HUF": 2}
MINUS = "−"


def money(amount_minor: int, currency: str, *, decimals: int | None = None) -> str:
    """Write an amount of minor units, such as `€84.20` or `−€24.00`."""
    exponent = CURRENCY_DECIMALS.get(currency, 2)
    shown = exponent if decimals is None else decimals
    value = Decimal(abs(amount_minor)).scaleb(-exponent)
    rounded = value.quantize(Decimal(1).scaleb(-shown), rounding=ROUND_HALF_EVEN)
    sign = MINUS if amount_minor < 0 and rounded else ""
    return f"{sign}{CURRENCY_SIGN.get(currency, currency + ' ')}{rounded:,}"


def number(value: float | Decimal, decimals: int = 0) -> str:
    """Write a number with thousands separators."""
    text = f"{abs(value):,.{decimals}f}"
    negative = value < 0 and any(digit in "123456789" for digit in text)
    return f"{MINUS if negative else ''}{text}"


def cents(price: str | Decimal, decimals: int = 2) -> str:
    """Write a price per kWh as cents, without the unit.

    Prices stay decimal up to here: through a float, 28.895 would end as 28.90 in one place of a page
    and as 28.89 in another.
    """
    return number(Decimal(price) * 100, decimals)


def kwh(energy_wh: float, decimals: int = 1) -> str:
    """Write Wh as kWh, without the unit."""
    return number(energy_wh / 1000, decimals)


def energy(energy_wh: float) -> tuple[str, str]:
    """Write Wh in the unit that reads best; returns number and unit."""
    for limit_wh, divisor, unit, decimals in (
        (1e9, 1e9, "GWh", 2),
        (1e7, 1e6, "MWh", 1),
        (0, 1e3, "kWh", 1),
    ):
        if abs(energy_wh) >= limit_wh:
            return number(energy_wh / divisor, decimals), unit
    return number(energy_wh / 1e3, 1), "kWh"


def percent(share: float, decimals: int = 0) -> str:
    """Write a share of one as per cent."""
    return f"{number(share * 100, decimals)} %"


def local_time(moment: datetime, zone: str) -> datetime:
    """The moment on the clock of the co-op's members."""
    return moment.astimezone(ZoneInfo(zone))


def day(moment: datetime, zone: str) -> str:
    """Write a date, such as `19 Nov 2026`."""
    local = local_time(moment, zone)
    return f"{local.day} {local:%b %Y}"


def day_and_time(moment: datetime, zone: str) -> str:
    """Write a moment, such as `Thu 19 Nov, 14:02`."""
    local = local_time(moment, zone)
    return f"{local:%a} {local.day} {local:%b}, {local:%H:%M}"


def plural(count: int, one: str, many: str) -> str:
    """`1 home`, `15 homes`."""
    return f"{number(count)} {one if count == 1 else many}"
