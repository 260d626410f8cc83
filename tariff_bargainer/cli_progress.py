"""A progress bar for long work, only where a person watches: stderr on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progressed = Callable[[int, int], None]
"""Called with how much is done and how much there is."""


@contextmanager
def progress_bar(label: str) -> Iterator[Progressed | None]:
    """Show a bar on stderr while the block runs, or give None where stderr is no terminal.

    Args:
        label: What is being done, such as `bills today`.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
