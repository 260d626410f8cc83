"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow, and a test that is right stays right on it.
settings.register_profile("commonwatt", deadline=None)
settings.load_profile("commonwatt")
