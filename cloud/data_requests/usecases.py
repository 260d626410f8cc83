"""The way of a proposal: submitted, vetted, told, voted, frozen, released. Each step is logged."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.proposal import (
    PROPOSALS,
    RECIPIENT,
    ProposalText,
    Review,
    State,
    notice_ends,
    require_step,
    state_after,
    why_not_screened,
)
from cloud.data_requests.repository import StoredProposal
from cloud.errors import BadInput, FieldFault, NotAllowed, NotFound, StateConflict
from cloud.members import repository as members
from cloud.members.roles import Person, Role
from cloud.notices.ports import Letter
from cloud.notices.usecases import write_letter
from cloud.profiles.eligibility import consenting_homes
from cloud.transparency import merkle
from cloud.transparency.merkle import Node
from cloud.transparency.usecases import Fact, commit_to, record
from gateway.wire.consent import Release
from gateway.wire.log_proof import leaf_hash


def submit_proposal(
    connection: Connection, *, requester: str, text: ProposalText, now: datetime
) -> StoredProposal:
    """Take a proposal in, if it passes the automatic screening.

    Raises:
        BadInput: It does not; all reasons are named.
    """
    reasons = why_not_screened(text, now)
    if reasons:
        raise BadInput(
            "the proposal does not pass the screening",
            faults=tuple(FieldFault(pointer="/", problem=reason) for reason in reasons),
        )
    written = msgspec.json.encode(text).decode()
    proposal = StoredProposal(
        proposal_id=f"d-{secrets.token_hex(8)}",
        requester=requester,
        text=written,
        text_sha256=hashlib.sha256(written.encode()).hexdigest(),
        state=State.SCREENED,
        submitted_at=now,
    )
    repository.insert_proposal(connection, proposal)
    log_step(connection, "proposal.submitted", proposal, now, template=text.template.value)
    return proposal


def review_proposal(
    connection: Connection,
    proposal_id: str,
    *,
    reviewer: Person,
    review: Review,
    now: datetime,
    base_url: str = "",
) -> State:
    """Keep a board member's review; two of one mind decide, and then the members are told.

    Args:
        connection: A transaction that may write.
        proposal_id: Which.
        reviewer: Who of the board.
        review: What that person thinks.
        now: The time.
        base_url: Address of the pages, for the letters.

    Raises:
        NotFound: There is no such proposal.
        NotAllowed: It is the reviewer's own.
        StateConflict: It was decided before.
    """
    proposal = find_proposal(connection, proposal_id)
    if proposal.requester == reviewer.person_id:
        raise NotAllowed("nobody reviews a proposal of their own")
    if proposal.state is not State.SCREENED:
        raise StateConflict(f"this proposal is {proposal.state} already")
    repository.put_review(connection, proposal_id, review, now)
    found = repository.reviews_of(connection, proposal_id)
    new = state_after(found)
    if new is State.NOTICE:
        _tell_members(connection, proposal, base_url, now)
    if new is not State.SCREENED:
        require_step(proposal.state, new)
        repository.set_state(
            connection, proposal_id, new, notice_from=now if new is State.NOTICE else None
        )
        log_step(connection, "proposal.vetted", proposal, now, state=new.value, reviews=len(found))
    return new


def _tell_members(
    connection: Connection, proposal: StoredProposal, base_url: str, now: datetime
) -> None:
    text = text_of(proposal)
    for person in members.all_people(connection):
        if not person.has(Role.MEMBER) or person.household is None:
            continue
        letter = Letter(
            to=person.email,
            subject=f"A request to use members' data: {' '.join(text.title.split())}"[:200],
            text=(
                f"{text.recipient} asks: {text.question}\n\n"
                "The board looked at it and puts it to the members' vote in 14 days at the "
                "earliest. Only homes that agreed to such uses can be in it, never one home "
                "alone. You can leave your home out, with no disadvantage, and you can vote:\n\n"
                f"{base_url}/data-requests/{proposal.proposal_id}\n"
            ),
        )
        write_letter(connection, letter, now=now)


def leave_out(
    connection: Connection, proposal_id: str, *, household: str, is_out: bool, now: datetime
) -> None:
    """Leave a home out of one proposal, or take it in again; possible until the cohort is frozen.

    Raises:
        NotFound: There is no such proposal.
        StateConflict: The cohort is frozen, or the proposal is over.
    """
    proposal = find_proposal(connection, proposal_id)
    if proposal.state not in (State.SCREENED, State.NOTICE, State.APPROVED):
        raise StateConflict(f"this proposal is {proposal.state}; nothing can be changed any more")
    if is_out:
        repository.put_opt_out(connection, proposal_id, household, now)
    else:
        repository.take_opt_out(connection, proposal_id, household)


def record_vote(
    connection: Connection, proposal_id: str, *, is_approved: bool, tally_sha256: str, now: datetime
) -> None:
    """Note what the members voted; the votes folder counts.

    Raises:
        NotFound: There is no such proposal.
        StateConflict: The members were not told for 14 days, or it was decided before.
    """
    proposal = find_proposal(connection, proposal_id)
    new = State.APPROVED if is_approved else State.FAILED
    require_step(proposal.state, new)
    if proposal.notice_from is None or now < notice_ends(proposal.notice_from):
        raise StateConflict("members must be told for 14 days before the vote counts")
    repository.set_state(connection, proposal_id, new)
    log_step(
        connection, "proposal.voted", proposal, now, state=new.value, tally_sha256=tally_sha256
    )


def freeze_cohort(
    connection: Connection, proposal_id: str, *, homes_min: int, now: datetime
) -> StoredProposal:
    """Fix which homes take part: those whose consent covers it, less those that opted out.

    The log gets the root over sorted salted commitments and the number of homes, and no names.

    Args:
        connection: A transaction that may write.
        proposal_id: Which.
        homes_min: Fewer homes cancel the proposal.
        now: The time.

    Raises:
        NotFound: There is no such proposal.
        StateConflict: The members did not approve it, or it is frozen already.
    """
    proposal = find_proposal(connection, proposal_id)
    require_step(proposal.state, State.FROZEN)
    text = text_of(proposal)
    homes_min = max(homes_min, text.homes_min)
    out = repository.opted_out(connection, proposal_id)
    consenting = consenting_homes(
        connection,
        purpose=text.purpose,
        quantity=text.quantity,
        start=text.period_start,
        end=text.period_end,
        recipient=RECIPIENT[text.purpose],
        release=Release.NOISED,
    )
    homes = sorted(
        household
        for household, least in consenting.items()
        if household not in out and least <= homes_min
    )
    if len(homes) < homes_min:
        repository.set_state(connection, proposal_id, State.CANCELLED)
        log_step(connection, "cohort.refused", proposal, now, homes_min=homes_min)
        return find_proposal(connection, proposal_id)
    commitments = {
        household: commit_to(connection, subject=household, value=f"{proposal_id} {household}")
        for household in homes
    }
    root = _root_of(sorted(commitments.values()))
    repository.insert_cohort(connection, proposal_id, commitments)
    repository.set_state(
        connection, proposal_id, State.FROZEN, cohort_root=root, cohort_size=len(homes)
    )
    log_step(connection, "cohort.frozen", proposal, now, root=root, homes=len(homes))
    return find_proposal(connection, proposal_id)


def record_release(
    connection: Connection,
    proposal_id: str,
    *,
    output_sha256: str,
    people: tuple[str, str],
    now: datetime,
) -> None:
    """Note that a result went out; two people stand for it.

    Raises:
        NotFound: There is no such proposal.
        NotAllowed: It is one person twice.
        StateConflict: The cohort is not frozen.
    """
    proposal = find_proposal(connection, proposal_id)
    require_step(proposal.state, State.RELEASED)
    if people[0] == people[1]:
        raise NotAllowed("a release needs two people")
    repository.set_state(connection, proposal_id, State.RELEASED, output_sha256=output_sha256)
    log_step(connection, "proposal.released", proposal, now, output_sha256=output_sha256)


def find_proposal(connection: Connection, proposal_id: str) -> StoredProposal:
    """Find a proposal.

    Raises:
        NotFound: There is none.
    """
    proposal = repository.proposal_row(connection, proposal_id)
    if proposal is None:
        raise NotFound("proposal")
    return proposal


def text_of(proposal: StoredProposal) -> ProposalText:
    """What is proposed, if it is still what was submitted.

    Raises:
        StateConflict: The text was changed since.
    """
    if hashlib.sha256(proposal.text.encode()).hexdigest() != proposal.text_sha256:
        raise StateConflict("the text of this proposal was changed after it was submitted")
    return PROPOSALS.decode(proposal.text)


def _root_of(commitments: list[str]) -> str:
    nodes: dict[Node, bytes] = {}
    for index, commitment in enumerate(commitments):
        leaf = leaf_hash(commitment.encode())
        nodes.update(merkle.nodes_completed_by(index, leaf, nodes.__getitem__))
    return merkle.root_of(len(commitments), nodes.__getitem__).hex()


def log_step(
    connection: Connection,
    kind: str,
    proposal: StoredProposal,
    now: datetime,
    **facts: str | int | None,
) -> None:
    """Log a step of a proposal with the hash of its text."""
    named: dict[str, Fact] = {
        "proposal": proposal.proposal_id,
        "text_sha256": proposal.text_sha256,
    }
    record(connection, kind=kind, facts=named | facts, at=now)
