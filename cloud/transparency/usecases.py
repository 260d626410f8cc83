"""Writing to the transparency log, and showing what is in it.

An entry is canonical JSON: `{"at": …, "facts": {…}, "kind": …}`. Facts hold ids, hashes, counts
and times. Whatever could point to a person goes in as `SHA-256(salt || value)` by `commit_to`; the
salt lives beside the log and dies with the erasure.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from cloud.errors import NotFound
from cloud.transparency import merkle, repository
from gateway.wire.log_proof import Checkpoint, leaf_hash, write_checkpoint

KIND = re.compile(r"[a-z_]{1,30}\.[a-z_]{1,30}")
ENTRY_BYTES_MAX = 16_384
SALT_BYTES = 32

Fact = str | int | bool | None | list[str] | list[int] | Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """That an entry is in the log.

    Args:
        index: Place of the entry.
        size: Size of the log it is proved for.
        entry: The entry, the leaf as it is.
        hashes: Audit path, lowest level first.
    """

    index: int
    size: int
    entry: str
    hashes: tuple[bytes, ...]


def canonical_json(document: Mapping[str, object]) -> str:
    """One way to write a document: keys sorted, no spaces, no floats."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def record(connection: Connection, *, kind: str, facts: Mapping[str, Fact], at: datetime) -> int:
    """Add an entry in the caller's transaction.

    Args:
        connection: A transaction that may write.
        kind: What happened, as `subject.event`.
        facts: Ids, hashes, counts and times; nothing that points to a person, see `commit_to`.
        at: When, aware.

    Returns:
        The entry's index.

    Raises:
        ValueError: The kind is no `subject.event`, or the entry is too long.
    """
    if not KIND.fullmatch(kind):
        raise ValueError(f"kind {kind!r} is not of the form subject.event")
    moment = at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    entry = canonical_json({"at": moment, "facts": facts, "kind": kind})
    if len(entry.encode()) > ENTRY_BYTES_MAX:
        raise ValueError(f"a log entry may take {ENTRY_BYTES_MAX} bytes; give a hash instead")
    index = repository.log_size(connection)
    nodes = merkle.nodes_completed_by(
        index, leaf_hash(entry.encode()), lambda node: repository.node_at(connection, node)
    )
    repository.insert_entry(connection, index=index, kind=kind, at=at, entry=entry)
    repository.insert_nodes(connection, nodes)
    return index


def commit_to(connection: Connection, *, subject: str, value: str) -> str:
    """Make a salted commitment to a value, for use in `facts`; keep what opens it.

    Args:
        connection: A transaction that may write.
        subject: Whose erasure shall delete the salt, such as a household's pseudonym.
        value: What is committed to.

    Returns:
        SHA-256 over salt and value, hex.
    """
    salt = secrets.token_bytes(SALT_BYTES)
    commitment = hashlib.sha256(salt + value.encode()).hexdigest()
    repository.insert_commitment(
        connection, commitment=commitment, subject=subject, salt=salt.hex(), committed=value
    )
    return commitment


def checkpoint_now(connection: Connection, *, origin: str, key: Ed25519PrivateKey) -> str:
    """Sign the log as it is: a note with origin, size and root.

    Only call it on committed state, so that no checkpoint names an entry that was rolled back.
    """
    size = repository.log_size(connection)
    root = merkle.root_of(size, lambda node: repository.node_at(connection, node))
    return write_checkpoint(Checkpoint(origin=origin, size=size, root=root), key)


def prove_inclusion(connection: Connection, index: int, size: int | None = None) -> InclusionProof:
    """Prove that an entry is in the log of a size, or of now.

    Raises:
        NotFound: There is no such entry, or the log is not that long.
    """
    now_size = repository.log_size(connection)
    size = now_size if size is None else size
    if not 0 <= index < size <= now_size:
        raise NotFound(f"log entry {index} in a log of {size}")
    hashes = merkle.inclusion_proof(index, size, lambda node: repository.node_at(connection, node))
    entry = repository.entries_from(connection, first=index, count=1)[0]
    return InclusionProof(index=index, size=size, entry=entry.entry, hashes=tuple(hashes))


def prove_consistency(
    connection: Connection, old_size: int, new_size: int | None = None
) -> tuple[bytes, ...]:
    """Prove that the log of one size begins with the log of a smaller one.

    Raises:
        NotFound: The log is not that long.
    """
    now_size = repository.log_size(connection)
    new_size = now_size if new_size is None else new_size
    if not 0 <= old_size <= new_size <= now_size:
        raise NotFound(f"proof from size {old_size} to {new_size} in a log of {now_size}")
    return tuple(
        merkle.consistency_proof(
            old_size, new_size, lambda node: repository.node_at(connection, node)
        )
    )


def write_proof_file(proof: InclusionProof, checkpoint: str) -> str:
    """Write an inclusion proof as a self-contained text file.

    Source: C2SP tlog-proof v1.
    """
    hashes = "".join(base64.b64encode(item).decode() + "\n" for item in proof.hashes)
    return f"c2sp.org/tlog-proof@v1\nindex {proof.index}\n{hashes}\n{checkpoint}"
