"""A member's page about the own gateways: a claim code to scan, and an end for a lost one."""

from __future__ import annotations

import re

from cloud.web.gateway_pages import LOCAL_PAGE, code_picture
from tests.cloud.coop_builder import Coop, HomeGateway


def code_on(page: str) -> str:
    found = re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", page)
    assert found is not None
    return found[0]


def test_a_member_makes_a_claim_code_on_the_page_and_pairs_with_it(coop: Coop) -> None:
    _, browser = coop.member()
    assert "/home/gateway" in browser.get("/home").text
    assert "No gateway is paired yet" in browser.get("/home/gateway").text

    made = browser.post("/home/gateway/claim")
    code = code_on(made.text)
    assert code_picture(code) in made.text
    assert code not in browser.get("/home/gateway").text, "shown once"

    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    assert gateway.pair(code).is_success
    assert gateway.key_id[:8] in browser.get("/home/gateway").text


def test_the_picture_differs_by_code_and_asks_for_no_style_of_its_own() -> None:
    first, second = code_picture("7KQ2-M9XF-40PD"), code_picture("7KQ2-M9XF-40PE")
    assert first != second
    assert "style=" not in first
    assert LOCAL_PAGE.startswith("http://")


def test_a_revoked_gateway_is_turned_away_and_the_page_says_so(coop: Coop) -> None:
    _, browser = coop.member()
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    gateway.pair(code_on(browser.post("/home/gateway/claim").text))

    assert browser.post(f"/home/gateway/{gateway.key_id}/revoke").status_code == 303
    assert "Revoked" in browser.get("/home/gateway").text
    assert gateway.sync_raw().status_code == 403


def test_nobody_revokes_the_gateway_of_another_home(coop: Coop) -> None:
    _, ada = coop.member()
    _, bob = coop.member("bob@example.org")
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    gateway.pair(code_on(ada.post("/home/gateway/claim").text))

    assert bob.post(f"/home/gateway/{gateway.key_id}/revoke").status_code == 404
    assert gateway.sync_raw().is_success
