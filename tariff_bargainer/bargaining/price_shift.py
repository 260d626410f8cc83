"""Moving a tariff's price per kWh until a load costs what it should."""

from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal

from tariff_bargainer.errors import NegotiationFault
from tariff_bargainer.tariffs.tariff import EnergyCharge, Tariff

RATE_TICK = Decimal("0.000001")
STEPS_MAX = 60


def shifted(tariff: Tariff, per_kwh: Decimal) -> Tariff:
    """Add an amount per kWh [currency/kWh] to the first energy charge, at all times and blocks.

    Raises:
        NegotiationFault: The tariff has no energy charge to move.
    """
    if not tariff.energy:
        raise NegotiationFault(f"{tariff.name}: has no price per kWh that could be moved")
    first = tariff.energy[0]
    return replace(tariff, energy=(_moved(first, per_kwh), *tariff.energy[1:]))


def shifted_to_total(
    tariff: Tariff, limit_minor: int, cost_minor: Callable[[Tariff], int]
) -> tuple[Tariff, int]:
    """Move the price per kWh as high as it goes while the load costs at most a limit.

    The cost is billed, not extrapolated, so taxes, minimum bills and rounding are in it.

    Args:
        tariff: The tariff to move.
        limit_minor: Most the load may cost [minor units].
        cost_minor: Bills the load on a tariff [minor units]; must not fall when prices rise.

    Returns:
        The moved tariff, and what the load costs on it [minor units].

    Raises:
        NegotiationFault: No price per kWh brings the cost to the limit.
    """
    step = Decimal(1)
    low, high = Decimal(0), Decimal(0)
    if cost_minor(tariff) <= limit_minor:
        while cost_minor(shifted(tariff, high)) <= limit_minor:
            low, high, step = high, high + step, step * 2
            _bounded(tariff, step)
    else:
        while cost_minor(shifted(tariff, low)) > limit_minor:
            low, high, step = low - step, low, step * 2
            _bounded(tariff, step)
    low_minor, high_minor = cost_minor(shifted(tariff, low)), cost_minor(shifted(tariff, high))
    for attempt in range(STEPS_MAX):
        if high - low <= RATE_TICK:
            break
        # Bills are nearly straight lines in the price, so aim by proportion, then halve.
        rise = high_minor - low_minor
        share = Decimal(limit_minor - low_minor) / rise if rise and attempt % 2 == 0 else None
        middle = low + (high - low) * (Decimal("0.5") if share is None else share)
        middle = middle.quantize(RATE_TICK, rounding=ROUND_FLOOR)
        middle = min(max(middle, low + RATE_TICK), high - RATE_TICK)
        found = cost_minor(shifted(tariff, middle))
        if found <= limit_minor:
            low, low_minor = middle, found
        else:
            high, high_minor = middle, found
    return shifted(tariff, low), low_minor


def _bounded(tariff: Tariff, step: Decimal) -> None:
    if step > 10_000:
        raise NegotiationFault(
            f"{tariff.name}: no price per kWh reaches that total; check its minimum bill"
        )


def _moved(charge: EnergyCharge, per_kwh: Decimal) -> EnergyCharge:
    periods = tuple(
        replace(
            period,
            tiers=tuple(replace(tier, rate=tier.rate + per_kwh) for tier in period.tiers),
        )
        for period in charge.periods
    )
    return replace(charge, periods=periods)
