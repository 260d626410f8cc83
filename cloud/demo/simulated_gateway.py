"""A gateway without a meter behind it: keys, consent and batches as a real one makes them.

It goes through the same doors as a real gateway (pairing, sync, batches) with real signatures.
Only the readings it sends are made up by the street.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.wire import codec, signing
from gateway.wire.batch import Batch, BatchAnswer, Block, Part, part_hash
from gateway.wire.consent import ConsentEvent, EventType, Grant, Terms, encode_event, event_hash
from gateway.wire.reading import StreamKey
from gateway.wire.session import (
    PATH_BATCHES,
    PATH_PAIR,
    PATH_SYNC,
    KnownConsent,
    PairAnswer,
    PairRequest,
    SyncAnswer,
    SyncRequest,
)

SOFTWARE = "commonwatt-demo 1"
INTERVALS_PER_BATCH = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Consecutive intervals of one stream that are to be sent.

    Args:
        stream: Meter, quantity and purpose.
        start: Start of the first interval, aware UTC.
        step_s: Length of each [s].
        wh: Energy per interval [Wh].
    """

    stream: StreamKey
    start: datetime
    step_s: int
    wh: Sequence[int]


class SimulatedGateway:
    """One household's simulated gateway.

    Args:
        client: Talks to the cloud; its base address is the cloud's.
        clock: The street's clock.
    """

    def __init__(self, *, client: httpx.Client, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock
        self._key = Ed25519PrivateKey.generate()
        self.key_id = signing.key_id_of(signing.public_bytes(self._key))
        self.household = ""
        self._batch_seq = 0
        self._counter = 0
        self._chains: dict[StreamKey, tuple[int, str]] = {}
        self._events: list[signing.SignedMessage] = []
        self.grants: dict[str, Grant] = {}
        self.offers: dict[str, Terms] = {}

    def close(self) -> None:
        """Close its connection to the cloud."""
        self._client.close()

    def pair(self, claim_code: str) -> PairAnswer:
        """Bind this gateway's key to the household of a claim code."""
        request = PairRequest(
            claim_code=claim_code,
            public_key=signing.public_key_to_text(signing.public_bytes(self._key)),
            made_at=self._clock(),
            software=SOFTWARE,
        )
        answer = codec.decode(
            self._post(PATH_PAIR, signing.DOMAIN_PAIR, codec.encode(request)), PairAnswer
        )
        self.household = answer.household
        self.offers = {offer.offer_id: offer.terms for offer in answer.offers}
        return answer

    def give(self, consent_id: str, terms: Terms) -> None:
        """Say yes at home; the event goes up with the next sync."""
        event = ConsentEvent(
            consent_id=consent_id,
            version=1,
            prev="",
            household=self.household,
            event=EventType.GIVEN,
            at=self._clock(),
            actor="member at home",
            terms=terms,
        )
        payload = encode_event(event)
        self._events.append(signing.sign_message(self._key, signing.DOMAIN_CONSENT, payload))
        self.grants[consent_id] = Grant(
            consent_id=consent_id,
            version=1,
            household=self.household,
            state=EventType.GIVEN,
            since=event.at,
            terms=terms,
            head=event_hash(payload),
        )

    def sync(self) -> SyncAnswer:
        """Bring home-made events up."""
        self._counter += 1
        request = SyncRequest(
            gateway=self.key_id,
            sent_at=self._clock(),
            counter=self._counter,
            known=tuple(
                KnownConsent(consent_id=grant.consent_id, version=grant.version)
                for grant in self.grants.values()
            ),
            events=tuple(self._events),
            software=SOFTWARE,
        )
        answer = codec.decode(
            self._post(PATH_SYNC, signing.DOMAIN_SYNC, codec.encode(request)), SyncAnswer
        )
        self._events.clear()
        return answer

    def send(self, series: Sequence[Series]) -> list[BatchAnswer]:
        """Send series in as many batches as the limits ask for."""
        return [self.send_again(payload) for payload in self._sealed(series)]

    def send_again(self, payload: bytes) -> BatchAnswer:
        """Send a sealed batch; the same bytes may be sent any number of times."""
        return codec.decode(self._post(PATH_BATCHES, signing.DOMAIN_BATCH, payload), BatchAnswer)

    def seal(self, series: Sequence[Series]) -> list[bytes]:
        """The sealed batches for some series, without sending them."""
        return list(self._sealed(series))

    def _sealed(self, series: Sequence[Series]) -> list[bytes]:
        payloads = []
        for one in series:
            for begin in range(0, len(one.wh), INTERVALS_PER_BATCH):
                chunk = Series(
                    stream=one.stream,
                    start=one.start + timedelta(seconds=one.step_s * begin),
                    step_s=one.step_s,
                    wh=one.wh[begin : begin + INTERVALS_PER_BATCH],
                )
                payloads.append(self._seal_one(chunk))
        return payloads

    def _seal_one(self, chunk: Series) -> bytes:
        grant = next(
            grant for grant in self.grants.values() if grant.terms.purpose == chunk.stream.purpose
        )
        last_seq, prev = self._chains.get(chunk.stream, (0, ""))
        part = Part(
            meter=chunk.stream.meter,
            quantity=chunk.stream.quantity,
            purpose=chunk.stream.purpose,
            resolution=grant.terms.resolution,
            grant=grant.reference,
            epoch=0,
            seq=last_seq + 1,
            prev=prev,
            blocks=(Block(start=chunk.start, step_s=chunk.step_s, wh=tuple(chunk.wh)),),
        )
        self._chains[chunk.stream] = (last_seq + 1, part_hash(part))
        self._batch_seq += 1
        return codec.encode(
            Batch(gateway=self.key_id, seq=self._batch_seq, made_at=self._clock(), parts=(part,))
        )

    def _post(self, path: str, domain: str, payload: bytes) -> bytes:
        answer = self._client.post(
            path,
            content=codec.compress(payload),
            headers={
                "Content-Type": "application/json",
                "Content-Encoding": codec.CONTENT_ENCODING,
                signing.HEADER_KEY: self.key_id,
                signing.HEADER_SIGNATURE: signing.signature_of(self._key, domain, payload),
            },
        )
        answer.raise_for_status()
        return answer.content
