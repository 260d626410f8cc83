"""A real co-op's middle of the year, all through one running server, without the demo.

Thirty homes send readings, enter what they paid, are put to tender, get a tariff in two rounds with
two signatures, and are settled, paid and run again. The server is a process of its own that holds
the store of readings; nothing here touches it but HTTP, and the operator's command beside it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
from typer.testing import CliRunner

from cloud.app import open_database
from cloud.cli import app
from cloud.members.roles import Role
from cloud.members.usecases import add_person, make_sign_in_link
from cloud.security import CSRF_HEADER
from cloud.settings import load_settings
from gateway.wire.consent import Terms
from tests.cloud.coop_builder import HomeGateway
from tests.cloud.group_builder import offer_text, tariff_text
from tests.cloud.server_process import ServerProcess, add_paired_homes

# One worker takes these tests in their order: each goes on where the one before ended.
pytestmark = pytest.mark.xdist_group("board-year")

HOMES = 30
ON_PAPER = 5
"""Homes whose old tariff comes on paper; the others enter it themselves."""
ZONE = ZoneInfo("Europe/Berlin")
BANK_NOTE = hashlib.sha256(b"statement").hexdigest()
OLD_CENTS = 31
SHAPE = (4, 4, 4, 4, 4, 5, 9, 11, 8, 7, 7, 8, 9, 8, 7, 7, 8, 12, 15, 14, 12, 9, 6, 5)
"""Use of each hour of the day in parts [1]."""


@dataclass
class Party:
    """Everybody, signed in over HTTP, and the gateways."""

    server: ServerProcess
    homes: list[HomeGateway]
    members: list[httpx.Client]
    amara: httpx.Client
    jonas: httpx.Client
    nordwind: httpx.Client


def month_before(moment: datetime) -> datetime:
    """Start of the local month before the one a moment is in."""
    first = moment.astimezone(ZONE).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(days=1)).replace(day=1)


SETTLED = month_before(datetime.now(UTC))
REPLAYED = month_before(SETTLED)
MONTH_END = (SETTLED + timedelta(days=32)).replace(day=1)
MONTH = f"{SETTLED:%Y-%m}"


def steps_between(start: datetime, end: datetime, step_s: int) -> list[datetime]:
    first, last = start.astimezone(UTC), end.astimezone(UTC)
    count = int((last - first).total_seconds()) // step_s
    return [first + timedelta(seconds=step_s * number) for number in range(count)]


def use_of(number: int, start: datetime, end: datetime, step_s: int) -> tuple[int, ...]:
    """Energy of each step of a home [Wh]."""
    return tuple(
        (20 + number) * SHAPE[at.hour] * step_s // 3600 for at in steps_between(start, end, step_s)
    )


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    data = tmp_path_factory.mktemp("coop")
    (data / "cloud.toml").write_text("[privacy]\ngroup_min_inside = 15\ngroup_min_outside = 20\n")
    homes = add_paired_homes(data, HOMES)
    tokens = people_of(data, homes)
    server = ServerProcess(data)
    server.start()
    try:
        with ExitStack() as lines:
            clients = [lines.enter_context(closing(signed_in(server, token))) for token in tokens]
            anybody = lines.enter_context(httpx.Client(base_url=server.url, timeout=60))
            for home in homes:
                home.client = anybody  # type: ignore[assignment]  # it posts in the same way
            yield Party(server, homes, clients[3:], *clients[:3])
    finally:
        server.stop()


def people_of(data: Path, homes: list[HomeGateway]) -> list[str]:
    """Add two of the board, a supplier and the members; returns their sign-in tokens."""
    database = open_database(load_settings(data))
    now = datetime.now(UTC)
    with database.transaction() as connection:
        people = [
            add_person(
                connection,
                email=f"{name}@example.org",
                name=name,
                roles=[role],
                supplier=supplier,
                now=now,
            )
            for name, role, supplier in (
                ("Amara", Role.BOARD, None),
                ("Jonas", Role.BOARD, None),
                ("Nora", Role.SUPPLIER, "Nordwind"),
            )
        ]
        people += [
            add_person(
                connection,
                email=f"home{number}@example.org",
                name=f"Home {number}",
                roles=[Role.MEMBER],
                household=home.household,
                now=now,
            )
            for number, home in enumerate(homes[ON_PAPER:])
        ]
        tokens = [
            make_sign_in_link(connection, person_id=person.person_id, browser=None, now=now)
            for person in people
        ]
    database.close()
    return tokens


def signed_in(server: ServerProcess, token: str) -> httpx.Client:
    client = httpx.Client(base_url=server.url, timeout=120)
    answer = client.post("/api/v1/sign-in/complete", json={"token": token})
    assert answer.status_code == 200, answer.text
    client.headers[CSRF_HEADER] = answer.json()["csrf_token"]
    return client


def once(client: httpx.Client, path: str, body: dict) -> dict:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    answer = client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def send_readings(party: Party) -> None:
    """Every home agrees and sends a month for the tender and a month for billing."""
    offers = {
        one["offer_id"]: msgspec.convert(one["terms"], type=Terms)
        for one in party.homes[0].client.get("/api/v1/offers").json()
    }
    for number, home in enumerate(party.homes):
        for purpose, start, end in (
            ("group-tariff", REPLAYED, SETTLED),
            ("billing", SETTLED, MONTH_END),
        ):
            terms = msgspec.structs.replace(
                offers[purpose], valid_from=REPLAYED - timedelta(days=1)
            )
            home.give(terms, purpose)
            wh = use_of(number, start, end, terms.resolution.step_s)
            part = home.part(terms, start.astimezone(UTC), wh, grant=f"{purpose}@1")
            (answer,) = home.send(msgspec.structs.replace(part, seq=1)).parts
            assert (answer.accepted, answer.refused) == (len(wh), ())


def enter_tariffs(party: Party, folder: Path) -> None:
    """Members enter their price; the operator records paper forms beside the running server."""
    entry = {
        "flat": {"supplier": "Stadtwerk", "price_per_kwh": f"0.{OLD_CENTS}"},
        "valid_from": f"{REPLAYED:%Y-%m-%d}",
    }
    for member in party.members:
        answer = member.post("/api/v1/me/tariff", json=entry)
        assert answer.status_code == 201, answer.text
    paper = folder / "paper.json"
    paper.write_text(tariff_text(f"0.{OLD_CENTS}"))
    for home in party.homes[:ON_PAPER]:
        command = ["tariff", "set", home.household, str(paper), "--valid-from"]
        done = CliRunner().invoke(
            app, [*command, f"{REPLAYED:%Y-%m-%d}", "--data", str(party.server.data_dir)]
        )
        assert done.exit_code == 0, done.output


def plan() -> dict:
    count = len(steps_between(REPLAYED, SETTLED, 3600))
    return {
        "title": "First tender",
        "window_start": REPLAYED.isoformat(),
        "window_end": SETTLED.isoformat(),
        "supply_from": SETTLED.isoformat(),
        "closes_at": (datetime.now(UTC) + timedelta(days=7)).isoformat(),
        "mandate": {"currency": "EUR", "saving_share_min": "0.02"},
        "floor": {"scenarios": 20, "pass_through_per_kwh": "0.12"},
        "spot": {
            "start": REPLAYED.isoformat(),
            "step_s": 3600,
            "price_per_mwh": [80.0] * count,
        },
    }


def try_too_early(party: Party) -> None:
    """Without old tariffs a tender is refused, and says of how many homes."""
    waiting = party.amara.post("/api/v1/tenders", json=plan() | {"title": "Too early"})
    assert waiting.json()["readiness"]["without_tariff"] == HOMES
    refused = party.jonas.post("/api/v1/tender-drafts/tender-too-early/approve")
    assert refused.status_code == 409
    assert f"{HOMES} of {HOMES} homes have no old tariff" in refused.json()["detail"]


def offer(party: Party, tender_id: str, price: str) -> dict:
    answer = party.nordwind.post(
        f"/api/v1/tenders/{tender_id}/offers",
        content=offer_text("Nordwind", price),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def form(client: httpx.Client, path: str, **fields: object) -> None:
    answer = client.post(path, data=fields)
    assert answer.status_code == 303, answer.text


def test_readings_become_a_group_tariff_and_a_settled_month(party: Party, tmp_path: Path) -> None:
    send_readings(party)
    try_too_early(party)
    enter_tariffs(party, tmp_path)

    prepared = party.amara.post("/api/v1/tenders", json=plan())
    assert prepared.json()["readiness"]["ready"] == HOMES, prepared.text
    tender_id = prepared.json()["tender_id"]
    opened = party.jonas.post(f"/api/v1/tender-drafts/{tender_id}/approve")
    assert opened.status_code == 201, opened.text
    assert opened.json()["homes"] == HOMES

    offer(party, tender_id, "0.29")
    form(party.amara, f"/board/{tender_id}/counter", supplier="Nordwind", price_cents="26")
    final = offer(party, tender_id, "0.27")
    for signer in (party.amara, party.jonas):
        form(signer, f"/board/{tender_id}/accept", offer_number=final["offer_number"])

    costs = {"costs_minor": 500, "monthly_costs_minor": 500}
    proposed = once(party.amara, "/api/v1/settlements", {"month": MONTH} | costs)
    figures = {"figures_sha256": proposed["figures_sha256"]}
    booked = once(party.jonas, f"/api/v1/settlements/{MONTH}/sign", figures)
    paid = once(
        party.amara,
        f"/api/v1/settlements/{MONTH}/payment",
        {
            "revision": 1,
            "amount_minor": booked["receivable_minor"],
            "bank_evidence": BANK_NOTE,
        },
    )
    again = once(party.jonas, "/api/v1/settlements", {"month": MONTH} | costs)

    saved_minor = sum(
        saving_of(sum(use_of(number, SETTLED, MONTH_END, 3600))) for number in range(HOMES)
    )
    assert booked["saving_minor"] == saved_minor
    assert sum(booked["totals_minor"].values()) == 0
    assert (paid["stage"], again["stage"]) == ("paid", "paid")
    assert again["adds_nothing"]
    assert [run["revision"] for run in party.amara.get("/api/v1/settlements").json()] == [1]


def saving_of(energy_wh: int) -> int:
    """Old less new bill of a home, each rounded half to even as bills are [minor units]."""
    return round(energy_wh * OLD_CENTS / 1000) - round(energy_wh * 27 / 1000)


def test_afterwards_members_see_it_and_the_log_has_every_step(party: Party) -> None:
    member = party.members[0]

    mine = member.get("/api/v1/me/tariff").json()
    assert mine["joined_at"] is not None
    assert json.loads(mine["group"]["text"])["supplier"] == "Nordwind"
    assert f"Group tariff, {MONTH}" in member.get("/home").text
    (saved,) = member.get("/api/v1/me/savings").json()
    energy_wh = sum(use_of(ON_PAPER, SETTLED, MONTH_END, 3600))
    assert (saved["month"], saved["energy_wh"]) == (MONTH, energy_wh)
    assert (saved["saving_minor"], saved["is_booked"]) == (saving_of(energy_wh), True)
    missing = {
        kind
        for kind in (
            "tariff.frozen",
            "tender.prepared",
            "release.made",
            "tender.opened",
            "offer.received",
            "counter_offer.sent",
            "offer.accepted",
            "savings.settled",
            "settlement.proposed",
            "ledger.settled",
            "supplier.paid",
        )
        if f"/log?kind={kind}" not in member.get(f"/log?kind={kind}").text
    }
    assert missing == set(), "steps that are not in the log"
