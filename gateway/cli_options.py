"""What the gateway's commands share: options, one-line faults, one JSON object."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import typer

from gateway.running import FAULTS, fault_line

_P = ParamSpec("_P")

ConfigOption = Annotated[
    Path, typer.Option("--config", help="The gateway's settings, gateway.toml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def named_faults(command: Callable[_P, None]) -> Callable[_P, None]:
    """Print a named fault as one line and exit with 2."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except FAULTS as fault:
            sys.stderr.write(fault_line(fault))
            raise typer.Exit(2) from fault

    return run


def write_json(answer: object) -> None:
    """Write one JSON object to standard output."""
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, default=str) + "\n")
