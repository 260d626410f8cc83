"""The co-op's cloud of the demo: the real application, served on 127.0.0.1 by a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import uvicorn

from cloud.app import create_app
from cloud.demo.clock import StreetClock
from cloud.demo.made_up import COOP_NAME, CURRENCY
from cloud.demo.processes import DemoFault, Processes, free_port, wait_for_port
from cloud.demo.street import ZONE
from cloud.gateways import claim_code
from cloud.gateways.usecases import make_claim
from cloud.members.access import SESSION_COOKIE
from cloud.members.roles import Person
from cloud.members.usecases import LINK_LIFETIME, make_sign_in_link, open_session
from cloud.notices.ports import Letter
from cloud.rate_limit import RateLimit
from cloud.security import CSRF_HEADER, csrf_token_of
from cloud.services import Services
from cloud.settings import PrivacySettings, load_settings

GROUP_MIN_OUTSIDE = 20
"""The demo's street is small, so its outside floor is lower than the product's 100 homes."""


class StoryTime:
    """The street's clock: stands still until the story begins, then runs.

    Args:
        street_start: What it shows before the story begins, aware UTC.
    """

    def __init__(self, street_start: datetime) -> None:
        self._street_start = street_start
        self.clock: StreetClock | None = None

    def begin(self, *, rate: float, fast_s: float) -> StreetClock:
        """Let it run."""
        self.clock = StreetClock(
            machine_start=datetime.now(UTC),
            street_start=self._street_start,
            rate=rate,
            fast_s=fast_s,
        )
        return self.clock

    def now(self) -> datetime:
        """What it shows."""
        return self._street_start if self.clock is None else self.clock.now()

    def in_machine_seconds(self, seconds: float) -> datetime:
        """What it will show after some seconds of the machine's clock."""
        if self.clock is None:
            return self._street_start
        return self.clock.at(datetime.now(UTC) + timedelta(seconds=seconds))


class SilentMailer:
    """Takes letters and sends none: the demo prints its links itself."""

    def send(self, letter: Letter) -> None:
        """Drop a letter."""


class StreetCloud:
    """The application and the thread that serves it.

    Args:
        folder: Its data directory.
        time: The street's clock.
        port: Where to listen, or None for a free port.
    """

    def __init__(self, folder: Path, time: StoryTime, port: int | None = None) -> None:
        self.port = port or free_port()
        self.time = time
        settings = load_settings(
            folder,
            host="127.0.0.1",
            port=self.port,
            coop_name=COOP_NAME,
            timezone=ZONE,
            currency=CURRENCY,
            log_origin="demo.commonwatt/log",
            demo=True,
            privacy=PrivacySettings(group_min_outside=GROUP_MIN_OUTSIDE),
        )
        self._app = create_app(settings, clock=time.now, mailer=SilentMailer())
        self.services: Services = self._app.state.services
        # A whole street pairs from one address here, which no co-op would see.
        self.services.limits.claim_tries = RateLimit(tries=1_000, window_s=900)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                host="127.0.0.1",
                port=self.port,
                log_level="error",
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True, name="cloud")

    @property
    def url(self) -> str:
        """Address of the pages."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, processes: Processes) -> None:
        """Serve, and wait until it answers."""
        self._thread.start()
        wait_for_port(self.port, "the cloud", processes)

    def stop(self) -> None:
        """Stop serving and close all files."""
        self._server.should_exit = True
        self._thread.join(20)
        if self._thread.is_alive():
            raise DemoFault("the cloud did not stop in time")

    def sign_in_link(self, person: Person) -> str:
        """A single-use link for a person of the demo; it lives by the visitor's clock."""
        made_at = self._made_at(LINK_LIFETIME)
        with self.services.database.transaction() as connection:
            token = make_sign_in_link(
                connection, person_id=person.person_id, browser=None, now=made_at
            )
        return f"{self.url}/sign-in/{token}"

    def claim_code(self, household: str) -> str:
        """A claim code for a home; it lives by the machine's clock, however slow the machine is."""
        made_at = self._made_at(claim_code.LIFETIME)
        with self.services.database.transaction() as connection:
            return make_claim(connection, household=household, now=made_at)

    def _made_at(self, lifetime: timedelta) -> datetime:
        """When a thing must be made to end a lifetime from now by the machine's clock."""
        return self.time.in_machine_seconds(lifetime.total_seconds()) - lifetime

    @contextmanager
    def browser_of(self, person: Person) -> Iterator[httpx.Client]:
        """An HTTP client that is signed in as a person and sends what a browser sends."""
        with self.services.database.transaction() as connection:
            session = open_session(connection, person=person, now=self.time.now())
        headers = {
            "Origin": self.url,
            "Sec-Fetch-Site": "same-origin",
            CSRF_HEADER: csrf_token_of(session.token),
        }
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            client.cookies.set(SESSION_COOKIE, session.token, domain="127.0.0.1")
            yield client
