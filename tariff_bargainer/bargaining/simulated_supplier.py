"""Simulated suppliers for trials and the demo: each knows a floor that it never tells.

A reply depends on the seed, the round and our last ask only, so a negotiation that was saved and
taken up again meets the same supplier.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from tariff_bargainer.bargaining.counter_offer import (
    TICK,
    Negotiation,
    Status,
    accept_offer,
    advise,
    receive_offer,
    send_counter_offer,
    walk_away,
)
from tariff_bargainer.bargaining.counter_offer import Advice as _Advice
from tariff_bargainer.errors import NegotiationFault


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplierReply:
    """What a simulated supplier answers.

    Attributes:
        accepts: Whether it takes our last ask.
        price_per_kwh: The price it takes or offers [currency/kWh].
        final: Whether this is its last word.
    """

    accepts: bool
    price_per_kwh: Decimal
    final: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSupplier:
    """A supplier that concedes over time towards a hidden floor.

    Attributes:
        name: Name of the firm.
        seed: Seed of its moods.
        floor_per_kwh: Price below which it never sells [currency/kWh]; never shown to the co-op.
        opening_markup: How far above its floor it opens, share of the floor [0..1].
        exponent: 1 concedes evenly; above 1 concedes late.
        rounds_max: Rounds it takes part in.
    """

    name: str
    seed: int
    floor_per_kwh: Decimal
    opening_markup: float = 0.12
    exponent: float = 1.0
    rounds_max: int = 5

    def __post_init__(self) -> None:
        """Refuse a supplier that could not quote."""
        if self.floor_per_kwh <= 0 or self.opening_markup < 0 or self.rounds_max < 1:
            raise NegotiationFault(
                f"{self.name}: a supplier needs a floor above zero, a markup of at least zero and "
                "at least one round"
            )

    @classmethod
    def drawn(
        cls, name: str, *, seed: int, around_per_kwh: Decimal, rounds_max: int = 5
    ) -> "SimulatedSupplier":
        """Draw a supplier whose hidden floor lies near an estimate.

        The spread, 2 % of the floor, and the ranges of markup and exponent are choices of the
        simulation, not measurements of any market.
        """
        rng = np.random.default_rng(seed)
        floor = float(around_per_kwh) * (1 + 0.02 * float(rng.standard_normal()))
        return cls(
            name=name,
            seed=seed,
            floor_per_kwh=_tick(floor),
            opening_markup=float(rng.uniform(0.06, 0.16)),
            exponent=float(rng.uniform(0.7, 1.8)),
            rounds_max=rounds_max,
        )

    def price_in_round(self, round_number: int) -> Decimal:
        """Return what it would offer in a round (from 1) [currency/kWh]; never rising."""
        quotes = [self._quote(number) for number in range(1, round_number + 1)]
        return max(self.floor_per_kwh, min(quotes))

    def reply(self, round_number: int, our_ask_per_kwh: Decimal | None) -> SupplierReply:
        """Answer our last ask in a round (from 1), or open when there is none."""
        price = self.price_in_round(round_number)
        final = round_number >= self.rounds_max
        if our_ask_per_kwh is not None and our_ask_per_kwh >= price:
            return SupplierReply(accepts=True, price_per_kwh=our_ask_per_kwh, final=True)
        return SupplierReply(accepts=False, price_per_kwh=price, final=final)

    def _quote(self, round_number: int) -> Decimal:
        progress = min(1.0, (round_number - 1) / max(1, self.rounds_max - 1))
        rng = np.random.default_rng([self.seed, round_number])
        mood = 1 + 0.15 * float(rng.standard_normal()) * (round_number > 1)
        markup = self.opening_markup * max(0.0, (1 - progress**self.exponent) * mood)
        return _tick(float(self.floor_per_kwh) * (1 + markup))


def play_round(negotiation: Negotiation, supplier: SimulatedSupplier) -> Negotiation:
    """Play one round: the supplier offers or accepts, then the co-op follows its plan.

    Raises:
        NegotiationFault: The negotiation is over.
    """
    asks = negotiation.our_prices
    reply = supplier.reply(negotiation.round + 1, asks[-1] if asks else None)
    if reply.accepts:
        return accept_offer(negotiation)
    offered = receive_offer(negotiation, reply.price_per_kwh, final=reply.final)
    counter = advise(offered)
    if counter.advice == _Advice.ACCEPT:
        return accept_offer(offered)
    if counter.advice == _Advice.WALK_AWAY:
        return walk_away(offered)
    return send_counter_offer(offered, counter.price_per_kwh, reason=counter.reason)


def play_out(negotiation: Negotiation, supplier: SimulatedSupplier) -> Negotiation:
    """Play rounds until there is a deal or one side walks away."""
    while negotiation.status == Status.OPEN:
        negotiation = play_round(negotiation, supplier)
    return negotiation


def _tick(price: float) -> Decimal:
    return Decimal(repr(price)).quantize(TICK, rounding=ROUND_HALF_UP)
