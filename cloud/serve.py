"""Running the application under uvicorn."""

from __future__ import annotations

import logging
import sys

import uvicorn

from cloud.app import create_app
from cloud.metrics import serve_metrics
from cloud.settings import Settings

KEEP_ALIVE_S = 30
GRACE_S = 10


def serve_forever(settings: Settings) -> None:
    """Serve until a signal comes; what was accepted is finished first."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port)
    app = create_app(settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
