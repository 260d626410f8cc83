"""What the pages about uses of data show: a request and its way, and what became of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.figures import deviation_wh, epsilon_per_request
from cloud.data_requests.proposal import (
    Modifier,
    ProposalText,
    Review,
    State,
    Template,
    notice_ends,
)
from cloud.data_requests.releasing import SIGNATURES_NEEDED
from cloud.data_requests.repository import StoredProposal
from cloud.data_requests.usecases import text_of
from cloud.members.roles import Person, Role
from cloud.profiles.repository import ReleaseRow
from cloud.votes import repository as votes
from cloud.votes.repository import ElectionRow
from gateway.wire.reading import Purpose, Quantity

STATE_WORDS: Mapping[State, str] = {
    State.SCREENED: "before the board",
    State.REJECTED: "turned down by the board",
    State.NOTICE: "before the members",
    State.FAILED: "not passed",
    State.APPROVED: "passed",
    State.FROZEN: "homes fixed",
    State.CANCELLED: "cancelled",
    State.RELEASED: "released",
}
TEMPLATE_WORDS: Mapping[Template, str] = {
    Template.TYPICAL_DAY: "Typical days: 24 hours of weekdays and weekends, month by month",
    Template.TIME_OF_USE: "Night, day and evening, month by month",
    Template.MONTHLY: "Sums by month of the year",
    Template.ANNUAL: "One sum over the whole period",
}
PURPOSE_WORDS: Mapping[Purpose, str] = {
    Purpose.RESEARCH: "Research",
    Purpose.OPEN_STATISTICS: "Open statistics",
}
QUANTITY_WORDS: Mapping[Quantity, str] = {
    Quantity.IMPORT_WH: "Energy bought from the grid",
    Quantity.EXPORT_WH: "Energy sold to the grid",
}
MODIFIER_WORDS: Mapping[Modifier, str] = {
    Modifier.NO_RESELL: "not to sell it on",
    Modifier.NO_LINK: "not to link it with other data",
    Modifier.NO_MARKETING: "no marketing",
    Modifier.RETURN_RESULTS: "to show members the results",
    Modifier.ETHICS: "an ethics committee looked at it",
}
STEPS = ("Asked", "Board", "Members’ vote", "Homes fixed", "Released", "Paid")
_REACHED = {
    State.SCREENED: 1,
    State.REJECTED: 1,
    State.NOTICE: 2,
    State.FAILED: 2,
    State.APPROVED: 3,
    State.FROZEN: 4,
    State.RELEASED: 5,
}
_ENDED = (State.REJECTED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayStep:
    """A step of a request: `done`, `now`, `bad` or still to come."""

    label: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLine:
    """A request in the list."""

    proposal: StoredProposal
    text: ProposalText
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """Everything on the page of one request, for the person who looks.

    Args:
        proposal: The request.
        text: What is proposed.
        state: How far it is, in words.
        way: Its steps.
        last_moment: The last second of the period.
        figures: What the result holds, in words.
        purpose: Why, in words.
        quantity: Of what, in words.
        promises: What the requester promises, in words.
        noise_kwh: Standard deviation of the noise on each figure [kWh].
        epsilon: What it costs of each home's privacy, as epsilon.
        reviews: What the board wrote.
        election: The members' vote.
        notice_until: When members were told for long enough.
        signatures: How many signed for the release.
        signatures_needed: How many must.
        is_own: Whether the person who looks asked for it.
        may_review: And so on: what that person may do now.
    """

    proposal: StoredProposal
    text: ProposalText
    state: str
    way: Sequence[WayStep]
    last_moment: datetime
    figures: str
    purpose: str
    quantity: str
    promises: Sequence[str]
    noise_kwh: float
    epsilon: float
    reviews: Sequence[Review]
    election: ElectionRow | None
    notice_until: datetime | None
    signatures: int
    signatures_needed: int
    is_own: bool
    may_review: bool
    may_open_vote: bool
    may_freeze: bool
    may_sign: bool
    may_book_fee: bool
    may_leave: bool
    is_left_out: bool


def request_line(proposal: StoredProposal) -> RequestLine:
    """Say in a word how far a request is."""
    return RequestLine(proposal=proposal, text=text_of(proposal), state=STATE_WORDS[proposal.state])


def gather_request(
    connection: Connection, proposal: StoredProposal, *, person: Person
) -> RequestView:
    """Gather the page of one request for one person."""
    text = text_of(proposal)
    state, is_own = proposal.state, proposal.requester == person.person_id
    signed_by = repository.signed_by(connection, proposal.proposal_id)
    reviews = repository.reviews_of(connection, proposal.proposal_id)
    is_board = person.has(Role.BOARD)
    household = person.household if person.has(Role.MEMBER) else None
    out = repository.opted_out(connection, proposal.proposal_id)
    return RequestView(
        proposal=proposal,
        text=text,
        state=STATE_WORDS[state],
        way=way_of(proposal, text),
        last_moment=text.period_end - timedelta(seconds=1),
        figures=TEMPLATE_WORDS[text.template],
        purpose=PURPOSE_WORDS.get(text.purpose, text.purpose.value),
        quantity=QUANTITY_WORDS.get(text.quantity, text.quantity.value),
        promises=[MODIFIER_WORDS[one] for one in text.modifiers],
        noise_kwh=deviation_wh(text) / 1000,
        epsilon=epsilon_per_request(),
        reviews=reviews,
        election=(
            votes.election_row(connection, proposal.election_id) if proposal.election_id else None
        ),
        notice_until=notice_ends(proposal.notice_from) if proposal.notice_from else None,
        signatures=len(signed_by),
        signatures_needed=SIGNATURES_NEEDED,
        is_own=is_own,
        may_review=is_board and not is_own and state is State.SCREENED,
        may_open_vote=is_board and state is State.NOTICE and proposal.election_id is None,
        may_freeze=is_board and state is State.APPROVED,
        may_sign=(
            is_board
            and not is_own
            and state is State.FROZEN
            and (person.person_id not in signed_by or len(signed_by) >= SIGNATURES_NEEDED)
        ),
        may_book_fee=(
            is_board
            and state is State.RELEASED
            and proposal.fee_booked_at is None
            and text.price_minor > 0
        ),
        may_leave=(
            household is not None and state in (State.SCREENED, State.NOTICE, State.APPROVED)
        ),
        is_left_out=household in out,
    )


def way_of(proposal: StoredProposal, text: ProposalText) -> list[WayStep]:
    """The steps of a request, with where it stands or ended."""
    steps = STEPS if text.price_minor else STEPS[:-1]
    reached = _REACHED.get(proposal.state, 4 if proposal.cohort_size else 3)
    if proposal.fee_booked_at is not None:
        reached = len(steps)
    here = "bad" if proposal.state in _ENDED else "now"
    return [
        WayStep(label=label, kind="done" if at < reached else here if at == reached else "")
        for at, label in enumerate(steps)
    ]


def release_words(release: ReleaseRow) -> str:
    """Say who saw an exact sum, and for what."""
    who = "suppliers" if release.audience == "outside" else "the board"
    what = "typical days" if release.kind == "typical_day" else "the load profile"
    return f"{what.capitalize()} of the group, shown to {who}"
