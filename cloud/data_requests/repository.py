"""Tables of proposals, reviews, opt-outs and frozen cohorts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from cloud.data_requests.proposal import Review, State
from cloud.database import UtcTime, metadata

proposals = Table(
    "data_proposals",
    metadata,
    Column("proposal_id", String(64), primary_key=True),
    Column("requester", ForeignKey("people.person_id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("submitted_at", UtcTime, nullable=False),
    Column("notice_from", UtcTime),
    Column("cohort_root", String(64)),
    Column("cohort_size", Integer),
    Column("output_sha256", String(64)),
    # No foreign key: SQLite would have to make the table anew to add one.
    Column("election_id", String(64)),
    Column("refusal", Text),
    Column("release_no", Integer),
    Column("fee_booked_at", UtcTime),
)

reviews = Table(
    "data_proposal_reviews",
    metadata,
    Column("proposal_id", ForeignKey("data_proposals.proposal_id"), primary_key=True),
    Column("person_id", ForeignKey("people.person_id"), primary_key=True),
    Column("is_for", Boolean, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
)

opt_outs = Table(
    "data_proposal_opt_outs",
    metadata,
    Column("proposal_id", ForeignKey("data_proposals.proposal_id"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

cohort = Table(
    "data_proposal_cohort",
    metadata,
    Column("proposal_id", ForeignKey("data_proposals.proposal_id"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("commitment", String(64), nullable=False),
)

signatures = Table(
    "data_proposal_signatures",
    metadata,
    Column("proposal_id", ForeignKey("data_proposals.proposal_id"), primary_key=True),
    Column("person_id", ForeignKey("people.person_id"), primary_key=True),
    Column("at", UtcTime, nullable=False),
)

results = Table(
    "data_proposal_results",
    metadata,
    Column("proposal_id", ForeignKey("data_proposals.proposal_id"), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredProposal:
    """A proposal on record.

    Args:
        proposal_id: Which.
        requester: Person id of whoever proposed it.
        text: JSON of a `ProposalText`.
        text_sha256: Its hash, as logged.
        state: How far it is.
        submitted_at: When it came.
        notice_from: Since when members are told.
        cohort_root: Root over the frozen cohort, hex.
        cohort_size: Homes in it.
        output_sha256: Hash of the released result, hex.
        election_id: The members' vote on it.
        refusal: Why the privacy floor refused a release, in words.
        release_no: The release on record.
        fee_booked_at: When its fee went into the books.
    """

    proposal_id: str
    requester: str
    text: str
    text_sha256: str
    state: State
    submitted_at: datetime
    notice_from: datetime | None = None
    cohort_root: str | None = None
    cohort_size: int | None = None
    output_sha256: str | None = None
    election_id: str | None = None
    refusal: str | None = None
    release_no: int | None = None
    fee_booked_at: datetime | None = None


def insert_proposal(connection: Connection, proposal: StoredProposal) -> None:
    """Add a proposal."""
    connection.execute(
        proposals.insert().values(
            proposal_id=proposal.proposal_id,
            requester=proposal.requester,
            text=proposal.text,
            text_sha256=proposal.text_sha256,
            state=proposal.state.value,
            submitted_at=proposal.submitted_at,
        )
    )


def proposal_row(connection: Connection, proposal_id: str) -> StoredProposal | None:
    """Find a proposal."""
    row = connection.execute(
        select(proposals).where(proposals.c.proposal_id == proposal_id)
    ).one_or_none()
    return None if row is None else _proposal(row)


def all_proposals(connection: Connection) -> list[StoredProposal]:
    """All proposals, newest first."""
    rows = connection.execute(
        select(proposals).order_by(proposals.c.submitted_at.desc(), proposals.c.proposal_id)
    )
    return [_proposal(row) for row in rows]


def proposal_of_release(connection: Connection, release_no: int) -> StoredProposal | None:
    """The proposal a release was made for."""
    row = connection.execute(
        select(proposals).where(proposals.c.release_no == release_no)
    ).one_or_none()
    return None if row is None else _proposal(row)


def note(connection: Connection, proposal_id: str, **facts: object) -> None:
    """Note something that is no step."""
    connection.execute(
        update(proposals).where(proposals.c.proposal_id == proposal_id).values(**facts)
    )


def put_signature(connection: Connection, proposal_id: str, person_id: str, at: datetime) -> None:
    """Keep a signature for a release, once per person."""
    if person_id in signed_by(connection, proposal_id):
        return
    connection.execute(
        signatures.insert().values(proposal_id=proposal_id, person_id=person_id, at=at)
    )


def signed_by(connection: Connection, proposal_id: str) -> tuple[str, ...]:
    """Who signed for a release, in order."""
    return tuple(
        connection.scalars(
            select(signatures.c.person_id)
            .where(signatures.c.proposal_id == proposal_id)
            .order_by(signatures.c.at, signatures.c.person_id)
        )
    )


def insert_result(connection: Connection, proposal_id: str, content: bytes) -> None:
    """Keep what was released."""
    connection.execute(results.insert().values(proposal_id=proposal_id, content=content))


def result_of(connection: Connection, proposal_id: str) -> bytes | None:
    """What was released."""
    content = connection.scalar(
        select(results.c.content).where(results.c.proposal_id == proposal_id)
    )
    return None if content is None else bytes(content)


def set_state(connection: Connection, proposal_id: str, state: State, **facts: object) -> None:
    """Note a step, with what came of it."""
    connection.execute(
        update(proposals)
        .where(proposals.c.proposal_id == proposal_id)
        .values(state=state.value, **facts)
    )


def put_review(connection: Connection, proposal_id: str, review: Review, at: datetime) -> None:
    """Keep a review, in place of an earlier one of the same person."""
    connection.execute(
        delete(reviews).where(
            reviews.c.proposal_id == proposal_id, reviews.c.person_id == review.person_id
        )
    )
    connection.execute(
        reviews.insert().values(
            proposal_id=proposal_id,
            person_id=review.person_id,
            is_for=review.is_for,
            reasons=review.reasons,
            at=at,
        )
    )


def reviews_of(connection: Connection, proposal_id: str) -> tuple[Review, ...]:
    """Reviews of a proposal, oldest first."""
    rows = connection.execute(
        select(reviews).where(reviews.c.proposal_id == proposal_id).order_by(reviews.c.at)
    )
    return tuple(
        Review(person_id=row.person_id, is_for=row.is_for, reasons=row.reasons) for row in rows
    )


def put_opt_out(connection: Connection, proposal_id: str, household: str, at: datetime) -> None:
    """Leave a home out, once or again."""
    take_opt_out(connection, proposal_id, household)
    connection.execute(
        opt_outs.insert().values(proposal_id=proposal_id, household=household, at=at)
    )


def take_opt_out(connection: Connection, proposal_id: str, household: str) -> None:
    """Take a home in again."""
    connection.execute(
        delete(opt_outs).where(
            opt_outs.c.proposal_id == proposal_id, opt_outs.c.household == household
        )
    )


def opted_out(connection: Connection, proposal_id: str) -> frozenset[str]:
    """Homes that are left out."""
    return frozenset(
        connection.scalars(
            select(opt_outs.c.household).where(opt_outs.c.proposal_id == proposal_id)
        )
    )


def insert_cohort(connection: Connection, proposal_id: str, commitments: dict[str, str]) -> None:
    """Keep a frozen cohort: commitment by household."""
    rows = [
        {"proposal_id": proposal_id, "household": household, "commitment": commitment}
        for household, commitment in commitments.items()
    ]
    connection.execute(cohort.insert(), rows)


def cohort_of(connection: Connection, proposal_id: str) -> list[str]:
    """Homes of a frozen cohort, sorted."""
    return list(
        connection.scalars(
            select(cohort.c.household)
            .where(cohort.c.proposal_id == proposal_id)
            .order_by(cohort.c.household)
        )
    )


def forget_household(connection: Connection, household: str, now: datetime) -> int:
    """Take a home out of opt-outs and cohorts; the logged root stays."""
    del now
    gone = connection.execute(delete(opt_outs).where(opt_outs.c.household == household)).rowcount
    gone += connection.execute(delete(cohort).where(cohort.c.household == household)).rowcount
    return gone


def _proposal(row: Row[tuple[object, ...]]) -> StoredProposal:
    return StoredProposal(
        proposal_id=row.proposal_id,
        requester=row.requester,
        text=row.text,
        text_sha256=row.text_sha256,
        state=State(row.state),
        submitted_at=row.submitted_at,
        notice_from=row.notice_from,
        cohort_root=row.cohort_root,
        cohort_size=row.cohort_size,
        output_sha256=row.output_sha256,
        election_id=row.election_id,
        refusal=row.refusal,
        release_no=row.release_no,
        fee_booked_at=row.fee_booked_at,
    )
