"""A roof plan drawn from a project's size: panels in rows, nothing else is claimed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

PANEL_KWP = 0.42
PANELS_SHOWN_MAX = 72
WIDTH, HEIGHT = 320.0, 132.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel in chart units."""

    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofPlan:
    """A roof with panels.

    Args:
        x: Left edge of the roof.
        y: Upper edge.
        width: Width of the roof.
        height: Height of the roof.
        panels: Upper left corners of the panels.
        panel_width: Width of a panel.
        panel_height: Height of a panel.
        each_kwp: What one drawn panel stands for [kWp].
    """

    x: float
    y: float
    width: float
    height: float
    panels: tuple[Panel, ...]
    panel_width: float
    panel_height: float
    each_kwp: float


def roof_plan(project_id: str, kwp: float) -> RoofPlan:
    """Lay a project's panels out; the same project always looks the same.

    Args:
        project_id: Decides the number of rows, so that projects differ.
        kwp: Rated power [kWp].
    """
    count = max(1, round(kwp / PANEL_KWP))
    shown = min(count, PANELS_SHOWN_MAX)
    rows = 2 + hashlib.sha256(project_id.encode()).digest()[0] % 3
    per_row = math.ceil(shown / rows)
    panel_width = min(18.0, (WIDTH - 70) / per_row - 2)
    panel_height = min(20.0, (HEIGHT - 46) / rows - 3)
    roof_width = per_row * (panel_width + 2) + 22
    roof_height = rows * (panel_height + 3) + 20
    left, top = (WIDTH - roof_width) / 2, (HEIGHT - roof_height) / 2
    return RoofPlan(
        x=round(left, 1),
        y=round(top, 1),
        width=round(roof_width, 1),
        height=round(roof_height, 1),
        panels=tuple(
            Panel(
                x=round(left + 12 + (number % per_row) * (panel_width + 2), 1),
                y=round(top + 11 + (number // per_row) * (panel_height + 3), 1),
            )
            for number in range(shown)
        ),
        panel_width=round(panel_width, 1),
        panel_height=round(panel_height, 1),
        each_kwp=kwp / shown,
    )
