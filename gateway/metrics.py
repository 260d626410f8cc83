"""Figures for machines, as Prometheus text, on this machine only. Counts and states, no readings."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.meters.source import MeterCondition
from gateway.outbox.figures import figures
from gateway.troubles import troubles

if TYPE_CHECKING:
    from gateway.daemon import Daemon

_REQUEST_S_MAX = 5.0
_PREFIX = "commonwatt_gateway"


def metrics_text(daemon: Daemon) -> str:
    """All figures in the Prometheus text format.

    Source: Prometheus exposition format 0.0.4.
    """
    return "".join(f"{line}\n" for line in _lines(daemon))


def _lines(daemon: Daemon) -> Iterator[str]:
    with daemon.store.reading() as connection:
        counted = figures(connection)
    yield from _one("readings_read_total", "counter", counted.readings_read)
    yield from _one("readings_withheld_total", "counter", counted.readings_withheld)
    yield f"# TYPE {_PREFIX}_withheld_total counter"
    for reason, intervals in sorted(counted.withheld_by_reason.items()):
        yield f'{_PREFIX}_withheld_total{{reason="{_escaped(reason)}"}} {intervals}'
    for name in ("kept", "accepted", "duplicate", "refused", "erased", "merged"):
        yield from _one(f"intervals_{name}_total", "counter", getattr(counted, name))
    yield from _one("intervals_waiting", "gauge", counted.waiting)
    yield from _one("intervals_in_memory", "gauge", daemon.pipeline.waiting_in_memory)
    yield from _one("clock_synchronised", "gauge", int(daemon.watch.is_synchronised()))
    yield from _one("paused", "gauge", int(daemon.store.fact("paused") is not None))
    yield from _one("log_fork", "gauge", int(daemon.store.fact("fork") is not None))
    yield from _one("loops_stuck", "gauge", len(daemon.progress.stuck()))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield from _one("cpu_seconds_total", "counter", round(usage.ru_utime + usage.ru_stime, 3))
    yield f"# TYPE {_PREFIX}_problem gauge"
    for problem in sorted(troubles(daemon)):
        yield f'{_PREFIX}_problem{{where="{_escaped(problem)}"}} 1'
    yield f"# TYPE {_PREFIX}_meter_ok gauge"
    for source in daemon.sources:
        for meter, health in sorted(source.health().meters.items()):
            fine = int(health.condition is MeterCondition.OK)
            yield f'{_PREFIX}_meter_ok{{meter="{_escaped(meter)}"}} {fine}'
    yield f"# TYPE {_PREFIX}_counter_verdicts_total counter"
    for (meter, quantity, verdict), times in sorted(daemon.pipeline.verdicts.items()):
        labels = f'meter="{_escaped(meter)}",quantity="{quantity}",verdict="{verdict}"'
        yield f"{_PREFIX}_counter_verdicts_total{{{labels}}} {times}"


def _one(name: str, kind: str, figure: float) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}_{name} {kind}"
    yield f"{_PREFIX}_{name} {figure}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class MetricsServer:
    """Answers every request with the figures. Listens on 127.0.0.1 and nowhere else."""

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
                await reader.readuntil(b"\r\n\r\n")
                body = metrics_text(self._daemon).encode()
                head = (
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n"
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
