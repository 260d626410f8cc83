from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Delete, Update, text
from sqlalchemy.exc import DatabaseError

from cloud.fund.usecases import pay_shares
from cloud.transparency import repository as log_repository
from cloud.votes.repository import (
    ElectionRow,
    Project,
    ballot_box,
    ballots_in_box,
    election_projects,
    elections,
    published_votes,
)
from cloud.votes.usecases import close_election, open_election
from solar_fund.voting.merkle import is_included
from tests.cloud.coop_builder import Coop

FACTS = {
    "kwp": 4.0,
    "site": "a roof",
    "words": "A test.",
    "annual_energy_kwh": 4_000,
    "monthly_energy_kwh": [300] * 12,
    "payback_years": 9.0,
    "irr": 0.05,
}
BALLOTS = (["school"], ["school", "hall"], ["hall"], ["barn", "hall"], [], ["school"])


@pytest.fixture
def vote(coop: Coop) -> str:
    people = [coop.member(f"m{number}@example.org")[0] for number in range(len(BALLOTS))]
    homes = [person.household for person in people]
    with coop.services.database.transaction() as connection:
        pay_shares(
            connection,
            dict.fromkeys(homes, 10_000),
            call="founding",
            currency="EUR",
            evidence="ab" * 32,
            now=coop.clock(),
        )
        open_election(
            connection,
            ElectionRow(
                election_id="round-1",
                title="Round 1: Dächer",
                opens_at=coop.clock(),
                closes_at=coop.clock() + timedelta(days=7),
                budget_minor=60_000,
                currency="EUR",
                quorum=2,
                roll_size=len(homes),
                lot=("hall", "school", "barn"),
                closed_at=None,
                result=None,
                ballots_root=None,
            ),
            [
                Project(project_id=name, name=name.title(), cost_minor=cost, facts=FACTS)
                for name, cost in (("school", 30_000), ("hall", 25_000), ("barn", 90_000))
            ],
            homes,
            now=coop.clock(),
        )
    for person, approvals in zip(people, BALLOTS, strict=True):
        browser = coop.browser_of(person)
        assert browser.post("/votes/round-1/ballot", data={"approve": approvals}).status_code == 303
    return "round-1"


def close(coop: Coop) -> None:
    coop.clock.turn(days=7)
    with coop.services.database.transaction() as connection:
        close_election(connection, "round-1", now=coop.clock())


def recount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a stranger would, in a process that knows nothing of the server."""
    program = "from solar_fund.cli import app; app()"
    return subprocess.run(
        [sys.executable, "-c", program, "recount", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stranger_recounts_the_file_from_the_page_and_finds_the_same(
    coop: Coop, vote: str, tmp_path: Path
) -> None:
    close(coop)
    stranger = coop.new_browser()
    assert f"/votes/{vote}/published.json" in stranger.get(f"/votes/{vote}").text
    assert f"/votes/{vote}/published.json" in stranger.get(f"/votes/{vote}/recount").text
    answer = stranger.get(f"/votes/{vote}/published.json")
    file = tmp_path / "vote.json"
    file.write_bytes(answer.content)
    published = answer.json()
    receipt = hashlib.sha256(
        b"|".join(
            (
                vote.encode(),
                json.dumps(
                    published["ballots"][2]["ballot"], sort_keys=True, separators=(",", ":")
                ).encode(),
                published["ballots"][2]["nonce"].encode(),
            )
        )
    ).hexdigest()

    found = recount(file, "--receipt", receipt, "--json")

    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report["matches"]
    assert report["result"]["selected"] == published["result"]["selected"]
    assert report["merkle_root"] == published["merkle_root"]
    assert report["inclusion"]["holds"]
    assert report["ballots"] == published["turnout"] == len(BALLOTS)
    assert published["roll_size"] == len(BALLOTS)


def test_the_log_holds_root_and_hash_of_the_published_file(coop: Coop, vote: str) -> None:
    close(coop)
    file = coop.new_browser().get(f"/votes/{vote}/published.json").content

    with coop.services.database.reading() as connection:
        closed = [
            entry
            for entry in log_repository.entries_from(connection, first=0, count=1_000)
            if entry.kind == "vote.closed"
        ]

    facts = json.loads(closed[-1].entry)["facts"]
    assert facts["published_sha256"] == hashlib.sha256(file).hexdigest()
    assert facts["ballots_root"] == json.loads(file)["merkle_root"]


def test_the_served_bytes_stay_those_that_were_hashed_whatever_changes_later(
    coop: Coop, vote: str
) -> None:
    close(coop)
    stranger = coop.new_browser()
    before = stranger.get(f"/votes/{vote}/published.json").content
    with coop.services.database.transaction() as connection:
        connection.execute(elections.update().values(title="Another title", result_text="{}"))
        connection.execute(election_projects.update().values(name="renamed", cost_minor=1))
        connection.execute(ballot_box.delete())

    after = stranger.get(f"/votes/{vote}/published.json").content

    assert after == before
    with coop.services.database.reading() as connection:
        closed = log_repository.newest_entries(connection, kind="vote.closed", count=1)[0]
    facts = json.loads(closed.entry)["facts"]
    assert facts["published_sha256"] == hashlib.sha256(after).hexdigest()


@pytest.mark.parametrize("statement", [published_votes.delete(), published_votes.update()])
def test_the_database_refuses_to_change_a_published_file(
    coop: Coop, vote: str, statement: Delete | Update
) -> None:
    close(coop)
    if statement.is_update:
        statement = statement.values(content=b"{}")

    with (
        pytest.raises(DatabaseError, match="never changed or deleted"),
        coop.services.database.transaction() as connection,
    ):
        connection.execute(statement)


def test_a_vote_closed_before_files_were_kept_is_put_together_on_demand(
    coop: Coop, vote: str
) -> None:
    close(coop)
    stranger = coop.new_browser()
    kept = stranger.get(f"/votes/{vote}/published.json").content
    with coop.services.database.transaction() as connection:
        connection.execute(text("DROP TRIGGER published_votes_no_delete"))
        connection.execute(published_votes.delete())

    assert stranger.get(f"/votes/{vote}/published.json").content == kept


@pytest.mark.parametrize("part", ["ballot", "result", "roll"])
def test_a_changed_file_does_not_pass_the_recount(
    coop: Coop, vote: str, tmp_path: Path, part: str
) -> None:
    close(coop)
    content = coop.new_browser().get(f"/votes/{vote}/published.json").json()
    if part == "ballot":
        content["ballots"][0]["ballot"] = {"approve": ["barn", "school"]}
    elif part == "result":
        content["result"]["selected"] = ["barn"]
    else:
        content["roll_size"] = 2
    file = tmp_path / "vote.json"
    file.write_text(json.dumps(content))

    found = recount(file)

    assert found.returncode == 1
    assert found.stdout


def test_each_receipt_has_a_proof_that_leads_to_the_root(coop: Coop, vote: str) -> None:
    close(coop)
    stranger = coop.new_browser()
    with coop.services.database.reading() as connection:
        receipts = [row.receipt for row in ballots_in_box(connection, vote)]
    root = stranger.get(f"/votes/{vote}/published.json").json()["merkle_root"]

    for receipt in receipts:
        proof = stranger.get(f"/votes/{vote}/receipts/{receipt}.json").json()
        path = [bytes.fromhex(step) for step in proof["path"]]
        assert proof["root"] == root
        assert is_included(
            bytes.fromhex(receipt), proof["place"], proof["size"], path, bytes.fromhex(root)
        )


@pytest.mark.parametrize("receipt", ["00" * 32, "nonsense"])
def test_a_receipt_that_was_not_counted_has_no_proof(coop: Coop, vote: str, receipt: str) -> None:
    close(coop)

    answer = coop.new_browser().get(f"/votes/{vote}/receipts/{receipt}.json")

    assert answer.status_code == 404


def test_nothing_is_published_before_the_close(coop: Coop, vote: str) -> None:
    stranger = coop.new_browser()

    assert stranger.get(f"/votes/{vote}/published.json").status_code == 409
    assert stranger.get(f"/votes/{vote}/receipts/{'00' * 32}.json").status_code == 409
    assert stranger.get("/votes/nowhere/published.json").status_code == 404


def test_the_published_file_names_no_home_and_no_token(coop: Coop, vote: str) -> None:
    close(coop)
    published = coop.new_browser().get(f"/votes/{vote}/published.json").json()

    assert {key for ballot in published["ballots"] for key in ballot} == {"ballot", "nonce"}
    nonces = [ballot["nonce"] for ballot in published["ballots"]]
    assert len(set(nonces)) == len(nonces)
