"""Figures for operators, on a port of their own that only this machine can reach.

They count requests and intervals; no label names a person, a home or a gateway.
"""

from __future__ import annotations

import functools

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "commonwatt_requests_total",
    "Requests answered, by route and status",
    ["method", "route", "status"],
    registry=REGISTRY,
)
DURATION_S = Histogram(
    "commonwatt_request_duration_seconds",
    "Time until a request was answered [s]",
    ["route"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
INTERVALS = Counter(
    "commonwatt_ingest_intervals_total",
    "Intervals answered, by outcome",
    ["outcome"],
    registry=REGISTRY,
)

CHAIN_BREAKS = Counter(
    "commonwatt_ingest_chain_breaks_total",
    "Parts of streams that did not come after the part before: missing, forked or reused",
    ["kind"],
    registry=REGISTRY,
)


ACCEPTED = INTERVALS.labels("accepted")
DUPLICATE = INTERVALS.labels("duplicate")
REFUSED = INTERVALS.labels("refused")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
"""Stands for any other method, so that nobody can make labels up."""


@functools.cache
def _request_figures(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, str(status)), DURATION_S.labels(route)


def count_request(method: str, route: str, status: int, duration_s: float) -> None:
    """Count a request that was answered.

    Args:
        method: As asked.
        route: Pattern of its path.
        status: HTTP status of the answer; 0 if there was none.
        duration_s: Time until it was answered [s].
    """
    figures = _request_figures(method if method in METHODS else OTHER, route, status)
    figures[0].inc()
    figures[1].observe(duration_s)


def serve_metrics(port: int) -> None:
    """Serve `/metrics` on loopback in a thread of its own."""
    start_http_server(port, addr="127.0.0.1", registry=REGISTRY)
