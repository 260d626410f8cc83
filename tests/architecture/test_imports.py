"""Who may lean on whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_import_contract_is_kept() -> None:
    result = run("-c", "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])")
    assert result.returncode == 0, result.stdout[-3000:]


def test_the_gateway_starts_without_the_heavy_packages() -> None:
    heavy = ["numpy", "pandas", "fastapi", "sqlalchemy", "sklearn", "pydantic", "influxdb_client"]
    result = run(
        "-c",
        "import gateway.cli, gateway.daemon, sys; "
        f"print([name for name in {heavy!r} if name in sys.modules])",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_vendored_front_end_files_are_what_was_pinned() -> None:
    result = run("tools/vendor.py", "--check")
    assert result.returncode == 0, result.stderr
