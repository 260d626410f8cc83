"""The door for readings: a plain Starlette route, because it is asked far more often than all others."""

from __future__ import annotations

import asyncio

from fastapi import Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from cloud.gateways.signed_requests import read_signed, wire_response
from cloud.ingest.usecases import IngestDoor
from cloud.services import Clock
from gateway.wire.batch import BatchAnswer
from gateway.wire.session import PATH_BATCHES
from gateway.wire.signing import DOMAIN_BATCH


def batches_route(door: IngestDoor, clock: Clock) -> Route:
    """The route that takes batches. It answers 200 only after the store's commit."""

    async def post_batch(request: Request) -> Response:
        signed = await read_signed(request, domain=DOMAIN_BATCH)
        stored = await run_in_threadpool(door.take_batch, signed, clock())
        answer: BatchAnswer = await asyncio.wrap_future(stored)
        return wire_response(answer)

    return Route(PATH_BATCHES, post_batch, methods=["POST"], name="batches")
