"""The log's tree against RFC 6962's definition, and against every attack we can think of."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.transparency import merkle
from gateway.wire.errors import BadLogProof
from gateway.wire.log_proof import (
    EMPTY_ROOT,
    Checkpoint,
    check_consistency,
    check_inclusion,
    leaf_hash,
)


def root_by_definition(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, written down as it stands there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = root_by_definition(leaves[:split]), root_by_definition(leaves[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def stored_tree(leaves: list[bytes]) -> dict[merkle.Node, bytes]:
    nodes: dict[merkle.Node, bytes] = {}
    for index, leaf in enumerate(leaves):
        nodes.update(merkle.nodes_completed_by(index, leaf_hash(leaf), nodes.__getitem__))
    return nodes


def numbered(count: int) -> list[bytes]:
    return [f"entry {index}".encode() for index in range(count)]


def test_certificate_transparency_vectors_give_their_root():
    leaves = [
        bytes.fromhex(text)
        for text in (
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        )
    ]
    root = merkle.root_of(8, stored_tree(leaves).__getitem__)
    assert root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("size", range(18))
def test_every_root_is_that_of_the_definition(size):
    leaves = numbered(17)
    root = merkle.root_of(size, stored_tree(leaves).__getitem__)
    assert root == root_by_definition(leaves[:size])
    assert size > 0 or root == EMPTY_ROOT


@given(st.data())
def test_every_entry_is_provably_in_every_later_log(data):
    size = data.draw(st.integers(1, 70))
    index = data.draw(st.integers(0, size - 1))
    leaves = numbered(size)
    nodes = stored_tree(leaves)
    root = merkle.root_of(size, nodes.__getitem__)
    proof = merkle.inclusion_proof(index, size, nodes.__getitem__)
    leaf = leaf_hash(leaves[index])
    check_inclusion(root=root, size=size, index=index, leaf=leaf, proof=proof)
    with pytest.raises(BadLogProof):
        check_inclusion(root=root, size=size, index=index, leaf=leaf_hash(b"x"), proof=proof)
    if proof:
        with pytest.raises(BadLogProof):
            check_inclusion(root=root, size=size, index=index, leaf=leaf, proof=proof[:-1])
        with pytest.raises(BadLogProof):
            check_inclusion(root=root, size=size, index=index ^ 1, leaf=leaf, proof=proof)


@given(st.data())
def test_every_later_log_provably_contains_every_earlier_one(data):
    new_size = data.draw(st.integers(0, 70))
    old_size = data.draw(st.integers(0, new_size))
    nodes = stored_tree(numbered(new_size))
    old, new = (
        Checkpoint(origin="log", size=size, root=merkle.root_of(size, nodes.__getitem__))
        for size in (old_size, new_size)
    )
    proof = merkle.consistency_proof(old_size, new_size, nodes.__getitem__)
    check_consistency(old=old, new=new, proof=proof)


@given(st.data())
def test_a_rewritten_past_has_no_consistency_proof(data):
    new_size = data.draw(st.integers(2, 40))
    old_size = data.draw(st.integers(1, new_size - 1))
    rewritten = data.draw(st.integers(0, old_size - 1))
    honest = numbered(new_size)
    forged = [b"forged" if place == rewritten else leaf for place, leaf in enumerate(honest)]
    honest_nodes, forged_nodes = stored_tree(honest), stored_tree(forged)
    old = Checkpoint(
        origin="log", size=old_size, root=merkle.root_of(old_size, honest_nodes.__getitem__)
    )
    new = Checkpoint(
        origin="log", size=new_size, root=merkle.root_of(new_size, forged_nodes.__getitem__)
    )
    for nodes in (honest_nodes, forged_nodes):
        proof = merkle.consistency_proof(old_size, new_size, nodes.__getitem__)
        with pytest.raises(BadLogProof):
            check_consistency(old=old, new=new, proof=proof)


def test_an_inner_node_cannot_pass_as_an_entry():
    leaves = numbered(2)
    nodes = stored_tree(leaves)
    pair = nodes[0, 0] + nodes[0, 1]
    assert leaf_hash(pair) != merkle.root_of(2, nodes.__getitem__)
