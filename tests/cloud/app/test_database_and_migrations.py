"""The database: one writer, whole transactions, and steps that lead to the tables in code."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from datetime import datetime

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, select, text
from sqlalchemy.exc import StatementError

from cloud.database import Database, UtcTime
from cloud.errors import BadSetting, DatabaseFault
from cloud.migrations.run import migrate, migrate_empty, missing_steps, require_current
from tests.cloud.coop_builder import START

_times = Table(
    "times", MetaData(), Column("number", Integer, primary_key=True), Column("at", UtcTime)
)


@pytest.fixture
def database(tmp_path):
    opened = Database(f"sqlite:///{tmp_path / 'x.sqlite'}")
    yield opened
    opened.close()


def test_the_steps_lead_to_the_tables_in_code(database):
    migrate(database)
    assert missing_steps(database) == []


def test_an_empty_database_gets_its_tables_and_a_full_one_is_left_alone(database):
    assert migrate_empty(database)
    assert not migrate_empty(database)
    require_current(database)


def test_a_database_of_another_version_is_refused_with_the_remedy(database):
    migrate(database)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(DatabaseFault, match="coop-cloud migrate"):
        require_current(database)


def test_an_older_database_with_data_is_brought_forward(database):
    from alembic import command

    from cloud.migrations import run

    with database.transaction() as connection:
        command.upgrade(run._config(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO households (household, label, created_at, consent_events) "
                "VALUES ('h-1', 'Home', '2026-01-01 00:00:00', 0)"
            )
        )
    before, _after = migrate(database)
    assert before == "0001"
    assert missing_steps(database) == []
    with database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM households")) == 1


def test_offers_on_the_table_of_an_older_database_stay_the_texts_a_yes_may_cite(database):
    from alembic import command

    from cloud.consents.repository import templates_of_notice
    from cloud.migrations import run

    template = '{"notice_text":"We add you up."}'
    with database.transaction() as connection:
        command.upgrade(run._config(connection), "0006")
        connection.execute(
            text(
                "INSERT INTO consent_offers (offer_id, place, template, published_at, log_index)"
                " VALUES ('o', 0, :template, '2026-01-01 00:00:00', 3)"
            ),
            {"template": template},
        )
    migrate(database)
    cited = hashlib.sha256(b"We add you up.").hexdigest()
    with database.reading() as connection:
        assert templates_of_notice(connection, cited) == [template]


def test_sqlite_is_durable_and_checks_references(database):
    with database.reading() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_writers_take_turns_and_none_is_lost(database):
    _times.metadata.create_all(database.engine)

    def write(first):
        for number in range(first, first + 25):
            with database.transaction() as connection:
                newest = connection.scalar(
                    select(_times.c.number).order_by(_times.c.number.desc()).limit(1)
                )
                connection.execute(_times.insert().values(number=(newest or 0) + 1, at=START))
                del number

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 100, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        assert len(connection.execute(select(_times)).all()) == 100


def test_a_reader_sees_one_moment_while_a_writer_goes_on(database):
    _times.metadata.create_all(database.engine)
    with database.reading() as reader:
        before = len(reader.execute(select(_times)).all())
        with database.transaction() as writer:
            writer.execute(_times.insert().values(number=1, at=START))
        assert len(reader.execute(select(_times)).all()) == before == 0


def test_times_come_back_aware_and_naive_ones_are_refused(database):
    _times.metadata.create_all(database.engine)
    with database.transaction() as connection:
        connection.execute(_times.insert().values(number=1, at=START))
        assert connection.scalar(select(_times.c.at)) == START
    with pytest.raises(StatementError, match="naive"), database.transaction() as connection:
        connection.execute(_times.insert().values(number=2, at=datetime(2026, 1, 1)))  # noqa: DTZ001


@pytest.mark.parametrize(
    "address", ["nonsense", "mysql+pymysql://x/y", "postgresql+psycopg2://x/y"]
)
def test_an_address_that_is_not_supported_says_what_is(address):
    with pytest.raises(BadSetting, match="postgresql"):
        Database(address)


def test_a_file_that_is_no_database_is_not_touched(tmp_path):
    file = tmp_path / "x.sqlite"
    file.write_text("this is a letter, not a database\n" * 50)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseFault, match=r"x\.sqlite"), database.reading():
        pass
    database.close()
    assert file.read_text().startswith("this is a letter")
    assert sqlite3.sqlite_version
