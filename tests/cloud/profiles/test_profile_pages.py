"""Profiles over HTTP: who may ask, and what a refusal looks like."""

from __future__ import annotations

import pytest

from cloud.members.roles import Role
from tests.cloud.coop_builder import Coop

ASK = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z", "step_s": 3600}


@pytest.mark.parametrize("role", [Role.MEMBER, Role.SUPPLIER, Role.OPERATOR, Role.AUDITOR])
@pytest.mark.parametrize("path", ["group", "typical-day"])
def test_only_the_board_asks(coop: Coop, role: Role, path: str) -> None:
    supplier = "nordwind" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, supplier=supplier))
    assert browser.post(f"/api/v1/profiles/{path}", json=ASK).status_code == 403
    assert coop.new_browser().post(f"/api/v1/profiles/{path}", json=ASK).status_code == 401


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.BOARD, 200), (Role.AUDITOR, 200), (Role.MEMBER, 403), (Role.OPERATOR, 403)],
)
def test_the_board_and_auditors_see_what_was_released(coop: Coop, role: Role, status: int) -> None:
    browser = coop.browser_of(coop.person(role))
    assert browser.get("/api/v1/profiles/releases").status_code == status


def test_a_refusal_is_a_problem_document_and_is_listed(coop: Coop) -> None:
    board = coop.browser_of(coop.person(Role.BOARD))
    answer = board.post("/api/v1/profiles/group", json=ASK)
    assert answer.status_code == 409
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert "0 homes that agreed, and at least 15" in answer.json()["detail"]
    (listed,) = board.get("/api/v1/profiles/releases").json()
    assert listed["is_released"] is False
    assert "0 homes" in listed["reasons"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"start": "2026-03-01T00:00:00"},
        {"step_s": 60},
        {"purpose": "fun"},
        {"who": "me"},
        {"end": "2027-03-02T00:00:00Z"},
    ],
)
def test_a_question_without_meaning_is_refused(coop: Coop, change: dict[str, object]) -> None:
    board = coop.browser_of(coop.person(Role.BOARD))
    assert board.post("/api/v1/profiles/group", json=ASK | change).status_code == 422
