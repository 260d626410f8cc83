"""Votes and uses of data in a real browser: two widths, two themes, with and without scripts."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext

from cloud.members.access import SESSION_COOKIE
from cloud.members.roles import Person
from cloud.members.usecases import open_session
from tests.cloud.coop_builder import Coop, open_coop
from tests.cloud.data_requests.request_builder import SETTINGS, asking_in
from tests.cloud.votes.policy_builder import cast, count, open_policy, open_slate, plan_of
from tests.flow.looking_at_pages import LOOKS, chromium, faults_of_pages, look_of
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.xdist_group("vote-pages")]

MEMBER_PAGES = (
    "/home",
    "/votes",
    "/votes/van",
    "/votes/split",
    "/votes/slate",
    "/votes/old-policy",
    "/votes/old-policy/recount",
    "/votes/old-slate",
    "/data-use",
    "/data-requests/paid",
    "/data-requests/voted-on",
)
BOARD_PAGES = (
    "/votes",
    "/votes/new",
    "/votes/van",
    "/fund",
    "/data-requests",
    "/data-requests/asked",
    "/data-requests/vetted",
    "/data-requests/frozen",
    "/data-requests/unpaid",
    "/data-requests/refused",
)
REQUESTER_PAGES = ("/data-requests", "/data-requests/new", "/data-requests/paid")
START_S_MAX = 30


class Scene:
    """A co-op with votes in every state, and an address to look at it."""

    def __init__(self, coop: Coop, port: int) -> None:
        self.coop = coop
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.requests: dict[str, str] = {}
        self._ask()
        people = self.asking.members
        self.member, self.board, self.requester = (
            self.asking.people[0],
            self.asking.people[-2],
            self.asking.people[-1],
        )
        for vote, opened in (("old-policy", open_policy), ("old-slate", open_slate)):
            opened(coop, plan=plan_of(coop, election_id=vote, title=f"An earlier vote: {vote}"))
        for number, (_person, browser) in enumerate(people[:9]):
            cast(browser, "old-policy", choice=("yes", "yes", "no", "abstain")[number % 4])
            cast(browser, "old-slate", votes={"van": number % 5, "tools": -(number % 4)})
        count(coop, "old-policy")
        count(coop, "old-slate", days=0)
        open_policy(coop)
        for _person, browser in people[1:5]:
            cast(browser, "van", choice="yes")
        open_policy(
            coop,
            plan=plan_of(coop, election_id="split", title="More for the fund"),
            parameters={"fund_share": "0.35", "cost_cap_share": "0.05"},
        )
        open_slate(coop, plan=plan_of(coop, election_id="slate", title="What to buy next"))

    def _ask(self) -> None:
        """Requests to use data in every state; the third release finds no budget left."""
        self.asking = asking_in(self.coop)
        asking = self.asking
        for name in ("paid", "unpaid", "refused", "frozen", "voted-on", "vetted", "asked"):
            self.requests[name] = asking.submit(key=name, title=f"Evening peaks, {name}")
        for name in ("paid", "unpaid", "refused"):
            asking.release(self.requests[name])
        asking.pay(self.requests["paid"])
        asking.approve(self.requests["frozen"])
        asking.freeze(self.requests["frozen"])
        asking.sign(self.requests["frozen"], 0)
        asking.vet(self.requests["voted-on"])
        asking.open_vote(self.requests["voted-on"])
        asking.vet(self.requests["vetted"])

    def address(self, path: str) -> str:
        """Address of a page; requests have names here."""
        name = path.removeprefix("/data-requests/")
        return f"{self.url}{path.replace(name, self.requests.get(name, name))}"

    def signed_in(self, browser: Browser, person: Person, **look) -> BrowserContext:
        with self.coop.services.database.transaction() as connection:
            session = open_session(connection, person=person, now=self.coop.clock())
        context = browser.new_context(**look)
        context.add_cookies([{"name": SESSION_COOKIE, "value": session.token, "url": self.url}])
        return context

    def people(self) -> tuple[tuple[Person, tuple[str, ...]], ...]:
        """Who looks at which pages."""
        return (
            (self.member, MEMBER_PAGES),
            (self.board, BOARD_PAGES),
            (self.requester, REQUESTER_PAGES),
        )


@contextmanager
def served(coop: Coop, port: int) -> Iterator[None]:
    """The co-op's application on a port of 127.0.0.1; its lifespan is the builder's."""
    server = uvicorn.Server(
        uvicorn.Config(
            coop.app,
            host="127.0.0.1",
            port=port,
            log_level="error",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + START_S_MAX
    while not server.started and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert server.started
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(START_S_MAX)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, port = tmp_path_factory.mktemp("votes"), free_port()
    with open_coop(folder, **SETTINGS) as coop:
        prepared = Scene(coop, port)
        with served(coop, port):
            yield prepared


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as launched:
        yield launched


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_pages_load_without_a_complaint(
    scene: Scene, browser: Browser, width: int, theme: str
) -> None:
    for person, paths in scene.people():
        context = scene.signed_in(browser, person, **look_of(width, theme))
        addresses = [scene.address(path) for path in paths]
        assert faults_of_pages(context, addresses, origin=scene.url) == []
        context.close()


def test_a_member_votes_without_javascript(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.member, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{scene.url}/votes/van")
    page.get_by_label("Yes").check()
    page.get_by_role("button", name="Cast ballot").click()
    assert page.get_by_text("Your ballot is in the box").is_visible()
    page.goto(f"{scene.url}/votes/slate")
    page.get_by_label("Four cargo bikes").fill("4")
    page.get_by_role("button", name="Cast ballot").click()
    assert page.get_by_text("Your ballot is in the box").is_visible()
    assert page.get_by_label("Four cargo bikes").input_value() == "4"
    context.close()


def test_credits_are_added_up_while_typing(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.member)
    page = context.new_page()
    page.goto(f"{scene.url}/votes/slate")
    for label in ("Four cargo bikes", "A tool library", "A second van"):
        page.get_by_label(label).fill("6")
    assert page.get_by_text("108 of 100 credits spent, take some votes back").is_visible()
    context.close()


def test_the_board_opens_a_vote_without_javascript(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.board, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{scene.url}/votes/new")
    form = page.locator("form", has=page.get_by_label("A yes needs"))
    form.get_by_label("Title").fill("The van in winter")
    form.get_by_label("What is asked").fill("Shall the van get winter tyres?")
    form.get_by_role("button", name="Open this vote").click()
    assert page.get_by_role("heading", name="The van in winter").is_visible()
    context.close()


def test_a_member_leaves_a_home_out_without_javascript(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.member, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{scene.url}/data-use")
    assert page.get_by_role("heading", name="Your data earned").is_visible()
    row = page.locator(".consent", has_text="Evening peaks, voted-on")
    row.get_by_role("button", name="Leave out").click()
    assert page.get_by_text("Your home is left out of this request").is_visible()
    context.close()


def test_a_requester_asks_and_downloads_without_javascript(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.requester, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{scene.url}/data-requests/new")
    page.get_by_label("Title").fill("Cold weeks")
    page.get_by_label("What shall be found out").fill("How much more is used in cold weeks?")
    page.get_by_label("Who gets the result").fill("University of Nowhere")
    page.get_by_label("First day").fill("2026-01-01")
    page.get_by_label("Last day").fill("2026-02-28")
    page.get_by_label("You pay, in EUR").fill("250.50")
    page.get_by_role("button", name="Ask").click()
    assert page.get_by_role("heading", name="Cold weeks").is_visible()
    assert page.get_by_text("pays €250.50").is_visible()
    page.goto(scene.address("/data-requests/paid"))
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Download the figures").click()
    assert Path(fetched.value.path()).read_text().startswith("month,energy_wh")
    context.close()


def test_the_board_vets_and_signs_without_javascript(scene: Scene, browser: Browser) -> None:
    context = scene.signed_in(browser, scene.board, java_script_enabled=False)
    page = context.new_page()
    page.goto(scene.address("/data-requests/asked"))
    page.locator("input[value=for]").check()
    page.get_by_label("Reasons").fill("It is worth knowing.")
    page.get_by_role("button", name="Send").click()
    assert page.get_by_text("A member of the board: It is worth knowing.").is_visible()
    page.goto(scene.address("/data-requests/frozen"))
    page.get_by_role("button", name="Sign for the release").click()
    assert page.get_by_text("the privacy floor refused").is_visible()
    context.close()
