"""Something told while the gateways read on."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cloud.demo.processes import DemoFault

TIMEOUT_S = 180.0


class Aside:
    """Runs an act in a thread of its own.

    Args:
        act: What to do.
    """

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="aside")
        self._thread.start()

    def join(self) -> None:
        """Wait for it.

        Raises:
            Exception: What went wrong in it.
        """
        self._thread.join(TIMEOUT_S)
        if self._fault is not None:
            raise self._fault
        if self._thread.is_alive():
            raise DemoFault(f"an act took longer than {TIMEOUT_S:.0f} s")

    def _run(self) -> None:
        try:
            self._act()
        except Exception as fault:  # noqa: BLE001 - kept, and raised again by join()
            self._fault = fault
