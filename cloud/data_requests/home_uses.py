"""What one home's data were used for, and what that earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.fees import earned_by
from cloud.data_requests.proposal import ProposalText, State
from cloud.data_requests.repository import StoredProposal
from cloud.data_requests.usecases import text_of
from cloud.profiles.repository import ReleaseRow, exact_releases_of_home, homes_charged

ASKED_NOW = (State.SCREENED, State.NOTICE, State.APPROVED, State.FROZEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOfHome:
    """A request to use data, as it concerns one home.

    Args:
        proposal: The request.
        text: What is proposed.
        is_left_out: Whether the home left itself out.
        is_in: Whether its readings are in the frozen cohort, or in what was released.
        earned_minor: What it earned the home, once the fee was booked [minor units].
    """

    proposal: StoredProposal
    text: ProposalText
    is_left_out: bool
    is_in: bool
    earned_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeUses:
    """Everything one home's data were, or may be, used for.

    Args:
        asked_now: Requests on their way.
        requests: Requests that had a result with this home in it.
        releases: Exact sums of groups with this home in them, newest first.
    """

    asked_now: tuple[RequestOfHome, ...]
    requests: tuple[RequestOfHome, ...]
    releases: tuple[ReleaseRow, ...]

    @property
    def earned_minor(self) -> int:
        """What all requests earned the home [minor units]."""
        return sum(one.earned_minor for one in self.requests)


def uses_of_home(connection: Connection, household: str, *, now: datetime) -> HomeUses:
    """Gather what one home's data were used for."""
    found = [
        _of_home(connection, proposal, household, now)
        for proposal in repository.all_proposals(connection)
        if proposal.state in (*ASKED_NOW, State.RELEASED)
    ]
    return HomeUses(
        asked_now=tuple(one for one in found if one.proposal.state in ASKED_NOW),
        requests=tuple(one for one in found if one.proposal.state is State.RELEASED and one.is_in),
        releases=tuple(exact_releases_of_home(connection, household)),
    )


def _of_home(
    connection: Connection, proposal: StoredProposal, household: str, now: datetime
) -> RequestOfHome:
    if proposal.release_no is not None:
        is_in = household in homes_charged(connection, proposal.release_no)
    else:
        is_in = household in repository.cohort_of(connection, proposal.proposal_id)
    is_paid = is_in and proposal.fee_booked_at is not None
    return RequestOfHome(
        proposal=proposal,
        text=text_of(proposal),
        is_left_out=household in repository.opted_out(connection, proposal.proposal_id),
        is_in=is_in,
        earned_minor=earned_by(connection, proposal.proposal_id, household, now) if is_paid else 0,
    )
