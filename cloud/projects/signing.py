"""What two of the board sign for: a milestone that is paid, or giving a project up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from cloud.errors import BadInput, NotAllowed, StateConflict
from cloud.fund import grants
from cloud.members.roles import Person
from cloud.projects.project_life import (
    ACTS,
    LAPSE,
    PAID,
    SIGNED,
    due_milestone,
    life_after,
    life_of,
    metered_months,
    waiting_signature,
)
from cloud.projects.repository import SolarProject, StoredEvent
from cloud.projects.usecases import (
    put_event,
    require_board,
    require_grant,
    require_hash,
    require_project,
    return_rest,
)
from solar_fund.money import Money
from solar_fund.projects.lifecycle import MILESTONE_SHARES, milestone_amounts


def sign_for(
    connection: Connection,
    project_id: str,
    *,
    act: str,
    evidence: str,
    person: Person,
    now: datetime,
) -> bool:
    """Sign for a milestone or for giving a project up; the second signature does it.

    Both must sign for the same document. Who signed first may sign anew for another document.

    Args:
        connection: A transaction that may write.
        project_id: Which project.
        act: A milestone, or `lapse`.
        evidence: SHA-256 in hex of the document: invoice, photo, letter.
        person: Who signs.
        now: The time.

    Returns:
        Whether it is done now.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board, or it is the own proposal.
        BadInput: There is no such act, or the evidence is no SHA-256.
        StateConflict: It is not due, or the first signature is for another document.
    """
    project, events = require_project(connection, project_id)
    require_board(person, project)
    require_hash(evidence)
    if act not in ACTS:
        raise BadInput(f"sign for one of: {', '.join(ACTS)}")
    done = _act_event(project, events, act, evidence, person, now)
    first = waiting_signature(events, act)
    if first is None or first.person_id == person.person_id:
        if first is not None and first.evidence == evidence:
            raise NotAllowed("you signed already; a second member of the board has to")
        put_event(
            connection,
            StoredEvent(
                project_id=project_id,
                kind=SIGNED,
                at=now,
                person_id=person.person_id,
                evidence=evidence,
                details={"act": act},
            ),
            act=act,
        )
        return False
    if first.evidence != evidence:
        raise StateConflict(
            f"the first signature is for the document {first.evidence[:16]}…, yours for "
            f"{evidence[:16]}…; compare the two and sign for the same one"
        )
    if act == LAPSE:
        returned_minor = return_rest(connection, project, events, "given up", now)
        put_event(connection, done, returned_minor=returned_minor)
    else:
        _pay(connection, project, events, done, now)
    return True


def _act_event(
    project: SolarProject,
    events: list[StoredEvent],
    act: str,
    evidence: str,
    person: Person,
    now: datetime,
) -> StoredEvent:
    """The event that an act would make, if it is due.

    Raises:
        StateConflict: It is not.
    """
    life = life_of(events)
    amounts_minor = {
        str(name): minor for name, minor in milestone_amounts(life.grant_minor).items()
    }
    if act == LAPSE:
        event = StoredEvent(
            project_id=project.project_id,
            kind="lapsed",
            at=now,
            person_id=person.person_id,
            evidence=evidence,
            details={"returned_minor": life.open_minor},
        )
    else:
        if act == list(MILESTONE_SHARES)[-1] and not any(
            one.details["energy_wh"] is not None for one in metered_months(events).values()
        ):
            raise StateConflict(f"{act}: enter the first metered month before")
        event = StoredEvent(
            project_id=project.project_id,
            kind=PAID,
            at=now,
            person_id=person.person_id,
            evidence=evidence,
            details={
                "milestone": act,
                "amount_minor": amounts_minor.get(act, 0),
            },
        )
    life_after(events, event)
    return event


def _pay(
    connection: Connection,
    project: SolarProject,
    events: list[StoredEvent],
    event: StoredEvent,
    now: datetime,
) -> None:
    grant = require_grant(events)
    life = life_of(events)
    milestone = str(event.details["milestone"])
    amount_minor = int(event.details["amount_minor"])
    ledger_seq = grants.pay_milestone(
        connection,
        grant_seq=int(grant.details["grant_seq"]),
        project_id=project.project_id,
        milestone=milestone,
        amount=Money(amount_minor, project.currency),
        is_last=due_milestone(life) == list(MILESTONE_SHARES)[-1],
        evidence=(event.evidence,),
        now=now,
    )
    paid = replace(event, details={**event.details, "ledger_seq": ledger_seq})
    put_event(
        connection, paid, amount_minor=amount_minor, ledger_seq=ledger_seq, milestone=milestone
    )
