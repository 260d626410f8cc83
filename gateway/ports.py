"""What the inner parts of the gateway ask of the outside world."""

from __future__ import annotations

from typing import Protocol

from gateway.wire.batch import BatchAnswer
from gateway.wire.session import PairAnswer, PairRequest, RotateRequest, SyncAnswer, SyncRequest


class CloudLink(Protocol):
    """The way to the co-op's server.

    Every method raises `CloudUnreachable` if there is no answer, and `CloudRefused` if the
    server says no.
    """

    async def pair(self, request: PairRequest) -> PairAnswer:
        """Ask to be bound to a household."""

    async def sync(self, request: SyncRequest) -> SyncAnswer:
        """Exchange consents and a proof of the log."""

    async def send(self, payload: bytes) -> BatchAnswer:
        """Send a sealed batch, as these exact bytes."""

    async def rotate(self, request: RotateRequest) -> None:
        """Tell that a new key takes over."""


class Served(Protocol):
    """Something that serves until it is cancelled."""

    async def serve(self) -> None:
        """Serve."""
