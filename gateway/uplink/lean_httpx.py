"""httpx without its command line, which loads rich and pygments where they are installed.

On a Pi these are 3 MB of memory for nothing. If httpx ever names its command otherwise, this does
nothing and costs nothing.
"""

from __future__ import annotations

import sys
from types import ModuleType


def _no_command() -> None:
    """Stand in for the command line of httpx."""


_COMMAND = "httpx._main"
if _COMMAND not in sys.modules:
    _stub = ModuleType(_COMMAND)
    vars(_stub)["main"] = _no_command
    sys.modules[_COMMAND] = _stub

import httpx  # noqa: E402  after the stub, or the stub comes too late

__all__ = ["httpx"]
