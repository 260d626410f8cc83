"""Bargaining in rounds: range, plan, moves, simulated suppliers, and taking up again."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.counter_offer import (
    Advice,
    BargainingRange,
    ConcessionPlan,
    Negotiation,
    Status,
    accept_offer,
    advise,
    bargaining_range,
    planned_ask,
    receive_offer,
    send_counter_offer,
    walk_away,
)
from tariff_bargainer.bargaining.negotiation_file import negotiation_text, parse_negotiation
from tariff_bargainer.bargaining.simulated_supplier import (
    SimulatedSupplier,
    play_out,
    play_round,
)
from tariff_bargainer.errors import NegotiationFault, OfferFileError

LIMITS = BargainingRange(
    currency="EUR",
    energy_kwh=Decimal(1_780_000),
    floor_low=Decimal("0.261"),
    floor=Decimal("0.265"),
    floor_high=Decimal("0.269"),
    target=Decimal("0.268"),
    walk_away=Decimal("0.294"),
)
NEW = Negotiation(supplier="Nordwind", range=LIMITS, plan=ConcessionPlan(rounds_max=5))


def test_the_walk_away_is_what_members_pay_alone_per_kwh():
    limits = bargaining_range(
        alternatives_minor={"a": 60_000, "b": 40_000},
        energy_kwh=Decimal(4000),
        currency="EUR",
        floor_low=Decimal("0.19"),
        floor=Decimal("0.20"),
        floor_high=Decimal("0.21"),
        power=Decimal("0.6"),
        saving_min_minor=4000,
    )
    assert limits.walk_away == Decimal("0.2400")  # (1000 - 40) / 4000
    assert limits.target == Decimal("0.2160")  # 0.20 + 0.4 x 0.04
    assert limits.group_saving_minor(Decimal("0.23")) == 4000


@given(
    st.integers(0, 400),
    st.integers(0, 500),
    st.integers(0, 10),
)
def test_the_target_maximises_the_nash_product(floor_mils, room_mils, power_tenths):
    floor, power = Decimal(100 + floor_mils) / 1000, Decimal(power_tenths) / 10
    walk = floor + Decimal(room_mils) / 1000
    limits = bargaining_range(
        alternatives_minor={"all": int(walk * 1000 * 100)},
        energy_kwh=Decimal(1000),
        currency="EUR",
        floor_low=floor,
        floor=floor,
        floor_high=floor,
        power=power,
    )

    def product(price: float) -> float:
        ours, theirs = max(float(walk) - price, 0.0), max(price - float(floor), 0.0)
        return ours ** float(power) * theirs ** (1 - float(power))

    grid = [float(floor) + float(walk - floor) * share / 500 for share in range(501)]
    best = max(product(price) for price in grid)
    assert product(float(limits.target)) >= best - 1e-4


def test_the_plan_rises_from_the_floor_to_the_walk_away():
    asks = [planned_ask(NEW, number) for number in range(1, 6)]
    assert asks == sorted(asks)
    assert (asks[0], asks[-1]) == (Decimal("0.2610"), Decimal("0.2940"))
    firm = replace(NEW, plan=ConcessionPlan(rounds_max=5, exponent=4))
    assert planned_ask(firm, 3) < planned_ask(NEW, 3)


def test_we_concede_no_more_than_they_did():
    state = receive_offer(NEW, Decimal("0.291"))
    state = send_counter_offer(state, advise(state).price_per_kwh)
    state = receive_offer(state, Decimal("0.2905"))
    counter = advise(state)
    assert counter.advice == Advice.COUNTER
    assert counter.price_per_kwh == Decimal("0.2615")
    assert "they gave 0.05 ct/kWh, we give 0.05 ct/kWh" in counter.reason
    state = send_counter_offer(state, counter.price_per_kwh)
    assert state.gap_per_kwh == Decimal("0.0290")
    stubborn = receive_offer(state, Decimal("0.2905"))
    assert "did not move" in advise(stubborn).reason


def test_an_offer_at_our_next_ask_is_accepted():
    state = receive_offer(NEW, Decimal("0.260"))
    assert advise(state).advice == Advice.ACCEPT
    assert accept_offer(state).agreed_price_per_kwh == Decimal("0.2600")


def test_in_the_last_round_walk_away_decides():
    final = receive_offer(NEW, Decimal("0.2939"), final=True)
    assert advise(final).advice == Advice.ACCEPT
    dear = receive_offer(NEW, Decimal("0.2941"), final=True)
    assert advise(dear).advice == Advice.WALK_AWAY
    with pytest.raises(NegotiationFault, match="above the walk-away"):
        accept_offer(dear)
    assert walk_away(dear).status == Status.WALKED_AWAY


def test_where_both_meet_follows_the_last_steps():
    state = receive_offer(NEW, Decimal("0.284"))
    state = send_counter_offer(state, Decimal("0.266"))
    state = receive_offer(state, Decimal("0.279"))
    state = send_counter_offer(state, Decimal("0.269"))
    state = receive_offer(state, Decimal("0.279"))
    assert advise(state).likely_deal_per_kwh is None  # They stood still.
    moved = replace(state, moves=state.moves[:-1])
    # Gap 1.0 ct; steps 0.3 and 0.5: they meet 3/8 of the way.
    from tariff_bargainer.bargaining.counter_offer import likely_deal

    assert likely_deal(moved) == Decimal("0.2728")


def test_moves_out_of_turn_or_out_of_bounds_are_refused():
    with pytest.raises(NegotiationFault, match="wait for its offer"):
        advise(NEW)
    offered = receive_offer(NEW, Decimal("0.284"))
    with pytest.raises(NegotiationFault, match="answer before"):
        receive_offer(offered, Decimal("0.283"))
    with pytest.raises(NegotiationFault, match="above the walk-away"):
        send_counter_offer(offered, Decimal("0.30"))
    with pytest.raises(NegotiationFault, match="accept it"):
        send_counter_offer(offered, Decimal("0.284"))
    asked = send_counter_offer(offered, Decimal("0.27"))
    again = receive_offer(asked, Decimal("0.28"))
    with pytest.raises(NegotiationFault, match="takes back"):
        send_counter_offer(again, Decimal("0.26"))
    with pytest.raises(NegotiationFault, match="is agreed"):
        receive_offer(accept_offer(again), Decimal("0.27"))


@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.3, 4))
@settings(max_examples=60, deadline=None)
def test_no_deal_is_ever_above_our_walk_away_or_below_their_floor(seed, rounds, exponent):
    supplier = SimulatedSupplier.drawn(
        "Tide", seed=seed, around_per_kwh=Decimal("0.275"), rounds_max=rounds
    )
    start = replace(NEW, supplier="Tide", plan=ConcessionPlan(rounds_max=rounds, exponent=exponent))
    end = play_out(start, supplier)
    assert end.status in {Status.AGREED, Status.WALKED_AWAY}
    assert list(end.their_prices) == sorted(end.their_prices, reverse=True)
    assert list(end.our_prices) == sorted(end.our_prices)
    if end.agreed_price_per_kwh is not None:
        assert supplier.floor_per_kwh <= end.agreed_price_per_kwh <= LIMITS.walk_away
    elif supplier.price_in_round(rounds) <= LIMITS.walk_away:
        pytest.fail("both could have agreed in the last round, and did not")


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_negotiation_put_down_after_every_round_ends_the_same(seed):
    supplier = SimulatedSupplier.drawn("Tide", seed=seed, around_per_kwh=Decimal("0.27"))
    in_one_go = play_out(NEW, supplier)
    state = NEW
    while state.status == Status.OPEN:
        state = parse_negotiation(negotiation_text(play_round(state, supplier)))
    assert state == in_one_go


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"round": 1', '"round": 3', "out of order"),
        ('"party": "supplier"', '"party": "coop"', "out of order"),
        ('"status": "open"', '"status": "maybe"', "status: is 'maybe'"),
        ('"0.2940"', '"free"', "range.walk_away"),
        ('"rounds_max": 5', '"rounds_max": 500', "rounds_max is 500"),
        ('"plan"', '"plans"', "plan"),
        ('"price_per_kwh": "0.2840"', '"price_per_kwh": "-1"', "above zero"),
    ],
)
def test_a_tampered_file_is_refused(old, new, says):
    limits = replace(LIMITS, walk_away=Decimal("0.2940"))
    text = negotiation_text(receive_offer(replace(NEW, range=limits), Decimal("0.284")))
    assert old in text
    with pytest.raises(OfferFileError, match=says):
        parse_negotiation(text.replace(old, new))
