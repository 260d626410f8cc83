"""Idempotency keys: one effect per key, the same answer again, and never another request's."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from cloud.idempotency import OnceDep, answers
from cloud.members.repository import households
from cloud.members.roles import Role
from cloud.members.usecases import add_household
from cloud.services import ServicesDep

PATH = "/test/homes"


@pytest.fixture
def homes(coop):
    """A request that adds a home: repeating it must not add another."""

    @coop.app.post(PATH)
    def post_home(services: ServicesDep, once: OnceDep, wanted: dict[str, str]):
        with services.database.transaction() as connection:
            return once.do(
                connection,
                lambda: {
                    "household": add_household(connection, label=wanted["label"], now=coop.clock())
                },
                now=coop.clock(),
            )

    def count():
        with coop.services.database.reading() as connection:
            return connection.scalar(select(func.count()).select_from(households))

    return count


@pytest.fixture
def browser(coop):
    return coop.browser_of(coop.person(Role.OPERATOR))


def send(browser, key, label="Home"):
    return browser.post(PATH, json={"label": label}, headers={"Idempotency-Key": key})


def test_the_same_request_again_gets_the_first_answer_and_does_nothing(homes, browser):
    first, second = send(browser, "key-1"), send(browser, "key-1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert homes() == 1


def test_another_request_under_the_same_key_is_refused(homes, browser):
    send(browser, "key-1")
    answer = send(browser, "key-1", label="Another")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:commonwatt:problem:key-reused")
    assert homes() == 1


def test_keys_of_different_people_never_meet(coop, homes, browser):
    other = coop.browser_of(coop.person(Role.OPERATOR, email="eve@example.org"))
    assert send(browser, "key-1").json() != send(other, "key-1").json()
    assert homes() == 2


def test_a_request_without_a_key_is_told_to_bring_one(homes, browser):
    assert browser.post(PATH, json={"label": "Home"}).status_code == 422
    assert send(browser, "x" * 101).status_code == 422
    assert homes() == 0


def test_a_failed_request_keeps_no_answer(coop, homes, browser):
    assert send(browser, "key-1", label="").status_code == 422
    assert send(browser, "key-1", label="Home").status_code == 201
    assert homes() == 1


def test_answers_are_forgotten_after_a_day(coop, homes, browser):
    send(browser, "key-1")
    coop.clock.turn(hours=24)
    send(browser, "key-2")
    with coop.services.database.reading() as connection:
        assert connection.scalars(select(answers.c.key)).all() == ["key-2"]
    assert homes() == 2
