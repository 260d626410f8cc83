"""What time it is, and whether that can be believed.

A Pi has no clock of its own: after a power cut it may think it is last week. Until the kernel's
clock is disciplined, or the co-op's server has agreed with it, readings wait in memory with the
time since boot, and get their real time once it is known.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

STEP_S_MIN = 2.0
"""A jump of the clock by this much against the time since boot is a step [s]."""
AGREEMENT_S_MAX = 30.0
"""How far the co-op's clock may be from ours to confirm it [s]."""
CONFIRMATION_LASTS_S = 86_400.0
_TIME_ERROR = 5


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""

    def since_boot_s(self) -> float:
        """Seconds since boot, suspended time included; never set back."""

    def is_disciplined(self) -> bool:
        """Whether something keeps the time of day right."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return datetime.now(tz=UTC)

    def since_boot_s(self) -> float:
        """Seconds since boot, suspended time included."""
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boottime is None else time.clock_gettime(boottime)

    def is_disciplined(self) -> bool:
        """Whether the kernel says that the clock is synchronised.

        Source: adjtimex(2), return value TIME_ERROR.
        """
        try:
            adjtimex = ctypes.CDLL(None).adjtimex
        except (OSError, AttributeError):
            return False
        asked = ctypes.create_string_buffer(1024)
        state = int(adjtimex(asked))
        return 0 <= state != _TIME_ERROR


@dataclass(slots=True)
class ClockWatch:
    """Decides whether the time can be believed, and notices when it jumps.

    Args:
        clock: What tells the time.
        trust: `kernel` or `trusted`, from the settings.
    """

    clock: Clock
    trust: Literal["kernel", "trusted"]
    offset_s: float | None = None
    _confirmed_at_s: float | None = None
    _anchor: tuple[datetime, float] | None = field(default=None)

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return self.clock.now()

    def is_synchronised(self) -> bool:
        """Whether the time of day can be believed."""
        if self.trust == "trusted" or self.clock.is_disciplined():
            return True
        if self._confirmed_at_s is None:
            return False
        return self.clock.since_boot_s() - self._confirmed_at_s < CONFIRMATION_LASTS_S

    def compare(self, told: datetime, *, took_s: float) -> bool:
        """Compare with what the co-op's server says the time is.

        Args:
            told: The server's time, aware.
            took_s: How long the question and its answer took [s].

        Returns:
            Whether the two agree.
        """
        self.offset_s = (self.clock.now() - told).total_seconds() - took_s / 2
        agrees = abs(self.offset_s) <= AGREEMENT_S_MAX + took_s
        self._confirmed_at_s = self.clock.since_boot_s() if agrees else None
        return agrees

    def step_s(self) -> float:
        """By how much the clock jumped since this was last asked [s]; 0 if it did not.

        After a jump an earlier confirmation no longer counts.
        """
        now, boot_s = self.clock.now(), self.clock.since_boot_s()
        if self._anchor is None:
            self._anchor = (now, boot_s)
            return 0.0
        before, before_s = self._anchor
        jumped_s = (now - before).total_seconds() - (boot_s - before_s)
        self._anchor = (now, boot_s)
        if abs(jumped_s) < STEP_S_MIN:
            return 0.0
        self._confirmed_at_s = None
        return jumped_s

    def time_of(self, boot_s: float) -> datetime:
        """The time of day at a moment since boot, by the clock as it is now."""
        passed = timedelta(seconds=self.clock.since_boot_s() - boot_s)
        return self.clock.now() - passed
