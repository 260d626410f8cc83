"""Tables of votes of all kinds. The roll and the ballot box have no column in common.

The roll knows which home was given a voting token, the box knows ballots by the hash of a token.
Neither holds a time or a number that would match the two; see SECURITY.md for what stays possible
for whoever runs the server while a vote is open.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    func,
    select,
    update,
)

from cloud.database import UtcTime, metadata

elections = Table(
    "elections",
    metadata,
    Column("election_id", String(64), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("opens_at", UtcTime, nullable=False),
    Column("closes_at", UtcTime, nullable=False),
    Column("budget_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("quorum", Integer, nullable=False),
    Column("roll_size", Integer, nullable=False),
    Column("lot_text", Text, nullable=False),
    Column("closed_at", UtcTime),
    Column("result_text", Text),
    Column("ballots_root", String(64)),
    Column("kind", String(16), nullable=False, server_default="projects"),
    Column("lot_seed", Text, nullable=False, server_default=""),
    Column("record_at", UtcTime),
    Column("paper_text", Text),
)

election_projects = Table(
    "election_projects",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("project_id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("cost_minor", BigInteger, nullable=False),
    Column("facts_text", Text, nullable=False),
    Column("position", Integer, nullable=False),
)

election_roll = Table(
    "election_roll",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("household", ForeignKey("households.household"), primary_key=True),
    Column("token_issued", Boolean, nullable=False),
)

ballot_box = Table(
    "ballot_box",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("token_hash", String(64), primary_key=True),
    Column("ballot", Text, nullable=False),
    Column("nonce", String(32), nullable=False),
    Column("receipt", String(64), nullable=False),
)

published_votes = Table(
    "published_votes",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
)

PROJECTS, POLICY, SLATE = "projects", "policy", "slate"
"""Kinds of votes, as in the published file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project on the ballot paper.

    Args:
        project_id: Short name.
        name: Title for people.
        cost_minor: What it takes from the fund [minor units].
        facts: The appraisal and the words for the card, as JSON values.
    """

    project_id: str
    name: str
    cost_minor: int
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionRow:
    """A vote on projects, a policy or a slate.

    Args:
        election_id: Its name in addresses.
        title: As people call it.
        opens_at: From when on ballots are taken.
        closes_at: Until when.
        budget_minor: What there is to spend, 0 where nothing is spent [minor units].
        currency: ISO 4217 code.
        quorum: Ballots needed for a result that binds.
        roll_size: Homes that may vote.
        lot: What may tie, in the order drawn before the count; empty to draw it at the opening.
        closed_at: When it was counted.
        result: The count, as JSON values.
        ballots_root: Merkle root over the published ballots, hex.
        kind: `projects`, `policy` or `slate`.
        lot_seed: What the lot was drawn from; empty if it was drawn in another way.
        record_at: The record date of the roll.
        paper: `question` and `rule` as they will be published; projects have a paper of their own.
    """

    election_id: str
    title: str
    opens_at: datetime
    closes_at: datetime
    budget_minor: int
    currency: str
    quorum: int
    roll_size: int
    lot: tuple[str, ...] = ()
    closed_at: datetime | None = None
    result: dict[str, Any] | None = None
    ballots_root: str | None = None
    kind: str = PROJECTS
    lot_seed: str = ""
    record_at: datetime | None = None
    paper: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BallotRow:
    """A ballot in the box."""

    ballot: bytes
    nonce: bytes
    receipt: str


def insert_election(
    connection: Connection,
    election: ElectionRow,
    projects: list[Project],
    roll: list[str],
) -> None:
    """Add a vote with its paper and its roll."""
    connection.execute(
        elections.insert().values(
            election_id=election.election_id,
            title=election.title,
            opens_at=election.opens_at,
            closes_at=election.closes_at,
            budget_minor=election.budget_minor,
            currency=election.currency,
            quorum=election.quorum,
            roll_size=election.roll_size,
            lot_text=json.dumps(election.lot),
            kind=election.kind,
            lot_seed=election.lot_seed,
            record_at=election.record_at,
            paper_text=None if election.paper is None else json.dumps(election.paper),
        )
    )
    if projects:
        connection.execute(
            election_projects.insert(),
            [
                {
                    "election_id": election.election_id,
                    "project_id": project.project_id,
                    "name": project.name,
                    "cost_minor": project.cost_minor,
                    "facts_text": json.dumps(project.facts),
                    "position": position,
                }
                for position, project in enumerate(projects)
            ],
        )
    connection.execute(
        election_roll.insert(),
        [
            {"election_id": election.election_id, "household": home, "token_issued": False}
            for home in roll
        ],
    )


def election_row(connection: Connection, election_id: str) -> ElectionRow | None:
    """Find a vote."""
    row = connection.execute(
        select(elections).where(elections.c.election_id == election_id)
    ).one_or_none()
    return None if row is None else _election(row)


def all_elections(connection: Connection) -> list[ElectionRow]:
    """All votes, the one that closes last first."""
    return [
        _election(row)
        for row in connection.execute(select(elections).order_by(elections.c.closes_at.desc()))
    ]


def projects_of(connection: Connection, election_id: str) -> list[Project]:
    """The ballot paper in its own order."""
    rows = connection.execute(
        select(election_projects)
        .where(election_projects.c.election_id == election_id)
        .order_by(election_projects.c.position)
    )
    return [
        Project(
            project_id=row.project_id,
            name=row.name,
            cost_minor=row.cost_minor,
            facts=json.loads(row.facts_text),
        )
        for row in rows
    ]


def token_issued(connection: Connection, election_id: str, household: str) -> bool | None:
    """Whether a home was given its token; None if it is not on the roll."""
    return connection.scalar(
        select(election_roll.c.token_issued).where(
            election_roll.c.election_id == election_id, election_roll.c.household == household
        )
    )


def mark_token_issued(connection: Connection, election_id: str, household: str) -> None:
    """Note that a home was given its token."""
    connection.execute(
        update(election_roll)
        .where(election_roll.c.election_id == election_id, election_roll.c.household == household)
        .values(token_issued=True)
    )


def put_ballot(
    connection: Connection, election_id: str, token_hash: str, ballot: BallotRow
) -> None:
    """Put a ballot in the box, or replace the one of the same token."""
    values = {
        "ballot": ballot.ballot.decode(),
        "nonce": ballot.nonce.hex(),
        "receipt": ballot.receipt,
    }
    changed = connection.execute(
        update(ballot_box)
        .where(ballot_box.c.election_id == election_id, ballot_box.c.token_hash == token_hash)
        .values(**values)
    )
    if changed.rowcount == 0:
        connection.execute(
            ballot_box.insert().values(election_id=election_id, token_hash=token_hash, **values)
        )


def ballot_of_token(connection: Connection, election_id: str, token_hash: str) -> BallotRow | None:
    """The ballot of a token."""
    row = connection.execute(
        select(ballot_box).where(
            ballot_box.c.election_id == election_id, ballot_box.c.token_hash == token_hash
        )
    ).one_or_none()
    return None if row is None else _ballot(row)


def ballots_in_box(connection: Connection, election_id: str) -> list[BallotRow]:
    """All ballots, in order of receipt, which says nothing about who or when."""
    rows = connection.execute(
        select(ballot_box)
        .where(ballot_box.c.election_id == election_id)
        .order_by(ballot_box.c.receipt)
    )
    return [_ballot(row) for row in rows]


def turnout(connection: Connection, election_id: str) -> int:
    """How many ballots are in the box."""
    return (
        connection.scalar(
            select(func.count())
            .select_from(ballot_box)
            .where(ballot_box.c.election_id == election_id)
        )
        or 0
    )


def close_election_row(
    connection: Connection,
    election_id: str,
    *,
    result: dict[str, Any],
    ballots_root: str,
    now: datetime,
) -> None:
    """Write the result down."""
    connection.execute(
        update(elections)
        .where(elections.c.election_id == election_id)
        .values(closed_at=now, result_text=json.dumps(result), ballots_root=ballots_root)
    )


def insert_published(
    connection: Connection, election_id: str, *, sha256: str, content: bytes
) -> None:
    """Keep the published file of a vote, byte by byte; the database refuses to change it."""
    connection.execute(
        published_votes.insert().values(election_id=election_id, sha256=sha256, content=content)
    )


def published_bytes(connection: Connection, election_id: str) -> bytes | None:
    """The published file of a vote as it was kept at the close."""
    content = connection.scalar(
        select(published_votes.c.content).where(published_votes.c.election_id == election_id)
    )
    return None if content is None else bytes(content)


def published_hash(connection: Connection, election_id: str) -> str | None:
    """SHA-256 of the published file, hex, as it is in the log."""
    return connection.scalar(
        select(published_votes.c.sha256).where(published_votes.c.election_id == election_id)
    )


def due_elections(connection: Connection, kinds: Sequence[str], now: datetime) -> list[str]:
    """Votes of some kinds whose time is over and that were not counted yet."""
    return list(
        connection.scalars(
            select(elections.c.election_id)
            .where(
                elections.c.kind.in_(list(kinds)),
                elections.c.closed_at.is_(None),
                elections.c.closes_at <= now,
            )
            .order_by(elections.c.closes_at, elections.c.election_id)
        )
    )


def _ballot(row: Row[Any]) -> BallotRow:
    return BallotRow(
        ballot=row.ballot.encode(), nonce=bytes.fromhex(row.nonce), receipt=row.receipt
    )


def _election(row: Row[Any]) -> ElectionRow:
    return ElectionRow(
        election_id=row.election_id,
        title=row.title,
        opens_at=row.opens_at,
        closes_at=row.closes_at,
        budget_minor=row.budget_minor,
        currency=row.currency,
        quorum=row.quorum,
        roll_size=row.roll_size,
        lot=tuple(json.loads(row.lot_text)),
        closed_at=row.closed_at,
        result=None if row.result_text is None else json.loads(row.result_text),
        ballots_root=row.ballots_root,
        kind=row.kind,
        lot_seed=row.lot_seed,
        record_at=row.record_at,
        paper=None if row.paper_text is None else json.loads(row.paper_text),
    )
