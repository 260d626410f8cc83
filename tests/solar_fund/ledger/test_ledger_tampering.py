import json
import random
import sqlite3

import pytest
from typer.testing import CliRunner

from solar_fund.cli import app
from solar_fund.ledger.accounts import BANK, FUND_CASH, PROJECT_VALUE, member_chart, standard_chart
from solar_fund.ledger.database import open_engine
from solar_fund.ledger.sql import SqlLedger
from tests.solar_fund.ledger.conftest import SettableClock, eur, pay_in, transfer

GUARDS = [
    f"{table}_no_{verb}"
    for table in ("ledger_journal", "ledger_account", "ledger_movement")
    for verb in ("update", "delete", "replace")
]


@pytest.fixture
def database(tmp_path):
    """A closed ledger file: 40 entries, a grant posted in part, a reversal."""
    path = tmp_path / "fund.db"
    engine = open_engine(f"sqlite:///{path}")
    ledger = SqlLedger(engine, clock=SettableClock())
    ledger.create_tables()
    ledger.open_accounts([*standard_chart("EUR"), *member_chart("anna", "EUR")])
    for number in range(40):
        ledger.post_entry(pay_in(1_000 + number, key=f"pay-{number}", memo=f"payment {number:03}"))
    ledger.post_entry(transfer(BANK, FUND_CASH, 9_000, key="to-fund"))
    reserved = ledger.reserve(transfer(FUND_CASH, PROJECT_VALUE, 8_000, key="grant"))
    part = ledger.post_pending(
        reserved.seq, idempotency_key="part", part=eur(3_000), keep_remainder=True
    )
    ledger.reverse_entry(part.seq, idempotency_key="back", reason="returned")
    engine.dispose()
    return path


def check(path, *more):
    answer = CliRunner().invoke(app, ["ledger", "check", str(path), "--json", *more])
    return answer.exit_code, json.loads(answer.stdout)


def flip(path, found, replacement):
    content = path.read_bytes()
    assert len(found) == len(replacement)
    assert content.count(found) >= 1
    path.write_bytes(content.replace(found, replacement))


def without_guards(path, *statements):
    connection = sqlite3.connect(path)
    for guard in GUARDS:
        connection.execute(f"DROP TRIGGER {guard}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def seq_of(path, key):
    connection = sqlite3.connect(path)
    row = connection.execute(
        "SELECT seq FROM ledger_journal WHERE idempotency_key = ?", (key,)
    ).fetchone()
    connection.close()
    return row[0]


def test_an_untouched_file_is_well(database):
    exit_code, found = check(database)
    assert exit_code == 0
    assert (found["ok"], found["first_bad"]) == (True, None)
    assert found["records"] == found["head"]["seq"] == seq_of(database, "back")


@pytest.mark.parametrize("number", [0, 17, 39])
def test_one_changed_byte_in_a_memo_names_its_record(database, number):
    flip(database, b"payment %03d" % number, b"Payment %03d" % number)
    exit_code, found = check(database)
    assert exit_code == 1
    assert found["first_bad"] == seq_of(database, f"pay-{number}")


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("UPDATE ledger_journal SET hash = replace(hash, 'a', 'b') WHERE seq = {seq}", "pay-7"),
        ("UPDATE ledger_journal SET recorded_at = '2026-01-01' WHERE seq = {seq}", "pay-8"),
        ("UPDATE ledger_journal SET kind = 'reserve' WHERE seq = {seq}", "pay-9"),
        ("UPDATE ledger_journal SET body = X'FFFE' WHERE seq = {seq}", "pay-11"),
        ("UPDATE ledger_movement SET posted_minor = 1 WHERE seq = {seq} AND line = 1", "pay-12"),
        ("UPDATE ledger_movement SET posted_after_minor = 0 WHERE seq = {seq}", "grant"),
        ("UPDATE ledger_movement SET account = 'Assets:Elsewhere' WHERE seq = {seq}", "part"),
        ("UPDATE ledger_account SET no_overdraft = 0 WHERE seq = {seq}", f"open:{FUND_CASH}"),
        ("DELETE FROM ledger_movement WHERE seq = {seq}", "pay-13"),
        ("DELETE FROM ledger_journal WHERE seq = {seq}", "pay-14"),
        ("UPDATE ledger_journal SET about_seq = NULL WHERE seq = {seq}", "back"),
        ("UPDATE ledger_journal SET is_final = 2 WHERE seq = {seq}", "part"),
        ("UPDATE ledger_account SET suspense = 2 WHERE seq = {seq}", "open:Assets:Suspense"),
    ],
)
def test_any_changed_column_names_its_record(database, statement, key):
    seq = seq_of(database, key)
    without_guards(database, statement.format(seq=seq))
    exit_code, found = check(database)
    assert exit_code == 1
    assert found["first_bad"] == seq


def test_a_forger_who_recomputes_all_hashes_is_caught_by_a_published_head(database, tmp_path):
    published = check(database)[1]["head"]
    forged = tmp_path / "forged.db"
    engine = open_engine(f"sqlite:///{forged}")
    ledger = SqlLedger(engine, clock=SettableClock())
    ledger.create_tables()
    ledger.open_accounts([*standard_chart("EUR"), *member_chart("anna", "EUR")])
    for number in range(60):
        ledger.post_entry(pay_in(5, key=f"other-{number}"))
    engine.dispose()
    assert check(forged)[1]["ok"]
    expected = f"{published['seq']}:{published['hash']}"
    assert check(database, "--expect-head", expected)[1]["ok"]
    exit_code, found = check(forged, "--expect-head", expected)
    assert (exit_code, found["first_bad"]) == (1, published["seq"])


def test_a_journal_cut_short_is_caught_by_a_published_head(database):
    published = check(database)[1]["head"]
    seq = published["seq"]
    without_guards(
        database,
        "DELETE FROM ledger_movement WHERE seq = (SELECT MAX(seq) FROM ledger_journal)",
        "DELETE FROM ledger_journal WHERE seq = (SELECT MAX(seq) FROM ledger_journal)",
    )
    _, found = check(database, "--expect-head", f"{seq}:{published['hash']}")
    assert found["first_bad"] == seq


def test_a_missing_guard_is_reported(database):
    without_guards(database)
    exit_code, found = check(database)
    assert exit_code == 1
    assert "trigger" in found["problem"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT OR REPLACE INTO ledger_journal SELECT * FROM ledger_journal LIMIT 1",
        "INSERT OR REPLACE INTO ledger_account SELECT * FROM ledger_account LIMIT 1",
        "INSERT OR REPLACE INTO ledger_movement SELECT * FROM ledger_movement LIMIT 1",
    ],
)
def test_insert_or_replace_cannot_overwrite_a_record(database, statement):
    connection = sqlite3.connect(database)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    assert check(database)[0] == 0


def test_every_flipped_byte_of_the_journals_text_is_found_at_its_record(database):
    """Each record's body sits in the file as it is; a flip inside it must name that record."""
    connection = sqlite3.connect(database)
    bodies = connection.execute("SELECT seq, body FROM ledger_journal ORDER BY seq").fetchall()
    connection.close()
    content = database.read_bytes()
    tried = 0
    for seq, body in bodies[::5]:
        start = content.find(body.encode())
        if start < 0:
            continue  # Long bodies may be split over pages.
        tried += 1
        place = start + (seq * 7) % len(body)
        changed = bytearray(content)
        changed[place] ^= 0x01
        database.write_bytes(bytes(changed))
        exit_code, found = check(database)
        assert (exit_code, found["first_bad"]) == (1, seq), body[place - start]
    assert tried > 8


def test_a_schema_that_is_no_text_any_more_is_reported_in_one_line(database):
    flip(
        database,
        b"CREATE TRIGGER ledger_journal_no_replace",
        b"CREATE TRIGG\xc5R ledger_journal_no_replace",
    )
    exit_code, found = check(database)
    assert exit_code == 1
    assert "cannot be read" in found["problem"]


def test_a_file_that_is_no_ledger_gets_one_clear_line(tmp_path):
    plain = tmp_path / "plain.db"
    plain.write_text("hello")
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE t (x)").connection.close()
    for name in ("missing.db", "plain.db", "empty.db"):
        answer = CliRunner().invoke(app, ["ledger", "check", str(tmp_path / name)])
        assert answer.exit_code == 2
        assert answer.stdout == ""
        assert name in answer.stderr
        assert answer.stderr.count("\n") == 1


def test_no_flipped_bit_changes_the_content_unnoticed(database, tmp_path):
    """A flip in unused space may pass; one that changes what the tables say may not."""

    def content_of(path):
        connection = sqlite3.connect(path)
        try:
            return [
                connection.execute(query).fetchall()
                for query in (
                    "SELECT * FROM ledger_journal ORDER BY seq",
                    "SELECT * FROM ledger_account ORDER BY seq",
                    "SELECT * FROM ledger_movement ORDER BY seq, line",
                )
            ]
        finally:
            connection.close()

    original, untouched = database.read_bytes(), content_of(database)
    changed = tmp_path / "changed.db"
    chance = random.Random(4)
    found_damaged = 0
    for _ in range(80):
        content = bytearray(original)
        content[chance.randrange(100, len(content))] ^= 1 << chance.randrange(8)
        changed.write_bytes(bytes(content))
        exit_code, _ = check(changed)
        found_damaged += exit_code == 1
        assert exit_code == 1 or content_of(changed) == untouched
    assert found_damaged > 30
