"""How long to wait before the next try, so that a thousand homes do not come back at once."""

from __future__ import annotations

import random
from collections.abc import Callable

_SHORTEST_S = 1.0
LONGEST_S = 900.0
PAUSE_S_MAX = 2 * LONGEST_S
"""The longest pause there is: what a server asks for, and as much of our own [s]."""


class Backoff:
    """Exponential back-off with full jitter, from 1 s to 15 min.

    Args:
        draw: Draws a number from a range; random unless a test says otherwise.

    Source: the full-jitter rule of M. Brooker, "Exponential Backoff And Jitter" (2015).
    """

    def __init__(self, draw: Callable[[float, float], float] | None = None) -> None:
        """Begin without a failure."""
        self._draw = draw or random.SystemRandom().uniform
        self._failures = 0

    def reset(self) -> None:
        """Note that it worked."""
        self._failures = 0

    def next_s(self, retry_after_s: float | None = None) -> float:
        """How long to wait after one more failure [s].

        Args:
            retry_after_s: What the server asked for [s]; waited at least, up to 15 min.
        """
        ceiling_s = min(LONGEST_S, _SHORTEST_S * 2.0 ** min(self._failures, 20))
        self._failures += 1
        asked_s = min(retry_after_s or 0.0, LONGEST_S)
        return asked_s + max(0.1, self._draw(0.0, ceiling_s))
