"""A running gateway loads no command line: on a Pi that is ten megabytes for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.running import plainly_asked

SPARED = {"typer", "click", "rich", "multiprocessing", "pydantic", "numpy"}


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(["-c", code] if code else ["-m", "gateway"]), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_runs_for_years_does_without_the_command_line() -> None:
    done = python(
        "import sys, gateway.__main__, gateway.daemon, gateway.parts, gateway.local_page.server\n"
        f"print(sorted({SPARED} & set(sys.modules)))\n"
        "import uvicorn, uvicorn.server\n"
        "assert uvicorn.Server is uvicorn.server.Server\n"
        "assert callable(uvicorn.run)\n"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["run", "--config", "g.toml"], (Path("g.toml"), False)),
        (["run", "--verbose", "--config=g.toml"], (Path("g.toml"), True)),
        (["run", "--config", "g.toml", "--verbose"], (Path("g.toml"), True)),
        (["run"], None),
        (["run", "--config"], None),
        (["run", "--config", "--verbose"], None),
        (["run", "--config", "g.toml", "--help"], None),
        (["run", "--konfig", "g.toml"], None),
        (["status", "--config", "g.toml"], None),
        ([], None),
    ],
)
def test_only_a_plain_run_takes_the_short_way(words: list[str], asked: object) -> None:
    assert plainly_asked(words) == asked


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (["run"], "missing option '--config'"),
    ],
)
def test_a_mistake_is_one_line_on_both_ways(words: list[str], said: str) -> None:
    done = python("", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
