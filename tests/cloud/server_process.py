"""A real `coop-cloud serve` in a process of its own, to be killed, and homes that are paired with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.app import open_database
from cloud.consents.offers import offer_of, usual_offers
from cloud.gateways import repository as gateways
from cloud.gateways.usecases import _new_gateway
from cloud.keys import load_or_make_keys
from cloud.members.usecases import add_household
from cloud.settings import Settings, load_settings
from gateway.wire.consent import Terms
from gateway.wire.signing import public_bytes
from tests.cloud.coop_builder import HomeGateway
from tests.ports import free_port

START_S_MAX = 120


class ServerProcess:
    """The co-op's server on a free port of 127.0.0.1."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = "from cloud.cli import app; app()"
        arguments = ["serve", "--data", str(self.data_dir), "--port", str(self.port)]
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
        deadline_s = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline_s:
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
            assert self._process.poll() is None, (self.data_dir / "server.log").read_text()
        self.kill()
        raise AssertionError(
            f"no answer in {START_S_MAX} s; " + (self.data_dir / "server.log").read_text()
        )

    def stop(self, how: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(timeout=30)

    def kill(self) -> None:
        """What a power cut does to a process."""
        self.stop(signal.SIGKILL)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


def terms_now() -> Terms:
    """The group-tariff terms of a new server, valid for the last year too."""
    now = datetime.now(UTC)
    settings = Settings(data_dir=Path())
    offers = usual_offers(settings.coop_name, group_min=settings.privacy.group_min_inside)
    terms = offer_of(offers[0], now).terms
    return msgspec.structs.replace(terms, valid_from=terms.valid_from - timedelta(days=365))


def add_paired_homes(data_dir: Path, count: int) -> list[HomeGateway]:
    """Homes with a bound gateway, made in the database before the server starts."""
    settings = load_settings(data_dir)
    database = open_database(settings)
    load_or_make_keys(data_dir)
    homes = []
    now = datetime.now(UTC)
    with database.transaction() as connection:
        for number in range(count):
            key = Ed25519PrivateKey.generate()
            household = add_household(connection, label=f"Home {number}", now=now)
            gateways.insert_gateway(
                connection, _new_gateway(public_bytes(key), household, "test 1", now)
            )
            homes.append(
                HomeGateway(
                    client=None, clock=lambda: datetime.now(UTC), key=key, household=household
                )
            )
    database.close()
    return homes
