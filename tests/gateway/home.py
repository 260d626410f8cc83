"""A whole gateway in a test: real state, real consent, a fake co-op and a hand-moved clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from gateway import household
from gateway.daemon import Daemon, build
from gateway.meters.source import Sample
from gateway.settings import Settings, read_settings
from gateway.wire.reading import Quantity, Resolution
from tests.gateway.fake_coop import CLAIM_CODE, FakeClock, FakeCoop


def settings_text(*, meters: Sequence[str] = ("main",), extra: str = "") -> str:
    """A gateway.toml whose meters are never opened."""
    tables = "\n".join(
        f'[[modbus.meter]]\nname = "{name}"\nmap = "eastron_sdm630"\nunit = {unit}\npoll_every_s = 10'
        for unit, name in enumerate(meters, start=1)
    )
    return f"""
[gateway]
state_dir = "state"
household_timezone = "Europe/Vienna"
clock = "kernel"

[cloud]
url = "http://127.0.0.1:9"

[local_page]
enabled = false

[[modbus]]
name = "bus"
host = "127.0.0.1"
port = 1

{tables}
{extra}
"""


def run(work: Coroutine[object, object, object]) -> None:
    """Run a coroutine to its end, also from within a test that has a loop of its own."""
    with ThreadPoolExecutor(max_workers=1) as aside:
        aside.submit(asyncio.run, work).result()


OPEN: list[Daemon] = []
"""Gateways of this test, whose files are closed after it; see tests/conftest.py."""


@dataclass
class Home:
    """One household's gateway."""

    directory: Path
    coop: FakeCoop = field(default_factory=FakeCoop)
    clock: FakeClock = field(default_factory=FakeClock)
    meters: Sequence[str] = ("main",)
    extra: str = ""
    totals: dict[tuple[str, str], float] = field(default_factory=dict)
    daemon: Daemon = field(init=False)
    secret: str = field(init=False)

    def __post_init__(self) -> None:
        path = self.directory / "gateway.toml"
        path.write_text(settings_text(meters=self.meters, extra=self.extra), encoding="utf-8")
        self.start()
        assert self.daemon.local_secret is not None
        self.secret = self.daemon.local_secret

    @property
    def settings(self) -> Settings:
        return read_settings(self.directory / "gateway.toml")[0]

    @property
    def state_dir(self) -> Path:
        return self.directory / "state"

    def start(self) -> None:
        """Plug the gateway together, as after a boot."""
        self.daemon = build(
            self.settings, self.state_dir, clock=self.clock, sources=(), link=self.coop
        )
        OPEN.append(self.daemon)

    def cut_power(self) -> None:
        """Lose all that is in memory."""
        self.daemon.store.close()
        self.start()

    def pair(self) -> None:
        self.coop.now = self.clock.at
        run(self.daemon.uplink.pair(CLAIM_CODE))
        self.daemon.reload_book()

    def sync(self) -> None:
        self.coop.now = self.clock.at
        run(self.daemon.uplink.sync())
        self.daemon.reload_book()

    def send(self) -> None:
        run(self.daemon.uplink.send_waiting())

    def flush(self) -> None:
        run(self.daemon.flush())

    def give(
        self,
        offer_id: str = "group-tariff",
        *,
        meters: Sequence[str] | None = None,
        quantities: Sequence[Quantity] | None = None,
        resolution: Resolution | None = None,
    ) -> None:
        household.give(
            self.daemon.store,
            self.daemon.identity,
            offer_id=offer_id,
            secret=self.secret,
            meters=self.meters if meters is None else meters,
            quantities=quantities,
            resolution=resolution,
            now=self.clock.at,
        )
        self.daemon.reload_book()

    def withdraw(self, consent_id: str = "group-tariff") -> None:
        household.withdraw(
            self.daemon.store, self.daemon.identity, consent_id=consent_id, now=self.clock.at
        )
        self.daemon.reload_book()

    def live(
        self,
        seconds: float,
        *,
        power_w: Mapping[str, float] | float = 600.0,
        poll_s: float = 10.0,
        quantities: Sequence[str] = ("import_wh",),
        silent: Sequence[str] = (),
    ) -> None:
        """Let time pass while the meters run and are read."""
        passed = 0.0
        while passed < seconds:
            self.clock.advance(poll_s)
            passed += poll_s
            for meter in self.meters:
                told: dict[str, int | float] = {}
                for quantity in quantities:
                    watts = power_w if isinstance(power_w, int | float) else power_w[quantity]
                    key = (meter, quantity)
                    self.totals[key] = self.totals.get(key, 1_000_000.0) + watts * poll_s / 3600
                    told[quantity] = int(self.totals[key])
                if meter not in silent:
                    self.daemon.take(Sample(meter=meter, taken_at=self.clock.at, quantities=told))
