"""One door for ballots of every kind: the vote says which marks it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotFound
from cloud.votes import repository
from cloud.votes.policy_votes import cast_choice, cast_credits
from cloud.votes.repository import POLICY, PROJECTS
from cloud.votes.usecases import CastReceipt, cast_ballot


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What somebody put on a ballot.

    Args:
        approve: Projects that are supported.
        choice: `yes`, `no` or `abstain`.
        votes: Votes by proposal of a slate; negative ones are against.
    """

    approve: Sequence[str] | None = None
    choice: str | None = None
    votes: Mapping[str, int] | None = None


def cast(
    connection: Connection,
    *,
    election_id: str,
    household: str,
    marks: Marks,
    token: str | None,
    now: datetime,
) -> CastReceipt:
    """Put a ballot in the box of a vote, or replace the one of the same token.

    Raises:
        NotFound: No such vote.
        NotAllowed: The home is not on the roll, or voted already and the token is another's.
        StateConflict: The vote is not open.
        BadInput: The marks are not those of this kind of vote, or not on its paper.
    """
    election = repository.election_row(connection, election_id)
    if election is None:
        raise NotFound(f"vote {election_id}")
    if election.kind == PROJECTS:
        if marks.approve is None:
            raise _lacks("approve")
        return cast_ballot(
            connection,
            election_id=election_id,
            household=household,
            approvals=marks.approve,
            token=token,
            now=now,
        )
    if election.kind == POLICY:
        if marks.choice is None:
            raise _lacks("choice")
        return cast_choice(
            connection,
            election_id=election_id,
            household=household,
            choice=marks.choice,
            token=token,
            now=now,
        )
    if marks.votes is None:
        raise _lacks("votes")
    return cast_credits(
        connection,
        election_id=election_id,
        household=household,
        votes=marks.votes,
        token=token,
        now=now,
    )


def _lacks(field: str) -> BadInput:
    return BadInput(
        f"nothing is marked: this vote takes a ballot with {field}",
        faults=(FieldFault(pointer=f"/{field}", problem="this vote needs it"),),
    )
