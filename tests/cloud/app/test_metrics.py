"""Figures for operators: counted, reachable on loopback only, and naming nobody."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import generate_latest

from cloud.metrics import REGISTRY
from tests.cloud.coop_builder import START


def figure(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_accepted_and_refused_intervals_are_counted(home, terms):
    name = "commonwatt_ingest_intervals_total"
    before = {outcome: figure(name, outcome=outcome) for outcome in ("accepted", "refused")}
    home.give(terms)
    home.send(home.part(terms, START - timedelta(minutes=30), (1, 2, 3)))
    assert figure(name, outcome="accepted") - before["accepted"] == 2
    assert figure(name, outcome="refused") - before["refused"] == 1


def test_requests_are_counted_by_pattern_and_status(coop, home):
    browser = coop.new_browser()
    labels = {"method": "POST", "route": "/api/v1/gateways/{gateway}/revoke", "status": "401"}
    before = figure("commonwatt_requests_total", **labels)
    browser.post(f"/api/v1/gateways/{home.key_id}/revoke")
    assert figure("commonwatt_requests_total", **labels) - before == 1


def test_a_made_up_method_makes_no_figure_of_its_own(coop):
    labels = {"method": "other", "route": "-", "status": "404"}
    before = figure("commonwatt_requests_total", **labels)
    for method in ("BREW", "WHEN"):
        coop.client.request(method, "/nowhere")
    assert figure("commonwatt_requests_total", **labels) - before == 2
    assert b"BREW" not in generate_latest(REGISTRY)


def test_no_figure_names_a_home_or_gateway(coop, home):
    home.sync()
    shown = generate_latest(REGISTRY).decode()
    assert home.key_id not in shown
    assert home.household not in shown
    assert coop.client.get("/metrics").status_code == 404, "figures are not on the public port"
