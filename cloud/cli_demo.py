"""`coop-cloud demo`: the simulated street."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Tell the story once, print figures, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --once: print one JSON object and nothing else.")
    ] = False,
    homes: Annotated[int, typer.Option(help="Number of homes, 24 to 200.")] = 32,
    seed: Annotated[int, typer.Option(help="Same seed, same street.")] = 1,
    port: Annotated[
        int | None, typer.Option(help="Port of the pages; a free one if left out.")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="Keep everything in this new folder.")] = None,
) -> None:
    """Run a simulated street on this machine, from meter to dividend. All of it is made up.

    Example: coop-cloud demo --once --json
    """
    from cloud.demo.processes import DemoFault
    from cloud.demo.run import run_once, run_open
    from cloud.demo.story import StreetPlan

    plan = StreetPlan(homes=homes, seed=seed, port=port, keep=keep)
    try:
        code = run_once(plan, as_json=as_json) if once else run_open(plan)
    except DemoFault as fault:
        sys.stderr.write(f"error: {fault}\n")
        raise typer.Exit(2) from fault
    raise typer.Exit(code)
