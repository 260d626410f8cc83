"""Green Button files (NAESB ESPI) out: one usage point per meter, one block per local day.

The readings of a meter that were delivered and received are two meter readings of one usage point.
Names are UUIDs derived from what they name, so the same export twice is the same file.

Source: NAESB REQ.21 ESPI 4.0 (espi.xsd 4.0.20231213) for elements and codes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent, register_namespace
from zoneinfo import ZoneInfo

import pandas as pd

from gateway.wire.reading import Quality, Quantity

FLOW_DIRECTION = {Quantity.IMPORT_WH: 1, Quantity.EXPORT_WH: 19}
"""Delivered to the home, and received from it."""

_ATOM = "http://www.w3.org/2005/Atom"
_ESPI = "http://naesb.org/espi"
_NAMES = uuid.UUID("5f2f4b1e-2d0c-5a36-9a6e-3c8c6f0d9b11")
_QUALITY_CODE = {Quality.ESTIMATED: 8}
"""8 is `estimated`; a measured value carries no code, which means valid."""

register_namespace("", _ATOM)
register_namespace("espi", _ESPI)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    start: datetime
    start_s: int
    duration_s: int
    energy_wh: int
    quality: Quality


def write_green_button(
    frame: pd.DataFrame,
    path: Path,
    *,
    household: str,
    timezone: str,
    now: datetime,
) -> int:
    """Write a home's readings of one purpose.

    Args:
        frame: As `ReadingStore.home_readings` gives them, of one purpose; partial intervals and
            quantities other than import and export are left out, because ESPI has no word for them.
        path: Where to write.
        household: Names the resources.
        timezone: IANA zone whose days cut the blocks.
        now: Time of the export, aware.

    Returns:
        How many intervals were written.
    """
    feed = Element(f"{{{_ATOM}}}feed")
    stamp = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    base = f"/espi/1_1/resource/Subscription/{_name(household)}"
    _atom_head(feed, name=base, title="Green Button Usage Feed", stamp=stamp, links={"self": base})
    usable = frame[
        frame["quantity"].isin([quantity.value for quantity in FLOW_DIRECTION])
        & (frame["quality"] != Quality.PARTIAL.value)
    ]
    written = 0
    for meter, of_meter in usable.groupby("meter", sort=True):
        point = f"{base}/UsagePoint/{_name(household, str(meter))}"
        _usage_point(feed, point, str(meter), stamp)
        for quantity, of_quantity in of_meter.groupby("quantity", sort=True):
            rows = sorted(_rows(of_quantity), key=lambda row: row.start_s)
            reading = f"{point}/MeterReading/{_name(household, str(meter), str(quantity))}"
            _meter_reading(feed, reading, Quantity(str(quantity)), rows, stamp)
            _blocks(feed, reading, rows, ZoneInfo(timezone), stamp)
            written += len(rows)
    indent(feed)
    ElementTree(feed).write(path, encoding="utf-8", xml_declaration=True)
    return written


def _rows(frame: pd.DataFrame) -> Iterator[_Row]:
    for start, end, energy_wh, quality in zip(
        frame["start"], frame["end"], frame["energy_wh"], frame["quality"], strict=True
    ):
        begin, finish = start.to_pydatetime(), end.to_pydatetime()
        yield _Row(
            start=begin,
            start_s=int(begin.timestamp()),
            duration_s=int((finish - begin).total_seconds()),
            energy_wh=int(energy_wh),
            quality=Quality(quality),
        )


def _usage_point(feed: Element, point: str, meter: str, stamp: str) -> None:
    content = _entry(
        feed,
        name=point,
        title=meter,
        stamp=stamp,
        links={"self": point, "up": _parent(point), "related": f"{point}/MeterReading"},
    )
    usage_point = _espi(content, "UsagePoint")
    _espi(_espi(usage_point, "ServiceCategory"), "kind", 0)
    _espi(usage_point, "status", 1)


def _meter_reading(
    feed: Element, reading: str, quantity: Quantity, rows: Iterable[_Row], stamp: str
) -> None:
    kind = f"/espi/1_1/resource/ReadingType/{_name(reading)}"
    content = _entry(
        feed,
        name=reading,
        title=quantity.value,
        stamp=stamp,
        links={"self": reading, "up": _parent(reading), "related": kind},
    )
    _espi(content, "MeterReading")
    lengths = {row.duration_s for row in rows}
    content = _entry(
        feed,
        name=kind,
        title=f"Type of {quantity.value}",
        stamp=stamp,
        links={"self": kind, "up": _parent(kind)},
    )
    reading_type = _espi(content, "ReadingType")
    _espi(reading_type, "accumulationBehaviour", 4)
    _espi(reading_type, "commodity", 1)
    _espi(reading_type, "dataQualifier", 12)
    _espi(reading_type, "flowDirection", FLOW_DIRECTION[quantity])
    if len(lengths) == 1:
        _espi(reading_type, "intervalLength", lengths.pop())
    _espi(reading_type, "kind", 12)
    _espi(reading_type, "phase", 0)
    _espi(reading_type, "powerOfTenMultiplier", 0)
    _espi(reading_type, "timeAttribute", 0)
    _espi(reading_type, "uom", 72)


def _blocks(feed: Element, reading: str, rows: Iterable[_Row], zone: ZoneInfo, stamp: str) -> None:
    for day, of_day in groupby(rows, key=lambda row: row.start.astimezone(zone).date()):
        block_rows = list(of_day)
        block = f"{reading}/IntervalBlock/{day:%Y%m%d}"
        content = _entry(
            feed,
            name=block,
            title=day.isoformat(),
            stamp=stamp,
            links={"self": block, "up": f"{reading}/IntervalBlock"},
        )
        node = _espi(content, "IntervalBlock")
        first, last = block_rows[0], block_rows[-1]
        _period(node, "interval", first.start_s, last.start_s + last.duration_s - first.start_s)
        for row in block_rows:
            interval = _espi(node, "IntervalReading")
            if row.quality in _QUALITY_CODE:
                quality = _espi(interval, "ReadingQuality")
                _espi(quality, "quality", _QUALITY_CODE[row.quality])
            _period(interval, "timePeriod", row.start_s, row.duration_s)
            _espi(interval, "value", row.energy_wh)


def _period(parent: Element, name: str, start_s: int, duration_s: int) -> None:
    period = _espi(parent, name)
    _espi(period, "duration", duration_s)
    _espi(period, "start", start_s)


def _entry(feed: Element, *, name: str, title: str, stamp: str, links: dict[str, str]) -> Element:
    entry = SubElement(feed, f"{{{_ATOM}}}entry")
    _atom_head(entry, name=name, title=title, stamp=stamp, links=links)
    return SubElement(entry, f"{{{_ATOM}}}content")


def _atom_head(node: Element, *, name: str, title: str, stamp: str, links: dict[str, str]) -> None:
    SubElement(node, f"{{{_ATOM}}}id").text = f"urn:uuid:{_name(name)}"
    for rel, href in links.items():
        SubElement(node, f"{{{_ATOM}}}link", rel=rel, href=href)
    SubElement(node, f"{{{_ATOM}}}title").text = title
    SubElement(node, f"{{{_ATOM}}}updated").text = stamp


def _espi(parent: Element, name: str, number: int | None = None) -> Element:
    node = SubElement(parent, f"{{{_ESPI}}}{name}")
    if number is not None:
        node.text = str(number)
    return node


def _parent(href: str) -> str:
    return href.rpartition("/")[0]


def _name(*parts: str) -> str:
    return str(uuid.uuid5(_NAMES, "\n".join(parts))).upper()
