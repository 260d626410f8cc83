"""Nobody reaches what is not theirs: each object, each role, and everything without a session."""

from __future__ import annotations

import pytest

from cloud.members.roles import Role
from tests.cloud.coop_builder import HomeGateway

OPEN = {
    ("POST", "/api/v1/sign-in"),
    ("POST", "/api/v1/sign-in/complete"),
    ("POST", "/api/v1/gateways/pair"),
    ("POST", "/api/v1/gateways/sync"),
    ("POST", "/api/v1/gateways/rotate"),
    ("POST", "/api/v1/batches"),
    ("GET", "/api/v1/offers"),
}
"""Addresses of the API that work without a session; gateways bring signatures instead."""


def operations(coop):
    schema = coop.client.get("/openapi.json").json()
    return [
        (method.upper(), path)
        for path, methods in schema["paths"].items()
        for method in methods
        if path.startswith("/api/")
    ]


def filled(path):
    for name in ("consent_id", "gateway", "version"):
        path = path.replace("{" + name + "}", "1")
    return path.split("{", maxsplit=1)[0]


def test_every_address_that_is_not_open_asks_who_you_are(coop):
    asked = [operation for operation in operations(coop) if operation not in OPEN]
    assert len(asked) >= 8
    for method, path in asked:
        answer = coop.client.request(method, filled(path))
        assert answer.status_code in (401, 404, 405, 422), (method, path)
        if "{" not in path:
            assert answer.status_code == 401, (method, path)


def test_open_addresses_are_the_ones_listed_here(coop):
    assert set(operations(coop)) >= OPEN


@pytest.mark.parametrize(
    "role", [role for role in Role if role not in (Role.MEMBER, Role.SUPPLIER)]
)
@pytest.mark.parametrize("path", ["/api/v1/consents", "/api/v1/gateways"])
def test_other_roles_have_no_household_to_look_at(coop, role, path):
    browser = coop.browser_of(coop.person(role))
    assert browser.get(path).status_code == 403


def test_a_member_cannot_revoke_the_gateway_of_another(coop, home):
    _person, stranger = coop.member("bob@example.org")
    answer = stranger.post(f"/api/v1/gateways/{home.key_id}/revoke")
    unknown = stranger.post(f"/api/v1/gateways/{'0' * 32}/revoke")
    assert answer.status_code == unknown.status_code == 404
    assert answer.json()["detail"] == unknown.json()["detail"], (
        "the answer must not tell them apart"
    )
    assert home.sync_raw().status_code == 200


@pytest.mark.parametrize("role", [Role.BOARD, Role.AUDITOR, Role.REQUESTER])
def test_only_the_home_and_the_operator_revoke_a_gateway(coop, home, role):
    browser = coop.browser_of(coop.person(role, email="x@example.org"))
    assert browser.post(f"/api/v1/gateways/{home.key_id}/revoke").status_code == 404
    assert home.sync_raw().status_code == 200


def test_the_list_of_gateways_holds_only_the_own_ones(coop, home):
    _person, bob = coop.member("bob@example.org")
    other = HomeGateway(client=coop.client, clock=coop.clock)
    other.pair(bob.post("/api/v1/gateways/claims").json()["claim_code"])
    assert [item["gateway"] for item in bob.get("/api/v1/gateways").json()] == [other.key_id]
    assert home.key_id != other.key_id


@pytest.mark.parametrize("cookie", ["", "x", "0" * 43, "'; DROP TABLE sessions; --", "\u00e9" * 10])
def test_made_up_cookies_are_nobody(coop, cookie):
    browser = coop.new_browser()
    headers = {"Cookie": f"commonwatt_session={cookie}".encode()}
    assert browser.get("/api/v1/me", headers=headers).status_code == 401
