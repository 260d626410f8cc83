"""Parts of a stream come one after another, and a break is noticed without stopping anything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.readings.chain import RANGES_MAX, Chain, ChainBreak, Link, follow

HASHES = [bytes([number]) * 32 for number in range(1, 60)]


def link(seq: int, *, prev: int | None = None, sha256: int | None = None, is_new: bool = True):
    """A part whose hash is named by its number, unless told otherwise."""
    before = seq - 1 if prev is None else prev
    return Link(
        seq=seq,
        prev=HASHES[before] if before else b"",
        sha256=HASHES[seq if sha256 is None else sha256],
        is_new=is_new,
    )


def follow_all(*links: Link) -> tuple[Chain, list[ChainBreak | None]]:
    chain: Chain | None = None
    breaks = []
    for each in links:
        chain, kind = follow(chain, each)
        breaks.append(kind)
    assert chain is not None
    return chain, breaks


def test_parts_one_after_another_break_nothing() -> None:
    chain, breaks = follow_all(link(1), link(2), link(3))
    assert breaks == [None] * 3
    assert chain == Chain(seq=3, head=HASHES[3])


def test_a_chain_of_which_nothing_is_known_begins_where_it_is() -> None:
    assert follow_all(link(17), link(18))[1] == [None, None]


def test_skipped_parts_are_missing_until_they_come() -> None:
    chain, breaks = follow_all(link(1), link(5))
    assert breaks == [None, ChainBreak.MISSING]
    assert (chain.missing, chain.parts_missing) == (((2, 4),), 3)
    for late in (3, 2, 4):
        chain, kind = follow(chain, link(late))
        assert kind is None
    assert chain == Chain(seq=5, head=HASHES[5])


def test_a_gateway_that_begins_anew_says_that_what_it_skips_never_comes() -> None:
    chain, breaks = follow_all(
        link(1), link(3), Link(seq=7, prev=b"", sha256=HASHES[7], is_new=True)
    )
    assert breaks == [None, ChainBreak.MISSING, None]
    assert chain.missing == ()


def test_another_part_before_is_a_fork() -> None:
    chain, breaks = follow_all(link(1), link(2, prev=40), link(3))
    assert breaks == [None, ChainBreak.FORKED, None]
    assert chain.forked == 1


@pytest.mark.parametrize("seq", [2, 3])
def test_the_same_part_again_is_no_break(seq: int) -> None:
    _, breaks = follow_all(link(1), link(2), link(3), link(seq, is_new=seq == 3))
    assert breaks[-1] is None


def test_a_number_that_comes_again_with_other_readings_is_told_once_per_return() -> None:
    """A gateway set up again from an old copy goes on from the old number."""
    old = [link(number) for number in range(1, 10)]
    again = [link(number, prev=number + 39, sha256=number + 40) for number in range(5, 12)]
    chain, breaks = follow_all(*old, *again)
    assert [kind for kind in breaks if kind] == [ChainBreak.REUSED]
    assert (chain.seq, chain.reused, chain.forked) == (11, 1, 0)


def test_after_a_part_refused_in_part_any_part_may_follow() -> None:
    refused = Link(seq=2, prev=HASHES[1], sha256=b"", is_new=False)
    assert follow_all(link(1), refused, link(3, prev=50))[1] == [None] * 3


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3), st.booleans()), max_size=60))
def test_what_is_remembered_stays_small_and_makes_sense(parts) -> None:
    chain: Chain | None = None
    for seq, other, is_new in parts:
        chain, _ = follow(chain, link(seq, sha256=min(seq + other, 58), is_new=is_new))
        runs = chain.missing
        assert len(runs) <= RANGES_MAX
        assert all(first <= last < chain.seq for first, last in runs)
        assert all(a[1] < b[0] for a, b in pairwise(runs))


@given(st.permutations(range(2, 12)))
def test_in_whatever_order_all_parts_come_nothing_is_missing_in_the_end(order) -> None:
    chain, breaks = follow_all(link(1), *(link(seq) for seq in order))
    assert chain.missing == ()
    assert chain.seq == 11
    assert ChainBreak.REUSED not in breaks
