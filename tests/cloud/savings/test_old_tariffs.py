"""A member's old tariff: entered freely, frozen by hash at joining, corrected only with a reason."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cloud.cli import app
from cloud.members.roles import Role
from cloud.savings.usecases import OLD, tariff_of
from cloud.transparency.repository import newest_entries
from tests.cloud.coop_builder import START, Browser, Coop, open_coop
from tests.cloud.group_builder import (
    WINDOW_START,
    board_of,
    group_of,
    put_on_group_tariff,
    tariff_text,
    tender_on,
)

FLAT = {
    "flat": {"supplier": "Stadtwerk", "price_per_kwh": "0.325", "standing_per_month": "9.50"},
    "valid_from": "2025-01-01",
}


def enter(browser: Browser, **changes):
    return browser.post("/api/v1/me/tariff", json=FLAT | changes)


def old_rate(coop: Coop, household: str | None) -> str:
    assert household is not None
    with coop.services.database.reading() as connection:
        tariff = tariff_of(connection, household, OLD, coop.clock())
    return str(tariff.energy[0].periods[0].tiers[0].rate)


def test_a_member_enters_one_price_and_sees_it_with_its_hash(coop: Coop) -> None:
    person, browser = coop.member()

    entered = enter(browser)

    assert entered.status_code == 201, entered.text
    assert old_rate(coop, person.household) == "0.325"
    shown = browser.get("/api/v1/me/tariff").json()
    assert shown["current"]["tariff_hash"] == entered.json()["tariff_hash"]
    assert shown["current"]["valid_from"].startswith("2024-12-31T23:00:00")
    assert shown["joined_at"] is None
    with coop.services.database.reading() as connection:
        facts = json.loads(newest_entries(connection, kind="tariff.frozen", count=1)[0].entry)
    assert facts["facts"]["tariff"] == entered.json()["tariff_hash"]
    assert person.household not in json.dumps(facts)


def test_the_same_tariff_again_adds_nothing_and_another_is_a_new_row(coop: Coop) -> None:
    _, browser = coop.member()

    first, again = enter(browser), enter(browser)
    enter(browser, flat=FLAT["flat"] | {"price_per_kwh": "0.33"})

    assert first.json() == again.json()
    history = browser.get("/api/v1/me/tariff").json()["history"]
    assert len(history) == 2
    assert history[0]["tariff_hash"] != history[1]["tariff_hash"]


@pytest.mark.parametrize(
    "way",
    [
        {"tariff": json.loads(tariff_text("0.31"))},
        {
            "toml": 'format = "commonwatt-tariff/1"\nname = "A"\ncurrency = "EUR"\n'
            'timezone = "Europe/Berlin"\n[[energy]]\nrate_per_kwh = 0.31\n'
        },
    ],
)
def test_our_form_is_taken_as_json_and_toml(coop: Coop, way: dict) -> None:
    person, browser = coop.member()

    assert enter(browser, flat=None, **way).status_code == 201
    assert old_rate(coop, person.household) == "0.31"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"flat": None}, "exactly one way"),
        ({"toml": "x = 1"}, "exactly one way"),
        ({"flat": None, "toml": "this is no TOML"}, "TOML"),
        ({"flat": None, "catalogue": "no_such"}, "not in the catalogue"),
        ({"flat": None, "catalogue": "fpl_rs1_2015"}, "USD"),
        ({"flat": None, "catalogue": "spot_example"}, "meter readings alone"),
        ({"valid_from": "1999-12-31"}, "2000-01-01"),
        ({"valid_from": "2029-01-01"}, "2028"),
    ],
)
def test_a_bad_tariff_is_refused_with_place_and_remedy(
    coop: Coop, changes: dict, named: str
) -> None:
    _, browser = coop.member()

    answer = enter(browser, **changes)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.text
    assert browser.get("/api/v1/me/tariff").json()["history"] == []


@pytest.mark.parametrize("joined_by", ["tender", "group tariff"])
def test_after_joining_only_a_later_tariff_with_a_reason_is_taken(
    coop: Coop, joined_by: str
) -> None:
    homes = group_of(coop, 2)
    if joined_by == "tender":
        tender_on(coop, homes)
    else:
        put_on_group_tariff(coop, homes, "0.25", WINDOW_START)
    browser = coop.browser_of(homes[0].person)

    back = enter(browser, flat=FLAT["flat"] | {"price_per_kwh": "0.99"}, reason="I pay far more")
    silent = enter(browser, valid_from="2026-04-01")
    later = enter(browser, valid_from="2026-04-01", reason="Letter of 1 March: new price")

    assert back.status_code == 409
    assert "frozen" in back.json()["detail"]
    assert silent.status_code == 422
    assert "/reason" in silent.text
    assert later.status_code == 201
    assert old_rate(coop, homes[0].household) == "0.30"
    coop.clock.turn(days=40)
    assert old_rate(coop, homes[0].household) == "0.325"


def test_a_tender_that_was_given_up_freezes_nothing(coop: Coop) -> None:
    homes = group_of(coop, 2)
    tender_on(coop, homes)
    _, amara = board_of(coop, "Amara")
    assert amara.post("/board/t1/walk-away").status_code == 303

    assert enter(coop.browser_of(homes[0].person)).status_code == 201


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.MEMBER])
def test_nobody_else_has_an_own_tariff(coop: Coop, role: Role) -> None:
    supplier = "Nordwind" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, supplier=supplier))

    assert browser.get("/api/v1/me/tariff").status_code == 403
    assert enter(browser).status_code == 403
    assert browser.get("/home/tariff").status_code == 403


def test_a_member_sees_the_own_tariff_and_no_other(coop: Coop) -> None:
    _, ada = coop.member()
    _, bob = coop.member("bob@example.org")
    enter(ada)

    assert bob.get("/api/v1/me/tariff").json()["history"] == []
    assert "Stadtwerk" not in bob.get("/home/tariff").text


def test_the_page_takes_one_price_and_a_file_without_a_script(coop: Coop) -> None:
    person, browser = coop.member()
    assert "Enter your old tariff" in browser.get("/home").text

    flat = {"supplier": "Stadtwerk", "price_cents": "32,5", "standing": "9.50"}
    assert browser.post("/home/tariff", data=flat | {"valid_from": "2025-01-01"}).status_code == 303
    page = browser.get("/home/tariff").text
    assert "32.5 ct/kWh" in page
    assert "€90.75" in page, "250 kWh at 32.5 ct and a month's standing charge of 9.50"
    assert "Enter your old tariff" not in browser.get("/home").text

    sent = browser.post(
        "/home/tariff/file",
        data={"valid_from": "2025-06-01"},
        files={"file": ("old.json", tariff_text("0.29"), "application/json")},
    )
    assert sent.status_code == 303, sent.text
    assert old_rate(coop, person.household) == "0.29"


@pytest.mark.parametrize(
    ("field", "wrong", "said"),
    [("price_cents", "cheap", "no number"), ("standing", "-1", "does not fit")],
)
def test_a_page_says_what_is_wrong_with_a_number(
    coop: Coop, field: str, wrong: str, said: str
) -> None:
    _, browser = coop.member()
    flat = {"supplier": "S", "price_cents": "30", "standing": "0", "valid_from": "2025-01-01"}

    answer = browser.post("/home/tariff", data=flat | {field: wrong})

    assert answer.status_code == 422
    assert said in answer.text


def test_a_file_that_is_no_text_is_refused_on_the_page(coop: Coop) -> None:
    _, browser = coop.member()

    answer = browser.post(
        "/home/tariff/file",
        data={"valid_from": "2025-06-01"},
        files={"file": ("old.toml", b"\xff\xfe\x00", "application/toml")},
    )

    assert answer.status_code == 422
    assert "UTF-8" in answer.text


def run(*arguments: object, code: int = 0):
    done = CliRunner().invoke(app, [str(item) for item in arguments])
    assert done.exit_code == code, done.output
    return done


def test_the_operator_records_paper_forms_and_corrects_with_a_reason(tmp_path) -> None:
    data = tmp_path / "data"
    with open_coop(tmp_path) as coop:
        homes = group_of(coop, 1)
        put_on_group_tariff(coop, homes, "0.25", WINDOW_START)
        home = homes[0].household
        file = tmp_path / "old.json"
        file.write_text(tariff_text("0.28"))
        command = ("tariff", "set", home, file, "--valid-from", "2025-09-01", "--data", data)

        refused = run(*command, code=2)
        assert "joined" in refused.stderr
        assert refused.stderr.count("\n") == 1
        said = json.loads(run(*command, "--reason", "old bill of June 2025", "--json").stdout)

        assert said["set_by"] == "operator"
        listed = json.loads(run("tariff", "show", home, "--data", data, "--json").stdout)
        assert [row["reason"] for row in listed["tariffs"]] == ["old bill of June 2025", ""]
        assert listed["joined_at"].startswith(START.date().isoformat())
        assert len(coop.letters_about("Your old tariff was recorded")) == 1


@pytest.mark.parametrize(
    ("text", "day", "home", "said"),
    [
        ("x = 1", "2025-01-01", None, "old.toml"),
        (tariff_text("0.3"), "soon", None, "--valid-from"),
        (tariff_text("0.3"), "2025-01-01", "h-0000000000000000", "no such household"),
    ],
)
def test_a_bad_paper_form_is_one_line_and_stores_nothing(
    tmp_path, text: str, day: str, home: str | None, said: str
) -> None:
    with open_coop(tmp_path) as coop:
        person, _ = coop.member()
        file = tmp_path / "old.toml"
        file.write_text(text)

        data = tmp_path / "data"
        done = run(
            "tariff", "set", home or person.household, file, "--valid-from", day, "--data", data,
            code=2,
        )  # fmt: skip

        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        shown = run("tariff", "show", person.household, "--data", tmp_path / "data")
        assert "no old tariff" in shown.stdout
