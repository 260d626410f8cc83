"""The system's own programs, by which the files for the Pi are checked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PI = Path(__file__).resolve().parents[2] / "firmware_configs" / "raspberry_pi"
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/sbin"


def tool(name: str, package: str) -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        if not Path("/etc/debian_version").exists():
            pytest.skip(f"{name} is for Debian; this machine cannot have it")
        pytest.fail(f"{name} is missing; run: apt-get install {package}")
    return found


def run(*command: str, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)
