"""How every command of `coop-cloud` says that something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cloud.errors import CloudError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Say our own errors in one line on stderr and leave with exit code 2."""
    try:
        yield
    except (CloudError, OSError) as fault:
        sys.stderr.write(f"error: {fault}\n")
        raise typer.Exit(2) from fault
