"""Meter maps as TOML text, read strictly: every fault names the file, the table and the remedy."""

from __future__ import annotations

import difflib
import re
import tomllib
from fractions import Fraction
from typing import Any, TypeVar, get_args

import msgspec

from gateway.decode.map_tables import GoldenTable, MapFile, PointDefaults, PointTable, StrictTable
from gateway.decode.meter_map import (
    Baud,
    BusLimits,
    GoldenVector,
    Identity,
    MeterMap,
    Point,
    Probe,
    RegisterKey,
    SerialDefaults,
    Standing,
)
from gateway.decode.quantities import UNITS, derived_terms, quantity_kind, units_of
from gateway.decode.registers import NoValue, RegisterType, WordOrder
from gateway.errors import BadMeterMap

CHOICES = {
    "type": tuple(RegisterType),
    "word_order": tuple(WordOrder),
    "no_value": tuple(NoValue),
    "standing": tuple(Standing),
    "parity": ("N", "E", "O"),
    "baud": tuple(str(baud) for baud in get_args(Baud)),
    "function": ("3 (holding)", "4 (input)"),
    "phases": ("1", "2", "3"),
}
"""What may be written where."""

KEYS = sorted(
    {
        key.name
        for table in StrictTable.__subclasses__()
        if table.__module__ == MapFile.__module__
        for key in msgspec.structs.fields(table)
    }
)
TEXT_BYTES_MAX = 256 * 1024
_Table = TypeVar("_Table", bound=StrictTable)


def parse_map(text: str, *, file: str) -> MeterMap:
    """Read a meter map.

    Args:
        text: TOML.
        file: Shown in faults.

    Raises:
        BadMeterMap: With the file, the table and what to do.
    """
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise BadMeterMap(
            file=file,
            place="whole file",
            problem=f"longer than {TEXT_BYTES_MAX} bytes",
            remedy="a map is a few kilobytes; is this the right file?",
        )
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        raise BadMeterMap(
            file=file, place="TOML", problem=str(fault), remedy="correct that line"
        ) from fault
    table = _convert(tree, MapFile, file=file)
    points = {
        name: _point(name, row, table.default, file=file) for name, row in table.points.items()
    }
    meter_map = MeterMap(
        name=table.map,
        title=table.title,
        models=table.models,
        phases=table.phases,
        standing=table.standing,
        source=table.source,
        points=points,
        derived={
            name: _sum(name, expression, points, file=file)
            for name, expression in table.derived.items()
        },
        serial=None
        if table.serial is None
        else SerialDefaults(
            baud=table.serial.baud,
            parity=table.serial.parity,
            stop_bits=table.serial.stop_bits,
            unit=table.serial.unit,
        ),
        tcp_unit=None if table.tcp is None else table.tcp.unit,
        limits=BusLimits(
            registers_max=table.bus.registers_max,
            hole_max=table.bus.hole_max,
            pause_s=table.bus.pause_s,
            timeout_s=table.bus.timeout_s,
        ),
        identity=None
        if table.identity is None
        else Identity(
            function=table.identity.function,
            address=table.identity.address,
            registers=table.identity.registers,
            text=table.identity.text,
        ),
        probes=tuple(
            Probe(quantity=row.quantity, low=row.low, high=row.high) for row in table.probe
        ),
        variants=table.variants,
        sunspec_models=table.sunspec_models,
        golden=tuple(_golden(i, row, file=file) for i, row in enumerate(table.golden)),
        notes=table.notes,
    )
    _check_whole(meter_map, file=file)
    return meter_map


def _convert(tree: dict[str, Any], kind: type[_Table], *, file: str) -> _Table:
    try:
        # Points first, one by one, so that a fault names the point and not only `points[...]`.
        points = tree.get("points")
        if isinstance(points, dict):
            for name, row in points.items():
                _convert_point(name, row, file=file)
        return msgspec.convert(tree, kind, strict=True)
    except msgspec.ValidationError as fault:
        problem, place = _split_place(str(fault))
        raise BadMeterMap(
            file=file, place=place, problem=problem, remedy=_remedy(problem, place)
        ) from fault


def _convert_point(name: str, row: Any, *, file: str) -> None:
    try:
        msgspec.convert(row, PointTable, strict=True)
    except msgspec.ValidationError as fault:
        problem, place = _split_place(str(fault))
        where = f"[points.{name}]" + ("" if place == "top level" else f" {place}")
        remedy = (
            'state the unit the number has after scaling, for example unit = "kWh"'
            if "`unit`" in problem
            else _remedy(problem, place)
        )
        raise BadMeterMap(file=file, place=where, problem=problem, remedy=remedy) from fault


def _split_place(message: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*) - at `(?:key in )?\$\.?(.*)`", message, flags=re.DOTALL)
    return (message, "top level") if match is None else (match[1], match[2] or "top level")


def _remedy(problem: str, place: str) -> str:
    """What to do about a value or a key that is not one of those there are."""
    key = re.sub(r"\[[^.]*\] ?", "", place).split(".")[-1]
    choices = CHOICES.get(key)
    if key == "address":
        return "write it as a number, as on the wire: 0 to 0xFFFF; a manual's 40001 is 0"
    if "Invalid enum value" in problem and choices is not None:
        return f"use one of {', '.join(choices)}"
    unknown = re.search(r"unknown field `(.*)`", problem)
    close = difflib.get_close_matches(unknown[1], KEYS, n=2) if unknown else []
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "see _blueprint.toml for every key"


def _point(name: str, row: PointTable, default: PointDefaults, *, file: str) -> Point:
    place = f"[points.{name}]"
    kind = quantity_kind(name)
    if kind is None:
        raise BadMeterMap(
            file=file,
            place=place,
            problem=f"{name!r} is not a known quantity",
            remedy="use names such as import_wh, export_l1_wh, power_w, voltage_l1_v",
        )
    if row.unit not in UNITS or UNITS[row.unit][0] != kind.unit:
        raise BadMeterMap(
            file=file,
            place=place,
            problem=f"unit {row.unit!r} does not fit {name}",
            remedy=f"use one of {', '.join(units_of(kind))}",
        )
    function = row.function or default.function
    type_ = row.type or default.type
    order = (
        row.word_order
        or default.word_order
        or (WordOrder.BIG if type_ is not None and type_.registers == 1 else None)
    )
    if function is None or type_ is None or order is None:
        missing = "function" if function is None else "type" if type_ is None else "word_order"
        raise BadMeterMap(
            file=file,
            place=place,
            problem=f"{missing} is missing",
            remedy=f"state {missing} here or in [default]",
        )
    if row.address + type_.registers > 0x10000:
        raise BadMeterMap(
            file=file, place=place, problem="runs past register 0xFFFF", remedy="check the address"
        )
    return Point(
        quantity=name,
        function=function,
        address=row.address,
        type=type_,
        word_order=order,
        unit=row.unit,
        scale=Fraction(1) if row.scale is None else Fraction(str(row.scale)),
        optional=row.optional,
        no_value=default.no_value if row.no_value is None else row.no_value,
        scale_address=row.scale_address,
        rollover=None if row.rollover is None else Fraction(str(row.rollover)),
    )


def _sum(
    name: str, expression: str, points: dict[str, Point], *, file: str
) -> tuple[tuple[int, str], ...]:
    terms = derived_terms(expression)
    kind = quantity_kind(name)
    ours = terms is not None and all(term in points for _, term in terms)
    if terms is None or kind is None or not ours:
        raise BadMeterMap(
            file=file,
            place=f"[derived] {name}",
            problem=f"{expression!r} is not a sum of this map's points",
            remedy="write for example import_t1_wh + import_t2_wh",
        )
    if any(points[term].kind.unit != kind.unit for _, term in terms):
        raise BadMeterMap(
            file=file,
            place=f"[derived] {name}",
            problem="the terms do not have the unit of the sum",
            remedy="add only quantities of one unit",
        )
    return terms


def _golden(position: int, row: GoldenTable, *, file: str) -> GoldenVector:
    registers: dict[RegisterKey, int] = {}
    for key, text in row.registers.items():
        match = re.fullmatch(r"([34]):0x([0-9A-Fa-f]{1,4})", key)
        words = text.split()
        if match is None or not all(re.fullmatch(r"[0-9A-Fa-f]{4}", word) for word in words):
            raise BadMeterMap(
                file=file,
                place=f"[[golden]] number {position + 1}, registers {key!r}",
                problem="not a function, an address and words of four hex digits",
                remedy='write "4:0x0000" = "4366 3333"',
            )
        for offset, word in enumerate(words):
            registers[int(match[1]), int(match[2], 16) + offset] = int(word, 16)
    return GoldenVector(note=row.note, registers=registers, expect=row.expect)


def _check_whole(meter_map: MeterMap, *, file: str) -> None:
    if file.endswith(".toml") and not file.endswith(f"{meter_map.name}.toml"):
        raise BadMeterMap(
            file=file,
            place="map",
            problem=f"the map is called {meter_map.name!r}, the file is not",
            remedy="give both the same name",
        )
    for point in meter_map.points.values():
        for _, length in point.spans:
            if length > meter_map.limits.registers_max:
                raise BadMeterMap(
                    file=file,
                    place="[bus] registers_max",
                    problem=f"too short for {point.quantity}",
                    remedy=f"allow at least {length}",
                )
    _check_overlaps(meter_map, file=file)
    for probe in meter_map.probes:
        if probe.quantity not in meter_map.quantities or probe.low >= probe.high:
            raise BadMeterMap(
                file=file,
                place=f"[[probe]] {probe.quantity}",
                problem="not a quantity of this map, or low is not below high",
                remedy="name a point of this map and give low < high",
            )


def _check_overlaps(meter_map: MeterMap, *, file: str) -> None:
    """A register belongs to one number: two that share one are a slip of the pen."""
    owners: dict[RegisterKey, str] = {}
    for name, point in meter_map.points.items():
        for address in range(point.address, point.address + point.type.registers):
            other = owners.setdefault((point.function, address), name)
            if other == name:
                continue
            remedy = "check both addresses and types"
            if meter_map.points[other].kind.unit == point.kind.unit:
                remedy += f'; one number under two names is [derived] {name} = "{other}"'
            raise BadMeterMap(
                file=file,
                place=f"[points.{name}]",
                problem=f"shares register 0x{address:04X} with {other}",
                remedy=remedy,
            )


def check_golden(meter_map: MeterMap, *, file: str) -> int:
    """Decode a map's own vectors and compare.

    Returns:
        How many vectors were checked.

    Raises:
        BadMeterMap: There is none, or one comes out otherwise.
    """
    if not meter_map.golden:
        raise BadMeterMap(
            file=file,
            place="[[golden]]",
            problem="there is no golden vector",
            remedy="add registers as read from the meter, and what its display showed",
        )
    for position, vector in enumerate(meter_map.golden, start=1):
        got = meter_map.decode(vector.registers)
        for name in sorted(got.keys() | vector.expect.keys()):
            if got.get(name) != vector.expect.get(name):
                raise BadMeterMap(
                    file=file,
                    place=f"[[golden]] number {position}",
                    problem=f"{name} comes out as {got.get(name)}, not {vector.expect.get(name)}",
                    remedy="check address, type, word order, scale and unit, or the vector",
                )
    return len(meter_map.golden)
