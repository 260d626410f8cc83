"""The table of voted parameters of the waterfall; the database refuses to change it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Connection, ForeignKey, String, Table, Text, select

from cloud.database import UtcTime, metadata

voted_parameters = Table(
    "voted_parameters",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("decided_at", UtcTime, nullable=False),
    Column("parameters_text", Text, nullable=False),
    Column("evidence", String(64), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedParameters:
    """Parameters as a vote set them.

    Args:
        election_id: The vote.
        decided_at: When it was counted; settlements booked from then on use them.
        parameters: Every parameter as a decimal in text.
        evidence: Merkle root over the ballots, hex.
    """

    election_id: str
    decided_at: datetime
    parameters: Mapping[str, str]
    evidence: str


def insert_parameters(connection: Connection, voted: VotedParameters) -> None:
    """Add what a vote decided."""
    connection.execute(
        voted_parameters.insert().values(
            election_id=voted.election_id,
            decided_at=voted.decided_at,
            parameters_text=json.dumps(dict(voted.parameters), sort_keys=True),
            evidence=voted.evidence,
        )
    )


def parameters_at(connection: Connection, moment: datetime) -> VotedParameters | None:
    """What was decided last at a moment; None before the first vote."""
    row = connection.execute(
        select(voted_parameters)
        .where(voted_parameters.c.decided_at <= moment)
        .order_by(voted_parameters.c.decided_at.desc(), voted_parameters.c.election_id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    return VotedParameters(
        election_id=row.election_id,
        decided_at=row.decided_at,
        parameters=json.loads(row.parameters_text),
        evidence=row.evidence,
    )
