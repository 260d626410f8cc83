"""Tender rules and bids as files, read strictly; results as JSON.

The forms are described key by key in `docs/formats/offer.md`.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tariff_bargainer.bargaining.auction import AuctionResult
from tariff_bargainer.bargaining.auction_rules import (
    AuctionRules,
    BookEntry,
    Lot,
    OpenedBid,
    Pricing,
    Rule,
    SealedBid,
    Weights,
    opened_bid,
)
from tariff_bargainer.bargaining.minor_units import to_minor
from tariff_bargainer.bargaining.offer_file import (
    load_table,
    read_form,
    read_share,
    read_text,
    required_instant,
    strictly,
)
from tariff_bargainer.errors import NegotiationFault, OfferFileError
from tariff_bargainer.profiles.intervals import LoadProfile
from tariff_bargainer.tariffs.strict_table import StrictTable

TENDER_FORMAT = "commonwatt-tender/1"
BIDS_FORMAT = "commonwatt-bids/1"
RULES: tuple[Rule, ...] = ("first-score", "second-score")
PRICINGS: tuple[Pricing, ...] = ("any", "fixed", "index")
BID_CHARS_MAX = 200_000


def read_tender(
    path: Path, *, read_load: Callable[[Path], LoadProfile]
) -> tuple[AuctionRules, tuple[BookEntry, ...]]:
    """Read tender rules and the published load files they name, beside the rules.

    Args:
        path: A `.toml` or `.json` file.
        read_load: Reads one load file.

    Raises:
        OfferFileError: The rules break the form.
        LoadFileError: A load file cannot be read.
    """
    parsed = load_table(read_text(path), form=read_form(path))
    rules, book = strictly(_tender, parsed)
    entries = tuple(
        BookEntry(profile=read_load(path.parent / name), homes=homes) for name, homes in book
    )
    return rules, entries


def book_files(path: Path) -> list[str]:
    """Return the names of the load files that tender rules name, beside the rules.

    Raises:
        OfferFileError: The rules break the form.
    """
    parsed = load_table(read_text(path), form=read_form(path))
    _, book = strictly(_tender, parsed)
    return list(dict.fromkeys(name for name, _ in book))


def read_bids(path: Path) -> tuple[tuple[SealedBid, ...], tuple[OpenedBid, ...]]:
    """Read seals and opened bids; a bid's text stands inside, or in a file beside.

    Raises:
        OfferFileError: The file breaks its form. A bid that cannot be read as an offer is kept
            with its fault, so that one bidder cannot stop the tender.
    """
    parsed = load_table(read_text(path), form=read_form(path))
    return strictly(lambda table: _bids(table, path.parent), parsed)


def result_to_json(rules: AuctionRules, result: AuctionResult) -> dict[str, Any]:
    """Give a result as JSON values, money in whole minor units."""
    lots = []
    for lot in result.lots:
        contract = lot.contract
        lots.append(
            {
                "lot": lot.lot_id,
                "winner": lot.winner or None,
                "second_score_minor": lot.second_score_minor,
                "uplift_minor": lot.uplift_minor,
                "contract": contract
                and {
                    "offer_id": contract.offer_id,
                    "supplier": contract.supplier,
                    "tariff_hash": contract.tariff.content_hash,
                    "energy": [
                        {
                            "charge": charge.name,
                            "period": period.name,
                            "rates_per_kwh": [str(tier.rate) for tier in period.tiers],
                        }
                        for charge in contract.tariff.energy
                        for period in charge.periods
                    ],
                },
                "ranking": [asdict(bid) for bid in lot.ranking],
            }
        )
    return {
        "tender": rules.tender,
        "currency": rules.currency,
        "rule": rules.rule,
        "reserve_minor": rules.reserve_minor,
        "lots": lots,
        "excluded": [asdict(bid) for bid in result.excluded],
        "rules_hash": result.rules_hash,
        "record_hash": result.record_hash,
    }


def _tender(table: StrictTable) -> tuple[AuctionRules, list[tuple[str, int]]]:
    found = table.text("format")
    if found != TENDER_FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {TENDER_FORMAT!r}")
    currency = table.text("currency")
    weights = _weights(StrictTable(table.take("weights") or {}, "weights"), currency)
    try:
        rules = AuctionRules(
            tender=table.text("tender"),
            currency=currency,
            lots=tuple(_lot(entry) for entry in table.tables("lots")),
            weights=weights,
            reserve_minor=to_minor(table.decimal("reserve"), currency),
            rule=table.choice("rule", RULES, "second-score"),
            opens_at=required_instant(table, "opens_at"),
            closes_at=required_instant(table, "closes_at"),
        )
    except NegotiationFault as wrong:
        raise OfferFileError(
            where="the file", problem=str(wrong), remedy="correct that key"
        ) from None
    book = []
    for entry in table.tables("book"):
        homes = entry.whole("homes")
        if not 1 <= homes <= 10_000_000:
            raise entry.fault("homes", f"is {homes}", "write how many homes it stands for")
        book.append((_beside(entry, "load"), homes))
        entry.close()
    if not book:
        raise table.fault("book", "is empty", "name at least one load file and its homes")
    return rules, book


def _weights(table: StrictTable, currency: str) -> Weights:
    weights = Weights(
        green_minor_per_year=to_minor(table.decimal("green_per_year", Decimal(0)), currency),
        exit_fee_share=read_share(table, "exit_fee_share"),
        term_minor_per_month=to_minor(table.decimal("term_per_month", Decimal(0)), currency),
    )
    table.close()
    return weights


def _lot(table: StrictTable) -> Lot:
    lot = Lot(
        lot_id=table.text("id"),
        term_months=table.optional_whole("term_months"),
        green_share_min=read_share(table, "green_share_min"),
        pricing=table.choice("pricing", PRICINGS, "any"),
    )
    table.close()
    return lot


def _bids(table: StrictTable, folder: Path) -> tuple[tuple[SealedBid, ...], tuple[OpenedBid, ...]]:
    found = table.text("format")
    if found != BIDS_FORMAT:
        raise table.fault("format", f"is {found!r}", f"write {BIDS_FORMAT!r}")
    sealed = []
    for entry in table.tables("sealed"):
        received: datetime = required_instant(entry, "received_at")
        sealed.append(
            SealedBid(
                bidder=entry.text("bidder"),
                lot_id=entry.text("lot"),
                seal=entry.text("seal").lower(),
                received_at=received,
            )
        )
        entry.close()
    opened = [_opened(entry, folder) for entry in table.tables("opened")]
    return tuple(sealed), tuple(opened)


def _opened(table: StrictTable, folder: Path) -> OpenedBid:
    bidder = table.text("bidder")
    form = table.choice("form", ("toml", "json"), "toml")
    if "file" in table:
        path = folder / _beside(table, "file")
        text, form = read_text(path), read_form(path)
    else:
        text = table.take("text")
        if not isinstance(text, str) or len(text) > BID_CHARS_MAX:
            raise table.fault(
                "text", "is missing or too long", "write the offer's text, or `file` beside"
            )
    bid = opened_bid(
        bidder=bidder,
        lot_id=table.text("lot"),
        text=text,
        nonce=table.text("nonce"),
        form=form,
    )
    table.close()
    return bid


def _beside(table: StrictTable, key: str) -> str:
    """Take a file name that stays in the folder of the file that names it."""
    name = table.text(key)
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise table.fault(key, f"is {name!r}", "name a file in the same folder")
    return name
