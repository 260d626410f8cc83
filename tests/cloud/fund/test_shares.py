"""Members' shares from a list of the bank: whole, by line, and once."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from cloud.fund.usecases import fund_state, holding_of
from tests.cloud.coop_builder import Browser, Coop
from tests.cloud.group_builder import board_of

EVIDENCE = hashlib.sha256(b"statement").hexdigest()


def book(browser: Browser, shares: str, call: str = "founding", **changes):
    body = {"call": call, "bank_evidence": EVIDENCE, "shares": shares}
    return browser.post(
        "/api/v1/shares",
        json=body | changes,
        headers={"Idempotency-Key": secrets.token_hex(8)},
    )


def test_shares_become_cash_of_the_fund_and_capital_of_each_member(coop: Coop) -> None:
    ada, bob = coop.member()[0], coop.member("bob@example.org")[0]
    _, amara = board_of(coop, "Amara")
    text = f"household,amount\n{ada.household},150.00\n{bob.household},75\n"

    first = book(amara, text)
    again = book(amara, text)
    later = book(amara, f"household,amount\n{ada.household},20\n", call="second call")

    assert first.status_code == 201, first.text
    assert (first.json()["added"], first.json()["added_minor"]) == (2, 22_500)
    assert (again.json()["added"], again.json()["known"]) == (0, 2)
    assert later.json()["added_minor"] == 2_000
    with coop.services.database.reading() as connection:
        assert fund_state(connection, "EUR", coop.clock()).cash_minor == 24_500
        assert ada.household is not None
        mine = holding_of(connection, ada.household, "EUR", coop.clock())
    assert mine.capital_minor == 17_000


def test_another_amount_in_the_same_call_is_refused(coop: Coop) -> None:
    ada = coop.member()[0]
    _, amara = board_of(coop, "Amara")
    book(amara, f"household,amount\n{ada.household},150\n")

    answer = book(amara, f"household,amount\n{ada.household},160\n")

    assert answer.status_code == 409
    assert "another call" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "empty"),
        ("household,amount\n", "empty"),
        ("home,sum\nh,1\n", "line 1"),
        ("household,amount\nHOME\n", "line 2"),
        ("household,amount\nHOME,1,2\n", "line 2"),
        ("household,amount\nHOME,many\n", "line 2"),
        ("household,amount\nHOME,NaN\n", "line 2"),
        ("household,amount\nHOME,0\n", "line 2"),
        ("household,amount\nHOME,-5\n", "line 2"),
        ("household,amount\nHOME,1.005\n", "line 2"),
        ("household,amount\nHOME,1\nHOME,1\n", "line 3"),
        ('household,amount\n"HOME,1\n', "no CSV"),
        ("household,amount\nHOME,1\nh-nobody,1\n", "h-nobody"),
    ],
)
def test_a_bad_list_is_refused_by_line_and_nothing_is_booked(
    coop: Coop, text: str, named: str
) -> None:
    ada = coop.member()[0]
    _, amara = board_of(coop, "Amara")

    answer = book(amara, text.replace("HOME", str(ada.household)))

    assert answer.status_code == 422, answer.text
    assert named in answer.text
    with coop.services.database.reading() as connection:
        assert fund_state(connection, "EUR", coop.clock()).cash_minor == 0


@pytest.mark.parametrize("changes", [{"call": "A; B"}, {"bank_evidence": "abc"}])
def test_a_call_and_an_evidence_have_a_form(coop: Coop, changes: dict) -> None:
    ada = coop.member()[0]
    _, amara = board_of(coop, "Amara")

    assert book(amara, f"household,amount\n{ada.household},1\n", **changes).status_code == 422
