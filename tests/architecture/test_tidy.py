"""The house style that no linter knows."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "cloud", "tariff_bargainer", "solar_fund")
NO_SUBJECT = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
LINES_MAX = 500
FUNCTION_LINES_MAX = 80


@cache
def tracked_files() -> tuple[Path, ...]:
    """Files git tracks, or all files where there is no git (an unpacked archive)."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        return tuple(
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not {".venv", ".git", "__pycache__"} & set(path.parts)
        )
    return tuple(ROOT / name for name in listed if name and (ROOT / name).is_file())


def modules() -> Iterator[Path]:
    """Python files of the product."""
    for path in tracked_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES:
            yield path


def name_of(path: Path) -> str:
    """Path as people write it."""
    return str(path.relative_to(ROOT))


def test_there_are_modules_to_look_at() -> None:
    assert len(list(modules())) > 60


def test_no_file_is_named_after_nothing() -> None:
    nameless = [name_of(path) for path in tracked_files() if path.stem.lower() in NO_SUBJECT]
    assert nameless == []


def test_modules_and_functions_keep_a_human_size() -> None:
    too_long = []
    for path in modules():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > LINES_MAX:
            too_long.append(f"{name_of(path)} has {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno
                if size > FUNCTION_LINES_MAX:
                    too_long.append(f"{name_of(path)}:{node.lineno} {node.name} has {size} lines")
    assert too_long == []


def test_package_files_hold_a_docstring_and_nothing_else() -> None:
    full = []
    for path in modules():
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            if len(body) != 1 or ast.get_docstring(ast.parse(path.read_text())) is None:
                full.append(name_of(path))
    assert full == []


NAIVE_CALLS = {"utcnow", "utcfromtimestamp", "today"}


def test_no_clock_is_read_without_a_zone() -> None:
    naive = []
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called, owner = node.func.attr, ast.unparse(node.func.value)
            if owner.split(".")[-1] not in {"datetime", "date"}:
                continue
            if called in NAIVE_CALLS or (
                called in {"now", "fromtimestamp"}
                and not node.args[called != "now" :]
                and not node.keywords
            ):
                naive.append(f"{name_of(path)}:{node.lineno} {ast.unparse(node)}")
    assert naive == []


PURE = (
    "gateway/wire",
    "gateway/decode",
    "gateway/consent",
    "tariff_bargainer/profiles",
    "tariff_bargainer/billing",
    "solar_fund/voting",
)


def test_pure_folders_never_ask_for_the_time() -> None:
    asked = []
    for path in modules():
        if not name_of(path).startswith(PURE):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                text = ast.unparse(node.func)
                if text in {"datetime.now", "time.time", "datetime.datetime.now"}:
                    asked.append(f"{name_of(path)}:{node.lineno}")
    assert asked == []


def test_nothing_is_left_unbuilt_behind_a_finished_name() -> None:
    stubs = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert stubs == []


def test_the_glossaries_of_all_areas_are_linked() -> None:
    glossary = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    unlinked = [
        path.name
        for path in sorted((ROOT / "docs" / "glossary").glob("*.md"))
        if f"docs/glossary/{path.name}" not in glossary
    ]
    assert unlinked == []


# Written in pieces, so that this file does not contain what it looks for.
FORBIDDEN_TEXT = [
    "".join(parts)
    for parts in (
        ("py", "pi.org/simple"),
        ("files.python", "hosted.org"),
        ("registry.npm", "js.org"),
        ("deb.debian", ".org"),
        ("/wor", "k/"),
        ("/roo", "t/"),
    )
]


@pytest.mark.parametrize("text", FORBIDDEN_TEXT, ids=range(len(FORBIDDEN_TEXT)))
def test_no_file_names_a_package_host_or_a_private_path(text: str) -> None:
    found = []
    for path in tracked_files():
        if path.suffix in {".png", ".woff2", ".parquet", ".ico"}:
            continue
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text in content:
            found.append(name_of(path))
    assert found == []
