"""Green Button files (NAESB ESPI) in: an Atom feed becomes readings, and notices of what was left.

Feeds in the wild relate their entries in several ways and break some rules; what can be understood
is taken, what cannot is named in a notice, and nothing is guessed. Numbers may be padded with
spaces, intervals may be out of order or given twice, an entry may hold several blocks.

Source: NAESB REQ.21 ESPI 4.0 (espi.xsd 4.0.20231213) for elements and codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from cloud.errors import BadReadingsFile
from cloud.readings.coverage import from_us
from gateway.wire.reading import Quality, Quantity, Reading

FILE_BYTES_MAX = 128 * 1024 * 1024
INTERVALS_MAX = 5_000_000

_ATOM = "{http://www.w3.org/2005/Atom}"
_ESPI = "{http://naesb.org/espi}"
_ELECTRICITY = "0"
_WATT_HOURS = "72"
_DELTA_DATA = ("", "0", "4")
_FLOW = {"1": Quantity.IMPORT_WH, "19": Quantity.EXPORT_WH, "": Quantity.IMPORT_WH}
_ESTIMATED = frozenset({"7", "8", "9", "10", "11", "12"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenButtonFile:
    """What a file holds.

    Attributes:
        readings: In the order of meters, then finest step first, then time.
        usage_points: Names of the usage points, in the order their meters were numbered.
        notices: What was left out, and why, for the person who imports.
    """

    readings: tuple[Reading, ...]
    usage_points: tuple[str, ...]
    notices: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Entry:
    self_path: str
    up_path: str
    related: list[str]
    title: str
    resources: list[Element]


@dataclass(slots=True, kw_only=True)
class _Meter:
    """A meter reading with what it leads to."""

    entry: _Entry
    usage_point: str
    kind: Element | None
    blocks: list[Element] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Interval:
    start_s: int
    duration_s: int
    energy: Fraction | None
    quality: Quality


def read_green_button(path: Path, *, meter: str) -> GreenButtonFile:
    """Read a Green Button file.

    Args:
        path: The file.
        meter: The household's name for the meter; further usage points become `name-2`, `name-3`.

    Raises:
        BadReadingsFile: Not XML, not a Green Button feed, too large, or nothing in it can be used.
    """
    feed = _parse(path)
    entries = [_entry(node) for node in feed.iter(f"{_ATOM}entry")]
    notices: list[str] = []
    meters = _relate(entries, notices)
    usage_points = list(dict.fromkeys(one.usage_point for one in meters))
    readings: list[Reading] = []
    for number, usage_point in enumerate(usage_points):
        name = meter if number == 0 else f"{meter}-{number + 1}"
        series = [
            made
            for one in meters
            if one.usage_point == usage_point
            for made in _series(path, one, notices)
        ]
        for quantity, intervals in sorted(series, key=_finest_first):
            readings += _readings(path, name, quantity, intervals)
    if not readings:
        found = "; ".join(notices) or "it holds no interval readings"
        raise BadReadingsFile(path=str(path), place="", problem=f"nothing to import: {found}")
    return GreenButtonFile(
        readings=tuple(readings), usage_points=tuple(usage_points), notices=tuple(notices)
    )


def _parse(path: Path) -> Element:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise BadReadingsFile(
            path=str(path),
            place="",
            problem=f"larger than {FILE_BYTES_MAX // 2**20} MB; ask for a shorter time",
        )
    try:
        root: Element = fromstring(path.read_bytes(), forbid_dtd=True)
    except ParseError as fault:
        line, column = fault.position
        raise BadReadingsFile(
            path=str(path),
            place=f"line {line}, column {column}",
            problem="not well-formed XML; download the file again",
        ) from fault
    except DefusedXmlException as fault:
        raise BadReadingsFile(
            path=str(path), place="", problem="it declares entities or a DTD, which are not taken"
        ) from fault
    if root.tag != f"{_ATOM}feed":
        raise BadReadingsFile(
            path=str(path),
            place=f"element {root.tag.rpartition('}')[2]}",
            problem="a Green Button file begins with an Atom feed",
        )
    return root


def _entry(node: Element) -> _Entry:
    links: dict[str, list[str]] = {}
    for link in node.findall(f"{_ATOM}link"):
        links.setdefault(link.get("rel", ""), []).append(_path_of(link.get("href", "")))
    content = node.find(f"{_ATOM}content")
    return _Entry(
        self_path=next(iter(links.get("self", ())), ""),
        up_path=next(iter(links.get("up", ())), ""),
        related=links.get("related", []),
        title=_text(node.find(f"{_ATOM}title")),
        resources=[] if content is None else [c for c in content if c.tag.startswith(_ESPI)],
    )


def _path_of(href: str) -> str:
    """The path alone: servers write the same resource with and without their name."""
    return urlsplit(href.strip()).path.strip("/")


def _relate(entries: list[_Entry], notices: list[str]) -> list[_Meter]:
    """Find each block's meter reading, and each meter reading's type and usage point."""
    points = _with(entries, "UsagePoint")
    kinds = {entry.self_path: node for entry, node in _with(entries, "ReadingType")}
    meters = [
        _Meter(
            entry=entry,
            usage_point=_usage_point_of(entry, points),
            kind=_kind_of(entry, node, kinds),
        )
        for entry, node in _with(entries, "MeterReading")
    ]
    other_services = {
        entry.self_path: _service(node) for entry, node in points if _service(node) != _ELECTRICITY
    }
    orphans = 0
    for entry, block in _with(entries, "IntervalBlock"):
        owner = _owner_of(entry, meters)
        if owner is None:
            orphans += 1
        else:
            owner.blocks.append(block)
    if orphans:
        notices.append(f"{orphans} interval blocks belong to no meter reading in this file")
    kept = []
    for meter in meters:
        service = other_services.get(meter.usage_point)
        if service is not None:
            notices.append(f"{_name(meter)}: not electricity (service kind {service or 'missing'})")
        else:
            kept.append(meter)
    return kept


def _with(entries: Iterable[_Entry], name: str) -> list[tuple[_Entry, Element]]:
    tag = _ESPI + name
    return [(entry, node) for entry in entries for node in entry.resources if node.tag == tag]


def _service(usage_point: Element) -> str:
    category = usage_point.find(f"{_ESPI}ServiceCategory")
    return "" if category is None else _text(category.find(f"{_ESPI}kind"))


def _usage_point_of(entry: _Entry, points: list[tuple[_Entry, Element]]) -> str:
    for point, _ in points:
        if point.self_path and (
            entry.self_path.startswith(point.self_path + "/")
            or entry.up_path.startswith(point.self_path + "/")
            or entry.up_path in point.related
        ):
            return point.self_path
    return points[0][0].self_path if len(points) == 1 else ""


def _kind_of(entry: _Entry, node: Element, kinds: Mapping[str, Element]) -> Element | None:
    embedded = node.find(f"{_ESPI}ReadingType")
    if embedded is not None:
        return embedded
    named = [kinds[path] for path in entry.related if path in kinds]
    if named:
        return named[0]
    return next(iter(kinds.values())) if len(kinds) == 1 else None


def _owner_of(block: _Entry, meters: list[_Meter]) -> _Meter | None:
    for meter in meters:
        own = meter.entry.self_path
        if own and (block.self_path.startswith(own + "/") or block.up_path == own):
            return meter
        if own and block.up_path.startswith(own + "/"):
            return meter
        if block.up_path and block.up_path in meter.entry.related:
            return meter
        if block.self_path and block.self_path in meter.entry.related:
            return meter
    return meters[0] if len(meters) == 1 else None


def _series(
    path: Path, meter: _Meter, notices: list[str]
) -> list[tuple[Quantity, list[_Interval]]]:
    """Intervals of one meter reading, if they are energy in Wh; a notice if not."""
    if not meter.blocks:
        return []
    if meter.kind is None:
        notices.append(f"{_name(meter)}: its reading type is not in this file")
        return []
    kind = {
        name: _text(meter.kind.find(_ESPI + name))
        for name in (
            "accumulationBehaviour",
            "flowDirection",
            "intervalLength",
            "powerOfTenMultiplier",
            "uom",
        )
    }
    problem = _why_not_energy(kind)
    if problem:
        notices.append(f"{_name(meter)}: {problem}")
        return []
    if not kind["flowDirection"]:
        notices.append(f"{_name(meter)}: no flow direction given; taken as delivered to the home")
    factor = Fraction(10) ** _whole(path, kind["powerOfTenMultiplier"] or "0", meter)
    length_s = _whole(path, kind["intervalLength"] or "0", meter)
    intervals = [
        interval
        for block in meter.blocks
        for node in block.findall(f"{_ESPI}IntervalReading")
        if (interval := _interval(path, node, meter, factor, length_s, notices)) is not None
    ]
    if len(intervals) > INTERVALS_MAX:
        raise BadReadingsFile(
            path=str(path), place=_name(meter), problem=f"more than {INTERVALS_MAX} intervals"
        )
    return [(_FLOW[kind["flowDirection"]], _in_order(intervals, meter, notices))]


def _why_not_energy(kind: Mapping[str, str]) -> str:
    if kind["uom"] != _WATT_HOURS:
        return f"not in Wh (unit of measure {kind['uom'] or 'missing'})"
    if kind["accumulationBehaviour"] not in _DELTA_DATA:
        return f"not energy per interval (accumulation {kind['accumulationBehaviour']})"
    if kind["flowDirection"] not in _FLOW:
        code = kind["flowDirection"]
        return f"neither delivered nor received alone (flow direction {code})"
    return ""


def _interval(
    path: Path,
    node: Element,
    meter: _Meter,
    factor: Fraction,
    length_s: int,
    notices: list[str],
) -> _Interval | None:
    period = node.find(f"{_ESPI}timePeriod")
    start = "" if period is None else _text(period.find(f"{_ESPI}start"))
    if not start:
        raise BadReadingsFile(
            path=str(path), place=_name(meter), problem="an interval has no start"
        )
    duration = "" if period is None else _text(period.find(f"{_ESPI}duration"))
    start_s = _whole(path, start, meter)
    duration_s = _whole(path, duration, meter) if duration else length_s
    if duration_s <= 0:
        _once(notices, f"{_name(meter)}: intervals without a length were left out")
        return None
    if start_s < 0:
        _once(notices, f"{_name(meter)}: intervals before 1970 were left out")
        return None
    value = _text(node.find(f"{_ESPI}value"))
    codes = [_text(code) for code in node.iter(f"{_ESPI}quality")]
    quality = Quality.ESTIMATED if _ESTIMATED & set(codes) else Quality.MEASURED
    energy = _whole(path, value, meter) * factor if value else None
    if energy is not None and energy < 0:
        _once(notices, f"{_name(meter)}: intervals with negative energy were left out")
        return None
    return _Interval(start_s=start_s, duration_s=duration_s, energy=energy, quality=quality)


def _in_order(intervals: list[_Interval], meter: _Meter, notices: list[str]) -> list[_Interval]:
    """Sort, and keep the first of intervals that are given twice."""
    kept: dict[tuple[int, int], _Interval] = {}
    conflicts = 0
    for interval in intervals:
        key = (interval.start_s, interval.duration_s)
        first = kept.setdefault(key, interval)
        conflicts += first.energy != interval.energy
    if conflicts:
        notices.append(
            f"{_name(meter)}: {conflicts} intervals are given twice with different energy; "
            "the first was taken"
        )
    return [kept[key] for key in sorted(kept)]


def _readings(
    path: Path, meter: str, quantity: Quantity, intervals: list[_Interval]
) -> list[Reading]:
    """Whole Wh per interval; what rounding leaves is carried on, so the total stays true."""
    readings: list[Reading] = []
    exact, given = Fraction(0), 0
    for interval in intervals:
        exact += interval.energy or 0
        energy_wh = round(exact) - given
        given += energy_wh
        try:
            reading = Reading(
                meter=meter,
                quantity=quantity,
                start=_moment(interval.start_s),
                end=_moment(interval.start_s + interval.duration_s),
                energy_wh=0 if interval.energy is None else energy_wh,
                quality=Quality.GAP if interval.energy is None else interval.quality,
            )
        except (ValueError, OverflowError) as fault:
            raise BadReadingsFile(
                path=str(path), place=f"interval at {interval.start_s}", problem=str(fault)
            ) from fault
        readings.append(reading)
    return readings


def _moment(epoch_s: int) -> datetime:
    return from_us(epoch_s * 1_000_000)


def _finest_first(series: tuple[Quantity, list[_Interval]]) -> tuple[Quantity, int]:
    """So that a coarser series of the same energy comes second and counts as duplicate."""
    quantity, intervals = series
    return quantity, min((interval.duration_s for interval in intervals), default=0)


def _whole(path: Path, text: str, meter: _Meter) -> int:
    try:
        return int(text)
    except ValueError as fault:
        raise BadReadingsFile(
            path=str(path),
            place=_name(meter),
            problem=f"{text[:40]!r} is not a whole number",
        ) from fault


def _once(notices: list[str], notice: str) -> None:
    if notice not in notices:
        notices.append(notice)


def _name(meter: _Meter) -> str:
    return meter.entry.title or meter.entry.self_path or "meter reading"


def _text(node: Element | None) -> str:
    return "" if node is None or node.text is None else node.text.strip()
