"""The auction: what counts, what is left out, and that anyone can count again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tariff_bargainer.bargaining.auction import book_cost_minor, rules_hash, run_auction
from tariff_bargainer.bargaining.auction_rules import (
    AuctionRules,
    BookEntry,
    Lot,
    SealedBid,
    Weights,
    opened_bid,
    seal_bid,
)
from tariff_bargainer.bargaining.price_shift import shifted, shifted_to_total
from tariff_bargainer.errors import NegotiationFault
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.offer_texts import flat_offer, offer_text

OPENS = datetime(2026, 11, 2, 8, tzinfo=UTC)
CLOSES = datetime(2026, 11, 16, 17, tzinfo=UTC)
JANUARY = datetime(2024, 12, 31, 23, tzinfo=UTC)
BOOK = (
    BookEntry(
        profile=LoadProfile(start=JANUARY, step_s=3600, import_wh=np.full(744, 400)), homes=30
    ),
    BookEntry(
        profile=LoadProfile(start=JANUARY, step_s=3600, import_wh=np.full(744, 900)), homes=12
    ),
)
KWH = Decimal("0.4") * 744 * 30 + Decimal("0.9") * 744 * 12
RULES = AuctionRules(
    tender="2027-A",
    currency="EUR",
    lots=(Lot(lot_id="fixed"),),
    weights=Weights(),
    reserve_minor=600_000,
    rule="second-score",
    opens_at=OPENS,
    closes_at=CLOSES,
)


def bid(supplier, rate, *, lot="fixed", at=CLOSES - timedelta(hours=1), nonce="n" * 16, **keys):
    text = offer_text(rate, supplier=supplier, **keys)
    seal = seal_bid(tender="2027-A", bidder=supplier, lot_id=lot, text=text, nonce=nonce)
    sealed = SealedBid(bidder=supplier, lot_id=lot, seal=seal, received_at=at)
    return sealed, opened_bid(bidder=supplier, lot_id=lot, text=text, nonce=nonce, form="toml")


def run(*bids, rules=RULES):
    return run_auction(rules, BOOK, [sealed for sealed, _ in bids], [text for _, text in bids])


def test_the_cheapest_bid_wins_and_is_held_to_the_second_score():
    result = run(bid("Nordwind", 0.28), bid("Tide", 0.29), bid("Meridian", 0.31))
    (lot,) = result.lots
    assert lot.winner == "Nordwind"
    assert [one.bidder for one in lot.ranking] == ["Nordwind", "Tide", "Meridian"]
    assert lot.second_score_minor == lot.ranking[1].score_minor
    assert book_cost_minor(lot.contract, BOOK) <= lot.ranking[1].cost_minor
    rate = lot.contract.tariff.energy[0].periods[0].tiers[0].rate
    assert Decimal("0.2899") < rate <= Decimal("0.29001"), "the winner is paid up to Tide's price"
    assert lot.uplift_minor == book_cost_minor(lot.contract, BOOK) - lot.ranking[0].cost_minor


def test_under_first_score_the_winner_is_paid_its_bid():
    result = run(bid("Nordwind", 0.28), bid("Tide", 0.29), rules=replace(RULES, rule="first-score"))
    assert result.lots[0].uplift_minor == 0
    assert result.lots[0].contract.tariff.energy[0].periods[0].tiers[0].rate == Decimal("0.28")


def test_nobody_can_aim_at_winning_a_tie():
    # Tide tries nonces until its seal comes first of hundreds; the draw hangs on Nordwind's too.
    nonces = [f"{number:016d}" for number in range(300)]
    aimed = min((bid("Tide", 0.28, nonce=nonce) for nonce in nonces), key=lambda one: one[0].seal)
    won = 0
    for nonce in nonces[:40]:
        tied = run(bid("Nordwind", 0.28, nonce=nonce), aimed)
        assert tied == run(aimed, bid("Nordwind", 0.28, nonce=nonce)), "whatever the order"
        won += tied.lots[0].winner == "Tide"
    assert 10 <= won <= 30


def test_a_lone_bidder_is_held_to_the_reserve():
    (lot,) = run(bid("Nordwind", 0.28)).lots
    cost = book_cost_minor(lot.contract, BOOK)
    assert 600_000 - 50 <= cost <= 600_000


def test_a_bid_above_the_reserve_wins_nothing():
    (lot,) = run(bid("Nordwind", 0.40)).lots
    assert (lot.winner, lot.contract) == ("", None)


def test_weights_can_outdo_price_but_only_as_published():
    green = bid("Green", 0.30, green_share="1.0")
    grey = bid("Grey", 0.29, green_share="0.0")
    assert run(green, grey).lots[0].winner == "Grey"
    weighted = replace(RULES, weights=Weights(green_minor_per_year=50_000))
    assert run(green, grey, rules=weighted).lots[0].winner == "Green"
    assert run(green, grey, rules=weighted).rules_hash != run(green, grey).rules_hash


def test_late_early_changed_and_unsealed_bids_are_left_out_with_the_reason():
    late = bid("Late", 0.20, at=CLOSES)
    early = bid("Early", 0.20, at=OPENS - timedelta(seconds=1))
    changed_seal, _ = bid("Changed", 0.28)
    _, cheaper = bid("Changed", 0.20)
    silent_seal, _ = bid("Silent", 0.20)
    _, unsealed = bid("Unsealed", 0.20)
    good_seal, good = bid("Nordwind", 0.29)
    result = run_auction(
        RULES,
        BOOK,
        [late[0], early[0], changed_seal, silent_seal, good_seal],
        [late[1], early[1], cheaper, unsealed, good],
    )
    reasons = {(one.bidder, one.reason.split(",")[0]) for one in result.excluded}
    assert reasons == {
        ("Late", "came late"),
        ("Early", "came early"),
        ("Changed", "was changed after sealing"),
        ("Silent", "was never opened"),
        ("Unsealed", "was never sealed"),
    }
    assert len(result.excluded) == 5, "one reason each"
    assert result.lots[0].winner == "Nordwind"


def test_the_record_covers_why_a_bid_was_left_out():
    seal, opened = bid("Nordwind", 0.29)
    _, cheaper = bid("Nordwind", 0.20)
    changed = run_auction(RULES, BOOK, [seal], [cheaper])
    silent = run_auction(RULES, BOOK, [seal], [])
    assert changed.rules_hash == silent.rules_hash == rules_hash(RULES, BOOK)
    assert len({one.record_hash for one in (changed, silent, run((seal, opened)))}) == 3


def test_the_last_seal_in_time_counts():
    first = bid("Nordwind", 0.27, at=CLOSES - timedelta(hours=3))
    second = bid("Nordwind", 0.28, at=CLOSES - timedelta(hours=2), nonce="m" * 16)
    (lot,) = run(first, second).lots
    assert [one.cost_minor for one in lot.ranking] == [book_cost_minor(second[1].offer, BOOK)]


def test_a_bid_that_cannot_be_read_is_left_out_and_stops_nobody():
    text = "not an offer"
    seal = seal_bid(tender="2027-A", bidder="X", lot_id="fixed", text=text, nonce="n" * 16)
    broken = (
        SealedBid(bidder="X", lot_id="fixed", seal=seal, received_at=OPENS),
        opened_bid(bidder="X", lot_id="fixed", text=text, nonce="n" * 16, form="toml"),
    )
    result = run(broken, bid("Nordwind", 0.29))
    assert result.lots[0].winner == "Nordwind"
    assert "cannot be read" in result.excluded[0].reason
    other_name = offer_text(0.2, supplier="Someone")
    assert (
        "names 'Someone'"
        in opened_bid(
            bidder="X", lot_id="fixed", text=other_name, nonce="n" * 16, form="toml"
        ).fault
    )


def test_lots_have_terms_of_their_own():
    lots = (
        Lot(lot_id="short", term_months=12),
        Lot(lot_id="long", term_months=36, green_share_min=Decimal(1)),
    )
    rules = replace(RULES, lots=lots)
    result = run(
        bid("A", 0.29, lot="short", term_months="12"),
        bid("B", 0.28, lot="short", term_months="24"),
        bid("C", 0.30, lot="long", term_months="36", green_share="0.5"),
        bid("D", 0.31, lot="long", term_months="36"),
        rules=rules,
    )
    assert [lot.winner for lot in result.lots] == ["A", "D"]
    assert {one.bidder for one in result.excluded} == {"B", "C"}


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_the_order_in_which_files_arrive_changes_nothing(order):
    bids = [bid(f"S{number}", 0.28 + number / 100) for number in range(4)]
    assert run(*[bids[place] for place in order]) == run(*bids)


def test_any_bidder_who_counts_again_finds_the_same_record():
    bids = [bid("Nordwind", 0.28), bid("Tide", 0.29)]
    assert run(*bids).record_hash == run(*bids).record_hash
    other = [bid("Nordwind", 0.28), bid("Tide", 0.2901)]
    assert run(*bids).record_hash != run(*other).record_hash


@given(st.integers(20, 40), st.integers(20, 40), st.integers(18, 45))
@settings(max_examples=30, deadline=None)
def test_bidding_the_true_floor_pays_under_second_score(floor_ct, rival_ct, shade_ct):
    """Whatever the rival does, no other bid earns a supplier more than its true floor."""
    if floor_ct == rival_ct:
        return

    def profit(bid_ct: int) -> float:
        (lot,) = run(bid("Us", bid_ct / 100), bid("Rival", rival_ct / 100)).lots
        if lot.winner != "Us":
            return 0.0
        return book_cost_minor(lot.contract, BOOK) - book_cost_minor(
            flat_offer(floor_ct / 100), BOOK
        )

    if shade_ct != rival_ct:
        assert profit(shade_ct) <= profit(floor_ct) + 50


def expected_payment_minor(rule: str, bid_ct) -> float:
    """Mean payment to the winner of two, over a grid of floors evenly spread from 20 to 40 ct."""
    steps = 8
    floors = [20 + 20 * (place + 0.5) / steps for place in range(steps)]
    reserve = book_cost_minor(flat_offer(0.40), BOOK)
    rules = replace(RULES, rule=rule, reserve_minor=reserve)
    total = 0.0
    for place, ours in enumerate(floors):
        # Who of the two has which floor does not matter, so half of the grid counts twice.
        for other in floors[: place + 1]:
            bids = [
                bid(name, round(bid_ct(ct) / 100, 6))
                for name, ct in (("Nordwind", ours), ("Tide", other))
            ]
            (lot,) = run(*bids, rules=rules).lots
            paid = book_cost_minor(lot.contract, BOOK)
            total += paid if other == ours else 2 * paid
    return total / steps**2


def test_both_rules_pay_the_same_when_each_is_bid_as_theory_says():
    """Revenue equivalence, for two bidders whose floors are uniform up to the reserve of 40 ct.

    Source: R. Myerson, "Optimal auction design", Mathematics of Operations Research 6, 1981; a
    first-price bid of n such bidders lies a share 1/n of the way from the floor to the reserve.
    """
    second = expected_payment_minor("second-score", lambda floor_ct: floor_ct)
    first = expected_payment_minor("first-score", lambda floor_ct: floor_ct + (40 - floor_ct) / 2)
    assert first == pytest.approx(second, rel=0.005)
    # Two thirds of the way from 20 to 40 ct is what theory expects to be paid.
    assert second == pytest.approx(book_cost_minor(flat_offer(0.33333), BOOK), rel=0.005)
    naive = expected_payment_minor("first-score", lambda floor_ct: floor_ct)
    assert naive < 0.9 * second, "bidding the floor under first-score pays much less"


def test_a_seal_hides_and_binds():
    facts = {"tender": "T", "bidder": "B", "lot_id": "L", "text": "x"}
    with pytest.raises(NegotiationFault, match="nonce"):
        seal_bid(**facts, nonce="short")
    seal = seal_bid(**facts, nonce="n" * 16)
    for key in facts:
        assert seal_bid(**{**facts, key: "other"}, nonce="n" * 16) != seal
    assert seal_bid(**facts, nonce="m" * 16) != seal


@given(st.integers(100_000, 2_000_000))
@settings(max_examples=30, deadline=None)
def test_a_price_is_moved_as_far_as_the_total_allows(limit):
    offer = flat_offer(0.28)

    def cost(tariff):
        return book_cost_minor(replace(offer, tariff=tariff), BOOK)

    moved, found = shifted_to_total(offer.tariff, limit, cost)
    assert cost(moved) == found <= limit
    assert cost(shifted(moved, Decimal("0.000002"))) > limit


def test_rules_that_contradict_themselves_are_refused():
    with pytest.raises(NegotiationFault, match="not after"):
        replace(RULES, closes_at=OPENS)
    with pytest.raises(NegotiationFault, match="at least one lot"):
        replace(RULES, lots=())
    with pytest.raises(NegotiationFault, match="empty"):
        run_auction(RULES, (), [], [])
