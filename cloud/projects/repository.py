"""Tables of solar projects: what was proposed, all that happened, files that appraisals rest on.

Projects, events and files can only be added: the database refuses to change or delete them. A
draft of a vote is no record yet and may be withdrawn.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from cloud.database import UtcTime, metadata

solar_projects = Table(
    "solar_projects",
    metadata,
    Column("project_id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("site", String(200), nullable=False),
    Column("words", Text, nullable=False),
    Column("plan_text", Text, nullable=False),
    Column("cost_minor", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("proposed_by", ForeignKey("people.person_id"), nullable=False),
    Column("proposed_at", UtcTime, nullable=False),
)

project_events = Table(
    "project_events",
    metadata,
    Column("event_number", Integer, primary_key=True, autoincrement=True),
    Column("project_id", ForeignKey("solar_projects.project_id"), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("person_id", ForeignKey("people.person_id")),
    Column("evidence", String(64), nullable=False),
    Column("words", Text, nullable=False),
    Column("details_text", Text, nullable=False),
)

project_files = Table(
    "project_files",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("name", String(100), nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("packed", LargeBinary, nullable=False),
    Column("person_id", ForeignKey("people.person_id"), nullable=False),
    Column("at", UtcTime, nullable=False),
)

vote_drafts = Table(
    "solar_vote_drafts",
    metadata,
    Column("draft_id", String(40), primary_key=True),
    Column("plan_text", Text, nullable=False),
    Column("prepared_by", ForeignKey("people.person_id"), nullable=False),
    Column("prepared_at", UtcTime, nullable=False),
    Column("election_id", ForeignKey("elections.election_id")),
    Column("withdrawn_at", UtcTime),
)

held_up_votes = Table(
    "held_up_votes",
    metadata,
    Column("election_id", ForeignKey("elections.election_id"), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", UtcTime, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolarProject:
    """A project as it was proposed.

    Args:
        project_id: Its name in addresses.
        name: Title for people.
        site: Where, in words.
        words: Why, in words.
        plan_text: The project file, word for word.
        cost_minor: What it asks of the fund [minor units].
        currency: ISO 4217 code.
        proposed_by: Person id.
        proposed_at: When.
    """

    project_id: str
    name: str
    site: str
    words: str
    plan_text: str
    cost_minor: int
    currency: str
    proposed_by: str
    proposed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """Something that happened to a project.

    Args:
        event_number: Place among all events; 0 before it is stored.
        project_id: Which project.
        kind: A state reached, or one of the kinds in `project_life`.
        at: When.
        person_id: Who did it; None where the server carried out a vote.
        evidence: SHA-256 in hex of what it rests on.
        words: In words, where somebody said something.
        details: Figures of this kind of event, as JSON values.
    """

    event_number: int = 0
    project_id: str
    kind: str
    at: datetime
    person_id: str | None
    evidence: str
    words: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that appraisals rest on; `content_of_file` has what is in it."""

    sha256: str
    kind: str
    name: str
    size_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteDraft:
    """A vote that one of the board prepared and another has not opened yet."""

    draft_id: str
    plan: Mapping[str, Any]
    prepared_by: str
    prepared_at: datetime
    election_id: str | None
    withdrawn_at: datetime | None


def insert_project(connection: Connection, project: SolarProject) -> None:
    """Add a project."""
    connection.execute(
        solar_projects.insert().values(
            **{name: getattr(project, name) for name in SolarProject.__slots__}
        )
    )


def project_row(connection: Connection, project_id: str) -> SolarProject | None:
    """Find a project."""
    row = connection.execute(
        select(solar_projects).where(solar_projects.c.project_id == project_id)
    ).one_or_none()
    return None if row is None else _project(row)


def all_projects(connection: Connection) -> list[SolarProject]:
    """All projects, newest first."""
    rows = connection.execute(
        select(solar_projects).order_by(
            solar_projects.c.proposed_at.desc(), solar_projects.c.project_id
        )
    )
    return [_project(row) for row in rows]


def insert_event(connection: Connection, event: StoredEvent) -> None:
    """Add an event."""
    connection.execute(
        project_events.insert().values(
            project_id=event.project_id,
            kind=event.kind,
            at=event.at,
            person_id=event.person_id,
            evidence=event.evidence,
            words=event.words,
            details_text=details_text(event.details),
        )
    )


def details_text(details: Mapping[str, Any]) -> str:
    """Write details in the one form whose hash may be evidence."""
    return json.dumps(details, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def events_of(connection: Connection, project_id: str) -> list[StoredEvent]:
    """All that happened to a project, first first."""
    rows = connection.execute(
        select(project_events)
        .where(project_events.c.project_id == project_id)
        .order_by(project_events.c.event_number)
    )
    return [_event(row) for row in rows]


def events_by_project(connection: Connection) -> dict[str, list[StoredEvent]]:
    """All that happened to every project, first first."""
    rows = connection.execute(select(project_events).order_by(project_events.c.event_number))
    found: dict[str, list[StoredEvent]] = {}
    for row in rows:
        found.setdefault(row.project_id, []).append(_event(row))
    return found


def insert_file(connection: Connection, file: StoredFile, content: bytes, person_id: str) -> None:
    """Keep a file, packed."""
    connection.execute(
        project_files.insert().values(
            sha256=file.sha256,
            kind=file.kind,
            name=file.name,
            size_bytes=file.size_bytes,
            packed=zlib.compress(content, 6),
            person_id=person_id,
            at=file.at,
        )
    )


def file_row(connection: Connection, sha256: str) -> StoredFile | None:
    """Find a file by its hash."""
    row = connection.execute(
        select(*_FILE_COLUMNS).where(project_files.c.sha256 == sha256)
    ).one_or_none()
    return None if row is None else _file(row)


def all_files(connection: Connection) -> list[StoredFile]:
    """All files, newest first."""
    rows = connection.execute(select(*_FILE_COLUMNS).order_by(project_files.c.at.desc()))
    return [_file(row) for row in rows]


def content_of_file(connection: Connection, sha256: str) -> bytes | None:
    """What is in a file."""
    packed = connection.scalar(
        select(project_files.c.packed).where(project_files.c.sha256 == sha256)
    )
    return None if packed is None else zlib.decompress(packed)


def insert_draft(
    connection: Connection,
    draft_id: str,
    *,
    plan: Mapping[str, Any],
    prepared_by: str,
    now: datetime,
) -> None:
    """Keep a prepared vote."""
    connection.execute(
        vote_drafts.insert().values(
            draft_id=draft_id,
            plan_text=json.dumps(plan),
            prepared_by=prepared_by,
            prepared_at=now,
        )
    )


def draft_row(connection: Connection, draft_id: str) -> VoteDraft | None:
    """Find a prepared vote."""
    row = connection.execute(
        select(vote_drafts).where(vote_drafts.c.draft_id == draft_id)
    ).one_or_none()
    return None if row is None else _draft(row)


def waiting_drafts(connection: Connection) -> list[VoteDraft]:
    """Prepared votes that were neither opened nor withdrawn, newest first."""
    rows = connection.execute(
        select(vote_drafts)
        .where(vote_drafts.c.election_id.is_(None), vote_drafts.c.withdrawn_at.is_(None))
        .order_by(vote_drafts.c.prepared_at.desc(), vote_drafts.c.draft_id)
    )
    return [_draft(row) for row in rows]


def finish_draft(
    connection: Connection,
    draft_id: str,
    *,
    election_id: str | None = None,
    withdrawn_at: datetime | None = None,
) -> None:
    """Note that a prepared vote was opened or withdrawn."""
    connection.execute(
        update(vote_drafts)
        .where(vote_drafts.c.draft_id == draft_id)
        .values(election_id=election_id, withdrawn_at=withdrawn_at)
    )


def hold_up(connection: Connection, election_id: str, reason: str, now: datetime) -> bool:
    """Note why a vote cannot be counted yet; returns whether that is news."""
    known = held_up(connection, election_id)
    if known == reason:
        return False
    let_go(connection, election_id)
    connection.execute(
        held_up_votes.insert().values(election_id=election_id, reason=reason, since=now)
    )
    return True


def held_up(connection: Connection, election_id: str) -> str | None:
    """Why a vote cannot be counted yet."""
    return connection.scalar(
        select(held_up_votes.c.reason).where(held_up_votes.c.election_id == election_id)
    )


def let_go(connection: Connection, election_id: str) -> None:
    """Forget why a vote could not be counted."""
    connection.execute(delete(held_up_votes).where(held_up_votes.c.election_id == election_id))


_FILE_COLUMNS = tuple(project_files.c[name] for name in StoredFile.__slots__)


def _project(row: Row[Any]) -> SolarProject:
    return SolarProject(**{name: getattr(row, name) for name in SolarProject.__slots__})


def _event(row: Row[Any]) -> StoredEvent:
    return StoredEvent(
        event_number=row.event_number,
        project_id=row.project_id,
        kind=row.kind,
        at=row.at,
        person_id=row.person_id,
        evidence=row.evidence,
        words=row.words,
        details=json.loads(row.details_text),
    )


def _file(row: Row[Any]) -> StoredFile:
    return StoredFile(**{name: getattr(row, name) for name in StoredFile.__slots__})


def _draft(row: Row[Any]) -> VoteDraft:
    return VoteDraft(
        draft_id=row.draft_id,
        plan=json.loads(row.plan_text),
        prepared_by=row.prepared_by,
        prepared_at=row.prepared_at,
        election_id=row.election_id,
        withdrawn_at=row.withdrawn_at,
    )
