"""Geometry of the charts that the server draws as SVG.

Templates only place what is computed here. Every shape gets a plain `fill` or `stroke` beside
its class, because the program that makes PDFs does not apply page styles inside an SVG.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rectangle in chart units.

    Args:
        x: Left edge.
        y: Top edge.
        width: Width.
        height: Height.
        kind: Style class without the `f-`.
        label: What a person reads for it.
    """

    x: float
    y: float
    width: float
    height: float
    kind: str = "imp"
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on an axis, in chart units, with its text."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A line through points, as an SVG path."""

    path: str
    label: str = ""


def month_bars(values: Sequence[float], *, width: float = 320, height: float = 64) -> list[Bar]:
    """Twelve bars side by side, scaled to the largest.

    Args:
        values: One per month, any unit, not negative.
        width: Chart width.
        height: Height of the largest bar.
    """
    largest = max(max(values, default=0), 1e-9)
    step = width / max(len(values), 1)
    return [
        Bar(
            x=round(position * step + step * 0.12, 2),
            y=round(height - value / largest * height, 2),
            width=round(step * 0.76, 2),
            height=round(value / largest * height, 2),
            kind="solar",
        )
        for position, value in enumerate(values)
    ]


def histogram(
    edges: Sequence[float],
    counts: Sequence[int],
    *,
    width: float,
    height: float,
    beyond: float | None = None,
) -> list[Bar]:
    """Bars of a histogram of yearly bill changes; below zero is good.

    Args:
        edges: Bin edges, one more than counts, rising.
        counts: Homes per bin.
        width: Chart width.
        height: Height of the tallest bar.
        beyond: From this change on, a home counts against the mandate.
    """
    if len(edges) != len(counts) + 1:
        raise ValueError("a histogram has one more edge than bins")
    span = edges[-1] - edges[0]
    tallest = max(max(counts, default=0), 1)
    bars = []
    for left, right, count in zip(edges, edges[1:], counts, strict=False):
        x = (left - edges[0]) / span * width
        middle = (left + right) / 2
        kind = "good" if middle < 0 else "warn"
        if beyond is not None and middle > beyond:
            kind = "hatch"
        bars.append(
            Bar(
                x=round(x + 0.6, 2),
                y=round(height - count / tallest * height, 2),
                width=round((right - left) / span * width - 1.2, 2),
                height=round(count / tallest * height, 2),
                kind=kind,
                label=str(count),
            )
        )
    return bars


def curve(values: Sequence[float], *, width: float, height: float, top: float) -> str:
    """A path through equally spaced values, zero at the bottom.

    Args:
        values: Any unit.
        width: Chart width.
        height: Chart height.
        top: Value at the upper edge.
    """
    if not values:
        return ""
    step = width / max(len(values) - 1, 1)
    points = [
        f"{position * step:.1f} {height - value / top * height:.1f}"
        for position, value in enumerate(values)
    ]
    return "M" + "L".join(points)


def band(
    low: Sequence[float], high: Sequence[float], *, width: float, height: float, top: float
) -> str:
    """A closed path between two curves of equal length."""
    upper = curve(high, width=width, height=height, top=top)
    step = width / max(len(low) - 1, 1)
    lower = [
        f"{position * step:.1f} {height - value / top * height:.1f}"
        for position, value in reversed(list(enumerate(low)))
    ]
    return f"{upper}L{'L'.join(lower)}Z"


def round_up(value: float) -> float:
    """The next calm number: 1, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return float(
        next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= value)
    )


def axis(
    low: float, high: float, *, length: float, steps: int = 4, decimals: int = 0
) -> list[Tick]:
    """Ticks at round values between low and high.

    Args:
        low: Value at 0.
        high: Value at `length`.
        length: Length of the axis in chart units.
        steps: About how many steps.
        decimals: Decimals in the labels.
    """
    wanted = (high - low) / max(steps, 1)
    power = 10 ** math.floor(math.log10(wanted))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= wanted * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [
        Tick(
            at=round((count * step - low) / (high - low) * length, 2),
            label=f"{count * step:,.{decimals}f}".replace("-", "−"),
        )
        for count in range(first, last + 1)
    ]
