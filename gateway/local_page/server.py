"""Serving the page in the gateway's own event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.local_page.app import LocalPage
from gateway.local_page.lean_uvicorn import uvicorn

if TYPE_CHECKING:
    from gateway.daemon import Daemon


class QuietServer(uvicorn.Server):
    """A server that leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def page_server(daemon: Daemon) -> QuietServer:
    """Make the server of the local page; `await server.serve()` runs it."""
    page = daemon.settings.local_page
    config = uvicorn.Config(
        LocalPage(daemon).app(),
        host=page.host,
        port=page.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=32,
        timeout_keep_alive=5,
        h11_max_incomplete_event_size=16_384,
        ws="none",
        loop="asyncio",
        http="h11",
    )
    return QuietServer(config)
