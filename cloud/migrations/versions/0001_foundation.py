"""Members, gateways, consents, the transparency log and the outbox of notices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime, append_only_statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables; events and log entries can only be added."""
    _people()
    _gateways()
    _consents()
    _log()
    for table in ("consent_events", "log_entries", "log_nodes"):
        for statement in append_only_statements(table, op.get_bind().dialect.name):
            op.execute(statement)


def _people() -> None:
    op.create_table(
        "households",
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("consent_events", sa.Integer(), nullable=False),
        sa.Column("erased_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("household", name=op.f("pk_households")),
    )
    op.create_table(
        "people",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=True),
        sa.Column("supplier", sa.String(length=64), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"], ["households.household"], name=op.f("fk_people_household_households")
        ),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )
    op.create_index("ix_people_household", "people", ["household"])
    op.create_table(
        "person_roles",
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_person_roles_person_id_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("person_id", "role", name=op.f("pk_person_roles")),
    )
    op.create_table(
        "sign_in_links",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("browser_hash", sa.String(length=64), nullable=True),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_sign_in_links_person_id_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sign_in_links")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.person_id"],
            name=op.f("fk_sessions_person_id_people"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_person_id", "sessions", ["person_id"])
    op.create_table(
        "notices",
        sa.Column("notice_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("written_at", UtcTime(), nullable=False),
        sa.Column("send_after", UtcTime(), nullable=False),
        sa.Column("useless_after", UtcTime(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_notices")),
    )
    op.create_index("ix_notices_send_after", "notices", ["send_after"])


def _gateways() -> None:
    op.create_table(
        "gateways",
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("public_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("paired_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.Column("replaced_by", sa.String(length=32), nullable=True),
        sa.Column("counter_last", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=True),
        sa.Column("software", sa.String(length=200), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"], ["households.household"], name=op.f("fk_gateways_household_households")
        ),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateways")),
    )
    op.create_index("ix_gateways_household", "gateways", ["household"])
    op.create_table(
        "gateway_claims",
        sa.Column("code_hash", sa.String(length=64), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("made_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_gateway_claims_household_households"),
        ),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_gateway_claims")),
    )


def _consents() -> None:
    op.create_table(
        "consent_events",
        sa.Column("event_no", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("sig", sa.String(length=128), nullable=False),
        sa.Column("authority", sa.String(length=8), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_consent_events_household_households"),
        ),
        sa.PrimaryKeyConstraint("event_no", name=op.f("pk_consent_events")),
        sa.UniqueConstraint(
            "household", "consent_id", "version", name=op.f("uq_consent_events_household")
        ),
    )
    op.create_table(
        "withdrawal_receipts",
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("consent_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("sig", sa.String(length=128), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_withdrawal_receipts_household_households"),
        ),
        sa.PrimaryKeyConstraint(
            "household", "consent_id", "version", "gateway", name=op.f("pk_withdrawal_receipts")
        ),
    )
    op.create_table(
        "consent_offers",
        sa.Column("offer_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("published_at", UtcTime(), nullable=False),
        sa.Column("log_index", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("offer_id", name=op.f("pk_consent_offers")),
    )
    op.create_table(
        "stream_erasures",
        sa.Column("erasure_no", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_stream_erasures_household_households"),
        ),
        sa.PrimaryKeyConstraint("erasure_no", name=op.f("pk_stream_erasures")),
    )
    op.create_index("ix_stream_erasures_asked_at", "stream_erasures", ["asked_at"])


def _log() -> None:
    op.create_table(
        "log_entries",
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_log_entries")),
    )
    op.create_index("ix_log_entries_kind", "log_entries", ["kind"])
    op.create_table(
        "log_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_log_nodes")),
    )
    op.create_table(
        "log_commitments",
        sa.Column("commitment", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.String(length=64), nullable=False),
        sa.Column("committed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("commitment", name=op.f("pk_log_commitments")),
    )
    op.create_index("ix_log_commitments_subject", "log_commitments", ["subject"])
