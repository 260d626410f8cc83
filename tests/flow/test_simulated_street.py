"""The demo's street as the end-to-end test: one run, its figures, and every page in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from cloud.demo.figures import Figures
from cloud.demo.story import VISITOR_HOME, Street, StreetPlan, open_street, tell

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("street")]

AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe-core" / "4.14.1" / "axe.min.js"
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
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
WIDTHS = (1280, 390)
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
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.fail("no Chromium; install it with: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


class Faults:
    """What a page complains about: console errors, failed or foreign requests."""

    def __init__(self, page: Page, origin: str) -> None:
        self.found: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda fault: self.found.append(f"script: {fault}"))
        page.on(
            "response",
            lambda answer: (
                self.found.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )
        page.on(
            "request",
            lambda asked: (
                None if asked.url.startswith(origin) else self.found.append(f"left: {asked.url}")
            ),
        )

    def _on_console(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"console: {message.text}")


def signed_in(browser: Browser, street: Street, who: str, **look) -> BrowserContext:
    person = street.members[VISITOR_HOME] if who == "member" else street.board[0]
    context = browser.new_context(bypass_csp=False, **look)
    page = context.new_page()
    page.goto(street.cloud.sign_in_link(person))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state("networkidle")
    page.close()
    return context


def axe_findings(context: BrowserContext, address: str) -> list[str]:
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.add_script_tag(path=AXE)
    result = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", AXE_TAGS
    )
    page.close()
    return [
        f"{address}: {finding['id']}: {finding['nodes'][0]['html'][:120]}"
        for finding in result["violations"]
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("who", ["member", "board", "open"])
def test_pages_load_without_a_complaint_and_ask_nobody_else(
    street: Street, browser: Browser, who: str, width: int
) -> None:
    pages = {"member": MEMBER_PAGES, "board": BOARD_PAGES, "open": OPEN_PAGES}[who]
    viewport = {"width": width, "height": 900}
    context = (
        browser.new_context(viewport=viewport)
        if who == "open"
        else signed_in(browser, street, who, viewport=viewport)
    )
    complaints = []
    for path in pages:
        page = context.new_page()
        faults = Faults(page, street.cloud.url)
        answer = page.goto(f"{street.cloud.url}{path}")
        page.wait_for_load_state("networkidle")
        assert answer is not None
        assert answer.status == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wider > 0:
            complaints.append(f"{path} is {wider} px wider than the window")
        complaints += [f"{path}: {fault}" for fault in faults.found]
        page.close()
    context.close()
    assert complaints == []


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_pages_have_no_accessibility_findings(
    street: Street, browser: Browser, width: int, theme: str
) -> None:
    findings = []
    look = {"viewport": {"width": width, "height": 900}, "color_scheme": theme}
    for who, pages in (("member", MEMBER_PAGES), ("board", BOARD_PAGES)):
        context = signed_in(browser, street, who, **look)
        # The checker is a script of its own; the page's policy is tested elsewhere.
        relaxed = browser.new_context(
            bypass_csp=True, storage_state=context.storage_state(), **look
        )
        for path in pages:
            findings += axe_findings(relaxed, f"{street.cloud.url}{path}")
        context.close()
        relaxed.close()
    assert findings == []


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
    for width in WIDTHS:
        context = browser.new_context(viewport={"width": width, "height": 900})
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
