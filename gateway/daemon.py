"""One process that does it all: the only place where the gateway's real parts are plugged in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path

from gateway.backfill import HoleFiller
from gateway.clock import Clock, ClockWatch, SystemClock
from gateway.consent.book import ConsentBook
from gateway.errors import GatewayError, NotPaired, StateFault
from gateway.health import LiveMeters, LoopProgress, notify_systemd, watchdog_every_s
from gateway.identity import Identity, open_identity
from gateway.meters.source import MeterSource, Sample
from gateway.metrics import MetricsServer
from gateway.outbox.room import make_room
from gateway.outbox.salvage import is_damage
from gateway.outbox.sqlite import SqliteOutbox, StaleBook
from gateway.pipeline import Pipeline
from gateway.ports import CloudLink, Served
from gateway.settings import Settings
from gateway.simulation import SimulatedClock
from gateway.sources import broker_address, build_sources, counts_of, record_keepers
from gateway.state_lock import only_one
from gateway.status_socket import StatusServer
from gateway.troubles import MeterLog, one_line
from gateway.uplink.backoff import PAUSE_S_MAX, Backoff
from gateway.uplink.exchange import Uplink
from gateway.uplink.https import WHOLE_ANSWER_FACTOR, HttpsLink
from gateway.wire.errors import WireError

HELD_SAMPLES_MAX = 20_000
"""Samples kept in memory while the clock cannot be believed; then every second one goes."""
TICK_S = 1.0
_TALK_FAULTS = (GatewayError, WireError, sqlite3.Error, OSError)
"""What may go wrong between here and the co-op without ending the gateway."""
log = logging.getLogger("commonwatt.gateway")


@dataclass(slots=True)
class Daemon:
    """The running gateway.

    Args:
        settings: From gateway.toml.
        store: State on disk.
        identity: Key and pinned keys.
        watch: Clock.
        pipeline: From samples to what may be kept.
        uplink: The conversation with the co-op.
        sources: Wires with meters.
        live: Meters as last seen.
        progress: Loops that must turn.
        local_secret: The household's secret, if it was made just now.
        problems: What is wrong now, by place.
        holes: Asks devices for what they recorded while the gateway was away.
    """

    settings: Settings
    store: SqliteOutbox
    identity: Identity
    watch: ClockWatch
    pipeline: Pipeline
    uplink: Uplink
    sources: Sequence[MeterSource]
    live: LiveMeters = field(default_factory=LiveMeters)
    progress: LoopProgress = field(default_factory=LoopProgress)
    local_secret: str | None = None
    problems: dict[str, str] = field(default_factory=dict)
    holes: HoleFiller = field(init=False)
    _generation: int = 0
    _held: list[tuple[float, Sample]] = field(default_factory=list)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _wake_sender: asyncio.Event = field(default_factory=asyncio.Event)
    _meter_log: MeterLog = field(default_factory=MeterLog)
    _told: str = ""

    def __post_init__(self) -> None:
        """Make what leans on the other parts."""
        self.holes = HoleFiller(
            keepers=record_keepers(self.settings),
            last_totals=self.pipeline.last_totals,
            take=self.pipeline.take,
            note=lambda said: self._note("backfill", said),
        )

    def take(self, sample: Sample) -> None:
        """Take in what a meter said; hold it in memory while the clock cannot be believed."""
        self.live.take(sample)
        self._look_at_clock()
        if not self.watch.is_synchronised():
            self._held.append((self.watch.clock.since_boot_s(), sample))
            if len(self._held) > HELD_SAMPLES_MAX:
                self._held = _thinned(self._held)
            return
        self._release()
        self._notice_changes()
        if not self.holes.catches(sample):
            self.pipeline.take(sample)

    async def flush(self) -> None:
        """Write what has come in, in one transaction; keep it in memory if the disk takes nothing."""
        async with self._writing:
            self._notice_changes()
            commit = self.pipeline.commit()
            if commit.is_empty:
                self.problems.pop("disk", None)
                return
            try:
                await asyncio.to_thread(self.store.commit, commit, generation=self._generation)
            except StaleBook:
                self.pipeline.take_back(commit)
                self._notice_changes(surely=True)
                return
            except sqlite3.Error as fault:
                self.pipeline.take_back(commit)
                await self._disk_failed(fault)
                return
            # From here on the readings are on disk, whatever becomes of the rest.
            try:
                await asyncio.to_thread(self._keep_room)
            except sqlite3.Error as fault:
                await self._disk_failed(fault)
                return
            if self.problems.pop("disk", None) is not None:
                log.warning("the disk takes readings again")

    async def _disk_failed(self, fault: sqlite3.Error) -> None:
        if is_damage(fault):
            # The next start saves what can be read; waiting here would only fill the memory.
            raise StateFault(
                path=str(self.store.path),
                problem=f"is damaged ({fault})",
                remedy="start the gateway again, it saves what can be read",
            ) from fault
        if self.problems.get("disk") is None:
            log.error("the disk takes nothing (%s); readings wait in memory", fault)
        self.problems["disk"] = str(fault)
        await asyncio.to_thread(self.store.give_back_room)

    def _keep_room(self) -> None:
        """Hold the number of waiting intervals within its limit, and lower while room is scarce."""
        intervals_max = self.settings.outbox.intervals_max
        if not self.store.reserve.keep() and self.store.reserve.is_scarce():
            waiting = self.store.waiting()
            intervals_max = min(intervals_max, waiting - waiting // 10)
        make_room(
            self.store,
            intervals_max=intervals_max,
            zone=self.settings.zone,
            now=self.watch.now(),
        )

    def reload_book(self) -> None:
        """Take on the consents as they are on disk now."""
        self.identity.reload()
        pinned = self.identity.pinned
        if pinned is None:
            return
        known = self._generation
        book, self._generation = self.store.book(pinned.household)
        self.pipeline.change_book(book)
        if self._generation != known:
            # Whoever changed it may have been killed before the erased rows were out of the log.
            with contextlib.suppress(sqlite3.Error):
                self.store.truncate_log()
        if not self.watch.is_synchronised():
            return
        try:
            self.store.forget_expired(book, self.watch.now())
        except sqlite3.Error as fault:
            self.problems["disk"] = str(fault)

    def wake_sender(self) -> None:
        """Let the sender look at once, such as after a pause."""
        self._wake_sender.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; then write what is in memory, and return."""
        for source in self.sources:
            self.progress.expect(f"source {source.name}", 300)
        self.live.expect(meter.name for meter in self.settings.meters)
        loops: list[Callable[[], Coroutine[None, None, None]]] = [
            self._commit_loop,
            self._sync_loop,
            self._send_loop,
            self._tick_loop,
        ]
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(loop()) for loop in loops]
        tasks += [asyncio.create_task(self._read(source)) for source in self.sources]
        tasks += self._serve()
        notify_systemd("READY=1")
        log.info("gateway %s runs with %d meters", self.identity.key_id, len(self.live.meters))
        ended: asyncio.Task[object] = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            notify_systemd("STOPPING=1")
            for task in [ended, *tasks]:
                task.cancel()
            await asyncio.gather(ended, *tasks, return_exceptions=True)
            with contextlib.suppress(StateFault):
                await self.flush()
            if self.pipeline.waiting_in_memory:
                log.error("stopped with %d intervals unwritten", self.pipeline.waiting_in_memory)

    def _serve(self) -> list[asyncio.Task[object]]:
        """Open page, figures and status; none of them must keep the readings from flowing."""
        servers: list[asyncio.Task[object]] = []
        servers.append(asyncio.create_task(self._keep_serving("status", StatusServer)))
        if self.settings.local_page.enabled:
            from gateway.local_page.server import page_server  # noqa: PLC0415  the page is optional

            servers.append(asyncio.create_task(self._keep_serving("page", page_server)))
        if self.settings.metrics.port is not None:
            servers.append(asyncio.create_task(self._keep_serving("metrics", MetricsServer)))
        if self.settings.home_assistant.enabled:
            servers.append(asyncio.create_task(self._keep_serving("home_assistant", _assistant)))
        return servers

    async def _keep_serving(self, name: str, make_server: Callable[[Daemon], Served]) -> None:
        """Serve, and begin anew if the address is taken or the server falls over."""
        loop = asyncio.get_running_loop()
        while True:
            stands = loop.call_later(5, self.problems.pop, name, None)
            try:
                await make_server(self).serve()
            except (OSError, SystemExit, GatewayError, sqlite3.Error) as fault:
                # uvicorn leaves with a number where an address is taken or not ours.
                why = "its address is taken, or is not this machine's"
                said = f"cannot be served ({why if isinstance(fault, SystemExit) else fault})"
                if self.problems.get(name) != said:
                    log.warning("%s %s", name, said)
                self.problems[name] = said
            finally:
                stands.cancel()
            await asyncio.sleep(30)

    async def _read(self, source: MeterSource) -> None:
        """Read one wire for ever; a wire that can never work is reported, the others go on."""
        while True:
            try:
                async for sample in source.samples():
                    self.problems.pop(f"source {source.name}", None)
                    self.take(sample)
            except (GatewayError, OSError) as fault:
                if self.problems.get(f"source {source.name}") != str(fault):
                    log.warning("source %s: %s", source.name, fault)
                self.problems[f"source {source.name}"] = str(fault)
            await asyncio.sleep(60)

    async def _commit_loop(self) -> None:
        every_s = self.settings.outbox.commit_every_s
        self.progress.expect("commit", 3 * every_s + 60)
        while True:
            await asyncio.sleep(every_s)
            await self.flush()
            self.progress.turned("commit")

    async def _sync_loop(self) -> None:
        every_s = self.settings.cloud.sync_every_s
        backoff = Backoff()
        self.progress.expect("sync", every_s + PAUSE_S_MAX + self._answer_s_max)
        while True:
            wait_s = every_s
            try:
                await self.uplink.sync()
                backoff.reset()
                self.problems.pop("sync", None)
                self._wake_sender.set()
                self.reload_book()
            except NotPaired:
                pass
            except _TALK_FAULTS as fault:
                wait_s = self._failed("sync", fault, backoff)
            self.progress.turned("sync")
            await asyncio.sleep(wait_s)

    async def _send_loop(self) -> None:
        every_s = self.settings.cloud.send_every_s
        backoff = Backoff()
        self.progress.expect("send", every_s + PAUSE_S_MAX + self._answer_s_max)
        while True:
            wait_s = every_s
            try:
                await self.uplink.send_waiting(turned=lambda: self.progress.turned("send"))
                backoff.reset()
                self.problems.pop("send", None)
            except _TALK_FAULTS as fault:
                wait_s = self._failed("send", fault, backoff)
            self.progress.turned("send")
            self._wake_sender.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake_sender.wait(), timeout=wait_s)

    @property
    def _answer_s_max(self) -> float:
        """How long one exchange with the co-op and writing it down may take, with some room [s]."""
        return WHOLE_ANSWER_FACTOR * self.settings.cloud.timeout_s + 300

    async def _tick_loop(self) -> None:
        every_s = watchdog_every_s()
        while True:
            self._tick()
            if every_s is not None and not self.progress.stuck():
                notify_systemd("WATCHDOG=1")
            await asyncio.sleep(TICK_S)

    def _tick(self) -> None:
        for source in self.sources:
            self.progress.turned(f"source {source.name}", source.health().progress_s)
        self._look_at_clock()
        if self.watch.is_synchronised():
            self._release()
        self._notice_changes()
        self._meter_log.look(self)
        said = one_line(self)
        if said != self._told and notify_systemd(f"STATUS={said}"):
            self._told = said

    def _look_at_clock(self) -> None:
        stepped_s = self.watch.step_s()
        if stepped_s:
            log.warning("the clock jumped step_s=%.1f", stepped_s)
            self._note("clock", f"the clock jumped by {stepped_s:.1f} s")

    def _failed(self, loop: str, fault: Exception, backoff: Backoff) -> float:
        if isinstance(fault, sqlite3.Error):
            # The line is fine: what failed is writing down.
            loop = "disk"
        wait_s = backoff.next_s(getattr(fault, "retry_after_s", None))
        if self.problems.get(loop) != str(fault):
            log.warning("%s: %s; next try in %.0f s", loop, fault, wait_s)
        self.problems[loop] = str(fault)
        return wait_s

    def _notice_changes(self, *, surely: bool = False) -> None:
        """Take on consents that somebody else changed, as far as the disk can be read."""
        try:
            if self.store.changed_elsewhere() or surely:
                self.reload_book()
        except (sqlite3.Error, GatewayError, OSError) as fault:
            self.problems["disk"] = str(fault)

    def _note(self, kind: str, said: str) -> None:
        """Write down something the household should see, if the disk takes it."""
        with contextlib.suppress(sqlite3.Error):
            self.store.note(self.watch.now(), kind, said)

    def _release(self) -> None:
        """Give held samples their real time, now that it is known."""
        held, self._held = self._held, []
        for boot_s, sample in held:
            self.pipeline.take(
                Sample(
                    meter=sample.meter,
                    taken_at=self.watch.time_of(boot_s),
                    quantities=sample.quantities,
                    identity=sample.identity,
                )
            )


def build(
    settings: Settings,
    state_dir: Path,
    *,
    clock: Clock | None = None,
    sources: Sequence[MeterSource] | None = None,
    link: CloudLink | None = None,
    shows_secret: bool = True,
) -> Daemon:
    """Plug the real parts together.

    Args:
        settings: From gateway.toml.
        state_dir: Where the state lies.
        clock: Instead of the machine's.
        sources: Instead of those of the settings.
        link: Instead of the one to the co-op.
        shows_secret: Whether a local secret may be made, because the caller shows it.

    Raises:
        GatewayError: State, key, a map or a preset cannot be used.
    """
    store = SqliteOutbox.open(state_dir)
    identity, secret = open_identity(state_dir, shows_secret=shows_secret)
    watch = ClockWatch(clock=clock or clock_of(settings), trust=settings.gateway.clock)
    pace = settings.simulation.rate if settings.simulation else 1.0
    pipeline = Pipeline(
        meters={meter.name: counts_of(meter, pace=pace) for meter in settings.meters},
        zone=settings.zone,
        book=ConsentBook(household=""),
        streams=store.open_streams(),
        counters=store.counters(),
    )
    if sources is None:
        sources = build_sources(settings, client_id=identity.key_id, clock=watch.now)
    daemon = Daemon(
        settings=settings,
        store=store,
        identity=identity,
        watch=watch,
        pipeline=pipeline,
        uplink=build_uplink(
            settings, store, identity, watch, link or build_link(settings, identity)
        ),
        sources=sources,
        local_secret=secret,
    )
    daemon.reload_book()
    return daemon


def clock_of(settings: Settings) -> Clock:
    """The machine's clock, or a story's."""
    story = settings.simulation
    if story is None:
        return SystemClock()
    return SimulatedClock(
        machine_start=story.machine_start,
        story_start=story.story_start.astimezone(UTC),
        rate=story.rate,
        fast_s=story.fast_s,
    )


def build_link(settings: Settings, identity: Identity) -> HttpsLink:
    """Make the way to the co-op's server."""
    cloud = settings.cloud
    return HttpsLink(
        url=cloud.url,
        key_id=lambda: identity.key_id,
        sign=identity.signature,
        timeout_s=cloud.timeout_s,
        ca_file=cloud.ca_file,
    )


def build_uplink(
    settings: Settings,
    store: SqliteOutbox,
    identity: Identity,
    watch: ClockWatch,
    link: CloudLink,
) -> Uplink:
    """Plug the conversation with the co-op together."""
    return Uplink(
        store=store,
        identity=identity,
        link=link,
        watch=watch,
        zone=settings.zone,
        policy_valid_for=timedelta(days=settings.cloud.policy_valid_days),
    )


async def run_until_stopped(daemon: Daemon) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Each thread costs memory of its own; the work for them is one write at a time.
    loop.set_default_executor(ThreadPoolExecutor(max_workers=2, thread_name_prefix="disk"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with only_one(daemon.store.path.parent):
        try:
            await daemon.run(stop)
        finally:
            daemon.store.close()


def _assistant(daemon: Daemon) -> Served:
    from gateway.home_assistant import HomeAssistantLink  # noqa: PLC0415  only where it is wanted

    chosen = daemon.settings.home_assistant.broker
    broker = next(each for each in daemon.settings.mqtt if each.name == chosen)
    return HomeAssistantLink(daemon, broker_address(broker))


def _thinned(held: list[tuple[float, Sample]]) -> list[tuple[float, Sample]]:
    """Every second sample: counters lose no energy by it, only the shape gets coarser."""
    return [*held[:-1:2], held[-1]]
