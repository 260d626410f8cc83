"""A damaged state file: what can be read is saved, consents fail closed, nothing stays behind."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.consent.book import ConsentBook
from gateway.errors import StateFault
from gateway.outbox.figures import notable
from gateway.outbox.salvage import is_damaged, overwrite_and_remove, salvage
from gateway.outbox.schema import FILE_NAME
from gateway.parts import mend_state
from gateway.state_lock import only_one
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.fake_coop import FakeCoop, offer
from tests.gateway.home import Home

PAGE_BYTES = 1024


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with six hours of minutes that wait; its gateway is stopped."""
    terms = offer(
        "own",
        purpose=Purpose.OWN_INSIGHT,
        resolution=Resolution.MINUTE,
        quantities=(Quantity.IMPORT_WH,),
    )
    home = Home(tmp_path, coop=FakeCoop(offers=(terms,)))
    home.pair()
    home.sync()
    home.give("own")
    home.sync()
    home.live(6 * 3600)
    home.flush()
    home.daemon.store.truncate_log()
    home.daemon.store.close()
    return home


def page_of(home: Home, table: str) -> int:
    """Where the tree of a table begins."""
    connection = sqlite3.connect(home.state_dir / FILE_NAME)
    (page,) = connection.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
    ).fetchone()
    connection.close()
    return int(page)


def a_leaf_of(home: Home, table: str) -> int:
    """A page of rows in the middle of a large table.

    Source: SQLite file format, section 1.6: an interior page of a table has type 5.
    """
    content = (home.state_dir / FILE_NAME).read_bytes()
    at = (page_of(home, table) - 1) * PAGE_BYTES
    assert content[at] == 5
    cells = int.from_bytes(content[at + 3 : at + 5], "big")
    pointer = at + 12 + 2 * (cells // 2)
    cell = at + int.from_bytes(content[pointer : pointer + 2], "big")
    return int.from_bytes(content[cell : cell + 4], "big")


def wear_out(home: Home, page: int) -> None:
    """Let the card return something else for a page."""
    with (home.state_dir / FILE_NAME).open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)


def waiting(home: Home) -> list[tuple[int, int]]:
    with home.daemon.store.reading() as connection:
        return connection.execute("SELECT start_s, energy_wh FROM waiting ORDER BY id").fetchall()


def test_a_sound_state_is_left_alone(home: Home) -> None:
    before = (home.state_dir / FILE_NAME).read_bytes()
    mend_state(home.state_dir)
    assert (home.state_dir / FILE_NAME).read_bytes() == before


def test_all_rows_but_those_on_the_damaged_page_are_saved_and_sent(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    home.start()
    before = waiting(home)
    home.daemon.store.close()
    wear_out(home, a_leaf_of(home, "waiting"))
    assert is_damaged(home.state_dir)
    with caplog.at_level(logging.ERROR):
        mend_state(home.state_dir)
    assert "lost in: waiting" in caplog.text
    home.start()
    saved = waiting(home)
    assert len(before) - 60 < len(saved) < len(before)
    assert set(saved) < set(before)
    assert home.daemon.pipeline.book.grants.keys() == {"own"}
    home.send()
    assert home.coop.readings == {}, "nothing before the co-op confirmed the consents"
    home.sync()
    home.send()
    assert len(home.coop.readings) == len(saved)
    assert "damage" in {entry["kind"] for entry in notable(home.daemon.store._connection)}


def test_consents_that_cannot_all_be_read_are_not_believed(home: Home) -> None:
    wear_out(home, page_of(home, "consent_event"))
    mend_state(home.state_dir)
    home.start()
    assert waiting(home) == []
    assert home.daemon.pipeline.book == ConsentBook(household="h-0001")
    home.live(3600)
    home.flush()
    assert waiting(home) == []


def test_a_file_that_is_none_any_more_begins_anew_and_no_old_byte_stays(home: Home) -> None:
    wear_out(home, 1)
    status = CliRunner().invoke(app, ["status", "--config", str(home.directory / "gateway.toml")])
    assert status.exit_code == 2
    assert "saves what can be read" in status.output
    assert status.output.count("\n") == 1
    mend_state(home.state_dir)
    assert not (home.state_dir / "saved").exists()
    assert b"own_insight" not in (home.state_dir / FILE_NAME).read_bytes()
    home.start()
    # A real server answers a number it has seen with 409, and the gateway goes on from there.
    home.coop.counter = 0
    home.sync()
    home.live(3600)
    home.flush()
    assert home.daemon.store.waiting() > 0, "the consents came back from the co-op"


def test_a_state_in_use_is_not_mended(home: Home) -> None:
    wear_out(home, 1)
    with only_one(home.state_dir), pytest.raises(StateFault, match="another gateway"):
        mend_state(home.state_dir)


def test_saving_can_be_cut_short_and_begun_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wear_out(home, a_leaf_of(home, "waiting"))

    def fails_at_the_old_file(path: Path) -> bool:
        return overwrite_and_remove(path) if path.parent != home.state_dir else bool(1 / 0)

    for step, fails in (
        ("_copy", lambda *_: 1 / 0),
        ("ledger.note", lambda *_: 1 / 0),
        ("overwrite_and_remove", fails_at_the_old_file),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(f"gateway.outbox.salvage.{step}", fails)
            with pytest.raises(ZeroDivisionError):
                salvage(home.state_dir, now=home.clock.at)
    (home.state_dir / FILE_NAME).unlink()
    mend_state(home.state_dir)
    assert not (home.state_dir / "saved").exists()
    home.start()
    assert len(waiting(home)) > 200
