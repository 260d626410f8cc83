"""Mistakes on the command line, such as an option nobody knows, as one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException


class OneLineGroup(TyperGroup):
    """Commands whose usage errors are one line on stderr, with exit code 2.

    The line names the option and where its help is. Asked for nothing, a group shows its help.
    """

    def make_context(self, info_name: str | None, *args: Any, **kwargs: Any) -> Any:
        """See `TyperGroup`; reads the options of the program itself."""
        with _one_line(info_name or ""):
            return super().make_context(info_name, *args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """See `TyperGroup`; reads the options of the command and runs it."""
        with _one_line(ctx.command_path):
            return super().invoke(ctx)


@contextmanager
def _one_line(program: str) -> Iterator[None]:
    try:
        yield
    except TyperException as fault:
        # That nothing was asked for is an error to typer, whose text is the help page.
        if type(fault).__name__ == "NoArgsIsHelpError":
            raise
        said = " ".join(fault.format_message().replace("Value error, ", "").split()).rstrip(".")
        command = getattr(getattr(fault, "ctx", None), "command_path", program)
        sys.stderr.write(f"error: {said[:1].lower()}{said[1:]}; see {command} --help\n")
        raise typer.Exit(fault.exit_code) from None
