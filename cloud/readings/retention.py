"""Letting go of readings when the time the home agreed to is over."""

from __future__ import annotations

from datetime import datetime, timedelta

from cloud.consents.usecases import grants_of
from cloud.database import Database
from cloud.members.repository import all_households
from cloud.readings.ports import Expired, ReadingStore
from gateway.wire.reading import StreamKey


def expire_readings(database: Database, store: ReadingStore, now: datetime) -> Expired:
    """Remove every reading that is older than its consent lets it be kept.

    A stream follows the longest retention among the consents of its purpose, dead ones included:
    what a withdrawal removes, and when, is decided by the erasure and not here. A stream without
    any consent on record is left alone.

    Args:
        database: Where consents are.
        store: Where readings are.
        now: The clock.
    """
    cutoffs: dict[tuple[str, StreamKey], datetime] = {}
    with database.reading() as connection:
        homes = all_households(connection)
        days = {
            (home.household, grant.terms.purpose): grant.terms.retention_days
            for home in homes
            for grant in sorted(
                grants_of(connection, home.household).values(),
                key=lambda grant: grant.terms.retention_days,
            )
        }
    for home in homes:
        for stream in store.streams(home.household):
            kept_days = days.get((home.household, stream.purpose))
            if kept_days is not None:
                cutoffs[home.household, stream] = now - timedelta(days=kept_days)
    return store.expire(cutoffs)
