"""A copy of the readings in InfluxDB 2.x, for Grafana and for raw ranges. Off by default.

The store does not depend on it: readings are acknowledged when they are in the inbox, and the
mirror follows. It sends at least once, and the same interval is the same point, so a second sending
overwrites the first. Some servers acknowledge before they are durable, so every reading is sent
again once, `REPLAY_WINDOW_S` later, and only then does the cursor move past it; after any failure
the mirror goes back to the cursor.

Points: measurement `readings`; tags `household`, `meter`, `quantity`, `purpose`, `epoch`; integer
fields `energy_wh`, `duration_s`, `quality` (0 measured, 1 estimated, 2 partial); time is the start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cloud.errors import BadSetting
from cloud.readings.mirror_feed import DueErasure, FeedChunk, MirrorFeed

REPLAY_WINDOW_S = 60.0
"""How long a reading that was sent is held ready to be sent again [s]."""

POINTS_PER_WRITE = 5_000
CHUNKS_PER_READ = 500
PAUSE_S = 1.0
BACKOFF_S_MAX = 60.0
TIMEOUT_MS = 10_000
RETRIES = 3

log = logging.getLogger("commonwatt.mirror")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorStatus:
    """How the mirror is doing.

    Attributes:
        points_sent: Points acknowledged by the server since the start, repeats included.
        sent_upto: Last chunk sent at least once.
        durable_upto: Last chunk that will not be sent again.
        failures: Writes that failed since the start.
        problem: Why the last write failed; empty when it did not.
        erasures_due: Erasures the server has not done yet.
    """

    points_sent: int
    sent_upto: int
    durable_upto: int
    failures: int
    problem: str
    erasures_due: int


class InfluxMirror:
    """Follows a feed in a thread of its own.

    Args:
        feed: Where readings come from.
        url: Address of the server.
        token: Token that may write.
        org: Organisation.
        bucket: Bucket.
        replay_window_s: See `REPLAY_WINDOW_S`.
        retries: How often the client tries one write again before the mirror begins anew.
        clock_s: A monotonic clock [s].

    Raises:
        BadSetting: The client library is not installed.
    """

    def __init__(
        self,
        feed: MirrorFeed,
        *,
        url: str,
        token: str,
        org: str,
        bucket: str,
        replay_window_s: float = REPLAY_WINDOW_S,
        retries: int = RETRIES,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._bucket = bucket
        self._org = org
        self._window_s = replay_window_s
        self._clock_s = clock_s
        self._client = _connect(url, token, org, retries)
        self._write_api = _synchronous(self._client)
        self._durable_upto = feed.cursor()
        self._sent_upto = self._durable_upto
        self._in_window: deque[tuple[float, int]] = deque()
        self._points_sent = self._failures = 0
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="readings-mirror", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def status(self) -> MirrorStatus:
        """Say how it is doing."""
        return MirrorStatus(
            points_sent=self._points_sent,
            sent_upto=self._sent_upto,
            durable_upto=self._durable_upto,
            failures=self._failures,
            problem=self._problem,
            erasures_due=len(self._feed.erasures()),
        )

    def close(self) -> None:
        """Stop; what is in the window is sent again at the next start."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._write_api.close()
        self._client.close()

    def step(self) -> bool:
        """Do what is due once: send what is new, send again what is old enough, forget.

        Returns:
            Whether the server took everything.
        """
        try:
            self._send_new()
            self._send_again()
        except Exception as fault:  # noqa: BLE001 - whatever the client raises, the mirror tries again
            # The server may have lost what it acknowledged just before; begin at the cursor.
            self._sent_upto = self._durable_upto
            self._in_window.clear()
            return self._note(fault)
        try:
            self._forget_what_is_due()
        except Exception as fault:  # noqa: BLE001 - a server that cannot delete still gets readings
            return self._note(fault)
        self._problem = ""
        return True

    def _note(self, fault: Exception) -> bool:
        self._failures += 1
        self._problem = " ".join(str(fault).split())[:300] or type(fault).__name__
        log.warning("the InfluxDB mirror waits: %s", self._problem)
        return False

    def _follow(self) -> None:
        backoff_s = PAUSE_S
        while not self._stop.is_set():
            backoff_s = PAUSE_S if self.step() else min(backoff_s * 2, BACKOFF_S_MAX)
            self._stop.wait(backoff_s)

    def _send_new(self) -> None:
        while not self._stop.is_set():
            chunks = self._feed.chunks_after(self._sent_upto, limit=CHUNKS_PER_READ)
            if not chunks:
                return
            self._write(chunks)
            self._sent_upto = chunks[-1].number
            self._in_window.append((self._clock_s(), self._sent_upto))

    def _send_again(self) -> None:
        while self._in_window and not self._stop.is_set():
            sent_at_s, upto = self._in_window[0]
            if self._clock_s() - sent_at_s < self._window_s:
                return
            after = self._durable_upto
            while chunks := self._feed.chunks_after(after, upto=upto, limit=CHUNKS_PER_READ):
                self._write(chunks)
                after = chunks[-1].number
            self._feed.advance(upto)
            self._durable_upto = upto
            self._in_window.popleft()

    def _write(self, chunks: Sequence[FeedChunk]) -> None:
        lines: list[str] = []
        for line in _lines(chunks):
            lines.append(line)
            if len(lines) == POINTS_PER_WRITE:
                self._send(lines)
                lines = []
        if lines:
            self._send(lines)

    def _send(self, lines: list[str]) -> None:
        self._write_api.write(
            bucket=self._bucket, org=self._org, record="\n".join(lines), write_precision="us"
        )
        self._points_sent += len(lines)

    def _forget_what_is_due(self) -> None:
        for due in self._feed.erasures():
            self._client.delete_api().delete(
                start=datetime(1970, 1, 1, tzinfo=UTC),
                stop=datetime(2200, 1, 1, tzinfo=UTC),
                predicate=_predicate(due),
                bucket=self._bucket,
                org=self._org,
            )
            self._feed.erased(due.number)


def _connect(url: str, token: str, org: str, retries_max: int) -> Any:
    try:
        from influxdb_client.client.influxdb_client import (  # noqa: PLC0415 - an optional extra
            InfluxDBClient,
        )
        from influxdb_client.client.write.retry import WritesRetry  # noqa: PLC0415 - the same
    except ImportError as fault:
        raise BadSetting(
            "influx.url is set, but influxdb-client is not installed; install commonwatt[influx]"
        ) from fault
    retries = WritesRetry(
        total=retries_max, retry_interval=1, exponential_base=2, max_retry_time=15
    )
    return InfluxDBClient(
        url=url, token=token, org=org, enable_gzip=True, timeout=TIMEOUT_MS, retries=retries
    )


def _synchronous(client: Any) -> Any:
    from influxdb_client.client.write_api import SYNCHRONOUS  # noqa: PLC0415 - an optional extra

    return client.write_api(write_options=SYNCHRONOUS)


def _lines(chunks: Sequence[FeedChunk]) -> Iterator[str]:
    """Line protocol, one line per interval.

    Source: InfluxDB 2 line protocol reference (escapes of tag values).
    """
    for chunk in chunks:
        key = chunk.stream
        head = (
            f"readings,epoch={chunk.epoch},household={_escaped(chunk.household)}"
            f",meter={_escaped(key.meter)},purpose={key.purpose},quantity={key.quantity}"
        )
        for start_us, end_us, energy_wh, quality in chunk.rows:
            duration_s = (end_us - start_us) // 1_000_000
            yield (
                f"{head} energy_wh={energy_wh}i,duration_s={duration_s}i,quality={quality}i"
                f" {start_us}"
            )


def _escaped(tag: str) -> str:
    for special in ("\\", ",", "=", " "):
        tag = tag.replace(special, "\\" + special)
    return tag.replace("\n", "\\ ")


def _predicate(due: DueErasure) -> str:
    wanted = {"household": due.household}
    if due.stream is not None:
        wanted |= {
            "meter": due.stream.meter,
            "quantity": due.stream.quantity.value,
            "purpose": due.stream.purpose.value,
        }
    quoted = {name: text.replace("\\", "\\\\").replace('"', '\\"') for name, text in wanted.items()}
    return " AND ".join(f'{name}="{text}"' for name, text in quoted.items())
