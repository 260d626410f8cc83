"""The fake co-op behind a real HTTP server on a free port, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.errors import CloudRefused, CloudUnreachable
from gateway.wire import codec
from gateway.wire.record import WireRecord
from gateway.wire.session import (
    PATH_BATCHES,
    PATH_PAIR,
    PATH_SYNC,
    PairRequest,
    SyncRequest,
)
from gateway.wire.signing import (
    DOMAIN_BATCH,
    DOMAIN_PAIR,
    DOMAIN_SYNC,
    HEADER_SIGNATURE,
    check_signature,
    public_key_from_text,
)
from tests.gateway.fake_coop import FakeCoop


class CoopServer:
    """Answers a gateway over HTTP. `captured` holds every body as it came, unpacked and not."""

    def __init__(self, coop: FakeCoop, now: Callable[[], datetime]) -> None:
        self.coop = coop
        self._now = now
        self.captured: list[bytes] = []
        self.app = Starlette(
            routes=[
                Route(PATH_PAIR, self._pair, methods=["POST"]),
                Route(PATH_SYNC, self._sync, methods=["POST"]),
                Route(PATH_BATCHES, self._batches, methods=["POST"]),
            ]
        )

    async def _pair(self, request: Request) -> Response:
        payload = await self._body(request)
        said = codec.decode(payload, PairRequest)
        self._check(request, public_key_from_text(said.public_key), DOMAIN_PAIR, payload)
        return await _answer(lambda: self.coop.pair(said))

    async def _sync(self, request: Request) -> Response:
        payload = await self._body(request)
        self._check(request, self.coop.gateway_key, DOMAIN_SYNC, payload)
        return await _answer(lambda: self.coop.sync(codec.decode(payload, SyncRequest)))

    async def _batches(self, request: Request) -> Response:
        payload = await self._body(request)
        self._check(request, self.coop.gateway_key, DOMAIN_BATCH, payload)
        return await _answer(lambda: self.coop.send(payload))

    async def _body(self, request: Request) -> bytes:
        self.coop.now = self._now()
        body = await request.body()
        payload = codec.decompress(body)
        self.captured += [body, payload]
        return payload

    def _check(self, request: Request, key: bytes, domain: str, payload: bytes) -> None:
        check_signature(key, domain, payload, request.headers[HEADER_SIGNATURE])


async def _answer(ask: Callable[[], Awaitable[WireRecord]]) -> Response:
    try:
        return Response(codec.encode(await ask()), media_type="application/json")
    except CloudUnreachable:
        return Response(status_code=503)
    except CloudRefused as fault:
        return JSONResponse({"detail": fault.problem}, status_code=fault.status)


@contextmanager
def serving(
    coop: FakeCoop, now: Callable[[], datetime] | None = None
) -> Iterator[tuple[CoopServer, str]]:
    """Serve a fake co-op by the machine's clock or another; yields the server and its address."""
    server = CoopServer(coop, now or (lambda: datetime.now(tz=UTC)))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(server.app, log_level="error", lifespan="off")
    running = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(running.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    try:
        while not running.started:
            time.sleep(0.01)
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(timeout=10)
        listener.close()
