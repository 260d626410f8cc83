"""Signatures count for one kind of message; proofs of the log hold for honest logs only."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.errors import BadLogProof, BadSignature, MalformedMessage
from gateway.wire.log_proof import (
    EMPTY_ROOT,
    Checkpoint,
    check_consistency,
    check_inclusion,
    leaf_hash,
    read_checkpoint,
    write_checkpoint,
)
from gateway.wire.signing import (
    DOMAIN_BATCH,
    DOMAIN_CONSENT,
    check_signature,
    key_id_of,
    open_message,
    public_bytes,
    public_key_from_text,
    public_key_to_text,
    sign_message,
    signature_of,
)
from tests.gateway.fake_coop import consistency_of, root_of

# The eight leaves of the Certificate Transparency test suite (RFC 6962 reference code).
CT_LEAVES = [
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
CT_ROOT = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
ORIGIN = "log.coop.test"


def inclusion_of(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 audit path, by its definition."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*inclusion_of(index, leaves[:split]), root_of(leaves[split:])]
    return [*inclusion_of(index - split, leaves[split:]), root_of(leaves[:split])]


def log(size: int, salt: str = "") -> list[bytes]:
    return [leaf_hash(f"{salt}{place}".encode()) for place in range(size)]


def state(leaves: list[bytes]) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=len(leaves), root=root_of(leaves))


def test_roots_are_those_of_the_published_test_suite() -> None:
    assert root_of([leaf_hash(leaf) for leaf in CT_LEAVES]).hex() == CT_ROOT
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT


@given(st.integers(1, 70), st.data())
@settings(deadline=None)
def test_every_entry_of_an_honest_log_can_be_shown_and_no_other(size: int, data) -> None:
    leaves = log(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_of(index, leaves)
    where = {"root": root_of(leaves), "size": size}
    check_inclusion(**where, index=index, leaf=leaves[index], proof=proof)
    wrong = [
        {"index": index, "leaf": leaf_hash(b"other"), "proof": proof},
        {"index": size, "leaf": leaves[index], "proof": proof},
        {"index": -1, "leaf": leaves[index], "proof": proof},
        {"index": index, "leaf": leaves[index], "proof": [*proof, b"\0" * 32]},
    ]
    if proof:
        wrong.append({"index": index, "leaf": leaves[index], "proof": proof[:-1]})
        wrong.append({"index": index, "leaf": leaves[index], "proof": [b"\0" * 31, *proof[1:]]})
    for each in wrong:
        with pytest.raises(BadLogProof):
            check_inclusion(**where, **each)


@given(st.integers(0, 70), st.integers(0, 70))
@settings(deadline=None)
def test_a_log_that_grew_is_consistent_and_a_rewritten_one_is_not(one: int, other: int) -> None:
    small, large = sorted((one, other))
    leaves = log(large)
    proof = consistency_of(small, leaves) if large else []
    check_consistency(old=state(leaves[:small]), new=state(leaves), proof=proof)
    if small:
        with pytest.raises(BadLogProof):
            check_consistency(old=state(log(small, "x")), new=state(leaves), proof=proof)
    if small < large:
        with pytest.raises(BadLogProof):
            check_consistency(old=state(leaves), new=state(leaves[:small]), proof=proof)
        with pytest.raises(BadLogProof):
            check_consistency(
                old=state(leaves[:small]), new=state(leaves), proof=[*proof, b"\1" * 32]
            )


def test_another_logs_checkpoint_is_no_successor() -> None:
    other = Checkpoint(origin="elsewhere", size=1, root=b"\0" * 32)
    with pytest.raises(BadLogProof, match="not 'log"):
        check_consistency(old=state(log(1)), new=other, proof=[])


def test_a_checkpoint_is_read_back_only_under_its_own_name_and_key() -> None:
    key, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    note = write_checkpoint(state(log(5)), key)
    assert read_checkpoint(note, origin=ORIGIN, public_key=public_bytes(key)) == state(log(5))
    for wrong, public in (
        (note, public_bytes(stranger)),
        (note.replace("\n5\n", "\n6\n"), public_bytes(key)),
        (note.replace("\n5\n", "\n05\n"), public_bytes(key)),
        (note.replace(ORIGIN, "elsewhere"), public_bytes(key)),
        (note.partition("\n\n")[0], public_bytes(key)),
        ("x" * 20_000, public_bytes(key)),
    ):
        with pytest.raises(BadLogProof):
            read_checkpoint(wrong, origin=ORIGIN, public_key=public)


def test_unknown_signatures_beside_ours_do_no_harm() -> None:
    key, witness = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    note = write_checkpoint(state(log(5)), key)
    other = write_checkpoint(state(log(5)), witness).rpartition("\n\n")[2]
    both = note + other.replace(ORIGIN, "witness.test")
    assert read_checkpoint(both, origin=ORIGIN, public_key=public_bytes(key)).size == 5


@given(st.binary(max_size=200), st.integers(0, 63))
def test_one_changed_bit_breaks_a_signature(payload: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.generate()
    good = signature_of(key, DOMAIN_BATCH, payload)
    check_signature(public_bytes(key), DOMAIN_BATCH, payload, good)
    raw = bytearray(base64.b64decode(good))
    raw[bit] ^= 1
    for domain, message, signature in (
        (DOMAIN_CONSENT, payload, good),
        (DOMAIN_BATCH, payload + b"\0", good),
        (DOMAIN_BATCH, payload, base64.b64encode(bytes(raw)).decode()),
        (DOMAIN_BATCH, payload, "no base64!"),
        (DOMAIN_BATCH, payload, ""),
    ):
        with pytest.raises(BadSignature):
            check_signature(public_bytes(key), domain, message, signature)


def test_a_message_opens_only_for_the_key_it_names() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    message = sign_message(key, DOMAIN_CONSENT, b'{"a":1}')
    assert open_message(message, DOMAIN_CONSENT, public_bytes(key)) == b'{"a":1}'
    with pytest.raises(BadSignature):
        open_message(message, DOMAIN_CONSENT, public_bytes(other))


def test_keys_travel_as_text_and_nonsense_is_no_key() -> None:
    key = public_bytes(Ed25519PrivateKey.generate())
    assert public_key_from_text(public_key_to_text(key)) == key
    assert len(key_id_of(key)) == 32
    for wrong in ("", "AAAA", "!" * 44, base64.b64encode(b"x" * 31).decode()):
        with pytest.raises(MalformedMessage):
            public_key_from_text(wrong)
