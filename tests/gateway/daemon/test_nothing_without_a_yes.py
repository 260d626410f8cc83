"""No byte derived from a quantity without a grant reaches the disk, a log line or a socket."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from pathlib import Path

import msgspec
import pytest

from gateway.daemon import build_link
from gateway.meters.source import Sample
from gateway.wire.reading import Purpose, Quantity, Resolution
from tests.gateway.coop_server import serving
from tests.gateway.fake_coop import FakeClock, FakeCoop, offer
from tests.gateway.home import Home

POISON_WH = 7_654_321_987
"""A total that nothing else in a test would ever write."""
POISON_W = 31_415.926


def encodings(total_wh: int) -> list[bytes]:
    """How a number could show up in a file or on a wire."""
    text = str(total_wh).encode()
    return [
        text,
        text[:7],
        str(total_wh / 1000).encode(),
        struct.pack(">q", total_wh),
        struct.pack("<q", total_wh),
        total_wh.to_bytes(5, "big"),
        total_wh.to_bytes(5, "little"),
        struct.pack(">f", total_wh / 1000),
        struct.pack("<d", float(total_wh)),
        struct.pack(">d", float(total_wh)),
    ]


@pytest.fixture
def poisoned(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Live some hours with a granted import, and a poisoned export, power and second meter."""
    caplog.set_level(logging.DEBUG)
    coop = FakeCoop(
        offers=(
            offer(
                "own",
                purpose=Purpose.OWN_INSIGHT,
                resolution=Resolution.QUARTER_HOUR,
                quantities=(Quantity.IMPORT_WH,),
            ),
        )
    )
    clock = FakeClock()
    with serving(coop, clock.now) as (server, url):
        home = Home(tmp_path, coop=coop, clock=clock, meters=("grid", "secret"))
        home.pair()
        home.give("own", meters=("grid",))
        home.daemon.watch.trust = "trusted"
        shown = []
        for tick in range(3 * 360):
            home.clock.advance(10)
            shown.append(POISON_WH + tick)
            for meter in home.meters:
                granted = {"import_wh": 1_000_000 + tick} if meter == "grid" else {}
                home.daemon.take(
                    Sample(
                        meter=meter,
                        taken_at=home.clock.at,
                        quantities=granted
                        | {"export_wh": POISON_WH + tick, "power_w": POISON_W}
                        | ({"import_wh": POISON_WH + tick} if meter == "secret" else {}),
                        identity="serial-0042",
                    )
                )
            if tick % 30 == 0:
                home.flush()
        home.flush()

        cloud = msgspec.structs.replace(home.settings.cloud, url=url)
        settings = msgspec.structs.replace(home.settings, cloud=cloud)
        link = build_link(settings, home.daemon.identity)
        home.daemon.uplink._link = link

        async def talk() -> None:
            await home.daemon.uplink.sync()
            await home.daemon.uplink.send_waiting()
            await link.close()

        asyncio.run(talk())
        files = {path.name: path.read_bytes() for path in home.state_dir.iterdir()}
        yield home, files, b"\n".join(server.captured), shown, caplog.text.encode()
        home.daemon.store.close()


def test_poison_is_nowhere_on_disk_in_the_log_or_on_the_wire(poisoned) -> None:
    home, files, wire, shown, log = poisoned
    assert len(home.coop.readings) > 8, "the granted stream must flow, or the test proves nothing"
    assert {stream.meter for stream, _, _ in home.coop.readings} == {"grid"}
    assert any(name.endswith("-wal") for name in files)
    places = {**files, "wire": wire, "log": log}
    for total_wh in (shown[0], shown[len(shown) // 2], shown[-1]):
        for needle in encodings(total_wh):
            found = [name for name, content in places.items() if needle in content]
            assert found == [], f"{needle!r} of {total_wh} in {found}"
    for needle in (str(POISON_W).encode(), b"31415.9", struct.pack(">d", POISON_W)):
        assert [name for name, content in places.items() if needle in content] == []


def test_the_same_search_finds_what_is_granted(poisoned) -> None:
    _, files, wire, _, _ = poisoned
    assert b"import_wh" in wire
    assert any(b"1001079" in content for content in files.values()), "the last granted total"


def test_the_wire_names_no_serial_number(poisoned) -> None:
    _, _, wire, _, _ = poisoned
    assert b"serial-" not in wire


def test_withdrawing_leaves_no_trace_of_what_waited(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.pair()
    home.sync()
    home.give(quantities=[Quantity.IMPORT_WH])
    home.totals["main", "import_wh"] = 777_000_111.0
    home.live(2 * 3600, power_w=493.0)
    home.flush()
    home.daemon.store.seal(
        key_id=home.daemon.identity.key_id, now=home.clock.at, purposes=list(Purpose)
    )
    before = b"".join(path.read_bytes() for path in home.state_dir.iterdir())
    assert b"77700" in before
    assert json.dumps("123").encode() not in before
    home.withdraw()
    after = {path.name: path.read_bytes() for path in home.state_dir.iterdir()}
    assert after["gateway.sqlite-wal"] == b""
    assert [name for name, content in after.items() if b"77700" in content] == []
    assert [name for name, content in after.items() if b'"wh":[' in content] == []
