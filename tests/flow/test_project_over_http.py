"""A project from proposal to payment over HTTP, against a real server that counts the vote by itself."""

from __future__ import annotations

import hashlib
import importlib.util
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from cloud.app import open_database
from cloud.fund.usecases import fund_state, ledger_in, pay_shares
from cloud.keys import load_or_make_keys
from cloud.members.access import SESSION_COOKIE
from cloud.members.roles import Role
from cloud.members.usecases import add_member, add_person, open_session
from cloud.security import CSRF_HEADER, csrf_token_of
from cloud.settings import load_settings
from tests.cloud.projects.project_builder import plan_text
from tests.cloud.server_process import ServerProcess

pytestmark = pytest.mark.slow

MEMBERS = 4
SHARE_MINOR = 100_000
OPEN_S_MIN = 15
COUNTED_S_MAX = 120


class People:
    """Members and a board with sessions, and shares in the fund, made before the server starts."""

    def __init__(self, data_dir: Path) -> None:
        load_or_make_keys(data_dir)
        now = datetime.now(UTC)
        database = open_database(load_settings(data_dir))
        with database.transaction() as connection:
            members = [
                add_member(connection, email=f"m{number}@example.org", name=f"M{number}", now=now)
                for number in range(MEMBERS)
            ]
            board = [
                add_person(
                    connection,
                    email=f"{name}@example.org",
                    name=name.title(),
                    roles=[Role.BOARD],
                    now=now,
                )
                for name in ("amara", "jonas")
            ]
            pay_shares(
                connection,
                {one.household: SHARE_MINOR for one in members},
                call="founding",
                currency="EUR",
                evidence="ab" * 32,
                now=now,
            )
            self._tokens = [
                open_session(connection, person=person, now=now).token
                for person in (*members, *board)
            ]
        database.close()

    @contextmanager
    def browsers(self, url: str) -> Iterator[list[httpx.Client]]:
        opened = [
            httpx.Client(
                base_url=url,
                cookies={SESSION_COOKIE: token},
                headers={CSRF_HEADER: csrf_token_of(token)},
                trust_env=False,
                timeout=60,
            )
            for token in self._tokens
        ]
        try:
            yield opened
        finally:
            for browser in opened:
                browser.close()


def sent(browser: httpx.Client, path: str, document: dict, *, key: str = "") -> dict:
    headers = {"Idempotency-Key": key} if key else {}
    answer = browser.post(f"/api/v1{path}", json=document, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def test_from_proposal_to_the_first_payment_without_the_demo(tmp_path: Path) -> None:
    people = People(tmp_path)
    server = ServerProcess(tmp_path)
    server.start()
    try:
        with people.browsers(server.url) as browsers:
            *members, first, second = browsers
            _walk(server, members, first, second)
    finally:
        if server.is_running:
            server.stop()
    database = open_database(load_settings(tmp_path))
    with database.reading() as connection:
        now = datetime.now(UTC)
        state = fund_state(connection, "EUR", now)
        ledger = ledger_in(connection, now)
        assert (state.projects_minor, state.granted_minor) == (45_000, 105_000)
        assert state.cash_minor == MEMBERS * SHARE_MINOR - 45_000
        assert sum(line.balance.posted_minor for line in ledger.trial_balance()) == 0
        assert ledger.verify_chain().is_whole
    database.close()


def _walk(
    server: ServerProcess,
    members: list[httpx.Client],
    first: httpx.Client,
    second: httpx.Client,
) -> None:
    proposal = {
        "name": "School roof",
        "site": "the flat roof",
        "words": "The school uses it all.",
        "project_file": plan_text("school"),
    }
    assert sent(members[0], "/projects", proposal, key="p") == {"project_id": "school"}
    sent(first, "/projects/school/screen", {"words": "The roof was looked at."})
    folder = Path(importlib.util.find_spec("pvlib").origin).parent / "data"
    kept = first.post(
        "/api/v1/projects/files?kind=weather&name=greensboro.csv",
        content=(folder / "723170TYA.CSV").read_bytes(),
    )
    assert kept.status_code == 201, kept.text
    weather = {"weather_sha256": kept.json()["sha256"]}
    shown = sent(second, "/projects/school/appraise", weather)
    assert shown["state"] == "appraised"
    assert shown["appraisal"]["report"]["annual_energy_kwh"] > 3_000

    # Long enough for everybody to vote, however slow the machine is.
    started_s = time.monotonic()
    assert members[0].get("/projects/school").status_code == 200
    open_s = max(OPEN_S_MIN, 20 * MEMBERS * (time.monotonic() - started_s))
    closes_at = datetime.now(UTC) + timedelta(seconds=open_s)
    vote = {"title": "Spring", "closes_at": closes_at.isoformat(), "projects": ["school"]}
    draft = sent(first, "/projects/votes", vote, key="v")["draft_id"]
    assert first.post(f"/api/v1/projects/votes/{draft}/open").status_code == 403
    opened = sent(second, f"/projects/votes/{draft}/open", {})
    assert opened["budget_minor"] == MEMBERS * SHARE_MINOR
    for browser in members:
        sent(browser, f"/votes/{draft}/ballot", {"approve": ["school"]}, key="b")

    # A server that dies while the vote is open counts it after it is back.
    server.kill()
    server.start()
    deadline_s = time.monotonic() + open_s + COUNTED_S_MAX
    while time.monotonic() < deadline_s:
        shown = first.get("/api/v1/projects/school").json()
        if shown["state"] == "granted":
            break
        time.sleep(0.5)
    assert shown["state"] == "granted", shown
    assert [one["kind"] for one in shown["events"]][-2:] == ["voted", "granted"]

    evidence = hashlib.sha256(b"the contract").hexdigest()
    signature = {"act": "contract signed", "evidence": evidence}
    path = "/projects/school/signatures"
    assert sent(first, path, signature, key="s") == {"is_done": False}
    assert (
        first.post(f"/api/v1{path}", json=signature, headers={"Idempotency-Key": "t"}).status_code
        == 403
    )
    assert sent(second, path, signature, key="s") == {"is_done": True}
    shown = members[0].get("/api/v1/projects/school").json()
    assert (shown["grant_minor"], shown["paid_minor"], shown["open_minor"]) == (
        150_000,
        45_000,
        105_000,
    )
    page = members[0].get("/projects/school")
    assert page.status_code == 200
    assert evidence in page.text
