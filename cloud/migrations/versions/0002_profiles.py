"""Frozen cohorts, and every release and refusal of a profile."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "profile_cohorts",
        sa.Column("cohort_id", sa.String(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("quantity", sa.String(length=32), nullable=False),
        sa.Column("period_start", UtcTime(), nullable=False),
        sa.Column("period_end", UtcTime(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("homes", sa.Integer(), nullable=False),
        sa.Column("frozen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("cohort_id", name=op.f("pk_profile_cohorts")),
    )
    op.create_index("ix_profile_cohorts_period_start", "profile_cohorts", ["period_start"])

    op.create_table(
        "profile_cohort_homes",
        sa.Column("cohort_id", sa.String(length=32), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cohort_id"],
            ["profile_cohorts.cohort_id"],
            name=op.f("fk_profile_cohort_homes_cohort_id_profile_cohorts"),
        ),
        sa.PrimaryKeyConstraint("cohort_id", "household", name=op.f("pk_profile_cohort_homes")),
    )
    op.create_index("ix_profile_cohort_homes_household", "profile_cohort_homes", ["household"])

    op.create_table(
        "profile_releases",
        sa.Column("release_no", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("quantity", sa.String(length=32), nullable=False),
        sa.Column("audience", sa.String(length=10), nullable=False),
        sa.Column("period_start", UtcTime(), nullable=False),
        sa.Column("period_end", UtcTime(), nullable=False),
        sa.Column("cohort_id", sa.String(length=32), nullable=True),
        sa.Column("homes", sa.Integer(), nullable=False),
        sa.Column("is_released", sa.Boolean(), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("output_sha256", sa.String(length=64), nullable=False),
        sa.Column("step_s", sa.Integer(), nullable=False),
        sa.Column("presence", sa.LargeBinary(), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cohort_id"],
            ["profile_cohorts.cohort_id"],
            name=op.f("fk_profile_releases_cohort_id_profile_cohorts"),
        ),
        sa.PrimaryKeyConstraint("release_no", name=op.f("pk_profile_releases")),
    )
    op.create_index("ix_profile_releases_period_start", "profile_releases", ["period_start"])
