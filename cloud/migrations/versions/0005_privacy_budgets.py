"""What each home has spent of its yearly budget for noised releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "privacy_spends",
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("year", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("release_no", sa.Integer(), nullable=False),
        sa.Column("rho", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(
            ["release_no"],
            ["profile_releases.release_no"],
            name=op.f("fk_privacy_spends_release_no_profile_releases"),
        ),
        sa.PrimaryKeyConstraint("household", "year", "release_no", name=op.f("pk_privacy_spends")),
    )
