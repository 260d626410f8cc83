"""Writing letters into the outbox, and sending what is due."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cloud.database import Database
from cloud.notices import repository
from cloud.notices.mailers import MailFault
from cloud.notices.ports import Letter, Mailer

TRIES_MAX = 8
LETTERS_AT_ONCE = 50
FIRST_WAIT_S = 30

log = logging.getLogger("commonwatt.notices")


def write_letter(
    connection: Connection, letter: Letter, *, now: datetime, useless_after: datetime | None = None
) -> None:
    """Put a letter into the outbox, in the transaction that causes it."""
    repository.insert_letter(connection, letter, at=now, useless_after=useless_after)


def send_due_letters(database: Database, mailer: Mailer, now: datetime) -> int:
    """Send what is due; a failure is tried again later, twice as late each time.

    Returns:
        How many were sent.
    """
    with database.reading() as connection:
        due = repository.letters_due(connection, now=now, count=LETTERS_AT_ONCE)
    sent = 0
    for waiting in due:
        # Postponed before it is sent: of two clerks who see the same letter, one sends it.
        with database.transaction() as connection:
            is_ours = repository.postpone_letter(
                connection, waiting, send_after=now + timedelta(seconds=_wait_s(waiting.tries))
            )
        if not is_ours:
            continue
        expired = waiting.useless_after is not None and waiting.useless_after <= now
        is_over = expired or waiting.tries + 1 >= TRIES_MAX
        if not expired:
            try:
                mailer.send(waiting.letter)
                sent += 1
                is_over = True
            except MailFault as fault:
                log.warning("mail failed try=%d cause=%s", waiting.tries + 1, fault)
        if is_over:
            with database.transaction() as connection:
                repository.delete_letter(connection, waiting.notice_id)
    return sent


def _wait_s(tries: int) -> int:
    return int(FIRST_WAIT_S * 2**tries)
