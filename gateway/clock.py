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
DOUBT_S_MIN = 300.0
"""From this difference on, even a clock that is called right is not believed [s].

It is what the co-op lets a reading be ahead of its own clock: beyond it, readings would be refused.
"""
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
    _was_believed: bool = False
    _doubted: bool = False
    _agreed_at_s: float | None = None

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return self.clock.now()

    def is_synchronised(self) -> bool:
        """Whether the time of day can be believed.

        After a contradiction by the co-op's clock, or a long jump of a clock that was believed, only
        the co-op's agreement makes it believed again: a reading with a wrong date is worse than a
        late one.
        """
        if self._doubted:
            return False
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
        self._doubted = abs(self.offset_s) > DOUBT_S_MIN + took_s
        asked_s = self.clock.since_boot_s()
        self._confirmed_at_s = asked_s if agrees else None
        self._agreed_at_s = None if self._doubted else asked_s
        return agrees

    def step_s(self) -> float:
        """By how much the clock jumped since this was last asked [s]; 0 if it did not.

        After a jump an earlier confirmation no longer counts; after a long one, nothing but a new
        one does. One that came since this was last asked is new.
        """
        now, boot_s = self.clock.now(), self.clock.since_boot_s()
        anchor, self._anchor = self._anchor, (now, boot_s)
        believed, self._was_believed = self._was_believed, self.is_synchronised()
        if anchor is None:
            return 0.0
        before, before_s = anchor
        jumped_s = (now - before).total_seconds() - (boot_s - before_s)
        if abs(jumped_s) < STEP_S_MIN:
            return 0.0
        if self._agreed_at_s is None or self._agreed_at_s < before_s:
            self._confirmed_at_s = None
            self._doubted = self._doubted or (believed and abs(jumped_s) > DOUBT_S_MIN)
            self._was_believed = self.is_synchronised()
        return jumped_s

    def time_of(self, boot_s: float) -> datetime:
        """The time of day at a moment since boot, by the clock as it is now."""
        passed = timedelta(seconds=self.clock.since_boot_s() - boot_s)
        return self.clock.now() - passed


def off_by(offset_s: float) -> str:
    """How far a clock is off, in words: `2 h 5 min behind`."""
    minutes = round(abs(offset_s) / 60)
    days, minutes = divmod(minutes, 1_440)
    hours, minutes = divmod(minutes, 60)
    said = [f"{days} {'day' if days == 1 else 'days'}"] * (days > 0) + [f"{hours} h"] * (hours > 0)
    said += [f"{minutes} min"] * (not days)
    return f"{' '.join(said)} {'ahead of' if offset_s > 0 else 'behind'}"
