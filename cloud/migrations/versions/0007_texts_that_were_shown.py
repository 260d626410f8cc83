"""Every offer that was ever made, so that a yes can be held against the text it cites."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

from cloud.database import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and begin it with the offers on the table now."""
    notices = op.create_table(
        "consent_notices",
        sa.Column("template_sha256", sa.String(length=64), nullable=False),
        sa.Column("notice_sha256", sa.String(length=64), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("published_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("template_sha256", name=op.f("pk_consent_notices")),
    )
    op.create_index("ix_consent_notices_notice_sha256", "consent_notices", ["notice_sha256"])
    offers = sa.table(
        "consent_offers", sa.column("template", sa.Text()), sa.column("published_at", UtcTime())
    )
    on_the_table = op.get_bind().execute(sa.select(offers.c.template, offers.c.published_at))
    for template, published_at in on_the_table.all():
        text = json.loads(template)["notice_text"]
        op.bulk_insert(
            notices,
            [
                {
                    "template_sha256": hashlib.sha256(template.encode()).hexdigest(),
                    "notice_sha256": hashlib.sha256(text.encode()).hexdigest(),
                    "template": template,
                    "published_at": published_at,
                }
            ],
        )
