"""Signing in by a link: once, soon, and only in the browser that asked."""

from __future__ import annotations

import re

import pytest

from cloud.members.access import BROWSER_COOKIE, SESSION_COOKIE
from cloud.members.roles import Role
from cloud.members.usecases import make_sign_in_link
from cloud.notices.usecases import send_due_letters


def ask_for_link(coop, browser, email="ada@example.org"):
    response = browser.post("/api/v1/sign-in", json={"email": email})
    assert response.status_code == 202, response.text
    send_due_letters(coop.services.database, coop.postbox, coop.clock())
    letters = [letter for letter in coop.postbox.letters if letter.to == email]
    return re.search(r"/sign-in/(\S+)", letters[-1].text).group(1) if letters else None


def finish(browser, token):
    return browser.post("/api/v1/sign-in/complete", json={"token": token})


def test_a_link_signs_in_the_browser_that_asked(coop):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    answer = finish(browser, ask_for_link(coop, browser))
    assert answer.status_code == 200
    assert answer.json()["name"] == "Ada"
    assert browser.get("/api/v1/me").json()["roles"] == ["member"]


def test_a_link_works_once(coop):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    token = ask_for_link(coop, browser)
    assert finish(browser, token).status_code == 200
    again = finish(browser, token)
    assert (again.status_code, again.json()["type"]) == (
        400,
        "urn:commonwatt:problem:bad-sign-in-link",
    )


def test_a_link_dies_after_fifteen_minutes(coop):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    token = ask_for_link(coop, browser)
    coop.clock.turn(minutes=15)
    assert finish(browser, token).status_code == 400


def test_a_forwarded_link_does_not_sign_in_and_is_not_used_up(coop):
    coop.person(Role.MEMBER)
    browser, thief = coop.new_browser(), coop.new_browser()
    token = ask_for_link(coop, browser)
    assert finish(thief, token).status_code == 400
    assert finish(browser, token).status_code == 200


def test_an_unknown_address_gets_the_same_answer_and_no_letter(coop):
    browser = coop.new_browser()
    assert ask_for_link(coop, browser, "nobody@example.org") is None
    assert coop.postbox.letters == []
    assert BROWSER_COOKIE in browser.cookies


def test_a_link_from_the_operator_works_in_any_browser_once(coop):
    person = coop.person(Role.MEMBER)
    with coop.services.database.transaction() as connection:
        token = make_sign_in_link(
            connection, person_id=person.person_id, browser=None, now=coop.clock()
        )
    assert finish(coop.new_browser(), token).status_code == 200
    assert finish(coop.new_browser(), token).status_code == 400


def test_cookies_cannot_be_read_by_scripts_and_stay_on_the_site(coop):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    answer = finish(browser, ask_for_link(coop, browser))
    cookie = answer.headers["set-cookie"]
    assert SESSION_COOKIE in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


def test_secrets_of_browsers_are_not_stored_as_they_are(coop, tmp_path):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    token = ask_for_link(coop, browser)
    finish(browser, token)
    files = [file.read_bytes() for file in (tmp_path / "data").glob("cloud.sqlite*")]
    session_token = browser.cookies[SESSION_COOKIE]
    assert files
    for secret in (session_token, browser.cookies[BROWSER_COOKIE]):
        assert not any(secret.encode() in content for content in files)


def test_a_session_ends_by_sign_out_and_by_age(coop):
    person = coop.person(Role.MEMBER)
    browser = coop.browser_of(person)
    other = coop.browser_of(person)
    assert browser.post("/api/v1/sign-out").status_code == 204
    assert browser.get("/api/v1/me").status_code == 401
    assert other.get("/api/v1/me").status_code == 200
    coop.clock.turn(days=14)
    assert other.get("/api/v1/me").status_code == 401


def test_asking_too_often_is_refused_with_a_time_to_come_back(coop):
    coop.person(Role.MEMBER)
    browser = coop.new_browser()
    answers = [browser.post("/api/v1/sign-in", json={"email": "ada@example.org"}) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    coop.clock.turn(seconds=int(answers[-1].headers["retry-after"]))
    assert browser.post("/api/v1/sign-in", json={"email": "ada@example.org"}).status_code == 202


def test_guessing_links_is_rate_limited(coop):
    browser = coop.new_browser()
    answers = [finish(browser, f"guess-number-{guess:020d}").status_code for guess in range(31)]
    assert answers == [400] * 30 + [429]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_requests_from_other_sites_change_nothing(coop, headers):
    _person, browser = coop.member()
    for path in ("/api/v1/gateways/claims", "/api/v1/sign-out", "/api/v1/sign-in"):
        answer = browser.post(path, headers=headers, json={"email": "ada@example.org"})
        assert (answer.status_code, answer.json()["type"]) == (
            403,
            "urn:commonwatt:problem:forgery-refused",
        )


def test_a_request_without_the_sessions_own_token_changes_nothing(coop):
    _person, browser = coop.member()
    _other, other_browser = coop.member("bob@example.org")
    for token in ("", "0" * 64, other_browser.headers["X-CSRF-Token"], "ü"):
        headers = {"X-CSRF-Token": token.encode()}
        assert browser.post("/api/v1/gateways/claims", headers=headers).status_code == 403
    assert browser.post("/api/v1/gateways/claims").status_code == 201
