"""What a mirror has yet to be sent, with a cursor that survives restarts."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cloud.readings import catalogue
from cloud.readings.columns import unpack
from cloud.readings.inbox import Inbox
from gateway.wire.reading import Purpose, Quantity, StreamKey

IS_MIRRORED = "is_mirrored"
MIRRORED_UPTO = "mirrored_upto"

CHUNKS_KEPT_FOR_MIRROR_MAX = 2_000_000
"""Chunks kept for a mirror that does not answer; older ones are only in the Parquet files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedChunk:
    """Intervals of one stream and epoch, as they came in one batch.

    Attributes:
        number: Its place in the feed; rises.
        household: Whose.
        stream: Which stream.
        epoch: Life of the counter.
        rows: Start [µs since 1970], end [µs since 1970], energy [Wh], quality code.
    """

    number: int
    household: str
    stream: StreamKey
    epoch: int
    rows: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DueErasure:
    """What a mirror must forget: a home, or one stream of it."""

    number: int
    household: str
    stream: StreamKey | None


class MirrorFeed:
    """The inbox as a mirror sees it.

    Args:
        path: The catalogue.
        inbox: Writes the cursor.
        is_wanted: Whether anything shall be kept for a mirror.
    """

    def __init__(self, path: Path, inbox: Inbox, *, is_wanted: bool) -> None:
        self._path = path
        self._inbox = inbox
        inbox.run(lambda connection: _switch(connection, is_wanted=is_wanted))

    def cursor(self) -> int:
        """The last chunk that was sent for good."""
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            return catalogue.setting(connection, MIRRORED_UPTO)

    def advance(self, number: int) -> None:
        """Say that all chunks up to this one were sent for good; compacted ones are let go."""

        def write(connection: sqlite3.Connection) -> None:
            catalogue.set_setting(connection, MIRRORED_UPTO, number)
            compacted = catalogue.setting(connection, "compacted_upto")
            connection.execute("DELETE FROM chunk WHERE id <= ?", (min(number, compacted),))

        self._inbox.run(write)

    def chunks_after(self, number: int, *, upto: int | None = None, limit: int) -> list[FeedChunk]:
        """The next chunks in order, at most `limit`, up to a place if one is given."""
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            rows = connection.execute(
                "SELECT chunk.id, household, meter, quantity, purpose, epoch, intervals, packed"
                " FROM chunk JOIN stream ON stream.id = chunk.stream"
                " WHERE chunk.id > :number AND (:upto IS NULL OR chunk.id <= :upto)"
                " ORDER BY chunk.id LIMIT :limit",
                {"number": number, "upto": upto, "limit": limit},
            ).fetchall()
        return [_feed_chunk(row) for row in rows]

    def erasures(self) -> list[DueErasure]:
        """What the mirror has yet to forget."""
        with closing(catalogue.open_catalogue(self._path, read_only=True)) as connection:
            rows = connection.execute(
                "SELECT id, household, meter, quantity, purpose FROM mirror_erasure ORDER BY id"
            ).fetchall()
        return [
            DueErasure(
                number=number,
                household=household,
                stream=None if meter is None else _key(meter, quantity, purpose),
            )
            for number, household, meter, quantity, purpose in rows
        ]

    def erased(self, number: int) -> None:
        """Say that the mirror forgot."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM mirror_erasure WHERE id = ?", (number,))

        self._inbox.run(write)


def _switch(connection: sqlite3.Connection, *, is_wanted: bool) -> None:
    """Begin a mirror with what is in the inbox; end one by letting go of what was kept for it."""
    compacted = catalogue.setting(connection, "compacted_upto")
    was_wanted = bool(catalogue.setting(connection, IS_MIRRORED))
    if is_wanted and not was_wanted:
        catalogue.set_setting(connection, MIRRORED_UPTO, compacted)
    if was_wanted and not is_wanted:
        connection.execute("DELETE FROM chunk WHERE id <= ?", (compacted,))
    if is_wanted != was_wanted:
        catalogue.set_setting(connection, IS_MIRRORED, int(is_wanted))


def _feed_chunk(row: tuple[int, str, str, str, str, int, int, bytes]) -> FeedChunk:
    number, household, meter, quantity, purpose, epoch, intervals, packed = row
    numbers, quality = unpack(packed, intervals)
    columns = (*(column.tolist() for column in numbers), quality.tolist())
    return FeedChunk(
        number=number,
        household=household,
        stream=_key(meter, quantity, purpose),
        epoch=epoch,
        rows=tuple(zip(*columns, strict=True)),
    )


def _key(meter: str, quantity: str, purpose: str) -> StreamKey:
    return StreamKey(meter=meter, quantity=Quantity(quantity), purpose=Purpose(purpose))
