"""Who still reads which files: a file may go when nobody who could know it is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Leases:
    """Counts readers by the generation of files they saw."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._generation = 0
        self._readers: dict[int, int] = {}

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep every file that is live now until the block ends."""
        with self._changed:
            generation = self._generation
            self._readers[generation] = self._readers.get(generation, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._readers[generation] -= 1
                if not self._readers[generation]:
                    del self._readers[generation]
                self._changed.notify_all()

    def turn(self) -> int:
        """Begin a new generation after files were replaced; returns the one that ended."""
        with self._changed:
            ended = self._generation
            self._generation += 1
            return ended

    def wait_until_unread(self, generation: int, *, timeout_s: float) -> bool:
        """Wait until no reader of this generation or an older one is left."""

        def nobody_left() -> bool:
            return not any(held <= generation for held in self._readers)

        with self._changed:
            return self._changed.wait_for(nobody_left, timeout=timeout_s)
