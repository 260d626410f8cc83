"""One root over a period's records, and proofs that a record is under it.

The root is published when a period closes. A member who holds a record's body and its proof can
check it against the published root without seeing anybody else's records.

Source: RFC 6962, section 2.1, with the record's body as the leaf.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from solar_fund.errors import EntryUnknown
from solar_fund.ledger.tables import JOURNAL
from solar_fund.voting.merkle import inclusion_path, is_included, merkle_root


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRoot:
    """The root over the records from one number to another, both included."""

    first_seq: int
    last_seq: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordProof:
    """A record with the hashes that lead from it to the period's root, in hexadecimal."""

    seq: int
    body: str
    period: PeriodRoot
    path: tuple[str, ...]


def period_root(connection: Connection, first_seq: int, last_seq: int) -> PeriodRoot:
    """The root over a run of records.

    Raises:
        EntryUnknown: One of the two ends does not exist.
    """
    leaves = _leaves(connection, first_seq, last_seq)
    return PeriodRoot(first_seq=first_seq, last_seq=last_seq, root=merkle_root(leaves).hex())


def record_proof(connection: Connection, seq: int, first_seq: int, last_seq: int) -> RecordProof:
    """The proof that a record stands in a period.

    Raises:
        EntryUnknown: The record or an end of the period does not exist.
    """
    leaves = _leaves(connection, first_seq, last_seq)
    if not first_seq <= seq <= last_seq:
        raise EntryUnknown(seq, f"record between {first_seq} and {last_seq}")
    place = seq - first_seq
    root = merkle_root(leaves).hex()
    return RecordProof(
        seq=seq,
        body=leaves[place].decode(),
        period=PeriodRoot(first_seq=first_seq, last_seq=last_seq, root=root),
        path=tuple(node.hex() for node in inclusion_path(leaves, place)),
    )


def proof_holds(proof: RecordProof, published_root: str) -> bool:
    """Whether a record stands under a published root."""
    return is_included(
        proof.body.encode(),
        proof.seq - proof.period.first_seq,
        proof.period.last_seq - proof.period.first_seq + 1,
        [bytes.fromhex(node) for node in proof.path],
        bytes.fromhex(published_root),
    )


def _leaves(connection: Connection, first_seq: int, last_seq: int) -> list[bytes]:
    rows = connection.execute(
        select(JOURNAL.c.body)
        .where(JOURNAL.c.seq.between(first_seq, last_seq))
        .order_by(JOURNAL.c.seq)
    )
    leaves = [row.body.encode() for row in rows]
    if first_seq < 1 or len(leaves) != last_seq - first_seq + 1 or not leaves:
        raise EntryUnknown(last_seq, f"last record of a run that begins at {first_seq}")
    return leaves
