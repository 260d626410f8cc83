"""The contract survives the way there and back, and refuses what it must."""

from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import codec
from gateway.wire.batch import Batch, Block, Part, part_hash
from gateway.wire.errors import MalformedMessage, MessageTooLarge
from gateway.wire.reading import (
    ENERGY_WH_MAX,
    Purpose,
    Quality,
    Quantity,
    Reading,
    Resolution,
    require_utc,
)

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def part(block: Block, **more) -> Part:
    fields = {
        "meter": "grid",
        "quantity": Quantity.IMPORT_WH,
        "purpose": Purpose.GROUP_TARIFF,
        "resolution": Resolution.QUARTER_HOUR,
        "grant": "group-tariff@1",
        "epoch": 0,
        "seq": 1,
        "prev": "",
        "blocks": (block,),
    }
    return Part(**{**fields, **more})


def batch(*parts: Part) -> Batch:
    return Batch(gateway="0" * 32, seq=1, made_at=START, parts=parts)


energies = st.lists(st.none() | st.integers(0, ENERGY_WH_MAX), min_size=1, max_size=100)


@given(energies, st.integers(1, 86_400))
def test_decoding_undoes_encoding(values: list[int | None], step_s: int) -> None:
    letters = "".join("g" if value is None else "e" for value in values)
    sent = batch(part(Block(start=START, step_s=step_s, wh=tuple(values), quality=letters)))
    body = codec.compress(codec.encode(sent))
    assert codec.decode_batch(codec.decompress(body)) == sent
    readings = list(sent.parts[0].readings())
    assert sum(reading.energy_wh for reading in readings) == sum(value or 0 for value in values)
    assert [reading.quality is Quality.GAP for reading in readings] == [v is None for v in values]


def test_a_household_can_read_a_batch_as_it_is_sent() -> None:
    sent = batch(part(Block(start=START, step_s=900, wh=(387, None, 0))))
    assert codec.encode(sent) == (
        b'{"v":1,"gateway":"00000000000000000000000000000000","seq":1,'
        b'"made_at":"2026-07-01T12:00:00Z","parts":[{"meter":"grid","quantity":"import_wh",'
        b'"purpose":"group_tariff","resolution":"PT15M","grant":"group-tariff@1","epoch":0,"seq":1,'
        b'"prev":"","blocks":[{"start":"2026-07-01T12:00:00Z","step_s":900,"wh":[387,null,0]}]}],'
        b'"gaps":[]}'
    )


def test_days_of_23_and_25_hours_travel_by_their_edges() -> None:
    edges = (
        datetime(2026, 3, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 29, 22, tzinfo=UTC),
        datetime(2026, 3, 30, 22, tzinfo=UTC),
    )
    block = Block(start=edges[0], edges=edges, wh=(1, 2))
    lengths = [end - start for start, end, _, _ in block.intervals()]
    assert lengths == [timedelta(hours=23), timedelta(hours=24)]


@pytest.mark.parametrize(
    "block",
    [
        Block(start=START, wh=(1,)),
        Block(start=START, step_s=60, edges=(START, START + timedelta(hours=1)), wh=(1,)),
        Block(start=START, edges=(START,), wh=(1,)),
        Block(start=START, edges=(START, START), wh=(1,)),
        Block(start=START, edges=(START + timedelta(1), START + timedelta(2)), wh=(1,)),
        Block(start=START, step_s=60, wh=(1, 2), quality="m"),
        Block(start=START, step_s=60, wh=(1,), quality="x"),
        Block(start=START, step_s=60, wh=(1,), quality="g"),
    ],
)
def test_a_block_that_contradicts_itself_is_malformed(block: Block) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode_batch(codec.encode(batch(part(block))))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"seq":1,"made_at"', b'"seq":0,"made_at"'),
        (b'"meter":"grid"', b'"meter":"Grid meter"'),
        (b"import_wh", b"power_w"),
        (b"387", b"-1"),
        (b"387", b"3.5"),
        (b"387", b"1000000000001"),
        (b"12:00:00Z", b"12:00:00"),
        (b'"gaps":[]', b'"gaps":[],"extra":1'),
        (b"group-tariff@1", b"group-tariff"),
        (b'"gateway":"0000', b'"gateway":"zzzz'),
        (b'{"v"', b'["v"'),
    ],
)
def test_whatever_the_contract_does_not_say_is_malformed(old: bytes, new: bytes) -> None:
    payload = codec.encode(batch(part(Block(start=START, step_s=900, wh=(387,)))))
    assert old in payload
    with pytest.raises(MalformedMessage):
        codec.decode_batch(payload.replace(old, new))


def test_deep_nesting_is_malformed_and_no_crash() -> None:
    with pytest.raises(MalformedMessage):
        codec.decode(b"[" * 100_000, Batch)


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(b"0" * (codec.PAYLOAD_BYTES_MAX * 8))
    with pytest.raises(MessageTooLarge):
        codec.decompress(bomb)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain",
        gzip.compress(b"{}", mtime=0)[:-1],
        gzip.compress(b"{}", mtime=0) + b"x",
        zlib.compress(b"{}"),
    ],
)
def test_a_body_that_is_not_one_whole_gzip_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        codec.decompress(body)


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(MessageTooLarge):
        codec.decompress(b"\0" * (codec.COMPRESSED_BYTES_MAX + 1))
    with pytest.raises(MessageTooLarge):
        codec.decode(b" " * (codec.PAYLOAD_BYTES_MAX + 1), Batch)


def test_too_many_intervals_are_refused() -> None:
    block = Block(start=START, step_s=60, wh=(0,) * 30_000)
    with pytest.raises(MessageTooLarge):
        codec.decode_batch(codec.encode(batch(part(block), part(block, seq=2))))


def test_equal_input_gives_equal_bytes_and_the_hash_covers_all_of_it() -> None:
    one = part(Block(start=START, step_s=900, wh=(1,)))
    assert codec.compress(b"abc" * 1000) == codec.compress(b"abc" * 1000)
    assert part_hash(one) == part_hash(part(Block(start=START, step_s=900, wh=(1,))))
    for other in (
        msgspec.structs.replace(one, seq=2),
        msgspec.structs.replace(one, grant="group-tariff@2"),
        part(Block(start=START, step_s=900, wh=(2,))),
    ):
        assert part_hash(other) != part_hash(one)


@pytest.mark.parametrize(
    "wrong",
    [
        {"meter": "Grid"},
        {"start": START.replace(tzinfo=None)},
        {"end": START},
        {"energy_wh": -1},
        {"energy_wh": ENERGY_WH_MAX + 1},
    ],
)
def test_a_reading_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "meter": "grid",
        "quantity": Quantity.IMPORT_WH,
        "start": START,
        "end": START + timedelta(minutes=1),
        "energy_wh": 1,
    }
    with pytest.raises(ValueError, match=r"\S"):
        Reading(**{**fields, **wrong})


def test_only_aware_utc_is_utc() -> None:
    assert require_utc(START) is START
    with pytest.raises(ValueError, match="not an aware UTC"):
        require_utc(datetime.fromisoformat("2026-07-01T12:00:00+02:00"))


def test_resolutions_go_from_coarse_to_fine() -> None:
    order = list(Resolution)
    assert all(b.is_finer_than(a) and not a.is_finer_than(b) for a, b in pairwise(order))
