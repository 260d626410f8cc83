"""How the gateway is: loops that must turn, meters as last seen, figures for machines.

The watchdog of systemd is fed only while every loop has turned within its own deadline, so a
loop that hangs restarts the gateway instead of going unnoticed.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.meters.source import Sample

POINTS_MAX = 120
"""Points kept in memory per meter for the page's small line."""


@dataclass(slots=True)
class LoopProgress:
    """When each loop last turned.

    Args:
        monotonic_s: What tells the time since some moment [s].
    """

    monotonic_s: Callable[[], float] = time.monotonic
    _deadlines_s: dict[str, float] = field(default_factory=dict)
    _turned_s: dict[str, float] = field(default_factory=dict)

    def expect(self, loop: str, within_s: float) -> None:
        """Expect a loop to turn at least this often [s]."""
        self._deadlines_s[loop] = within_s
        self._turned_s[loop] = self.monotonic_s()

    def turned(self, loop: str, at_s: float | None = None) -> None:
        """Note that a loop turned, now or at a moment of `monotonic_s`."""
        self._turned_s[loop] = self.monotonic_s() if at_s is None else at_s

    def stuck(self) -> list[str]:
        """Loops past their deadline."""
        now_s = self.monotonic_s()
        return [
            loop
            for loop, within_s in self._deadlines_s.items()
            if now_s - self._turned_s[loop] > within_s
        ]


@dataclass(slots=True)
class LiveMeter:
    """What a meter last said. In memory only."""

    sample: Sample | None = None
    points: deque[tuple[datetime, float]] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))


@dataclass(slots=True)
class LiveMeters:
    """All meters as last seen, for the household's own page. Never written down."""

    meters: dict[str, LiveMeter] = field(default_factory=dict)

    def expect(self, names: Iterable[str]) -> None:
        """Name the meters, so that a silent one is shown too."""
        for name in names:
            self.meters.setdefault(name, LiveMeter())

    def take(self, sample: Sample) -> None:
        """Take in a sample."""
        live = self.meters.setdefault(sample.meter, LiveMeter())
        live.sample = sample
        power_w = power_of(sample.quantities)
        if power_w is not None:
            live.points.append((sample.taken_at, power_w))


def power_of(quantities: Mapping[str, int | float]) -> float | None:
    """Power of a sample [W], of all phases where the meter only tells each."""
    if "power_w" in quantities:
        return float(quantities["power_w"])
    phases = [f"power_l{phase}_w" for phase in (1, 2, 3)]
    told = [float(quantities[name]) for name in phases if name in quantities]
    return sum(told) if told else None


def notify_systemd(state: str) -> bool:
    """Tell systemd something, such as `READY=1`; False if there is nobody to tell.

    Source: sd_notify(3): one datagram to the socket named in NOTIFY_SOCKET.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.send(state.encode())
    except OSError:
        return False
    return True


def watchdog_every_s() -> float | None:
    """How often systemd wants to hear from us [s]: half of WatchdogSec; None if never."""
    told = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not told.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(told) / 2_000_000
