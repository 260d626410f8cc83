"""What is wrong now, said once: command, page, metrics, Home Assistant and systemd all read it here."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.clock import DOUBT_S_MIN, off_by
from gateway.meters.source import MeterCondition, MeterHealth

if TYPE_CHECKING:
    from gateway.daemon import Daemon

_FAILING = (MeterCondition.FAILING, MeterCondition.RESTING)
log = logging.getLogger("commonwatt.gateway")


def troubles(daemon: Daemon) -> dict[str, str]:
    """What is wrong now, by place, in words; empty if all is well.

    Places are short and stable: `disk`, `room`, `clock`, `log`, `key`, `work`, `sync`, `send`,
    `meter NAME`, `source NAME` and the names of what is served.
    """
    found: dict[str, str] = {}
    try:
        fork = daemon.store.fact("fork")
        if fork is not None:
            found["log"] = (
                f"the co-op's log contradicts itself, so nothing is sent: {fork.decode()}"
            )
        turned_away = daemon.store.fact("turned_away")
        if turned_away is not None:
            found["key"] = f"the co-op takes nothing from this gateway: {turned_away.decode()}"
    except sqlite3.Error as fault:
        found["disk"] = f"cannot be read ({fault})"
    found |= daemon.problems
    if "disk" in found:
        waiting = daemon.pipeline.waiting_in_memory
        found["disk"] = f"takes nothing ({found['disk']}); {waiting} intervals wait in memory"
    elif daemon.store.reserve.is_scarce():
        found["room"] = "the card is nearly full; old readings are made coarser"
    if not daemon.watch.is_synchronised():
        offset_s = daemon.watch.offset_s
        doubted = offset_s is not None and abs(offset_s) > DOUBT_S_MIN
        found["clock"] = (
            f"{off_by(offset_s)} the co-op's; readings wait in memory"
            if doubted and offset_s is not None
            else "not confirmed yet; readings wait in memory"
        )
    stuck = daemon.progress.stuck()
    if stuck:
        found["work"] = f"stuck: {', '.join(stuck)}"
    for name, health in meters(daemon).items():
        if health.condition in _FAILING:
            found[f"meter {name}"] = health.last_fault or "does not answer"
    return found


def meters(daemon: Daemon) -> dict[str, MeterHealth]:
    """How each meter is, by name."""
    return {
        name: health for source in daemon.sources for name, health in source.health().meters.items()
    }


def report(daemon: Daemon) -> dict[str, Any]:
    """How the running gateway is, for whoever asks on this machine. No readings."""
    return {
        "running": True,
        "problems": troubles(daemon),
        "in_memory": daemon.pipeline.waiting_in_memory,
        "conditions": {
            name: {
                "condition": str(health.condition),
                "last_heard": health.last_ok_at and health.last_ok_at.isoformat(timespec="seconds"),
            }
            for name, health in meters(daemon).items()
        },
    }


def one_line(daemon: Daemon) -> str:
    """How the gateway is, in a line without readings or addresses, as `systemctl status` shows it."""
    conditions = [health.condition for health in meters(daemon).values()]
    well = conditions.count(MeterCondition.OK)
    wrong = ", ".join(sorted(troubles(daemon)))
    return f"{well} of {len(conditions)} meters answer; " + (
        f"wrong: {wrong}" if wrong else "nothing wrong"
    )


@dataclass(slots=True)
class MeterLog:
    """Writes a line when a meter falls silent for long, and one when it is back."""

    _silent: set[str] = field(default_factory=set)

    def look(self, daemon: Daemon) -> None:
        """Compare with what was written last. Without the fault: it may name an address."""
        for name, health in meters(daemon).items():
            if health.condition is MeterCondition.OK and name in self._silent:
                self._silent.discard(name)
                log.info("meter %s answers again", name)
            elif health.condition is MeterCondition.RESTING and name not in self._silent:
                self._silent.add(name)
                log.warning("meter %s does not answer; it is asked less often", name)
