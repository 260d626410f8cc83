"""Tests that share something large are run by one worker, and no name is large itself."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("told-apart")
def test_workers_tell_groups_of_tests_apart(request):
    # pytest-xdist marks a group in the name of the test. When it does not, each worker builds its
    # own street, cluster and sniffer, and they disturb each other.
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@told-apart")


def test_names_of_tests_are_short(request):
    # Workers send each other every name several times; one had been as large as its input of 4 MiB.
    assert [item.nodeid[:200] for item in request.session.items if len(item.nodeid) > 400] == []
