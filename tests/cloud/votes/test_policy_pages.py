"""The pages of policy votes: opening by the board, voting, the result and its recount."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cloud.members.roles import Role
from cloud.votes import repository
from tests.cloud.coop_builder import Coop
from tests.cloud.votes.policy_builder import (
    board_browser,
    cast,
    count,
    facts_of,
    members_of,
    open_policy,
    open_slate,
)

FORM = {
    "vote_key": "0123456789ab",
    "title": "The van",
    "text": "Shall the van be lent?",
    "closes_on": "2026-03-16",
    "record_on": "",
    "quorum_percent": "40",
    "threshold": "two-thirds",
}
VOTE = "policy-0123456789ab"


def recount(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a stranger would, in a process that knows nothing of the server."""
    program = "from solar_fund.cli import app; app()"
    return subprocess.run(
        [sys.executable, "-c", program, "recount", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_board_opens_a_vote_with_a_form_and_sending_it_twice_opens_one(coop: Coop) -> None:
    members_of(coop, 5)
    board = board_browser(coop)
    assert 'name="vote_key"' in board.get("/votes/new").text

    for _ in range(2):
        answer = board.post("/votes/policies", data=FORM)
        assert answer.headers["location"] == f"/votes/{VOTE}"

    page = board.get(f"/votes/{VOTE}").text
    assert "Shall the van be lent?" in page
    assert "At least 2 homes of 5 must take part" in page
    assert "at least 2/3 of the votes" in page
    assert len(facts_of(coop, "vote.opened")) == 1
    with coop.services.database.reading() as connection:
        closes_at = repository.election_row(connection, VOTE).closes_at
    assert closes_at.isoformat() == "2026-03-16T23:00:00+00:00", "midnight of the co-op's zone"


def test_a_form_proposes_another_split_in_per_cent(coop: Coop) -> None:
    members_of(coop, 1)
    board = board_browser(coop)

    board.post("/votes/policies", data=FORM | {"fund_share": "35", "hold_back_sigmas": "1"})

    page = board.get(f"/votes/{VOTE}").text
    assert "<b>35 %</b>" in page
    assert "<b>1 standard error</b>" in page
    assert page.count('<tr class="sel">') == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"fund_share": "abc"},
        {"fund_share": "99"},
        {"closes_on": "2026-01-01"},
        {"closes_on": "soon"},
        {"record_on": "yesterday"},
        {"threshold": "most"},
        {"vote_key": "../../etc"},
        {"quorum_percent": "101"},
        {"text": "?"},
    ],
)
def test_a_form_that_does_not_fit_opens_nothing_and_says_so(coop: Coop, changes: dict) -> None:
    members_of(coop, 1)

    answer = board_browser(coop).post("/votes/policies", data=FORM | changes)

    assert answer.status_code == 422
    assert "<h1>That did not fit</h1>" in answer.text
    assert facts_of(coop, "vote.opened") == []


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.BOARD])
def test_only_the_board_sees_the_forms(coop: Coop, role: Role) -> None:
    supplier = "nord" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, supplier=supplier))

    assert browser.get("/votes/new").status_code == 403
    assert browser.post("/votes/policies", data=FORM).status_code == 403
    assert browser.post("/votes/slates", data=FORM).status_code == 403
    assert "/votes/new" not in browser.get("/votes").text


def test_a_forged_form_from_another_site_is_refused(coop: Coop) -> None:
    members_of(coop, 1)
    board = board_browser(coop)
    board.headers["Sec-Fetch-Site"] = "cross-site"

    assert board.post("/votes/policies", data=FORM).status_code == 403
    assert facts_of(coop, "vote.opened") == []


def test_a_member_votes_on_the_page_and_changes_the_ballot(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 2)
    vote = open_policy(coop)
    assert f"/votes/{vote}" in browser.get("/home").text

    for choice in ("no", "yes"):
        answer = browser.post(f"/votes/{vote}/ballot", data={"choice": choice})
        assert answer.status_code == 303

    page = browser.get(f"/votes/{vote}").text
    assert "Your ballot is in the box" in page
    assert re.search(r'value="yes" required checked', page)
    assert count(coop, vote)["yes"] == 1
    assert "see the proof" in browser.get(f"/votes/{vote}").text


def test_a_slate_is_opened_and_voted_on_with_forms_alone(coop: Coop) -> None:
    (_person, browser), *_others = members_of(coop, 1)
    board = board_browser(coop)
    form = FORM | {"items": "A second van\r\n\r\nFour cargo bikes", "credit_limit": "50"}
    board.post("/votes/slates", data=form)
    vote = "slate-0123456789ab"

    ballot = {"item": ["proposal-1", "proposal-2"], "votes": ["5", "-3"]}
    assert browser.post(f"/votes/{vote}/ballot", data=ballot).status_code == 303

    assert 'value="-3"' in browser.get(f"/votes/{vote}").text
    assert count(coop, vote, days=15)["totals"] == {"proposal-1": 5, "proposal-2": -3}
    page = browser.get(f"/votes/{vote}").text
    assert "1 proposal accepted" in page
    assert "0 for, 3 against" in page


def test_the_result_page_says_why_and_the_board_counts_with_a_button(coop: Coop) -> None:
    people = members_of(coop, 10)
    board = board_browser(coop)
    vote = open_policy(coop)
    cast(people[0][1], vote, choice="yes")
    assert "Count it now" not in board.get(f"/votes/{vote}").text
    coop.clock.turn(days=7)
    assert "Count it now" not in people[0][1].get(f"/votes/{vote}").text

    board.post(f"/votes/{vote}/count")

    page = coop.new_browser().get(f"/votes/{vote}").text
    assert "No quorum: 1 of 10 took part, 3 were needed." in page
    assert "Not passed" in page


@pytest.mark.parametrize("kind", ["policy", "slate"])
def test_a_stranger_recounts_the_file_and_finds_every_receipt(
    coop: Coop, tmp_path: Path, kind: str
) -> None:
    people = members_of(coop, 4)
    if kind == "policy":
        vote = open_policy(coop)
        marks = [{"choice": choice} for choice in ("yes", "no", "yes")]
    else:
        vote = open_slate(coop)
        marks = [{"votes": {"van": 3}}, {"votes": {"bikes": -2}}, {"votes": {}}]
    receipts = [
        cast(browser, vote, **mark).json()["receipt"]
        for (_person, browser), mark in zip(people, marks, strict=False)
    ]
    announced = count(coop, vote)
    file = tmp_path / "vote.json"
    file.write_bytes(coop.new_browser().get(f"/votes/{vote}/published.json").content)

    for receipt in receipts:
        found = recount(file, "--receipt", receipt, "--json")
        assert found.returncode == 0, found.stderr + found.stdout
        report = json.loads(found.stdout)
        assert report["matches"]
        assert report["inclusion"]["holds"]
    assert report["result"] == announced
    assert "The recount agrees" in coop.new_browser().get(f"/votes/{vote}/recount").text


@pytest.mark.parametrize("part", ["ballot", "passed", "roll"])
def test_a_changed_file_does_not_pass_the_recount(coop: Coop, tmp_path: Path, part: str) -> None:
    people = members_of(coop, 3)
    vote = open_policy(coop)
    for _person, browser in people:
        cast(browser, vote, choice="yes")
    count(coop, vote)
    content = coop.new_browser().get(f"/votes/{vote}/published.json").json()
    if part == "ballot":
        content["ballots"][0]["ballot"] = {"choice": "no"}
    elif part == "passed":
        content["result"]["passed"] = False
    else:
        content["roll_size"] = 2
    file = tmp_path / "vote.json"
    file.write_text(json.dumps(content))

    found = recount(file)

    assert found.returncode in (1, 2)
    assert found.stdout or found.stderr.startswith("error: 3 ballots from a roll of 2")


def test_a_slate_whose_accepted_list_was_changed_does_not_pass(coop: Coop, tmp_path: Path) -> None:
    people = members_of(coop, 2)
    vote = open_slate(coop)
    for _person, browser in people:
        cast(browser, vote, votes={"van": 2})
    count(coop, vote)
    content = coop.new_browser().get(f"/votes/{vote}/published.json").json()
    content["result"]["accepted"] = ["bikes"]
    file = tmp_path / "vote.json"
    file.write_text(json.dumps(content))

    found = recount(file)

    assert found.returncode == 1
    assert "accepted" in found.stdout


def test_a_ballot_changed_in_the_box_after_the_close_shows_in_the_recount(coop: Coop) -> None:
    people = members_of(coop, 2)
    vote = open_policy(coop)
    for _person, browser in people:
        cast(browser, vote, choice="yes")
    count(coop, vote)
    before = coop.new_browser().get(f"/votes/{vote}/published.json").content
    with coop.services.database.transaction() as connection:
        connection.execute(repository.ballot_box.update().values(ballot='{"choice":"no"}'))

    after = coop.new_browser().get(f"/votes/{vote}/published.json").content

    assert after == before, "what was published stays as it was"
    assert "The recount differs" in coop.new_browser().get(f"/votes/{vote}/recount").text


def test_pabulib_is_for_votes_on_projects(coop: Coop) -> None:
    members_of(coop, 1)
    vote = open_policy(coop)
    count(coop, vote)

    assert coop.new_browser().get(f"/votes/{vote}/ballots.pb").status_code == 404


def test_the_hash_on_the_page_is_that_of_the_file(coop: Coop) -> None:
    members_of(coop, 1)
    vote = open_policy(coop)
    count(coop, vote)
    stranger = coop.new_browser()

    file = stranger.get(f"/votes/{vote}/published.json").content

    assert hashlib.sha256(file).hexdigest() in stranger.get(f"/votes/{vote}").text
