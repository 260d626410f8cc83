"""Putting a vetted proposal to the members' vote."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.proposal import State, notice_ends
from cloud.data_requests.usecases import find_proposal, log_step, text_of
from cloud.errors import BadInput, StateConflict
from cloud.votes.policy_votes import QUORUM_DEFAULT, Policy, VotePlan, open_policy_vote
from cloud.votes.repository import ElectionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalVote:
    """How a proposal is voted on.

    Args:
        closes_at: Until when; not before the members were told for 14 days.
        quorum: Share of the roll that must take part.
        threshold: Share of yes among yes and no.
        above: Whether it must be exceeded or only reached.
    """

    closes_at: datetime | None = None
    quorum: Fraction = QUORUM_DEFAULT
    threshold: Fraction = Fraction(1, 2)
    above: bool = True


def open_vote(
    connection: Connection, proposal_id: str, vote: ProposalVote, *, now: datetime
) -> ElectionRow:
    """Open the members' vote on a proposal that the board let through.

    The paper holds the hash of the proposal's text, so that what is voted on is what was vetted.

    Raises:
        NotFound: There is no such proposal.
        StateConflict: It is not at that step, or its vote was opened before.
        BadInput: The vote would close before the members were told for 14 days.
    """
    proposal = find_proposal(connection, proposal_id)
    if proposal.state is not State.NOTICE or proposal.notice_from is None:
        raise StateConflict(f"a proposal that is {proposal.state} is not voted on")
    if proposal.election_id is not None:
        raise StateConflict(f"the vote {proposal.election_id} on this proposal was opened before")
    text = text_of(proposal)
    earliest = notice_ends(proposal.notice_from)
    closes_at = vote.closes_at or max(earliest, now + (earliest - proposal.notice_from))
    if closes_at < earliest:
        raise BadInput(
            f"members must be told for 14 days: close the vote at {earliest.isoformat()} or later"
        )
    election = open_policy_vote(
        connection,
        VotePlan(
            title=f"Use of data: {text.title}"[:200],
            opens_at=now,
            closes_at=closes_at,
            record_at=now,
            quorum=vote.quorum,
        ),
        Policy(
            text=f"Shall {text.recipient} get these figures?\n\n{text.question}",
            threshold=vote.threshold,
            above=vote.above,
            data_request={"proposal_id": proposal_id, "text_sha256": proposal.text_sha256},
        ),
        now=now,
    )
    repository.note(connection, proposal_id, election_id=election.election_id)
    log_step(connection, "proposal.vote_opened", proposal, now, election=election.election_id)
    return election
