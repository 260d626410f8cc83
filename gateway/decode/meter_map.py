"""A meter map: which registers of a meter model hold what.

Maps are data (TOML files); `map_file` reads them. A map turns registers into quantities under
their canonical names and knows what a plausible answer looks like.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from gateway.decode.quantities import (
    RAW_MAX,
    UNITS,
    QuantityKind,
    add_derived,
    quantity_kind,
    to_canonical,
)
from gateway.decode.registers import (
    NoValue,
    RegisterType,
    WordOrder,
    decode_number,
    decode_text,
    float32_step,
)

HOLDING = 3
INPUT = 4
FUNCTION_NAMES = {HOLDING: "holding", INPUT: "input"}

_TRANSFORMED = frozenset({"wh", "w", "va", "var", "a"})
"""What a current transformer changes the size of."""

RegisterKey = tuple[int, int]
"""Function code and 0-based address."""


class Standing(enum.StrEnum):
    """How sure we are of a map without having had the meter in hand."""

    AGREED = "agreed"
    SINGLE_SOURCE = "single_source"
    NEEDS_HARDWARE = "needs_hardware"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where one quantity is.

    Args:
        quantity: Canonical name, unit last.
        function: Modbus function code, 3 (holding) or 4 (input).
        address: 0-based protocol address of its first register.
        type: How its registers make a number.
        word_order: Which register comes first.
        unit: Unit of the number after scaling, a key of `UNITS`.
        scale: Factor from the raw number to `unit`.
        optional: Whether some units of the model do not have it; an exception 2 is then normal.
        no_value: Patterns that mean "not available".
        scale_address: Register that holds a power of ten (SunSpec scale factor), if there is one.
        rollover: Total in `unit` at which a counter begins again from zero, if the maker states it.
        kind: What its name stands for.
        factor: From the raw number to the unit of the name.
    """

    quantity: str
    function: int
    address: int
    type: RegisterType
    word_order: WordOrder
    unit: str
    scale: Fraction = Fraction(1)
    optional: bool = False
    no_value: tuple[NoValue, ...] = ()
    scale_address: int | None = None
    rollover: Fraction | None = None
    kind: QuantityKind = field(init=False)
    factor: Fraction = field(init=False)

    def __post_init__(self) -> None:
        """Work out once what each decoding needs."""
        kind = quantity_kind(self.quantity)
        if kind is None:
            raise ValueError(f"{self.quantity} is not a canonical name")
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "factor", self.scale * UNITS[self.unit][1])

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """First address and number of registers of everything this point needs."""
        own = (self.address, self.type.registers)
        return (own,) if self.scale_address is None else (own, (self.scale_address, 1))

    def value(self, registers: Mapping[RegisterKey, int]) -> int | float | None:
        """Decode this point; None if registers are missing or the meter says it has no value."""
        words = [
            registers.get((self.function, self.address + offset))
            for offset in range(self.type.registers)
        ]
        present = [word for word in words if word is not None]
        if len(present) < len(words):
            return None
        raw = decode_number(present, self.type, self.word_order, self.no_value)
        factor = self._full_factor(registers)
        if raw is None or factor is None or abs(raw) > RAW_MAX:
            return None
        value = to_canonical(self.kind, raw, factor)
        return value if abs(value) <= RAW_MAX else None

    def _full_factor(self, registers: Mapping[RegisterKey, int]) -> Fraction | None:
        if self.scale_address is None:
            return self.factor
        word = registers.get((self.function, self.scale_address))
        if word is None:
            return None
        exponent = decode_number([word], RegisterType.INT16, no_value=(NoValue.SIGNED_MIN,))
        # SunSpec bounds a scale factor to -10..10; anything else is not one.
        if exponent is None or abs(exponent) > 10:
            return None
        return self.factor * Fraction(10) ** int(exponent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The bounds between which a quantity lies if the map is the right one.

    Args:
        quantity: Canonical name.
        low: Least plausible number, in the unit of the name.
        high: Greatest.
    """

    quantity: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Registers that tell one meter from another.

    Args:
        function: Modbus function code.
        address: 0-based address of the first register.
        registers: How many.
        text: Whether they hold characters; otherwise they are shown in hex.
    """

    function: int
    address: int
    registers: int
    text: bool

    def value(self, registers: Mapping[RegisterKey, int]) -> str | None:
        """The serial number or name, or None where it is missing or blank."""
        words = [
            registers.get((self.function, self.address + offset))
            for offset in range(self.registers)
        ]
        present = [word for word in words if word is not None]
        if len(present) < len(words) or not any(present):
            return None
        return decode_text(present) if self.text else "".join(f"{word:04x}" for word in present)


Baud = Literal[1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200]
"""Speeds that meters are set to [bit/s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialDefaults:
    """How the meter leaves the factory. Parity is `N`, `E` or `O`."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    unit: int = 1

    @property
    def label(self) -> str:
        """`9600 8N1`."""
        return f"{self.baud} 8{self.parity}{self.stop_bits}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BusLimits:
    """What the meter puts up with.

    Args:
        registers_max: Longest block it answers.
        hole_max: Longest run of registers nobody asked for that may be read along.
        pause_s: Silence it needs before the next request [s].
        timeout_s: Longest wait for a reply [s].
    """

    registers_max: int = 80
    hole_max: int = 16
    pause_s: float = 0.02
    timeout_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenVector:
    """Registers, and what they must come out as.

    Args:
        note: Where the numbers are from.
        registers: Function and address to word.
        expect: Canonical name to number.
    """

    note: str
    registers: Mapping[RegisterKey, int]
    expect: Mapping[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterMap:
    """Everything known about a meter model's registers.

    Args:
        name: Name of the map; the file is called the same.
        title: For people.
        models: Model names as printed on meters.
        phases: 1, 2 or 3.
        standing: How sure we are.
        source: Where the addresses are from.
        points: By canonical name.
        derived: Sums of other quantities, by canonical name.
        serial: Factory settings, if it has a serial port.
        tcp_unit: Unit id on Modbus TCP, if it has an Ethernet port.
        limits: What it puts up with.
        identity: How to tell one meter from another.
        probes: What is plausible.
        variants: Other maps to try for the same model.
        sunspec_models: SunSpec model ids whose block this map describes; addresses then count
            from the block's id register and `at` moves them.
        siblings: Maps of the other SunSpec models that discovery may find instead.
        golden: Test vectors.
        notes: Traps, for people.
    """

    name: str
    title: str
    models: tuple[str, ...]
    phases: int
    standing: Standing
    source: tuple[str, ...]
    points: Mapping[str, Point]
    derived: Mapping[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    serial: SerialDefaults | None = None
    tcp_unit: int | None = None
    limits: BusLimits = field(default_factory=BusLimits)
    identity: Identity | None = None
    probes: tuple[Probe, ...] = ()
    variants: tuple[str, ...] = ()
    sunspec_models: tuple[int, ...] = ()
    siblings: tuple[MeterMap, ...] = ()
    golden: tuple[GoldenVector, ...] = ()
    notes: str = ""

    @property
    def quantities(self) -> tuple[str, ...]:
        """All names this map can give, derived ones included."""
        return (*self.points, *(name for name in self.derived if name not in self.points))

    def decode(self, registers: Mapping[RegisterKey, int]) -> dict[str, int | float]:
        """Turn registers into quantities; what is missing or has no value is left out."""
        quantities: dict[str, int | float] = {}
        for name, point in self.points.items():
            value = point.value(registers)
            if value is not None:
                quantities[name] = value
        add_derived(quantities, self.derived)
        return quantities

    def implausible(self, quantities: Mapping[str, int | float]) -> tuple[str, ...]:
        """What speaks against this map, one phrase per probe that failed."""
        return tuple(
            f"{probe.quantity} is {quantities[probe.quantity]}, not {probe.low:g} to {probe.high:g}"
            for probe in self.probes
            if probe.quantity in quantities
            and not probe.low <= quantities[probe.quantity] <= probe.high
        )

    def only(self, names: Iterable[str]) -> MeterMap:
        """This map with fewer points: those named, and those that named sums need."""
        wanted = set(names)
        for name in tuple(wanted):
            if name not in self.points and name in self.derived:
                wanted.update(term for _, term in self.derived[name])
        return replace(
            self,
            points={name: point for name, point in self.points.items() if name in wanted},
            derived={name: terms for name, terms in self.derived.items() if name in wanted},
        )

    def at(self, base: int) -> MeterMap:
        """A SunSpec map moved to where its block was found."""
        return replace(
            self,
            points={
                name: replace(
                    point,
                    address=point.address + base,
                    scale_address=None
                    if point.scale_address is None
                    else point.scale_address + base,
                )
                for name, point in self.points.items()
            },
        )

    def behind_transformers(self, ratio: float) -> MeterMap:
        """This map for a meter that tells what is behind its current transformers.

        Args:
            ratio: Primary over secondary current; 50 for 250 A to 5 A.

        Returns:
            The map with energies, powers and currents that many times as large.
        """
        times = Fraction(str(ratio))
        return replace(
            self,
            points={
                name: replace(
                    point,
                    scale=point.scale * times,
                    rollover=None if point.rollover is None else point.rollover * times,
                )
                if point.kind.unit in _TRANSFORMED
                else point
                for name, point in self.points.items()
            },
            siblings=tuple(sibling.behind_transformers(ratio) for sibling in self.siblings),
        )

    def resolution_wh(self, quantity: str, total_wh: int) -> float:
        """The smallest step [Wh] in which a counter of this map can rise at a total.

        A float32 counter in kWh coarsens as it grows: 1 Wh at 10 000 kWh, 8 Wh at 70 000 kWh.
        """
        terms = [name for _, name in self.derived.get(quantity, ((1, quantity),))]
        steps = [1.0]
        for point in (self.points[name] for name in terms if name in self.points):
            factor = float(point.factor)
            if point.type is RegisterType.FLOAT32:
                steps.append(float32_step(total_wh / factor) * factor)
            elif point.scale_address is None:
                steps.append(factor)
        return max(steps)
