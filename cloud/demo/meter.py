"""What a simulated grid meter shows at a moment of the street's clock."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from cloud.demo.street import STEP_S

FIRST_COUNT_WH = 1_204_300
"""What the counters of all meters of the street showed when the story starts [Wh]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """Counters and power at a moment.

    Args:
        import_wh: Bought since the meter was made [Wh].
        export_wh: Sold since then [Wh].
        power_w: Power now, positive when buying [W].
        voltage_v: Voltage of the first phase [V].
    """

    import_wh: float
    export_wh: float
    power_w: float
    voltage_v: float

    @property
    def current_a(self) -> float:
        """Current of the first phase [A]."""
        return abs(self.power_w) / self.voltage_v


class SimulatedMeter:
    """A meter whose counters follow a load profile, evenly within each interval.

    Args:
        start: Start of the profile, aware UTC.
        import_wh: Bought per quarter hour [Wh].
        export_wh: Sold per quarter hour [Wh].
    """

    def __init__(
        self, *, start: datetime, import_wh: Sequence[int], export_wh: Sequence[int]
    ) -> None:
        self._start = start
        self._import_wh = list(import_wh)
        self._export_wh = list(export_wh)
        self._bought_wh = list(accumulate(import_wh, initial=0))
        self._sold_wh = list(accumulate(export_wh, initial=0))
        self._edges_s = [STEP_S * position for position in range(len(self._import_wh) + 1)]

    def display(self, now: datetime) -> Display:
        """What it shows. Before the profile it stands still, after it too."""
        passed_s = min(max((now - self._start).total_seconds(), 0.0), self._edges_s[-1] - 1e-3)
        position = bisect_right(self._edges_s, passed_s) - 1
        share = (passed_s - self._edges_s[position]) / STEP_S
        bought_wh, sold_wh = self._import_wh[position], self._export_wh[position]
        power_w = (bought_wh - sold_wh) * 3600 / STEP_S
        return Display(
            import_wh=FIRST_COUNT_WH + self._bought_wh[position] + share * bought_wh,
            export_wh=FIRST_COUNT_WH / 2 + self._sold_wh[position] + share * sold_wh,
            power_w=power_w,
            voltage_v=231.0 - power_w / 4000,
        )


def eastron_sdm630_registers(shown: Display) -> dict[int, int]:
    """Input registers of an Eastron SDM630, by address.

    Source: the register table in `firmware_configs/meters/eastron_sdm630.toml`.
    """
    floats = {
        0x0000: shown.voltage_v,
        0x0002: shown.voltage_v,
        0x0004: shown.voltage_v,
        0x0006: shown.current_a,
        0x000C: shown.power_w,
        0x0034: shown.power_w,
        0x003E: 1.0,
        0x0046: 50.0,
        0x0048: shown.import_wh / 1000,
        0x004A: shown.export_wh / 1000,
    }
    registers: dict[int, int] = {}
    for address, value in floats.items():
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        registers |= {address: high, address + 1: low}
    return registers


def carlo_gavazzi_em340_registers(shown: Display) -> dict[int, int]:
    """Input registers of a Carlo Gavazzi EM340, by address: low word first.

    Source: the register table in `firmware_configs/meters/carlo_gavazzi_em340.toml`.
    """
    numbers = {
        0x0000: round(shown.voltage_v * 10),
        0x0002: round(shown.voltage_v * 10),
        0x0004: round(shown.voltage_v * 10),
        0x000C: round(shown.current_a * 1000),
        0x0012: round(shown.power_w * 10),
        0x0028: round(shown.power_w * 10),
        0x0034: int(shown.import_wh // 100),
        0x004E: int(shown.export_wh // 100),
    }
    registers = {0x0031: 1000, 0x0033: 500}
    for address, value in numbers.items():
        low, high = struct.unpack("<HH", struct.pack("<i", value))
        registers |= {address: low, address + 1: high}
    return registers


REGISTERS = {
    "eastron_sdm630": (4, eastron_sdm630_registers),
    "carlo_gavazzi_em340": (4, carlo_gavazzi_em340_registers),
}
"""Function code and register writer of each meter the street has."""
