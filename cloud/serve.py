"""Running the application under uvicorn."""

from __future__ import annotations

import logging
import socket
import sys

import uvicorn

from cloud.app import create_app
from cloud.errors import BadSetting
from cloud.metrics import serve_metrics
from cloud.settings import Settings

KEEP_ALIVE_S = 30
GRACE_S = 10
BACKLOG = 2048

log = logging.getLogger("commonwatt.serve")


def serve_forever(settings: Settings) -> None:
    """Serve until a signal comes; what was accepted is finished first.

    Raises:
        BadSetting: The address or port cannot be used.
    """
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    listening = _listen(settings.host, settings.port)
    try:
        if settings.metrics_port:
            serve_metrics(settings.metrics_port)
        config = uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        log.info("listening on http://%s:%d", *listening.getsockname()[:2])
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is opened, so that a second server touches nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as fault:
        raise BadSetting(
            f"{host}:{port}: {fault.strerror or fault}; choose another --host or --port"
        ) from fault
