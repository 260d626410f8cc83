"""Home Assistant finds the gateway: energy sensors, whether it sends, and a switch to stop it.

All of it goes to the household's own broker, and only if `[home_assistant] enabled = true`. The
switch can pause and go on; saying yes to anything is never possible over MQTT.

Source: Home Assistant MQTT device discovery (`<prefix>/device/<id>/config`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway import household
from gateway.meters.mqtt import BrokerAddress
from gateway.troubles import troubles
from gateway.uplink.https import software_name

if TYPE_CHECKING:
    from gateway.daemon import Daemon

PUBLISH_EVERY_S = 10.0
QUEUED_MAX = 100
RECONNECT_S_MAX = 120
STABLE_S = 60.0
"""A connection that lasted this long was a good one [s]."""
log = logging.getLogger("commonwatt.home_assistant")


class HomeAssistantLink:
    """Announces the gateway and keeps its state fresh.

    Args:
        daemon: The running gateway.
        broker: The household's broker.
    """

    def __init__(self, daemon: Daemon, broker: BrokerAddress) -> None:
        """Nothing is connected yet."""
        self._daemon = daemon
        self._broker = broker
        self._node = f"commonwatt_{daemon.identity.key_id[:12]}"
        self._base = f"commonwatt/{self._node}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._since_s = 0.0
        self._losses = 0
        self._changed = asyncio.Event()

    @property
    def discovery_topic(self) -> str:
        """Where Home Assistant looks."""
        return f"{self._daemon.settings.home_assistant.prefix}/device/{self._node}/config"

    @property
    def command_topic(self) -> str:
        """Where the switch is turned."""
        return f"{self._base}/sending/set"

    @property
    def state_topic(self) -> str:
        """Where the state is."""
        return f"{self._base}/state"

    def discovery(self) -> dict[str, Any]:
        """What the gateway is made of, as Home Assistant wants to be told."""
        parts: dict[str, dict[str, Any]] = {
            "sending": {
                "platform": "switch",
                "name": "Sending",
                "unique_id": f"{self._node}_sending",
                "command_topic": self.command_topic,
                "value_template": "{{ value_json.sending }}",
                "icon": "mdi:home-export-outline",
            },
            "leaves": {
                "platform": "sensor",
                "name": "What leaves",
                "unique_id": f"{self._node}_leaves",
                "value_template": "{{ value_json.leaves }}",
                "icon": "mdi:shield-home",
            },
            "trouble": {
                "platform": "binary_sensor",
                "name": "Trouble",
                "unique_id": f"{self._node}_trouble",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "value_template": "{{ value_json.trouble }}",
                "json_attributes_topic": self.state_topic,
                "json_attributes_template": "{{ {'why': value_json.why} | tojson }}",
            },
            "waiting": {
                "platform": "sensor",
                "name": "Waiting to be sent",
                "unique_id": f"{self._node}_waiting",
                "value_template": "{{ value_json.waiting }}",
                "state_class": "measurement",
                "entity_category": "diagnostic",
            },
        }
        for meter in self._daemon.settings.meters:
            for quantity in self._daemon.pipeline.totals(meter.name):
                parts[f"{meter.name}_{quantity}"] = {
                    "platform": "sensor",
                    "name": f"{meter.name} {quantity.removesuffix('_wh').replace('_', ' ')}",
                    "unique_id": f"{self._node}_{meter.name}_{quantity}",
                    "value_template": f"{{{{ value_json.meters['{meter.name}'].{quantity} }}}}",
                    "device_class": "energy",
                    "state_class": "total_increasing",
                    "unit_of_measurement": "Wh",
                }
        return {
            "device": {
                "identifiers": [self._node],
                "name": "Home gateway",
                "manufacturer": "Commonwatt",
                "sw_version": software_name(),
                "configuration_url": self._daemon.settings.local_page.address,
            },
            "origin": {"name": "commonwatt", "sw_version": software_name()},
            "components": parts,
            "state_topic": self.state_topic,
            "availability_topic": f"{self._base}/availability",
            "qos": 1,
        }

    def state(self) -> dict[str, Any]:
        """How it stands now."""
        daemon = self._daemon
        agreed = {grant.terms.purpose for grant in daemon.pipeline.book.live()}
        leaving = sorted(agreed.intersection(daemon.uplink.purposes_now()))
        paused = daemon.store.fact("paused") is not None
        why = [f"{place}: {said}" for place, said in troubles(daemon).items()]
        return {
            "sending": "OFF" if paused else "ON",
            "leaves": ", ".join(leaving) or "nothing",
            "waiting": daemon.store.waiting(),
            "trouble": "ON" if why else "OFF",
            "why": why,
            "meters": {
                meter.name: daemon.pipeline.totals(meter.name) for meter in daemon.settings.meters
            },
        }

    async def serve(self) -> None:
        """Announce, publish and listen until cancelled."""
        self._loop = asyncio.get_running_loop()
        client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"{self._node}-ha", clean_session=True
        )
        client.max_queued_messages_set(QUEUED_MAX)
        client.reconnect_delay_set(1, RECONNECT_S_MAX)
        client.will_set(f"{self._base}/availability", "offline", qos=1, retain=True)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_message = self._on_message
        client.connect_async(self._broker.host, self._broker.port, keepalive=60)
        client.loop_start()
        announced = ""
        try:
            while True:
                config = json.dumps(self.discovery(), sort_keys=True)
                if client.is_connected():
                    if config != announced:
                        client.publish(self.discovery_topic, config, qos=1, retain=True)
                        announced = config
                    # Not retained: a broker writes what it retains to its disk, and the state
                    # holds counters that nobody agreed to have written down.
                    client.publish(self.state_topic, json.dumps(self.state()), qos=0)
                else:
                    announced = ""
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PUBLISH_EVERY_S if announced else 1.0):
                        await self._changed.wait()
        finally:
            client.publish(f"{self._base}/availability", "offline", qos=1, retain=True)
            client.disconnect()
            client.loop_stop()

    def _on_connect(
        self, client: Client, _user: object, _flags: object, reason: Any, _properties: object
    ) -> None:
        if reason.is_failure:
            self._say(f"the broker refused: {reason}; check username, password and rights")
            return
        self._say("")
        self._since_s = time.monotonic()
        client.subscribe(self.command_topic, qos=1)
        client.publish(f"{self._base}/availability", "online", qos=1, retain=True)

    def _on_connect_fail(self, _client: Client, _user: object) -> None:
        self._say("the broker cannot be reached, or its certificate is not accepted")

    def _on_disconnect(self, client: Client, *_: object) -> None:
        """Choose how long to wait before the next try: longer each time, and never twice alike."""
        lasted_s = time.monotonic() - self._since_s
        self._losses = 0 if lasted_s >= STABLE_S else self._losses + 1
        ceiling_s = min(RECONNECT_S_MAX, 2**self._losses)
        client.reconnect_delay_set(random.randint(1, ceiling_s), RECONNECT_S_MAX)  # noqa: S311  a pause

    def _say(self, problem: str) -> None:
        """Let the event loop note what is wrong; paho's thread calls this."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._note, problem)

    def _note(self, problem: str) -> None:
        problems = self._daemon.problems
        if not problem:
            problems.pop("home_assistant", None)
        elif problems.get("home_assistant") != problem:
            log.warning("%s", problem)
            problems["home_assistant"] = problem

    def _on_message(self, _client: Client, _user: object, message: MQTTMessage) -> None:
        # A retained command would pause or resume at every restart; only a fresh one counts.
        if self._loop is not None and not message.retain:
            self._loop.call_soon_threadsafe(self.obey, bytes(message.payload[:16]))

    def obey(self, command: bytes) -> None:
        """Pause or go on, as the switch says; anything else is ignored."""
        now = self._daemon.watch.now()
        try:
            if command == b"OFF":
                household.pause(self._daemon.store, now)
            elif command == b"ON":
                household.resume(self._daemon.store, now, erase=False)
                self._daemon.wake_sender()
        except sqlite3.Error as fault:
            log.warning("the switch could not be turned, the disk takes nothing: %s", fault)
        self._changed.set()
