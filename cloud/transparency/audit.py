"""Checking a whole log and all consent events from the ground up, as an auditor with a copy would."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import Connection, select

from cloud.consents import repository as consents
from cloud.consents.standing import stand
from cloud.transparency import merkle, repository
from gateway.wire.errors import WireError
from gateway.wire.log_proof import leaf_hash

ENTRIES_AT_ONCE = 1_000
FAULTS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was checked and what was found.

    Args:
        entries: Log entries whose hashes were recomputed.
        root: Root recomputed from the entries, hex.
        consent_events: Events whose chain and log entry were checked.
        faults: What does not fit, in words; empty when all is well.
    """

    entries: int
    root: str
    consent_events: int
    faults: tuple[str, ...]


def audit(connection: Connection) -> Audit:
    """Recompute the tree, and check every consent event against its chain and its log entry."""
    faults: list[str] = []
    nodes = _recompute(connection, faults)
    size = sum(1 for level, _position in nodes if level == 0)
    root = merkle.root_of(size, nodes.__getitem__)
    events = _check_consents(connection, faults)
    return Audit(
        entries=size, root=root.hex(), consent_events=events, faults=tuple(faults[:FAULTS_MAX])
    )


def _recompute(connection: Connection, faults: list[str]) -> dict[merkle.Node, bytes]:
    nodes: dict[merkle.Node, bytes] = {}
    expected = 0
    while found := repository.entries_from(connection, first=expected, count=ENTRIES_AT_ONCE):
        for entry in found:
            if entry.index != expected:
                faults.append(f"log entry {expected} is missing")
                return nodes
            nodes.update(
                merkle.nodes_completed_by(
                    expected, leaf_hash(entry.entry.encode()), nodes.__getitem__
                )
            )
            expected += 1
    stored = {
        (row.level, row.position): bytes(row.hash)
        for row in connection.execute(select(repository.log_nodes))
    }
    faults += [
        f"log node {node} does not fit the entries"
        for node in sorted(nodes.keys() | stored.keys())
        if nodes.get(node) != stored.get(node)
    ]
    return nodes


def _check_consents(connection: Connection, faults: list[str]) -> int:
    count = 0
    households = connection.scalars(select(consents.consent_events.c.household).distinct())
    for household in households.all():
        events = consents.events_of(connection, household)
        count += len(events)
        try:
            stand((event.payload, event.authority) for event in events)
        except WireError as fault:
            faults.append(f"household {household}: {fault}")
        faults.extend(
            f"consent {event.consent_id}@{event.version} of household {household} "
            "does not fit its log entry"
            for event in events
            if not _is_logged(connection, event)
        )
    return count


def _is_logged(connection: Connection, event: consents.StoredEvent) -> bool:
    found = repository.entries_from(connection, first=event.log_index, count=1)
    if not found or json.loads(found[0].entry)["facts"].get("commitment") != event.commitment:
        return False
    opening = repository.opening_of(connection, event.commitment)
    if opening is None:
        return True  # The home was erased: its salts are gone, as they should be.
    salted = bytes.fromhex(opening.salt) + event.payload
    return hashlib.sha256(salted).hexdigest() == event.commitment
