"""Figures for notebooks, drawn as SVG without any plotting library.

Each function returns a `Figure` that a notebook shows by itself and that can be written to a file.
Colours tell a gain from a loss by lightness as well as by hue, and every figure carries its meaning
as text for screen readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tariff_bargainer.bargaining.minor_units import money_text
from tariff_bargainer.bargaining.offers import OfferEvaluation
from tariff_bargainer.bargaining.supplier_cost import FloorEstimate
from tariff_bargainer.errors import InvalidProfile
from tariff_bargainer.profiles.calendar import local_calendar
from tariff_bargainer.profiles.intervals import LoadProfile

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 52, 34
GAIN, LOSS, INK, PALE = "#5fbfa6", "#a83c0c", "#10212b", "#dce4e8"
LINE = "#0b6b54"
"""A green that is dark enough for words and thin lines on white."""
CARPET_DAYS_MAX = 3 * 366


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A drawn figure.

    Attributes:
        svg: A complete SVG document.
        text: What it shows, in a sentence.
    """

    svg: str
    text: str

    def _repr_svg_(self) -> str:
        return self.svg


def load_duration_figure(profile: LoadProfile) -> Figure:
    """Draw mean power of all intervals from the highest to the lowest."""
    known = profile.import_wh[~profile.missing_mask] * (3.6 / profile.step_s)
    if known.size == 0:
        raise InvalidProfile("every interval is missing: there is nothing to draw")
    ordered = np.sort(known)[::-1]
    top = _round_top(float(ordered[0]))
    # A line of some hundred points looks the same as one of tens of thousands.
    places = np.unique(np.linspace(0, ordered.size - 1, 400).astype(int))
    high = float(ordered[0]) or 1.0
    height = 320
    points = " ".join(
        f"{_x(place / max(1, ordered.size - 1)):.1f},{_y(ordered[place] / top, height):.1f}"
        for place in places
    )
    text = f"Load duration: highest {high:,.2f} kW, median {float(np.median(known)):,.2f} kW"
    body = [
        *_scale(top, height),
        f'<polyline points="{points}" fill="none" stroke="{LINE}" stroke-width="2"/>',
        *(
            _label(_x(share), height - 12, f"{share:.0%}", anchor="middle")
            for share in (0, 0.25, 0.5, 0.75)
        ),
        _label(_x(1), height - 12, "100% of the time", anchor="end"),
    ]
    return _figure(body, height, text, "Mean power [kW] reached or exceeded in a share of the time")


def carpet_figure(profile: LoadProfile, timezone: str) -> Figure:
    """Draw a year carpet: days across, hours of the local day down, darker for more power."""
    calendar = local_calendar(profile.start, profile.step_s, len(profile), timezone)
    days = calendar.days
    if len(days) > CARPET_DAYS_MAX:
        raise InvalidProfile(f"{len(days)} days: draw at most {CARPET_DAYS_MAX}")
    known = ~profile.missing_mask
    cell = calendar.day_index.astype(np.int64)[known] * 24 + calendar.hour.astype(np.int64)[known]
    count = np.bincount(cell, minlength=len(days) * 24)
    energy = np.bincount(cell, weights=profile.import_wh[known], minlength=len(days) * 24)
    power_kw = energy / np.maximum(count, 1) * (3.6 / profile.step_s)
    high = float(power_kw.max()) or 1.0
    height, cell_w = 300, (WIDTH - LEFT - RIGHT) / len(days)
    cell_h = (height - TOP - BOTTOM) / 24
    # A cell without any reading stays blank.
    body = [
        f'<rect x="{LEFT + place // 24 * cell_w:.2f}" y="{TOP + place % 24 * cell_h:.2f}" '
        f'width="{cell_w + 0.3:.2f}" height="{cell_h + 0.3:.2f}" '
        f'fill="{_shade(float(power_kw[place]) / high)}"/>'
        for place in np.flatnonzero(count).tolist()
    ]
    body.extend(
        _label(LEFT - 6, TOP + hour * cell_h + 11, f"{hour:02d}:00", anchor="end")
        for hour in (0, 6, 12, 18)
    )
    body.append(_label(LEFT, height - 12, days[0].isoformat()))
    body.append(_label(WIDTH - RIGHT, height - 12, days[-1].isoformat(), anchor="end"))
    firsts = [place for place, day in enumerate(days) if day.day == 1]
    at = [(LEFT + place * cell_w, days[place]) for place in firsts]
    for x, _ in at:
        body.append(_line(x, height - BOTTOM, x, height - BOTTOM + 5))
    for x, day in at[:: max(1, math.ceil(len(at) / 12))]:
        if LEFT + 90 < x < WIDTH - RIGHT - 110:
            body.append(_label(x, height - 12, f"{day:%m}", anchor="middle"))
    body.append(_shades(high))
    text = f"Carpet of {len(days)} days in {timezone}: darkest is {high:,.2f} kW"
    return _figure(body, height, text, f"Mean power [kW] by day and hour of the day, {timezone}")


def winners_and_losers_figure(evaluation: OfferEvaluation) -> Figure:
    """Draw how many homes see which saving; those who pay more stand on the right."""
    histogram = evaluation.histogram
    counts = histogram.counts[::-1]
    edges = histogram.edges_minor[::-1]
    height, high = 320, max(*counts, 1)
    bar_w = (WIDTH - LEFT - RIGHT) / len(counts)
    body = [_axis(height)]
    for place, count in enumerate(counts):
        loses = edges[place] <= 0
        top = _y(count / high, height)
        tip = (
            f"{count} homes: {money_text(edges[place + 1], evaluation.currency)} to "
            f"{money_text(edges[place], evaluation.currency)} saved"
        )
        body.append(
            f'<rect x="{LEFT + place * bar_w + 1:.1f}" y="{top:.1f}" width="{bar_w - 2:.1f}" '
            f'height="{_y(0, height) - top:.1f}" fill="{LOSS if loses else GAIN}">'
            f"<title>{escape(tip)}</title></rect>"
        )
        if count:
            middle = LEFT + (place + 0.5) * bar_w
            body.append(_label(middle, top - 4, f"{count:,}", anchor="middle"))
    at_zero = edges.index(0)
    zero = LEFT + at_zero * bar_w
    body.append(_line(zero, TOP - 8, zero, _y(0, height) + 4))
    same = len(evaluation.homes) - evaluation.winners - evaluation.losers
    less = f"{evaluation.winners:,} pay less" + (f", {same:,} the same" if same else "")
    body.append(_label(LEFT, 36, less, fill=LINE))
    body.append(
        _label(WIDTH - RIGHT, 36, f"{evaluation.losers:,} pay more", anchor="end", fill=LOSS)
    )
    if at_zero > 0:
        saved = f"{money_text(edges[1], evaluation.currency)} less or beyond"
        body.append(_label(LEFT, height - 12, saved if at_zero > 1 else "less"))
    if at_zero < len(counts):
        lost = f"{money_text(-edges[-2], evaluation.currency)} more or beyond"
        more = lost if at_zero < len(counts) - 1 else "more"
        body.append(_label(WIDTH - RIGHT, height - 12, more, anchor="end"))
    if LEFT + 220 < zero < WIDTH - RIGHT - 220:
        body.append(_label(zero, height - 12, "no change", anchor="middle"))
    text = (
        f"{evaluation.offer.supplier}: {evaluation.winners} of {len(evaluation.homes)} homes pay "
        f"less, {evaluation.losers} pay more"
    )
    width = money_text(abs(edges[0] - edges[1]), evaluation.currency)
    title = f"Homes by change of their bill ({width} a bar), offer of {evaluation.offer.supplier}"
    return _figure(body, height, text, title)


def waterfall_figure(floor: FloorEstimate) -> Figure:
    """Draw a supplier's floor line by line, up to its total."""
    lines = [line for line in floor.lines if line.amount]
    if not lines:
        raise InvalidProfile("every line is zero: there is nothing to draw")
    steps = [float(line.amount) for line in lines]
    ends = np.cumsum(steps)
    low, high = min(0.0, float(ends.min())), max(float(ends.max()), 1e-9)
    row_h, left = 26, 190
    # Small amounts keep their cents, so that the lines add up to the total as they are read.
    digits = 2 if max(abs(end) for end in ends) < 10_000 else 0
    height = TOP + row_h * (len(lines) + 1) + 12

    def across(amount: float) -> float:
        return left + (amount - low) / (high - low) * (WIDTH - left - 110)

    body = []
    for place, line in enumerate(lines):
        begin, end = float(ends[place]) - steps[place], float(ends[place])
        y = TOP + place * row_h
        body.append(_label(left - 8, y + 15, line.key.replace("_", " "), anchor="end"))
        body.append(
            f'<rect x="{across(min(begin, end)):.1f}" y="{y + 3}" '
            f'width="{max(1.0, abs(across(end) - across(begin))):.1f}" height="{row_h - 8}" '
            f'fill="{LOSS if steps[place] < 0 else GAIN}"><title>{escape(line.text)}</title></rect>'
        )
        at = across(max(begin, end)) + 6
        body.append(_label(at, y + 15, f"{line.amount:,.{digits}f}"))
    y = TOP + len(lines) * row_h
    body.append(_label(left - 8, y + 15, "total", anchor="end"))
    body.append(
        f'<rect x="{across(0):.1f}" y="{y + 3}" width="{across(float(floor.total)) - across(0):.1f}" '
        f'height="{row_h - 8}" fill="{INK}"/>'
    )
    body.append(_label(across(float(floor.total)) + 6, y + 15, f"{floor.total:,.{digits}f}"))
    text = (
        f"Supplier floor: {floor.total:,.2f} {floor.currency} in {len(lines)} lines, "
        f"{floor.rate_per_kwh} {floor.currency}/kWh"
    )
    return _figure(
        body, height, text, f"What serving the group costs a supplier [{floor.currency}]"
    )


def _round_top(highest: float) -> float:
    """Smallest of 1, 2, 4, 6, 8 and 10 times a power of ten that is not below."""
    if highest <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(highest))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10, 20) if step * unit >= highest)


def _scale(top: float, height: int) -> list[str]:
    """Lines across at quarters of the scale, each with its number."""
    lines = []
    for quarter in range(5):
        y = _y(quarter / 4, height)
        lines.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{PALE}"/>'
        )
        unit = " kW" if quarter == 4 else ""
        lines.append(_label(LEFT - 6, y + 4, f"{top * quarter / 4:,g}{unit}", anchor="end"))
    return lines


def _shade(share: float) -> str:
    return f"hsl(205 60% {96 - 72 * share:.0f}%)"


def _shades(high_kw: float) -> str:
    """Name the lightest and the darkest shade."""
    steps = "".join(
        f'<rect x="{WIDTH - RIGHT - 170 + 10 * step}" y="30" width="10" height="10" '
        f'fill="{_shade(step / 9)}"/>'
        for step in range(10)
    )
    return (
        f"<g>{steps}{_label(WIDTH - RIGHT - 176, 39, '0', anchor='end')}"
        f"{_label(WIDTH - RIGHT - 64, 39, f'{high_kw:,.1f} kW')}</g>"
    )


def _figure(body: Sequence[str], height: int, text: str, title: str) -> Figure:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="{escape(text)}" font-family="sans-serif" '
        f'font-size="12"><title>{escape(text)}</title><text x="{LEFT}" y="18" font-size="14" '
        f'font-weight="bold" fill="{INK}">{escape(title)}</text>{"".join(body)}</svg>'
    )
    return Figure(svg=svg, text=text)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float, height: int) -> float:
    return height - BOTTOM - share * (height - TOP - BOTTOM)


def _axis(height: int) -> str:
    base = _y(0, height)
    return (
        f'<line x1="{LEFT}" y1="{base}" x2="{WIDTH - RIGHT}" y2="{base}" stroke="{PALE}" '
        'stroke-width="2"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}"/>'


def _label(x: float, y: float, text: str, *, anchor: str = "start", fill: str = INK) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
    )
