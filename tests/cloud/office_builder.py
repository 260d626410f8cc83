"""Homes that agreed to a tender, and a plan for one, for tests of the board's work."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from gateway.wire.consent import Terms
from gateway.wire.reading import Purpose
from tests.cloud.coop_builder import START, Browser, Coop, HomeGateway
from tests.cloud.group_builder import HOUR, WINDOW_END, WINDOW_START, put_use

HOURS = int((WINDOW_END - WINDOW_START) / HOUR)
HOMES = 12


def home_with(
    coop: Coop, number: int, *, tariff: bool = True, leave_out: int = 0
) -> tuple[Browser, str]:
    """A paired home that agreed for the last year, with readings and an old tariff."""
    person, browser = coop.member(f"home{number}@example.org")
    gateway = HomeGateway(client=coop.client, clock=coop.clock)
    gateway.pair(browser.post("/api/v1/gateways/claims").json()["claim_code"])
    offered = msgspec.convert(browser.get("/api/v1/offers").json()[0]["terms"], type=Terms)
    gateway.give(msgspec.structs.replace(offered, valid_from=WINDOW_START - timedelta(days=1)))
    assert person.household is not None
    put_use(
        coop,
        person.household,
        Purpose.GROUP_TARIFF,
        start=WINDOW_START,
        end=WINDOW_END,
        wh_per_hour=300 + 10 * number,
        leave_out=leave_out,
    )
    if tariff:
        enter_tariff(browser)
    return browser, person.household


def enter_tariff(browser: Browser, price: str = "0.30") -> None:
    entry = {"flat": {"supplier": "S", "price_per_kwh": price}, "valid_from": "2025-01-01"}
    assert browser.post("/api/v1/me/tariff", json=entry).status_code == 201


def homes_of(coop: Coop, count: int = HOMES) -> list[tuple[Browser, str]]:
    return [home_with(coop, number) for number in range(1, count + 1)]


def plan(**changes) -> dict:
    return {
        "title": "Winter tender",
        "supply_from": WINDOW_END.isoformat(),
        "window_start": WINDOW_START.isoformat(),
        "window_end": WINDOW_END.isoformat(),
        "closes_at": (START + timedelta(days=7)).isoformat(),
        "step_s": 3600,
        "mandate": {"currency": "EUR", "saving_share_min": "0.02", "green_share_min": "0.5"},
        "floor": {"scenarios": 20, "pass_through_per_kwh": "0.12"},
        "spot": {
            "start": WINDOW_START.isoformat(),
            "step_s": 3600,
            "price_per_mwh": [90.0] * HOURS,
        },
    } | changes
