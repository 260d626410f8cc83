"""The demo's street as the end-to-end test: one run, its figures, and every page in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from cloud.demo.figures import Figures
from cloud.demo.story import VISITOR_HOME, Street, StreetPlan, open_street, tell
from tests.flow.looking_at_pages import LOOKS, Faults, chromium, faults_of_pages, look_of

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("street")]

MEMBER_PAGES = (
    "/home",
    "/votes",
    "/votes/winter-round",
    "/votes/more-for-the-fund",
    "/data-use",
    "/votes/autumn-round",
    "/votes/autumn-round/recount",
    "/projects",
    "/projects/new",
    "/projects/linden-school",
    "/fund",
    "/log",
)
BOARD_PAGES = (
    "/projects",
    "/projects/linden-school",
    "/projects/votes/new",
    "/board/tender-a",
    "/board/tender-b",
    "/data-requests",
    "/votes/new",
)
OPEN_PAGES = ("/sign-in", "/docs", "/log")
BUDGET_BYTES = {"/home": 120_000, "/board/tender-b": 150_000}


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    running = open_street(StreetPlan(homes=28, seed=1), say=print)
    try:
        tell(running)
        running.leave_something_to_do()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


def signed_in(browser: Browser, street: Street, who: str, **look) -> BrowserContext:
    person = street.members[VISITOR_HOME] if who == "member" else street.board[0]
    context = browser.new_context(bypass_csp=False, **look)
    page = context.new_page()
    page.goto(street.cloud.sign_in_link(person))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "sign-in" not in url)
    page.close()
    return context


@pytest.mark.parametrize(("width", "theme"), LOOKS)
@pytest.mark.parametrize("who", ["member", "board", "open"])
def test_pages_load_without_a_complaint_and_ask_nobody_else(
    street: Street, browser: Browser, who: str, width: int, theme: str
) -> None:
    pages = {"member": MEMBER_PAGES, "board": BOARD_PAGES, "open": OPEN_PAGES}[who]
    look = look_of(width, theme)
    context = (
        browser.new_context(**look) if who == "open" else signed_in(browser, street, who, **look)
    )
    url = street.cloud.url
    assert faults_of_pages(context, [f"{url}{path}" for path in pages], origin=url) == []
    context.close()


def test_a_member_turns_a_switch_off_and_the_log_says_so(street: Street, browser: Browser) -> None:
    context = signed_in(browser, street, "member")
    page = context.new_page()
    page.goto(f"{street.cloud.url}/home")
    row = page.locator(".consent", has_text="Work out what you saved")
    row.get_by_role("button", name="Turn off").click()
    row.get_by_text("Withdrawn on").wait_for()
    page.goto(f"{street.cloud.url}/log?kind=consent.event")
    assert "withdrawn" in page.locator("tbody tr").first.inner_text()
    context.close()


def test_pages_work_without_javascript(street: Street, browser: Browser) -> None:
    context = signed_in(browser, street, "member", java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{street.cloud.url}/votes/winter-round")
    page.get_by_label("Support this project").first.check()
    page.get_by_role("button", name="Cast ballot").click()
    assert page.get_by_text("Your ballot is in the box").is_visible()
    page.goto(f"{street.cloud.url}/home")
    page.get_by_text("Read this as a table").click()
    assert page.locator("table").first.locator("tbody tr").count() >= 12
    context.close()


@pytest.mark.parametrize("path", sorted(BUDGET_BYTES))
def test_a_cold_load_stays_within_its_budget(street: Street, browser: Browser, path: str) -> None:
    context = signed_in(browser, street, "board" if "board" in path else "member")
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"{street.cloud.url}{path}")
    page.wait_for_load_state("networkidle")
    context.close()
    assert 0 < sum(sizes) <= BUDGET_BYTES[path]


def test_the_gateways_own_page_is_clean_and_small(street: Street, browser: Browser) -> None:
    address = f"http://127.0.0.1:{street.real[0].page_port}"
    for width, theme in LOOKS:
        context = browser.new_context(**look_of(width, theme))
        page = context.new_page()
        faults = Faults(page, address)
        page.goto(f"{address}/", wait_until="load")
        page.wait_for_timeout(500)
        assert faults.found == []
        assert page.get_by_role("heading", name="What stays and what leaves").is_visible()
        context.close()


def test_the_story_ends_with_every_invariant_holding(street: Street) -> None:
    """Runs last: it stops the gateways and asks the stores."""
    street.stop_gateways()
    figures: Figures = street.figures(wall_s=0.0)

    assert figures.broken == ()
    assert figures.shown["homes"] == 28
    assert figures.shown["lost"] == 0
    assert figures.shown["duplicates"] == 0
