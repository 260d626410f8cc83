"""Figures for machines, as Prometheus text, on this machine only. Counts and states, no readings."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.meters.source import MeterCondition
from gateway.outbox.figures import figures
from gateway.troubles import meters, troubles

if TYPE_CHECKING:
    from gateway.daemon import Daemon

_REQUEST_S_MAX = 5.0
_PREFIX = "commonwatt_gateway"


def metrics_text(daemon: Daemon) -> str:
    """All figures in the Prometheus text format.

    Source: Prometheus exposition format 0.0.4.
    """
    return "".join(f"{line}\n" for line in _lines(daemon))


_HELP = {
    "readings_read_total": "Base intervals that came from the counters.",
    "readings_withheld_total": "Base intervals that no stream took.",
    "withheld_total": "Base intervals withheld, by reason.",
    "intervals_kept_total": "Intervals written to the outbox.",
    "intervals_accepted_total": "Intervals the co-op stored for the first time.",
    "intervals_duplicate_total": "Intervals the co-op had already.",
    "intervals_refused_total": "Intervals the co-op refused.",
    "intervals_erased_total": "Intervals erased unsent.",
    "intervals_merged_total": "Intervals that went into coarser ones to save room.",
    "intervals_waiting": "Intervals not yet acknowledged.",
    "intervals_in_memory": "Intervals not yet on disk.",
    "last_sent_timestamp_seconds": "When a batch was last acknowledged.",
    "clock_synchronised": "Whether the time of day can be believed.",
    "paused": "Whether the household paused sending.",
    "log_fork": "Whether the co-op's log contradicted itself.",
    "loops_stuck": "Loops past their deadline; the watchdog is not fed while there are any.",
    "cpu_seconds_total": "Processor time used.",
    "problem": "What is wrong now, by place; see coop-gateway status.",
    "meter_ok": "Whether a meter answers.",
    "meter_last_heard_timestamp_seconds": "When a meter was last heard.",
    "source_dropped_total": "Messages lost because they came faster than they could be taken in.",
    "counter_verdicts_total": "What was made of counter readings.",
}


def _lines(daemon: Daemon) -> Iterator[str]:
    # A disk that cannot be read must not hide what is wrong: the rest is still told.
    with contextlib.suppress(sqlite3.Error):
        yield from list(_stored_lines(daemon))
    yield from _one("intervals_in_memory", daemon.pipeline.waiting_in_memory)
    yield from _one("clock_synchronised", int(daemon.watch.is_synchronised()))
    yield from _one("loops_stuck", len(daemon.progress.stuck()))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield from _one("cpu_seconds_total", round(usage.ru_utime + usage.ru_stime, 3))
    yield from _head("problem")
    for problem in sorted(troubles(daemon)):
        yield f'{_PREFIX}_problem{{where="{_escaped(problem)}"}} 1'
    yield from _meter_lines(daemon)
    yield from _head("counter_verdicts_total")
    for (meter, quantity, verdict), times in sorted(daemon.pipeline.verdicts.items()):
        labels = f'meter="{_escaped(meter)}",quantity="{quantity}",verdict="{verdict}"'
        yield f"{_PREFIX}_counter_verdicts_total{{{labels}}} {times}"


def _stored_lines(daemon: Daemon) -> Iterator[str]:
    with daemon.store.reading() as connection:
        counted = figures(connection)
    yield from _one("readings_read_total", counted.readings_read)
    yield from _one("readings_withheld_total", counted.readings_withheld)
    yield from _head("withheld_total")
    for reason, intervals in sorted(counted.withheld_by_reason.items()):
        yield f'{_PREFIX}_withheld_total{{reason="{_escaped(reason)}"}} {intervals}'
    for name in ("kept", "accepted", "duplicate", "refused", "erased", "merged"):
        yield from _one(f"intervals_{name}_total", getattr(counted, name))
    yield from _one("intervals_waiting", counted.waiting)
    sent_at = daemon.store.fact("last_sent_at")
    if sent_at is not None:
        sent_s = round(datetime.fromisoformat(sent_at.decode()).timestamp())
        yield from _one("last_sent_timestamp_seconds", sent_s)
    yield from _one("paused", int(daemon.store.fact("paused") is not None))
    yield from _one("log_fork", int(daemon.store.fact("fork") is not None))


def _meter_lines(daemon: Daemon) -> Iterator[str]:
    known = sorted(meters(daemon).items())
    yield from _head("meter_ok")
    for meter, health in known:
        fine = int(health.condition is MeterCondition.OK)
        yield f'{_PREFIX}_meter_ok{{meter="{_escaped(meter)}"}} {fine}'
    yield from _head("meter_last_heard_timestamp_seconds")
    for meter, health in known:
        if health.last_ok_at is not None:
            heard_s = round(health.last_ok_at.timestamp())
            label = f'meter="{_escaped(meter)}"'
            yield f"{_PREFIX}_meter_last_heard_timestamp_seconds{{{label}}} {heard_s}"
    yield from _head("source_dropped_total")
    for source in daemon.sources:
        label = f'source="{_escaped(source.name)}"'
        yield f"{_PREFIX}_source_dropped_total{{{label}}} {source.health().dropped}"


def _head(name: str) -> Iterator[str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    yield f"# HELP {_PREFIX}_{name} {_HELP[name]}"
    yield f"# TYPE {_PREFIX}_{name} {kind}"


def _one(name: str, figure: float) -> Iterator[str]:
    yield from _head(name)
    yield f"{_PREFIX}_{name} {figure}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsServer:
    """Answers `/metrics` with the figures. Listens on 127.0.0.1 and nowhere else."""

    def __init__(self, daemon: Daemon) -> None:
        """Nothing is opened yet."""
        self._daemon = daemon

    async def serve(self) -> None:
        """Serve until cancelled."""
        port = self._daemon.settings.metrics.port
        server = await asyncio.start_server(self._answer, "127.0.0.1", port, limit=8_192)
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_S_MAX):
                asked = await reader.readuntil(b"\r\n\r\n")
                if asked.split(b" ")[:2] not in ([b"GET", b"/metrics"], [b"GET", b"/"]):
                    writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    await writer.drain()
                    return
                body = metrics_text(self._daemon).encode()
                head = (
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; "
                    "charset=utf-8\r\n"
                    f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
