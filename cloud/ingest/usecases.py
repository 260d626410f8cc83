"""Letting a batch in: signature, gateway, grants, clock; then the store, which makes it durable."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from cloud.consents.standing import Standing
from cloud.consents.usecases import standing_of
from cloud.database import Database
from cloud.errors import GatewayRevoked, UnknownGateway
from cloud.gateways.repository import gateways
from cloud.gateways.usecases import SignedRequest
from cloud.ingest.checks import admissible_gaps, check_parts
from cloud.members.repository import households
from cloud.readings.ports import CheckedBatch, ReadingStore
from gateway.wire.batch import BatchAnswer
from gateway.wire.codec import decode_batch
from gateway.wire.errors import MalformedMessage
from gateway.wire.signing import DOMAIN_BATCH, check_signature

HOMES_REMEMBERED = 20_000
"""Homes whose folded consents are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent a batch, as the database says at this moment.

    Args:
        gateway: Key id.
        public_key: Raw key.
        household: Pseudonym of the home.
        consent_events: How many consent events of the home are on record.
    """

    gateway: str
    public_key: bytes
    household: str
    consent_events: int


class IngestDoor:
    """Checks batches and hands them to the store.

    The sender and the number of its consent events are read anew for every batch, so a withdrawal
    or a revocation counts from its commit on; only the folding of unchanged events is remembered.

    Args:
        database: Where gateways and consents are.
        store: Where readings go.
    """

    def __init__(self, database: Database, store: ReadingStore) -> None:
        self._database = database
        self._store = store
        self._standings: OrderedDict[str, tuple[int, Standing]] = OrderedDict()
        self._lock = threading.Lock()

    def take_batch(self, request: SignedRequest, now: datetime) -> Future[BatchAnswer]:
        """Check a batch and hand it to the store.

        Args:
            request: As it arrived, unpacked.
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
        with self._database.reading() as connection:
            sender = find_sender(connection, request.key_id)
            check_signature(sender.public_key, DOMAIN_BATCH, request.payload, request.signature)
            standing = self._standing_of(connection, sender)
        batch = decode_batch(request.payload)
        if batch.gateway != sender.gateway:
            raise MalformedMessage(kind="Batch", problem="it names another gateway than it signs")
        return self._store.append(
            CheckedBatch(
                household=sender.household,
                gateway=sender.gateway,
                seq=batch.seq,
                payload=request.payload,
                signature=request.signature,
                received_at=now,
                parts=check_parts(batch, standing, now),
                gaps=admissible_gaps(batch, standing),
            )
        )

    def _standing_of(self, connection: Connection, sender: Sender) -> Standing:
        with self._lock:
            known = self._standings.get(sender.household)
            if known is not None and known[0] == sender.consent_events:
                self._standings.move_to_end(sender.household)
                return known[1]
        standing = standing_of(connection, sender.household)
        with self._lock:
            self._standings[sender.household] = (sender.consent_events, standing)
            while len(self._standings) > HOMES_REMEMBERED:
                self._standings.popitem(last=False)
        return standing


def find_sender(connection: Connection, key_id: str) -> Sender:
    """Find who a key belongs to.

    Raises:
        UnknownGateway: No such key.
        GatewayRevoked: It counts no more, or the home was erased.
    """
    row = connection.execute(
        select(
            gateways.c.public_key,
            gateways.c.household,
            gateways.c.revoked_at,
            households.c.consent_events,
            households.c.erased_at,
        )
        .join(households, households.c.household == gateways.c.household)
        .where(gateways.c.gateway == key_id)
    ).one_or_none()
    if row is None:
        raise UnknownGateway(key_id=key_id)
    if row.revoked_at is not None or row.erased_at is not None:
        raise GatewayRevoked(key_id=key_id)
    return Sender(
        gateway=key_id,
        public_key=bytes(row.public_key),
        household=row.household,
        consent_events=row.consent_events,
    )
