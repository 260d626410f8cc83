"""The steps of a project: proposed, screened, signed for, paid, built, metered, closed.

Every step is an event with its time, its actor and the hash of what it rests on, in the table and
in the transparency log, in one transaction with the money it moves. Appraising is in `appraising`,
votes are in `solar_votes`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from cloud.errors import BadInput, FieldFault, NotAllowed, NotFound, StateConflict
from cloud.fund import grants
from cloud.members.roles import Person, Role
from cloud.projects import repository
from cloud.projects.plan_file import plan_fault, read_plan, short_name
from cloud.projects.project_life import (
    METERED,
    MONTH_WH_MAX,
    check_month,
    grant_of,
    life_after,
    life_of,
    require_month,
)
from cloud.projects.repository import SolarProject, StoredEvent
from cloud.transparency.usecases import Fact, record
from solar_fund.money import Money

PROJECTS_OPEN_MAX = 200
COST_MINOR_MIN = 100

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a member proposes.

    Args:
        name: Title for people.
        site: Where, in words.
        words: Why, in words.
        plan_text: The project file (docs/formats/project.md).
    """

    name: str
    site: str
    words: str
    plan_text: str


def propose_project(
    connection: Connection, proposal: Proposal, *, person: Person, currency: str, now: datetime
) -> SolarProject:
    """Take a proposal in.

    Raises:
        NotAllowed: The person is no member.
        BadInput: The project file cannot be used; the key is named.
        StateConflict: A project of this name exists, or too many wait.
    """
    if not person.has(Role.MEMBER):
        raise NotAllowed("a project is proposed by a member")
    plan = read_plan(proposal.plan_text, otherwise_id=short_name(proposal.name))
    if plan.currency != currency:
        raise plan_fault(f"currency is {plan.currency}: the co-op's fund holds {currency}")
    asked = Money.from_decimal(plan.costs.capex - plan.finance.loan, currency)
    if asked.amount_minor < COST_MINOR_MIN:
        raise plan_fault("cost.capex less finance.loan is what the fund pays; it is too little")
    if repository.project_row(connection, plan.project_id) is not None:
        raise StateConflict(
            f"a project {plan.project_id} exists already; write another id into the project file"
        )
    waiting = [
        one
        for one in repository.events_by_project(connection).values()
        if one[-1].kind == "proposed"
    ]
    if len(waiting) >= PROJECTS_OPEN_MAX:
        raise StateConflict(f"{len(waiting)} proposals wait for the board; propose again later")
    project = SolarProject(
        project_id=plan.project_id,
        name=proposal.name,
        site=proposal.site,
        words=proposal.words,
        plan_text=proposal.plan_text,
        cost_minor=asked.amount_minor,
        currency=currency,
        proposed_by=person.person_id,
        proposed_at=now,
    )
    repository.insert_project(connection, project)
    put_event(
        connection,
        StoredEvent(
            project_id=project.project_id,
            kind="proposed",
            at=now,
            person_id=person.person_id,
            evidence=hash_of(proposal.plan_text),
        ),
        cost_minor=project.cost_minor,
    )
    return project


def screen_project(
    connection: Connection, project_id: str, *, words: str, person: Person, now: datetime
) -> None:
    """Let a proposal pass to the appraisal, with the board's reasons.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board, or it is the own proposal.
        StateConflict: It was screened before, or has ended.
    """
    _take_step(connection, project_id, "screened", words=words, person=person, now=now)


def reject_project(
    connection: Connection, project_id: str, *, words: str, person: Person, now: datetime
) -> None:
    """Turn a project down, with a reason that everybody sees.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board, or it is the own proposal.
        StateConflict: Its grant was made, or it has ended, or it is on a ballot paper.
    """
    _take_step(connection, project_id, "rejected", words=words, person=person, now=now)


def note_built(
    connection: Connection, project_id: str, *, evidence: str, person: Person, now: datetime
) -> None:
    """Note that a project stands, by a document such as the handover.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board.
        BadInput: The evidence is no SHA-256.
        StateConflict: It was not granted.
    """
    _take_step(connection, project_id, "built", evidence=evidence, person=person, now=now)


def note_operating(
    connection: Connection,
    project_id: str,
    *,
    first_month: str,
    evidence: str,
    person: Person,
    now: datetime,
) -> None:
    """Note that a project feeds energy, from its first whole month on.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board.
        BadInput: The evidence is no SHA-256, or the month is none.
        StateConflict: It was not built.
    """
    require_month(first_month)
    _take_step(
        connection,
        project_id,
        "operating",
        evidence=evidence,
        details={"first_month": first_month},
        person=person,
        now=now,
    )


def close_project(
    connection: Connection, project_id: str, *, words: str, person: Person, now: datetime
) -> None:
    """End an operating project; what of its grant was not paid goes back to the fund.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board.
        StateConflict: It does not operate.
    """
    project, events = require_project(connection, project_id)
    returned_minor = 0
    if life_of(events).state == "operating" and life_of(events).open_minor:
        returned_minor = return_rest(connection, project, events, "closed", now)
    _take_step(
        connection,
        project_id,
        "closed",
        words=words,
        details={"returned_minor": returned_minor},
        person=person,
        now=now,
    )


def meter_month(
    connection: Connection,
    project_id: str,
    *,
    month: str,
    energy_wh: int | None,
    evidence: str,
    person: Person,
    now: datetime,
    zone: ZoneInfo,
) -> None:
    """Enter the metered energy of a month; a later entry for it corrects an earlier one.

    Args:
        connection: A transaction that may write.
        project_id: Which project.
        month: `YYYY-MM`, over by now.
        energy_wh: What the meter counted [Wh]; None for a month with a gap, which is not zero.
        evidence: SHA-256 in hex of the reading: photo, protocol, export.
        person: Who enters it.
        now: The time.
        zone: The co-op's time zone.

    Raises:
        NotFound: There is no such project.
        NotAllowed: The person is not of the board.
        BadInput: The month or the energy makes no sense, or the evidence is no SHA-256.
        StateConflict: The project does not operate.
    """
    project, events = require_project(connection, project_id)
    require_board(person, project)
    require_hash(evidence)
    check_month(events, month, now, zone)
    if energy_wh is not None and not 0 <= energy_wh <= MONTH_WH_MAX:
        raise BadInput(f"a month's energy is from 0 to {MONTH_WH_MAX} Wh")
    put_event(
        connection,
        StoredEvent(
            project_id=project_id,
            kind=METERED,
            at=now,
            person_id=person.person_id,
            evidence=evidence,
            details={"month": month, "energy_wh": energy_wh},
        ),
        energy_wh=energy_wh,
        month=month,
    )


def require_project(
    connection: Connection, project_id: str
) -> tuple[SolarProject, list[StoredEvent]]:
    """A project and all that happened to it.

    Raises:
        NotFound: There is none.
    """
    project = repository.project_row(connection, project_id)
    if project is None:
        raise NotFound("project")
    return project, repository.events_of(connection, project_id)


def put_state(connection: Connection, event: StoredEvent, **facts: Fact) -> None:
    """Add an event that changes the state, if it follows.

    Raises:
        StateConflict: It does not.
    """
    life_after(repository.events_of(connection, event.project_id), event)
    put_event(connection, event, **facts)


def hash_of(text: str) -> str:
    """SHA-256 of a text, hex: the evidence where the text itself is all there is."""
    return hashlib.sha256(text.encode()).hexdigest()


def _take_step(
    connection: Connection,
    project_id: str,
    state: str,
    *,
    person: Person,
    now: datetime,
    words: str = "",
    evidence: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Reach a state; what rests on no document rests on the words said."""
    project, events = require_project(connection, project_id)
    require_board(person, project)
    if evidence is not None:
        require_hash(evidence)
    if state == "rejected" and events[-1].kind == "listed":
        raise StateConflict("the project is on a ballot paper; wait until the vote is counted")
    event = StoredEvent(
        project_id=project_id,
        kind=state,
        at=now,
        person_id=person.person_id,
        evidence=evidence or hash_of(words),
        words=words,
        details=details or {},
    )
    life_after(events, event)
    put_event(connection, event)


def return_rest(
    connection: Connection,
    project: SolarProject,
    events: list[StoredEvent],
    reason: str,
    now: datetime,
) -> int:
    """Give what is left of a grant back to the fund; returns how much [minor units]."""
    return grants.return_grant(
        connection,
        grant_seq=int(require_grant(events).details["grant_seq"]),
        project_id=project.project_id,
        reason=f"{project.project_id} was {reason}",
        now=now,
    )


def require_grant(events: list[StoredEvent]) -> StoredEvent:
    """The event of the grant.

    Raises:
        StateConflict: There is none.
    """
    grant = grant_of(events)
    if grant is None:
        raise StateConflict("this project has no grant")
    return grant


def put_event(connection: Connection, event: StoredEvent, **facts: Fact) -> None:
    """Keep an event, and put it into the log."""
    repository.insert_event(connection, event)
    named: dict[str, Fact] = {"evidence": event.evidence, "project": event.project_id}
    record(connection, kind=f"project.{event.kind}", facts=named | facts, at=event.at)


def require_board(person: Person, project: SolarProject) -> None:
    """Let in who is of the board and did not propose the project.

    Raises:
        NotAllowed: The person may not.
    """
    if not person.has(Role.BOARD):
        raise NotAllowed("only members of the board do this")
    if person.person_id == project.proposed_by:
        raise NotAllowed("nobody decides on a proposal of their own; another of the board has to")


def require_hash(evidence: str) -> None:
    """Refuse evidence that is no SHA-256 in hex.

    Raises:
        BadInput: It is none.
    """
    if not _SHA256.fullmatch(evidence):
        raise BadInput(
            "the evidence is no SHA-256: give the document, or the 64 characters that sha256sum "
            "prints for it",
            faults=(FieldFault(pointer="/evidence", problem="64 characters 0-9 and a-f"),),
        )
