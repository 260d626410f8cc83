"""What a configuration will do to the wires and to the card, before it does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.meters.source import SourcePlan

BUS_SHARE_WARN = 0.7
BYTES_PER_COMMIT = 7_700
BYTES_PER_ROW = 920
"""What a commit and a row cost on the card [bytes].

Source: measured with SQLite 3.40 in WAL mode with synchronous=FULL: 74 MB a day for one row every
10 s, 19 MB for six rows a minute in one commit. The card's own amplification comes on top.
"""


def plan_report(
    plans: Sequence[SourcePlan], *, counters: int, commit_every_s: float
) -> dict[str, Any]:
    """Put plans into a form for people and for `--json`.

    Args:
        plans: One per wire.
        counters: How many counters are followed; each makes at most one row a minute.
        commit_every_s: How often rows are written [s].

    Returns:
        `sources`, `warnings`, `written_mb_per_day` (an upper bound: all counters granted at one
        minute).
    """
    warnings = [
        f"{plan.name}: the requests take {plan.bus_share:.0%} of the bus; read less often or use "
        "a higher speed"
        for plan in plans
        if plan.bus_share > BUS_SHARE_WARN
    ]
    commits = 86_400 / commit_every_s
    written = commits * BYTES_PER_COMMIT + 1440 * counters * BYTES_PER_ROW
    return {
        "sources": [_source(plan) for plan in plans],
        "warnings": warnings,
        "written_mb_per_day": round(written / 1e6, 1),
    }


def _source(plan: SourcePlan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "cycle_s": plan.cycle_s,
        "wire_time_ms": round(plan.wire_time_s * 1000, 1),
        "bus_share": round(plan.bus_share, 4),
        "reads": [
            {
                "meter": read.meter,
                "what": read.what,
                "wire_time_ms": round(read.wire_time_s * 1000, 1),
            }
            for read in plan.reads
        ],
    }
