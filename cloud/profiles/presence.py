"""Which readings were in a release, so that later ones speak of the same readings. Pure.

A reading that arrives after a sum was shown would stand out in the next sum over the same time. It
waits, like a home that joins late: where an earlier release has spoken, the later one leaves out
what the earlier did not have.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Presence:
    """Which readings are there.

    Attributes:
        households: The homes, one per row.
        start: Start of the first interval, aware.
        step_s: Step [s].
        is_there: True for a reading, shape (homes, intervals).
    """

    households: tuple[str, ...]
    start: datetime
    step_s: int
    is_there: NDArray[np.bool_]


def presence_of(frame: pd.DataFrame, start: datetime, step_s: int) -> Presence:
    """Look at a frame with a column per home and NaN where a reading is missing."""
    return Presence(
        households=tuple(frame.columns),
        start=start,
        step_s=step_s,
        is_there=frame.notna().to_numpy().T,
    )


def pack(presence: Presence) -> bytes:
    """Shape and bits, compressed."""
    homes, intervals = presence.is_there.shape
    shape: bytes = homes.to_bytes(4, "big") + intervals.to_bytes(4, "big")
    packed = zlib.compress(np.packbits(presence.is_there).tobytes(), level=6)
    return shape + packed


def unpack(packed: bytes, *, households: tuple[str, ...], start: datetime, step_s: int) -> Presence:
    """Undo `pack`."""
    homes = int.from_bytes(packed[:4], "big")
    intervals = int.from_bytes(packed[4:8], "big")
    bits = np.frombuffer(zlib.decompress(packed[8:]), dtype=np.uint8)
    is_there = np.unpackbits(bits, count=homes * intervals).reshape(homes, intervals).astype(bool)
    return Presence(households=households, start=start, step_s=step_s, is_there=is_there)


def leave_out_late(now: Presence, earlier: Presence) -> tuple[Presence, frozenset[str]]:
    """Drop readings that an earlier release over the same time did not have.

    Returns:
        What is left, and the homes for which the two still differ over the shared time: readings
        that were erased since, or steps that cannot be compared.
    """
    shared = [home for home in now.households if home in set(earlier.households)]
    window = _overlap(now, earlier)
    if window is None:
        return now, frozenset(shared)
    begin, length, before = window
    rows_now = [now.households.index(home) for home in shared]
    rows_before = [earlier.households.index(home) for home in shared]
    is_there = now.is_there.copy()
    part = is_there[rows_now, begin : begin + length] & before[rows_before]
    is_there[rows_now, begin : begin + length] = part
    differs = (part != before[rows_before]).any(axis=1)
    kept = Presence(
        households=now.households, start=now.start, step_s=now.step_s, is_there=is_there
    )
    return kept, frozenset(home for home, other in zip(shared, differs, strict=True) if other)


def _overlap(now: Presence, earlier: Presence) -> tuple[int, int, NDArray[np.bool_]] | None:
    """First shared interval, how many, and what the earlier had of them, on the new step."""
    at_new_step = _at_step(earlier, now.step_s)
    step = timedelta(seconds=now.step_s)
    if at_new_step is None or (earlier.start - now.start) % step:
        return None
    offset = (earlier.start - now.start) // step
    begin = max(offset, 0)
    end = min(offset + at_new_step.shape[1], now.is_there.shape[1])
    return begin, end - begin, at_new_step[:, begin - offset : end - offset]


def _at_step(presence: Presence, step_s: int) -> NDArray[np.bool_] | None:
    """Presence on another step: a coarse reading is there if all its parts are."""
    is_there = presence.is_there
    if step_s % presence.step_s == 0:
        parts = step_s // presence.step_s
        if is_there.shape[1] % parts:
            return None
        whole = is_there.reshape(len(is_there), -1, parts)
        return cast("NDArray[np.bool_]", np.logical_and.reduce(whole, axis=2))
    if presence.step_s % step_s == 0:
        return is_there.repeat(presence.step_s // step_s, axis=1)
    return None
