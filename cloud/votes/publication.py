"""What everyone may fetch once a vote is closed: the file to count again, and a receipt's proof.

The file is made once, at the close, and kept byte by byte where the database refuses to change it:
its hash is in the log, so what is served must be what was hashed, whatever this program or the
tables become later. Votes closed before files were kept have theirs put together on demand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from sqlalchemy import Connection

from cloud.errors import NotFound, StateConflict
from cloud.votes import repository
from cloud.votes.repository import BallotRow, ElectionRow, Project
from solar_fund.errors import ReceiptInvalid
from solar_fund.voting.equal_shares import SharesOptions
from solar_fund.voting.published_vote import prove_receipt, published_vote


def published_content(
    election: ElectionRow,
    projects: list[Project],
    ballots: list[BallotRow],
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is published about a vote on projects, as `solar-fund recount` reads it.

    Args:
        election: The vote.
        projects: The paper; amounts are in minor units.
        ballots: Every ballot that counts.
        result: The count as announced.
    """
    rule = rule_of(election)
    if result.get("quorum_reached") is False:
        rule["quorum_votes"] = election.quorum
    return published_vote(
        election_id=election.election_id,
        kind="projects",
        question=question_of(election, projects),
        rule=rule,
        ballots=[(row.ballot, row.nonce) for row in ballots],
        roll_size=election.roll_size,
        lot=election.lot,
        lot_seed=election.lot_seed,
        result=result,
    )


def as_file(content: Mapping[str, Any]) -> bytes:
    """Write published content in the one form whose hash is in the log."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, indent=1).encode() + b"\n"


def keep_published(connection: Connection, election_id: str, content: Mapping[str, Any]) -> str:
    """Keep the file of a vote for good; returns its SHA-256 in hex, as `sha256sum` prints it."""
    written = as_file(content)
    sha256 = hashlib.sha256(written).hexdigest()
    repository.insert_published(connection, election_id, sha256=sha256, content=written)
    return sha256


def question_of(election: ElectionRow, projects: list[Project]) -> dict[str, Any]:
    """What is on the paper of a vote on projects, as it is published; amounts in minor units."""
    groups = (election.paper or {}).get("groups", {})
    return {
        "text": election.title,
        "projects": [
            {
                "id": project.project_id,
                "cost": project.cost_minor,
                "name": project.name,
                "group": groups.get(project.project_id, ""),
            }
            for project in projects
        ],
        "budget": election.budget_minor,
        "currency": election.currency,
        "vote_type": "approval",
    }


def rule_of(election: ElectionRow) -> dict[str, Any]:
    """How a vote on projects is counted, as it is published; usual where the board chose nothing.

    Usual are cost utilities, slices raised by a whole unit, then most votes.
    """
    usual: dict[str, Any] = {
        "name": "equal-shares",
        "utility": "cost",
        "completion": "add1",
        "stop": "exhaustive",
        "then": "utilitarian",
        "increment": "100",
    }
    if election.paper is None:
        # As it was published before the paper was kept; what is in the log must not change.
        return usual
    chosen: dict[str, Any] = election.paper["rule"]
    return usual | chosen | {"quorum_votes": election.quorum}


def options_of(election: ElectionRow) -> SharesOptions:
    """The options of the counting rule of a vote on projects."""
    rule = rule_of(election)
    return SharesOptions(
        utility=rule["utility"],
        completion=rule["completion"],
        stop=rule["stop"],
        then=rule["then"],
        increment=Fraction(rule["increment"]),
        must_fund=tuple(rule.get("must_fund", ())),
        min_support=int(rule.get("min_support", 0)),
        lot=election.lot,
    )


def paper_hash(paper: Mapping[str, Any]) -> str:
    """SHA-256 over question and rule in canonical JSON, hex; it is in the log from the opening."""
    written = json.dumps(paper, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()


def published_file(connection: Connection, election_id: str) -> bytes:
    """Return the file of a closed vote, the same bytes on every call.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    kept = repository.published_bytes(connection, election_id)
    if kept is not None:
        return kept
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    if election.closed_at is None or election.result is None:
        raise StateConflict("ballots are published at the close")
    return as_file(
        published_content(
            election,
            repository.projects_of(connection, election_id),
            repository.ballots_in_box(connection, election_id),
            election.result,
        )
    )


def content_of(connection: Connection, election_id: str) -> dict[str, Any]:
    """Return what was published about a closed vote, as JSON values.

    Raises:
        NotFound: No such vote.
        StateConflict: It is still open.
    """
    content: dict[str, Any] = json.loads(published_file(connection, election_id))
    return content


def receipt_proof(connection: Connection, election_id: str, receipt: str) -> dict[str, Any]:
    """Prove that a receipt stands under the root that the log holds.

    Args:
        connection: The caller's transaction.
        election_id: Which vote.
        receipt: The receipt in hex.

    Raises:
        NotFound: No such vote, or the receipt was not counted in it.
        StateConflict: It is still open.
    """
    content = content_of(connection, election_id)
    try:
        proof = prove_receipt(content, receipt)
    except ReceiptInvalid as fault:
        raise NotFound(str(fault)) from fault
    return {
        "election_id": election_id,
        "receipt": proof.receipt.hex(),
        "place": proof.place,
        "size": proof.size,
        "path": [step.hex() for step in proof.path],
        "root": proof.root.hex(),
    }
