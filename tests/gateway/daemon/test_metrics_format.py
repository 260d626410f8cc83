"""The figures are what Prometheus reads, by its own parser, and are told even without a disk."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import metrics_text
from gateway.wire.reading import Quantity
from tests.gateway.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.sync()
    home.live(7_200)
    home.flush()
    home.send()
    return home


def test_every_figure_is_typed_explained_and_under_one_name(home: Home) -> None:
    home.daemon.problems['source "attic"\nor so'] = "is odd"
    text = metrics_text(home.daemon)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert text.count("# TYPE") == len(families)
    assert all(name.startswith("commonwatt_gateway_") for name in families)
    assert all(family.documentation.endswith(".") for family in families.values())
    assert {family.type for family in families.values()} == {"counter", "gauge"}
    (accepted,) = families["commonwatt_gateway_intervals_accepted"].samples
    assert accepted.value == len(home.coop.readings) > 0
    (sent,) = families["commonwatt_gateway_last_sent_timestamp_seconds"].samples
    assert sent.value == round(home.clock.at.timestamp())
    problems = {s.labels["where"] for s in families["commonwatt_gateway_problem"].samples}
    assert problems == {'source "attic"\nor so'}


def test_a_disk_that_cannot_be_read_is_a_figure_and_not_silence(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def unreadable():
        raise sqlite3.OperationalError("disk I/O error")
        yield

    monkeypatch.setattr(home.daemon.store, "reading", unreadable)
    text = metrics_text(home.daemon)
    assert 'commonwatt_gateway_problem{where="disk"} 1' in text
    assert "intervals_in_memory" in text
