"""Tenders that one person of the board prepared and a second one has to approve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "prepared_tenders",
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("draft_text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=True),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.Column("refusal_text", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["asked_by"], ["people.person_id"], name=op.f("fk_prepared_tenders_asked_by_people")
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"], ["people.person_id"], name=op.f("fk_prepared_tenders_decided_by_people")
        ),
        sa.PrimaryKeyConstraint("tender_id", name=op.f("pk_prepared_tenders")),
    )
