"""Proposals to use data, their reviews, opt-outs and cohorts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "data_proposals",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("requester", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("notice_from", UtcTime(), nullable=True),
        sa.Column("cohort_root", sa.String(length=64), nullable=True),
        sa.Column("cohort_size", sa.Integer(), nullable=True),
        sa.Column("output_sha256", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["requester"], ["people.person_id"], name=op.f("fk_data_proposals_requester_people")
        ),
        sa.PrimaryKeyConstraint("proposal_id", name=op.f("pk_data_proposals")),
    )
    op.create_index(op.f("ix_data_proposals_requester"), "data_proposals", ["requester"])

    op.create_table(
        "data_proposal_cohort",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_data_proposal_cohort_household_households"),
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["data_proposals.proposal_id"],
            name=op.f("fk_data_proposal_cohort_proposal_id_data_proposals"),
        ),
        sa.PrimaryKeyConstraint("proposal_id", "household", name=op.f("pk_data_proposal_cohort")),
    )
    op.create_table(
        "data_proposal_opt_outs",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_data_proposal_opt_outs_household_households"),
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["data_proposals.proposal_id"],
            name=op.f("fk_data_proposal_opt_outs_proposal_id_data_proposals"),
        ),
        sa.PrimaryKeyConstraint("proposal_id", "household", name=op.f("pk_data_proposal_opt_outs")),
    )
    op.create_table(
        "data_proposal_reviews",
        sa.Column("proposal_id", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("is_for", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_data_proposal_reviews_person_id_people"),
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["data_proposals.proposal_id"],
            name=op.f("fk_data_proposal_reviews_proposal_id_data_proposals"),
        ),
        sa.PrimaryKeyConstraint("proposal_id", "person_id", name=op.f("pk_data_proposal_reviews")),
    )
