"""Receipts: what lets a member find the own ballot in the published list.

A receipt commits to the ballot and a random nonce. At the close all ballots are published with
their nonces, sorted by receipt, so the order says nothing about who or when; anyone can compute
every receipt and the Merkle root over them. What this does not give: a member who keeps the nonce
can show a buyer how they voted, and rare rankings can be recognised.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from solar_fund.errors import BallotInvalid, ReceiptInvalid
from solar_fund.voting.merkle import inclusion_path, is_included, merkle_root

NONCE_BYTES = 16
BALLOT_BYTES_MAX = 64 * 1024
_ELECTION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


def canonical_ballot(ballot: Mapping[str, Any]) -> bytes:
    """Write a ballot in the one form that is hashed and published.

    JSON with sorted keys and no blanks. Points are whole numbers or decimal strings: floats are
    refused, because two programs may write the same float differently.

    Raises:
        BallotInvalid: It holds a float or something that is not JSON, or is too large.
    """
    _refuse_floats(ballot)
    try:
        written = json.dumps(
            ballot, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        raise BallotInvalid(f"the ballot is not plain JSON: {error}") from None
    if len(written) > BALLOT_BYTES_MAX:
        raise BallotInvalid(f"the ballot is longer than {BALLOT_BYTES_MAX} bytes")
    return written


def _refuse_floats(part: Any) -> None:
    if isinstance(part, float):
        raise BallotInvalid(f"the ballot holds the float {part}: write a whole number or a string")
    if isinstance(part, Mapping):
        for inner in part.values():
            _refuse_floats(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            _refuse_floats(inner)


def receipt_of(election_id: str, ballot: bytes, nonce: bytes) -> bytes:
    """Return SHA-256(election id | canonical ballot | nonce).

    Args:
        election_id: Letters, digits and . _ : - only, so that the parts cannot run together.
        ballot: What `canonical_ballot` gave.
        nonce: 16 random bytes, made for this ballot alone.

    Raises:
        BallotInvalid: The id or the nonce has another form.
    """
    if not _ELECTION_ID.fullmatch(election_id):
        raise BallotInvalid(f"election id {election_id!r}: use letters, digits and . _ : - only")
    if len(nonce) != NONCE_BYTES:
        raise BallotInvalid(f"the nonce has {len(nonce)} bytes instead of {NONCE_BYTES}")
    return hashlib.sha256(b"|".join((election_id.encode(), ballot, nonce.hex().encode()))).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedBallot:
    """One ballot as everyone may read it."""

    ballot: bytes
    nonce: bytes
    receipt: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionProof:
    """Proof that a receipt is under a published root."""

    receipt: bytes
    place: int
    size: int
    path: tuple[bytes, ...]
    root: bytes

    def holds(self) -> bool:
        """Tell whether the path leads from the receipt to the root."""
        return is_included(self.receipt, self.place, self.size, self.path, self.root)


@dataclass(frozen=True, slots=True, kw_only=True)
class BallotList:
    """All counted ballots, sorted by receipt, under one root."""

    election_id: str
    ballots: tuple[PublishedBallot, ...]
    root: bytes

    def prove(self, receipt: bytes) -> InclusionProof:
        """Return the proof that a receipt was counted.

        Raises:
            ReceiptInvalid: It was not; a later ballot of the same member may have replaced it.
        """
        leaves = [ballot.receipt for ballot in self.ballots]
        if receipt not in leaves:
            raise ReceiptInvalid(
                f"receipt {receipt.hex()} is not in election {self.election_id}: "
                "a later ballot of yours replaces an earlier one, so try your last receipt"
            )
        place = leaves.index(receipt)
        return InclusionProof(
            receipt=receipt,
            place=place,
            size=len(leaves),
            path=inclusion_path(leaves, place),
            root=self.root,
        )


def publish(election_id: str, ballots: Iterable[tuple[bytes, bytes]]) -> BallotList:
    """Sort ballots by receipt and compute the root over them.

    Args:
        election_id: Which election.
        ballots: (canonical ballot, nonce) of every ballot that counts.

    Raises:
        BallotInvalid: A nonce has another length, or two ballots share a receipt.
    """
    listed = sorted(
        (
            PublishedBallot(ballot=b, nonce=nonce, receipt=receipt_of(election_id, b, nonce))
            for b, nonce in ballots
        ),
        key=lambda published: published.receipt,
    )
    receipts = [published.receipt for published in listed]
    if len(set(receipts)) != len(receipts):
        raise BallotInvalid(
            f"election {election_id}: two ballots share a receipt, so a nonce was used twice"
        )
    return BallotList(election_id=election_id, ballots=tuple(listed), root=merkle_root(receipts))
