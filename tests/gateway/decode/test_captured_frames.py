"""Frames that other people captured from real meters and published, with their CRCs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

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
    # nmakel/solaredge_meterproxy issue 33: an SDM630 behind a Modbus TCP bridge, as pymodbus logs
    # it. Its counters agree: the total is import and export of all phases.
    (
        "eastron_sdm630",
        "0x0 0x4 0x0 0x0 0x0 0x6 0x1 0x4 0x1 0x4e 0x0 0x30",
        (
            "0x0 0x4 0x0 0x0 0x0 0x63 0x1 0x4 0x60 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 "
            "0x0 0x0 0x0 0x47 0x8 0xee 0x9a 0x46 0x5 0xd9 0x8b 0x45 0xfd 0xa3 0xdb 0x45 0xc7 0xb1 0x53 "
            "0x45 0xa6 0x8d 0x2b 0x44 0xea 0xf1 0xe 0x46 0x31 0x5 0xcc 0x44 0xfb 0x2a 0x76 0x46 0x1c "
            "0x30 0xf 0x46 0x8a 0x6f 0x3b 0x45 0xe5 0x57 0xc8 0x44 0x45 0x1c 0x6a 0x43 0x67 0x21 0x6 "
            "0x44 0x88 0x80 0x83 0x44 0xea 0xa2 0xe1 0x45 0x78 0xf8 0x5e 0x44 0x14 0x8b 0xc6 0x45 0x26 "
            "0x98 0x8b 0x45 0x83 0xb5 0x37 0x44 0xd2 0xc6 0x66"
        ),
        {
            "total_wh": 35_054_602,
            "import_l1_wh": 8_116_482,
            "import_l2_wh": 6_390_166,
            "import_l3_wh": 5_329_646,
            "export_l1_wh": 1_879_533,
            "export_l2_wh": 11_329_449,
            "export_l3_wh": 2_009_327,
        },
    ),
    # nmakel/solaredge_meterproxy issue 16: an SDM630 at address 5, whose library read 1307.68994,
    # 549.9020, 420.2050 and 337.5830 kWh out of this reply.
    (
        "eastron_sdm630",
        "05 04 01 4e 00 30 90 71",
        (
            "05 04 60 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 44 a3 76 14 44 91 6e 76 44 09 79 "
            "ba 43 d2 1a 3d 43 a8 ca 9f 00 00 00 00 00 00 00 00 00 00 00 00 44 09 79 ba 43 d2 1a 3d 43 "
            "a8 ca 9f 3c 34 39 58 3c 8b 43 95 00 00 00 00 44 03 77 2b 43 10 b8 d4 43 f6 6b 85 44 03 77 "
            "df 43 10 bd 2f 43 f6 6b 85 52 ce"
        ),
        {
            "total_wh": 1_307_690,
            "import_l1_wh": 549_902,
            "import_l2_wh": 420_205,
            "import_l3_wh": 337_583,
            "export_l1_wh": 0,
            "export_l2_wh": 0,
            "export_l3_wh": 0,
        },
    ),
    # Eastron, SDM630MCT-ML user manual, section 4.4: total active energy 230.2.
    (
        "eastron_sdm630",
        "01 04 01 56 00 02 90 27",
        "01 04 04 43 66 33 34 1B 38",
        {"total_wh": 230_200},
    ),
    # Tasmota issue 17671: replies as the driver logged them, with the values it read; requests
    # by the registers it names.
    (
        "eastron_sdm630",
        "01 04 00 02 00 02 d0 0b",
        "01040443666999E025",
        {"voltage_l2_v": 230.412},
    ),
    ("eastron_sdm630", "01 04 00 0a 00 02 51 c9", "0104043E96D65849DA", {"current_l3_a": 0.295}),
    ("eastron_sdm630", "01 04 00 10 00 02 70 0e", "010404C297EA02B971", {"power_l3_w": -75.957}),
    # ABB, A43/A44 user manual (2CMC48001M0201 C), section 9.11.1: energies of the phases.
    (
        "abb_b23",
        "05 03 54 60 00 3C 54 71",
        (
            "05 03 78 00 00 00 00 00 03 12 92 00 00 00 00 00 04 98 E1 00 00 00 00 00 05 66 55 00 00 00 "
            "00 00 00 92 3A 00 00 00 00 00 01 1C 9B 00 00 00 00 00 01 63 33 00 00 00 00 00 02 80 58 00 "
            "00 00 00 00 03 7C 45 00 00 00 00 00 04 03 21 00 00 00 00 00 00 6B 11 00 00 00 00 00 00 69 "
            "DC 00 00 00 00 00 04 67 4E 00 00 00 00 00 00 62 E5 00 00 00 00 00 01 88 A1 00 00 00 00 00 "
            "00 64 FA 21 B0"
        ),
        {
            "import_l1_wh": 2_013_620,
            "import_l2_wh": 3_012_810,
            "import_l3_wh": 3_538_770,
            "export_l1_wh": 374_340,
            "export_l2_wh": 728_590,
            "export_l3_wh": 909_310,
        },
    ),
    # Arup's public reader of a Schneider iEM2150 notes what goes over the line; the registers are
    # those of the iEM3155.
    (
        "schneider_iem3155",
        "01 03 0b d3 00 02 37 d6",
        "01 03 04 43 6f 97 0a 31 9d",
        {"voltage_l1_v": 239.59},
    ),
    (
        "schneider_iem3155",
        "01 03 0b b7 00 02 76 09",
        "01 03 04 3c cc cc cd a2 c9",
        {"current_l1_a": 0.025},
    ),
    (
        "schneider_iem3155",
        "01 03 0b fb 00 02 b7 de",
        "01 03 04 bb b0 96 35 70 87",
        {"reactive_var": -5.389},
    ),
    (
        "schneider_iem3155",
        "01 03 0c 25 00 02 d6 90",
        "01 03 04 42 47 f2 b1 db 4a",
        {"frequency_hz": 49.987},
    ),
    # Its power factor carries the quadrant (1.992 is 0.008, leading) and is no plain ratio.
    ("schneider_iem3155", "01 03 0c 0b 00 02 b6 99", "01 03 04 3f ff 00 69 06 39", {}),
]


@pytest.mark.parametrize(("map_name", "request_hex", "response_hex", "expected"), CAPTURED)
def test_a_published_frame_of_a_real_meter_decodes(
    map_name: str, request_hex: str, response_hex: str, expected: dict[str, float]
) -> None:
    arguments = ["--map", map_name, "--request", request_hex, "--response", response_hex]
    ran = CliRunner().invoke(app, ["decode", "frame", *arguments, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["quantities"] == expected


SOLAREDGE = (
    "00 93 00 00 00 06 01 03 9c fe 00 69",
    "00 93 00 00 00 d5 01 03 d2 00 67 00 30 00 08 00 2e ff ff 5b fd 5b fd 5c 4f 5a 69"
    + " 00" * 8
    + " ff fe 13 85 ff fe ff c6 04 3f ff 85 fc 02 00 00 01 e8 04 56 00 94 04 0d 00 00 fe 1b ff 1e"
    " ff af ff 4f 00 00 08 0f da e5 19 46 24 03 ff fe 01 44 84 02 01 5e 60 54"
    + " 00" * 8
    + " 01 14 08 20 00 28 f5 e8 00 53 b6 22 00 b1 38 67"
    + " 00" * 34
    + " 80 00"
    + " 00" * 64
    + " 80 00 00 00 00 00",
)
"""evcc issue 15445: the export and import meter of a SolarEdge inverter, SunSpec model 203 at 40188."""


def test_a_published_sunspec_frame_decodes_where_its_model_begins() -> None:
    arguments = ["--map", "sunspec", "--request", SOLAREDGE[0], "--response", SOLAREDGE[1]]
    ran = CliRunner().invoke(app, ["decode", "frame", *arguments, "--base", "40188", "--json"])
    assert ran.exit_code == 0, ran.output
    quantities = json.loads(ran.stdout)["quantities"]
    assert quantities["power_w"] == -58.0
    assert quantities["power_l1_w"] + quantities["power_l2_w"] + quantities["power_l3_w"] == -58.0
    assert quantities["voltage_l1_v"] == 235.49
    assert quantities["frequency_hz"] == 49.97
    assert (quantities["import_wh"], quantities["export_wh"]) == (18_090_016, 21_267_458)


def test_a_sunspec_frame_without_its_place_is_refused_instead_of_read_as_nothing() -> None:
    arguments = ["--map", "sunspec", "--request", SOLAREDGE[0], "--response", SOLAREDGE[1]]
    ran = CliRunner().invoke(app, ["decode", "frame", *arguments])
    assert ran.exit_code == 2
    assert "--base 40070" in ran.stderr


def test_the_same_reading_over_tcp_decodes() -> None:
    exchange = exchange_of(
        frame_bytes("00 2a 00 00 00 06 01 04 00 00 00 02", place="request"),
        frame_bytes("002a0000 0007 01 04 04 43 67 af 55", place="response"),
    )
    assert exchange.framing == "tcp"
    quantities = load_map("eastron_sdm630").decode(exchange.registers)
    assert quantities == {"voltage_l1_v": 231.685}


GOOD = ("01 04 00 00 00 02 71 cb", "01 04 04 43 67 af 55 e2 10")


def _each(before: str, after: str, text: str) -> str:
    return "".join(f"{before}{byte}{after}" for byte in text.split())


@pytest.mark.parametrize(
    "written",
    [
        str.upper,
        lambda text: text.replace(" ", ""),
        lambda text: text.replace(" ", ", "),
        lambda text: text.replace(" ", ":"),
        lambda text: text.replace(" ", ".") + " (8)",  # ESPHome
        lambda text: _each("[", "]", text),  # libmodbus, what is sent
        lambda text: _each("<", ">", text),  # libmodbus, what is received
        lambda text: " ".join(f"{int(byte, 16):#x}" for byte in text.split()),  # pymodbus
        lambda text: "{" + ", ".join(f"0x{byte}" for byte in text.split()) + "}",
        lambda text: "b'" + _each("\\x", "", text) + "'",
        lambda text: _each("$", ",", text),
        lambda text: _each("", "h ", text),
        lambda text: text[:-6],  # without CRC, as modbus-serial and Tasmota show frames
    ],
)
def test_a_frame_is_read_however_a_log_writes_it(written: Callable[[str], str]) -> None:
    exchange = exchange_of(
        frame_bytes(written(GOOD[0]), place="request"),
        frame_bytes(written(GOOD[1]), place="response"),
    )
    assert exchange.words == (0x4367, 0xAF55)


@pytest.mark.parametrize(
    ("request_hex", "response_hex", "said"),
    [
        ("1 4 0 0 0 2 113 203", GOOD[1], "single digits, which may be decimal"),
        ("01 04 00 00 00 02", GOOD[1], "CRC"),
        ("0x01 0x04 0x0 0x0002", GOOD[1], "single digits"),
        ("01 04 00 00 00 02", "01 84 02", "exception 2"),
        ("0x01 " * 600, GOOD[1], "longer than a Modbus frame"),
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
