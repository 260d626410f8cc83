"""Members who agreed to research, their readings, and a request on its way, for tests and pages."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.consents.offers import offer_of, usual_offers
from cloud.consents.usecases import keep_home_event, publish_offers
from cloud.data_requests.proposal import NOTICE_TIME
from cloud.members.roles import Person, Role
from cloud.settings import PrivacySettings
from gateway.wire.consent import EventType
from gateway.wire.reading import Purpose
from gateway.wire.signing import public_bytes
from tests.cloud.coop_builder import START, Browser, Coop, HomeGateway
from tests.cloud.group_builder import put_use
from tests.cloud.votes.policy_builder import cast, count

PATH = "/api/v1/data-requests"
HOMES_MIN = 12
SETTINGS = {"privacy": PrivacySettings(group_min_outside=HOMES_MIN)}
PERIOD_START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD_END = datetime(2026, 3, 1, tzinfo=UTC)
BODY = {
    "title": "Evening peaks",
    "question": "How much of the evening peak could move into the night?",
    "purpose": "research",
    "template": "monthly_12",
    "period_start": PERIOD_START.isoformat(),
    "period_end": PERIOD_END.isoformat(),
    "recipient": "University of Nowhere",
    "retention_days": 365,
    "modifiers": ["no_link", "no_resell"],
    "price_minor": 120_001,
}


@dataclass(kw_only=True)
class Asking:
    """A co-op in which somebody asks to use data.

    Args:
        coop: The co-op.
        people: Members, three of the board, and who asks, in this order.
        members: Members with their browsers.
        board: Browsers of the board.
        requester: Browser of who asks.
    """

    coop: Coop
    people: list[Person]
    members: list[tuple[Person, Browser]] = field(default_factory=list)
    board: list[Browser] = field(default_factory=list)
    requester: Browser = field(init=False)

    def __post_init__(self) -> None:
        self.sign_in()

    def sign_in(self) -> None:
        """Let everybody sign in anew; a session lasts no longer than the notice."""
        browsers = [self.coop.browser_of(person) for person in self.people]
        self.members = list(zip(self.people, browsers[:-4], strict=False))
        self.board = browsers[-4:-1]
        self.requester = browsers[-1]

    def submit(self, key: str = "k", **changes) -> str:
        answer = self.requester.post(PATH, json=BODY | changes, headers={"Idempotency-Key": key})
        assert answer.status_code == 201, answer.text
        return answer.json()["proposal_id"]

    def vet(self, proposal_id: str) -> None:
        for browser in self.board[:2]:
            opinion = {"is_for": True, "reasons": "The five safes were looked at."}
            answer = browser.post(f"{PATH}/{proposal_id}/reviews", json=opinion)
            assert answer.status_code == 200, answer.text

    def open_vote(self, proposal_id: str) -> str:
        answer = self.board[0].post(f"{PATH}/{proposal_id}/vote", json={})
        assert answer.status_code == 201, answer.text
        return answer.json()["election_id"]

    def approve(self, proposal_id: str, *, choice: str = "yes") -> None:
        """Vet it, let the members vote, and count."""
        self.vet(proposal_id)
        vote = self.open_vote(proposal_id)
        for _person, browser in self.members:
            assert cast(browser, vote, choice=choice).status_code == 200
        count(self.coop, vote, days=NOTICE_TIME.days)
        self.sign_in()

    def freeze(self, proposal_id: str) -> dict:
        return self.board[0].post(f"{PATH}/{proposal_id}/freeze").json()

    def sign(self, proposal_id: str, who: int):
        return self.board[who].post(f"{PATH}/{proposal_id}/signatures")

    def release(self, proposal_id: str) -> dict:
        """Everything up to the second signature."""
        self.approve(proposal_id)
        self.freeze(proposal_id)
        self.sign(proposal_id, 0)
        return self.sign(proposal_id, 1).json()

    def pay(self, proposal_id: str, evidence: str = "ab" * 32):
        return self.board[0].post(f"{PATH}/{proposal_id}/fee", json={"bank_evidence": evidence})

    def show(self, proposal_id: str) -> dict:
        return self.board[0].get(f"{PATH}/{proposal_id}").json()


def asking_in(coop: Coop, homes: int = HOMES_MIN, *, reading_homes: int | None = None) -> Asking:
    """Members whose homes agreed to research and sent readings, a board, and a requester."""
    members = [coop.person(Role.MEMBER, email=f"m{number}@example.org") for number in range(homes)]
    households = [person.household or "" for person in members]
    agree_to_research(coop, households)
    for number, household in enumerate(households[:reading_homes], start=1):
        put_use(
            coop,
            household,
            Purpose.RESEARCH,
            start=PERIOD_START,
            end=PERIOD_END,
            wh_per_hour=100 + 10 * number,
        )
    board = [coop.person(Role.BOARD, email=f"board{number}@example.org") for number in range(3)]
    requester = coop.person(Role.REQUESTER, email="r@example.org")
    return Asking(coop=coop, people=[*members, *board, requester])


def agree_to_research(coop: Coop, households: list[str]) -> dict[str, HomeGateway]:
    """Let homes agree to research over the whole period, by events their gateways signed."""
    research = next(
        offer for offer in usual_offers("Co-op", group_min=15) if offer.offer_id == "research"
    )
    asked = msgspec.structs.replace(research, group_min=HOMES_MIN)
    terms = msgspec.structs.replace(
        offer_of(asked, coop.clock()).terms,
        valid_from=START - timedelta(days=400),
        valid_to=START + timedelta(days=99),
    )
    gateways = {}
    with coop.services.database.transaction() as connection:
        publish_offers(connection, [asked], now=coop.clock())
        for household in households:
            home = HomeGateway(
                client=coop.client,
                clock=coop.clock,
                key=Ed25519PrivateKey.generate(),
                household=household,
            )
            keep_home_event(
                connection,
                home.event(EventType.GIVEN, terms, "research"),
                household=household,
                public_key=public_bytes(home.key),
                now=coop.clock(),
            )
            gateways[household] = home
    return gateways
