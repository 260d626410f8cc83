"""The pages of projects: a whole life by forms alone, who sees what, and what is refused."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import pytest

from cloud.members.roles import Role
from cloud.security import BODY_BYTES_MAX
from tests.cloud.coop_builder import Browser
from tests.cloud.projects.project_builder import Fundable, load_bytes, plan_text, sha, weather_bytes

BOARD_FORMS = ("/screen", "/appraise", "/sign", "/step", "/months", "/close")


@pytest.fixture
def member(fundable: Fundable) -> Browser:
    return fundable.coop.browser_of(fundable.members[0])


@pytest.fixture
def board(fundable: Fundable) -> tuple[Browser, Browser]:
    first, second = fundable.board
    return fundable.coop.browser_of(first), fundable.coop.browser_of(second)


def sent(browser: Browser, path: str, data: dict | None = None, **files: tuple[str, bytes]) -> str:
    """Send a form as a browser does; returns where it led."""
    answer = browser.post(path, data=data or {}, files=files or None)
    assert answer.status_code == 303, re.sub(r"<[^>]+>", " ", answer.text)[-600:]
    assert answer.headers["location"] != "/sign-in"
    return answer.headers["location"]


def test_a_whole_life_by_forms_alone(
    fundable: Fundable, member: Browser, board: tuple[Browser, Browser]
) -> None:
    first, second = board
    page = "/projects/school"
    proposal = {"name": "School roof", "site": "the flat roof", "words": "The school uses it all."}
    plan = plan_text("school").encode()
    assert sent(member, "/projects/new", proposal, plan=("p.toml", plan)) == page
    assert "Waits for the board" in member.get(page).text
    assert "For the board" not in member.get(page).text

    sent(first, f"{page}/screen", {"decision": "pass", "words": "The roof was looked at."})
    for kind, content in (("weather", weather_bytes()), ("load", load_bytes())):
        back = sent(
            first,
            "/projects/files",
            {"kind": kind, "project_id": "school"},
            file=("f.csv", content),
        )
        assert back == f"{page}#board"
    hashes = re.findall(r'option value="([0-9a-f]{64})"', first.get(page).text)
    sent(first, f"{page}/appraise", {"weather": hashes[0], "load": hashes[1]})
    shown = member.get(page).text
    assert "Net present value" in shown
    assert "sum of min(load, solar)" in shown

    key = re.search(
        r'name="vote_key" value="([0-9a-f]{12})"', first.get("/projects/votes/new").text
    )
    today = fundable.coop.clock()
    vote = {
        "vote_key": key[1],
        "title": "Spring round",
        "closes_on": f"{today + timedelta(days=3):%Y-%m-%d}",
        "quorum_percent": "30",
        "project": ["school"],
        "group-school": "",
        "utility": "cost",
        "completion": "add1",
        "then": "utilitarian",
        "min_support": "0",
        "record_on": "",
    }
    draft = sent(first, "/projects/votes", vote)
    assert sent(first, "/projects/votes", vote) == draft
    assert "Open this vote" not in first.get(draft).text
    assert first.post(f"{draft}/open").status_code == 403
    opened = sent(second, f"{draft}/open")
    assert "On the ballot paper" in member.get("/projects").text
    for person in fundable.members:
        sent(fundable.coop.browser_of(person), f"{opened}/ballot", {"approve": ["school"]})
    fundable.coop.clock.turn(days=5)
    sent(first, f"{opened}/count")
    assert "Granted, to be built" in member.get(page).text

    invoice = ("invoice.pdf", b"an invoice of 2 MB" * 120_000)
    for browser in board:
        assert sent(browser, f"{page}/sign", {"act": "contract signed"}, document=invoice)
    assert hashlib.sha256(invoice[1]).hexdigest() in member.get(page).text
    sent(first, f"{page}/step", {"state": "built", "evidence": sha("handover")})
    for browser in board:
        sent(browser, f"{page}/sign", {"act": "installed", "evidence": sha("photo")})
    operating = {"state": "operating", "first_month": "2026-03", "evidence": sha("grid")}
    sent(second, f"{page}/step", operating)
    fundable.coop.clock.turn(days=60)
    # Sessions last two weeks.
    member, first, second = (
        fundable.coop.browser_of(one) for one in (fundable.members[0], *fundable.board)
    )
    month = {"month": "2026-03", "energy_kwh": "260", "evidence": sha("reading")}
    sent(first, f"{page}/months", month)
    sent(first, f"{page}/months", {"month": "2026-04", "gap": "yes", "evidence": sha("gap")})
    for browser in (first, second):
        sent(browser, f"{page}/sign", {"act": "metered for a month", "evidence": sha("month")})

    shown = member.get(page).text
    assert "€1,500.00" in shown
    assert "€0.00 set aside" in shown
    assert "260 kWh" in shown
    assert "the meter has a gap" in shown
    sent(first, f"{page}/close", {"words": "The roof was sold with the house."})
    assert "The roof was sold" in member.get(page).text


@pytest.mark.parametrize("role", [Role.MEMBER, Role.AUDITOR])
def test_the_boards_forms_are_for_the_board(fundable: Fundable, role: Role) -> None:
    fundable.propose("school")
    browser = fundable.coop.browser_of(fundable.coop.person(role, email="other@example.org"))
    assert browser.get("/projects/school").status_code == 200
    for path in BOARD_FORMS:
        assert browser.post(f"/projects/school{path}").status_code == 403
    for path in ("/projects/files", "/projects/votes", "/projects/votes/x/open"):
        assert browser.post(path).status_code == 403
    assert browser.get("/projects/votes/new").status_code == 403
    assert fundable.state() == "proposed"


@pytest.mark.parametrize("role", [Role.SUPPLIER, Role.REQUESTER, Role.OPERATOR])
def test_projects_are_for_the_coop(fundable: Fundable, role: Role) -> None:
    fundable.propose("school")
    supplier = "Nord" if role is Role.SUPPLIER else None
    person = fundable.coop.person(role, email="other@example.org", supplier=supplier)
    browser = fundable.coop.browser_of(person)
    assert browser.get("/projects").status_code == 403
    assert browser.get("/projects/school").status_code == 403
    assert browser.get("/api/v1/projects").status_code == 403
    assert fundable.coop.new_browser().get("/projects").headers["location"] == "/sign-in"


def test_a_load_is_not_for_members(fundable: Fundable, member: Browser) -> None:
    weather, load = fundable.keep(), fundable.keep("load")
    assert member.get(f"/projects/files/{weather}").content == weather_bytes()
    assert member.get(f"/projects/files/{load}").status_code == 404
    board = fundable.coop.browser_of(fundable.board[0])
    assert board.get(f"/api/v1/projects/files/{load}").content == load_bytes()


def test_members_do_not_see_who_proposed(fundable: Fundable) -> None:
    fundable.propose("school")
    other = fundable.coop.browser_of(fundable.members[1])
    name = fundable.members[0].name
    assert f"Proposed by {name}" not in other.get("/projects/school").text
    board = fundable.coop.browser_of(fundable.board[0])
    assert f"Proposed by {name}" in board.get("/projects/school").text


def test_two_signatures_need_one_document(
    fundable: Fundable, board: tuple[Browser, Browser]
) -> None:
    fundable.granted()
    first, second = board
    sent(first, "/projects/school/sign", {"act": "contract signed"}, document=("a", b"one"))
    answer = second.post(
        "/projects/school/sign", data={"act": "contract signed"}, files={"document": ("a", b"two")}
    )
    assert answer.status_code == 409
    assert "compare the two" in answer.text
    answer = second.post(
        "/projects/school/sign",
        data={"act": "contract signed", "evidence": sha("one")},
        files={"document": ("a", b"two")},
    )
    assert answer.status_code == 422
    assert fundable.life().paid_minor == 0


def test_a_damaged_form_is_answered_in_words(
    fundable: Fundable, member: Browser, board: tuple[Browser, Browser]
) -> None:
    fundable.propose("school")
    for data, named in (
        ({}, "words: write"),
        ({"words": "It is a good roof."}, "decision: choose"),
        ({"words": "x" * 5_000, "decision": "pass"}, "words: write"),
    ):
        answer = board[0].post("/projects/school/screen", data=data)
        assert answer.status_code == 422
        assert named in answer.text
    bad = {"name": "Roof", "site": "here", "words": "A fine roof.", "project_file": "[[["}
    answer = member.post("/projects/new", data=bad)
    assert answer.status_code == 422
    assert "is no TOML" in answer.text


def test_large_bodies_are_taken_only_where_files_go(
    fundable: Fundable, member: Browser, board: tuple[Browser, Browser]
) -> None:
    large = {"approve": "x" * (BODY_BYTES_MAX + 1)}
    assert member.post("/votes/spring/ballot", data=large).status_code == 413
    too_large = b"x" * (9 * 1024 * 1024)
    fundable.granted()
    answer = board[0].post("/projects/school/sign", files={"document": ("a", too_large)})
    assert answer.status_code == 413


def test_what_people_write_is_never_markup(fundable: Fundable, member: Browser) -> None:
    proposal = {
        "name": "<script>alert(1)</script>",
        "site": "<b>roof</b>",
        "words": "<img src=x onerror=alert(1)>",
        "project_file": plan_text("school"),
    }
    sent(member, "/projects/new", proposal)
    for path in ("/projects", "/projects/school"):
        text = member.get(path).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


def test_the_api_says_the_same(fundable: Fundable, board: tuple[Browser, Browser]) -> None:
    fundable.granted()
    shown = board[0].get("/api/v1/projects/school").json()
    assert (shown["state"], shown["grant_minor"], shown["paid_minor"]) == ("granted", 150_000, 0)
    assert [event["kind"] for event in shown["events"]][-2:] == ["voted", "granted"]
    written = board[0].get("/api/v1/projects/school/appraisal.json").content
    evidence = next(one["evidence"] for one in shown["events"] if one["kind"] == "appraised")
    assert hashlib.sha256(written).hexdigest() == evidence
    assert board[0].get("/api/v1/projects/school/project.toml").text == plan_text("school")

    signature = {"act": "contract signed", "evidence": "ab" * 32}
    path, key = "/api/v1/projects/school/signatures", {"Idempotency-Key": "one"}
    assert board[0].post(path, json=signature).status_code == 422
    answers = [board[0].post(path, json=signature, headers=key) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"is_done": False}] * 2
    assert board[1].post(path, json=signature, headers=key).json() == {"is_done": True}
    assert board[0].get("/api/v1/projects").json()[0]["paid_minor"] == 45_000
