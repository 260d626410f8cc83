"""The door for readings: a plain Starlette route, because it is asked far more often than all others."""

from __future__ import annotations

import asyncio
from functools import partial

from fastapi import Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from cloud.gateways.signed_requests import read_signed, wire_response
from cloud.ingest.senders import Senders
from cloud.ingest.usecases import take_batch
from cloud.metrics import INTERVALS
from cloud.readings.ports import ReadingStore
from cloud.services import Clock
from gateway.wire.batch import BatchAnswer
from gateway.wire.session import PATH_BATCHES
from gateway.wire.signing import DOMAIN_BATCH

INLINE_BYTES_MAX = 16 * 1024
"""Smaller payloads are checked on the spot: a hop to a thread would cost more than the checks."""


def batches_route(senders: Senders, store: ReadingStore, clock: Clock) -> Route:
    """The route that takes batches. It answers 200 only after the store's commit."""

    async def post_batch(request: Request) -> Response:
        request.scope["commonwatt.route"] = PATH_BATCHES
        signed = await read_signed(request, domain=DOMAIN_BATCH)
        take = partial(take_batch, signed, senders=senders, store=store, now=clock())
        if senders.is_quick and len(signed.payload) <= INLINE_BYTES_MAX:
            stored = take()
        else:
            stored = await run_in_threadpool(take)
        answer: BatchAnswer = await asyncio.wrap_future(stored)
        _count(answer)
        return wire_response(answer)

    return Route(PATH_BATCHES, post_batch, methods=["POST"], name="batches")


def _count(answer: BatchAnswer) -> None:
    for part in answer.parts:
        INTERVALS.labels("accepted").inc(part.accepted)
        INTERVALS.labels("duplicate").inc(part.duplicate)
        INTERVALS.labels("refused").inc(len(part.refused))
