"""The street's clock: starts where the story starts, runs fast for a while, then as clocks do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class StreetClock:
    """Maps the machine's clock to the street's.

    Args:
        machine_start: When the street was started, aware UTC.
        street_start: What its clock showed then, aware UTC.
        rate: Street seconds per machine second while it runs fast.
        fast_s: How long it runs fast [machine s]; afterwards both run alike.
    """

    machine_start: datetime
    street_start: datetime
    rate: float
    fast_s: float

    def at(self, machine_now: datetime) -> datetime:
        """What the street's clock shows at a moment of the machine's clock."""
        passed_s = (machine_now - self.machine_start).total_seconds()
        fast_s = min(max(passed_s, 0.0), self.fast_s)
        return self.street_start + timedelta(
            seconds=self.rate * fast_s + max(passed_s - self.fast_s, 0.0)
        )

    def now(self) -> datetime:
        """What the street's clock shows now."""
        return self.at(datetime.now(UTC))

    def to_json(self) -> str:
        """For another process of the demo."""
        fields = asdict(self)
        return json.dumps(
            {
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in fields.items()
            }
        )

    @classmethod
    def from_json(cls, text: str) -> StreetClock:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        return cls(
            machine_start=datetime.fromisoformat(fields["machine_start"]),
            street_start=datetime.fromisoformat(fields["street_start"]),
            rate=fields["rate"],
            fast_s=fields["fast_s"],
        )
