"""A sealed-bid reverse auction in lots that every bidder can compute again.

What counts is fixed before bids open: the homes' load (a few published profiles with the number of
homes each stands for), today's cost, the lots, and the weights the members voted. A bid is sealed
by its hash, and opened after the close; a bid that came late or was changed is left out, with the
reason. Scores are whole minor units of money a year, so that a recount gives the same numbers.

Under the second-score rule the best bid wins, and its price may rise until its score equals the
second best, so that bidding one's true best price pays.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal

from tariff_bargainer.bargaining.auction_rules import (
    AuctionRules,
    BookEntry,
    Lot,
    OpenedBid,
    SealedBid,
    Weights,
    seal_bid,
)
from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.bargaining.offers import Offer
from tariff_bargainer.bargaining.price_shift import shifted_to_total
from tariff_bargainer.billing.bill import bill
from tariff_bargainer.billing.index_cost import IndexSeries
from tariff_bargainer.errors import BargainerError, NegotiationFault

BIDS_MAX = 1000
MONTHS_PER_YEAR = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBid:
    """A valid bid with its score; all money in minor units a year.

    Attributes:
        bidder: Who bids.
        seal: Its seal.
        cost_minor: Bill of the published load.
        worth_minor: What green share, term and exit fees add, or take when negative.
        score_minor: Reserve less cost plus worth; the higher the better.
    """

    bidder: str
    seal: str
    cost_minor: int
    worth_minor: int
    score_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedBid:
    """A bid that was left out.

    Attributes:
        bidder: Who bid.
        lot_id: For which lot.
        reason: Why it does not count.
    """

    bidder: str
    lot_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LotResult:
    """How a lot ended.

    Attributes:
        lot_id: Name of the lot.
        ranking: Valid bids, best first.
        winner: Best bidder, or empty when no bid reaches the reserve.
        second_score_minor: Score the winner is held to [minor units].
        uplift_minor: How much more than its bid the winner is paid a year [minor units].
        contract: The winner's offer at the price it is paid, or None.
    """

    lot_id: str
    ranking: tuple[ScoredBid, ...]
    winner: str
    second_score_minor: int
    uplift_minor: int
    contract: Offer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionResult:
    """How an auction ended.

    Attributes:
        lots: One result per lot, in the order of the rules.
        excluded: Bids left out, each with its reason.
        rules_hash: Hash of rules and published load.
        record_hash: Hash of rules, load, seals, results and what was left out and why, for whoever
            counts again.
    """

    lots: tuple[LotResult, ...]
    excluded: tuple[ExcludedBid, ...]
    rules_hash: str
    record_hash: str


def book_cost_minor(
    offer: Offer, book: Sequence[BookEntry], *, index: Mapping[str, IndexSeries] | None = None
) -> int:
    """Bill the published load on an offer: each profile once, times its homes [minor units]."""
    return sum(
        entry.homes
        * to_minor(
            bill(entry.profile, offer.tariff, index=index).annual.total, offer.tariff.currency
        )
        for entry in book
    )


def run_auction(
    rules: AuctionRules,
    book: Sequence[BookEntry],
    sealed: Sequence[SealedBid],
    opened: Sequence[OpenedBid],
    *,
    index: Mapping[str, IndexSeries] | None = None,
) -> AuctionResult:
    """Decide every lot from the published rules, the published load and the bids.

    Args:
        rules: Everything fixed before bids open.
        book: The published load.
        sealed: Seals as they came in; of several by one bidder for a lot, the last in time counts.
        opened: Bids opened after the close.
        index: Price series by the name that tariffs use.

    Raises:
        NegotiationFault: There is no load, or there are too many bids.
    """
    if not book or any(entry.homes < 1 for entry in book):
        raise NegotiationFault("the published load is empty, or a profile stands for no home")
    if len(sealed) > BIDS_MAX or len(opened) > BIDS_MAX:
        raise NegotiationFault(f"there are more than {BIDS_MAX} bids: split the tender")
    valid, excluded = _sort_out(rules, sealed, opened)
    scored: dict[str, list[tuple[ScoredBid, Offer]]] = {lot.lot_id: [] for lot in rules.lots}
    nonces: dict[str, list[str]] = {lot.lot_id: [] for lot in rules.lots}
    for seal, offer, nonce in valid:
        nonces[seal.lot_id].append(nonce)
        try:
            cost_minor = book_cost_minor(offer, book, index=index)
        except BargainerError as unpriced:
            excluded.append(_excluded(seal, f"the published load cannot be billed: {unpriced}"))
            continue
        worth_minor = _worth_minor(rules.weights, offer, sum(entry.homes for entry in book))
        scored[seal.lot_id].append(
            (
                ScoredBid(
                    bidder=seal.bidder,
                    seal=seal.seal,
                    cost_minor=cost_minor,
                    worth_minor=worth_minor,
                    score_minor=rules.reserve_minor - cost_minor + worth_minor,
                ),
                offer,
            )
        )
    lots = tuple(
        _decide(rules, lot, scored[lot.lot_id], sorted(nonces[lot.lot_id]), book, index)
        for lot in rules.lots
    )
    fixed = rules_hash(rules, book)
    left_out = sorted([gone.bidder, gone.lot_id, gone.reason] for gone in excluded)
    seals = sorted([s.bidder, s.lot_id, s.seal, s.received_at.isoformat()] for s in sealed)
    return AuctionResult(
        lots=lots,
        excluded=tuple(excluded),
        rules_hash=fixed,
        record_hash=_hash([fixed, seals, [_lot_facts(lot) for lot in lots], left_out]),
    )


def rules_hash(rules: AuctionRules, book: Sequence[BookEntry]) -> str:
    """Hash of everything that is fixed before bids open: rules, weights and the published load."""
    return _hash([_rules_facts(rules), _book_facts(book)])


def _sort_out(
    rules: AuctionRules, sealed: Sequence[SealedBid], opened: Sequence[OpenedBid]
) -> tuple[list[tuple[SealedBid, Offer, str]], list[ExcludedBid]]:
    """Match seals with openings, and leave out what came late, was changed or does not fit."""
    lots = {lot.lot_id: lot for lot in rules.lots}
    latest: dict[tuple[str, str], SealedBid] = {}
    excluded = []
    for seal in sorted(sealed, key=lambda one: (one.received_at, one.seal)):
        if seal.lot_id not in lots:
            excluded.append(_excluded(seal, "there is no such lot"))
        elif not rules.opens_at <= seal.received_at < rules.closes_at:
            when = "late" if seal.received_at >= rules.closes_at else "early"
            excluded.append(_excluded(seal, f"came {when}, at {seal.received_at.isoformat()}"))
        else:
            latest[seal.bidder, seal.lot_id] = seal
    openings: dict[tuple[str, str], list[OpenedBid]] = {}
    for bid in opened:
        openings.setdefault((bid.bidder, bid.lot_id), []).append(bid)
    valid = []
    for key, seal in latest.items():
        candidates = openings.pop(key, [])
        fitting = next((bid for bid in candidates if _opens(rules, seal, bid)), None)
        if fitting is None:
            fault = "was changed after sealing" if candidates else "was never opened"
        elif fitting.offer is None:
            fault = fitting.fault
        else:
            fault = _unfit(lots[seal.lot_id], rules, fitting.offer)
            if not fault:
                valid.append((seal, fitting.offer, fitting.nonce))
        if fault:
            excluded.append(_excluded(seal, fault))
    told = {(gone.bidder, gone.lot_id) for gone in excluded}
    excluded.extend(
        ExcludedBid(bidder=bidder, lot_id=lot_id, reason="was never sealed")
        for bidder, lot_id in openings
        if (bidder, lot_id) not in told
    )
    return valid, excluded


def _opens(rules: AuctionRules, seal: SealedBid, bid: OpenedBid) -> bool:
    try:
        found = seal_bid(
            tender=rules.tender,
            bidder=bid.bidder,
            lot_id=bid.lot_id,
            text=bid.text,
            nonce=bid.nonce,
        )
    except NegotiationFault:
        return False
    return hmac.compare_digest(found, seal.seal)


def _unfit(lot: Lot, rules: AuctionRules, offer: Offer) -> str:
    """Return why an offer does not fit a lot; empty when it does."""
    linked = any(charge.index for charge in offer.tariff.energy)
    faults = {
        f"is in {offer.tariff.currency}, not {rules.currency}": (
            offer.tariff.currency != rules.currency
        ),
        f"has a term of {offer.term_months} months, the lot asks {lot.term_months}": (
            lot.term_months not in {None, offer.term_months}
        ),
        f"is {offer.green_share:.0%} green, the lot asks {lot.green_share_min:.0%}": (
            offer.green_share < lot.green_share_min
        ),
        "is linked to an index, the lot asks fixed prices": lot.pricing == "fixed" and linked,
        "has fixed prices, the lot asks an index": lot.pricing == "index" and not linked,
        "can no longer be accepted at the close": not offer.is_open(rules.closes_at),
    }
    return next((reason for reason, broken in faults.items() if broken), "")


def _worth_minor(weights: Weights, offer: Offer, homes: int) -> int:
    """Value what is not in the bill, in whole minor units a year."""
    green = weights.green_minor_per_year * offer.green_share
    term = weights.term_minor_per_month * (offer.term_months - MONTHS_PER_YEAR)
    fee_minor = to_minor(offer.tariff.exit_fee, offer.tariff.currency) * homes
    worth = green + term - weights.exit_fee_share * fee_minor
    return int(Decimal(worth).to_integral_value(rounding=ROUND_HALF_UP))


def _decide(
    rules: AuctionRules,
    lot: Lot,
    scored: list[tuple[ScoredBid, Offer]],
    nonces: list[str],
    book: Sequence[BookEntry],
    index: Mapping[str, IndexSeries] | None,
) -> LotResult:
    # Equal scores go by a draw that everybody can check, and nobody can aim at: it hangs on the
    # nonces of all bidders, which are secret until after the close. A seal alone can be aimed at,
    # by trying nonces until it comes early.
    ranked = sorted(scored, key=lambda pair: (-pair[0].score_minor, _hash([nonces, pair[0].seal])))
    ranking = tuple(bid for bid, _ in ranked)
    if not ranking or ranking[0].score_minor < 0:
        return LotResult(
            lot_id=lot.lot_id,
            ranking=ranking,
            winner="",
            second_score_minor=0,
            uplift_minor=0,
            contract=None,
        )
    best, offer = ranked[0]
    # The reserve bids too: alone, the winner is held to it.
    second = max(0, ranking[1].score_minor) if len(ranking) > 1 else 0
    contract, uplift_minor = offer, 0
    if rules.rule == "second-score" and best.score_minor > second:
        limit_minor = best.cost_minor + best.score_minor - second
        tariff, cost_minor = shifted_to_total(
            offer.tariff,
            limit_minor,
            lambda moved: book_cost_minor(replace(offer, tariff=moved), book, index=index),
        )
        contract, uplift_minor = replace(offer, tariff=tariff), cost_minor - best.cost_minor
    return LotResult(
        lot_id=lot.lot_id,
        ranking=ranking,
        winner=best.bidder,
        second_score_minor=second,
        uplift_minor=uplift_minor,
        contract=contract,
    )


def _excluded(seal: SealedBid, reason: str) -> ExcludedBid:
    return ExcludedBid(bidder=seal.bidder, lot_id=seal.lot_id, reason=reason)


def _rules_facts(rules: AuctionRules) -> list[object]:
    return [
        rules.tender,
        rules.currency,
        [
            [lot.lot_id, lot.term_months, str(lot.green_share_min), lot.pricing]
            for lot in rules.lots
        ],
        [
            rules.weights.green_minor_per_year,
            str(rules.weights.exit_fee_share),
            rules.weights.term_minor_per_month,
        ],
        rules.reserve_minor,
        rules.rule,
        rules.opens_at.isoformat(),
        rules.closes_at.isoformat(),
    ]


def _book_facts(book: Sequence[BookEntry]) -> list[object]:
    return [
        [
            entry.homes,
            entry.profile.start.isoformat(),
            entry.profile.step_s,
            hashlib.sha256(entry.profile.import_wh.astype("<f8").tobytes()).hexdigest(),
        ]
        for entry in book
    ]


def _lot_facts(lot: LotResult) -> list[object]:
    return [
        lot.lot_id,
        [[b.bidder, b.seal, b.cost_minor, b.worth_minor, b.score_minor] for b in lot.ranking],
        lot.winner,
        lot.second_score_minor,
        lot.uplift_minor,
        lot.contract.tariff.content_hash if lot.contract else "",
    ]


def _hash(facts: object) -> str:
    text = json.dumps(facts, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
