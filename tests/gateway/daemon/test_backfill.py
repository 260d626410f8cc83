"""A hole is filled from the device's own minutes; the counter alone says how much there was."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backfill import MinuteRecord, ShellyRecords, fill_hole, read_page, records_of
from gateway.catalogue import load_preset
from gateway.errors import BadPayload, RecordsNotGiven
from gateway.meters.source import Sample
from gateway.sources import _records_of
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.daemon.simulated_shelly import Shelly, shelly_at
from tests.gateway.fake_coop import FakeCoop, offer
from tests.gateway.home import Home

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
KEYS = [f"{phase}_total_{kind}_energy" for phase in "abc" for kind in ("act", "act_ret")] + [
    "a_max_voltage"
]


def page(rows: list[list[float | None]], *, start: datetime = START, **more) -> bytes:
    run = {"ts": int(start.timestamp()), "period": 60, "values": rows}
    return json.dumps({"keys": KEYS, "data": [run] if rows else [], **more}).encode()


def test_phases_are_added_and_directions_kept_apart() -> None:
    (record,) = records_of(
        read_page(page([[10.5, 1.0, 20.25, 0.0, 0.25, 2.0, 231.0]]), topic="t"), topic="t"
    )
    assert record.end == START + timedelta(minutes=1)
    assert record.energies_wh == {"import_wh": 31.0, "export_wh": 3.0}


@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b'{"keys":1}', page([[1.0]]), b"[" * 100_000],
)
def test_what_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(BadPayload):
        records_of(read_page(payload, topic="t"), topic="t")


@given(
    st.lists(st.integers(0, 500), max_size=60),
    st.integers(0, 20_000),
)
def test_filling_never_goes_beyond_the_counter_and_never_back(energies, rise_wh) -> None:
    records = [
        MinuteRecord(
            start=START + timedelta(minutes=place),
            end=START + timedelta(minutes=place + 1),
            energies_wh={"import_wh": energy},
        )
        for place, energy in enumerate(energies)
    ]
    after = Sample(
        meter="m",
        taken_at=START + timedelta(minutes=len(energies) + 1),
        quantities={"import_wh": 5_000 + rise_wh},
    )
    made = fill_hole(START, {"import_wh": 5_000}, records, after)
    totals = [5_000, *(sample.quantities["import_wh"] for sample in made), 5_000 + rise_wh]
    assert totals == sorted(totals)
    # The rest falls into the one minute that is not recorded, or the records are not believed.
    fits = rise_wh - sum(energies) <= 5 + 2 * max([rise_wh / (len(energies) + 1), *energies])
    assert len(made) == (len(energies) if fits else 0)


class Keeper:
    """A device that used nothing but in one quarter of the hole."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    async def records(self, start: datetime, end: datetime) -> list[MinuteRecord]:
        if self.fails:
            raise RecordsNotGiven(problem="no answer")
        first = start.replace(second=0) + timedelta(minutes=1)
        count = int((end - first) / timedelta(minutes=1))
        minutes = [first + timedelta(minutes=place) for place in range(count + 1)]
        busy = START + timedelta(hours=2)
        return [
            MinuteRecord(
                start=minute - timedelta(minutes=1),
                end=minute,
                energies_wh={
                    "import_wh": 40.0 if busy < minute <= busy + timedelta(minutes=15) else 0
                },
            )
            for minute in minutes
        ]


@pytest.mark.parametrize("fails", [False, True])
async def test_an_outage_of_ours_gets_the_devices_own_shape(tmp_path: Path, fails: bool) -> None:
    asked = offer(
        "own",
        purpose=Purpose.OWN_INSIGHT,
        resolution=Resolution.QUARTER_HOUR,
        quantities=(Quantity.IMPORT_WH,),
    )
    home = Home(tmp_path, coop=FakeCoop(offers=(asked,)))
    home.pair()
    home.give("own")
    home.sync()
    home.daemon.holes.keepers["main"] = Keeper(fails=fails)
    home.live(1800, power_w=0)
    home.clock.advance(3 * 3600)
    home.totals["main", "import_wh"] += 600
    home.live(10, power_w=0)
    await asyncio.gather(*home.daemon.holes.tasks)
    home.live(1800, power_w=0)
    home.flush()
    home.send()

    busy = START + timedelta(hours=2)
    stored = {
        start: (wh, quality) for (_, _, start), (_, wh, quality) in home.coop.readings.items()
    }
    assert sum(wh for wh, _ in stored.values()) == 600
    if fails:
        assert stored[busy][0] < 100
        assert stored[busy][1] == "estimated"
    else:
        assert stored[busy] == (600, "measured")


async def test_a_real_answer_over_http_is_read_page_by_page() -> None:
    rows = [[1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 230.0]] * 2
    later = START + timedelta(minutes=2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("GET /rpc/EMData.GetData?id=0&ts=")
        first = f"ts={int(START.timestamp())}&" in head
        body = (
            page(rows, next_record_ts=int(later.timestamp())) if first else page(rows, start=later)
        )
        writer.write(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    keeper = ShellyRecords(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        found = await keeper.records(START, START + timedelta(minutes=10))
    finally:
        server.close()
        await server.wait_closed()
    assert [record.end for record in found] == [START + timedelta(minutes=m) for m in (1, 2, 3, 4)]
    assert {record.energies_wh["import_wh"] for record in found} == {6.0}
    with pytest.raises(RecordsNotGiven):
        await keeper.records(START, START + timedelta(minutes=1))


@pytest.mark.parametrize(("method", "channel"), [("EMData", 0), ("EM1Data", 1)])
async def test_a_device_with_a_password_gives_its_records_in_pages_around_its_own_outage(
    method: str, channel: int
) -> None:
    away = range(int(START.timestamp()) + 3600, int(START.timestamp()) + 7200)
    device = Shelly(
        import_wh=lambda at_s: None if at_s in away else 7.5,
        method=method,
        channel=channel,
        password="umbrella",
    )
    with shelly_at(device) as url:
        keeper = ShellyRecords(url, component=f"{method.lower()}:{channel}", password="umbrella")
        found = await keeper.records(START, START + timedelta(hours=3))
        wrong = ShellyRecords(url, component=f"{method.lower()}:{channel}", password="sun")
        with pytest.raises(RecordsNotGiven, match="records_password_file"):
            await wrong.records(START, START + timedelta(hours=3))
        other = ShellyRecords(url, component=f"{method.lower()}:{channel + 1}", password="umbrella")
        with pytest.raises(RecordsNotGiven, match="records_from"):
            await other.records(START, START + timedelta(hours=3))
    ends = [record.end for record in found]
    minutes = [START + timedelta(minutes=place + 1) for place in range(180)]
    assert ends == [*minutes[:60], *minutes[120:]]
    assert {record.energies_wh["import_wh"] for record in found} == {7.5}
    assert device.refused >= 2


async def test_what_a_device_recorded_is_measured_and_what_it_missed_is_estimated(
    tmp_path: Path,
) -> None:
    asked = offer(
        "own",
        purpose=Purpose.OWN_INSIGHT,
        resolution=Resolution.QUARTER_HOUR,
        quantities=(Quantity.IMPORT_WH,),
    )
    home = Home(tmp_path, coop=FakeCoop(offers=(asked,)))
    home.pair()
    home.give("own")
    home.sync()
    home.live(1800)
    fell_s = int(home.clock.at.timestamp())
    away = range(fell_s + 3600, fell_s + 7200)
    device = Shelly(import_wh=lambda at_s: None if at_s in away else 10.0)
    with shelly_at(device) as url:
        home.daemon.holes.keepers["main"] = ShellyRecords(url)
        home.clock.advance(3 * 3600)
        # The house went on using power while the device recorded nothing for an hour.
        home.totals["main", "import_wh"] += 3 * 600
        home.live(10)
        await asyncio.gather(*home.daemon.holes.tasks)
    home.live(1800)
    home.flush()
    home.send()
    stored = {
        start: (wh, quality) for (_, _, start), (_, wh, quality) in home.coop.readings.items()
    }
    hours = {(start - START).total_seconds() / 3600: kept for start, kept in stored.items()}
    assert all(hours[0.5 + place / 4] == (150, "measured") for place in range(4))
    assert {hours[1.75 + place / 4][1] for place in range(3)} == {"estimated"}
    assert all(hours[2.75 + place / 4][1] == "measured" for place in range(2))
    whole_wh = sum(wh for wh, _ in stored.values())
    assert abs(whole_wh - 600 * len(stored) / 4) <= 2, "counted once"
    assert home.coop.duplicates == 0


def test_the_records_belong_to_the_channel_that_the_preset_listens_to() -> None:
    for preset, component in (
        ("shelly_gen2_em", "emdata:0"),
        ("shelly_gen2_em1", "em1data:0"),
        ("shelly_gen2_em_rpc", "emdata:0"),
    ):
        assert _records_of(load_preset(preset)) == component
