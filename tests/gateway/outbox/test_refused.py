"""What the co-op refused can be looked at, sent again or dropped, and blocks nothing meanwhile."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.outbox.figures import Figures, figures
from gateway.outbox.rows import from_seconds
from gateway.outbox.schema import FILE_NAME
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.reading import Quantity
from tests.gateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of whose seven quarters the co-op refused two."""
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.live(7_200)
    home.flush()
    with home.daemon.store.reading() as connection:
        starts = connection.execute("SELECT start_s FROM waiting ORDER BY id LIMIT 2").fetchall()
    home.coop.refuse_intervals = {from_seconds(start_s) for (start_s,) in starts}
    home.send()
    home.coop.refuse_intervals = set()
    return home


def command(home: Home, *words: str) -> str:
    config = str(home.directory / "gateway.toml")
    done = CliRunner().invoke(app, ["refused", *words, "--config", config])
    assert done.exit_code == 0, done.output
    return done.output


def counted(home: Home) -> Figures:
    with home.daemon.store.reading() as connection:
        return figures(connection)


def add_up(home: Home) -> bool:
    told = counted(home)
    return told.kept == told.accepted + told.duplicate + told.refused + told.waiting


def test_it_is_listed_with_its_reason_and_its_time(home: Home) -> None:
    assert home.daemon.store.waiting() == 0
    (group,) = json.loads(command(home, "list", "--json"))["refused"]
    assert (group["intervals"], group["meter"]) == (2, "main")
    line = command(home, "list")
    assert line.count("\n") == 1
    assert "      2 intervals" in line
    assert "UTC" in line
    assert add_up(home)


def test_it_can_be_sent_again_as_it_was(home: Home) -> None:
    before = len(home.coop.readings)
    assert command(home, "retry", "--reason", "something else").startswith("0 intervals")
    assert command(home, "retry") == "2 intervals wait to be sent again\n"
    home.send()
    assert len(home.coop.readings) == before + 2
    energies = {wh for _, wh, _ in home.coop.readings.values()}
    assert max(energies) - min(energies) <= 1
    assert {quality for _, _, quality in home.coop.readings.values()} == {"measured"}
    assert command(home, "list") == "nothing was refused\n"
    assert (counted(home).refused, home.coop.broken_chains) == (0, [])
    assert add_up(home)


def test_what_no_consent_covers_is_not_sent_again(home: Home) -> None:
    with home.daemon.store.transaction() as connection:
        connection.execute("UPDATE dead_letter SET quantity = 'export_wh'")
    assert "2 stay aside" in command(home, "retry")
    assert home.daemon.store.waiting() == 0


def test_it_can_be_dropped(home: Home) -> None:
    assert command(home, "drop", "--yes") == "2 refused intervals were erased\n"
    assert command(home, "list") == "nothing was refused\n"
    assert add_up(home)


def test_a_file_of_before_gets_the_new_columns_and_stays_usable_for_the_software_of_before(
    home: Home,
) -> None:
    home.daemon.store.close()
    old = sqlite3.connect(home.state_dir / FILE_NAME)
    for column in ("resolution", "quality"):
        old.execute(f"ALTER TABLE dead_letter DROP COLUMN {column}")
    before = old.execute("PRAGMA user_version").fetchone()
    old.commit()
    SqliteOutbox.open(home.state_dir).close()
    columns = {row[1] for row in old.execute("PRAGMA table_info(dead_letter)")}
    assert {"resolution", "quality"} <= columns
    assert old.execute("PRAGMA user_version").fetchone() == before
    old.close()
    home.start()
    assert command(home, "retry") == "2 intervals wait to be sent again\n"
    home.send()
    assert home.daemon.store.waiting() == 0
