"""Chromium, and all that one look at a page can find wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

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
LOOKS = ((1280, "light"), (390, "dark"))
"""Widths of windows [CSS px] and colour schemes; each is seen once."""
SETTLED_MS_MAX = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("no Chromium; install it with: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield launched
        launched.close()


def look_of(width: int, theme: str) -> dict[str, object]:
    """What a browser's context is opened with."""
    return {"viewport": {"width": width, "height": 900}, "color_scheme": theme}


class Faults:
    """What a page complains about: console errors, failed or foreign requests."""

    def __init__(self, page: Page, origin: str) -> None:
        self.found: list[str] = []
        self.asked = 0
        self.answered = 0
        self._origin = origin
        page.on("console", self._on_console)
        page.on("pageerror", lambda fault: self.found.append(f"script: {fault}"))
        page.on("response", self._on_response)
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_end)
        page.on("requestfailed", self._on_end)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.found.append(f"console: {message.text}")

    def _on_response(self, answer) -> None:
        if answer.status >= 400:
            self.found.append(f"{answer.status} {answer.url}")

    def _on_request(self, request) -> None:
        self.asked += 1
        if not request.url.startswith(self._origin):
            self.found.append(f"left: {request.url}")

    def _on_end(self, _request) -> None:
        self.answered += 1


def faults_of_pages(context: BrowserContext, addresses: Iterable[str], *, origin: str) -> list[str]:
    """Open each address, let it settle, and say all that is wrong with it.

    That is: an answer other than 200 or without the strict policy, a console error or warning, a
    failed request or one that leaves `origin`, a page wider than its window, and what axe finds.
    """
    found: list[str] = []
    page = context.new_page()
    faults = Faults(page, origin)
    for address in addresses:
        faults.found.clear()
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        assert "default-src 'none'" in answer.headers["content-security-policy"], address
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wider > 0:
            faults.found.append(f"{wider} px wider than the window")
        faults.found.extend(axe_findings(page))
        _settle(page, faults)
        found += [f"{address}: {one}" for one in faults.found]
    page.close()
    return found


def axe_findings(page: Page) -> list[str]:
    # Evaluated from outside, the checker needs no exception from the page's policy.
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", AXE_TAGS
    )
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in result["violations"]]


def _settle(page: Page, faults: Faults) -> None:
    """Wait for what the page asked for by itself after it was loaded."""
    waited_ms = 0
    while faults.answered < faults.asked:
        assert waited_ms < SETTLED_MS_MAX, f"{page.url}: a request has no end"
        page.wait_for_timeout(50)
        waited_ms += 50
