"""The same co-op on PostgreSQL: tables, guards, whole transactions, one writer at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from hashlib import sha256

import msgspec
import pytest
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DatabaseError

from cloud.consents import repository as consents
from cloud.database import Database
from cloud.fund.repository import voted_parameters
from cloud.fund.usecases import fund_state, parameters_in_force
from cloud.jobs.count_votes import count_due_votes
from cloud.migrations.run import migrate, missing_steps
from cloud.projects import repository as projects
from cloud.transparency import repository as log_repository
from cloud.transparency.audit import audit
from cloud.transparency.usecases import record
from cloud.votes.repository import published_votes
from gateway.wire.consent import EventType, Terms
from gateway.wire.session import KnownConsent
from tests.cloud.coop_builder import START, HomeGateway, open_coop
from tests.cloud.data_requests.request_builder import SETTINGS, asking_in
from tests.cloud.postgres_cluster import postgres_cluster
from tests.cloud.projects.project_builder import Fundable
from tests.cloud.votes.policy_builder import cast, count, facts_of, members_of, open_policy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("postgresql"),
]


@pytest.fixture(scope="module")
def cluster():
    with postgres_cluster() as address:
        yield address


@pytest.fixture
def address(cluster):
    """An empty database."""
    database = Database(cluster)
    with database.transaction() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.close()
    return cluster


@pytest.fixture
def coop(address, tmp_path):
    with open_coop(tmp_path, database_url=address) as opened:
        yield opened


def test_the_steps_lead_to_the_tables_in_code(address):
    database = Database(address)
    migrate(database)
    assert missing_steps(database) == []
    database.close()


def test_the_whole_way_of_a_consent_and_its_readings(coop):
    _person, browser = coop.member()
    home = HomeGateway(client=coop.client, clock=coop.clock)
    assert home.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"]).is_success
    terms = msgspec.convert(browser.get("/api/v1/offers").json()[0]["terms"], type=Terms)
    home.give(terms)
    home.sync(home.event(EventType.RENEWED, terms))
    part = home.part(terms, START - timedelta(hours=1), (1, 2), grant="group-tariff@2")
    assert home.send(part).parts[0].accepted == 2
    assert browser.post("/api/v1/consents/group-tariff/withdraw").status_code == 200
    events = home.sync(known=(KnownConsent(consent_id="group-tariff", version=2),)).events
    assert len(events) == 1
    late = home.part(terms, START - timedelta(minutes=30), (3,), grant="group-tariff@2")
    assert [item.reason for item in home.send(late).parts[0].refused] == ["withdrawn"]
    assert coop.services.store.streams(home.household) == ()
    assert browser.get("/api/v1/consents/group-tariff/receipts/3").status_code == 200
    with coop.services.database.reading() as connection:
        found = audit(connection)
    assert (found.faults, found.consent_events) == ((), 3)


def test_a_project_is_voted_for_paid_and_kept(coop, monkeypatch):
    monkeypatch.setattr("cloud.chores.count_due_votes", lambda *_: 0)
    fundable = Fundable(coop=coop)
    fundable.appraised("school")
    fundable.prepare("school")
    fundable.open()
    fundable.vote(["school"])
    coop.clock.turn(days=8)
    database = coop.services.database
    counted = []
    threads = [
        threading.Thread(target=lambda: counted.append(count_due_votes(database, coop.clock())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counted) == 1
    fundable.pay("contract signed")
    fundable.pay("lapse")
    with database.reading() as connection:
        state = fund_state(connection, "EUR", coop.clock())
        assert (state.projects_minor, state.granted_minor) == (45_000, 0)
        assert audit(connection).faults == ()
    for table in (projects.solar_projects, projects.project_events, projects.project_files):
        with (
            pytest.raises(DatabaseError, match="never changed or deleted"),
            database.transaction() as connection,
        ):
            connection.execute(delete(table))


@pytest.mark.parametrize("table", [consents.consent_events, log_repository.log_entries])
def test_the_database_itself_keeps_events_and_entries(coop, table):
    column = next(column for column in table.c if column.name in ("payload", "entry"))
    for statement in (update(table).values({column: "{}"}), delete(table)):
        with (
            pytest.raises(DatabaseError, match="never changed or deleted"),
            coop.services.database.transaction() as connection,
        ):
            connection.execute(statement)


def test_writers_take_turns_and_the_log_has_no_hole(coop):
    def write():
        for _ in range(10):
            with coop.services.database.transaction() as connection:
                record(connection, kind="test.entry", facts={}, at=START)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with coop.services.database.reading() as connection:
        found = audit(connection)
    assert (found.entries, found.faults) == (44, ())


def test_a_reader_sees_one_moment(coop):
    database = coop.services.database
    with database.reading() as reader:
        before = log_repository.log_size(reader)
        with database.transaction() as writer:
            record(writer, kind="test.entry", facts={}, at=START)
        assert log_repository.log_size(reader) == before
    with database.reading() as reader:
        assert log_repository.log_size(reader) == before + 1


def test_a_vote_is_counted_published_and_kept(coop):
    people = members_of(coop, 3)
    open_policy(coop, parameters={"fund_share": "0.35"})
    for _person, browser in people:
        assert cast(browser, "van", choice="yes").status_code == 200
    assert count(coop, "van")["passed"]
    file = coop.new_browser().get("/votes/van/published.json").content
    assert facts_of(coop, "vote.closed")[0]["published_sha256"] == sha256(file).hexdigest()
    with coop.services.database.reading() as connection:
        parameters, _voted = parameters_in_force(connection, coop.clock())
    assert str(parameters.fund_share) == "0.35"
    for statement in (delete(published_votes), delete(voted_parameters)):
        with (
            pytest.raises(DatabaseError, match="never changed or deleted"),
            coop.services.database.transaction() as connection,
        ):
            connection.execute(statement)


def test_a_request_is_released_fetched_and_paid(address, tmp_path):
    with open_coop(tmp_path, database_url=address, **SETTINGS) as coop:
        asking = asking_in(coop)
        proposal_id = asking.submit()
        released = asking.release(proposal_id)
        assert released["state"] == "released", released
        file = asking.requester.get(f"/api/v1/data-requests/{proposal_id}/result.csv").content
        assert sha256(file).hexdigest() == released["output_sha256"]
        assert asking.pay(proposal_id).status_code == 200
        uses = asking.members[0][1].get("/api/v1/data-requests/uses").json()
        assert uses["earned_minor"] >= 10_000


def test_times_come_back_aware(coop):
    with coop.services.database.reading() as connection:
        entry = log_repository.newest_entries(connection, count=1)[0]
    assert entry.at == START
    assert entry.at.utcoffset() == timedelta(0)


def test_a_server_that_is_not_there_is_named_in_one_line_without_its_password(tmp_path):
    address = "postgresql+pg8000://coop:secret@127.0.0.1:1/coop"
    done = subprocess.run(
        [sys.executable, "-c", "from cloud.cli import app; app()", "migrate", "--data", tmp_path],
        env=os.environ
        | {"COMMONWATT_DATABASE_URL": address, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: postgresql+pg8000://coop:***@127.0.0.1:1/coop")
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1
