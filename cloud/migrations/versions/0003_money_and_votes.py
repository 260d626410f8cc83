"""Tenders and offers, homes' tariffs and savings, votes, and the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime, append_only_statements
from solar_fund.ledger.tables import create_tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPEND_ONLY = ("home_tariffs", "settlements", "home_savings", "tender_offers", "acceptances")


def upgrade() -> None:
    """Make the tables; what money rests on can only be added."""
    _tenders()
    _offers()
    _savings()
    _votes()
    for table in APPEND_ONLY:
        for statement in append_only_statements(table, op.get_bind().dialect.name):
            op.execute(statement)
    create_tables(op.get_bind())


def _tenders() -> None:
    op.create_table(
        "tenders",
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("supply_from", UtcTime(), nullable=False),
        sa.Column("window_start", UtcTime(), nullable=False),
        sa.Column("window_end", UtcTime(), nullable=False),
        sa.Column("closes_at", UtcTime(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("mandate_text", sa.Text(), nullable=False),
        sa.Column("floor_text", sa.Text(), nullable=False),
        sa.Column("range_text", sa.Text(), nullable=False),
        sa.Column("load_text", sa.Text(), nullable=False),
        sa.Column("rounds_max", sa.Integer(), nullable=False),
        sa.Column("homes", sa.Integer(), nullable=False),
        sa.Column("old_minor", sa.BigInteger(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.Column("agreed_offer", sa.Integer(), nullable=True),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("tender_id", name=op.f("pk_tenders")),
    )
    op.create_table(
        "tender_homes",
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("old_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_tender_homes_household_households"),
        ),
        sa.ForeignKeyConstraint(
            ["tender_id"], ["tenders.tender_id"], name=op.f("fk_tender_homes_tender_id_tenders")
        ),
        sa.PrimaryKeyConstraint("tender_id", "household", name=op.f("pk_tender_homes")),
    )
    op.create_table(
        "tender_log",
        sa.Column("entry_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("ours", sa.Boolean(), nullable=False),
        sa.Column("text", sa.String(length=500), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tender_id"], ["tenders.tender_id"], name=op.f("fk_tender_log_tender_id_tenders")
        ),
        sa.PrimaryKeyConstraint("entry_number", name=op.f("pk_tender_log")),
    )
    with op.batch_alter_table("tender_log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tender_log_tender_id"), ["tender_id"], unique=False)

    op.create_table(
        "tender_talks",
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("supplier", sa.String(length=64), nullable=False),
        sa.Column("negotiation_text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tender_id"], ["tenders.tender_id"], name=op.f("fk_tender_talks_tender_id_tenders")
        ),
        sa.PrimaryKeyConstraint("tender_id", "supplier", name=op.f("pk_tender_talks")),
    )


def _offers() -> None:
    op.create_table(
        "tender_offers",
        sa.Column("offer_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("tender_id", sa.String(length=64), nullable=False),
        sa.Column("supplier", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("offer_text", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("price_per_kwh", sa.String(length=30), nullable=False),
        sa.Column("new_minor", sa.BigInteger(), nullable=False),
        sa.Column("saving_minor", sa.BigInteger(), nullable=False),
        sa.Column("median_saving_minor", sa.BigInteger(), nullable=False),
        sa.Column("winners", sa.Integer(), nullable=False),
        sa.Column("losers", sa.Integer(), nullable=False),
        sa.Column("homes_over_limit", sa.Integer(), nullable=False),
        sa.Column("homes_allowed", sa.Integer(), nullable=False),
        sa.Column("mandate_kept", sa.Boolean(), nullable=False),
        sa.Column("broken_text", sa.Text(), nullable=False),
        sa.Column("histogram_text", sa.Text(), nullable=False),
        sa.Column("received_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tender_id"], ["tenders.tender_id"], name=op.f("fk_tender_offers_tender_id_tenders")
        ),
        sa.PrimaryKeyConstraint("offer_number", name=op.f("pk_tender_offers")),
        sa.UniqueConstraint("tender_id", "supplier", "round", name="uq_tender_offers_tender_id"),
    )
    with op.batch_alter_table("tender_offers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tender_offers_tender_id"), ["tender_id"], unique=False)

    op.create_table(
        "acceptances",
        sa.Column("offer_number", sa.Integer(), nullable=False),
        sa.Column("person_id", sa.String(length=64), nullable=False),
        sa.Column("signed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["offer_number"],
            ["tender_offers.offer_number"],
            name=op.f("fk_acceptances_offer_number_tender_offers"),
        ),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.person_id"], name=op.f("fk_acceptances_person_id_people")
        ),
        sa.PrimaryKeyConstraint("offer_number", "person_id", name=op.f("pk_acceptances")),
    )
    op.create_table(
        "offer_outcomes",
        sa.Column("offer_number", sa.Integer(), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("new_minor", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_offer_outcomes_household_households"),
        ),
        sa.ForeignKeyConstraint(
            ["offer_number"],
            ["tender_offers.offer_number"],
            name=op.f("fk_offer_outcomes_offer_number_tender_offers"),
        ),
        sa.PrimaryKeyConstraint("offer_number", "household", name=op.f("pk_offer_outcomes")),
    )


def _savings() -> None:
    op.create_table(
        "settlements",
        sa.Column("settlement_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("saving_minor", sa.BigInteger(), nullable=False),
        sa.Column("homes", sa.Integer(), nullable=False),
        sa.Column("evidence_root", sa.String(length=64), nullable=False),
        sa.Column("settled_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("settlement_number", name=op.f("pk_settlements")),
        sa.UniqueConstraint("month", "revision", name="uq_settlements_month"),
    )
    op.create_table(
        "home_savings",
        sa.Column("settlement_number", sa.Integer(), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("old_minor", sa.BigInteger(), nullable=False),
        sa.Column("actual_minor", sa.BigInteger(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.Column("estimated_intervals", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_home_savings_household_households"),
        ),
        sa.ForeignKeyConstraint(
            ["settlement_number"],
            ["settlements.settlement_number"],
            name=op.f("fk_home_savings_settlement_number_settlements"),
        ),
        sa.PrimaryKeyConstraint("settlement_number", "household", name=op.f("pk_home_savings")),
    )
    op.create_table(
        "home_tariffs",
        sa.Column("tariff_number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("form", sa.String(length=10), nullable=False),
        sa.Column("tariff_text", sa.Text(), nullable=False),
        sa.Column("tariff_hash", sa.String(length=64), nullable=False),
        sa.Column("valid_from", UtcTime(), nullable=False),
        sa.Column("recorded_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_home_tariffs_household_households"),
        ),
        sa.PrimaryKeyConstraint("tariff_number", name=op.f("pk_home_tariffs")),
    )
    with op.batch_alter_table("home_tariffs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_home_tariffs_household"), ["household"], unique=False)


def _votes() -> None:
    op.create_table(
        "elections",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.Column("opens_at", UtcTime(), nullable=False),
        sa.Column("closes_at", UtcTime(), nullable=False),
        sa.Column("budget_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("quorum", sa.Integer(), nullable=False),
        sa.Column("roll_size", sa.Integer(), nullable=False),
        sa.Column("lot_text", sa.Text(), nullable=False),
        sa.Column("closed_at", UtcTime(), nullable=True),
        sa.Column("result_text", sa.Text(), nullable=True),
        sa.Column("ballots_root", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("election_id", name=op.f("pk_elections")),
    )
    op.create_table(
        "ballot_box",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("ballot", sa.Text(), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("receipt", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_ballot_box_election_id_elections"),
        ),
        sa.PrimaryKeyConstraint("election_id", "token_hash", name=op.f("pk_ballot_box")),
    )
    op.create_table(
        "election_projects",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("cost_minor", sa.BigInteger(), nullable=False),
        sa.Column("facts_text", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_election_projects_election_id_elections"),
        ),
        sa.PrimaryKeyConstraint("election_id", "project_id", name=op.f("pk_election_projects")),
    )
    op.create_table(
        "election_roll",
        sa.Column("election_id", sa.String(length=64), nullable=False),
        sa.Column("household", sa.String(length=64), nullable=False),
        sa.Column("token_issued", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["election_id"],
            ["elections.election_id"],
            name=op.f("fk_election_roll_election_id_elections"),
        ),
        sa.ForeignKeyConstraint(
            ["household"],
            ["households.household"],
            name=op.f("fk_election_roll_household_households"),
        ),
        sa.PrimaryKeyConstraint("election_id", "household", name=op.f("pk_election_roll")),
    )
