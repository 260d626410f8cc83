"""Bringing a database to the tables this version needs."""

from __future__ import annotations

import functools
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from cloud.database import Database
from cloud.errors import DatabaseFault
from cloud.migrations.tables import metadata

_FOLDER = Path(__file__).parent


@functools.cache
def newest_revision() -> str:
    """The step this version of the code needs; finding it out compiles every step."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise DatabaseFault("no migrations are installed; install the package anew")
    return head


def revision_of(connection: Connection) -> str | None:
    """The step a database is at, or None before the first."""
    return MigrationContext.configure(connection).get_current_revision()


def migrate(database: Database) -> tuple[str | None, str]:
    """Run all steps that are missing, in one transaction.

    Returns:
        The step before and the step after.
    """
    with database.transaction() as connection:
        before = revision_of(connection)
        command.upgrade(_config(connection), "head")
    return before, newest_revision()


def migrate_empty(database: Database) -> bool:
    """Make all tables in a database that has none; leave any other as it is.

    Returns:
        Whether it was empty.
    """
    with database.reading() as connection:
        is_empty = not inspect(connection).get_table_names()
    if is_empty:
        migrate(database)
    return is_empty


def require_current(database: Database) -> None:
    """Refuse to work on a database of another version.

    Raises:
        DatabaseFault: Its tables are older or newer than this code.
    """
    with database.reading() as connection:
        found = revision_of(connection)
    if found != newest_revision():
        raise DatabaseFault(
            f"the database is at step {found}, this version needs {newest_revision()}; "
            "make a backup, then run: coop-cloud migrate"
        )


def draft(database: Database, why: str) -> None:
    """Write a new step by comparing the tables in code with a migrated database."""
    with database.transaction() as connection:
        config = _config(connection)
        count = len(list(ScriptDirectory.from_config(config).walk_revisions()))
        command.revision(config, message=why, autogenerate=True, rev_id=f"{count + 1:04d}")


def missing_steps(database: Database) -> list[object]:
    """Differences between the tables in code and a migrated database; none is as it should be."""
    with database.reading() as connection:
        # The fund's ledger makes its own tables by its own statements (see step 0003).
        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": lambda name, kind, _parents: (
                    kind != "table" or not name.startswith("ledger_")
                )
            },
        )
        return list(compare_metadata(context, metadata))


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config
