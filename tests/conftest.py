"""What holds for all tests."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# A loaded machine is slow, and a test that is right stays right on it. Half of the usual examples
# keep the suite short; `HYPOTHESIS_PROFILE=thorough` looks ten times as hard.
settings.register_profile("commonwatt", deadline=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commonwatt"))

NAMED_BY_TEXT_MAX = 60
"""Longer texts are not part of a test's name [characters]."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case after the length of a long text: whole files would be sent around as names."""
    if isinstance(val, str | bytes) and len(val) > NAMED_BY_TEXT_MAX:
        return f"{argname}-of-{len(val)}"
    return None


@pytest.fixture(autouse=True)
def _gateways_are_closed():
    """Close what a test's gateways opened: from Python 3.13 on, a file left open is a warning."""
    yield
    if built := sys.modules.get("tests.gateway.home"):
        while built.OPEN:
            built.OPEN.pop().store.close()
