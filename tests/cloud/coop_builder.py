"""Builders for cloud tests: a co-op on a temporary disk, a clock to turn, and a gateway that signs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
from anyio.from_thread import BlockingPortal, start_blocking_portal
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from sqlalchemy import event

from cloud.app import create_app
from cloud.database import Database
from cloud.members.access import SESSION_COOKIE
from cloud.members.roles import Person, Role
from cloud.members.usecases import add_household, add_person, open_session
from cloud.migrations.run import migrate
from cloud.notices.ports import Letter
from cloud.readings.memory import MemoryStore
from cloud.security import CSRF_HEADER, csrf_token_of
from cloud.services import Services
from cloud.settings import Settings
from gateway.wire.batch import Batch, BatchAnswer, Block, Part
from gateway.wire.codec import compress, encode
from gateway.wire.consent import ConsentEvent, EventType, Terms, encode_event, event_hash
from gateway.wire.session import (
    PATH_BATCHES,
    PATH_PAIR,
    PATH_SYNC,
    KnownConsent,
    PairAnswer,
    PairRequest,
    SyncAnswer,
    SyncRequest,
)
from gateway.wire.signing import (
    DOMAIN_BATCH,
    DOMAIN_CONSENT,
    DOMAIN_PAIR,
    DOMAIN_SYNC,
    HEADER_KEY,
    HEADER_SIGNATURE,
    SignedMessage,
    key_id_of,
    public_bytes,
    public_key_to_text,
    sign_message,
    signature_of,
)

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **step: float) -> None:
        self.now += timedelta(**step)


class Postbox:
    """Keeps letters instead of sending them."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []

    def send(self, letter: Letter) -> None:
        self.letters.append(letter)


class Browser:
    """A blocking client that talks to the application in its own event loop, with its own cookies."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._portal = portal
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8500")
        self.cookies = self._client.cookies
        self.headers = self._client.headers

    def request(self, method: str, path: str, **sent) -> httpx.Response:
        async def ask() -> httpx.Response:
            return await self._client.request(method, path, **sent)

        return self._portal.call(ask)

    def get(self, path: str, **sent) -> httpx.Response:
        return self.request("GET", path, **sent)

    def post(self, path: str, **sent) -> httpx.Response:
        return self.request("POST", path, **sent)


@dataclass(kw_only=True)
class Coop:
    """A running co-op and what tests need of it."""

    app: FastAPI
    services: Services
    clock: Clock
    postbox: Postbox
    client: Browser
    portal: BlockingPortal

    def letters_about(self, subject: str) -> set[tuple[str, str]]:
        """Who is written to with these words in the subject, and the text: waiting or sent by now.

        The server sends by itself, and deletes after sending, so those that wait are read first.
        """
        with self.services.database.reading() as connection:
            rows = connection.exec_driver_sql("SELECT address, subject, text FROM notices").all()
        sent = [(letter.to, letter.subject, letter.text) for letter in self.postbox.letters]
        return {(to, text) for to, about, text in [*map(tuple, rows), *sent] if subject in about}

    def new_browser(self) -> Browser:
        return Browser(self.app, self.portal)

    def person(
        self, *roles: Role, email: str = "ada@example.org", supplier: str | None = None
    ) -> Person:
        with self.services.database.transaction() as connection:
            household = None
            if Role.MEMBER in roles:
                household = add_household(connection, label="Home", now=self.clock())
            return add_person(
                connection,
                email=email,
                name=email.split("@", maxsplit=1)[0].title(),
                roles=roles,
                household=household,
                supplier=supplier,
                now=self.clock(),
            )

    def browser_of(self, person: Person) -> Browser:
        """A signed-in browser whose requests carry the page's token."""
        with self.services.database.transaction() as connection:
            opened = open_session(connection, person=person, now=self.clock())
        browser = self.new_browser()
        browser.cookies.set(SESSION_COOKIE, opened.token)
        browser.headers[CSRF_HEADER] = csrf_token_of(opened.token)
        return browser

    def member(self, email: str = "ada@example.org") -> tuple[Person, Browser]:
        person = self.person(Role.MEMBER, email=email)
        return person, self.browser_of(person)


@dataclass(kw_only=True)
class HomeGateway:
    """A gateway as the cloud sees it: a key, a counter, and requests that are signed."""

    client: Browser
    clock: Clock
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    household: str = ""
    counter: int = 0
    batch_seq: int = 0
    part_seq: int = 0
    heads: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def key_id(self) -> str:
        return key_id_of(public_bytes(self.key))

    def post(self, path: str, domain: str, payload: bytes, **headers: str):
        signed = {
            HEADER_KEY: self.key_id,
            HEADER_SIGNATURE: signature_of(self.key, domain, payload),
            "Content-Encoding": "gzip",
        }
        return self.client.post(path, content=compress(payload), headers=signed | headers)

    def pair(self, claim_code: str):
        request = PairRequest(
            claim_code=claim_code,
            public_key=public_key_to_text(public_bytes(self.key)),
            made_at=self.clock(),
            software="test 1",
        )
        response = self.post(PATH_PAIR, DOMAIN_PAIR, encode(request))
        if response.status_code == 200:
            self.household = msgspec.json.decode(response.content, type=PairAnswer).household
        return response

    def event(
        self, event: EventType, terms: Terms | None, consent_id: str = "group-tariff"
    ) -> SignedMessage:
        version, head = self.heads.get(consent_id, (0, ""))
        payload = encode_event(
            ConsentEvent(
                consent_id=consent_id,
                version=version + 1,
                prev=head,
                household=self.household,
                event=event,
                at=self.clock(),
                actor="member at home",
                terms=terms,
            )
        )
        self.heads[consent_id] = (version + 1, event_hash(payload))
        return sign_message(self.key, DOMAIN_CONSENT, payload)

    def sync_raw(self, *events: SignedMessage, **changes):
        self.counter += 1
        request = SyncRequest(
            **{
                "gateway": self.key_id,
                "sent_at": self.clock(),
                "counter": self.counter,
                "known": (),
                "events": events,
                "software": "test 1",
            }
            | changes
        )
        return self.post(PATH_SYNC, DOMAIN_SYNC, encode(request))

    def sync(self, *events: SignedMessage, **changes) -> SyncAnswer:
        response = self.sync_raw(*events, **changes)
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=SyncAnswer)

    def give(self, terms: Terms, consent_id: str = "group-tariff") -> KnownConsent:
        answer = self.sync(self.event(EventType.GIVEN, terms, consent_id))
        assert len(answer.accepted) == 1
        return answer.accepted[0]

    def batch(self, *parts: Part) -> Batch:
        self.batch_seq += 1
        return Batch(gateway=self.key_id, seq=self.batch_seq, made_at=self.clock(), parts=parts)

    def part(self, terms: Terms, start: datetime, wh: tuple[int, ...], **changes) -> Part:
        self.part_seq += 1
        fields = {
            "meter": terms.meters[0],
            "quantity": terms.quantities[0],
            "purpose": terms.purpose,
            "resolution": terms.resolution,
            "grant": "group-tariff@1",
            "epoch": 0,
            "seq": self.part_seq,
            "prev": "",
            "blocks": (Block(start=start, step_s=terms.resolution.step_s, wh=wh),),
        }
        return Part(**(fields | changes))

    def send_raw(self, batch: Batch, **headers: str):
        return self.post(PATH_BATCHES, DOMAIN_BATCH, encode(batch), **headers)

    def send(self, *parts: Part) -> BatchAnswer:
        response = self.send_raw(self.batch(*parts))
        assert response.status_code == 200, response.text
        return msgspec.json.decode(response.content, type=BatchAnswer)


def settings_in(folder: Path, **changes) -> Settings:
    return Settings(data_dir=folder / "data", coop_name="Test co-op", **changes)


@functools.cache
def _migrated_file() -> bytes:
    """A database with all tables and nothing in them; making one takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cloud.sqlite"
        database = Database(f"sqlite:///{file}")
        migrate(database)
        with database.reading() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return file.read_bytes()


def _spare_the_disk(database: Database) -> None:
    """Let commits not wait for the disk: what survives a power cut is tested with killed processes."""
    if database.is_sqlite:
        event.listen(
            database.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF")
        )
        database.engine.dispose()


@contextmanager
def open_coop(folder: Path, *, store=None, **changes) -> Iterator[Coop]:
    """A co-op that runs until the block ends."""
    clock, postbox = Clock(), Postbox()
    settings = settings_in(folder, **changes)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    if not settings.database_url and not (settings.data_dir / "cloud.sqlite").exists():
        (settings.data_dir / "cloud.sqlite").write_bytes(_migrated_file())
    app = create_app(
        settings,
        clock=clock,
        store=store if store is not None else MemoryStore(),
        mailer=postbox,
    )
    _spare_the_disk(app.state.services.database)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
    ):
        yield Coop(
            app=app,
            services=app.state.services,
            clock=clock,
            postbox=postbox,
            client=Browser(app, portal),
            portal=portal,
        )
