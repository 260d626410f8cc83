"""What the server does by itself: letters, erasures, counts of closed votes, compaction."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool

from cloud.consents.usecases import erase_what_was_withdrawn, note_expiries
from cloud.jobs.count_votes import count_due_votes
from cloud.notices.ports import Mailer
from cloud.notices.usecases import send_due_letters
from cloud.readings.retention import expire_readings
from cloud.services import Services

log = logging.getLogger("commonwatt.chores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something done again and again.

    Args:
        name: For the log.
        every_s: How long to rest in between [s].
        work: Does it once; runs in a thread.
    """

    name: str
    every_s: float
    work: Callable[[], object]


def usual_chores(services: Services, mailer: Mailer) -> tuple[Chore, ...]:
    """The chores of every server."""
    database, store, clock = services.database, services.store, services.clock
    return (
        Chore(
            name="letters",
            every_s=5.0,
            work=lambda: send_due_letters(database, mailer, clock()),
        ),
        Chore(
            name="erasures",
            every_s=10.0,
            work=lambda: erase_what_was_withdrawn(database, store, clock()),
        ),
        Chore(
            name="expiries",
            every_s=86_400.0,
            work=lambda: note_expiries(database, services.keys.coop, clock()),
        ),
        Chore(name="votes", every_s=10.0, work=lambda: count_due_votes(database, clock())),
        Chore(name="compaction", every_s=60.0, work=store.compact),
        Chore(
            name="retention",
            every_s=86_400.0,
            work=lambda: expire_readings(database, store, clock()),
        ),
    )


async def do_chores(chores: Sequence[Chore], stopping: asyncio.Event) -> None:
    """Do all chores until told to stop; what is being done then is done to its end.

    A chore that fails is tried again after its rest. Cancelling instead would leave threads behind
    that still work with a database that is closed under them.
    """
    async with asyncio.TaskGroup() as group:
        for chore in chores:
            group.create_task(_repeat(chore, stopping))


async def _repeat(chore: Chore, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            await run_in_threadpool(chore.work)
        except Exception:
            log.exception("chore failed name=%s; it is tried again", chore.name)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), chore.every_s)
