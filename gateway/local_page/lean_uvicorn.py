"""uvicorn without its command line, which loads click and multiprocessing.

On a Pi these are 2 MB of memory for nothing. Whoever else asks this process for uvicorn's command
or `run` still gets the real ones.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_COMMAND = "uvicorn.main"


def _real(name: str) -> object:
    """What uvicorn's command line has under a name; its server without the rest."""
    if name == "Server":
        return importlib.import_module("uvicorn.server").Server
    if name not in ("main", "run"):
        raise AttributeError(name)

    def later(*args: object, **kwargs: object) -> object:
        sys.modules.pop(_COMMAND, None)
        return getattr(importlib.import_module(_COMMAND), name)(*args, **kwargs)

    return later


if "uvicorn" not in sys.modules:
    _stub = ModuleType(_COMMAND)
    vars(_stub)["__getattr__"] = _real
    sys.modules[_COMMAND] = _stub

import uvicorn  # noqa: E402  after the stub, or the stub comes too late

__all__ = ["uvicorn"]
