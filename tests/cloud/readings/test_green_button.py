"""Green Button in and out, on feeds of many shapes made in this repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from defusedxml.ElementTree import parse
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import BadReadingsFile
from cloud.readings.green_button_reader import GreenButtonFile, read_green_button
from cloud.readings.green_button_writer import write_green_button
from gateway.wire.reading import Quality, Quantity, Reading
from tests.cloud.readings.green_button_feeds import (
    ESPI,
    block,
    entry,
    feed,
    interval,
    reading_type,
    simple,
    usage_point,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
SPACE = "{http://naesb.org/espi}"


@pytest.fixture
def read(tmp_path: Path):
    def go(text: str) -> GreenButtonFile:
        path = tmp_path / "feed.xml"
        path.write_text(text)
        return read_green_button(path, meter="main")

    return go


def energies(found: GreenButtonFile) -> list[int]:
    return [reading.energy_wh for reading in found.readings]


def test_intervals_come_with_time_energy_and_quality(read) -> None:
    found = read(
        simple(interval(0, 10), interval(1, 20, quality="8"), interval(2, 30, quality="19"))
    )
    first = found.readings[0]
    assert (first.start, first.end) == (
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 2, 0, 15, tzinfo=UTC),
    )
    assert energies(found) == [10, 20, 30]
    assert [reading.quality for reading in found.readings] == [
        Quality.MEASURED,
        Quality.ESTIMATED,
        Quality.MEASURED,
    ]
    assert found.notices == ()


def test_several_blocks_in_one_entry_are_all_read(read) -> None:
    blocks = block(interval(0, 1)) + block(interval(1, 2)) + block(interval(2, 3))
    text = feed(
        usage_point(),
        entry("/UsagePoint/1/MeterReading/1", f"<MeterReading {ESPI}/>", related=("/RT/1",)),
        entry("/RT/1", reading_type()),
        entry("/UsagePoint/1/MeterReading/1/IntervalBlock/1", blocks),
    )
    assert energies(read(text)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("meter_related", "block_self", "block_up"),
    [
        (("/RT/1",), "https://a.example/UsagePoint/1/MeterReading/1/IntervalBlock/5", ""),
        (("/RT/1",), "/blocks/5", "/UsagePoint/1/MeterReading/1"),
        (("/RT/1",), "/blocks/5", "/UsagePoint/1/MeterReading/1/IntervalBlock"),
        (("/RT/1", "/some/blocks"), "/elsewhere/5", "/some/blocks"),
        (("/RT/1", "/elsewhere/5"), "/elsewhere/5", ""),
    ],
)
def test_blocks_find_their_meter_however_they_are_related(
    read, meter_related: tuple[str, ...], block_self: str, block_up: str
) -> None:
    other = entry("/UsagePoint/1/MeterReading/2", f"<MeterReading {ESPI}/>", related=("/RT/2",))
    text = feed(
        usage_point(),
        entry("/UsagePoint/1/MeterReading/1", f"<MeterReading {ESPI}/>", related=meter_related),
        other,
        entry("/RT/1", reading_type()),
        entry("/RT/2", reading_type(flow="19")),
        entry(block_self, block(interval(0, 7)), up=block_up),
    )
    found = read(text)
    assert [(reading.quantity, reading.energy_wh) for reading in found.readings] == [
        (Quantity.IMPORT_WH, 7)
    ]


def test_two_directions_are_kept_apart(read) -> None:
    text = feed(
        usage_point(),
        entry("/UsagePoint/1/MeterReading/1", f"<MeterReading {ESPI}/>", related=("/RT/1",)),
        entry("/UsagePoint/1/MeterReading/2", f"<MeterReading {ESPI}/>", related=("/RT/2",)),
        entry("/RT/1", reading_type(flow="1")),
        entry("/RT/2", reading_type(flow="19")),
        entry("/UsagePoint/1/MeterReading/1/IntervalBlock/1", block(interval(0, 5))),
        entry("/UsagePoint/1/MeterReading/2/IntervalBlock/1", block(interval(0, 9))),
    )
    assert {reading.quantity: reading.energy_wh for reading in read(text).readings} == {
        Quantity.IMPORT_WH: 5,
        Quantity.EXPORT_WH: 9,
    }


def test_several_usage_points_get_names_of_their_own_and_gas_is_left_out(read) -> None:
    text = feed(
        *(usage_point(number, kind) for number, kind in ((1, "0"), (2, "1"), (3, "0"))),
        *(
            entry(
                f"/UsagePoint/{number}/MeterReading/1",
                f"<MeterReading {ESPI}>{reading_type()}</MeterReading>",
            )
            for number in (1, 2, 3)
        ),
        *(
            entry(
                f"/UsagePoint/{number}/MeterReading/1/IntervalBlock/1", block(interval(0, number))
            )
            for number in (1, 2, 3)
        ),
    )
    found = read(text)
    assert [(reading.meter, reading.energy_wh) for reading in found.readings] == [
        ("main", 1),
        ("main-2", 3),
    ]
    assert "not electricity (service kind 1)" in found.notices[0]


@pytest.mark.parametrize(("multiplier", "expected"), [(3, 12_000), (0, 12), (-3, 0), (" 0 ", 12)])
def test_the_power_of_ten_counts(read, multiplier: object, expected: int) -> None:
    kind = reading_type(powerOfTenMultiplier=multiplier)
    assert energies(read(simple(interval(0, 12), kind=kind))) == [expected]


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=60))
def test_rounding_milliwatt_hours_never_moves_the_total_by_more_than_half(
    tmp_path_factory, milli: list[int]
) -> None:
    path = tmp_path_factory.mktemp("gb") / "feed.xml"
    kind = reading_type(powerOfTenMultiplier=-3)
    path.write_text(simple(*(interval(at, mwh) for at, mwh in enumerate(milli)), kind=kind))
    found = read_green_button(path, meter="main")
    assert abs(sum(energies(found)) - sum(milli) / 1000) <= 0.5
    assert all(
        abs(reading.energy_wh - mwh / 1000) <= 1
        for reading, mwh in zip(found.readings, milli, strict=True)
    )


def test_out_of_order_doubled_and_missing_values(read) -> None:
    found = read(
        simple(interval(2, 3), interval(0, 1), interval(0, 1), interval(1, ""), interval(2, 4))
    )
    assert energies(found) == [1, 0, 3]
    assert found.readings[1].quality is Quality.GAP
    assert "1 intervals are given twice with different energy" in found.notices[0]


def test_a_missing_duration_is_the_length_of_the_type_and_zero_is_left_out(read) -> None:
    found = read(simple(interval(0, 1, duration=""), interval(1, 2, duration=0)))
    assert energies(found) == [1]
    assert found.readings[0].end - found.readings[0].start == timedelta(minutes=15)
    assert "without a length" in found.notices[0]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        (reading_type(uom=38), "not in Wh"),
        (reading_type(uom=""), "unit of measure missing"),
        (reading_type(flow="4"), "neither delivered nor received"),
        (reading_type(accumulationBehaviour=3), "not energy per interval"),
    ],
)
def test_what_is_no_energy_per_interval_is_named_and_not_guessed(
    read, kind: str, problem: str
) -> None:
    with pytest.raises(BadReadingsFile, match=problem):
        read(simple(interval(0, 1), kind=kind))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<feed", r"line 1, column \d+: not well-formed XML"),
        ("<html/>", "begins with an Atom feed"),
        (feed(), "no interval readings"),
        (simple(interval(0, "ten")), "'ten' is not a whole number"),
        (simple("<IntervalReading><value>1</value></IntervalReading>"), "has no start"),
        (
            '<!DOCTYPE feed [<!ENTITY a "b">]><feed xmlns="http://www.w3.org/2005/Atom">&a;</feed>',
            "DTD",
        ),
        (simple(interval(0, 10**14)), "out of range"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(read, text: str, problem: str) -> None:
    with pytest.raises(BadReadingsFile, match=problem) as caught:
        read(text)
    assert "feed.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def frame_of(readings: list[Reading]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "meter": [reading.meter for reading in readings],
            "quantity": [reading.quantity.value for reading in readings],
            "start": pd.DatetimeIndex([reading.start for reading in readings]),
            "end": pd.DatetimeIndex([reading.end for reading in readings]),
            "energy_wh": [reading.energy_wh for reading in readings],
            "quality": [reading.quality.value for reading in readings],
        }
    )


@given(
    energy=st.lists(st.integers(0, 10**9), min_size=1, max_size=120),
    quality=st.sampled_from([Quality.MEASURED, Quality.ESTIMATED]),
    step_s=st.sampled_from([900, 1800, 3600]),
)
def test_what_is_exported_is_read_back_the_same(
    tmp_path_factory, energy: list[int], quality: Quality, step_s: int
) -> None:
    start = datetime(2026, 3, 28, tzinfo=UTC)
    step = timedelta(seconds=step_s)
    readings = [
        Reading(
            meter=meter,
            quantity=quantity,
            start=start + step * at,
            end=start + step * (at + 1),
            energy_wh=wh,
            quality=quality,
        )
        for meter in ("main", "main-2")
        for quantity in (Quantity.EXPORT_WH, Quantity.IMPORT_WH)
        for at, wh in enumerate(energy)
    ]
    path = tmp_path_factory.mktemp("gb") / "out.xml"
    written = write_green_button(
        frame_of(readings), path, household="h-1", timezone="Europe/Berlin", now=NOW
    )
    assert written == len(readings)
    again = sorted(
        read_green_button(path, meter="main").readings,
        key=lambda reading: (reading.meter, reading.quantity, reading.start),
    )
    by_meter: dict[str, list[Reading]] = {}
    for reading in again:
        by_meter.setdefault(reading.meter, []).append(reading)
    # Usage points are named by us in the order of the file; the energy must match either way.
    assert [(r.quantity, r.start, r.end, r.energy_wh, r.quality) for r in again] == [
        (r.quantity, r.start, r.end, r.energy_wh, r.quality) for r in readings
    ]


def test_blocks_are_local_days_of_23_24_and_25_hours(tmp_path: Path) -> None:
    start = datetime(2026, 3, 27, 23, tzinfo=UTC)
    hour = timedelta(hours=1)
    readings = [
        Reading(
            meter="main",
            quantity=Quantity.IMPORT_WH,
            start=start + hour * at,
            end=start + hour * (at + 1),
            energy_wh=at,
        )
        for at in range(24 + 23)
    ]
    path = tmp_path / "out.xml"
    write_green_button(frame_of(readings), path, household="h", timezone="Europe/Berlin", now=NOW)
    blocks = list(parse(path).iter(f"{SPACE}IntervalBlock"))
    assert [len(node.findall(f"{SPACE}IntervalReading")) for node in blocks] == [24, 23]
    lengths = [int(node.findtext(f"{SPACE}interval/{SPACE}duration", "0")) for node in blocks]
    assert lengths == [24 * 3600, 23 * 3600]


def test_partial_readings_and_other_quantities_are_not_exported(tmp_path: Path) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    readings = [
        Reading(
            meter="main",
            quantity=quantity,
            start=start + timedelta(hours=at),
            end=start + timedelta(hours=at + 1),
            energy_wh=5,
            quality=quality,
        )
        for at, (quantity, quality) in enumerate(
            [
                (Quantity.IMPORT_WH, Quality.MEASURED),
                (Quantity.IMPORT_WH, Quality.PARTIAL),
                (Quantity.GENERATION_WH, Quality.MEASURED),
            ]
        )
    ]
    path = tmp_path / "out.xml"
    assert write_green_button(frame_of(readings), path, household="h", timezone="UTC", now=NOW) == 1


def test_the_same_export_twice_is_the_same_file(tmp_path: Path) -> None:
    reading = Reading(
        meter="main",
        quantity=Quantity.IMPORT_WH,
        start=NOW,
        end=NOW + timedelta(hours=1),
        energy_wh=1,
    )
    for name in ("a", "b"):
        write_green_button(
            frame_of([reading]), tmp_path / name, household="h", timezone="UTC", now=NOW
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
