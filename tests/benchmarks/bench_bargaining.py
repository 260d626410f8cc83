"""Auction, replay and guarantee for ten thousand members, and the skill of the forecast.

Times are of this machine, in one run; the sizes are those of a large cooperative.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from tariff_bargainer.bargaining.auction import run_auction
from tariff_bargainer.bargaining.auction_rules import (
    AuctionRules,
    BookEntry,
    Lot,
    SealedBid,
    Weights,
    opened_bid,
    seal_bid,
)
from tariff_bargainer.bargaining.cost_sharing import (
    coalition_costs,
    peak_cost,
    shapley_exact,
    shapley_sampled,
)
from tariff_bargainer.bargaining.fairness import guarantee_transfers
from tariff_bargainer.bargaining.offers import Mandate, evaluate_offer, price_homes
from tariff_bargainer.profiles.intervals import LoadProfile
from tests.tariff_bargainer.bargaining.offer_texts import flat_offer, flat_tariff, offer_text
from tests.tariff_bargainer.bargaining.street import START, hourly_homes

MEMBERS = 10_000
DAYS = 364
BIDDERS = 6
OPENS = datetime(2026, 11, 2, tzinfo=UTC)
CLOSES = OPENS + timedelta(days=14)


def run() -> list[dict[str, Any]]:
    """Run all bargaining benchmarks, one row each."""
    homes = _members(MEMBERS)
    return [_replay(homes), _guarantee(homes), _auction(homes), _shapley()]


def _members(count: int) -> dict[str, LoadProfile]:
    """Scale and shift a hundred made-up homes until there are as many as asked."""
    rng = np.random.default_rng(1)
    base = [profile.import_wh for profile in hourly_homes(100, days=DAYS).values()]
    homes = {}
    for number in range(count):
        load = np.roll(base[number % len(base)], int(rng.integers(-3, 4))) * rng.uniform(0.5, 1.5)
        homes[f"m{number:05d}"] = LoadProfile(
            start=START, step_s=3600, import_wh=np.rint(load).astype(np.int64)
        )
    return homes


def _own_tariffs(homes: dict[str, LoadProfile]) -> dict[str, Any]:
    several = [flat_tariff(0.26 + 0.01 * step) for step in range(8)]
    return {home: several[place % len(several)] for place, home in enumerate(homes)}


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


def _replay(homes: dict[str, LoadProfile]) -> dict[str, Any]:
    own = _own_tariffs(homes)
    made, quick_s = _timed(
        lambda: evaluate_offer(flat_offer(0.28), homes, own, Mandate(), quick=True)
    )
    some = dict(list(homes.items())[:200])
    _, exact_s = _timed(lambda: price_homes(some, own))
    return {
        "name": f"replay of one offer on {MEMBERS} members, hourly year, old and new bill",
        "value": round(quick_s, 2),
        "unit": "s",
        "goal": None,
        "detail": f"{made.winners} would pay less; one exact bill takes "
        f"{exact_s / len(some) * 1000:.2f} ms",
    }


def _guarantee(homes: dict[str, LoadProfile]) -> dict[str, Any]:
    old = price_homes(homes, _own_tariffs(homes), quick=True)
    new = price_homes(homes, flat_tariff(0.28), quick=True)
    savings = {home: old[home] - new[home] for home in homes}
    made, seconds = _timed(lambda: guarantee_transfers(savings))
    return {
        "name": f"nobody worse off: transfers for {MEMBERS} members",
        "value": round(seconds, 4),
        "unit": "s",
        "goal": None,
        "detail": f"transfers sum to {sum(made.credit_minor.values())}, the least saving is "
        f"{made.least_saving_minor} minor units",
    }


def _auction(homes: dict[str, LoadProfile]) -> dict[str, Any]:
    """A book of twenty archetypes, and one of two hundred profiles beside it."""
    book = tuple(BookEntry(profile=profile, homes=1) for profile in list(homes.values())[:200])
    grouped = tuple(replace(entry, homes=MEMBERS // 20) for entry in book[:20])
    rules = AuctionRules(
        tender="bench",
        currency="EUR",
        lots=(Lot(lot_id="main"),),
        weights=Weights(),
        reserve_minor=10**10,
        rule="second-score",
        opens_at=OPENS,
        closes_at=CLOSES,
    )
    sealed, opened = [], []
    for number in range(BIDDERS):
        bidder = f"bidder {number}"
        text = offer_text(0.28 + number / 1000, supplier=bidder)
        facts = {"bidder": bidder, "lot_id": "main", "text": text, "nonce": "n" * 16}
        seal = seal_bid(tender="bench", **facts)
        sealed.append(SealedBid(bidder=bidder, lot_id="main", seal=seal, received_at=OPENS))
        opened.append(opened_bid(form="toml", **facts))
    made, grouped_s = _timed(lambda: run_auction(rules, grouped, sealed, opened))
    _, many_s = _timed(
        lambda: run_auction(replace(rules, rule="first-score"), book, sealed, opened)
    )
    return {
        "name": f"second-score auction, {BIDDERS} bids, 20 archetypes for {MEMBERS} members",
        "value": round(grouped_s, 2),
        "unit": "s",
        "goal": None,
        "detail": f"{made.lots[0].winner} wins, paid {Decimal(made.lots[0].uplift_minor) / 100} EUR "
        f"above its bid; by first score on 200 profiles {many_s:.2f} s",
    }


def _shapley() -> dict[str, Any]:
    loads = np.random.default_rng(3).gamma(1.5, 400, size=(12, 576))
    cost = peak_cost(10.0, step_s=3600)
    exact, exact_s = _timed(lambda: shapley_exact(coalition_costs(loads, cost)))
    sampled, sampled_s = _timed(lambda: shapley_sampled(loads, cost, permutations=2000))
    return {
        "name": "Shapley values of 12 homes: 2,000 sampled orders against all coalitions",
        "value": round(100 * float(np.abs(sampled - exact).max() / exact.sum()), 3),
        "unit": "% of the total, worst error",
        "goal": 1,
        "detail": f"sampled in {sampled_s:.2f} s, exact in {exact_s:.3f} s",
    }
