"""What was proposed, signed and paid for each settled month."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime, append_only_statements

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

APPEND_ONLY = ("settlement_proposals", "settlement_bookings", "supplier_payments")


def upgrade() -> None:
    """Make the tables; rows are only added."""
    op.create_table(
        "settlement_proposals",
        sa.Column("proposal_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("settlement_number", sa.Integer(), nullable=False),
        sa.Column("costs_minor", sa.BigInteger(), nullable=False),
        sa.Column("monthly_costs_minor", sa.BigInteger(), nullable=False),
        sa.Column("sigma_minor", sa.BigInteger(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("figures_sha256", sa.String(length=64), nullable=False),
        *_signed("settlement_proposals"),
        sa.PrimaryKeyConstraint("proposal_number", name=op.f("pk_settlement_proposals")),
    )
    op.create_index(
        "ix_settlement_proposals_settlement_number", "settlement_proposals", ["settlement_number"]
    )
    op.create_table(
        "settlement_bookings",
        sa.Column("settlement_number", sa.Integer(), nullable=False),
        sa.Column("proposal_number", sa.Integer(), nullable=False),
        sa.Column("parameters_text", sa.Text(), nullable=False),
        sa.Column("receivable_minor", sa.BigInteger(), nullable=False),
        sa.Column("fund_minor", sa.BigInteger(), nullable=False),
        sa.Column("held_back_minor", sa.BigInteger(), nullable=False),
        sa.Column("totals_text", sa.Text(), nullable=False),
        *_signed("settlement_bookings"),
        sa.ForeignKeyConstraint(
            ["proposal_number"],
            ["settlement_proposals.proposal_number"],
            name=op.f("fk_settlement_bookings_proposal_number_settlement_proposals"),
        ),
        sa.PrimaryKeyConstraint("settlement_number", name=op.f("pk_settlement_bookings")),
    )
    op.create_table(
        "supplier_payments",
        sa.Column("settlement_number", sa.Integer(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("bank_evidence", sa.String(length=64), nullable=False),
        *_signed("supplier_payments"),
        sa.PrimaryKeyConstraint("settlement_number", name=op.f("pk_supplier_payments")),
    )
    for table in APPEND_ONLY:
        for statement in append_only_statements(table, op.get_bind().dialect.name):
            op.execute(statement)


def _signed(table: str) -> list[sa.schema.SchemaItem]:
    """Who did it, when, and for which revision."""
    return [
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["settlement_number"],
            ["settlements.settlement_number"],
            name=op.f(f"fk_{table}_settlement_number_settlements"),
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.person_id"], name=op.f(f"fk_{table}_person_id_people")
        ),
    ]
