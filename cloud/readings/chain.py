"""Whether the parts of a stream came one after another: what is missing, forked or came twice. Pure.

A part carries its number in its stream and the hash of the part before. A broken chain never
stops a reading: what a home's key has signed and its consents cover is taken. But a break is kept
and shown, because it is the only trace of a message that got lost on the way, of a second device
with the same key, or of a gateway set up again from an old copy of its card.

A gateway begins its chain anew with an empty `prev`, such as after a withdrawal erased parts that
waited: numbers it skips then are said not to come, and are no break.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

RANGES_MAX = 64
"""Runs of missing numbers remembered per chain; the oldest go first."""


class ChainBreak(enum.StrEnum):
    """What is wrong with a chain."""

    MISSING = "missing"
    """Numbers were skipped: parts were lost on the way, or come later."""

    FORKED = "forked"
    """The part cites another part before it than the one that came."""

    REUSED = "reused"
    """A number came again with other readings: two devices with one key, or an old copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a part says about its place.

    Attributes:
        seq: Its number in the stream, from 1.
        prev: Hash of the part before, as it cites it; empty where it begins a chain anew.
        sha256: Its own hash; empty if some of it was refused, of which nothing is kept.
        is_new: Whether any of it was stored for the first time.
    """

    seq: int
    prev: bytes
    sha256: bytes
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How far a stream of one gateway has come.

    Attributes:
        seq: Number of the newest part.
        head: Its hash; empty if it is not known.
        missing: First and last number of each run that was skipped and has not come, rising.
        forked: How often the part before was another one.
        reused: How often a number came again with other readings.
    """

    seq: int
    head: bytes
    missing: tuple[tuple[int, int], ...] = ()
    forked: int = 0
    reused: int = 0

    @property
    def parts_missing(self) -> int:
        """How many parts were skipped and have not come."""
        return sum(last - first + 1 for first, last in self.missing)


def follow(chain: Chain | None, link: Link) -> tuple[Chain, ChainBreak | None]:
    """Add a part to a chain.

    Args:
        chain: How far it had come; None if nothing is known, as after an erasure.
        link: The part.

    Returns:
        The chain with it, and what is wrong, if anything.
    """
    if chain is None:
        return Chain(seq=link.seq, head=link.sha256), None
    if link.seq <= chain.seq:
        return _came_again(chain, link)
    further = Chain(
        seq=link.seq,
        head=link.sha256,
        missing=chain.missing if link.prev else (),
        forked=chain.forked,
        reused=chain.reused,
    )
    if not link.prev:
        return further, None
    if link.seq > chain.seq + 1:
        skipped = (chain.seq + 1, link.seq - 1)
        missing = (*chain.missing, skipped)[-RANGES_MAX:]
        return replace(further, missing=missing), ChainBreak.MISSING
    if chain.head and link.prev != chain.head:
        return replace(further, forked=chain.forked + 1), ChainBreak.FORKED
    return further, None


def _came_again(chain: Chain, link: Link) -> tuple[Chain, ChainBreak | None]:
    """Take a part whose number is not higher than the newest."""
    for first, last in chain.missing:
        if first <= link.seq <= last:
            others = [run for run in chain.missing if run != (first, last)]
            rest = [(first, link.seq - 1), (link.seq + 1, last)]
            filled = sorted([*others, *(run for run in rest if run[0] <= run[1])])
            return replace(chain, missing=tuple(filled)), None
    is_newest = link.seq == chain.seq and link.sha256 == chain.head
    if is_newest or not link.is_new:
        return chain, None
    begun = Chain(seq=link.seq, head=link.sha256, forked=chain.forked, reused=chain.reused + 1)
    return begun, ChainBreak.REUSED
