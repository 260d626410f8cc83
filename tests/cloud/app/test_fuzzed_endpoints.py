"""Whatever is sent to whichever address, the answer is a problem document or a success, never a 500."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.members.roles import Role
from gateway.wire.codec import compress
from gateway.wire.signing import (
    DOMAIN_BATCH,
    DOMAIN_ROTATE,
    DOMAIN_SYNC,
    HEADER_KEY,
    HEADER_SIGNATURE,
    signature_of,
)
from tests.cloud.coop_builder import HomeGateway, open_coop

FUZZ = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)
SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_characters="/?#\\", exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=30,
)


class Street(tuple):
    """A co-op, a browser, a gateway, and all operations of the API."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "street"


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """One co-op for all tries, with a member's browser and a paired gateway."""
    with open_coop(tmp_path_factory.mktemp("fuzz")) as coop:
        person = coop.person(Role.MEMBER, Role.OPERATOR)
        browser = coop.browser_of(person)
        gateway = HomeGateway(client=coop.client, clock=coop.clock)
        gateway.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
        schema = coop.client.get("/openapi.json").json()
        operations = [
            (path, method)
            for path, methods in schema["paths"].items()
            for method in methods
            if not path.endswith("/sign-out")
        ]
        yield Street((coop, browser, gateway, operations))


def check(answer):
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


@FUZZ
@given(
    place=st.integers(0, 10_000),
    segments=st.lists(SEGMENT, min_size=3, max_size=3),
    query=st.dictionaries(SEGMENT | st.just("size"), SEGMENT, max_size=2),
    document=JSON,
)
def test_any_json_to_any_address(street, place, segments, query, document):
    coop, browser, _gateway, operations = street
    coop.clock.turn(minutes=10)
    path, method = operations[place % len(operations)]
    for segment in segments:
        path = re.sub(r"\{\w+\}", lambda _found, segment=segment: quote(segment), path, count=1)
    check(browser.request(method.upper(), path, params=query, json=document))


@FUZZ
@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "text/plain", ""]))
def test_any_bytes_to_sign_in(street, body, kind):
    coop, _browser, _gateway, _operations = street
    coop.clock.turn(minutes=10)
    check(coop.client.post("/api/v1/sign-in", content=body, headers={"Content-Type": kind}))


@FUZZ
@given(
    payload=st.binary(max_size=200) | JSON.map(lambda found: json.dumps(found).encode()),
    door=st.sampled_from([("batches", DOMAIN_BATCH), ("gateways/sync", DOMAIN_SYNC)]),
)
def test_any_signed_payload_to_the_doors_of_gateways(street, payload, door):
    _coop, _browser, gateway, _operations = street
    path, domain = door
    answer = gateway.post(f"/api/v1/{path}", domain, payload)
    check(answer)
    assert 400 <= answer.status_code < 500


@FUZZ
@given(
    body=st.binary(max_size=100),
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=140),
    signature=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=140),
    path=st.sampled_from(["batches", "gateways/sync", "gateways/pair", "gateways/rotate"]),
    encoding=st.sampled_from(["gzip", "identity", "br", "deflate"]),
)
def test_any_envelope_to_the_doors_of_gateways(street, body, key, signature, path, encoding):
    coop, _browser, _gateway, _operations = street
    coop.clock.turn(minutes=10)
    headers = {HEADER_KEY: key, HEADER_SIGNATURE: signature, "Content-Encoding": encoding}
    check(coop.client.post(f"/api/v1/{path}", content=body, headers=headers))


BATCH_EDIT = st.tuples(
    st.sampled_from(["seq", "made_at", "gateway", "parts", "gaps", "v", "extra"]), JSON
)
PART_EDIT = st.tuples(
    st.sampled_from(["meter", "quantity", "grant", "epoch", "seq", "prev", "blocks", "resolution"]),
    JSON | st.sampled_from(["x@99999999", "group-tariff@0", "group-tariff@1", "P1M", "", 2**53]),
)
BLOCK_EDIT = st.tuples(
    st.sampled_from(["start", "step_s", "edges", "wh", "quality"]),
    JSON
    | st.sampled_from(
        [
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-03-02T11:00:00+14:00",
            [0, 1],
            [None],
            [10**12],
            [10**13],
            86400,
            1,
            0,
            "m",
            "gg",
        ]
    ),
)


@FUZZ
@given(batch=st.none() | BATCH_EDIT, part=st.none() | PART_EDIT, block=st.none() | BLOCK_EDIT)
def test_any_edit_of_a_true_batch(street, batch, part, block):
    _coop, _browser, gateway, _operations = street
    gateway.batch_seq += 1
    edited_block = {"start": "2026-03-02T10:00:00Z", "step_s": 900, "wh": [1, 2, 3]}
    edited_part = {
        "meter": "main",
        "quantity": "import_wh",
        "purpose": "group_tariff",
        "resolution": "PT15M",
        "grant": "group-tariff@1",
        "epoch": 0,
        "seq": 1,
        "prev": "",
    }
    if block:
        edited_block[block[0]] = block[1]
    edited_part["blocks"] = [edited_block]
    if part:
        edited_part[part[0]] = part[1]
    document = {
        "v": 1,
        "gateway": gateway.key_id,
        "seq": gateway.batch_seq,
        "made_at": "2026-03-02T12:00:00Z",
        "parts": [edited_part],
        "gaps": [],
    }
    if batch:
        document[batch[0]] = batch[1]
    payload = json.dumps(document).encode()
    headers = {
        HEADER_KEY: gateway.key_id,
        HEADER_SIGNATURE: signature_of(gateway.key, DOMAIN_BATCH, payload),
        "Content-Encoding": "gzip",
    }
    check(gateway.client.post("/api/v1/batches", content=compress(payload), headers=headers))


def test_a_gzip_bomb_is_stopped_at_the_limit(street):
    _coop, _browser, gateway, _operations = street
    bomb = compress(b"0" * (64 * 1024 * 1024))
    assert len(bomb) < 100_000
    answer = gateway.client.post(
        "/api/v1/batches",
        content=bomb,
        headers={
            HEADER_KEY: gateway.key_id,
            HEADER_SIGNATURE: signature_of(gateway.key, DOMAIN_ROTATE, b""),
            "Content-Encoding": "gzip",
        },
    )
    assert answer.status_code == 413
