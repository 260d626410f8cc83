"""An MQTT broker as a source of samples.

paho's thread only hands messages over; everything else happens in the event loop. The session is
clean on purpose: messages that a broker kept for us carry no trustworthy time, and counters bridge
what was missed. Retained messages are left out for the same reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.decode.ha_discovery import DISCOVERY_FILTER, Discovery
from gateway.decode.mqtt_payloads import DEVICE, Preset
from gateway.decode.quantities import add_derived
from gateway.errors import BadPayload
from gateway.meters.reader import inverted, utc_now
from gateway.meters.source import (
    MeterCondition,
    MeterHealth,
    PlannedRead,
    Sample,
    SourceHealth,
    SourcePlan,
)

log = logging.getLogger("commonwatt.mqtt")

QUEUE_MESSAGES_MAX = 1_000
BACKOFF_MIN_S = 1.0
BACKOFF_MAX_S = 120.0
STABLE_S = 60.0
"""A session that lasted this long was a good one: the next pause is short again [s]."""

PERIODS_SILENT_MAX = 3
"""A device that missed so many of its usual periods has fallen silent."""

MEMORY_S_MAX = 900.0
"""How long a number counts as known when numbers of several messages are summed [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """A broker, and how to be let in.

    Args:
        host: Name or address.
        port: TCP port.
        username: Account, if it wants one.
        password: For that account.
        tls: Context for TLS; None for plain TCP.
    """

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        """As shown in health and plans, without the account."""
        return f"mqtt {self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenedMeter:
    """A meter behind a broker.

    Args:
        meter: The household's short name for it.
        preset: How it speaks.
        device: What stands for `{device}` in the preset's topics.
        inverted: Whether it is wired backwards.
    """

    meter: str
    preset: Preset
    device: str
    inverted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    topic: str
    payload: bytes
    retained: bool
    at: datetime


class _Ear:
    """What is known of one meter from its messages so far."""

    def __init__(self, listened: ListenedMeter) -> None:
        self.listened = listened
        self.health = MeterHealth()
        self.discovery = Discovery(prefix=listened.device) if listened.preset.discovery else None
        self._topics = frozenset(listened.preset.topics(listened.device))
        self._unit_topics = frozenset(listened.preset.unit_topics(listened.device))
        gone = listened.preset.availability
        self._gone_topic = gone and gone.topic.replace(DEVICE, listened.device)
        self._units: dict[str, str] = {}
        self._known: dict[str, tuple[int | float, datetime]] = {}

    def health_at(self, now: datetime) -> MeterHealth:
        """How it stands; a device that fell silent is failing though nothing said so."""
        period_s = self.listened.preset.period_s
        heard_at = self.health.last_ok_at
        if heard_at is None and self.discovery is not None and self.discovery.doubts:
            remedy = "name one of them as topic in gateway.toml"
            return replace(self.health, last_fault=f"{self.discovery.doubts}; {remedy}")
        if self.health.condition is not MeterCondition.OK or heard_at is None:
            return self.health
        silent_s = (now - heard_at).total_seconds()
        if silent_s <= PERIODS_SILENT_MAX * period_s:
            return self.health
        fault = f"nothing heard for {silent_s:.0f} s; usual is {period_s:g} s"
        return replace(self.health, condition=MeterCondition.FAILING, last_fault=fault)

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to, as known so far."""
        if self.discovery is not None:
            return (DISCOVERY_FILTER, *self.discovery.topics)
        return self.listened.preset.topics(self.listened.device)

    def hear(self, message: _Message) -> dict[str, int | float]:
        """Quantities of a message; sums over several messages are added when all are fresh."""
        if message.topic in self._unit_topics:
            self._learn_unit(message)
        elif message.topic == self._gone_topic:
            gone = self.listened.preset.availability
            if gone is not None and gone.says_offline(message.payload):
                self.failed("the device is offline")
        elif not message.retained:
            return self._remember(self._decoded(message), message.at)
        return {}

    def _decoded(self, message: _Message) -> dict[str, int | float]:
        if self.discovery is not None:
            return self.discovery.hear(message.topic, message.payload)
        if message.topic not in self._topics:
            return {}
        return self.listened.preset.decode(message.topic, message.payload, self._units)

    def _learn_unit(self, message: _Message) -> None:
        said = self.listened.preset.unit_said(message.topic, message.payload)
        self._units.update(said)
        # A unit that comes late makes what was understood before it doubtful.
        for quantity in said:
            self._known.pop(quantity, None)

    def failed(self, fault: str) -> None:
        """Note what is wrong."""
        self.health = replace(
            self.health,
            condition=MeterCondition.FAILING,
            failures_in_a_row=self.health.failures_in_a_row + 1,
            last_fault=fault,
        )

    def _remember(self, quantities: dict[str, int | float], at: datetime) -> dict[str, int | float]:
        if not quantities:
            return {}
        self.health = MeterHealth(condition=MeterCondition.OK, last_ok_at=at)
        self._known.update({name: (number, at) for name, number in quantities.items()})
        fresh = {
            name: number
            for name, (number, heard_at) in self._known.items()
            if (at - heard_at).total_seconds() <= MEMORY_S_MAX
        }
        terms_now = set(quantities)
        derived = (self.discovery or self.listened.preset).derived
        for name, terms in derived.items():
            if not terms_now.isdisjoint(term for _, term in terms):
                fresh.pop(name, None)
                add_derived(fresh, derived)
                if name in fresh:
                    quantities[name] = fresh[name]
        return quantities


def why_unreachable(fault: Exception) -> str:
    """Why a broker could not be reached, in words for whoever set it up."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted ({fault.verify_message}); "
            "check ca_file, its name and the clock"
        )
    if isinstance(fault, ssl.SSLError):
        reason = getattr(fault, "reason", None) or "it hung up"
        return f"no TLS with it ({reason}); check port and ca_file"
    if isinstance(fault, TimeoutError):
        return "does not answer in time"
    return f"cannot be reached ({getattr(fault, 'strerror', None) or type(fault).__name__})"


class MqttSource:
    """One broker. Fills the port `MeterSource`.

    Args:
        name: For logs, health and plans.
        broker: Where it is.
        meters: What is behind it.
        client_id: Unique; made from the gateway's key, or two clients throw each other out.
        clock: Aware UTC.
        monotonic: Seconds that never step back.
    """

    def __init__(
        self,
        name: str,
        broker: BrokerAddress,
        meters: tuple[ListenedMeter, ...],
        *,
        client_id: str,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._broker = broker
        self._ears = tuple(_Ear(meter) for meter in meters)
        self._client_id = client_id
        self._clock = clock
        self._monotonic = monotonic
        self._progress_s = monotonic()
        self._queue: deque[_Message] = deque(maxlen=QUEUE_MESSAGES_MAX)
        self._dropped = 0
        self._connected = False
        self._answered = False
        self._fault = ""
        self._subscribed: set[str] = set()

    @property
    def name(self) -> str:
        """Short name of the broker."""
        return self._name

    async def samples(self) -> AsyncIterator[Sample]:
        """Yield samples for ever; leaving the iteration ends the session."""
        woken = asyncio.Event()
        session = asyncio.create_task(self._stay_connected(woken))
        try:
            while True:
                while not self._queue:
                    woken.clear()
                    await self._rest(woken)
                    if session.done():
                        session.result()
                message = self._queue.popleft()
                for sample in self._samples_of(message):
                    yield sample
        finally:
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)

    def plan(self) -> SourcePlan:
        """The topics subscribed to."""
        return SourcePlan(
            name=self._name,
            reads=tuple(
                PlannedRead(meter=ear.listened.meter, what=topic)
                for ear in self._ears
                for topic in ear.topics
            ),
        )

    def health(self) -> SourceHealth:
        """How it stands, now."""
        return SourceHealth(
            name=self._name,
            connected=self._connected,
            progress_s=self._progress_s,
            meters={ear.listened.meter: ear.health_at(self._clock()) for ear in self._ears},
            dropped=self._dropped,
        )

    async def _rest(self, woken: asyncio.Event) -> None:
        """Wait for a message in short steps, so that health shows that the loop is alive."""
        self._progress_s = self._monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), timeout=1.0)
        self._progress_s = self._monotonic()

    def _samples_of(self, message: _Message) -> list[Sample]:
        samples: list[Sample] = []
        for ear in self._ears:
            try:
                quantities = ear.hear(message)
            except BadPayload as fault:
                # Without the topic: device ids in it would end up in logs.
                ear.failed(fault.problem)
                continue
            if quantities:
                turned = inverted(quantities) if ear.listened.inverted else quantities
                samples.append(
                    Sample(meter=ear.listened.meter, taken_at=message.at, quantities=turned)
                )
        return samples

    async def _stay_connected(self, woken: asyncio.Event) -> None:
        backoff_s = BACKOFF_MIN_S
        while True:
            began_s = self._monotonic()
            await self._session(woken)
            if self._monotonic() - began_s >= STABLE_S:
                backoff_s = BACKOFF_MIN_S
            # Full jitter, so that many gateways do not come back at the same moment.
            await asyncio.sleep(random.uniform(BACKOFF_MIN_S / 2, backoff_s))  # noqa: S311 - a pause, not a secret
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def _session(self, woken: asyncio.Event) -> None:
        """One connection, from connect to its loss."""
        self._answered = False
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        client = self._new_client()
        inbox: deque[_Message] = deque()

        def say(handler: Callable[..., None], *arguments: object) -> None:
            # The thread may outlive the loop by a moment when the gateway stops.
            if not loop.is_closed():
                loop.call_soon_threadsafe(handler, *arguments)

        def on_connect(
            _client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any
        ) -> None:
            say(self._on_connect, client, bool(reason.is_failure), str(reason), over)

        def on_disconnect(
            _client: Client, _data: Any, _flags: Any, _reason: Any, _properties: Any
        ) -> None:
            say(over.set)

        def on_message(_client: Client, _data: Any, message: MQTTMessage) -> None:
            at = self._clock()
            heard = _Message(
                topic=message.topic, payload=bytes(message.payload), retained=message.retain, at=at
            )
            # Waking the loop costs more than a message: once is enough for all that wait.
            inbox.append(heard)
            if len(inbox) == 1:
                say(self._take_in, inbox, woken, client)

        client.on_connect = on_connect
        client.on_disconnect = on_disconnect
        client.on_message = on_message
        try:
            await asyncio.to_thread(client.connect, self._broker.host, self._broker.port, 30)
        except (OSError, ValueError) as fault:
            self._blame(why_unreachable(fault))
            return
        client.loop_start()
        try:
            await over.wait()
            if not self._answered:
                wants = (
                    "does it want TLS? Give ca_file" if self._broker.tls is None else "is it one?"
                )
                self._blame(f"hung up without an answer; {wants}")
        finally:
            self._connected = False
            client.disconnect()
            await asyncio.shield(asyncio.to_thread(client.loop_stop))

    def _on_connect(self, client: Client, failed: bool, reason: str, over: asyncio.Event) -> None:
        self._answered = True
        if failed:
            self._blame(f"{reason}; check username, password and rights")
            over.set()
            return
        if self._fault:
            log.info("broker %s takes us again", self._name)
        self._connected, self._fault = True, ""
        self._subscribed = set()
        self._subscribe(client)

    def _subscribe(self, client: Client) -> None:
        wanted = {topic for ear in self._ears for topic in ear.topics} - self._subscribed
        if wanted:
            client.subscribe([(topic, 1) for topic in sorted(wanted)])
            self._subscribed |= wanted

    def _take_in(self, inbox: deque[_Message], woken: asyncio.Event, client: Client) -> None:
        discovering = [ear.discovery for ear in self._ears if ear.discovery is not None]
        while inbox:
            message = inbox.popleft()
            if len(self._queue) == QUEUE_MESSAGES_MAX:
                self._dropped += 1
            self._queue.append(message)
            for discovery in discovering:
                discovery.learn(message.topic, message.payload)
        woken.set()
        if discovering:
            self._subscribe(client)

    def _blame(self, fault: str) -> None:
        """Note what is wrong with the broker, and write it down once, without its address."""
        if fault != self._fault:
            log.warning("broker %s: %s", self._name, fault)
        self._fault = fault
        for ear in self._ears:
            ear.failed(f"{self._broker}: {fault}")

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = 10.0
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        return client
