"""Shared by the tests of real wires."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.meters.wires import libmodbus_program


@pytest.fixture(scope="session")
def libmodbus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled libmodbus server."""
    return libmodbus_program(tmp_path_factory.mktemp("libmodbus"))
