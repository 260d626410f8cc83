"""The tables of a meter map file. The JSON Schema in `firmware_configs/schema` is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.decode.meter_map import Baud, Standing
from gateway.decode.registers import NoValue, RegisterType, WordOrder

POINTS_MAX = 200

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Address = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
_Function = Literal[3, 4]
_Unit = Annotated[int, msgspec.Meta(ge=0, le=255)]


class StrictTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; keys we do not know are faults."""


class PointDefaults(StrictTable, frozen=True, kw_only=True):
    """`[default]`: what points share."""

    function: _Function | None = None
    type: RegisterType | None = None
    word_order: WordOrder | None = None
    no_value: tuple[NoValue, ...] = ()


class PointTable(StrictTable, frozen=True, kw_only=True):
    """`[points.NAME]`: where one quantity is."""

    address: _Address
    unit: str
    function: _Function | None = None
    type: RegisterType | None = None
    word_order: WordOrder | None = None
    scale: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    optional: bool = False
    no_value: tuple[NoValue, ...] | None = None
    scale_address: _Address | None = None
    rollover: Annotated[float, msgspec.Meta(gt=0, le=1e15)] | None = None


class SerialTable(StrictTable, frozen=True, kw_only=True):
    """`[serial]`: factory settings."""

    baud: Baud
    parity: Literal["N", "E", "O"]
    stop_bits: Literal[1, 2] = 1
    unit: _Unit = 1


class TcpTable(StrictTable, frozen=True, kw_only=True):
    """`[tcp]`: what it answers to over Ethernet."""

    unit: _Unit = 1


class BusTable(StrictTable, frozen=True, kw_only=True):
    """`[bus]`: what the meter puts up with."""

    registers_max: Annotated[int, msgspec.Meta(ge=1, le=125)] = 80
    hole_max: Annotated[int, msgspec.Meta(ge=0, le=124)] = 16
    pause_s: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.02
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=30)] = 1.0


class IdentityTable(StrictTable, frozen=True, kw_only=True):
    """`[identity]`: where the serial number is."""

    function: _Function
    address: _Address
    registers: Annotated[int, msgspec.Meta(ge=1, le=32)]
    text: bool = False


class ProbeTable(StrictTable, frozen=True, kw_only=True):
    """`[[probe]]`: what is plausible."""

    quantity: str
    low: float
    high: float


class GoldenTable(StrictTable, frozen=True, kw_only=True):
    """`[[golden]]`: a test vector."""

    note: _Line
    registers: dict[str, str]
    expect: dict[str, int | float]


class MapFile(StrictTable, frozen=True, kw_only=True):
    """The whole file."""

    map: _Name
    title: _Line
    models: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=1)]
    phases: Literal[1, 2, 3]
    standing: Standing
    source: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=1)]
    points: Annotated[dict[str, PointTable], msgspec.Meta(min_length=1, max_length=POINTS_MAX)]
    default: PointDefaults = PointDefaults()
    derived: dict[str, str] = msgspec.field(default_factory=dict)
    serial: SerialTable | None = None
    tcp: TcpTable | None = None
    bus: BusTable = BusTable()
    identity: IdentityTable | None = None
    probe: tuple[ProbeTable, ...] = ()
    variants: tuple[_Name, ...] = ()
    sunspec_models: tuple[int, ...] = ()
    golden: Annotated[tuple[GoldenTable, ...], msgspec.Meta(max_length=20)] = ()
    notes: Annotated[str, msgspec.Meta(max_length=4000)] = ""
