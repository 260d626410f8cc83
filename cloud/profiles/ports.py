"""What the release of profiles needs from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cloud.transparency.usecases import Fact


class TransparencyLog(Protocol):
    """Where every release and refusal is written down."""

    def record(self, kind: str, facts: Mapping[str, Fact]) -> int:
        """Add an entry; nothing in `facts` may point to a person.

        Returns:
            The entry's index.
        """
        ...
