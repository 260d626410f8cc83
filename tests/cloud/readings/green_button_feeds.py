"""Feeds in the shapes that are met in the wild, made here."""

from __future__ import annotations

ATOM = 'xmlns="http://www.w3.org/2005/Atom"'
ESPI = 'xmlns="http://naesb.org/espi"'
DAY_S = 1_772_409_600
"""2026-03-02T00:00:00Z."""


def entry(self_href: str, body: str, *, up: str = "", related: tuple[str, ...] = ()) -> str:
    links = f'<link rel="self" href="{self_href}"/>'
    links += f'<link rel="up" href="{up}"/>' if up else ""
    links += "".join(f'<link rel="related" href="{href}"/>' for href in related)
    return f"<entry>{links}<title>{self_href}</title><content>{body}</content></entry>"


def usage_point(number: int = 1, kind: str = "0", up: str = "") -> str:
    return entry(
        f"/UsagePoint/{number}",
        f"<UsagePoint {ESPI}><ServiceCategory><kind>{kind}</kind></ServiceCategory></UsagePoint>",
        up=up,
    )


def reading_type(number: int = 1, *, flow: str = "1", **changes: object) -> str:
    fields: dict[str, object] = {
        "accumulationBehaviour": 4,
        "flowDirection": flow,
        "intervalLength": 900,
        "powerOfTenMultiplier": 0,
        "uom": 72,
    } | changes
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items() if text != "")
    return f"<ReadingType {ESPI}>{inner}</ReadingType>"


def block(*intervals: str) -> str:
    return f"<IntervalBlock {ESPI}>{''.join(intervals)}</IntervalBlock>"


def interval(quarter: int, value: object, *, duration: object = 900, quality: str = "") -> str:
    code = f"<ReadingQuality><quality>{quality}</quality></ReadingQuality>" if quality else ""
    length = f"<duration>{duration}</duration>" if duration != "" else ""
    start = f"<start> {DAY_S + 900 * quarter} </start>"
    reading = f"<value>{value}</value>" if value != "" else ""
    return f"<IntervalReading>{code}<timePeriod>{length}{start}</timePeriod>{reading}</IntervalReading>"


def feed(*entries: str) -> str:
    return f'<?xml version="1.0"?><feed {ATOM}><title>x</title>{"".join(entries)}</feed>'


def simple(*intervals: str, kind: str = "") -> str:
    """One usage point, one meter reading, related by prefix."""
    return feed(
        usage_point(),
        entry("/UsagePoint/1/MeterReading/1", f"<MeterReading {ESPI}/>", related=("/RT/1",)),
        entry("/RT/1", kind or reading_type()),
        entry("/UsagePoint/1/MeterReading/1/IntervalBlock/1", block(*intervals)),
    )
