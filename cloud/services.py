"""What endpoints are given: built once in `cloud.app`, handed to each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request

from cloud.database import Database
from cloud.keys import CoopKeys
from cloud.rate_limit import RateLimits
from cloud.readings.ports import ReadingStore
from cloud.settings import Settings

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that is built once.

    Args:
        settings: As read at the start.
        database: Opens transactions.
        keys: The co-op's signing keys.
        clock: Gives the time; tests hand in their own.
        limits: Rate limits.
        store: Where readings become durable.
    """

    settings: Settings
    database: Database
    keys: CoopKeys
    clock: Clock
    limits: RateLimits
    store: ReadingStore


def services_of(request: Request) -> Services:
    """The services of the application that serves a request."""
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(services_of)]
"""`services: ServicesDep` in an endpoint."""
