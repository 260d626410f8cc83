"""Meter maps as files: what is wrong is told with file, table and remedy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue import load_map, load_preset
from gateway.decode.map_file import check_golden, parse_map
from gateway.decode.meter_map import MeterMap
from gateway.decode.registers import encode_number
from gateway.errors import BadMeterMap, BadPreset, UnknownName

GOOD = """
map = "mine"
title = "My meter"
models = ["M1"]
phases = 1
standing = "single_source"
source = ["its manual, page 3"]

[default]
function = 3
type = "uint32"
word_order = "big"

[points.import_wh]
address = 0x10
scale = 0.01
unit = "kWh"

[points.power_w]
address = 0x20
type = "int16"
unit = "W"

[[golden]]
note = "display"
[golden.registers]
"3:0x0010" = "0001 86A0"
"3:0x0020" = "FFF6"
[golden.expect]
import_wh = 1_000_000
power_w = -10.0
"""


def parse(text: str) -> MeterMap:
    return parse_map(text, file="mine.toml")


def test_a_small_map_is_enough() -> None:
    meter_map = parse(GOOD)
    assert check_golden(meter_map, file="mine.toml") == 1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('unit = "kWh"', "", "mine.toml, [points.import_wh]: Object missing required field `unit`"),
        ('unit = "kWh"', 'unit = "W"', "unit 'W' does not fit import_wh; use one of Wh, kWh"),
        ('unit = "kWh"', 'unit = "KWH"', "unit 'KWH' does not fit import_wh"),
        ("address = 0x10", "address = -1", "[points.import_wh] address"),
        ("address = 0x10", 'address = "0x10"', "Expected `int`, got `str`"),
        ("address = 0x10", "adress = 0x10", "[points.import_wh]"),
        ("[points.import_wh]", "[points.energy]", "'energy' is not a known quantity"),
        ("function = 3", "function = 6", "Invalid enum value 6"),
        ('type = "uint32"', 'type = "u32"', "Invalid enum value 'u32'"),
        ('word_order = "big"', "", "[points.import_wh]: word_order is missing"),
        ("function = 3", "", "function is missing; state function here or in [default]"),
        ('map = "mine"', 'map = "yours"', "the map is called 'yours', the file is not"),
        ('map = "mine"', "map =", "mine.toml, TOML: Invalid value (at line 2"),
        ("phases = 1", "phases = 4", "Invalid enum value 4"),
        ("phases = 1", "phases = 1\ncolour = 3", "unknown field `colour`"),
        ('type = "uint32"', 'type = "u32"', "use one of int16, uint16, int32,"),
        ('word_order = "big"', 'word_order = "swapped"', "use one of big, little"),
        ("phases = 1", 'phases = 1\nstandig = "agreed"', "did you mean standing?"),
        (
            "address = 0x20",
            "address = 0x11",
            "[points.power_w]: shares register 0x0011 with import_wh",
        ),
        ("address = 0x20", "address = 0x10000", "a manual's 40001 is 0"),
        ("scale = 0.01", "scale = 0", "[points.import_wh] scale"),
        ("address = 0x20", "address = 0x10000", "[points.power_w] address"),
        ("address = 0x10", "address = 0xFFFF", "runs past register 0xFFFF"),
        ('"3:0x0010" = "0001 86A0"', '"3-16" = "0001 86A0"', "[[golden]] number 1"),
        ("[default]", '[derived]\ntotal_wh = "import_wh + 3"\n[default]', "[derived] total_wh"),
        (
            "[default]",
            '[derived]\ntotal_wh = "import_wh + power_w"\n[default]',
            "not have the unit",
        ),
        ("[default]", "[bus]\nregisters_max = 1\n[default]", "[bus] registers_max"),
        (
            "[[golden]]",
            '[[probe]]\nquantity = "voltage_l1_v"\nlow = 1\nhigh = 2\n[[golden]]',
            "[[probe]] voltage_l1_v",
        ),
    ],
)
def test_a_fault_names_file_place_and_remedy(before: str, after: str, said: str) -> None:
    assert before in GOOD
    with pytest.raises(BadMeterMap) as fault:
        parse(GOOD.replace(before, after, 1))
    message = str(fault.value)
    assert message.startswith("mine.toml, ")
    assert said in message
    assert fault.value.remedy
    assert "\n" not in message


def test_a_golden_vector_that_comes_out_otherwise_is_a_fault() -> None:
    with pytest.raises(BadMeterMap, match=r"import_wh comes out as 1000000, not 1000001"):
        check_golden(parse(GOOD.replace("1_000_000", "1_000_001")), file="mine.toml")
    without = GOOD[: GOOD.index("[[golden]]")]
    with pytest.raises(BadMeterMap, match="there is no golden vector"):
        check_golden(parse(without), file="mine.toml")


def test_a_file_that_is_far_too_long_is_not_read() -> None:
    with pytest.raises(BadMeterMap, match="longer than"):
        parse(GOOD + "#" * 300_000)


def test_a_name_that_is_not_shipped_lists_those_that_are() -> None:
    with pytest.raises(UnknownName, match="eastron_sdm630"):
        load_map("eastron")
    with pytest.raises(UnknownName, match="tasmota_energy"):
        load_preset("tasmota")
    with pytest.raises(BadMeterMap, match=r"nowhere\.toml, file: No such file"):
        load_map("nowhere.toml")
    with pytest.raises(BadPreset, match=r"nowhere\.toml, file: No such file"):
        load_preset("nowhere.toml")


@given(raw=st.integers(0, 10**12) | st.integers(0, 2**64 - 1))
def test_a_64_bit_counter_keeps_its_last_digit(raw: int) -> None:
    meter_map = load_map("abb_b23")
    point = meter_map.points["import_wh"]
    words = encode_number(raw, point.type)
    registers = {(point.function, point.address + at): word for at, word in enumerate(words)}
    # Ten TWh are no home's: that is noise, or the maker's mark for no value.
    expected = {} if raw > 10**12 else {"import_wh": raw * 10}
    assert meter_map.decode(registers) == expected


def test_a_sum_with_a_missing_term_is_missing() -> None:
    meter_map = load_map("dzg_dvh4013")
    registers = dict(meter_map.golden[0].registers)
    assert "power_w" in meter_map.decode(registers)
    del registers[3, 2]
    assert "power_w" not in meter_map.decode(registers)


def test_a_map_can_be_narrowed_to_what_is_asked() -> None:
    narrowed = load_map("dzg_dvh4013").only(["power_w", "import_wh"])
    assert set(narrowed.points) == {"power_import_w", "power_export_w", "import_wh"}


def test_float_counters_tell_how_coarse_they_have_become() -> None:
    meter_map = load_map("eastron_sdm630")
    assert meter_map.resolution_wh("import_wh", 70_000_000) == pytest.approx(7.8, abs=0.1)
    assert load_map("carlo_gavazzi_em340").resolution_wh("import_wh", 0) == 100.0


def test_a_register_with_two_names_of_one_unit_is_sent_to_derived() -> None:
    twice = '[points.import_l1_wh]\naddress = 0x10\nunit = "kWh"\n[[golden]]'
    with pytest.raises(BadMeterMap, match=r"one number under two names is \[derived\]"):
        parse(GOOD.replace("[[golden]]", twice, 1))
