"""Alembic's entry: runs the migrations on the connection that `cloud.migrations.run` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from cloud.database import UtcTime
from cloud.migrations.tables import metadata


def _render(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    return "UtcTime()" if kind == "type" and isinstance(item, UtcTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=_render,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
