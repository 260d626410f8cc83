"""A running gateway loads no command line: on a Pi that is ten megabytes for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.daemon import Daemon
from gateway.identity import HASH_FILE
from gateway.running import plainly_asked, run_gateway
from tests.gateway.home import settings_text

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


def test_no_secret_is_made_where_the_journal_would_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(settings_text(), encoding="utf-8")

    async def at_once(daemon: Daemon) -> None:
        daemon.store.close()

    monkeypatch.setattr("gateway.daemon.run_until_stopped", at_once)
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    run_gateway(config, verbose=False)
    assert "local secret:" not in capfd.readouterr().out
    assert not (tmp_path / "state" / HASH_FILE).exists()
    monkeypatch.delenv("JOURNAL_STREAM")
    run_gateway(config, verbose=False)
    assert "local secret:" in capfd.readouterr().out
    assert (tmp_path / "state" / HASH_FILE).exists()
