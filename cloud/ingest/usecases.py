"""Letting a batch in: signature, gateway, grants, clock; then the store, which makes it durable."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import datetime

from cloud.gateways.usecases import SignedRequest
from cloud.ingest.checks import admissible_gaps, check_parts, read_batch
from cloud.ingest.senders import Senders
from cloud.readings.ports import CheckedBatch, ReadingStore
from gateway.wire.batch import BatchAnswer
from gateway.wire.errors import MalformedMessage
from gateway.wire.signing import DOMAIN_BATCH, check_signature


def take_batch(
    request: SignedRequest, *, senders: Senders, store: ReadingStore, now: datetime
) -> Future[BatchAnswer]:
    """Check a batch and hand it to the store.

    Args:
        request: As it arrived, unpacked.
        senders: Knows gateways and what their homes agreed to.
        store: Where readings go.
        now: The cloud's clock.

    Returns:
        The acknowledgement, once the batch is on disk.

    Raises:
        UnknownGateway: No such key.
        GatewayRevoked: The key counts no more.
        BadSignature: Not signed by this key.
        MalformedMessage: No batch, or another gateway's.
        MessageTooLarge: More than the contract takes.
        StoreUnavailable: The store takes nothing now.
    """
    sender = senders.find(request.key_id)
    check_signature(sender.public_key, DOMAIN_BATCH, request.payload, request.signature)
    batch = read_batch(request.payload)
    if batch.gateway != sender.gateway:
        raise MalformedMessage(kind="Batch", problem="it names another gateway than it signs")
    return store.append(
        CheckedBatch(
            household=sender.household,
            gateway=sender.gateway,
            seq=batch.seq,
            payload=request.payload,
            signature=request.signature,
            received_at=now,
            parts=check_parts(batch, sender.standing, now),
            gaps=admissible_gaps(batch, sender.standing),
        )
    )
