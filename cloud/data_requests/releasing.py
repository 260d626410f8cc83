"""Two of the board sign, the figures pass the privacy floor, and the requester fetches them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cloud.data_requests import repository
from cloud.data_requests.figures import STEP_S, noise_of
from cloud.data_requests.proposal import RECIPIENT, ProposalText, State, require_step
from cloud.data_requests.repository import StoredProposal
from cloud.data_requests.usecases import find_proposal, log_step, record_release, text_of
from cloud.database import Database
from cloud.errors import NotAllowed, NotFound, ReleaseRefused, StateConflict
from cloud.members.roles import Person
from cloud.profiles.noised_release import NoisedRelease, release_noised
from cloud.profiles.privacy_floor import Audience
from cloud.profiles.release import Asked
from cloud.readings.ports import ReadingStore
from cloud.settings import PrivacySettings

SIGNATURES_NEEDED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """A release that two people signed for."""

    proposal: StoredProposal
    text: ProposalText
    signed_by: tuple[str, ...]
    cohort: frozenset[str]


def sign_release(
    database: Database,
    store: ReadingStore,
    proposal_id: str,
    *,
    person: Person,
    privacy: PrivacySettings,
    zone: str,
    now: datetime,
) -> StoredProposal:
    """Sign for the release of a frozen proposal; the second signature releases it.

    The figures come from the homes of the frozen cohort whose consent still covers it, with noise,
    and each home's yearly budget is charged. Where the privacy floor refuses, the proposal ends
    there, because a home's budget for a year does not come back.

    Raises:
        NotFound: There is no such proposal.
        NotAllowed: It is the signer's own proposal, or the same person signs twice.
        StateConflict: Its cohort is not frozen, or consents kept changing.
    """
    with database.transaction() as connection:
        order = _sign(connection, proposal_id, person, now)
    if order is not None:
        try:
            _release(database, store, order, privacy=privacy, zone=zone, now=now)
        except ReleaseRefused as refused:
            with database.transaction() as connection:
                _end(connection, proposal_id, refused.reasons, now)
    with database.reading() as connection:
        return find_proposal(connection, proposal_id)


def fetch_result(
    connection: Connection, proposal_id: str, *, person: Person, now: datetime
) -> bytes:
    """Hand a released result to its requester; each time leaves a log entry.

    Raises:
        NotFound: There is no such proposal, or it is another's.
        StateConflict: Nothing was released, or it is not what was released any more.
    """
    proposal = find_proposal(connection, proposal_id)
    if proposal.requester != person.person_id:
        raise NotFound("proposal")
    content = repository.result_of(connection, proposal_id)
    if content is None:
        raise StateConflict(f"a proposal that is {proposal.state} has no result")
    if hashlib.sha256(content).hexdigest() != proposal.output_sha256:
        raise StateConflict("the stored result is not what was released; tell the operator")
    log_step(connection, "proposal.downloaded", proposal, now, output_sha256=proposal.output_sha256)
    return content


def _sign(connection: Connection, proposal_id: str, person: Person, now: datetime) -> _Order | None:
    proposal = find_proposal(connection, proposal_id)
    require_step(proposal.state, State.RELEASED)
    if proposal.requester == person.person_id:
        raise NotAllowed("nobody signs for the release of a proposal of their own")
    before = repository.signed_by(connection, proposal_id)
    if person.person_id in before and len(before) < SIGNATURES_NEEDED:
        raise NotAllowed("you signed already; a release needs two people")
    repository.put_signature(connection, proposal_id, person.person_id, now)
    signed_by = repository.signed_by(connection, proposal_id)
    if len(signed_by) != len(before):
        log_step(connection, "proposal.signed", proposal, now, signatures=len(signed_by))
    if len(signed_by) < SIGNATURES_NEEDED:
        return None
    return _Order(
        proposal=proposal,
        text=text_of(proposal),
        signed_by=signed_by[:SIGNATURES_NEEDED],
        cohort=frozenset(repository.cohort_of(connection, proposal_id)),
    )


def _release(
    database: Database,
    store: ReadingStore,
    order: _Order,
    *,
    privacy: PrivacySettings,
    zone: str,
    now: datetime,
) -> None:
    text, proposal_id = order.text, order.proposal.proposal_id

    def keep(connection: Connection, released: NoisedRelease) -> None:
        content = released.frame.to_csv().encode()
        first, second = order.signed_by
        record_release(
            connection,
            proposal_id,
            output_sha256=released.output_sha256,
            people=(first, second),
            now=now,
        )
        repository.insert_result(connection, proposal_id, content)
        repository.note(connection, proposal_id, release_no=released.release_no)

    release_noised(
        database,
        store,
        Asked(
            purpose=text.purpose,
            quantity=text.quantity,
            start=text.period_start,
            end=text.period_end,
            step_s=STEP_S,
            audience=Audience.OUTSIDE,
            recipient=RECIPIENT[text.purpose],
            timezone=zone,
            asked_by=order.proposal.requester,
            approved_by=order.signed_by,
            only=order.cohort,
        ),
        noise_of(text),
        privacy=privacy.model_copy(
            update={"group_min_outside": max(privacy.group_min_outside, text.homes_min)}
        ),
        now=now,
        keep=keep,
    )


def _end(connection: Connection, proposal_id: str, reasons: tuple[str, ...], now: datetime) -> None:
    proposal = find_proposal(connection, proposal_id)
    require_step(proposal.state, State.CANCELLED)
    repository.set_state(connection, proposal_id, State.CANCELLED, refusal="; ".join(reasons))
    log_step(connection, "proposal.refused", proposal, now)
