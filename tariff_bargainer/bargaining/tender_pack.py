"""What suppliers are sent: the released load, the rules, the deadlines, and the form of an offer.

Made as JSON, CSV and a page of HTML that prints well. The pack checks once more that no cell of the
load is below the privacy floor, and makes the load coarser, step by step, until none is.
"""

import csv
import json
from calendar import month_name
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from tariff_bargainer.bargaining.auction_rules import AuctionRules, BookEntry
from tariff_bargainer.bargaining.minor_units import from_minor, money_text
from tariff_bargainer.bargaining.offer_file import OFFER_FORMAT, TERM_MONTHS_MAX
from tariff_bargainer.bargaining.tender_load import TenderLoad, finest_load
from tariff_bargainer.errors import NegotiationFault
from tariff_bargainer.profiles.load_profile import DAY_TYPES, TypicalDayProfile

FORMAT = "commonwatt-tender-pack/1"
HOMES_MIN = 100
"""Least homes in any cell of what leaves the cooperative."""
TOP_SHARE_MAX = 0.15
"""Largest share of one home in any cell."""
SHAPE_APART_MIN = 0.05
"""Sum of differences between two loads of unit energy below which they are the same load: rounding
makes less of it, and a mean over many homes differs from each of them by far more."""

STEP_WORDS = {
    "month-hour": "month, kind of day and hour",
    "season-hour": "season, kind of day and hour",
    "season-block": "season, kind of day and block of six hours",
    "year-daytype": "kind of day over the year",
}

OFFER_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Offer",
    "type": "object",
    "required": ["format", "supplier", "term_months", "tariff"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": OFFER_FORMAT},
        "id": {"type": "string"},
        "supplier": {"type": "string", "minLength": 1},
        "term_months": {"type": "integer", "minimum": 1, "maximum": TERM_MONTHS_MAX},
        "green_share": {"type": "number", "minimum": 0, "maximum": 1},
        "valid_until": {
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*(Z|[+-]\d{2}:?\d{2})$",
        },
        "conditions": {"type": "array", "maxItems": 50, "items": {"type": "string"}},
        "tariff": {"type": "object", "description": "A tariff in the form commonwatt-tariff/1."},
    },
}
"""JSON Schema of an offer; the tariff inside has its own form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenderPack:
    """The files of a tender pack.

    Attributes:
        json_text: Everything, for programs.
        csv_text: The load: one line per month, day type and hour.
        html_text: Everything, for people; prints on a few pages.
    """

    json_text: str
    csv_text: str
    html_text: str


def make_tender_pack(
    rules: AuctionRules,
    load: TypicalDayProfile,
    *,
    issuer: str,
    home_cells_wh: NDArray[np.float64] | None = None,
    fixed_hash: str = "",
    period: tuple[datetime, datetime] | None = None,
    homes_min: int = HOMES_MIN,
    top_share_max: float = TOP_SHARE_MAX,
) -> TenderPack:
    """Put a tender pack together.

    Args:
        rules: What the tender is decided by.
        load: The released typical days.
        issuer: Name of the cooperative.
        home_cells_wh: The typical days by home [Wh], shape (homes, 576): with them the load is
            given at the finest step that passes; without, at the finest or not at all.
        fixed_hash: Hash of rules and published load (`auction.rules_hash`), which the result
            repeats, so that a bidder sees that nothing was changed after bids opened.
        period: First moment of the load and the first one after it, aware.
        homes_min: Least homes in any cell with hours.
        top_share_max: Largest share of one home in any such cell.

    Raises:
        NegotiationFault: The load is below the privacy floor at every step.
    """
    released = finest_load(load, home_cells_wh, homes_min=homes_min, top_share_max=top_share_max)
    rows = list(released.rows)
    facts = {
        "format": FORMAT,
        "issuer": issuer,
        "tender": rules.tender,
        "currency": rules.currency,
        "opens_at": rules.opens_at.isoformat(),
        "closes_at": rules.closes_at.isoformat(),
        "rule": rules.rule,
        "reserve": str(from_minor(rules.reserve_minor, rules.currency)),
        "weights": {
            "green_per_year": str(from_minor(rules.weights.green_minor_per_year, rules.currency)),
            "term_per_month": str(from_minor(rules.weights.term_minor_per_month, rules.currency)),
            "exit_fee_share": str(rules.weights.exit_fee_share),
        },
        "lots": [
            {
                "id": lot.lot_id,
                "term_months": lot.term_months,
                "green_share_min": str(lot.green_share_min),
                "pricing": lot.pricing,
            }
            for lot in rules.lots
        ],
        "homes": load.homes_total,
        "timezone": load.timezone,
        "load_from": period[0].isoformat() if period else None,
        "load_to": period[1].isoformat() if period else None,
        "load_step": released.step,
        "load": rows,
        "rules_hash": fixed_hash,
        "offer_schema": OFFER_SCHEMA,
    }
    return TenderPack(
        json_text=json.dumps(facts, indent=1, ensure_ascii=False) + "\n",
        csv_text=_csv(rows),
        html_text=_html(rules, load, released, issuer, fixed_hash, period),
    )


def require_no_home_alone(book: Sequence[BookEntry], loads_wh: NDArray[np.float64]) -> None:
    """Refuse a published load that is one home's own, or has its exact shape.

    Args:
        book: The load that bids are scored on, which is published.
        loads_wh: Each home's load [Wh], shape (homes, intervals); NaN where it is missing.

    Raises:
        NegotiationFault: A load of the book is a home's own.
    """
    shapes = np.nan_to_num(loads_wh)
    sums = shapes.sum(axis=1, keepdims=True)
    shapes = np.divide(shapes, sums, out=np.zeros_like(shapes), where=sums > 0)
    for number, entry in enumerate(book):
        wh = np.asarray(entry.profile.import_wh, dtype=np.float64)
        if wh.size != shapes.shape[1] or not wh.any():
            continue
        if np.abs(shapes - wh / wh.sum()).sum(axis=1).min() < SHAPE_APART_MIN:
            raise NegotiationFault(
                f"book[{number}] is the load of one home: publish a mean over many, which "
                "`tariff-bargainer auction book` writes"
            )


def _csv(rows: list[dict[str, Any]]) -> str:
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _time(at: datetime, zone: ZoneInfo) -> str:
    """A moment on the homes' clock and in UTC, where these differ."""
    local, utc = at.astimezone(zone), at.astimezone(UTC)
    there = f"{local.day} {month_name[local.month]} {local:%Y %H:%M %Z}"
    same = local.utcoffset() == utc.utcoffset()
    return there if same else f"{there} ({utc.day} {month_name[utc.month]}, {utc:%H:%M} UTC)"


def _period(period: tuple[datetime, datetime] | None, zone: ZoneInfo) -> str:
    if period is None:
        return "in the period of the profile"
    first, last = period[0].astimezone(zone), (period[1] - timedelta(seconds=1)).astimezone(zone)
    days = (f"{one.day} {month_name[one.month]} {one.year}" for one in (first, last))
    return "from " + " to ".join(days)


def _css_text(text: str) -> str:
    """Write text as the inside of a CSS string; whatever is neither letter nor digit by number."""
    return "".join(c if c.isalnum() or c in " .-" else f"\\{ord(c):06x}" for c in text)


def _html(
    rules: AuctionRules,
    load: TypicalDayProfile,
    released: TenderLoad,
    issuer: str,
    fixed_hash: str,
    period: tuple[datetime, datetime] | None,
) -> str:
    zone = ZoneInfo(load.timezone)
    total_mwh = int(load.energy_wh.sum()) / 1e6
    lots = "".join(
        f"<tr><td>{escape(lot.lot_id)}</td><td>{lot.term_months or 'any'}</td>"
        f"<td>{lot.green_share_min:.0%}</td><td>{escape(lot.pricing)}</td></tr>"
        for lot in rules.lots
    )
    used: dict[str, dict[str, float]] = {}
    for row in released.rows:
        part = month_name[row["month"]] if "month" in row else row["season"]
        by_day = used.setdefault(part, dict.fromkeys(DAY_TYPES, 0.0))
        by_day[row["day_type"]] += row["energy_kwh"] / 1000
    parts = "".join(
        f"<tr><th scope='row'>{escape(part)}</th>"
        + "".join(f"<td class='r'>{by_day[kind]:,.2f}</td>" for kind in DAY_TYPES)
        + "</tr>"
        for part, by_day in used.items()
    )
    coarse = (
        "Finer steps do not pass the cooperative’s privacy floor." if released.why_coarser else ""
    )
    unchanged = (
        f"<p>Hash of these rules and the load: <code>{escape(fixed_hash)}</code>. The result repeats "
        "it; another one means that something was changed after bids opened.</p>"
        if fixed_hash
        else ""
    )
    weights = rules.weights
    currency = rules.currency
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tender {escape(rules.tender)}</title>
<style>
@page {{ size: A4; margin: 20mm 18mm 22mm }}
@page {{ @bottom-left {{ content: "{_css_text(rules.tender)}"; font: 8pt sans-serif; color: #42545e }} }}
@page {{ @bottom-right {{ content: counter(page) " of " counter(pages); font: 8pt sans-serif }} }}
h2 {{ break-after: avoid }} tr, p {{ break-inside: avoid }}
@media print {{ body {{ max-width: none; margin: 0 }} }}
body {{ font: 11pt/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; color: #10212b }}
table {{ border-collapse: collapse; margin: .5rem 0 1.5rem; break-inside: avoid }}
td, th {{ border-bottom: 1px solid #ccd6db; padding: .3rem .9rem .3rem 0; text-align: left }}
.r {{ text-align: right; font-variant-numeric: tabular-nums }} code {{ font-size: .85em; overflow-wrap: anywhere }}
</style></head><body>
<h1>Tender {escape(rules.tender)}</h1>
<p>{escape(issuer)} asks for offers to supply {load.homes_total} homes, {total_mwh:,.1f} MWh
{_period(period, zone)}. Bids are sealed from {_time(rules.opens_at, zone)} and taken until
<strong>{_time(rules.closes_at, zone)}</strong>.</p>
<h2>Lots</h2>
<table><tr><th>Lot</th><th>Months</th><th>Green at least</th><th>Pricing</th></tr>{lots}</table>
<h2>How bids are scored</h2>
<p>Score = {money_text(rules.reserve_minor, currency)} - cost of the published load
+ green share x {money_text(weights.green_minor_per_year, currency)}
+ (months - 12) x {money_text(weights.term_minor_per_month, currency)}
- {weights.exit_fee_share} x exit fees. The rule is {escape(rules.rule)}; a bid below zero cannot
win. Anyone can count again: the rules and the load that bids are scored on stand under
<code>rules/</code>, and <code>tariff-bargainer auction check</code> takes them with the bids.</p>{unchanged}
<h2>How to bid</h2>
<p>Write the offer in the form <code>{OFFER_FORMAT}</code>. Until the close send only its seal
(<code>tariff-bargainer auction seal</code>); after the close send the offer and the nonce. A bid whose
seal comes early or late, or that is changed after sealing, is left out.</p>
<h2>Load by part of the year, MWh</h2>
<table><tr><th></th><th class='r'>Weekdays</th><th class='r'>Weekends</th></tr>{parts}</table>
<p>The load is given by {STEP_WORDS[released.step]}. {coarse} Hours are those of {escape(load.timezone)}. The full profile and the form of an offer are in the
CSV and JSON files of this pack.</p>
</body></html>
"""
