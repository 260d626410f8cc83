"""Checks of the transparency log that a gateway, a member or an auditor makes alone.

The log is a Merkle tree. A checkpoint is a signed note: origin, size and root hash. Two
checkpoints of an honest log are consistent, and each entry is included in the later one.

Source: RFC 6962 section 2.1; C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.wire.errors import BadLogProof

EMPTY_ROOT = hashlib.sha256(b"").digest()
NOTE_BYTES_MAX = 16_384
PROOF_HASHES_MAX = 128
_ED25519 = b"\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State of a log.

    Args:
        origin: The log's name.
        size: Number of entries.
        root: Root hash of the tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry as a leaf."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def check_inclusion(
    *, root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]
) -> None:
    """Check that a leaf is entry `index` of the log with this size and root.

    Args:
        root: Root hash of the checkpoint.
        size: Its number of entries.
        index: Zero-based place of the entry.
        leaf: `leaf_hash` of the entry.
        proof: Audit path, lowest level first.

    Raises:
        BadLogProof: It is not, or the proof does not show it.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        raise BadLogProof(problem=f"entry {index} is not within a log of {size}")
    node, last, running = index, size - 1, leaf
    for sibling in _bounded(proof):
        if last == 0:
            raise BadLogProof(problem="the inclusion proof is too long")
        if node & 1 or node == last:
            running = node_hash(sibling, running)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            running = node_hash(running, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or running != root:
        raise BadLogProof(problem=f"entry {index} is not shown to be in the log of {size}")


def check_consistency(*, old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that the new log only added to the old one.

    Args:
        old: The checkpoint kept from last time.
        new: The checkpoint now shown.
        proof: Consistency proof from the old size to the new.

    Raises:
        BadLogProof: Another log, a shrunken log, or a rewritten past.

    Source: RFC 9162 section 2.1.4.2.
    """
    if old.origin != new.origin:
        raise BadLogProof(problem=f"this is log {new.origin!r}, not {old.origin!r}")
    if new.size < old.size:
        raise BadLogProof(problem=f"it shrank from {old.size} entries to {new.size}")
    if old.size == new.size:
        if old.root != new.root or proof:
            raise BadLogProof(problem=f"two different logs of {old.size} entries: a fork")
        return
    if old.size == 0:
        if proof:
            raise BadLogProof(problem="nothing needs proof after an empty log")
        return
    _check_growth(old, new, list(_bounded(proof)))


def _check_growth(old: Checkpoint, new: Checkpoint, hashes: list[bytes]) -> None:
    if old.size & (old.size - 1) == 0:
        hashes.insert(0, old.root)
    if not hashes:
        raise BadLogProof(problem="the consistency proof is missing")
    node, last = old.size - 1, new.size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old_running = new_running = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise BadLogProof(problem="the consistency proof is too long")
        if node & 1 or node == last:
            old_running = node_hash(sibling, old_running)
            new_running = node_hash(sibling, new_running)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_running = node_hash(new_running, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or old_running != old.root or new_running != new.root:
        raise BadLogProof(
            problem=f"the log of {new.size} does not contain the log of {old.size} seen before: a fork"
        )


def write_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """Write a checkpoint as a signed note whose key name is the origin."""
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    public = key.public_key().public_bytes_raw()
    signature = note_key_hash(checkpoint.origin, public) + key.sign(body.encode())
    return f"{body}\n— {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def read_checkpoint(note: str, *, origin: str, public_key: bytes) -> Checkpoint:
    """Read a checkpoint and check that the log's own key signed it.

    Args:
        note: The signed note.
        origin: The log's name as pinned.
        public_key: The log's 32-byte key as pinned.

    Raises:
        BadLogProof: Not a checkpoint of this log, or not signed by its key.
    """
    if len(note) > NOTE_BYTES_MAX:
        raise BadLogProof(problem="the checkpoint is far too long")
    body, separator, signatures = note.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) < 3 or lines[0] != origin:
        raise BadLogProof(problem=f"not a checkpoint of {origin!r}")
    _check_note_signature(f"{body}\n".encode(), signatures, origin, public_key)
    if not lines[1].isdecimal() or (lines[1] != "0" and lines[1].startswith("0")):
        raise BadLogProof(problem="the checkpoint's size is no plain number")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except binascii.Error as fault:
        raise BadLogProof(problem="the checkpoint's root is no base64") from fault
    if len(root) != 32:
        raise BadLogProof(problem="the checkpoint's root is not 32 bytes")
    return Checkpoint(origin=origin, size=int(lines[1]), root=root)


def note_key_hash(name: str, public_key: bytes) -> bytes:
    """First 4 bytes that name a key in a signed note."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def _check_note_signature(body: bytes, signatures: str, origin: str, public_key: bytes) -> None:
    expected = note_key_hash(origin, public_key)
    for line in signatures.split("\n"):
        if not line.startswith(f"— {origin} "):
            continue
        try:
            raw = base64.b64decode(line.rsplit(" ", 1)[1], validate=True)
        except binascii.Error:
            continue
        if raw[:4] != expected:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(raw[4:], body)
        except InvalidSignature:
            break
        return
    raise BadLogProof(problem=f"no valid signature of {origin!r} under the checkpoint")


def _bounded(proof: Sequence[bytes]) -> Sequence[bytes]:
    if len(proof) > PROOF_HASHES_MAX or any(len(item) != 32 for item in proof):
        raise BadLogProof(problem="the proof holds something that is no hash, or too many")
    return proof
