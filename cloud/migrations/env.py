"""Alembic's entry: runs the migrations on the connection that `cloud.migrations.run` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from cloud.database import UtcTime
from cloud.migrations.tables import metadata


def _render(kind: str, item: Any, _autogenerate: Any) -> str | Literal[False]:
    return "UtcTime()" if kind == "type" and isinstance(item, UtcTime) else False


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """The fund's ledger makes its own tables by its own statements (see step 0003)."""
    return kind != "table" or not (name or "").startswith("ledger_")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=_render,
    include_name=_is_ours,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
