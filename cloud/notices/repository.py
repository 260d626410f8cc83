"""The outbox of notices: a letter is written in the transaction that causes it, and sent later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    select,
    update,
)

from cloud.database import UtcTime, metadata
from cloud.notices.ports import Letter

notices = Table(
    "notices",
    metadata,
    Column("notice_id", Integer, primary_key=True, autoincrement=True),
    Column("address", String(320), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("text", Text, nullable=False),
    Column("written_at", UtcTime, nullable=False),
    Column("send_after", UtcTime, nullable=False),
    Column("useless_after", UtcTime),
    Column("tries", Integer, nullable=False, default=0),
    Index("ix_notices_send_after", "send_after"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingLetter:
    """A letter in the outbox.

    Args:
        notice_id: Which.
        letter: What.
        tries: How often sending failed.
        useless_after: When it is not worth sending any more.
    """

    notice_id: int
    letter: Letter
    tries: int
    useless_after: datetime | None


def insert_letter(
    connection: Connection, letter: Letter, *, at: datetime, useless_after: datetime | None
) -> None:
    """Put a letter into the outbox."""
    connection.execute(
        notices.insert().values(
            address=letter.to,
            subject=letter.subject,
            text=letter.text,
            written_at=at,
            send_after=at,
            useless_after=useless_after,
            tries=0,
        )
    )


def letters_due(connection: Connection, *, now: datetime, count: int) -> list[WaitingLetter]:
    """Letters whose time has come, oldest first."""
    rows = connection.execute(
        select(notices)
        .where(notices.c.send_after <= now)
        .order_by(notices.c.notice_id)
        .limit(count)
    )
    return [
        WaitingLetter(
            notice_id=row.notice_id,
            letter=Letter(to=row.address, subject=row.subject, text=row.text),
            tries=row.tries,
            useless_after=row.useless_after,
        )
        for row in rows
    ]


def delete_letter(connection: Connection, notice_id: int) -> None:
    """Take a letter out: it was sent, or is useless now."""
    connection.execute(delete(notices).where(notices.c.notice_id == notice_id))


def postpone_letter(
    connection: Connection, waiting: WaitingLetter, *, send_after: datetime
) -> bool:
    """Count a try and wait for the next; False if another clerk was there first."""
    changed = connection.execute(
        update(notices)
        .where(notices.c.notice_id == waiting.notice_id, notices.c.tries == waiting.tries)
        .values(tries=waiting.tries + 1, send_after=send_after)
    )
    return changed.rowcount == 1


def delete_letters_to(connection: Connection, address: str) -> int:
    """Take out all letters to an address."""
    return connection.execute(delete(notices).where(notices.c.address == address)).rowcount
