"""Pictures of the running demo, for the README and for looking at.

`python tools/screenshots.py [--out docs/pictures] [--all]` runs the demo, signs in as a member and
as the board in headless Chromium, and saves pages at 1280 and 390 px. Without --all only the
README's two pictures are kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from cloud.demo.story import VISITOR_HOME, Street, StreetPlan, open_street, tell

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("error: no Chromium; install it with: apt-get install chromium")
    street = open_street(StreetPlan(), say=print)
    try:
        tell(street)
        street.leave_something_to_do()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
            take(browser, street, arguments.out, everything=arguments.all)
            browser.close()
    finally:
        street.close()
    return 0


def take(browser: Browser, street: Street, out: Path, *, everything: bool) -> None:
    """Save the pictures."""
    member = street.cloud.sign_in_link(street.members[VISITOR_HOME])
    url = street.cloud.url
    page = signed_in(browser, member, width=390)
    shoot(page, f"{url}/home", out / "member_home_390.png")
    if everything:
        shoot(page, f"{url}/votes/winter-round", out / "solar_vote_390.png")
        page.get_by_label("Support this project").first.check()
        page.get_by_role("button", name="Cast ballot").click()
        page.wait_for_load_state("networkidle")
        page.set_viewport_size({"width": 1280, "height": 900})
        for name, path in (
            ("member_home", "/home"),
            ("solar_vote", "/votes/winter-round"),
            ("vote_result", "/votes/autumn-round"),
            ("fund", "/fund"),
            ("log", "/log"),
            ("recount", "/votes/autumn-round/recount"),
            ("docs", "/docs"),
        ):
            shoot(page, f"{url}{path}", out / f"{name}_1280.png")
    page = signed_in(browser, street.cloud.sign_in_link(street.board[0]), width=1280)
    shoot(page, f"{url}/board", out / "board_negotiation_1280.png")
    if everything:
        shoot(page, f"{url}/board/tender-a", out / "board_agreed_1280.png")
        page.set_viewport_size({"width": 390, "height": 844})
        shoot(page, f"{url}/board", out / "board_negotiation_390.png")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            local = f"http://127.0.0.1:{street.real[0].page_port}/"
            shoot(page, local, out / f"gateway_local_{width}.png")


def signed_in(browser: Browser, link: str, *, width: int) -> Page:
    """A page of a new browser context, signed in by a link."""
    page = browser.new_context(viewport={"width": width, "height": 900}).new_page()
    page.on("console", lambda message: print(f"console {message.type}: {message.text}"))
    page.on(
        "response",
        lambda answer: answer.status >= 400 and print(f"{answer.status} {answer.url}"),
    )
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state("networkidle")
    return page


def shoot(page: Page, address: str, path: Path) -> None:
    """Save one page whole."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, full_page=True)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
