"""MQTT presets as TOML text, read strictly: every fault names the file, the table and the remedy."""

from __future__ import annotations

import re
import tomllib
from fractions import Fraction
from typing import NoReturn

import msgspec

from gateway.decode.mqtt_payloads import (
    DEVICE,
    Availability,
    GoldenMessages,
    MessageRule,
    Preset,
    ValueRule,
    is_path,
)
from gateway.decode.preset_tables import MessageTable, PresetFile, ValueTable
from gateway.decode.quantities import UNITS, derived_terms, quantity_kind, units_of
from gateway.errors import BadPayload, BadPreset

TEXT_BYTES_MAX = 256 * 1024


def parse_preset(text: str, *, file: str) -> Preset:
    """Read an MQTT preset.

    Args:
        text: TOML.
        file: Shown in faults.

    Raises:
        BadPreset: With the file, the table and what to do.
    """
    table = _table_of(text, file)
    if file.endswith(".toml") and not file.endswith(f"{table.preset}.toml"):
        _refuse(file, "preset", f"called {table.preset!r}, the file is not", "use one name")
    if not table.message and not table.discovery:
        _refuse(file, "[[message]]", "there is none", "add a topic and its values")
    messages = tuple(_message(row, file) for row in table.message)
    names = {rule.quantity for message in messages for rule in message.values}
    return Preset(
        name=table.preset,
        title=table.title,
        devices=table.devices,
        phases=table.phases,
        standing=table.standing,
        source=table.source,
        device_help=table.device_help,
        messages=messages,
        derived={
            name: _sum(name, expression, names, file) for name, expression in table.derived.items()
        },
        availability=None
        if table.availability is None
        else Availability(
            topic=table.availability.topic,
            path=table.availability.path,
            online=table.availability.online,
            offline=table.availability.offline,
        ),
        discovery=table.discovery,
        period_s=table.period_s,
        golden=tuple(
            GoldenMessages(
                note=row.note,
                messages=tuple((one.topic, one.payload) for one in row.messages),
                expect=row.expect,
            )
            for row in table.golden
        ),
        notes=table.notes,
    )


def check_golden_messages(preset: Preset, *, file: str) -> int:
    """Decode a preset's own messages and compare.

    Returns:
        How many vectors were checked.

    Raises:
        BadPreset: There is none, or one comes out otherwise.
    """
    if not preset.golden:
        _refuse(file, "[[golden]]", "there is no golden vector", "add a message as received")
    for position, vector in enumerate(preset.golden, start=1):
        got: dict[str, int | float] = {}
        units: dict[str, str] = {}
        for topic, payload in vector.messages:
            try:
                units.update(preset.unit_said(topic, payload.encode()))
                got.update(preset.decode(topic, payload.encode(), units))
            except BadPayload as fault:
                _refuse(file, f"[[golden]] number {position}", str(fault), "correct the payload")
        preset.complete(got)
        for name in sorted(got.keys() | vector.expect.keys()):
            if got.get(name) != vector.expect.get(name):
                _refuse(
                    file,
                    f"[[golden]] number {position}",
                    f"{name} comes out as {got.get(name)}, not {vector.expect.get(name)}",
                    "check path, scale and unit, or the vector",
                )
    return len(preset.golden)


def _table_of(text: str, file: str) -> PresetFile:
    if len(text.encode()) > TEXT_BYTES_MAX:
        _refuse(file, "whole file", "too long", "a preset is a few kilobytes")
    try:
        return msgspec.convert(tomllib.loads(text), PresetFile, strict=True)
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        _refuse(file, "TOML", str(fault), "correct that line")
    except msgspec.ValidationError as fault:
        match = re.fullmatch(r"(.*) - at `(?:key in )?\$\.?(.*)`", str(fault), flags=re.DOTALL)
        problem, place = (str(fault), "top level") if match is None else (match[1], match[2])
        remedy = (
            'state the unit the number has after scaling, for example unit = "kWh"'
            if "`unit`" in problem
            else "see docs/formats/mqtt_preset.md for every key"
        )
        _refuse(file, place or "top level", problem, remedy)


def _message(row: MessageTable, file: str) -> MessageRule:
    if row.topic.count(DEVICE) > 1:
        _refuse(file, f"[[message]] {row.topic}", "{device} stands twice", "use it once")
    return MessageRule(
        topic=row.topic,
        values=tuple(_value(name, value, row.topic, file) for name, value in row.values.items()),
    )


def _value(name: str, row: ValueTable, topic: str, file: str) -> ValueRule:
    place = f"[[message]] {topic}, {name}"
    kind = quantity_kind(name)
    if kind is None:
        _refuse(
            file,
            place,
            f"{name!r} is not a known quantity",
            "use names such as import_wh, export_l1_wh, power_w, voltage_l1_v",
        )
    if row.unit not in UNITS or UNITS[row.unit][0] != kind.unit:
        _refuse(
            file,
            place,
            f"unit {row.unit!r} does not fit {name}",
            f"use one of {', '.join(units_of(kind))}",
        )
    for path in (*row.paths, *row.unless, *([row.unit_path] if row.unit_path else [])):
        if not is_path(path):
            _refuse(file, place, f"path {path!r} cannot be followed", "write a.b[0].c")
    return ValueRule(
        quantity=name,
        paths=row.paths,
        unit=row.unit,
        scale=Fraction(1) if row.scale is None else Fraction(str(row.scale)),
        sum_list=row.sum_list,
        unit_topic=row.unit_topic,
        default=row.default,
        unit_path=row.unit_path,
        unless=row.unless,
    )


def _sum(name: str, expression: str, names: set[str], file: str) -> tuple[tuple[int, str], ...]:
    terms = derived_terms(expression)
    kind = quantity_kind(name)
    if terms is None or kind is None or not all(term in names for _, term in terms):
        _refuse(
            file,
            f"[derived] {name}",
            f"{expression!r} is not a sum of this preset's quantities",
            "write for example import_t1_wh + import_t2_wh",
        )
    for _, term in terms:
        other = quantity_kind(term)
        if other is None or other.unit != kind.unit:
            _refuse(file, f"[derived] {name}", "the terms differ in unit", "add only one unit")
    return terms


def _refuse(file: str, place: str, problem: str, remedy: str) -> NoReturn:
    raise BadPreset(file=file, place=place, problem=problem, remedy=remedy)
