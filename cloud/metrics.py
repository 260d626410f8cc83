"""Figures for operators, on a port of their own that only this machine can reach.

They count requests and intervals; no label names a person, a home or a gateway.
"""

from __future__ import annotations

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


def serve_metrics(port: int) -> None:
    """Serve `/metrics` on loopback in a thread of its own."""
    start_http_server(port, addr="127.0.0.1", registry=REGISTRY)
