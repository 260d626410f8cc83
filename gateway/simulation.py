"""A clock for simulations: starts where a story starts, runs fast for a while, then as clocks do.

Only taken when the cloud is on this machine, see `gateway.settings`; the local page and `status`
say that time is simulated.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class SimulatedClock:
    """Tells the story's time.

    Args:
        machine_start: When the story began on the machine's clock, aware.
        story_start: What the story's clock showed then, aware UTC.
        rate: Story seconds per machine second while it runs fast.
        fast_s: How long it runs fast [machine s].
    """

    machine_start: datetime
    story_start: datetime
    rate: float
    fast_s: float
    _machine_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Tie the machine's clock to its monotonic one, so that the story never jumps."""
        passed_s = (datetime.now(tz=UTC) - self.machine_start).total_seconds()
        self._machine_s = passed_s - time.monotonic()

    def now(self) -> datetime:
        """The story's time, aware UTC."""
        return self.story_start + timedelta(seconds=self.since_boot_s())

    def since_boot_s(self) -> float:
        """Story seconds since the story began."""
        passed_s = self._machine_s + time.monotonic()
        return self.rate * min(max(passed_s, 0.0), self.fast_s) + max(passed_s - self.fast_s, 0.0)

    def is_disciplined(self) -> bool:
        """A story's clock is right by definition."""
        return True
