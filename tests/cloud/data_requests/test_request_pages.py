"""The pages about uses of data: who sees what, and what each form does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.members.roles import Role
from tests.cloud.coop_builder import Coop, open_coop
from tests.cloud.data_requests.request_builder import SETTINGS, Asking, asking_in
from tests.cloud.votes.policy_builder import cast, count, facts_of

FORM = {
    "title": "Cold weeks",
    "question": "How much more is used in cold weeks?",
    "purpose": "research",
    "template": "monthly_12",
    "quantity": "import_wh",
    "first_day": "2026-01-01",
    "last_day": "2026-01-31",
    "recipient": "University of Nowhere",
    "retention_days": "365",
    "price": "250.50",
    "promise": ["no_link", "return_results"],
    "homes_min": "12",
    "idempotency_key": "a-key",
}


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    with open_coop(tmp_path, **SETTINGS) as opened:
        yield opened


@pytest.fixture
def asking(coop: Coop) -> Asking:
    return asking_in(coop)


def test_a_requester_asks_with_a_form_and_sending_it_twice_asks_once(asking: Asking) -> None:
    first = asking.requester.post("/data-requests", data=FORM)
    again = asking.requester.post("/data-requests", data=FORM)

    assert first.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    page = asking.requester.get(first.headers["location"]).text
    assert "pays €250.50" in page
    assert "to show members the results" in page
    assert "<dd>31 Jan 2026</dd>" in page
    assert asking.requester.get("/data-requests").text.count("Cold weeks") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"price": "free"},
        {"price": "1.005"},
        {"price": "-1"},
        {"purpose": "billing"},
        {"template": "everything"},
        {"quantity": "secrets"},
        {"promise": ["no_resell"]},
        {"last_day": "2027-01-01"},
        {"first_day": "yesterday"},
        {"retention_days": "0"},
        {"homes_min": "-1"},
        {"question": "Why?"},
    ],
)
def test_a_form_that_does_not_fit_asks_nothing(coop: Coop, asking: Asking, changes: dict) -> None:
    answer = asking.requester.post("/data-requests", data=FORM | changes)

    assert answer.status_code == 422
    assert facts_of(coop, "proposal.submitted") == []


def test_the_whole_way_goes_by_forms(coop: Coop, asking: Asking) -> None:
    address = asking.requester.post("/data-requests", data=FORM).headers["location"]
    for browser in asking.board[:2]:
        answer = browser.post(
            f"{address}/review", data={"opinion": "for", "reasons": "It is worth knowing."}
        )
        assert answer.status_code == 303
    assert asking.board[0].post(f"{address}/vote").status_code == 303
    page = asking.members[0][1].get(address).text
    vote = re.search(r'href="/votes/(policy-[0-9a-f]+)"', page)[1]
    assert f'href="{address}"' in asking.members[0][1].get(f"/votes/{vote}").text
    for _person, browser in asking.members:
        cast(browser, vote, choice="yes")
    count(coop, vote, days=14)
    asking.sign_in()
    for who, step in ((0, "freeze"), (0, "sign"), (1, "sign")):
        assert asking.board[who].post(f"{address}/{step}").status_code == 303
    paid = asking.board[0].post(f"{address}/fee", data={"bank_evidence": "AB" * 32})
    assert paid.status_code == 303

    own = asking.requester.get(address).text
    member = asking.members[0][1].get("/data-use").text

    assert "Download the figures" in own
    assert "Your data earned €20.8" in member
    assert "Download the figures" not in asking.members[0][1].get(address).text


def test_what_nobody_may_do_now_is_not_offered(asking: Asking) -> None:
    proposal_id = asking.submit()
    page = f"/data-requests/{proposal_id}"

    assert "Your opinion for the board" in asking.board[0].get(page).text
    assert "Your opinion for the board" not in asking.members[0][1].get(page).text
    assert "Leave my home out" in asking.members[0][1].get(page).text
    assert "Leave my home out" not in asking.requester.get(page).text
    for step in ("vote", "freeze", "sign"):
        assert asking.board[0].post(f"{page}/{step}").status_code == 409


def test_a_home_is_left_out_and_taken_in_again(asking: Asking) -> None:
    proposal_id = asking.submit()
    member = asking.members[0][1]

    member.post(f"/data-requests/{proposal_id}/leave", data={"choice": "out"})
    assert "your home is left out" in member.get("/data-use").text
    member.post(f"/data-requests/{proposal_id}/leave", data={"choice": "in"})
    assert "your home is left out" not in member.get("/data-use").text


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SUPPLIER])
def test_operators_and_suppliers_see_no_requests(coop: Coop, asking: Asking, role: Role) -> None:
    proposal_id = asking.submit()
    supplier = "nord" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, email="x@example.org", supplier=supplier))

    for path in ("/data-requests", f"/data-requests/{proposal_id}", "/data-requests/new"):
        assert browser.get(path).status_code == 403
    assert browser.get("/data-use").status_code == 403


def test_another_requester_sees_nothing_of_it(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()
    other = coop.browser_of(coop.person(Role.REQUESTER, email="other@example.org"))

    assert other.get(f"/data-requests/{proposal_id}").status_code == 404
    assert "Evening peaks" not in other.get("/data-requests").text


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        ("review", {"opinion": "for", "reasons": "It is worth knowing."}),
        ("vote", {}),
        ("freeze", {}),
        ("sign", {}),
        ("fee", {"bank_evidence": "ab" * 32}),
    ],
)
def test_the_steps_of_the_board_are_the_boards(asking: Asking, step: str, fields: dict) -> None:
    proposal_id = asking.submit()

    for browser in (asking.requester, asking.members[0][1]):
        answer = browser.post(f"/data-requests/{proposal_id}/{step}", data=fields)
        assert answer.status_code == 403


def test_without_a_session_one_is_asked_to_sign_in(coop: Coop, asking: Asking) -> None:
    proposal_id = asking.submit()

    for path in ("/data-requests", f"/data-requests/{proposal_id}", "/data-use"):
        assert coop.new_browser().get(path).headers["location"] == "/sign-in"


def test_a_forged_form_from_another_site_is_refused(coop: Coop, asking: Asking) -> None:
    asking.requester.headers["Sec-Fetch-Site"] = "cross-site"

    assert asking.requester.post("/data-requests", data=FORM).status_code == 403
    assert facts_of(coop, "proposal.submitted") == []
