"""Solar projects, all that happens to them, files of appraisals, and prepared votes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime, append_only_statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

APPEND_ONLY = ("solar_projects", "project_events", "project_files")


def upgrade() -> None:
    """Make the tables; projects, events and files can only be added."""
    _projects()
    _votes()
    for table in APPEND_ONLY:
        for statement in append_only_statements(table, op.get_bind().dialect.name):
            op.execute(statement)


def _projects() -> None:
    op.create_table(
        "solar_projects",
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("site", sa.String(length=200), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("plan_text", sa.Text(), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("proposed_by", sa.String(length=64), nullable=False),
        sa.Column("proposed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["proposed_by"], ["people.person_id"], name=op.f("fk_solar_projects_proposed_by_people")
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_solar_projects")),
    )
    op.create_table(
        "project_events",
        sa.Column("event_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=True),
        sa.Column("evidence", sa.String(length=64), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("details_text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.person_id"], name=op.f("fk_project_events_person_id_people")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["solar_projects.project_id"],
            name=op.f("fk_project_events_project_id_solar_projects"),
        ),
        sa.PrimaryKeyConstraint("event_number", name=op.f("pk_project_events")),
    )
    op.create_index(op.f("ix_project_events_project_id"), "project_events", ["project_id"])
    op.create_table(
        "project_files",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.person_id"], name=op.f("fk_project_files_person_id_people")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_project_files")),
    )


def _votes() -> None:
    op.create_table(
        "solar_vote_drafts",
        sa.Column("draft_id", sa.String(length=40), nullable=False),
        sa.Column("plan_text", sa.Text(), nullable=False),
        sa.Column("prepared_by", sa.String(length=64), nullable=False),
        sa.Column("prepared_at", UtcTime(), nullable=False),
        sa.Column("election_id", sa.String(length=64), nullable=True),
        sa.Column("withdrawn_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_solar_vote_drafts_election_id_elections"),
        ),
        sa.ForeignKeyConstraint(
            ["prepared_by"],
            ["people.person_id"],
            name=op.f("fk_solar_vote_drafts_prepared_by_people"),
        ),
        sa.PrimaryKeyConstraint("draft_id", name=op.f("pk_solar_vote_drafts")),
    )
    op.create_table(
        "held_up_votes",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_held_up_votes_election_id_elections"),
        ),
        sa.PrimaryKeyConstraint("election_id", name=op.f("pk_held_up_votes")),
    )
