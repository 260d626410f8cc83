"""Every command and every setting is written down, and the pages are still true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    done = subprocess.run(
        [sys.executable, "tools/commands_doc.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_of_the_library_is_what_its_docstrings_say_and_its_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, "tools/library_doc.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "run python tools/library_doc.py" + done.stderr
    (example,) = re.findall(r"```python\n(.*?)```", read("docs/library.md"), re.DOTALL)
    exec(compile(example, "docs/library.md", "exec"), {})  # noqa: S102 - our own page


def test_every_setting_of_the_cloud_is_documented() -> None:
    from cloud.settings import describe_settings

    page = read("docs/api.md")
    missing = [name for name, _default, _meaning in describe_settings() if f"`{name}`" not in page]
    assert missing == []


def test_every_setting_of_the_gateway_is_documented() -> None:
    import msgspec

    from gateway import settings

    page = read("docs/formats/gateway_config.md")
    names = {
        field.name
        for kind in vars(settings).values()
        if isinstance(kind, type) and issubclass(kind, settings.Section)
        for field in msgspec.structs.fields(kind)
    }
    assert len(names) > 25
    assert [name for name in sorted(names) if name not in page] == []


def test_every_command_has_an_example_in_its_help() -> None:
    import importlib

    import typer.main

    without = []
    for program, module in {
        "coop-gateway": "gateway.cli",
        "coop-cloud": "cloud.cli",
        "tariff-bargainer": "tariff_bargainer.cli",
        "solar-fund": "solar_fund.cli",
    }.items():
        root = typer.main.get_command(importlib.import_module(module).app)
        stack = [(program, root)]
        while stack:
            name, command = stack.pop()
            children = getattr(command, "commands", {})
            stack += [(f"{name} {child}", children[child]) for child in children]
            if children or command.hidden:
                continue
            said = f"{command.help or ''}{command.epilog or ''}"
            if program not in said:
                without.append(name)
    assert without == []


@pytest.mark.parametrize(
    "name",
    ["README.md", "ARCHITECTURE.md", "GLOSSARY.md", "DECISIONS.md", "SECURITY.md", "CHANGELOG.md"],
)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", read(name))
    broken = [target for target in targets if not (ROOT / target).exists()]
    assert broken == []


def example(name: str, number: int = 0) -> str:
    """A TOML example of a page."""
    return re.findall(r"```toml\n(.*?)```", read(f"docs/formats/{name}"), re.DOTALL)[number]


def test_the_example_of_a_gateways_settings_is_taken(tmp_path: Path) -> None:
    from gateway.settings import read_settings

    file = tmp_path / "gateway.toml"
    file.write_text(example("gateway_config.md"), encoding="utf-8")
    settings, _state_dir = read_settings(file)
    assert [meter.name for meter in settings.meters] == ["grid", "pump", "plug"]


def test_the_examples_of_tariffs_offers_and_projects_are_taken(tmp_path: Path) -> None:
    from solar_fund.projects.project_file import read_project
    from tariff_bargainer.bargaining.issues_file import read_issues
    from tariff_bargainer.bargaining.offer_file import parse_offer
    from tariff_bargainer.tariffs.tariff_file import parse_tariff

    def written(text: str) -> Path:
        (tmp_path / "example.toml").write_text(text, encoding="utf-8")
        return tmp_path / "example.toml"

    assert parse_tariff(example("tariff.md")).name == "Evening peak"
    assert parse_offer(example("offer.md")).supplier == "Nordwind"
    issues = read_issues(written(example("offer.md", 2)), currency="EUR")
    assert [issue.name for issue in issues] == ["term"]
    assert read_project(written(example("project.md"))).name == "Linden School roof"


@pytest.mark.parametrize(
    ("page", "shipped", "copy"),
    [
        ("meter_map.md", "meters/_blueprint.toml", "maker_model.toml"),
        ("mqtt_preset.md", None, "payload.json"),
    ],
)
def test_what_a_page_shows_of_a_terminal_is_what_the_command_prints(
    tmp_path: Path, page: str, shipped: str | None, copy: str
) -> None:
    shown = re.findall(
        r"```console\n\$ (coop-gateway [^\n]*)\n(.*?)```", read(f"docs/formats/{page}"), re.DOTALL
    )
    command, printed = shown[0]
    payload = '{"ENERGY": {"Total": 3.185, "Power": 512}}'
    text = read(f"firmware_configs/{shipped}") if shipped else payload
    (tmp_path / copy).write_text(text, encoding="utf-8")
    words = command.removesuffix("< payload.json").split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input=payload,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == printed


def test_every_make_target_is_in_the_help() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "check", "bench", "lock", "fmt"):
        assert re.search(rf"^{target}\b", done.stdout, re.MULTILINE)
