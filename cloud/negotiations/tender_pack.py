"""A stored tender as suppliers may have it: JSON, CSV and a printed PDF.

Everything comes from the tender and its released load profile, a sum over homes that passed the
privacy floor; no home, no floor, no target and no walk-away is in it.
"""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime, timedelta
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cloud.errors import StateConflict
from cloud.negotiations.released_load import (
    LoadRow,
    load_rows,
    released_energy_wh,
    released_homes,
    step_in_words,
)
from tariff_bargainer.bargaining.pack_pdf import html_to_pdf
from tariff_bargainer.bargaining.tender_pack import OFFER_SCHEMA
from tariff_bargainer.errors import MissingExtra

if TYPE_CHECKING:
    from cloud.negotiations.repository import Tender

FORMAT = "commonwatt-tender-summary/1"
SEASONS = ("winter", "summer")
HOURS = 24
DAY_TYPE_WORDS = {"weekday": "working days", "weekend": "weekends"}
MONTH_NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
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
        "homes": released_homes(tender),
        "energy_wh": released_energy_wh(tender),
        "rounds_max": tender.rounds_max,
        "green_share_min": str(tender.mandate["green_share_min"]),
        "load": {
            "step": tender.load.get("step"),
            "finer_steps_refused": tender.load.get("finer_steps_refused", []),
            "timezone": tender.load.get("timezone"),
            "rows": [_row(one) for one in load_rows(tender.load)],
            "typical_working_day_mean_w": _load_w(tender),
            "highest_mean_w": tender.load.get("peak_w"),
            "evening_share": tender.load.get("evening_share"),
        },
        "offer_schema": OFFER_SCHEMA,
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def pack_csv(tender: Tender) -> str:
    """Every released figure, a line each: mean power of all homes together [W].

    A tender that was opened before all figures were kept has its typical working days only.
    """
    text = StringIO()
    rows = [_row(one) for one in load_rows(tender.load)]
    if rows:
        table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        return text.getvalue()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("season", "hour", "mean_w", "homes"))
    for season, watts in _load_w(tender).items():
        for hour, mean_w in enumerate(watts):
            writer.writerow((season, hour, mean_w, released_homes(tender)))
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
        "Homes": f"{released_homes(tender):,}",
        "Use in the replayed window": f"{released_energy_wh(tender) / 1e6:,.1f} MWh",
        "Replayed window": f"{_day(tender, tender.window_start)} to "
        f"{_day(tender, tender.window_end - timedelta(seconds=1))}",
        "Supply from": _day(tender, tender.supply_from),
        "Offers until": f"{tender.closes_at.day} {tender.closes_at:%B %Y, %H:%M} UTC",
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
<p class="lead">We ask suppliers for one offer for all {released_homes(tender):,} homes together.</p></header>
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
{_hours(list(load_rows(tender.load)), str(tender.load.get("timezone") or ""))}
</body></html>
"""


def _day(tender: Tender, at: datetime) -> str:
    """A day on the clock of the load, as windows begin and end at its midnights."""
    local = at.astimezone(ZoneInfo(str(tender.load.get("timezone") or "UTC")))
    return f"{local.day} {local:%B %Y}"


def _row(one: LoadRow) -> dict[str, Any]:
    part = "month" if isinstance(one.part, int) else "season"
    hour = {} if one.hour is None else {"hour": one.hour}
    return {
        part: one.part,
        "day_type": one.day_type,
        **hour,
        "mean_w": one.mean_w,
        "energy_wh": one.energy_wh,
        "hours": one.hours,
        "homes": one.homes,
    }


def _load_w(tender: Tender) -> dict[str, list[float]]:
    cells: dict[str, Any] = tender.load.get("cells_w") or {}
    return {season: [float(w) for w in cells[season]] for season in SEASONS if season in cells}


def _load_part(tender: Tender) -> str:
    load_w = _load_w(tender)
    rows = list(load_rows(tender.load))
    if not load_w and not rows:
        return "<p>No load profile has been released for this tender.</p>"
    words = f"<p>{escape(step_in_words(tender.load))}</p>" if rows else ""
    days = _working_days(tender, load_w, with_table=not rows) if load_w else ""
    return f"{words}{days}{_months(rows)}"


def _months(rows: list[LoadRow]) -> str:
    """Energy by month or season and kind of day [MWh]."""
    if not rows:
        return ""
    used: dict[int | str, dict[str, float]] = {}
    for one in rows:
        part = used.setdefault(one.part, dict.fromkeys(DAY_TYPE_WORDS, 0.0))
        part[one.day_type] += one.energy_wh / 1e6
    lines = "".join(
        f"<tr><th scope='row'>{_part_name(part)}</th>"
        + "".join(f"<td>{found[kind]:,.2f}</td>" for kind in DAY_TYPE_WORDS)
        + f"<td>{sum(found.values()):,.2f}</td></tr>"
        for part, found in used.items()
    )
    heads = "".join(f"<th scope='col'>{words}</th>" for words in DAY_TYPE_WORDS.values())
    return (
        "<h2>Energy by part of the year, MWh</h2><table class='hours'><thead><tr><th></th>"
        f"{heads}<th scope='col'>all days</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _hours(rows: list[LoadRow], timezone: str) -> str:
    """Mean power by hour and part of the year, a table for each kind of day [kW]."""
    tables = []
    parts = list(dict.fromkeys(one.part for one in rows))
    hours = sorted({one.hour for one in rows if one.hour is not None})
    wide = " wide" if len(parts) > len(SEASONS) * 2 else ""
    for kind, words in DAY_TYPE_WORDS.items() if hours else ():
        mean_w = {(one.part, one.hour): one.mean_w for one in rows if one.day_type == kind}
        heads = "".join(f"<th scope='col'>{_part_name(part, short=True)}</th>" for part in parts)
        lines = "".join(
            f"<tr><th scope='row'>{hour:02d}:00</th>"
            + "".join(f"<td>{_kw(mean_w.get((part, hour)))}</td>" for part in parts)
            + "</tr>"
            for hour in hours
        )
        tables.append(
            f"<h2>Mean power on {words}, kW</h2><table class='grid{wide}'><thead><tr>"
            f"<th scope='col'>from</th>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        )
    if not tables:
        return ""
    return "".join(tables) + (
        f"<p>Hours are those of {escape(timezone)}. Public holidays count as weekends where the "
        "release names them. The same figures are in the CSV and JSON files of this pack.</p>"
    )


def _kw(mean_w: float | None) -> str:
    return "–" if mean_w is None else f"{mean_w / 1000:,.1f}"


def _part_name(part: int | str, *, short: bool = False) -> str:
    if isinstance(part, int):
        return MONTH_NAMES[part - 1][: 3 if short else None]
    return escape(part)


def _working_days(tender: Tender, load_w: dict[str, list[float]], *, with_table: bool) -> str:
    heads = "<th scope='col'>hour</th>" + "".join(f"<th scope='col'>{s}</th>" for s in load_w)
    rows = "".join(
        "<tr>" + "".join(_hour_cells(load_w, at) for at in (hour, hour + HOURS // 2)) + "</tr>"
        for hour in range(HOURS // 2)
    )
    evening = tender.load.get("evening_share")
    words = f" {float(evening):.0%} of the energy is used from 17 to 21 h." if evening else ""
    return (
        f"<p>Mean power of all homes together on a typical working day, in kW.{words}</p>"
        f"{_chart(load_w)}"
    ) + (
        f"<table class='hours'><thead><tr>{heads * 2}</tr></thead><tbody>{rows}</tbody></table>"
        if with_table
        else ""
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
.facts th { width: 62mm; color: #42545e }
.hours { font-size: 9pt; margin-top: 3mm; font-variant-numeric: tabular-nums }
.hours td, .hours th { padding: .7mm 6mm .7mm 0; text-align: right; width: 16% }
.grid { table-layout: fixed; margin-bottom: 3mm; font-size: 9pt; font-variant-numeric: tabular-nums }
.grid.wide { font-size: 7.5pt }
.grid td, .grid th { padding: .6mm 1mm .6mm 0; text-align: right }
svg { width: 100%; height: 66mm; break-inside: avoid }
code { font-size: 9pt }
"""
