"""RFC 6962 tree arithmetic over stored nodes: which nodes a root, a proof or an append needs.

A node (level, position) covers leaves `[position * 2**level, (position + 1) * 2**level)` and is
stored once all of them exist; it never changes afterwards. Everything else is computed from at
most two such nodes per level.

Source: RFC 6962 section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.wire.log_proof import EMPTY_ROOT, node_hash

Node = tuple[int, int]
"""Level and position of a stored node."""

NodeLookup = Callable[[Node], bytes]


def nodes_completed_by(index: int, leaf: bytes, lookup: NodeLookup) -> list[tuple[Node, bytes]]:
    """Nodes that become whole when leaf `index` is added, lowest first, the leaf included."""
    completed: list[tuple[Node, bytes]] = [((0, index), leaf)]
    level, position, running = 0, index, leaf
    while position & 1:
        running = node_hash(lookup((level, position - 1)), running)
        level, position = level + 1, position >> 1
        completed.append(((level, position), running))
    return completed


def root_of(size: int, lookup: NodeLookup) -> bytes:
    """Root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(0, size, lookup)


def inclusion_proof(index: int, size: int, lookup: NodeLookup) -> list[bytes]:
    """Audit path of a leaf, lowest level first.

    Raises:
        ValueError: The leaf is not within the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not within a tree of {size}")
    return _path(index, 0, size, lookup)


def consistency_proof(old_size: int, new_size: int, lookup: NodeLookup) -> list[bytes]:
    """Proof that the tree of `new_size` begins with the tree of `old_size`.

    Raises:
        ValueError: The sizes are out of order.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} cannot continue one of {old_size}")
    if old_size in (0, new_size):
        return []
    return _subproof(old_size, 0, new_size, lookup, known=True)


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _range_hash(first: int, end: int, lookup: NodeLookup) -> bytes:
    count = end - first
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return lookup((level, first >> level))
    middle = first + _split(count)
    return node_hash(_range_hash(first, middle, lookup), _range_hash(middle, end, lookup))


def _path(index: int, first: int, end: int, lookup: NodeLookup) -> list[bytes]:
    if end - first == 1:
        return []
    middle = first + _split(end - first)
    if index < middle:
        return [*_path(index, first, middle, lookup), _range_hash(middle, end, lookup)]
    return [*_path(index, middle, end, lookup), _range_hash(first, middle, lookup)]


def _subproof(
    old_end: int, first: int, end: int, lookup: NodeLookup, *, known: bool
) -> list[bytes]:
    if old_end == end:
        return [] if known else [_range_hash(first, end, lookup)]
    middle = first + _split(end - first)
    if old_end <= middle:
        below = _subproof(old_end, first, middle, lookup, known=known)
        return [*below, _range_hash(middle, end, lookup)]
    below = _subproof(old_end, middle, end, lookup, known=False)
    return [*below, _range_hash(first, middle, lookup)]
