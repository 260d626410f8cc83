"""The door for readings: plain ASGI, because it is asked far more often than all others together."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from cloud.gateways.signed_requests import read_signed
from cloud.ingest.senders import Senders
from cloud.ingest.usecases import take_batch
from cloud.metrics import ACCEPTED, DUPLICATE, REFUSED
from cloud.problem import FORESEEN, answer_foreseen
from cloud.readings.ports import ReadingStore
from cloud.services import Clock
from gateway.wire.batch import BatchAnswer
from gateway.wire.codec import encode
from gateway.wire.session import PATH_BATCHES
from gateway.wire.signing import DOMAIN_BATCH

INLINE_BYTES_MAX = 16 * 1024
"""Smaller payloads are checked on the spot: a hop to a thread would cost more than the checks."""

_Result = TypeVar("_Result")


class BatchDoor:
    """Takes batches. It answers 200 only after the store's commit.

    Args:
        senders: Knows gateways and what their homes agreed to.
        store: Where readings go.
        clock: Gives the time.
    """

    def __init__(self, senders: Senders, store: ReadingStore, clock: Clock) -> None:
        self._senders = senders
        self._store = store
        self._clock = clock
        self._homecoming: Homecoming[BatchAnswer] = Homecoming()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["commonwatt.route"] = PATH_BATCHES
        try:
            answer = await self._take(Request(scope, receive))
        except FORESEEN as fault:
            await answer_foreseen(Request(scope), fault)(scope, receive, send)
            return
        body = encode(answer)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _take(self, request: Request) -> BatchAnswer:
        signed = await read_signed(request, domain=DOMAIN_BATCH)
        take = partial(
            take_batch, signed, senders=self._senders, store=self._store, now=self._clock()
        )
        if self._senders.is_quick and len(signed.payload) <= INLINE_BYTES_MAX:
            stored = take()
        else:
            stored = await run_in_threadpool(take)
        answer = await self._homecoming.wait_for(stored)
        _count(answer)
        return answer


class Homecoming(Generic[_Result]):
    """Brings what another thread finished back to the event loop, many at a time.

    To wake the loop costs a system call and the interpreter's lock. A group commit finishes many
    batches at once, so the loop is woken for the first of them only and finds the others.
    """

    def __init__(self) -> None:
        self._arrived: deque[tuple[Future[_Result], asyncio.Future[_Result]]] = deque()
        self._is_called = False

    async def wait_for(self, stored: Future[_Result]) -> _Result:
        """Wait for the result of a future that any thread may finish."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[_Result] = loop.create_future()

        def arrive(done: Future[_Result]) -> None:
            self._arrived.append((done, waiting))
            if not self._is_called:
                self._is_called = True
                loop.call_soon_threadsafe(self._bring)

        stored.add_done_callback(arrive)
        return await waiting

    def _bring(self) -> None:
        # First, so that whatever arrives while the queue is emptied calls again.
        self._is_called = False
        while self._arrived:
            done, waiting = self._arrived.popleft()
            if waiting.done():
                continue
            if (fault := done.exception()) is not None:
                waiting.set_exception(fault)
            else:
                waiting.set_result(done.result())


def batches_route(door: BatchDoor) -> Route:
    """The door's place among the routes, so that other methods are refused there."""
    return Route(PATH_BATCHES, door, methods=["POST"], name="batches")


def _count(answer: BatchAnswer) -> None:
    for part in answer.parts:
        if part.accepted:
            ACCEPTED.inc(part.accepted)
        if part.duplicate:
            DUPLICATE.inc(part.duplicate)
        if part.refused:
            REFUSED.inc(len(part.refused))
