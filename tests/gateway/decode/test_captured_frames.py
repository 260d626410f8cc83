"""Frames that other people captured from real meters and published, with their CRCs."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.catalogue import load_map
from gateway.cli import app
from gateway.decode.frames import crc16, exchange_of, frame_bytes
from gateway.errors import BadFrame, MeterRefused

CAPTURED = [
    # mbmd issue 155: an Orno OR-WE-514 whose values agree with each other.
    ("orno_we514", "01 03 01 31 00 01 d4 39", "01 03 02 5a 66 02 ce", {"voltage_l1_v": 231.42}),
    ("orno_we514", "01 03 01 30 00 01 85 f9", "01 03 02 13 89 74 d2", {"frequency_hz": 50.01}),
    (
        "orno_we514",
        "01 03 01 39 00 02 15 fa",
        "01 03 04 00 00 05 c1 38 f3",
        {"current_l1_a": 1.473},
    ),
    ("orno_we514", "01 03 01 40 00 02 c4 23", "01 03 04 00 00 01 47 bb 91", {"power_w": 327.0}),
    (
        "orno_we514",
        "01 03 01 50 00 02 c5 e6",
        "01 03 04 00 00 01 55 3b 9c",
        {"apparent_va": 341.0},
    ),
    ("orno_we514", "01 03 01 58 00 01 04 25", "01 03 02 03 bf f9 04", {"power_factor": 0.959}),
    (
        "orno_we514",
        "01 03 a0 00 00 02 e6 0b",
        "01 03 04 00 03 05 30 09 77",
        {"import_wh": 1_979_360},
    ),
    # mbmd pull request 129: an Orno OR-WE-516 with only phase 3 connected.
    (
        "orno_we516",
        "01 03 00 12 00 02 64 0e",
        "01 03 04 43 71 00 00 bf ac",
        {"voltage_l3_v": 241.0},
    ),
    ("orno_we516", "01 03 00 14 00 02 84 0f", "01 03 04 42 48 00 00 6e 5d", {"frequency_hz": 50.0}),
    # mbmd issue 63: two Eastron SDM meters behind an Ethernet bridge.
    (
        "eastron_sdm630",
        "01 04 00 00 00 02 71 cb",
        "01 04 04 43 67 af 55 e2 10",
        {"voltage_l1_v": 231.685},
    ),
    (
        "eastron_sdm630",
        "02 04 00 08 00 02 f0 3a",
        "02 04 04 40 8b 6a 89 42 68",
        {"current_l2_a": 4.357},
    ),
    # Tasmota issue 13224: an Eastron SDM630 seen with an oscilloscope, 224.1466 V.
    (
        "eastron_sdm630",
        "01 04 00 00 00 02 71 cb",
        "01 04 04 43 60 25 88 F4 E8",
        {"voltage_l1_v": 224.147},
    ),
    # Tasmota issue 17671: an Eastron SDM630 that exports 172.5943 W.
    (
        "eastron_sdm630",
        "01 04 00 34 00 02 30 05",
        "01 04 04 C3 2C 98 22 ED D0",
        {"power_w": -172.594},
    ),
    # syssi/esphome-solax-x1-mini issue 20: an Eastron SDM230.
    (
        "eastron_sdm230",
        "01 04 00 48 00 02 f1 dd",
        "01 04 04 46 2a 75 22 69 8d",
        {"import_wh": 10_909_283},
    ),
    (
        "eastron_sdm230",
        "01 04 00 0c 00 02 b1 c8",
        "01 04 04 45 8e 3c 35 5f b4",
        {"power_w": 4551.526},
    ),
]


@pytest.mark.parametrize(("map_name", "request_hex", "response_hex", "expected"), CAPTURED)
def test_a_published_frame_of_a_real_meter_decodes(
    map_name: str, request_hex: str, response_hex: str, expected: dict[str, float]
) -> None:
    arguments = ["--map", map_name, "--request", request_hex, "--response", response_hex]
    ran = CliRunner().invoke(app, ["decode", "frame", *arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["quantities"] == expected


def test_the_same_reading_over_tcp_decodes() -> None:
    exchange = exchange_of(
        frame_bytes("00 2a 00 00 00 06 01 04 00 00 00 02", place="request"),
        frame_bytes("002a0000 0007 01 04 04 43 67 af 55", place="response"),
    )
    assert exchange.framing == "tcp"
    quantities = load_map("eastron_sdm630").decode(exchange.registers)
    assert quantities == {"voltage_l1_v": 231.685}


GOOD = ("01 04 00 00 00 02 71 cb", "01 04 04 43 67 af 55 e2 10")


@pytest.mark.parametrize(
    ("request_hex", "response_hex", "said"),
    [
        (GOOD[0], "01 04 04 43 67 af 55 e2 11", "CRC is E2 11, but E2 10 would be right"),
        (GOOD[0], "01 04 04 43 67 af 55", "CRC"),
        (GOOD[0], "02 04 04 40 8b 6a 89 42 68", "unit 2 answers, but unit 1 was asked"),
        (GOOD[0], "01 03 02 5a 66 02 ce", "function 3 answers, but function 4 was asked"),
        ("01 04 00 00 00 04 f1 c9", GOOD[1], "holds 2 registers, but 4 were asked"),
        ("zz", GOOD[1], "not pairs of hex digits"),
        ("01 06 00 00 00 02 08 0b", GOOD[1], "not a read"),
        ("01 04", GOOD[1], "too short"),
        ("00" * 300, GOOD[1], "longer than a Modbus frame"),
        (
            "00 2a 00 00 00 06 01 04 00 00 00 02",
            "00 2b 00 00 00 07 01 04 04 43 67 af 55",
            "another",
        ),
        ("00 2a 00 00 00 06 01 04 00 00 00 02", "00 2a 00 00 00 09 01 04 04 43 67 af 55", "header"),
    ],
)
def test_an_exchange_that_does_not_fit_is_refused_with_one_line(
    request_hex: str, response_hex: str, said: str
) -> None:
    arguments = ["--map", "eastron_sdm630", "--request", request_hex, "--response", response_hex]
    ran = CliRunner().invoke(app, ["decode", "frame", *arguments, "--json"])
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_refusal_of_the_meter_is_named() -> None:
    refusal = bytes([1, 0x84, 2])
    framed = refusal + crc16(refusal).to_bytes(2, "little")
    with pytest.raises(MeterRefused, match="exception 2"):
        exchange_of(frame_bytes(GOOD[0], place="request"), framed)


@given(request=st.binary(max_size=40), response=st.binary(max_size=40))
def test_no_bytes_at_all_bring_the_decoder_down(request: bytes, response: bytes) -> None:
    for frame in (request, request + crc16(request).to_bytes(2, "little")):
        for reply in (response, response + crc16(response).to_bytes(2, "little")):
            with contextlib.suppress(BadFrame, MeterRefused):
                exchange_of(frame, reply)
