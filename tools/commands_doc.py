"""Write docs/commands.md from the commands themselves, or check that it is still true.

`python tools/commands_doc.py` writes; `--check` exits 1 where the page and the commands differ.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import typer.main

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
APPS = {
    "coop-gateway": "gateway.cli",
    "coop-cloud": "cloud.cli",
    "tariff-bargainer": "tariff_bargainer.cli",
    "solar-fund": "solar_fund.cli",
}
HEAD = """# Commands

Made from the commands themselves by `tools/commands_doc.py`; a test keeps it true.
Every command answers `--help` with an example. Exit codes: 0 done, 1 the answer is no (a check
failed), 2 the input or the command line is wrong.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for program, module in APPS.items():
        root = typer.main.get_command(importlib.import_module(module).app)
        parts.append(f"## {program}\n\n{first_line(root)}\n")
        parts += described(program, root)
    return "\n".join(parts)


def described(name: str, command: object) -> list[str]:
    """A section for each command below this one."""
    children = getattr(command, "commands", None)
    if not children:
        return [section(name, command)]
    return [
        text
        for child in sorted(children)
        if not children[child].hidden
        for text in described(f"{name} {child}", children[child])
    ]


def section(name: str, command: object) -> str:
    """One command: what it does, its arguments and options."""
    arguments, options = [], []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            arguments.append(parameter.name.upper())
        elif parameter.name not in {"help", "install_completion", "show_completion"}:
            flag = max(parameter.opts, key=len)
            options.append(f"- `{flag}`: {(parameter.help or '').strip()}".rstrip(": "))
    heading = " ".join([f"### `{name}", *arguments]) + "`"
    return "\n".join([heading, "", first_line(command), "", *options, ""])


def first_line(command: object) -> str:
    """First paragraph of the help text."""
    return (command.help or "").strip().split("\n\n")[0].replace("\n", " ")


def main() -> int:
    """Write or check."""
    wanted = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            print("docs/commands.md differs from the commands; run: python tools/commands_doc.py")
            return 1
        return 0
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
