"""Votes that nobody counts but the test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _only_the_test_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the server's own chore from counting a vote before the test does."""
    monkeypatch.setattr("cloud.chores.count_due_votes", lambda *_: 0)
