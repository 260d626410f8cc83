from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from cloud.errors import StateConflict
from cloud.negotiations import repository
from cloud.savings.usecases import GROUP, tariff_of
from gateway.wire.reading import Purpose
from tests.cloud.coop_builder import Browser, Coop
from tests.cloud.group_builder import (
    WINDOW_END,
    WINDOW_START,
    board_of,
    group_of,
    offer_text,
    put_use,
    supplier_of,
    tender_on,
)


def send(browser: Browser, offer: str, **params):
    return browser.post(
        "/api/v1/tenders/t1/offers",
        content=offer,
        params=params,
        headers={"Content-Type": "application/json"},
    )


def test_an_offer_is_replayed_on_every_homes_own_use(coop: Coop) -> None:
    homes = group_of(coop, 4)
    tender_on(coop, homes)
    _, nordwind = supplier_of(coop, "Nordwind")

    answer = send(nordwind, offer_text("Nordwind", "0.27"))

    assert answer.status_code == 201, answer.text
    hours = (WINDOW_END - WINDOW_START).total_seconds() / 3600
    with coop.services.database.reading() as connection:
        offer = repository.offers_of(connection, "t1")[0]
        outcomes = {
            home.household: repository.outcome_of_home(
                connection, offer.offer_number, home.household
            )
            for home in homes
        }
    for home in homes:
        old_minor, new_minor = outcomes[home.household]
        assert old_minor == round(home.wh_per_hour * hours * 30 / 1000)
        assert new_minor == round(home.wh_per_hour * hours * 27 / 1000)
    assert offer.saving_minor == sum(old - new for old, new in outcomes.values())
    assert offer.winners == 4


def test_the_same_bytes_again_are_the_same_offer(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2))
    _, nordwind = supplier_of(coop, "Nordwind")

    first = send(nordwind, offer_text("Nordwind", "0.27"))
    again = send(nordwind, offer_text("Nordwind", "0.27"))

    assert first.json() == again.json()
    with coop.services.database.reading() as connection:
        assert repository.count_offers(connection) == 1


def test_a_supplier_cannot_offer_in_anothers_name_nor_speak_twice(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2))
    _, nordwind = supplier_of(coop, "Nordwind")

    assert send(nordwind, offer_text("Meridian", "0.20")).status_code == 403
    assert send(nordwind, offer_text("Nordwind", "0.27")).status_code == 201
    assert send(nordwind, offer_text("Nordwind", "0.26")).status_code == 409


@pytest.mark.parametrize(
    ("offer", "named"),
    [
        ("{", "JSON"),
        (offer_text("Nordwind", "cheap"), "rate_per_kwh"),
        (offer_text("Nordwind", "0.2", bonus="free kettle"), "bonus"),
        (offer_text("Nordwind", "0.2", format="other/1"), "format"),
    ],
)
def test_a_bad_offer_is_refused_by_place_and_nothing_is_stored(
    coop: Coop, offer: str, named: str
) -> None:
    tender_on(coop, group_of(coop, 2))
    _, nordwind = supplier_of(coop, "Nordwind")

    answer = send(nordwind, offer)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in json.dumps(answer.json())
    with coop.services.database.reading() as connection:
        assert repository.count_offers(connection) == 0


def test_an_offer_after_the_deadline_is_refused(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2))
    person, _ = supplier_of(coop, "Nordwind")
    coop.clock.turn(days=8)

    assert send(coop.browser_of(person), offer_text("Nordwind", "0.27")).status_code == 409


def test_a_supplier_sees_no_floor_no_walk_away_and_no_rival(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 2))
    _, nordwind = supplier_of(coop, "Nordwind")
    _, meridian = supplier_of(coop, "Meridian")
    send(nordwind, offer_text("Nordwind", "0.27"))

    seen = meridian.get("/api/v1/tenders/t1").text + meridian.get("/api/v1/tenders").text
    assert "walk_away" not in seen
    assert "floor" not in seen
    assert meridian.get("/api/v1/tenders/t1/offers").json() == []
    assert meridian.get("/board/t1").status_code == 403


def test_two_of_the_board_sign_and_then_every_home_has_the_tariff(coop: Coop) -> None:
    homes = group_of(coop, 3)
    tender_on(coop, homes)
    _, nordwind = supplier_of(coop, "Nordwind")
    number = send(nordwind, offer_text("Nordwind", "0.2655")).json()["offer_number"]
    _, amara = board_of(coop, "Amara")
    _, jonas = board_of(coop, "Jonas")

    def sign(browser: Browser):
        return browser.post("/board/t1/accept", data={"offer_number": number})

    assert sign(amara).status_code == 303
    with coop.services.database.reading() as connection:
        assert repository.tender_row(connection, "t1").state == "open"
    assert sign(amara).status_code == 403
    assert sign(jonas).status_code == 303
    with coop.services.database.reading() as connection:
        assert repository.tender_row(connection, "t1").state == "agreed"
        tariff = tariff_of(connection, homes[0].household, GROUP, WINDOW_END)
    assert str(tariff.energy[0].periods[0].tiers[0].rate) == "0.2655"
    assert sign(jonas).status_code == 409


def test_an_offer_that_breaks_the_mandate_cannot_be_signed(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 3))
    _, nordwind = supplier_of(coop, "Nordwind")
    number = send(nordwind, offer_text("Nordwind", "0.27", green_share="0.1")).json()[
        "offer_number"
    ]
    _, amara = board_of(coop, "Amara")

    answer = amara.post("/board/t1/accept", data={"offer_number": number})

    assert answer.status_code == 409
    assert "green" in answer.text


def test_a_counter_offer_waits_for_its_turn_and_stays_below_the_walk_away(coop: Coop) -> None:
    tender_on(coop, group_of(coop, 3))
    _, nordwind = supplier_of(coop, "Nordwind")
    _, amara = board_of(coop, "Amara")

    def ask(cents: str):
        return amara.post("/board/t1/counter", data={"supplier": "Nordwind", "price_cents": cents})

    assert ask("25").status_code == 409
    send(nordwind, offer_text("Nordwind", "0.29"))
    assert ask("soon").status_code == 422
    assert ask("31").status_code == 409
    assert ask("25").status_code == 303
    assert nordwind.get("/api/v1/tenders/t1/offers").json()[0]["our_ask_per_kwh"] == "0.2500"


def test_the_boards_room_shows_no_home(coop: Coop) -> None:
    homes = group_of(coop, 4, old_rates=("0.30", "0.24"))
    tender_on(coop, homes)
    _, nordwind = supplier_of(coop, "Nordwind")
    send(nordwind, offer_text("Nordwind", "0.27"))
    _, amara = board_of(coop, "Amara")

    page = amara.get("/board/t1")

    assert page.status_code == 200
    assert "2 of 4" in page.text
    for home in homes:
        assert home.household not in page.text
        assert home.person.email not in page.text


def test_members_and_suppliers_do_not_enter_the_boards_room(coop: Coop) -> None:
    homes = group_of(coop, 2)
    tender_on(coop, homes)

    assert coop.browser_of(homes[0].person).get("/board/t1").status_code == 403
    assert coop.new_browser().get("/board/t1").headers["location"] == "/sign-in"


def test_a_tender_needs_whole_readings(coop: Coop) -> None:
    homes = group_of(coop, 2)
    person, _ = coop.member("late@example.org")
    assert person.household is not None
    put_use(
        coop,
        person.household,
        Purpose.GROUP_TARIFF,
        start=WINDOW_START,
        end=WINDOW_END,
        wh_per_hour=10,
        leave_out=1,
    )

    with pytest.raises(StateConflict, match="1 of 3 homes miss readings"):
        tender_on(coop, homes, households=[*(home.household for home in homes), person.household])
    with coop.services.database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tenders")) == 0
