"""A co-op's server in memory: as strict as the contract, and able to fail on purpose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.consent.book import ConsentBook
from gateway.errors import CloudRefused, CloudUnreachable
from gateway.wire import codec
from gateway.wire.batch import (
    Batch,
    BatchAnswer,
    Outcome,
    PartAnswer,
    RefusedInterval,
    part_hash,
)
from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Notice,
    Release,
    Terms,
    decode_event,
    encode_event,
    why_withheld,
)
from gateway.wire.errors import BadConsentEvent
from gateway.wire.log_proof import (
    EMPTY_ROOT,
    Checkpoint,
    leaf_hash,
    node_hash,
    write_checkpoint,
)
from gateway.wire.reading import Purpose, Quantity, Resolution
from gateway.wire.session import (
    ConsentOffer,
    KnownConsent,
    PairAnswer,
    PairRequest,
    RotateRequest,
    SyncAnswer,
    SyncRequest,
    WithdrawalReceipt,
)
from gateway.wire.signing import (
    DOMAIN_CONSENT,
    DOMAIN_RECEIPT,
    SignedMessage,
    key_id_of,
    open_message,
    public_bytes,
    public_key_from_text,
    public_key_to_text,
    sign_message,
)

HOUSEHOLD = "h-0001"
ORIGIN = "log.coop.test"
CLAIM_CODE = "7KQ2-M9XF-40PD"


def offer(
    offer_id: str = "group-tariff",
    *,
    purpose: Purpose = Purpose.GROUP_TARIFF,
    resolution: Resolution = Resolution.QUARTER_HOUR,
    quantities: tuple[Quantity, ...] = (Quantity.IMPORT_WH, Quantity.EXPORT_WH),
    valid_from: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    valid_to: datetime = datetime(2028, 1, 1, tzinfo=UTC),
) -> ConsentOffer:
    text = f"We ask for your readings for {purpose}."
    return ConsentOffer(
        offer_id=offer_id,
        title=f"For {purpose}",
        notice_text=text,
        terms=Terms(
            purpose=purpose,
            meters=("main",),
            quantities=quantities,
            resolution=resolution,
            recipients=("coop",),
            release=Release.GROUP,
            group_min=15,
            valid_from=valid_from,
            valid_to=valid_to,
            retention_days=400,
            notice=Notice(
                notice_id=offer_id,
                version="1.0.0",
                language="en",
                sha256=hashlib.sha256(text.encode()).hexdigest(),
            ),
        ),
    )


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 6962 root, by its definition."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:split]), root_of(leaves[split:]))


def consistency_of(size: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 consistency proof, by its definition."""
    if size in (0, len(leaves)):
        return [] if whole else [root_of(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if size <= split:
        return [*consistency_of(size, leaves[:split], whole=whole), root_of(leaves[split:])]
    return [
        *consistency_of(size - split, leaves[split:], whole=False),
        root_of(leaves[:split]),
    ]


@dataclass
class FakeCoop:
    """Fills the port `CloudLink`, and remembers what it was told."""

    now: datetime = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    offers: tuple[ConsentOffer, ...] = field(default_factory=lambda: (offer(),))
    online: bool = True
    lose_answers: int = 0
    refuse_batches_with: int | None = None
    refuse_syncs_with: int | None = None
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    log_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    leaves: list[bytes] = field(default_factory=lambda: [leaf_hash(b"first")])
    gateway_key: bytes = b""
    book: ConsentBook = field(default_factory=lambda: ConsentBook(household=HOUSEHOLD))
    events: list[SignedMessage] = field(default_factory=list)
    readings: dict[tuple[object, ...], tuple[datetime, int, str]] = field(default_factory=dict)
    batches: dict[int, str] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)
    heads: dict[object, tuple[int, str]] = field(default_factory=dict)
    broken_chains: list[str] = field(default_factory=list)
    receipts: list[WithdrawalReceipt] = field(default_factory=list)
    gaps: list[object] = field(default_factory=list)
    duplicates: int = 0
    syncs: int = 0
    counter: int = 0
    refuse_intervals: set[datetime] = field(default_factory=set)

    async def pair(self, request: PairRequest) -> PairAnswer:
        self._reach()
        if request.claim_code != CLAIM_CODE:
            raise CloudRefused(url="fake", status=403, problem="no such claim code")
        self.gateway_key = public_key_from_text(request.public_key)
        return PairAnswer(
            household=HOUSEHOLD,
            coop_name="Harbour Lane Energy",
            coop_key=public_key_to_text(public_bytes(self.key)),
            log_key=public_key_to_text(public_bytes(self.log_key)),
            log_origin=ORIGIN,
            checkpoint=self.checkpoint(),
            now=self.now,
            offers=self.offers,
        )

    async def sync(self, request: SyncRequest) -> SyncAnswer:
        self._reach()
        if self.refuse_syncs_with is not None:
            raise CloudRefused(url="fake", status=self.refuse_syncs_with, problem="no")
        assert request.gateway == key_id_of(self.gateway_key)
        assert request.counter > self.counter, "the counter must rise"
        self.counter = request.counter
        self.syncs += 1
        accepted = [known for message in request.events if (known := self._keep(message))]
        for message in request.receipts:
            payload = open_message(message, DOMAIN_RECEIPT, self.gateway_key)
            self.receipts.append(codec.decode(payload, WithdrawalReceipt))
        known = {item.consent_id: item.version for item in request.known}
        newer = [
            message
            for message in self.events
            if _event(message).version > known.get(_event(message).consent_id, 0)
        ]
        size = min(request.checkpoint_size, len(self.leaves))
        return SyncAnswer(
            now=self.now,
            accepted=tuple(accepted),
            events=tuple(newer),
            checkpoint=self.checkpoint(),
            consistency=tuple(item.hex() for item in consistency_of(size, self.leaves)),
            offers=self.offers,
        )

    async def send(self, payload: bytes) -> BatchAnswer:
        self._reach()
        if self.refuse_batches_with is not None:
            raise CloudRefused(url="fake", status=self.refuse_batches_with, problem="no")
        answer = self.take(payload)
        if self.lose_answers > 0:
            self.lose_answers -= 1
            raise CloudUnreachable(url="fake", problem="the answer was lost")
        return answer

    async def rotate(self, request: RotateRequest) -> None:
        self._reach()
        self.gateway_key = public_key_from_text(request.new_public_key)

    def take(self, payload: bytes) -> BatchAnswer:
        """Store a batch, as ingest does."""
        batch = codec.decode_batch(payload)
        assert batch.gateway == key_id_of(self.gateway_key)
        digest = codec.payload_hash(payload)
        assert self.batches.setdefault(batch.seq, digest) == digest, "a number names one batch"
        self.payloads.append(payload)
        self.gaps += list(batch.gaps)
        return BatchAnswer(seq=batch.seq, sha256=digest, parts=tuple(self._parts(batch)))

    def checkpoint(self) -> str:
        state = Checkpoint(origin=ORIGIN, size=len(self.leaves), root=root_of(self.leaves))
        return write_checkpoint(state, self.log_key)

    def narrow_on_the_web(
        self, consent_id: str, event: EventType, terms: Terms | None = None
    ) -> None:
        """Do what the co-op's page may do: narrow or withdraw."""
        grant = self.book.grants[consent_id]
        payload = encode_event(
            ConsentEvent(
                consent_id=consent_id,
                version=grant.version + 1,
                prev=grant.head,
                household=HOUSEHOLD,
                event=event,
                at=self.now,
                actor="member on the web",
                terms=terms,
            )
        )
        self.book = self.book.with_event(payload, Authority.COOP)
        self.events.append(sign_message(self.key, DOMAIN_CONSENT, payload))

    def energy_wh(self) -> int:
        """All energy stored [Wh]."""
        return sum(energy_wh for _, energy_wh, _ in self.readings.values())

    def _reach(self) -> None:
        if not self.online:
            raise CloudUnreachable(url="fake", problem="the link is dead")

    def _keep(self, message: SignedMessage) -> KnownConsent | None:
        payload = open_message(message, DOMAIN_CONSENT, self.gateway_key)
        event = decode_event(payload)
        try:
            self.book = self.book.with_event(payload, Authority.HOME)
        except BadConsentEvent:
            return None
        self.events.append(message)
        return KnownConsent(consent_id=event.consent_id, version=event.version)

    def _parts(self, batch: Batch) -> list[PartAnswer]:
        answers = []
        for part in batch.parts:
            consent_id = part.grant.partition("@")[0]
            grant = self.book.grants.get(consent_id)
            seq, head = self.heads.get(part.stream, (0, ""))
            if part.seq == seq + 1 and part.prev != head:
                self.broken_chains.append(f"{part.stream} {part.seq}")
            if part.seq > seq:
                self.heads[part.stream] = (part.seq, part_hash(part))
            accepted = duplicate = 0
            refused = []
            for reading in part.readings():
                reason = why_withheld(
                    grant,
                    stream=part.stream,
                    resolution=part.resolution,
                    start=reading.start,
                    end=reading.end,
                )
                key = (part.stream, part.epoch, reading.start)
                if reading.start in self.refuse_intervals:
                    refused.append(RefusedInterval(start=reading.start, reason="overlap"))
                elif reason is not None:
                    refused.append(RefusedInterval(start=reading.start, reason=reason))
                elif key in self.readings:
                    assert self.readings[key][1] == reading.energy_wh
                    duplicate += 1
                else:
                    self.readings[key] = (reading.end, reading.energy_wh, str(reading.quality))
                    accepted += 1
            self.duplicates += duplicate
            outcome = Outcome.ACCEPTED if accepted else Outcome.DUPLICATE
            if refused and not accepted and not duplicate:
                outcome = Outcome.REFUSED
            answers.append(
                PartAnswer(
                    meter=part.meter,
                    quantity=part.quantity,
                    purpose=part.purpose,
                    epoch=part.epoch,
                    seq=part.seq,
                    outcome=outcome,
                    accepted=accepted,
                    duplicate=duplicate,
                    refused=tuple(refused),
                )
            )
        return answers


def _event(message: SignedMessage) -> ConsentEvent:
    return decode_event(message.payload.encode())


@dataclass
class FakeClock:
    """A clock that a test moves."""

    at: datetime = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
    boot_s: float = 1_000.0
    disciplined: bool = True

    def now(self) -> datetime:
        return self.at

    def since_boot_s(self) -> float:
        return self.boot_s

    def is_disciplined(self) -> bool:
        return self.disciplined

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        self.boot_s += seconds

    def step(self, seconds: float) -> None:
        """Set the clock, while no time passes."""
        self.at += timedelta(seconds=seconds)
