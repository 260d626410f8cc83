"""A tender in two steps: prepared by one of the board, approved and so released by another."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloud.errors import BadInput
from cloud.members.roles import Role
from cloud.negotiations import repository
from cloud.negotiations.tender_draft import spot_from_csv, tender_id_of
from cloud.settings import PrivacySettings
from cloud.transparency.repository import newest_entries
from gateway.wire.reading import Purpose
from tests.cloud.coop_builder import START, Browser, Coop, open_coop
from tests.cloud.group_builder import (
    HOUR,
    WINDOW_END,
    WINDOW_START,
    board_of,
    offer_text,
    put_use,
    supplier_of,
)
from tests.cloud.office_builder import HOMES, HOURS, enter_tariff, home_with, homes_of, plan


@pytest.fixture
def coop(tmp_path: Path):
    with open_coop(
        tmp_path, privacy=PrivacySettings(group_min_inside=10, group_min_outside=10)
    ) as opened:
        yield opened


@pytest.fixture
def amara(coop: Coop) -> Browser:
    return board_of(coop, "Amara")[1]


@pytest.fixture
def jonas(coop: Coop) -> Browser:
    return board_of(coop, "Jonas")[1]


def prepare(browser: Browser, **changes):
    return browser.post("/api/v1/tenders", json=plan(**changes))


def approve(browser: Browser, tender_id: str = "tender-winter"):
    return browser.post(f"/api/v1/tender-drafts/{tender_id}/approve")


def logged(coop: Coop, kind: str) -> list[dict]:
    with coop.services.database.reading() as connection:
        return [
            json.loads(entry.entry)["facts"]
            for entry in newest_entries(connection, kind=kind, count=20)
        ]


def test_nothing_leaves_before_a_second_person_approves(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes_of(coop)

    prepared = prepare(amara)

    assert prepared.status_code == 201, prepared.text
    assert prepared.json()["tender_id"] == "tender-winter"
    assert prepared.json()["readiness"]["reasons"] == []
    assert logged(coop, "release.made") == []
    assert approve(amara).status_code == 403
    assert logged(coop, "release.made") == []

    opened = approve(jonas)
    assert opened.status_code == 201, opened.text
    assert opened.json()["homes"] == HOMES
    made = logged(coop, "release.made")
    assert [(one["approvals"], one["homes"], one["recipient"]) for one in made] == [
        (2, HOMES, "supplier")
    ]
    assert [one["tender"] for one in logged(coop, "tender.opened")] == ["tender-winter"]
    assert approve(jonas).status_code == 409


def test_suppliers_offer_on_it_and_two_people_accept(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes_of(coop)
    prepare(amara)
    approve(jonas)
    _, nordwind = supplier_of(coop, "Nordwind")

    seen = nordwind.get("/api/v1/tenders/tender-winter").json()
    offer = nordwind.post(
        "/api/v1/tenders/tender-winter/offers",
        content=offer_text("Nordwind", "0.27"),
        headers={"Content-Type": "application/json"},
    )

    assert seen["homes"] == HOMES
    assert seen["energy_wh"] == sum(300 + 10 * number for number in range(1, HOMES + 1)) * HOURS
    number = {"offer_number": offer.json()["offer_number"]}
    for browser in (amara, jonas):
        assert browser.post("/board/tender-winter/accept", data=number).status_code == 303


def test_what_is_missing_is_said_in_numbers_of_homes_and_what_to_do(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes = homes_of(coop, 10)
    silent = home_with(coop, 11, tariff=False)
    gappy = home_with(coop, 12, leave_out=3)

    found = prepare(amara).json()["readiness"]
    refused = approve(jonas)

    assert (found["consenting"], found["ready"]) == (12, 10)
    assert (found["without_tariff"], found["without_readings"]) == (1, 1)
    assert refused.status_code == 409
    assert "1 of 12 homes have no old tariff" in refused.json()["detail"]
    assert "1 of 12 homes miss readings" in refused.json()["detail"]
    for _, household in (*homes, silent, gappy):
        assert household not in refused.text
    waiting = amara.get("/api/v1/tender-drafts").json()
    assert "old tariff" in waiting[0]["refusal"]
    assert logged(coop, "release.made") == []

    enter_tariff(silent[0])
    again = prepare(amara, title="Without the gappy one", leave_out_incomplete=True)
    opened = approve(jonas, again.json()["tender_id"])
    assert opened.json()["homes"] == 11
    assert logged(coop, "release.made")[0]["homes"] == 11, "the load is that of the tender's homes"


def test_too_few_homes_are_refused_before_anything_is_released(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes_of(coop, 4)
    prepare(amara)

    refused = approve(jonas)

    assert refused.status_code == 409
    assert "needs 10" in refused.json()["detail"]
    assert logged(coop, "release.made") == []


def test_what_the_privacy_floor_refuses_does_not_open(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes_of(coop, 9)
    _, household = home_with(coop, 10)
    coop.services.store.erase(household)
    put_use(
        coop,
        household,
        Purpose.GROUP_TARIFF,
        start=WINDOW_START,
        end=WINDOW_END,
        wh_per_hour=90_000,
    )
    prepare(amara)

    refused = approve(jonas)

    assert refused.status_code == 409
    assert "one home makes up more than 15%" in refused.json()["detail"]
    assert len(logged(coop, "release.refused")) == 1
    assert amara.get("/api/v1/tender-drafts/tender-winter").json()["refusal"]
    with coop.services.database.reading() as connection:
        assert repository.all_tenders(connection) == []


def test_a_second_tender_on_the_same_window_releases_nothing_new(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    homes = homes_of(coop)
    prepare(amara)
    approve(jonas)
    leaving, _ = homes[0]
    assert leaving.post("/home/consents/group-tariff/withdraw").status_code == 303

    second = prepare(amara, title="Spring tender")
    opened = approve(jonas, second.json()["tender_id"])

    assert opened.status_code == 201, opened.text
    assert opened.json()["homes"] == HOMES - 1
    assert len(logged(coop, "release.made")) == 1
    _, nordwind = supplier_of(coop, "Nordwind")
    first_seen = nordwind.get("/api/v1/tenders/tender-winter").json()
    seen = nordwind.get("/api/v1/tenders/tender-spring").json()
    assert (seen["homes"], seen["energy_wh"]) == (first_seen["homes"], first_seen["energy_wh"]), (
        "the difference would be what one home used"
    )
    packs = [
        nordwind.get(f"/api/v1/tenders/{name}/pack.json").json()
        for name in ("tender-winter", "tender-spring")
    ]
    assert packs[0]["energy_wh"] == packs[1]["energy_wh"]


def test_an_approval_that_was_interrupted_is_done_again(
    coop: Coop, amara: Browser, jonas: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes_of(coop)
    prepare(amara)

    def power_cut(*_args: object, **_named: object) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr("cloud.negotiations.preparing.open_tender", power_cut)
        assert approve(jonas).status_code == 500
    assert len(logged(coop, "release.made")) == 1

    assert approve(jonas).status_code == 201
    made = logged(coop, "release.made")
    assert len({one["output"] for one in made}) == 1, "the same figures, and no others"


def test_the_same_draft_again_adds_nothing_and_another_needs_another_name(
    coop: Coop, amara: Browser, jonas: Browser
) -> None:
    del jonas
    assert prepare(amara).status_code == 201
    assert prepare(amara).status_code == 201
    assert len(amara.get("/api/v1/tender-drafts").json()) == 1
    assert prepare(amara, rounds_max=5).status_code == 409
    assert len(logged(coop, "tender.prepared")) == 1


def test_a_dropped_draft_cannot_be_approved(coop: Coop, amara: Browser, jonas: Browser) -> None:
    homes_of(coop, 1)
    prepare(amara)

    assert amara.post("/api/v1/tender-drafts/tender-winter/drop").json()["state"] == "dropped"
    assert approve(jonas).status_code == 409
    assert amara.get("/api/v1/tender-drafts").json() == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"window_end": (START + timedelta(days=1)).isoformat()}, "spot"),
        ({"window_start": WINDOW_END.isoformat()}, "window"),
        ({"closes_at": START.isoformat()}, "closes_at"),
        ({"supply_from": WINDOW_START.isoformat()}, "supply_from"),
        ({"tender_id": "../etc"}, "tender_id"),
        ({"mandate": {"currency": "EUR", "saving_share_min": "2"}}, "saving_share_min"),
        ({"mandate": {"currency": "EUR", "bonus": 1}}, "bonus"),
        ({"floor": {"scenarios": 90_000}}, "scenarios"),
        ({"floor": {"margin_per_kwh": -1}}, "margin_per_kwh"),
        ({"spot": None}, "spot"),
        ({"spot": None, "spot_csv": "a,b\n1,2\n"}, "interval_start"),
        ({"rounds_max": 0}, "rounds_max"),
    ],
)
def test_a_bad_plan_is_refused_by_place_and_nothing_is_kept(
    coop: Coop, amara: Browser, changes: dict, named: str
) -> None:
    del coop
    answer = prepare(amara, **changes)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.text
    assert amara.get("/api/v1/tender-drafts").json() == []


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.BOARD])
def test_only_the_board_prepares_and_approves(coop: Coop, amara: Browser, role: Role) -> None:
    prepare(amara)
    supplier = "Nordwind" if role is Role.SUPPLIER else None
    browser = coop.browser_of(coop.person(role, email="x@example.org", supplier=supplier))

    assert prepare(browser).status_code == 403
    assert approve(browser).status_code == 403
    assert browser.get("/api/v1/tender-drafts").status_code == 403
    assert browser.get("/api/v1/tender-drafts/tender-winter").status_code == 403
    assert browser.post("/api/v1/tender-drafts/tender-winter/drop").status_code == 403
    assert browser.get("/board/new").status_code == 403


def csv_of(start: datetime, count: int, step_s: int, price: str = "80") -> str:
    lines = [
        f"{(start + timedelta(seconds=step_s * number)).isoformat()},{price}"
        for number in range(count)
    ]
    return "interval_start,price_per_mwh\n" + "\n".join(lines) + "\n"


def test_hourly_prices_hold_for_their_quarters_and_finer_ones_are_averaged() -> None:
    end = WINDOW_START + 2 * HOUR
    window = {"start": WINDOW_START, "end": end}
    coarse = "interval_start,price_per_mwh\n" + "".join(
        f"{(WINDOW_START + number * HOUR).isoformat()},{price}\n"
        for number, price in enumerate((60, 90))
    )
    assert spot_from_csv(coarse, **window, step_s=900) == (60.0,) * 4 + (90.0,) * 4
    fine = "interval_start,price_per_kwh\n" + "".join(
        f"{(WINDOW_START + number * HOUR / 4).isoformat()},{number / 100}\n" for number in range(8)
    )
    assert spot_from_csv(fine, **window, step_s=3600) == (15.0, 55.0)


def test_a_local_window_over_a_clock_change_has_its_hour_more() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start, end = datetime(2025, 10, 1, tzinfo=zone), datetime(2025, 11, 1, tzinfo=zone)
    assert (
        len(
            spot_from_csv(
                csv_of(start.astimezone(UTC), 745, 3600), start=start, end=end, step_s=3600
            )
        )
        == 745
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (csv_of(WINDOW_START, 2, 3600), "do not cover"),
        (csv_of(WINDOW_START + HOUR, 5, 3600), "do not cover"),
        (csv_of(WINDOW_START, 3, 3600, price=""), "empty"),
        (csv_of(WINDOW_START, 9, 2700), "does not fit"),
    ],
)
def test_prices_that_do_not_fit_the_window_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        spot_from_csv(text, start=WINDOW_START, end=WINDOW_START + 3 * HOUR, step_s=3600)


def test_a_title_becomes_a_name_that_no_page_uses() -> None:
    assert tender_id_of("Tender A") == "tender-a"
    assert tender_id_of("Für den Winter 2027!") == "tender-f-r-den-winter-2027"
    assert tender_id_of("new") == "tender-new"
