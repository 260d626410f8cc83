"""Late readings wait where an earlier release has spoken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.profiles.presence import Presence, leave_out_late, pack, unpack

START = datetime(2026, 3, 1, tzinfo=UTC)


def presence(rows: list[list[int]], *, start: datetime = START, step_s: int = 900) -> Presence:
    names = tuple(f"home-{number}" for number in range(len(rows)))
    return Presence(
        households=names, start=start, step_s=step_s, is_there=np.array(rows, dtype=bool)
    )


@given(st.integers(1, 9), st.integers(1, 40), st.randoms(use_true_random=False))
def test_packing_and_unpacking_gives_the_same(homes: int, intervals: int, random) -> None:
    rows = [[random.randint(0, 1) for _ in range(intervals)] for _ in range(homes)]
    there = presence(rows)
    again = unpack(pack(there), households=there.households, start=START, step_s=900)
    assert (again.is_there == there.is_there).all()


def test_a_reading_that_came_late_is_left_out() -> None:
    kept, differs = leave_out_late(presence([[1, 1, 1]]), presence([[1, 0, 1]]))
    assert kept.is_there.tolist() == [[True, False, True]]
    assert differs == frozenset()


def test_a_reading_that_was_erased_since_makes_the_home_differ() -> None:
    _, differs = leave_out_late(presence([[1, 0, 1], [1, 1, 1]]), presence([[1, 1, 1], [1, 1, 1]]))
    assert differs == {"home-0"}


def test_only_the_shared_time_counts() -> None:
    later = presence([[1, 1, 1]], start=START + timedelta(minutes=30))
    kept, differs = leave_out_late(later, presence([[0, 0, 0]]))
    assert kept.is_there.tolist() == [[False, True, True]]
    assert differs == frozenset()


def test_a_coarse_reading_is_there_only_with_all_its_parts() -> None:
    hour = presence([[1, 1]], step_s=3600)
    quarters = presence([[1, 1, 1, 1, 1, 0, 1, 1]])
    kept, differs = leave_out_late(hour, quarters)
    assert kept.is_there.tolist() == [[True, False]]
    assert differs == frozenset()


def test_a_fine_reading_is_there_only_if_the_coarse_one_was() -> None:
    quarters = presence([[1] * 8])
    kept, _ = leave_out_late(quarters, presence([[1, 0]], step_s=3600))
    assert kept.is_there.tolist() == [[True] * 4 + [False] * 4]


@pytest.mark.parametrize(
    "other",
    [presence([[1, 1]], step_s=700), presence([[1, 1]], start=START + timedelta(minutes=7))],
)
def test_grids_that_do_not_fit_make_every_shared_home_differ(other: Presence) -> None:
    _, differs = leave_out_late(presence([[1, 1]]), other)
    assert differs == {"home-0"}
