"""A board's year at the desk, in a real browser without scripts: tariffs, a tender, settlements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from cloud.members.access import SESSION_COOKIE
from cloud.members.repository import person_by_email
from cloud.members.roles import Person
from cloud.members.usecases import open_session
from cloud.settings import PrivacySettings
from gateway.wire.reading import Purpose
from tests.cloud.coop_builder import Coop, open_coop
from tests.cloud.group_builder import (
    HOUR,
    WINDOW_END,
    WINDOW_START,
    GroupHome,
    board_of,
    put_on_group_tariff,
    put_use,
    tariff_text,
)
from tests.cloud.office_builder import HOURS, home_with, plan
from tests.flow.looking_at_pages import LOOKS, chromium, faults_of_pages, look_of
from tests.flow.test_vote_pages_in_a_browser import served
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("office-pages")]

BANK_NOTE = hashlib.sha256(b"statement").hexdigest()
MEMBER_PAGES = ("/home", "/home/tariff")
BOARD_PAGES = (
    "/board/new",
    "/board/drafts/tender-waiting",
    "/board/settlements",
    "/board/settlements?month=2025-12&costs=24&usual=24",
    "/board/shares",
)


class Desk:
    """A co-op with a waiting tender and months in every stage, and an address to look at it."""

    def __init__(self, coop: Coop, port: int) -> None:
        self.coop = coop
        self.url = f"http://127.0.0.1:{port}"
        (self.amara, first), (self.jonas, second) = board_of(coop, "Amara"), board_of(coop, "Jonas")
        homes = [home_with(coop, number) for number in range(1, 12)]
        home_with(coop, 12, tariff=False)
        self.member = self.person("home1@example.org")
        settled = []
        for number, (_browser, household) in enumerate(homes, start=1):
            put_use(
                coop,
                household,
                Purpose.BILLING,
                start=WINDOW_START,
                end=WINDOW_END,
                wh_per_hour=200 + 10 * number,
            )
            settled.append(GroupHome(person=self.amara, household=household, wh_per_hour=0))
        self.homes = homes
        waiting = plan(title="Waiting")
        assert first.post("/api/v1/tenders", json=waiting).status_code == 201
        put_on_group_tariff(coop, settled, "0.25", WINDOW_START)
        for month, stage in (("2025-10", "paid"), ("2025-11", "booked"), ("2026-01", "proposed")):
            self._settle(first, second, month, stage)

    def _settle(self, first, second, month: str, stage: str) -> None:
        def post(browser, path: str, body: dict) -> dict:
            headers = {"Idempotency-Key": f"{path} {month}"}
            answer = browser.post(f"/api/v1/settlements{path}", json=body, headers=headers)
            assert answer.status_code == 201, answer.text
            return answer.json()

        run = post(first, "", {"month": month, "costs_minor": 2_400, "monthly_costs_minor": 2_400})
        if stage == "proposed":
            return
        run = post(second, f"/{month}/sign", {"figures_sha256": run["figures_sha256"]})
        if stage == "paid":
            paid = {
                "revision": run["revision"],
                "amount_minor": run["receivable_minor"],
                "bank_evidence": BANK_NOTE,
            }
            post(first, f"/{month}/payment", paid)

    def person(self, email: str) -> Person:
        with self.coop.services.database.reading() as connection:
            found = person_by_email(connection, email)
        assert found is not None
        return found

    def signed_in(self, browser: Browser, person: Person, **look) -> BrowserContext:
        with self.coop.services.database.transaction() as connection:
            session = open_session(connection, person=person, now=self.coop.clock())
        context = browser.new_context(**look)
        context.add_cookies([{"name": SESSION_COOKIE, "value": session.token, "url": self.url}])
        return context

    def people(self) -> tuple[tuple[Person, tuple[str, ...]], ...]:
        """Who looks at which pages."""
        return ((self.member, MEMBER_PAGES), (self.jonas, BOARD_PAGES))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder, port = tmp_path_factory.mktemp("office"), free_port()
    floor = PrivacySettings(group_min_inside=10, group_min_outside=10)
    with open_coop(folder, privacy=floor) as coop:
        prepared = Desk(coop, port)
        with served(coop, port):
            yield prepared


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_pages_load_without_a_complaint(
    desk: Desk, browser: Browser, width: int, theme: str
) -> None:
    for person, paths in desk.people():
        context = desk.signed_in(browser, person, **look_of(width, theme))
        addresses = [f"{desk.url}{path}" for path in paths]
        assert faults_of_pages(context, addresses, origin=desk.url) == []
        context.close()


def plain_page(desk: Desk, browser: Browser, person: Person) -> Page:
    """A page of somebody whose browser runs no scripts."""
    return desk.signed_in(browser, person, java_script_enabled=False).new_page()


def test_a_member_enters_a_price_and_a_file(desk: Desk, browser: Browser, tmp_path: Path) -> None:
    person = desk.person("home12@example.org")
    page = plain_page(desk, browser, person)
    page.goto(f"{desk.url}/home")
    page.get_by_role("link", name="Enter your old tariff").click()
    page.get_by_label("Supplier and tariff").fill("Stadtwerk Classic")
    page.get_by_label("Price per kWh, in cent").fill("32,5")
    page.get_by_label("Standing charge").fill("9.50")
    page.get_by_role("button", name="Put on record").click()
    assert page.get_by_role("heading", name="Your old tariff: Stadtwerk Classic").is_visible()
    assert page.get_by_text("€90.75").is_visible()
    file = tmp_path / "night.json"
    file.write_text(tariff_text("0.29", "Night and day"))
    page.get_by_label("Tariff file").set_input_files(file)
    page.get_by_role("button", name="Put the file on record").click()
    assert page.locator("tbody tr").count() == 2
    page.context.close()


def test_the_board_prepares_and_a_second_person_opens(
    desk: Desk, browser: Browser, tmp_path: Path
) -> None:
    prices = tmp_path / "spot.csv"
    lines = [f"{(WINDOW_START + number * HOUR).isoformat()},90" for number in range(HOURS)]
    prices.write_text("interval_start,price_per_mwh\n" + "\n".join(lines) + "\n")
    page = plain_page(desk, browser, desk.amara)
    page.goto(f"{desk.url}/board")
    page.get_by_role("link", name="Prepare a tender").click()
    page.get_by_label("Title").fill("Summer 2026")
    page.get_by_label("Supply begins").fill("2026-06-01")
    page.get_by_label("Replay use from").fill("2025-10-01")
    page.get_by_label("until", exact=True).fill("2026-02-01")
    page.get_by_label("Step of the readings").select_option("3600")
    page.get_by_label("Leave out homes").check()
    page.get_by_label("Network, levies and taxes per kWh").fill("0.12")
    page.get_by_label("Bootstrap years").fill("20")
    page.get_by_label("Spot prices of the window").set_input_files(prices)
    page.get_by_role("button", name="Prepare this tender").click()
    assert page.get_by_text("Nothing has left the co-op").is_visible()
    assert page.get_by_role("button", name="Approve").count() == 0
    page.context.close()

    page = plain_page(desk, browser, desk.jonas)
    page.goto(f"{desk.url}/board/drafts/tender-summer-2026")
    page.get_by_role("button", name="Approve, release and open").click()
    assert page.url == f"{desk.url}/board/tender-summer-2026", page.inner_text("main")
    assert page.get_by_role("heading", name="0 offers on the table").is_visible()
    assert page.get_by_role("link", name="Waiting").is_visible()
    page.context.close()


def test_an_approval_that_is_refused_says_what_is_missing(desk: Desk, browser: Browser) -> None:
    late = plan(title="Too early", window_start=(WINDOW_START - timedelta(days=60)).isoformat())
    late["spot"] = {
        "start": late["window_start"],
        "step_s": 3600,
        "price_per_mwh": [80.0] * (HOURS + 60 * 24),
    }
    assert desk.coop.browser_of(desk.amara).post("/api/v1/tenders", json=late).status_code == 201
    page = plain_page(desk, browser, desk.jonas)
    page.goto(f"{desk.url}/board/drafts/tender-too-early")
    page.get_by_role("button", name="Approve, release and open").click()
    assert page.get_by_text("The last approval could not open it").is_visible()
    assert page.get_by_text("needs 10").first.is_visible()
    page.get_by_role("button", name="Put aside").click()
    page.context.close()


def test_a_month_goes_from_a_look_ahead_to_the_recorded_payment(
    desk: Desk, browser: Browser
) -> None:
    page = plain_page(desk, browser, desk.amara)
    page.goto(f"{desk.url}/board/settlements")
    page.get_by_label("Month", exact=True).fill("2025-12")
    page.get_by_label("Direct costs").fill("24,00")
    page.get_by_role("button", name="What would be booked?").click()
    assert page.get_by_text("Solar fund, as members’ capital").first.is_visible()
    page.get_by_role("button", name="Propose to book this").click()
    article = page.locator("article", has=page.get_by_role("heading", name="2025-12"))
    assert article.get_by_text("A second member of the board has to sign").is_visible()
    page.context.close()

    page = plain_page(desk, browser, desk.jonas)
    page.goto(f"{desk.url}/board/settlements")
    article = page.locator("article", has=page.get_by_role("heading", name="2025-12"))
    article.get_by_role("button", name="Sign and book").click()
    article.get_by_label("SHA-256 of the bank statement").fill(BANK_NOTE)
    article.get_by_role("button", name="Record the payment").click()
    assert article.get_by_text("booked and paid").is_visible()
    page.get_by_label("Month", exact=True).fill("2025-12")
    page.get_by_role("button", name="What would be booked?").click()
    assert page.get_by_text("Running it again adds nothing").is_visible()
    page.context.close()


def test_the_board_books_shares_from_a_list(desk: Desk, browser: Browser, tmp_path: Path) -> None:
    shares = tmp_path / "shares.csv"
    shares.write_text(
        "household,amount\n" + "".join(f"{household},150\n" for _, household in desk.homes[:3])
    )
    page = plain_page(desk, browser, desk.amara)
    page.goto(f"{desk.url}/board/shares")
    page.get_by_label("Call").fill("founding-2026")
    page.get_by_label("List, CSV").set_input_files(shares)
    page.get_by_label("SHA-256 of the bank statement").fill(BANK_NOTE)
    page.get_by_role("button", name="Book these shares").click()
    assert page.get_by_text("3 shares of €450.00 are in the books.").is_visible()
    page.context.close()


def test_the_menu_marks_where_one_is(desk: Desk, browser: Browser) -> None:
    page = plain_page(desk, browser, desk.amara)
    for path, label in (("/board/new", "Negotiations"), ("/board/settlements", "Settlements")):
        page.goto(f"{desk.url}{path}")
        assert page.locator("nav [aria-current=page]").inner_text() == label
    page.context.close()
