"""Votes on policies and slates, files as they were published, voted parameters, released data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime, append_only_statements

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

APPEND_ONLY = ("published_votes", "voted_parameters")


def upgrade() -> None:
    """Add columns and tables; what was published or decided can only be added."""
    _votes()
    _data_requests()
    for table in APPEND_ONLY:
        for statement in append_only_statements(table, op.get_bind().dialect.name):
            op.execute(statement)


def _votes() -> None:
    op.add_column(
        "elections",
        sa.Column("kind", sa.String(length=16), server_default="projects", nullable=False),
    )
    op.add_column("elections", sa.Column("lot_seed", sa.Text(), server_default="", nullable=False))
    op.add_column("elections", sa.Column("record_at", UtcTime(), nullable=True))
    op.add_column("elections", sa.Column("paper_text", sa.Text(), nullable=True))
    op.create_table(
        "published_votes",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_published_votes_election_id_elections"),
        ),
        sa.PrimaryKeyConstraint("election_id", name=op.f("pk_published_votes")),
    )
    op.create_table(
        "voted_parameters",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=False),
        sa.Column("parameters_text", sa.Text(), nullable=False),
        sa.Column("evidence", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_voted_parameters_election_id_elections"),
        ),
        sa.PrimaryKeyConstraint("election_id", name=op.f("pk_voted_parameters")),
    )


def _data_requests() -> None:
    for column in (
        sa.Column("election_id", sa.String(length=64), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("release_no", sa.Integer(), nullable=True),
        sa.Column("fee_booked_at", UtcTime(), nullable=True),
    ):
        op.add_column("data_proposals", column)
    op.create_table(
        "data_proposal_signatures",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_data_proposal_signatures_person_id_people"),
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["data_proposals.proposal_id"],
            name=op.f("fk_data_proposal_signatures_proposal_id_data_proposals"),
        ),
        sa.PrimaryKeyConstraint(
            "proposal_id", "person_id", name=op.f("pk_data_proposal_signatures")
        ),
    )
    op.create_table(
        "data_proposal_results",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["data_proposals.proposal_id"],
            name=op.f("fk_data_proposal_results_proposal_id_data_proposals"),
        ),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_data_proposal_results")),
    )
