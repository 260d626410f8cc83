"""A stored tender as suppliers may have it: JSON, CSV and a printed PDF.

Everything comes from the tender and its released load profile, a sum over homes that passed the
privacy floor; no home, no floor, no target and no walk-away is in it.
"""

from __future__ import annotations

import csv
import json
import math
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

from cloud.errors import StateConflict
from tariff_bargainer.bargaining.pack_pdf import html_to_pdf
from tariff_bargainer.bargaining.tender_pack import OFFER_SCHEMA
from tariff_bargainer.errors import MissingExtra

if TYPE_CHECKING:
    from cloud.negotiations.repository import Tender

FORMAT = "commonwatt-tender-summary/1"
SEASONS = ("winter", "summer")
HOURS = 24
CHART_WIDTH, CHART_HEIGHT = 640.0, 220.0
COLOURS = {"winter": "#0b6aa2", "summer": "#b86a00"}
DASHES = {"winter": "", "summer": "7 4"}


def pack_json(tender: Tender, *, issuer: str) -> str:
    """The tender, its load and the form of an offer, as JSON text.

    Args:
        tender: As stored.
        issuer: Name of the cooperative.
    """
    facts = {
        "format": FORMAT,
        "issuer": issuer,
        "tender_id": tender.tender_id,
        "title": tender.title,
        "state": tender.state,
        "supply_from": tender.supply_from.isoformat(),
        "closes_at": tender.closes_at.isoformat(),
        "replayed_from": tender.window_start.isoformat(),
        "replayed_to": tender.window_end.isoformat(),
        "currency": tender.currency,
        "homes": tender.homes,
        "energy_wh": tender.energy_wh,
        "rounds_max": tender.rounds_max,
        "green_share_min": str(tender.mandate["green_share_min"]),
        "load": {
            "typical_working_day_mean_w": _load_w(tender),
            "highest_mean_w": tender.load.get("peak_w"),
            "evening_share": tender.load.get("evening_share"),
        },
        "offer_schema": OFFER_SCHEMA,
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def pack_csv(tender: Tender) -> str:
    """The released typical working day: a line per season and hour, mean power of all homes [W]."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("season", "hour", "mean_w", "homes"))
    for season, watts in _load_w(tender).items():
        for hour, mean_w in enumerate(watts):
            writer.writerow((season, hour, mean_w, tender.homes))
    return text.getvalue()


def pack_pdf(tender: Tender, *, issuer: str) -> bytes:
    """The tender as a PDF of A4 pages.

    Args:
        tender: As stored.
        issuer: Name of the cooperative.

    Raises:
        StateConflict: This machine cannot print; the JSON and CSV can still be had.
    """
    try:
        return html_to_pdf(pack_html(tender, issuer=issuer))
    except MissingExtra as fault:
        raise StateConflict(f"{fault}, or take pack.json and pack.csv") from fault


def pack_html(tender: Tender, *, issuer: str) -> str:
    """The page that is printed."""
    green = float(tender.mandate["green_share_min"])
    rows = {
        "Homes": f"{tender.homes:,}",
        "Use in the replayed window": f"{tender.energy_wh / 1e6:,.1f} MWh",
        "Replayed window": f"{tender.window_start:%d %B %Y} to {tender.window_end:%d %B %Y}",
        "Supply from": f"{tender.supply_from:%d %B %Y}",
        "Offers until": f"{tender.closes_at:%d %B %Y, %H:%M} UTC",
        "Currency": tender.currency,
        "Renewable share": f"at least {green:.0%}" if green else "not required",
        "Rounds": f"at most {tender.rounds_max} with each supplier",
    }
    facts = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(text)}</td></tr>"
        for name, text in rows.items()
    )
    title = escape(tender.title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="author" content="{escape(issuer)}"><style>{PRINT_STYLE}</style></head><body>
<p class="foot">{escape(issuer)} · {title}</p>
<header><p class="issuer">{escape(issuer)}</p><h1>{title}</h1>
<p class="lead">We ask suppliers for one offer for all {tender.homes:,} homes together.</p></header>
<table class="facts"><tbody>{facts}</tbody></table>
<h2>The load</h2>{_load_part(tender)}
<h2>How offers are judged</h2>
<p>Every offer is replayed on the homes’ own metered use of the window above, and each home’s bill
under it is compared with what the home pays today. The members’ mandate says what the board may
accept; two members of the board sign.</p>
<h2>How to offer</h2>
<p>Send the form <code>{OFFER_SCHEMA["properties"]["format"]["const"]}</code> as JSON to
<code>/api/v1/tenders/{escape(tender.tender_id)}/offers</code> before the deadline. It names the
supplier, the term in months, the renewable share and the complete tariff. A condition that is not
in the form cannot be weighed. The JSON file of this pack holds the schema.</p>
</body></html>
"""


def _load_w(tender: Tender) -> dict[str, list[float]]:
    cells: dict[str, Any] = tender.load.get("cells_w") or {}
    return {season: [float(w) for w in cells[season]] for season in SEASONS if season in cells}


def _load_part(tender: Tender) -> str:
    load_w = _load_w(tender)
    if not load_w:
        return "<p>No load profile has been released for this tender.</p>"
    heads = "<th scope='col'>hour</th>" + "".join(f"<th scope='col'>{s}</th>" for s in load_w)
    rows = "".join(
        "<tr>" + "".join(_hour_cells(load_w, at) for at in (hour, hour + HOURS // 2)) + "</tr>"
        for hour in range(HOURS // 2)
    )
    evening = tender.load.get("evening_share")
    words = f" {float(evening):.0%} of the energy is used from 17 to 21 h." if evening else ""
    return (
        f"<p>Mean power of all homes on a typical working day, in kW; the profile was released as "
        f"a sum of homes that passed the privacy floor.{words}</p>{_chart(load_w)}"
        f"<table class='hours'><thead><tr>{heads * 2}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _hour_cells(load_w: dict[str, list[float]], hour: int) -> str:
    cells = "".join(f"<td>{watts[hour] / 1000:,.1f}</td>" for watts in load_w.values())
    return f"<th scope='row'>{hour:02d}:00</th>{cells}"


def _round_top(highest: float) -> float:
    """Smallest of 1, 2, 3, 4, 6, 8 and 10 times a power of ten that is not below."""
    if highest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(highest))
    return next(step * unit for step in (1, 2, 3, 4, 6, 8, 10) if step * unit >= highest)


def _chart(load_w: dict[str, list[float]]) -> str:
    """Both seasons as lines; each is named in words beside its end."""
    top_kw = _round_top(max(max(watts) for watts in load_w.values()) / 1000)
    parts = []
    for quarter in range(5):
        y = CHART_HEIGHT * (1 - quarter / 4)
        parts.append(
            f'<line x1="0" x2="{CHART_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#cfd8db"/>'
            f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{top_kw * quarter / 4:,g}</text>'
        )
    for hour in (0, 6, 12, 18, 23):
        x = CHART_WIDTH * hour / (HOURS - 1)
        parts.append(
            f'<text x="{x:.1f}" y="{CHART_HEIGHT + 18}" text-anchor="middle">{hour:02d}:00</text>'
        )
    for place, (season, watts) in enumerate(load_w.items()):
        points = " ".join(
            f"{CHART_WIDTH * hour / (HOURS - 1):.1f},{CHART_HEIGHT * (1 - one / 1000 / top_kw):.1f}"
            for hour, one in enumerate(watts)
        )
        colour, dash = COLOURS[season], DASHES[season]
        y = 14 + 20 * place
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.2" '
            f'stroke-dasharray="{dash or "none"}"/>'
            f'<line x1="8" x2="36" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" stroke-width="2.2" '
            f'stroke-dasharray="{dash or "none"}"/>'
            f'<text x="42" y="{y}" fill="{colour}" font-weight="bold">{season}</text>'
        )
    return (
        f'<svg viewBox="-40 -6 {CHART_WIDTH + 60} {CHART_HEIGHT + 32}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#42545e">{"".join(parts)}</svg>'
    )


PRINT_STYLE = """
@page { size: A4; margin: 20mm 18mm 24mm;
  @bottom-left { content: element(foot) }
  @bottom-right { content: counter(page) " of " counter(pages); font: 8pt sans-serif;
    color: #42545e } }
.foot { position: running(foot); font-size: 8pt; color: #42545e; margin: 0 }
body { font: 10.5pt/1.5 "Source Sans 3", "Noto Sans", "DejaVu Sans", sans-serif; color: #12222b;
  margin: 0 }
header { border-bottom: 1.5pt solid #0d3b53; margin-bottom: 6mm }
.issuer { color: #0d3b53; font-weight: bold; margin: 0 }
h1 { font-size: 22pt; line-height: 1.15; margin: 0 0 2mm }
.lead { font-size: 12pt; margin: 0 0 4mm }
h2 { font-size: 13pt; margin: 7mm 0 1.5mm; break-after: avoid }
p { margin: 0 0 3mm; orphans: 3; widows: 3 }
table { border-collapse: collapse; width: 100%; break-inside: avoid }
th { text-align: left; font-weight: 600 }
td, th { border-bottom: .5pt solid #cfd8db; padding: 1.2mm 2mm 1.2mm 0; vertical-align: top }
.facts th { width: 55mm; color: #42545e }
.hours { font-size: 9pt; margin-top: 3mm; font-variant-numeric: tabular-nums }
.hours td, .hours th { padding: .7mm 6mm .7mm 0; text-align: right; width: 16% }
svg { width: 100%; height: 66mm; break-inside: avoid }
code { font-size: 9pt }
"""
