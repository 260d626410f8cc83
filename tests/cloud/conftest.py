"""A co-op, a paired home and the terms it may agree to, for all cloud tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from gateway.wire.consent import Terms
from tests.cloud.coop_builder import Coop, HomeGateway, open_coop


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    with open_coop(tmp_path) as opened:
        yield opened


@pytest.fixture
def home(coop: Coop) -> HomeGateway:
    """A gateway paired with the home of a member called ada@example.org."""
    _person, browser = coop.member()
    code = browser.post("/api/v1/gateways/claims").json()["claim_code"]
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    assert gateway.pair(code).status_code == 200
    return gateway


@pytest.fixture
def terms(coop: Coop) -> Terms:
    """The terms of the co-op's group-tariff offer, valid for the last days too."""
    offered = coop.client.get("/api/v1/offers").json()[0]["terms"]
    found = msgspec.convert(offered, type=Terms)
    return msgspec.structs.replace(found, valid_from=found.valid_from - timedelta(days=30))
