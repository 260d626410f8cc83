"""A reading: energy of one meter and quantity over a half-open interval."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import UTC, datetime

METER_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
ENERGY_WH_MAX = 10**12
"""No household interval comes near a terawatt hour; larger numbers are faults."""


class Quantity(enum.StrEnum):
    """What was measured. Energy of an interval in integer Wh; direction is in the name."""

    IMPORT_WH = "import_wh"
    EXPORT_WH = "export_wh"
    GENERATION_WH = "generation_wh"
    EV_WH = "ev_wh"
    HEAT_PUMP_WH = "heat_pump_wh"


class Quality(enum.StrEnum):
    """How the energy of an interval came about. Missing is not zero: a gap says so."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    PARTIAL = "partial"
    GAP = "gap"


class Resolution(enum.StrEnum):
    """The finest step at which a stream may leave, as ISO 8601 durations, coarse to fine."""

    MONTH = "P1M"
    DAY = "P1D"
    HOUR = "PT1H"
    QUARTER_HOUR = "PT15M"
    MINUTE = "PT1M"

    @property
    def fineness(self) -> int:
        """0 for a month up to 4 for a minute."""
        return _FINENESS[self]

    @property
    def step_s(self) -> int | None:
        """Fixed length [s], or None where the length follows the local calendar."""
        return _STEP_S[self]

    def is_finer_than(self, other: Resolution) -> bool:
        """Whether this step shows more detail than the other."""
        return self.fineness > other.fineness


_FINENESS = {resolution: rank for rank, resolution in enumerate(Resolution)}
_STEP_S: dict[Resolution, int | None] = {
    Resolution.MONTH: None,
    Resolution.DAY: None,
    Resolution.HOUR: 3600,
    Resolution.QUARTER_HOUR: 900,
    Resolution.MINUTE: 60,
}


class Purpose(enum.StrEnum):
    """Why a reading may leave. One stream per purpose; `PURPOSE_DPV` gives the W3C term."""

    BILLING = "billing"
    GROUP_TARIFF = "group_tariff"
    OWN_INSIGHT = "own_insight"
    GRID_SERVICE = "grid_service"
    RESEARCH = "research"
    OPEN_STATISTICS = "open_statistics"


PURPOSE_DPV = {
    Purpose.BILLING: "https://w3id.org/dpv#PaymentManagement",
    Purpose.GROUP_TARIFF: "https://w3id.org/dpv#EstablishContractualAgreement",
    Purpose.OWN_INSIGHT: "https://w3id.org/dpv#OptimisationForConsumer",
    Purpose.GRID_SERVICE: "https://w3id.org/dpv#ServiceProvision",
    Purpose.RESEARCH: "https://w3id.org/dpv#NonCommercialResearch",
    Purpose.OPEN_STATISTICS: "https://w3id.org/dpv#PublicBenefit",
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class StreamKey:
    """One meter, one quantity, one purpose: the key under which the cloud stores."""

    meter: str
    quantity: Quantity
    purpose: Purpose

    def __str__(self) -> str:
        """`meter/quantity/purpose`, as shown to people and used in logs."""
        return f"{self.meter}/{self.quantity}/{self.purpose}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Energy of one meter and quantity over `[start, end)`.

    Args:
        meter: The household's short name for the meter, `METER_ID`.
        quantity: What was measured.
        start: Aware UTC, included.
        end: Aware UTC, excluded.
        energy_wh: Integer energy [Wh], never negative; 0 when `quality` is a gap.
        quality: How it came about.
        epoch: Which life of the counter it came from; a reset or a new meter opens the next one.
    """

    meter: str
    quantity: Quantity
    start: datetime
    end: datetime
    energy_wh: int
    quality: Quality = Quality.MEASURED
    epoch: int = 0

    def __post_init__(self) -> None:
        """Hold what the rest of the code leans on."""
        if not METER_ID.fullmatch(self.meter):
            raise ValueError(
                f"meter name {self.meter!r}: use up to 32 lower-case letters, digits, - and _"
            )
        require_utc(self.start)
        require_utc(self.end)
        if self.start >= self.end:
            raise ValueError(f"interval of {self.meter}: start {self.start} is not before its end")
        if not 0 <= self.energy_wh <= ENERGY_WH_MAX:
            raise ValueError(f"energy of {self.meter}: {self.energy_wh} Wh is out of range")


def require_utc(moment: datetime) -> datetime:
    """Return the moment if it is aware and in UTC.

    Raises:
        ValueError: It is naive or in another zone.
    """
    if moment.tzinfo is None or moment.utcoffset() != UTC.utcoffset(None):
        raise ValueError(f"{moment!r} is not an aware UTC time")
    return moment
