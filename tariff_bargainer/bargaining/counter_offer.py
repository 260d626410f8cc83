"""One supplier, round by round: walk-away, target, and the next counter-offer with its reason.

Prices here are the all-in average for the group's own load, in currency per kWh, so that a flat
rate, a day-and-night rate and an index-linked rate stand on one scale. A negotiation is a value:
each move gives a new one, and `negotiation_file` writes it to JSON and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from enum import StrEnum

from tariff_bargainer.bargaining.minor_units import from_minor, money_text, to_minor
from tariff_bargainer.errors import NegotiationFault

TICK = Decimal("0.0001")
"""Smallest step of a price on the table [currency/kWh]: a hundredth of a cent."""
ROUNDS_MAX = 50


class Party(StrEnum):
    """Who made a move."""

    SUPPLIER = "supplier"
    COOP = "coop"


class Status(StrEnum):
    """Where a negotiation stands."""

    OPEN = "open"
    AGREED = "agreed"
    WALKED_AWAY = "walked_away"


class Advice(StrEnum):
    """What the plan would do next."""

    COUNTER = "counter"
    ACCEPT = "accept"
    WALK_AWAY = "walk_away"


@dataclass(frozen=True, slots=True, kw_only=True)
class BargainingRange:
    """Between which prices a deal helps both sides [currency/kWh].

    Attributes:
        currency: ISO 4217 code.
        energy_kwh: Yearly energy of the group [kWh].
        floor_low: Lower end of the supplier's estimated floor.
        floor: The supplier's estimated floor.
        floor_high: Its upper end.
        target: The price the co-op aims for.
        walk_away: Above this the members do better on their own.
    """

    currency: str
    energy_kwh: Decimal
    floor_low: Decimal
    floor: Decimal
    floor_high: Decimal
    target: Decimal
    walk_away: Decimal

    @property
    def has_room(self) -> bool:
        """Whether any price helps both sides."""
        return self.floor < self.walk_away

    @property
    def power(self) -> Decimal:
        """The co-op's part of the range, from where the target stands; a half without a range."""
        if not self.has_room:
            return Decimal("0.5")
        part = (self.walk_away - self.target) / (self.walk_away - self.floor)
        return min(max(part, Decimal(0)), Decimal(1)).quantize(Decimal("0.01"))

    def group_saving_minor(self, price_per_kwh: Decimal) -> int:
        """Return what a price saves the group a year against walking away [minor units]."""
        return to_minor((self.walk_away - price_per_kwh) * self.energy_kwh, self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcessionPlan:
    """How the co-op gives way over time.

    Attributes:
        rounds_max: Rounds after which the co-op accepts or walks away.
        exponent: 1 concedes evenly; above 1 holds firm and concedes late; below 1 the reverse.
        mirror: Whether to concede no more than the supplier did in its last step.

    Source: time-dependent tactics of P. Faratin, C. Sierra and N. R. Jennings, "Negotiation
    decision functions for autonomous agents", Robotics and Autonomous Systems 24, 1998, polynomial
    form with its kappa at 0; `exponent` is their 1 / beta.
    """

    rounds_max: int = 5
    exponent: float = 2.0
    mirror: bool = True

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be followed."""
        if not 1 <= self.rounds_max <= ROUNDS_MAX:
            raise NegotiationFault(
                f"rounds_max is {self.rounds_max}: plan between 1 and {ROUNDS_MAX} rounds"
            )
        if not 0.05 <= self.exponent <= 20:
            raise NegotiationFault(f"exponent is {self.exponent}: choose between 0.05 and 20")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One price put on the table.

    Attributes:
        round: Round it belongs to, from 1.
        party: Who put it there.
        price_per_kwh: All-in price [currency/kWh].
        reason: Why, in words.
        final: Whether the supplier called it its last word.
    """

    round: int
    party: Party
    price_per_kwh: Decimal
    reason: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiation:
    """A negotiation with one supplier, as far as it has come.

    Attributes:
        supplier: With whom.
        range: Between which prices a deal helps both.
        plan: How the co-op gives way.
        moves: Prices in the order they were put on the table; the supplier opens each round.
        status: Open, agreed, or walked away.
    """

    supplier: str
    range: BargainingRange
    plan: ConcessionPlan
    moves: tuple[Move, ...] = ()
    status: Status = Status.OPEN

    @property
    def round(self) -> int:
        """The round of the last move; 0 before the first."""
        return self.moves[-1].round if self.moves else 0

    @property
    def their_prices(self) -> tuple[Decimal, ...]:
        """The supplier's prices in order [currency/kWh]."""
        return tuple(move.price_per_kwh for move in self.moves if move.party == Party.SUPPLIER)

    @property
    def our_prices(self) -> tuple[Decimal, ...]:
        """Our asks in order [currency/kWh]."""
        return tuple(move.price_per_kwh for move in self.moves if move.party == Party.COOP)

    @property
    def gap_per_kwh(self) -> Decimal | None:
        """Their last price less ours [currency/kWh]; None until both have spoken."""
        if not self.their_prices or not self.our_prices:
            return None
        return self.their_prices[-1] - self.our_prices[-1]

    @property
    def agreed_price_per_kwh(self) -> Decimal | None:
        """The price of the deal [currency/kWh], or None."""
        return self.moves[-1].price_per_kwh if self.status == Status.AGREED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterOffer:
    """What the plan advises next.

    Attributes:
        advice: Counter, accept or walk away.
        price_per_kwh: Price to ask, or the price to accept or leave [currency/kWh].
        saving_minor: What that price saves the group on the replayed use, against walking away [minor
            units].
        likely_deal_per_kwh: Where both sides meet if they keep their last steps, or None.
        reason: Why, in words.
    """

    advice: Advice
    price_per_kwh: Decimal
    saving_minor: int
    likely_deal_per_kwh: Decimal | None
    reason: str


def bargaining_range(
    *,
    alternatives_minor: Mapping[str, int],
    energy_kwh: Decimal,
    currency: str,
    floor_low: Decimal,
    floor: Decimal,
    floor_high: Decimal,
    power: Decimal = Decimal("0.5"),
    saving_min_minor: int = 0,
) -> BargainingRange:
    """Find between which prices a deal helps both sides, and the price to aim for.

    The walk-away price makes the group's bill equal to the sum of what each member could get
    alone, less the least saving it wants. The target splits the room above the floor in
    proportion to the co-op's power.

    Args:
        alternatives_minor: Highest bill on a group contract at which each home is no worse off than
            with its best tariff of its own [minor units]; see `Alternative.joining_limit_minor`.
        energy_kwh: Energy these bills are for [kWh].
        currency: ISO 4217 code.
        floor_low: Lower end of the supplier's estimated floor [currency/kWh].
        floor: The estimated floor.
        floor_high: Its upper end.
        power: The co-op's bargaining power [0..1]; a half splits the room evenly.
        saving_min_minor: Least saving of the group [minor units].

    Source: asymmetric Nash solution for transferable money; J. Nash, "The bargaining problem",
    Econometrica 18, 1950; E. Kalai, "Nonsymmetric Nash solutions", Int. J. Game Theory 6, 1977.
    """
    if energy_kwh <= 0:
        raise NegotiationFault("the group uses no energy: there is no price per kWh to bargain for")
    if not 0 <= power <= 1:
        raise NegotiationFault(f"the bargaining power is {power}: choose between 0 and 1")
    if not floor_low <= floor <= floor_high:
        raise NegotiationFault("the floor's ends are not in order: floor_low, floor, floor_high")
    most_minor = sum(alternatives_minor.values()) - saving_min_minor
    # Down to the tick: a price at the walk-away must not cost the group more than its alternative.
    exact = from_minor(most_minor, currency) / energy_kwh
    walk_away = exact.quantize(TICK, rounding=ROUND_FLOOR)
    room = max(walk_away - floor, Decimal(0))
    target = min(walk_away, floor) + (1 - power) * room
    return BargainingRange(
        currency=currency,
        energy_kwh=energy_kwh,
        floor_low=_tick(floor_low),
        floor=_tick(floor),
        floor_high=_tick(floor_high),
        target=_tick(target),
        walk_away=walk_away,
    )


def planned_ask(negotiation: Negotiation, round_number: int) -> Decimal:
    """Return the price the plan would ask in a round [currency/kWh].

    It opens at the lower end of the floor, or below the target if that is lower, and reaches the
    walk-away price in the last round.
    """
    limits, plan = negotiation.range, negotiation.plan
    opening = min(limits.floor_low, limits.target)
    progress = (round_number - 1) / max(1, plan.rounds_max - 1)
    share = Decimal(repr(min(1.0, progress) ** plan.exponent))
    return _tick(opening + share * max(limits.walk_away - opening, Decimal(0)))


def receive_offer(
    negotiation: Negotiation, price_per_kwh: Decimal, *, final: bool = False, reason: str = ""
) -> Negotiation:
    """Put the supplier's next price on the table; it opens a new round.

    Raises:
        NegotiationFault: The negotiation is over, it is not the supplier's turn, the rounds are
            used up, or the price is not above zero.
    """
    _require_open(negotiation)
    if negotiation.moves and negotiation.moves[-1].party == Party.SUPPLIER:
        raise NegotiationFault(f"{negotiation.supplier} has spoken: answer before its next offer")
    if negotiation.round >= negotiation.plan.rounds_max:
        raise NegotiationFault("the last round is over: accept or walk away")
    if price_per_kwh <= 0:
        raise NegotiationFault(f"the price is {price_per_kwh}: give a price above zero")
    move = Move(
        round=negotiation.round + 1,
        party=Party.SUPPLIER,
        price_per_kwh=price_per_kwh.quantize(TICK, rounding=ROUND_CEILING),
        reason=reason,
        final=final,
    )
    return replace(negotiation, moves=(*negotiation.moves, move))


def advise(negotiation: Negotiation) -> CounterOffer:
    """Say what to do about the supplier's last price, and why.

    Raises:
        NegotiationFault: The negotiation is over, or the supplier has not spoken yet.
    """
    _require_open(negotiation)
    if not negotiation.moves or negotiation.moves[-1].party != Party.SUPPLIER:
        raise NegotiationFault(f"it is {negotiation.supplier}'s turn: wait for its offer")
    offered = negotiation.moves[-1]
    limits = negotiation.range
    last_round = offered.final or offered.round >= negotiation.plan.rounds_max
    ask = _next_ask(negotiation)
    price, walk = offered.price_per_kwh, limits.walk_away
    if price <= ask or (last_round and price <= walk):
        why = (
            f"{_price(price)} is at or below what we would ask next ({_price(ask)})"
            if price <= ask
            else f"no round is left and {_price(price)} is below our walk-away {_price(walk)}"
        )
        return _advice(negotiation, Advice.ACCEPT, price, why)
    if last_round:
        return _advice(
            negotiation,
            Advice.WALK_AWAY,
            price,
            f"no round is left and {_price(price)} is above our walk-away {_price(walk)}: "
            "members do better on the best tariffs they can get alone",
        )
    return _advice(negotiation, Advice.COUNTER, ask, _ask_reason(negotiation, ask))


def send_counter_offer(
    negotiation: Negotiation, price_per_kwh: Decimal, *, reason: str = ""
) -> Negotiation:
    """Put our price on the table.

    Raises:
        NegotiationFault: The negotiation is over, it is not our turn, the price is above the
            walk-away or above the supplier's own price, or below our last ask.
    """
    _require_open(negotiation)
    if not negotiation.moves or negotiation.moves[-1].party != Party.SUPPLIER:
        raise NegotiationFault(f"it is {negotiation.supplier}'s turn: wait for its offer")
    price = _tick(price_per_kwh)
    if price <= 0:
        raise NegotiationFault(f"the price is {price}: give a price above zero")
    if price > negotiation.range.walk_away:
        raise NegotiationFault(
            f"{price} is above the walk-away {negotiation.range.walk_away}: members would do better "
            "alone"
        )
    if price >= negotiation.their_prices[-1]:
        raise NegotiationFault(
            f"{price} is no lower than the supplier's own {negotiation.their_prices[-1]}: accept it"
        )
    if negotiation.our_prices and price < negotiation.our_prices[-1]:
        raise NegotiationFault(
            f"{price} takes back our last ask of {negotiation.our_prices[-1]}: keep it or give way"
        )
    move = Move(round=negotiation.round, party=Party.COOP, price_per_kwh=price, reason=reason)
    return replace(negotiation, moves=(*negotiation.moves, move))


def accept_offer(negotiation: Negotiation) -> Negotiation:
    """Agree to the last price on the table, whoever put it there.

    Raises:
        NegotiationFault: The negotiation is over, nothing is on the table, or the price is above
            the walk-away.
    """
    _require_open(negotiation)
    if not negotiation.moves:
        raise NegotiationFault("nothing is on the table yet: wait for an offer")
    price = negotiation.moves[-1].price_per_kwh
    if price > negotiation.range.walk_away:
        raise NegotiationFault(
            f"{price} is above the walk-away {negotiation.range.walk_away}: it cannot be accepted"
        )
    return replace(negotiation, status=Status.AGREED)


def walk_away(negotiation: Negotiation) -> Negotiation:
    """End the negotiation without a deal.

    Raises:
        NegotiationFault: The negotiation is over already.
    """
    _require_open(negotiation)
    return replace(negotiation, status=Status.WALKED_AWAY)


def likely_deal(negotiation: Negotiation) -> Decimal | None:
    """Return where both sides meet if each keeps its last step; None before two rounds."""
    theirs, ours, gap = negotiation.their_prices, negotiation.our_prices, negotiation.gap_per_kwh
    if gap is None or len(theirs) < 2 or len(ours) < 2:
        return None
    their_step, our_step = theirs[-2] - theirs[-1], ours[-1] - ours[-2]
    if their_step <= 0 or our_step + their_step <= 0:
        return None
    return _tick(ours[-1] + gap * our_step / (our_step + their_step))


def _next_ask(negotiation: Negotiation) -> Decimal:
    """Return the ask of this round: by plan, mirrored, never taken back, never above theirs."""
    planned = planned_ask(negotiation, negotiation.round)
    ours, theirs = negotiation.our_prices, negotiation.their_prices
    if ours:
        if negotiation.plan.mirror:
            planned = min(planned, ours[-1] + max(theirs[-2] - theirs[-1], Decimal(0)))
        planned = max(planned, ours[-1])
    return min(planned, negotiation.range.walk_away)


def _ask_reason(negotiation: Negotiation, ask: Decimal) -> str:
    limits, theirs, ours = negotiation.range, negotiation.their_prices, negotiation.our_prices
    saves = money_text(limits.group_saving_minor(ask), limits.currency)
    place = f"Round {negotiation.round} of {negotiation.plan.rounds_max}"
    parts = [
        f"{place}: ask {_price(ask)}, which on the replayed use saves {saves} against walking away"
    ]
    if not ours:
        parts.append(
            f"we open at the lower end of their likely floor ({_price(limits.floor_low)})"
            if ask == limits.floor_low
            else f"we open at {_price(ask)}, below our target {_price(limits.target)}"
        )
    else:
        step, their_step = ask - ours[-1], theirs[-2] - theirs[-1]
        parts.append(
            f"they gave {_price(their_step)}, we give {_price(step)}"
            if step
            else "they did not move, so neither do we"
            if their_step <= 0
            else f"we hold at {_price(ask)}"
        )
    if not limits.has_room:
        parts.append("their likely floor lies above our walk-away, so a deal is unlikely")
    return "; ".join(parts)


def _advice(negotiation: Negotiation, advice: Advice, price: Decimal, reason: str) -> CounterOffer:
    return CounterOffer(
        advice=advice,
        price_per_kwh=price,
        saving_minor=negotiation.range.group_saving_minor(price),
        likely_deal_per_kwh=likely_deal(negotiation),
        reason=reason,
    )


def _require_open(negotiation: Negotiation) -> None:
    if negotiation.status != Status.OPEN:
        raise NegotiationFault(
            f"the negotiation with {negotiation.supplier} is {negotiation.status.replace('_', ' ')}"
        )


def _tick(price: Decimal) -> Decimal:
    return price.quantize(TICK, rounding=ROUND_HALF_UP)


def _price(price: Decimal) -> str:
    """Write a price for people, in hundredths of the currency unit per kWh."""
    return f"{price * 100:.2f} ct/kWh"
