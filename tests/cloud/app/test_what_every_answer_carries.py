"""Headers, problem documents, limits: what holds for every address."""

from __future__ import annotations

import logging

import pytest

from cloud.members.roles import Role
from cloud.security import BODY_BYTES_MAX, CONTENT_SECURITY_POLICY
from tests.cloud.coop_builder import open_coop

SIGNED = {"Commonwatt-Key": "0" * 32, "Commonwatt-Signature": "x"}
PATHS = ["/healthz", "/docs", "/openapi.json", "/log/checkpoint", "/nowhere", "/api/v1/me"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_the_policy_and_a_request_id(coop, path):
    headers = coop.client.get(path).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert len(headers["x-request-id"]) == 16
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("DELETE", "/api/v1/me", {}, 405),
        ("GET", "/api/v1/me", {}, 401),
        ("GET", "/api/v1/batches", {}, 405),
        ("POST", "/api/v1/sign-in", {"json": {"email": 5}}, 422),
        ("POST", "/api/v1/sign-in", {"content": b"{"}, 422),
        ("GET", "/log/entries?first=-1", {}, 422),
        ("GET", "/log/entries?first=99999999999999999999", {}, 422),
        ("POST", "/api/v1/batches", {"content": b"x"}, 401),
        ("POST", "/api/v1/batches", {"content": b"x" * (BODY_BYTES_MAX + 1)}, 413),
        ("POST", "/api/v1/sign-in", {"content": b"x" * (BODY_BYTES_MAX + 1)}, 413),
    ],
)
def test_every_error_is_a_problem_document(coop, method, path, sent, status):
    headers = SIGNED if "batches" in path else {}
    answer = coop.client.request(method, path, headers=headers, **sent)
    problem = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"].startswith("urn:commonwatt:problem:")
    assert problem["detail"]


def test_a_body_that_grows_past_the_limit_without_saying_so_is_cut_off(coop):
    def drip():
        for _ in range(40):
            yield b"x" * 65_536

    async def adrip():
        for chunk in drip():
            yield chunk

    answer = coop.client.post("/api/v1/batches", content=adrip(), headers=SIGNED)
    assert answer.status_code == 413


PEOPLE = {"Accept": "text/html,application/xhtml+xml;q=0.9"}


@pytest.mark.parametrize("path", ["/nowhere", "/static/0/nothing.css", "/static/0/../../x"])
def test_where_there_is_nothing_people_get_a_page_and_programs_a_problem(coop, path):
    page = coop.client.get(path, headers=PEOPLE)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at this address." in page.text
    problem = coop.client.get(path)
    assert problem.status_code == 404
    assert problem.headers["content-type"] == "application/problem+json"


def test_an_api_address_answers_browsers_too_with_a_problem(coop):
    answer = coop.client.get("/api/v1/nothing", headers=PEOPLE)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/sign-in", "/", "/docs", "/log", "/log/checkpoint", "/nowhere", "/api/v1/batches"]
)
def test_head_is_answered_like_get_without_the_body(coop, path):
    get, head = (coop.client.request(method, path) for method in ("GET", "HEAD"))
    assert head.content == b""
    assert head.status_code == get.status_code
    told = dict(head.headers)
    assert told.pop("x-request-id") != get.headers["x-request-id"]
    # A form's page carries something that differs each time; its length does not.
    assert told == {name: text for name, text in get.headers.items() if name != "x-request-id"}


def test_head_on_a_file_names_its_length(coop):
    address = coop.app.state.pages.static.address("components.css")
    head = coop.client.request("HEAD", address)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "the header Commonwatt-Key is missing; send the id of the gateway's key"),
        ({"Commonwatt-Key": "0" * 32}, "the header Commonwatt-Signature is missing; send the"),
        ({"Commonwatt-Key": "0" * 200}, "the header Commonwatt-Key is longer than 128 characters"),
    ],
)
def test_a_header_that_a_signed_request_lacks_is_named(coop, headers, said):
    for path in ("/api/v1/batches", "/api/v1/gateways/sync"):
        answer = coop.client.request("POST", path, content=b"{}", headers=headers)
        assert answer.status_code == 401
        assert said in answer.json()["detail"]


def test_field_faults_name_the_field_and_never_repeat_the_input(coop):
    answer = coop.client.post("/api/v1/sign-in", json={"email": "x" * 400})
    assert answer.json()["errors"][0]["pointer"] == "/body/email"
    assert "x" * 20 not in answer.text


def test_an_unforeseen_fault_shows_nothing_of_its_inside(coop, monkeypatch):
    def leak(_connection):
        raise RuntimeError("secret path /srv/x")

    monkeypatch.setattr("cloud.transparency.usecases.repository.log_size", leak)
    answer = coop.client.get("/log/checkpoint")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:commonwatt:problem:internal")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.json()["instance"].endswith(answer.headers["x-request-id"])


def test_logs_name_no_person_address_or_query(coop, caplog):
    coop.person(Role.MEMBER)
    with caplog.at_level(logging.INFO, logger="commonwatt.access"):
        coop.client.post("/api/v1/sign-in", json={"email": "ada@example.org"})
        coop.client.get("/log/entries?first=3")
        coop.client.post("/api/v1/gateways/0123456789abcdef/revoke")
    lines = [entry.getMessage() for entry in caplog.records if entry.name == "commonwatt.access"]
    assert len(lines) == 3
    assert not any("ada" in line or "127.0.0.1" in line or "?" in line for line in lines)
    assert "path=/api/v1/gateways/{gateway}/revoke" in lines[2]


def test_over_https_cookies_are_secure_and_browsers_are_told_to_stay(tmp_path):
    with open_coop(tmp_path, public_url="https://coop.example") as coop:
        coop.person(Role.MEMBER)
        answer = coop.client.post("/api/v1/sign-in", json={"email": "ada@example.org"})
        assert "Secure" in answer.headers["set-cookie"]
        assert "max-age" in answer.headers["strict-transport-security"]


def test_the_docs_page_loads_nothing_from_elsewhere(coop):
    page = coop.client.get("/docs").text
    assert "<script" not in page
    assert "//" not in page.replace("https://w3id.org", "").replace("http://127.0.0.1", "")
    for path in ("/api/v1/batches", "/api/v1/gateways/sync", "/log/checkpoint"):
        assert path in page


def test_operation_ids_are_stable_and_unique(coop):
    schema = coop.client.get("/openapi.json").json()
    ids = [
        operation["operationId"]
        for methods in schema["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))
    assert {"sign_in", "gateway_sync", "batches", "log_checkpoint"} <= set(ids)


@pytest.mark.parametrize("path", ["/api/v1/gateways/sync", "/api/v1/batches"])
def test_a_line_that_breaks_in_the_middle_of_a_request_is_no_fault_of_ours(coop, caplog, path):
    waiting = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in SIGNED.items()],
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 80),
    }
    with caplog.at_level(logging.WARNING):
        coop.portal.call(coop.app, scope, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [400]
    assert caplog.records == []
