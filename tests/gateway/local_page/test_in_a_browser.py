"""The page in a real browser: no complaint of its policy, numbers that stay fresh, forms that work."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import CLAIM_CODE, FakeCoop
from tests.gateway.meter_server import metering, running_total, sdm630
from tests.ports import free_port

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture
def page_address(tmp_path: Path):
    """A real gateway with one meter, unpaired; yields its page's address and its local secret."""
    port = free_port()
    powers = iter(range(400, 1_000_000))
    with (
        metering(sdm630(running_total(900), lambda: next(powers))) as meter,
        serving(FakeCoop()) as (_, url),
    ):
        config = tmp_path / "gateway.toml"
        config.write_text(
            f"""
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"
[cloud]
url = "{url}"
[local_page]
port = {port}
[[modbus]]
name = "cabinet"
host = "127.0.0.1"
port = {meter}
[[modbus.meter]]
name = "grid"
map = "eastron_sdm630"
unit = 1
poll_every_s = 1
""",
            encoding="utf-8",
        )
        gateway = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert gateway.stdout is not None
        secret = gateway.stdout.readline().split("local secret: ")[1].split()[0]
        address = f"http://127.0.0.1:{port}"
        patience = time.monotonic() + 30
        while time.monotonic() < patience:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address, secret
        gateway.terminate()
        gateway.communicate(timeout=20)


@pytest.mark.slow
@pytest.mark.browser
def test_pairing_saying_yes_and_pausing_in_a_real_browser(page_address) -> None:
    address, secret = page_address
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is missing; run: apt-get install chromium"
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text) if message.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.goto(f"{address}/settings?code={CLAIM_CODE}")
        page.fill("#secret", secret)
        page.click("text=Pair this gateway")
        page.wait_for_url(f"{address}/leaves")
        page.check('input[name="meter"][value="grid"]')
        page.fill('input[name="secret"]', secret)
        page.click("text=Say yes")
        page.wait_for_selector("text=in force")
        page.goto(address)
        before = page.inner_text(".meter .w")
        page.wait_for_function(
            "text => document.querySelector('.meter .w').textContent !== text", arg=before
        )
        page.click("text=Pause sending")
        page.wait_for_selector("text=Nothing leaves this house")
        page.click("text=Send again, with what waited")
        page.wait_for_selector("text=Pause sending")
        for path in ("/", "/meters", "/leaves", "/settings"):
            page.goto(address + path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{path} is {width} px wide on a phone"
        browser.close()
    assert complaints == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_says_everything_without_javascript(page_address) -> None:
    address, _ = page_address
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is missing; run: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(address)
        assert "Nothing leaves this house" in page.inner_text("#light")
        assert page.inner_text(".meter .w").replace(",", "").isdigit()
        browser.close()
