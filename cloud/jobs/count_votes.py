"""Counting a vote and carrying out what it decided, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from cloud.data_requests.usecases import record_vote
from cloud.database import Database
from cloud.errors import CloudError, NotFound
from cloud.fund.usecases import adopt_parameters
from cloud.projects import repository as projects
from cloud.projects.solar_votes import note_result
from cloud.transparency.usecases import record
from cloud.votes import repository
from cloud.votes.policy_votes import count_policy_vote
from cloud.votes.repository import POLICY, PROJECTS, SLATE
from cloud.votes.usecases import close_election

log = logging.getLogger("commonwatt.votes")


def count_vote(connection: Connection, election_id: str, *, now: datetime) -> None:
    """Count a vote of any kind once its time is over.

    Projects that won are granted, with the money set aside; a policy that passed puts its parameters in force;
    a data request is approved or has failed.

    Raises:
        NotFound: No such vote.
        StateConflict: It has not closed, it was counted, or what it decides cannot be done.
    """
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    if election.kind == PROJECTS:
        close_election(connection, election_id, now=now)
        note_result(connection, election_id, now=now)
        return
    _carry_out(connection, count_policy_vote(connection, election_id, now=now), now)


def count_due_votes(database: Database, now: datetime) -> int:
    """Count every vote whose time is over; returns how many.

    Several servers may try at once: writers take turns, and the second finds it counted. A vote
    that cannot be counted, because the fund cannot pay what won, waits with the reason on record.
    """
    with database.reading() as connection:
        due = repository.due_elections(connection, (POLICY, PROJECTS, SLATE), now)
    counted = 0
    for election_id in due:
        try:
            with database.transaction() as connection:
                count_vote(connection, election_id, now=now)
            counted += 1
        except CloudError as fault:
            log.warning("vote not counted id=%s cause=%s", election_id, fault)
            _hold_up(database, election_id, str(fault), now)
    return counted


def _hold_up(database: Database, election_id: str, reason: str, now: datetime) -> None:
    """Note why a vote waits, once; unless another server counted it meanwhile."""
    with database.transaction() as connection:
        election = repository.election_row(connection, election_id)
        if election is None or election.closed_at is not None:
            return
        if projects.hold_up(connection, election_id, reason, now):
            record(
                connection,
                kind="vote.held_up",
                facts={"election": election_id, "reason": reason[:1_000]},
                at=now,
            )


def _carry_out(connection: Connection, published: Mapping[str, Any], now: datetime) -> None:
    question, result = published["question"], published["result"]
    if result.get("passed") and "parameters" in question:
        adopt_parameters(
            connection,
            election_id=published["election_id"],
            parameters=question["parameters"],
            evidence=published["merkle_root"],
            now=now,
        )
    if "data_request" in question:
        record_vote(
            connection,
            question["data_request"]["proposal_id"],
            is_approved=result["passed"],
            tally_sha256=published["published_sha256"],
            now=now,
        )
