"""A co-op that can fund projects."""

from __future__ import annotations

import pytest

from tests.cloud.coop_builder import Coop
from tests.cloud.projects.project_builder import Fundable


@pytest.fixture(autouse=True)
def _only_the_test_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the server's own chore from counting a vote before the test does."""
    monkeypatch.setattr("cloud.chores.count_due_votes", lambda *_: 0)


@pytest.fixture
def fundable(coop: Coop) -> Fundable:
    return Fundable(coop=coop)
