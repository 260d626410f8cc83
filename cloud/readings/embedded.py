"""The store that needs no server: a SQLite inbox, Parquet files, DuckDB for questions."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

from cloud.errors import StoreClosed, StoreLocked
from cloud.readings.compaction import Compaction
from cloud.readings.inbox import QUEUE_MAX, Inbox
from cloud.readings.mirror_feed import MirrorFeed
from cloud.readings.ports import CheckedBatch, Compacted, Erased, Expired
from cloud.readings.reader import CATALOGUE_FILE, StoreReader
from gateway.wire.batch import BatchAnswer
from gateway.wire.reading import StreamKey

LOCK_FILE = "lock"


class EmbeddedStore(StoreReader):
    """Readings in one folder, written by one process.

    Args:
        folder: Where; made if it is not there.
        queue_max: Batches that may wait to be written.
        is_mirrored: Keep what was compacted until `mirror_feed` was told that it was sent.
        on_step: Called with the name of each step of compaction and erasure; the crash tests
            stop there.

    Raises:
        StoreLocked: Another process writes to this folder.
        StoreDamaged: The folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        *,
        queue_max: int = QUEUE_MAX,
        is_mirrored: bool = False,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock_folder(folder)
        try:
            self._inbox = Inbox(folder / CATALOGUE_FILE, queue_max=queue_max)
        except BaseException:
            os.close(self._lock)
            raise
        super().__init__(folder)
        self._closing = threading.Lock()
        self._compaction = Compaction(
            root=folder, inbox=self._inbox, leases=self._leases, on_step=on_step
        )
        try:
            self._feed = MirrorFeed(self._catalogue, self._inbox, is_wanted=is_mirrored)
            self._compaction.sweep()
        except BaseException:
            self.close()
            raise

    def append(self, checked: CheckedBatch) -> Future[BatchAnswer]:
        """See `ReadingStore.append`."""
        return self._inbox.append(checked)

    def erase(self, household: str, *, stream: StreamKey | None = None) -> Erased:
        """See `ReadingStore.erase`."""
        self._require_open()
        return self._compaction.erase(household, stream=stream)

    def expire(self, cutoffs: Mapping[tuple[str, StreamKey], datetime]) -> Expired:
        """See `ReadingStore.expire`."""
        self._require_open()
        return self._compaction.expire(cutoffs)

    def compact(self) -> Compacted:
        """See `ReadingStore.compact`."""
        self._require_open()
        return self._compaction.compact()

    def _require_open(self) -> None:
        if self._is_closed:
            raise StoreClosed

    @property
    def mirror_feed(self) -> MirrorFeed:
        """What a mirror reads from; only useful with `is_mirrored`."""
        return self._feed

    def close(self) -> None:
        """See `ReadingStore.close`."""
        with self._closing:
            if self._is_closed:
                return
            super().close()
        self._compaction.close()
        self._inbox.close()
        os.close(self._lock)


def _lock_folder(folder: Path) -> int:
    handle = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise StoreLocked(folder=str(folder)) from None
    return handle
