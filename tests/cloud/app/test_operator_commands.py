"""`coop-cloud` for operators: people, claim codes, backup, restore, erase, verify."""

from __future__ import annotations

import gc
import json
import socket
import tarfile
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from cloud.app import open_database
from cloud.cli import app
from cloud.members.repository import household_row, people_of_household
from cloud.readings.embedded import EmbeddedStore
from cloud.settings import load_settings
from gateway.wire.consent import EventType, Terms
from tests.cloud.coop_builder import START, HomeGateway, open_coop


def run(*arguments, code=0):
    done = CliRunner().invoke(app, [str(item) for item in arguments])
    assert done.exit_code == code, done.output
    return done


def run_json(*arguments, code=0):
    done = run(*arguments, "--json", code=code)
    return json.loads(done.stdout)


@pytest.fixture
def data(tmp_path):
    """A co-op on disk with one home that gave a consent and sent readings; the server is down."""
    folder = tmp_path / "data"
    with open_coop(tmp_path, store=EmbeddedStore(folder / "readings")) as coop:
        person, browser = coop.member()
        home = HomeGateway(client=coop.client, clock=coop.clock)
        home.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
        terms = msgspec.convert(browser.get("/api/v1/offers").json()[0]["terms"], type=Terms)
        home.sync(home.event(EventType.GIVEN, terms))
        home.send(home.part(terms, START - timedelta(hours=1), (100, 200)))
    return folder, person.household


def test_an_added_member_has_a_home_and_can_be_given_a_link(tmp_path):
    data = tmp_path / "data"
    added = run_json("member", "add", "ada@example.org", "--name", "Ada", "--data", data)
    assert added["roles"] == ["member"]
    assert added["household"].startswith("h-")
    link = run_json("member", "link", "ada@example.org", "--data", data)
    assert link["url"].endswith(f"/sign-in/{link['token']}")
    listed = run_json("member", "list", "--data", data)["people"]
    assert [person["email"] for person in listed] == ["ada@example.org"]
    code = run_json("gateway", "claim", added["household"], "--data", data)["claim_code"]
    assert len(code) == 14


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["member", "add", "nonsense", "--name", "Ada"], "no e-mail address"),
        (["member", "add", "a@b", "--name", "Ada", "--role", "king"], "use one of member"),
        (["member", "add", "a@b", "--name", "Ada", "--role", "supplier"], "supplier's name"),
        (["member", "add", "a@b", "--name", " "], "name is missing"),
        (["member", "link", "nobody@example.org"], "no such person"),
        (["gateway", "claim", "h-nobody"], "no such household"),
        (["erase", "h-nobody"], "--yes"),
        (["erase", "h-nobody", "--yes"], "no such household"),
        (["backup", "--to", "x.tar"], "check --data"),
        (["verify"], "check --data"),
        (["restore", "nowhere.tar"], "nowhere.tar"),
    ],
)
def test_mistakes_are_said_in_one_line_with_exit_code_two(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    done = run(*arguments, "--data", tmp_path / "data", code=2)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of open files here")
@pytest.mark.parametrize(
    "arguments",
    [["gateway", "claim", "h-nobody"], ["erase", "h-nobody", "--yes"], ["member", "list"]],
)
def test_a_command_leaves_no_file_open_whether_it_is_refused_or_done(tmp_path, arguments):
    def held():
        opened = [str(each.readlink()) for each in _descriptors()]
        return [path for path in opened if path.startswith(str(tmp_path))]

    gc.disable()
    try:
        CliRunner().invoke(app, [*arguments, "--data", str(tmp_path / "data")])
        assert held() == []
    finally:
        gc.enable()


def _descriptors():
    # The list itself is held open while it is read; afterwards its own entry leads nowhere.
    return [each for each in list(Path("/proc/self/fd").iterdir()) if each.is_symlink()]


def test_a_setting_that_is_wrong_names_the_file_and_the_setting(tmp_path):
    (tmp_path / "cloud.toml").write_text('timezone = "Mars/Olympus"\n')
    done = run("settings", "--data", tmp_path, code=2)
    assert "timezone" in done.stderr
    assert "cloud.toml" in done.stderr
    (tmp_path / "cloud.toml").write_text("nonsense = 1\n")
    assert "nonsense" in run("settings", "--data", tmp_path, code=2).stderr
    (tmp_path / "cloud.toml").write_text("this is no toml")
    assert "cloud.toml" in run("settings", "--data", tmp_path, code=2).stderr


def test_environment_wins_over_file_and_secrets_stay_hidden(tmp_path, monkeypatch):
    (tmp_path / "cloud.toml").write_text('coop_name = "File"\n[influx]\nurl = "http://x"\n')
    monkeypatch.setenv("COMMONWATT_COOP_NAME", "Environment")
    monkeypatch.setenv("COMMONWATT_INFLUX__TOKEN", "very-secret")
    done = run("settings", "--data", tmp_path, "--json")
    shown = json.loads(done.stdout)
    assert (shown["coop_name"], shown["influx"]["url"]) == ("Environment", "http://x")
    assert "very-secret" not in done.output


def test_a_sound_co_op_verifies(data):
    folder, _household = data
    found = run_json("verify", "--data", folder)
    assert found["faults"] == []
    assert found["consent_events"] == 1
    assert found["entries"] == 6


def test_verify_finds_a_rewritten_consent(data):
    folder, _household = data
    database = open_database(load_settings(folder))
    with database.transaction() as connection:
        connection.execute(text("DROP TRIGGER consent_events_no_update"))
        connection.execute(
            text("UPDATE consent_events SET payload = replace(payload, 'PT15M', 'PT1M')")
        )
    database.close()
    faults = run_json("verify", "--data", folder, code=1)["faults"]
    assert "does not fit its log entry" in faults[0]


def test_verify_finds_a_rewritten_log_entry(data):
    folder, _household = data
    database = open_database(load_settings(folder))
    with database.transaction() as connection:
        connection.execute(text("DROP TRIGGER log_entries_no_update"))
        connection.execute(text("UPDATE log_entries SET entry = '{\"facts\":{}}' WHERE place = 2"))
    database.close()
    faults = run_json("verify", "--data", folder, code=1)["faults"]
    assert any("does not fit the entries" in fault for fault in faults)


def readings_of(folder, household):
    store = EmbeddedStore(folder / "readings")
    streams = store.streams(household)
    store.close()
    return streams


def test_a_restored_backup_is_the_same_co_op(data, tmp_path):
    folder, household = data
    made = run_json("backup", "--data", folder, "--to", tmp_path / "coop.tar")
    assert made["files"] >= 4
    assert (tmp_path / "coop.tar").stat().st_mode & 0o077 == 0
    new = tmp_path / "new"
    run_json("restore", tmp_path / "coop.tar", "--data", new)
    before, after = (run_json("verify", "--data", place) for place in (folder, new))
    assert before == after
    assert readings_of(new, household) == readings_of(folder, household) != ()
    assert (new / "keys" / "log.key").read_bytes() == (folder / "keys" / "log.key").read_bytes()


def test_a_backup_never_overwrites_and_a_restore_never_mixes(data, tmp_path):
    folder, _household = data
    run("backup", "--data", folder, "--to", tmp_path / "coop.tar")
    assert "exists" in run("backup", "--data", folder, "--to", tmp_path / "coop.tar", code=2).stderr
    assert "not empty" in run("restore", tmp_path / "coop.tar", "--data", folder, code=2).stderr


def test_a_damaged_backup_is_refused_and_leaves_nothing(data, tmp_path):
    folder, _household = data
    file = tmp_path / "coop.tar"
    run("backup", "--data", folder, "--to", file)
    whole = file.read_bytes()
    place = whole.index(b"SQLite format 3") + 5000
    file.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    for content in (file.read_bytes(), whole[: len(whole) // 2], b"no tar at all"):
        file.write_bytes(content)
        done = run("restore", file, "--data", tmp_path / "new", code=2)
        assert str(file) in done.stderr
        assert not (tmp_path / "new").exists()


def test_a_backup_cannot_write_outside_its_folder(tmp_path):
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(tmp_path / "evil", arcname="../escaped")
    run("restore", tmp_path / "evil.tar", "--data", tmp_path / "in" / "new", code=2)
    assert not (tmp_path / "in" / "escaped").exists()


def test_an_erased_home_is_gone_everywhere_and_the_rest_still_verifies(data, tmp_path):
    folder, household = data
    run("backup", "--data", folder, "--to", tmp_path / "before.tar")
    found = run_json("erase", household, "--yes", "--data", folder)
    assert (found["people"], found["gateways"], found["readings_erased"]) == (1, 1, 2)
    database = open_database(load_settings(folder))
    with database.reading() as connection:
        home = household_row(connection, household)
        names = {person.name for person in people_of_household(connection, household)}
    database.close()
    assert (home.label, names) == ("erased", {"erased"})
    assert readings_of(folder, household) == ()
    assert run_json("verify", "--data", folder)["faults"] == []
    for file in folder.rglob("*"):
        assert not file.is_file() or b"ada@example.org" not in file.read_bytes(), file
    run("erase", household, "--yes", "--data", folder, code=2)


def test_a_restore_erases_again_what_was_erased_since(data, tmp_path):
    folder, household = data
    run("backup", "--data", folder, "--to", tmp_path / "before.tar")
    run("erase", household, "--yes", "--data", folder)
    new = tmp_path / "new"
    listed = folder / "erased_homes.txt"
    done = run_json("restore", tmp_path / "before.tar", "--data", new, "--erased", listed)
    assert done["erased_again"] == [household]
    assert readings_of(new, household) == ()


def test_a_port_in_use_is_one_clear_line_and_nothing_is_made(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("serve", "--data", tmp_path / "data", "--port", port, code=2)
    assert f"127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_help_is_quick_and_shows_an_example():
    for command in ("serve", "migrate", "settings", "backup", "restore", "erase", "verify"):
        assert "Example: coop-cloud" in run(command, "--help").output
