"""The homes whose gateways are simulated: a year of history, then live readings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
import msgspec
import numpy as np

from cloud.demo.simulated_gateway import Series, SimulatedGateway
from cloud.demo.street import STEP_S, Home, Load
from cloud.demo.street_cloud import StreetCloud
from cloud.gateways.usecases import make_claim
from gateway.wire.reading import Purpose, Quantity, StreamKey

METER = "main"
HOUR_S = 3600
CONSENT_OF = {
    Purpose.GROUP_TARIFF: "group-tariff",
    Purpose.BILLING: "billing",
    Purpose.OWN_INSIGHT: "own-insight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """From when on each purpose's readings are sent, all aware UTC.

    Args:
        group_from: For the group tariff.
        billing_from: For the settlement.
        insight_from: For the member's own page.
        now: Up to here.
    """

    group_from: datetime
    billing_from: datetime
    insight_from: datetime
    now: datetime

    def start_of(self, purpose: Purpose) -> datetime:
        """Where a purpose begins."""
        return {
            Purpose.GROUP_TARIFF: self.group_from,
            Purpose.BILLING: self.billing_from,
            Purpose.OWN_INSIGHT: self.insight_from,
        }[purpose]


@dataclass(slots=True)
class Neighbour:
    """A home with a simulated gateway.

    Args:
        home: Which home.
        household: Its pseudonym.
        load: What its meter counts.
        purposes: What it agreed to.
        gateway: Its simulated gateway.
        sent_to: Per purpose, the end of what was sent.
    """

    home: Home
    household: str
    load: Load
    purposes: tuple[Purpose, ...]
    gateway: SimulatedGateway
    sent_to: dict[Purpose, datetime] = field(default_factory=dict)


def join(
    cloud: StreetCloud,
    home: Home,
    household: str,
    load: Load,
    purposes: Sequence[Purpose],
    spans: Spans,
) -> Neighbour:
    """Pair a simulated gateway and say yes at home to some purposes."""
    with cloud.services.database.transaction() as connection:
        code = make_claim(connection, household=household, now=cloud.time.now())
    client = httpx.Client(base_url=cloud.url, timeout=60)
    gateway = SimulatedGateway(client=client, clock=cloud.time.now)
    gateway.pair(code)
    for purpose in purposes:
        consent_id = CONSENT_OF[purpose]
        terms = msgspec.structs.replace(
            gateway.offers[consent_id],
            meters=(METER,),
            valid_from=spans.start_of(purpose),
            valid_to=spans.now + timedelta(days=365),
        )
        gateway.give(consent_id, terms)
    gateway.sync()
    return Neighbour(
        home=home, household=household, load=load, purposes=tuple(purposes), gateway=gateway
    )


def send_up_to(neighbour: Neighbour, spans: Spans, end: datetime) -> int:
    """Send what was not sent yet, up to a quarter hour; returns the intervals the cloud took."""
    accepted = 0
    for purpose in neighbour.purposes:
        step_s = HOUR_S if purpose is Purpose.BILLING else STEP_S
        start = neighbour.sent_to.get(purpose, spans.start_of(purpose))
        whole_s = (end - start).total_seconds() // step_s * step_s
        stop = start + timedelta(seconds=whole_s)
        if stop <= start:
            continue
        series = _series(neighbour, purpose, start, stop, step_s)
        for answer in neighbour.gateway.send(series):
            accepted += sum(part.accepted for part in answer.parts)
        neighbour.sent_to[purpose] = stop
    return accepted


def send_history(neighbours: Sequence[Neighbour], spans: Spans) -> int:
    """Send everybody's history through the ingest door; returns the intervals taken."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return sum(pool.map(lambda one: send_up_to(one, spans, spans.now), neighbours))


def seal_again(neighbour: Neighbour) -> list[bytes]:
    """Seal the next hour as batches, for a demonstration of a lost answer."""
    start = neighbour.sent_to[Purpose.GROUP_TARIFF]
    stop = start + timedelta(hours=1)
    series = _series(neighbour, Purpose.GROUP_TARIFF, start, stop, STEP_S)
    neighbour.sent_to[Purpose.GROUP_TARIFF] = stop
    return neighbour.gateway.seal(series)


class LiveFeed:
    """Sends every quarter hour of all neighbours as soon as it is over.

    Args:
        neighbours: Whose.
        spans: Where each purpose begins.
        cloud: For its clock.
    """

    def __init__(self, neighbours: Sequence[Neighbour], spans: Spans, cloud: StreetCloud) -> None:
        self._neighbours = neighbours
        self._spans = spans
        self._cloud = cloud
        self._stop = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="live-feed")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End.

        Raises:
            Exception: What went wrong on the way, if anything did.
        """
        self._stop.set()
        self._thread.join(30)
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.5):
                now = self._cloud.time.now()
                end = now - timedelta(seconds=now.timestamp() % STEP_S)
                for neighbour in self._neighbours:
                    send_up_to(neighbour, self._spans, end)
                    if self._stop.is_set():
                        return
        except Exception as fault:  # noqa: BLE001 - kept, and raised again by stop()
            self._fault = fault


def _series(
    neighbour: Neighbour, purpose: Purpose, start: datetime, stop: datetime, step_s: int
) -> list[Series]:
    load = neighbour.load
    first = int((start - load.start).total_seconds()) // STEP_S
    last = int((stop - load.start).total_seconds()) // STEP_S
    if first < 0 or last > len(load.import_wh):
        raise ValueError("the street's load does not reach that far")
    columns = [(Quantity.IMPORT_WH, load.import_wh)]
    # The tender asks for what homes buy; what they sell matters to the home and its settlement.
    if neighbour.home.roof_kwp and purpose is not Purpose.GROUP_TARIFF:
        columns.append((Quantity.EXPORT_WH, load.export_wh))
    return [
        Series(
            stream=StreamKey(meter=METER, quantity=quantity, purpose=purpose),
            start=start,
            step_s=step_s,
            wh=np.add.reduceat(
                energy_wh[first:last], np.arange(0, last - first, step_s // STEP_S)
            ).tolist(),
        )
        for quantity, energy_wh in columns
    ]
