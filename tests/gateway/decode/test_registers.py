"""Registers to numbers and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.client.mixin import ModbusClientMixin

from gateway.decode.registers import (
    NoValue,
    RegisterType,
    WordOrder,
    decode_number,
    decode_text,
    encode_number,
    float32_step,
)

BOUNDS = {
    RegisterType.INT16: (-(2**15), 2**15 - 1),
    RegisterType.UINT16: (0, 2**16 - 1),
    RegisterType.INT32: (-(2**31), 2**31 - 1),
    RegisterType.UINT32: (0, 2**32 - 1),
    RegisterType.INT64: (-(2**63), 2**63 - 1),
    RegisterType.UINT64: (0, 2**64 - 1),
}
word_lists = st.integers(0, 0xFFFF)


@given(
    kind=st.sampled_from(list(RegisterType)), order=st.sampled_from(list(WordOrder)), data=st.data()
)
def test_decoding_what_was_encoded_gives_it_back(
    kind: RegisterType, order: WordOrder, data: st.DataObject
) -> None:
    number: int | float
    if kind.is_float:
        number = data.draw(
            st.floats(allow_nan=False, allow_infinity=False, width=16 * kind.registers)  # type: ignore[arg-type]  # 32 or 64
        )
    else:
        low, high = BOUNDS[kind]
        number = data.draw(st.integers(low, high))
    assert decode_number(encode_number(number, kind, order), kind, order) == number


@given(
    kind=st.sampled_from(list(RegisterType)), order=st.sampled_from(list(WordOrder)), data=st.data()
)
def test_numbers_come_out_as_pymodbus_reads_them(
    kind: RegisterType, order: WordOrder, data: st.DataObject
) -> None:
    words = data.draw(st.lists(word_lists, min_size=kind.registers, max_size=kind.registers))
    theirs = ModbusClientMixin.convert_from_registers(
        words, ModbusClientMixin.DATATYPE[kind.name], word_order=order.value
    )
    assert isinstance(theirs, int | float)
    ours = decode_number(words, kind, order)
    assert ours == (theirs if math.isfinite(theirs) else None)


@pytest.mark.parametrize(
    ("words", "kind", "pattern"),
    [
        ([0xFFFF, 0xFFFF], RegisterType.UINT32, NoValue.ONES),
        ([0x7FFF], RegisterType.INT16, NoValue.SIGNED_MAX),
        ([0x8000, 0, 0, 0], RegisterType.INT64, NoValue.SIGNED_MIN),
        ([0, 0], RegisterType.UINT32, NoValue.ZERO),
        ([0x7FFF, 0xFFFF], RegisterType.INT32, NoValue.HIGH_7FFF),
        ([0x7FFF, 0x0001], RegisterType.INT32, NoValue.HIGH_7FFF),
        ([0x7FFF], RegisterType.INT16, NoValue.HIGH_7FFF),
        ([0x7FC0, 0], RegisterType.FLOAT32, NoValue.ONES),
        ([0xFF80, 0], RegisterType.FLOAT32, NoValue.ONES),
    ],
)
def test_what_makers_mean_by_no_value_is_missing_not_a_number(
    words: list[int], kind: RegisterType, pattern: NoValue
) -> None:
    assert decode_number(words, kind, no_value=(pattern,)) is None


def test_a_sentinel_is_recognised_whatever_the_word_order() -> None:
    words = [0, 0x8000]
    little = decode_number(words, RegisterType.INT32, WordOrder.LITTLE, (NoValue.SIGNED_MIN,))
    assert little is None


@pytest.mark.parametrize("words", [[], [1, 2, 3], [70_000, 0], [-1, 0]])
def test_registers_that_cannot_be_are_refused(words: list[int]) -> None:
    with pytest.raises(ValueError, match="register"):
        decode_number(words, RegisterType.UINT32)


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        encode_number(70_000, RegisterType.UINT16)


def test_text_leaves_out_fill_bytes() -> None:
    assert decode_text([0x4142, 0x4300, 0x2000]) == "ABC"


def test_the_step_of_a_float32_counter_grows_with_its_total() -> None:
    assert float32_step(1_000) * 1000 == pytest.approx(0.061, abs=0.001)
    assert float32_step(10_000) * 1000 == pytest.approx(0.98, abs=0.01)
    assert float32_step(70_000) * 1000 == pytest.approx(7.81, abs=0.01)
