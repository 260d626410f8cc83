"""What the log, which everybody may read, says of a settlement in money: nothing of a correction."""

from __future__ import annotations

from cloud.transparency.usecases import Fact


def public_sums(revision: int, **sums: Fact) -> dict[str, Fact]:
    """Give the sums of a month's first revision, and none of a later one.

    A later revision often differs by one home whose readings came late, and the difference of two
    sums would stay in the log for ever as what that home saved. The hashes beside fix the sums of a
    correction as well; those who keep the books see them there.

    Args:
        revision: 1 for the first settlement of a month.
        sums: Counts of homes and amounts [minor units].
    """
    return sums if revision == 1 else {}
