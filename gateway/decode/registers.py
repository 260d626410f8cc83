"""16-bit registers to numbers, in the types and word orders that meters use.

Bytes inside a register are always big-endian on the wire; makers differ in which register of a
longer number comes first.

Source: Modbus Application Protocol Specification V1.1b3, section 4.2 (data encoding).
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Sequence


class RegisterType(enum.StrEnum):
    """How registers make a number."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def registers(self) -> int:
        """How many registers one number takes."""
        return int(self.value[-2:]) // 16

    @property
    def is_float(self) -> bool:
        """Whether the number is an IEEE 754 float."""
        return self in {RegisterType.FLOAT32, RegisterType.FLOAT64}


class WordOrder(enum.StrEnum):
    """Which register of a longer number comes first."""

    BIG = "big"
    LITTLE = "little"


class NoValue(enum.StrEnum):
    """Bit patterns by which makers say that a number is not available."""

    ONES = "ones"
    SIGNED_MAX = "signed_max"
    SIGNED_MIN = "signed_min"
    ZERO = "zero"
    HIGH_7FFF = "high_7fff"

    def matches(self, bits: int, width: int) -> bool:
        """Whether a pattern of this width [bits] is this sentinel."""
        if self is NoValue.ONES:
            return bits == (1 << width) - 1
        if self is NoValue.SIGNED_MAX:
            return bits == (1 << (width - 1)) - 1
        if self is NoValue.SIGNED_MIN:
            return bits == 1 << (width - 1)
        if self is NoValue.HIGH_7FFF:
            return bits >> (width - 16) == 0x7FFF
        return bits == 0


_FORMAT = {
    RegisterType.INT16: ">h",
    RegisterType.UINT16: ">H",
    RegisterType.INT32: ">i",
    RegisterType.UINT32: ">I",
    RegisterType.INT64: ">q",
    RegisterType.UINT64: ">Q",
    RegisterType.FLOAT32: ">f",
    RegisterType.FLOAT64: ">d",
}


def decode_number(
    words: Sequence[int],
    kind: RegisterType,
    order: WordOrder = WordOrder.BIG,
    no_value: tuple[NoValue, ...] = (),
) -> int | float | None:
    """Make a number of registers.

    Args:
        words: Exactly as many registers as the type takes, each 0 to 65535, in wire order.
        kind: How they make a number.
        order: Which register comes first.
        no_value: Patterns that mean "not available".

    Returns:
        The number, or None where the meter says it has none (a sentinel, NaN or infinity).

    Raises:
        ValueError: Another number of registers, or one out of range.
    """
    if len(words) != kind.registers:
        raise ValueError(f"{kind} takes {kind.registers} registers, not {len(words)}")
    raw = _to_bytes(words, order)
    if no_value:
        bits = int.from_bytes(raw, "big")
        if any(pattern.matches(bits, len(raw) * 8) for pattern in no_value):
            return None
    number: int | float = struct.unpack(_FORMAT[kind], raw)[0]
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return number


def encode_number(
    number: float, kind: RegisterType, order: WordOrder = WordOrder.BIG
) -> tuple[int, ...]:
    """The registers that `decode_number` reads as this number.

    Raises:
        ValueError: It does not fit the type.
    """
    try:
        raw = struct.pack(_FORMAT[kind], number if kind.is_float else int(number))
    except (struct.error, OverflowError) as fault:
        raise ValueError(f"{number} does not fit {kind}: {fault}") from fault
    words = struct.unpack(f">{kind.registers}H", raw)
    return words if order is WordOrder.BIG else words[::-1]


def decode_text(words: Sequence[int]) -> str:
    """Printable text of registers with two characters each; fill bytes are left out.

    Raises:
        ValueError: A register is out of range.
    """
    raw = _to_bytes(words, WordOrder.BIG)
    return "".join(chr(byte) for byte in raw if 0x20 <= byte < 0x7F).strip()


def float32_step(number: float) -> float:
    """Distance from a number to the next one that a 32-bit float can hold.

    A counter kept as float32 rises in steps of this size: at 70 000 kWh by 0.0078 kWh.
    """
    bits = struct.unpack(">I", struct.pack(">f", abs(number)))[0]
    if bits >= 0x7F7FFFFF:
        return math.inf
    here, there = (struct.unpack(">f", struct.pack(">I", bit))[0] for bit in (bits, bits + 1))
    return float(there - here)


def _to_bytes(words: Sequence[int], order: WordOrder) -> bytes:
    try:
        return struct.pack(f">{len(words)}H", *(words if order is WordOrder.BIG else words[::-1]))
    except struct.error as fault:
        raise ValueError(f"a register is 0 to 65535: {fault}") from fault
