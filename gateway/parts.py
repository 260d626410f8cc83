"""What commands need of the gateway's parts: those of a single command, and a state that can be read."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.account import become_owner
from gateway.clock import ClockWatch
from gateway.daemon import build_link, build_uplink, clock_of
from gateway.identity import Identity, open_identity
from gateway.outbox.salvage import is_damaged, salvage
from gateway.outbox.sqlite import SqliteOutbox
from gateway.settings import Settings, read_settings
from gateway.state_lock import only_one
from gateway.uplink.exchange import Uplink
from gateway.uplink.https import HttpsLink

log = logging.getLogger("commonwatt.gateway")


@dataclass(slots=True)
class Parts:
    """What commands need beside a running gateway."""

    settings: Settings
    store: SqliteOutbox
    identity: Identity
    link: HttpsLink
    uplink: Uplink
    local_secret: str | None

    @property
    def last_fork(self) -> str | None:
        """What contradicts itself in the co-op's log, or None."""
        stored = self.store.fact("fork")
        return None if stored is None else stored.decode()


@contextlib.contextmanager
def open_parts(config: Path, *, shows_secret: bool = False) -> Iterator[Parts]:
    """Plug together what a single command needs; its state is closed when the block ends.

    Args:
        config: Path of gateway.toml.
        shows_secret: Whether the command shows a local secret that is made now.

    Raises:
        GatewayError: Settings, state or key cannot be used.
    """
    settings, state_dir = read_settings(config)
    become_owner(state_dir)
    with contextlib.closing(SqliteOutbox.open(state_dir)) as store:
        identity, secret = open_identity(state_dir, shows_secret=shows_secret)
        watch = ClockWatch(clock=clock_of(settings), trust=settings.gateway.clock)
        link = build_link(settings, identity)
        yield Parts(
            settings=settings,
            store=store,
            identity=identity,
            link=link,
            uplink=build_uplink(settings, store, identity, watch, link),
            local_secret=secret,
        )


def mend_state(state_dir: Path) -> None:
    """Before the first look at the state: save what can be read of a damaged one.

    Raises:
        StateFault: Another gateway runs on it, or there is no room for a new file.
    """
    if not state_dir.is_dir():
        return
    with only_one(state_dir):
        if is_damaged(state_dir):
            log.error("%s", salvage(state_dir, now=datetime.now(tz=UTC)))
