"""What an auction is decided on: rules fixed beforehand, sealed bids, and opened bids."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from tariff_bargainer.bargaining.offer_file import parse_offer
from tariff_bargainer.bargaining.offers import Offer
from tariff_bargainer.errors import BargainerError, NegotiationFault
from tariff_bargainer.profiles.intervals import LoadProfile

Rule = Literal["first-score", "second-score"]
Pricing = Literal["any", "fixed", "index"]
NONCE_CHARS_MIN = 16
"""Shortest nonce: without one, a bid could be guessed from its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookEntry:
    """A published load and how many homes it stands for.

    Attributes:
        profile: Import per interval [Wh], without gaps.
        homes: Homes it stands for.
    """

    profile: LoadProfile
    homes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """What is bid for.

    Attributes:
        lot_id: Name of the lot.
        term_months: Contract length bids must have, or None for any.
        green_share_min: Least renewable share [0..1].
        pricing: Whether prices must be fixed, linked to an index, or may be either.
    """

    lot_id: str
    term_months: int | None = None
    green_share_min: Decimal = Decimal(0)
    pricing: Pricing = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What other things are worth in money, as the members voted.

    Attributes:
        green_minor_per_year: Worth of a fully renewable supply to the group [minor units/year].
        exit_fee_share: Share of all exit fees counted as cost [0..1].
        term_minor_per_month: Worth of each month of price security beyond the first twelve
            [minor units]; negative when members prefer to stay free.
    """

    green_minor_per_year: int = 0
    exit_fee_share: Decimal = Decimal(0)
    term_minor_per_month: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionRules:
    """Everything fixed before bids open.

    Attributes:
        tender: Name of the tender.
        currency: ISO 4217 code of bids and scores.
        lots: What is bid for.
        weights: What counts beside price.
        reserve_minor: Today's cost of the published load less the least saving [minor units]; a
            bid that costs more, after weights, cannot win.
        rule: What the winner is paid.
        opens_at: From when bids are taken, aware.
        closes_at: Until when sealed bids are taken, aware.
    """

    tender: str
    currency: str
    lots: tuple[Lot, ...]
    weights: Weights
    reserve_minor: int
    rule: Rule
    opens_at: datetime
    closes_at: datetime

    def __post_init__(self) -> None:
        """Refuse rules that contradict themselves."""
        if self.opens_at.tzinfo is None or self.closes_at.tzinfo is None:
            raise NegotiationFault("opens_at and closes_at need a time zone")
        if self.opens_at >= self.closes_at:
            raise NegotiationFault("closes_at is not after opens_at: correct the dates")
        names = [lot.lot_id for lot in self.lots]
        if not names or len(set(names)) != len(names):
            raise NegotiationFault("a tender needs at least one lot, each with a name of its own")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBid:
    """A promise to open exactly one bid.

    Attributes:
        bidder: Who bids.
        lot_id: For which lot.
        seal: Result of `seal_bid`.
        received_at: When it came in, aware.
    """

    bidder: str
    lot_id: str
    seal: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBid:
    """A bid after the close.

    Attributes:
        bidder: Who bids.
        lot_id: For which lot.
        text: The offer's file as it was sealed, to the byte.
        nonce: The secret that was sealed with it.
        offer: What the text says, or None when it cannot be read.
        fault: Why it cannot be read, or empty.
    """

    bidder: str
    lot_id: str
    text: str
    nonce: str
    offer: Offer | None
    fault: str = ""


def seal_bid(*, tender: str, bidder: str, lot_id: str, text: str, nonce: str) -> str:
    """Seal a bid: HMAC-SHA-256 (hex) under the nonce, over tender, bidder, lot and text.

    Raises:
        NegotiationFault: The nonce is too short to hide the bid.
    """
    if len(nonce) < NONCE_CHARS_MIN:
        raise NegotiationFault(f"the nonce is too short: use at least {NONCE_CHARS_MIN} characters")
    message = json.dumps([tender, bidder, lot_id, text], ensure_ascii=False)
    return hmac.new(nonce.encode(), message.encode(), hashlib.sha256).hexdigest()


def opened_bid(*, bidder: str, lot_id: str, text: str, nonce: str, form: str) -> OpenedBid:
    """Open a bid; one that cannot be read, or speaks for another supplier, carries its fault.

    Args:
        bidder: Who bids.
        lot_id: For which lot.
        text: The offer's file as it was sealed, to the byte.
        nonce: The secret that was sealed with it.
        form: `toml` or `json`.
    """
    offer: Offer | None = None
    fault = ""
    try:
        offer = parse_offer(text, form=form)
    except BargainerError as unreadable:
        fault = f"cannot be read: {unreadable}"
    if offer is not None and offer.supplier != bidder:
        fault = f"names {offer.supplier!r} as its supplier"
        offer = None
    return OpenedBid(bidder=bidder, lot_id=lot_id, text=text, nonce=nonce, offer=offer, fault=fault)
