"""`docs/api.md` names every setting and every command of the cloud, with the defaults as they are."""

from __future__ import annotations

from pathlib import Path

import typer.main

from cloud.cli import app
from cloud.settings import describe_settings

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


def test_every_setting_is_in_the_table_with_its_default_and_meaning():
    for name, default, meaning in describe_settings():
        row = f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |"
        assert row in PAGE, row


def test_every_command_is_named():
    for command in typer.main.get_command(app).commands:
        assert f"`{command}" in PAGE, command
