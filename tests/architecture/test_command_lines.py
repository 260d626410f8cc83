"""A mistake on the command line is one line, for every command of the four programs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

PROGRAMS = {
    "coop-gateway": "gateway.cli",
    "coop-cloud": "cloud.cli",
    "tariff-bargainer": "tariff_bargainer.cli",
    "solar-fund": "solar_fund.cli",
}


def app_of(program: str) -> typer.Typer:
    app: typer.Typer = importlib.import_module(PROGRAMS[program]).app
    return app


def leaves() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Each command: its program, the words that name it, and what it takes."""
    for program in PROGRAMS:
        stack: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app_of(program)))]
        while stack:
            words, command = stack.pop()
            children = getattr(command, "commands", {})
            stack += [((*words, name), child) for name, child in children.items()]
            if not children:
                yield program, words, command


COMMANDS = list(leaves())


def line_of(program: str, *words: str) -> str:
    """The one line a program says about a mistake."""
    done = CliRunner().invoke(app_of(program), list(words), prog_name=program)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize(("program", "words"), [command[:2] for command in COMMANDS], ids=" ".join)
def test_an_unknown_option_is_named_with_where_to_read_on(
    program: str, words: tuple[str, ...]
) -> None:
    line = line_of(program, *words, "--no-such-option")
    assert "--no-such-option" in line
    assert line.endswith(f"see {' '.join((program, *words))} --help\n")


@pytest.mark.parametrize(
    ("program", "words", "name"),
    [
        (program, words, names[0])
        for program, words, command in COMMANDS
        if (
            names := [
                parameter.opts[0] if parameter.param_type_name == "option" else parameter.name
                for parameter in command.params
                if parameter.required
            ]
        )
    ],
)
def test_a_missing_option_or_argument_is_named(
    program: str, words: tuple[str, ...], name: str
) -> None:
    line = line_of(program, *words)
    assert line.startswith("error: missing ")
    assert f"'{name}'" in line


@pytest.mark.parametrize(
    ("program", "words", "named"),
    [
        ("coop-gateway", ["read", "--map", "x", "--port", "many"], "--port"),
        ("coop-gateway", ["maps", "schema", "poem"], "'poem' is not one of"),
        ("coop-cloud", ["serve", "--port", "many"], "--port"),
        ("tariff-bargainer", ["bill", "--tariff", "a", "--load", "b", "--format", "z"], "--format"),
        ("tariff-bargainer", ["bill", "--tariff"], "--tariff"),
        ("solar-fund", ["tally", "a.pb", "--rule", "loudest"], "--rule"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_the_name_of_its_option(
    program: str, words: list[str], named: str
) -> None:
    assert named in line_of(program, *words)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_command_is_named(program: str) -> None:
    assert "'sing'" in line_of(program, "sing")
    assert "--sing" in line_of(program, "--sing")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_asked_for_nothing_shows_its_help(program: str) -> None:
    done = CliRunner().invoke(app_of(program), [], prog_name=program)
    assert "Usage" in done.output
    assert "error" not in done.stderr
