"""Who sends, and what their home agreed to: remembered for as long as nothing was committed.

Asking the database for every batch would cost more than all other checks together. SQLite says in
microseconds whether anybody, in this process or another, has committed since; if so, everything
remembered is forgotten. So a withdrawal or a revocation counts from its commit on. PostgreSQL has
no such question, and is asked for the sender of each batch.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud.consents.standing import Standing
from cloud.consents.usecases import standing_of
from cloud.database import Database
from cloud.errors import GatewayRevoked, UnknownGateway
from cloud.gateways.repository import gateways
from cloud.members.repository import households

SENDERS_REMEMBERED = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent a batch, as the database says at this moment.

    Args:
        gateway: Key id.
        public_key: Raw key.
        household: Pseudonym of the home.
        standing: All that the home agreed to.
    """

    gateway: str
    public_key: bytes
    household: str
    standing: Standing


class Senders:
    """Looks senders up.

    Args:
        database: Where gateways and consents are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changes = database.watch_changes()
        self._lock = threading.Lock()
        self._state: int | None = None
        self._known: dict[str, Sender] = {}

    def find(self, key_id: str) -> Sender:
        """Find who a key belongs to.

        Raises:
            UnknownGateway: No such key.
            GatewayRevoked: It counts no more, or the home was erased.
        """
        with self._lock:
            state = self._changes.state()
            if state is None or state != self._state or len(self._known) > SENDERS_REMEMBERED:
                self._known.clear()
                self._state = state
            known = self._known.get(key_id)
        if known is not None:
            return known
        with self._database.reading() as connection:
            sender = _find(connection, key_id)
        with self._lock:
            # Only if nothing was committed since the question: the answer may be older than that.
            if state is not None and state == self._state:
                self._known[key_id] = sender
        return sender

    @property
    def is_quick(self) -> bool:
        """Whether most senders are found without asking the database."""
        return self._changes.is_able

    def close(self) -> None:
        """Let go of the database."""
        self._changes.close()


def _find(connection: Connection, key_id: str) -> Sender:
    row = connection.execute(
        select(
            gateways.c.public_key,
            gateways.c.household,
            gateways.c.revoked_at,
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
        standing=standing_of(connection, row.household),
    )
