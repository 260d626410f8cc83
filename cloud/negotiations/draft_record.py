"""Table of tenders that one person of the board prepared and a second one has to approve."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, ForeignKey, Row, String, Table, Text, select, update

from cloud.database import UtcTime, metadata
from cloud.negotiations.tender_draft import TenderDraft, draft_text, read_draft

WAITING, OPENED, DROPPED = "waiting", "opened", "dropped"

prepared_tenders = Table(
    "prepared_tenders",
    metadata,
    Column("tender_id", String(64), primary_key=True),
    Column("draft_text", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("asked_by", ForeignKey("people.person_id"), nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("decided_by", ForeignKey("people.person_id")),
    Column("decided_at", UtcTime),
    Column("refusal_text", Text, nullable=False, server_default=""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTender:
    """A prepared tender.

    Args:
        draft: What was filled in.
        state: `waiting`, `opened` or `dropped`.
        asked_by: Who prepared it.
        asked_at: When.
        decided_by: Who approved or dropped it.
        decided_at: When.
        refusal: Why the last approval could not open it, in words.
    """

    draft: TenderDraft
    state: str
    asked_by: str
    asked_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    refusal: str = ""


def insert_prepared(connection: Connection, prepared: PreparedTender) -> None:
    """Add a prepared tender."""
    connection.execute(
        prepared_tenders.insert().values(
            tender_id=prepared.draft.tender_id,
            draft_text=draft_text(prepared.draft),
            state=prepared.state,
            asked_by=prepared.asked_by,
            asked_at=prepared.asked_at,
        )
    )


def prepared_row(connection: Connection, tender_id: str) -> PreparedTender | None:
    """Find a prepared tender."""
    row = connection.execute(
        select(prepared_tenders).where(prepared_tenders.c.tender_id == tender_id)
    ).one_or_none()
    return None if row is None else _prepared(row)


def waiting_tenders(connection: Connection) -> list[PreparedTender]:
    """Those that wait for a second person, newest first."""
    rows = connection.execute(
        select(prepared_tenders)
        .where(prepared_tenders.c.state == WAITING)
        .order_by(prepared_tenders.c.asked_at.desc())
    )
    return [_prepared(row) for row in rows]


def decide(
    connection: Connection, tender_id: str, *, state: str, person_id: str, now: datetime
) -> None:
    """Note that it was opened or dropped."""
    connection.execute(
        update(prepared_tenders)
        .where(prepared_tenders.c.tender_id == tender_id)
        .values(state=state, decided_by=person_id, decided_at=now, refusal_text="")
    )


def note_refusal(connection: Connection, tender_id: str, refusal: str) -> None:
    """Note why it could not be opened."""
    connection.execute(
        update(prepared_tenders)
        .where(prepared_tenders.c.tender_id == tender_id)
        .values(refusal_text=refusal[:4_000])
    )


def _prepared(row: Row[Any]) -> PreparedTender:
    return PreparedTender(
        draft=read_draft(row.draft_text),
        state=row.state,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        refusal=row.refusal_text,
    )
