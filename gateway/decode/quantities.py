"""The names under which a meter's numbers are known from here on, unit last.

Maps and presets may only use these names, each with a unit of its own that is converted once,
here. Energies become integer Wh, everything else a float in the unit its name ends with.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

NAME_LENGTH_MAX = 32
"""Longest canonical name [characters]."""

RAW_MAX = 1e13
"""No meter's number is larger, as it stands in the meter or in Wh, W, V and the like; what is larger
is noise, such as a 64-bit register read in the wrong order, and might not fit into a database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityKind:
    """What a canonical name stands for.

    Args:
        unit: Unit the name ends with: `wh`, `w`, `v`, `a`, `hz`, `va`, `var`, `m3`, or empty for a
            plain ratio.
        counter: Whether it is a total that only ever rises.
        decimals: Places kept when a float is written.
    """

    unit: str
    counter: bool
    decimals: int


_PHASE = "(_l[123])?"
_KINDS: tuple[tuple[re.Pattern[str], QuantityKind], ...] = tuple(
    (re.compile(pattern), QuantityKind(unit=unit, counter=counter, decimals=decimals))
    for pattern, unit, counter, decimals in (
        (r"(import|export|total)(_l[123]|_t[1-4])?_wh", "wh", True, 0),
        (r"gas_m3", "m3", True, 3),
        (rf"power{_PHASE}_w", "w", False, 3),
        (rf"power_(import|export){_PHASE}_w", "w", False, 3),
        (rf"apparent{_PHASE}_va", "va", False, 3),
        (rf"reactive{_PHASE}_var", "var", False, 3),
        (r"voltage_(l[123]|l1_l2|l2_l3|l3_l1)_v", "v", False, 3),
        (r"current_(l[123]|n)_a", "a", False, 3),
        (r"frequency_hz", "hz", False, 3),
        (rf"power_factor{_PHASE}", "", False, 4),
    )
)

UNITS: Mapping[str, tuple[str, Fraction]] = {
    "Wh": ("wh", Fraction(1)),
    "kWh": ("wh", Fraction(1000)),
    "MWh": ("wh", Fraction(1_000_000)),
    "Wmin": ("wh", Fraction(1, 60)),
    "Ws": ("wh", Fraction(1, 3600)),
    "W": ("w", Fraction(1)),
    "kW": ("w", Fraction(1000)),
    "VA": ("va", Fraction(1)),
    "kVA": ("va", Fraction(1000)),
    "var": ("var", Fraction(1)),
    "kvar": ("var", Fraction(1000)),
    "V": ("v", Fraction(1)),
    "mV": ("v", Fraction(1, 1000)),
    "A": ("a", Fraction(1)),
    "mA": ("a", Fraction(1, 1000)),
    "Hz": ("hz", Fraction(1)),
    "mHz": ("hz", Fraction(1, 1000)),
    "1": ("", Fraction(1)),
    "%": ("", Fraction(1, 100)),
    "m3": ("m3", Fraction(1)),
}
"""Units a map or preset may state, each with the unit it becomes and the factor."""


@functools.lru_cache(maxsize=512)
def _kind_of(name: str) -> QuantityKind | None:
    for pattern, kind in _KINDS:
        if pattern.fullmatch(name):
            return kind
    return None


def quantity_kind(name: str) -> QuantityKind | None:
    """What a canonical name stands for, or None if the name is not one of ours."""
    # Long texts are not remembered, so that what comes from outside cannot fill the memory.
    return _kind_of(name) if len(name) <= NAME_LENGTH_MAX else None


def units_of(kind: QuantityKind) -> list[str]:
    """The units in which such a quantity may be stated."""
    return [unit for unit, (base, _) in UNITS.items() if base == kind.unit]


def to_canonical(kind: QuantityKind, raw: float, factor: Fraction) -> int | float:
    """Convert a raw number.

    Args:
        kind: From `quantity_kind`.
        raw: The number as the meter gave it.
        factor: Scale of the point times the factor of its unit.

    Returns:
        Integer [Wh] for energies, otherwise a rounded float in the unit of the name. Integers are
        scaled exactly, so a 64-bit counter does not lose its last digits in a float.
    """
    if kind.unit == "wh":
        return round(raw * factor) if isinstance(raw, int) else round(raw * float(factor))
    return round(
        float(raw * factor) if isinstance(raw, int) else raw * float(factor), kind.decimals
    )


_TERM = re.compile(r"\s*([+-])\s*([a-z0-9_]+)")


def derived_terms(expression: str) -> tuple[tuple[int, str], ...] | None:
    """Read a sum such as `import_t1_wh + import_t2_wh`.

    Returns:
        Pairs of sign and name, or None if the text is anything else.
    """
    text = expression if expression.lstrip().startswith(("+", "-")) else f"+{expression}"
    terms: list[tuple[int, str]] = []
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            return None
        terms.append((1 if match[1] == "+" else -1, match[2]))
        position = match.end()
    return tuple(terms) or None


def add_derived(
    quantities: dict[str, int | float], sums: Mapping[str, tuple[tuple[int, str], ...]]
) -> None:
    """Add each sum whose terms are all there and whose name is not; missing is never zero."""
    for name, terms in sums.items():
        if name in quantities or any(term not in quantities for _, term in terms):
            continue
        total = sum(sign * quantities[term] for sign, term in terms)
        quantities[name] = total if isinstance(total, int) else round(total, 4)
