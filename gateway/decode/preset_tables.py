"""The tables of a preset file. The JSON Schema in `firmware_configs/schema` is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.decode.map_tables import StrictTable
from gateway.decode.meter_map import Standing

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]
_Line = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Topic = Annotated[str, msgspec.Meta(min_length=1, max_length=300, pattern=r"^[^+#]+$")]


class ValueTable(StrictTable, frozen=True, kw_only=True):
    """`[message.values.NAME]`: where one quantity is."""

    unit: str
    paths: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=8)] = ("",)
    scale: Annotated[float, msgspec.Meta(gt=0, le=1e9)] | None = None
    sum_list: bool = False
    unit_topic: _Topic | None = None
    default: Literal[0] | None = None
    unit_path: Annotated[str, msgspec.Meta(min_length=1, max_length=300)] | None = None
    unless: Annotated[tuple[str, ...], msgspec.Meta(max_length=8)] = ()


class MessageTable(StrictTable, frozen=True, kw_only=True):
    """`[[message]]`: a topic and what it holds."""

    topic: _Topic
    values: Annotated[dict[str, ValueTable], msgspec.Meta(min_length=1, max_length=100)]


class AvailabilityTable(StrictTable, frozen=True, kw_only=True):
    """`[availability]`: where the device says whether it is there."""

    topic: _Topic
    online: str
    offline: str
    path: str = ""


class GoldenMessage(StrictTable, frozen=True, kw_only=True):
    """`[[golden.messages]]`: a message as sent."""

    topic: _Topic
    payload: str


class GoldenTable(StrictTable, frozen=True, kw_only=True):
    """`[[golden]]`: a test vector."""

    note: _Line
    messages: Annotated[tuple[GoldenMessage, ...], msgspec.Meta(min_length=1, max_length=50)]
    expect: dict[str, int | float]


class PresetFile(StrictTable, frozen=True, kw_only=True):
    """The whole file."""

    preset: _Name
    title: _Line
    devices: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=1)]
    phases: Literal[1, 2, 3]
    standing: Standing
    source: Annotated[tuple[_Line, ...], msgspec.Meta(min_length=1)]
    device_help: _Line
    message: Annotated[tuple[MessageTable, ...], msgspec.Meta(max_length=100)] = ()
    derived: dict[str, str] = msgspec.field(default_factory=dict)
    availability: AvailabilityTable | None = None
    discovery: bool = False
    period_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    golden: Annotated[tuple[GoldenTable, ...], msgspec.Meta(max_length=20)] = ()
    notes: Annotated[str, msgspec.Meta(max_length=4000)] = ""
