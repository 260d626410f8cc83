"""Tariffs of homes say who recorded them and, after joining, why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; rows from before were recorded by the co-op itself."""
    op.add_column(
        "home_tariffs",
        sa.Column("set_by", sa.String(length=64), nullable=False, server_default=""),
    )
    op.add_column(
        "home_tariffs",
        sa.Column("reason", sa.String(length=500), nullable=False, server_default=""),
    )
