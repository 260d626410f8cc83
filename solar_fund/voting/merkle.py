"""A Merkle tree over receipts, so that one published root commits to all ballots.

Source: RFC 6962, section 2.1 (hashes, audit paths); verification as in RFC 9162, section 2.1.3.2.
"""

import hashlib
from collections.abc import Sequence

from solar_fund.errors import ReceiptInvalid

HASH_BYTES = 32


def _leaf(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _split(size: int) -> int:
    """Return the largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root hash of the leaves in their order."""
    if not leaves:
        return hashlib.sha256().digest()
    level = [_leaf(leaf) for leaf in leaves]
    # Pairing neighbours and carrying an odd one up gives the tree that the RFC defines by splits.
    while len(level) > 1:
        paired = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def inclusion_path(leaves: Sequence[bytes], place: int) -> tuple[bytes, ...]:
    """Return the hashes that lead from one leaf to the root.

    Args:
        leaves: All leaves in their order.
        place: Which leaf, from 0.

    Raises:
        ReceiptInvalid: There is no such leaf.
    """
    if not 0 <= place < len(leaves):
        raise ReceiptInvalid(f"there is no leaf {place} among {len(leaves)}")
    if len(leaves) == 1:
        return ()
    middle = _split(len(leaves))
    if place < middle:
        return (*inclusion_path(leaves[:middle], place), merkle_root(leaves[middle:]))
    return (*inclusion_path(leaves[middle:], place - middle), merkle_root(leaves[:middle]))


def is_included(leaf: bytes, place: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Tell whether a path proves that the leaf stands at that place under the root.

    Args:
        leaf: The leaf itself, not its hash.
        place: Its place, from 0.
        size: Number of leaves under the root.
        path: What `inclusion_path` gave.
        root: The published root.
    """
    if not 0 <= place < size:
        return False
    index, last, reached = place, size - 1, _leaf(leaf)
    for sibling in path:
        if last == 0:
            return False
        if index % 2 or index == last:
            reached = _node(sibling, reached)
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            reached = _node(reached, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and reached == root
