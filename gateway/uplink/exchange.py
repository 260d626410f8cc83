"""What is said to the co-op and what its answers change: pairing, sync, sending, rotation."""

from __future__ import annotations

import logging
from asyncio import to_thread
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from zoneinfo import ZoneInfo

import msgspec

from gateway import identity as identity_module
from gateway.clock import ClockWatch
from gateway.consent.book import Change, ConsentBook
from gateway.consent.gate import Conditions, hold
from gateway.errors import CloudRefused, CloudUnreachable, NotPaired, PairingRefused, StateFault
from gateway.identity import Identity
from gateway.outbox.sealing import SealedBatch
from gateway.outbox.sqlite import INTERVALS_PER_BATCH_MAX, SqliteOutbox
from gateway.ports import CloudLink
from gateway.uplink.https import software_name
from gateway.wire.batch import BatchAnswer
from gateway.wire.consent import EventType, decode_event, encode_event
from gateway.wire.errors import (
    BadConsentEvent,
    BadLogProof,
    BadSignature,
    MalformedMessage,
    WireError,
)
from gateway.wire.log_proof import check_consistency, read_checkpoint
from gateway.wire.reading import Purpose
from gateway.wire.session import (
    PATH_BATCHES,
    ConsentOffer,
    KnownConsent,
    PairRequest,
    RotateRequest,
    SyncAnswer,
    SyncRequest,
)
from gateway.wire.signing import (
    DOMAIN_CONSENT,
    DOMAIN_ROTATE,
    SignedMessage,
    key_id_of,
    public_bytes,
    public_key_from_text,
    public_key_to_text,
    signature_of,
)

EVENTS_PER_SYNC_MAX = 64
HEARD_FROM_ANOTHER = (
    "the co-op heard more from this gateway's key than this gateway said. If it was not set up again"
    " from an old copy, another device uses its key: rotate it"
)
COUNTED_ON_MAX = 2**40
"""Beyond this number a conflict is not about numbers; it stays far below what the contract takes."""
TURNED_AWAY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""The co-op does not know this gateway's key, or revoked it."""
CONFIRMATION_KEPT = timedelta(hours=1)
log = logging.getLogger("commonwatt.uplink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one round of sending did."""

    batches: int = 0
    intervals: int = 0


class Uplink:
    """The conversation with the co-op.

    Args:
        store: The gateway's state.
        identity: Who the gateway is.
        link: The way to the server.
        watch: Clock.
        zone: The household's time zone, for the log of what left.
        policy_valid_for: How long consents count without confirmation.
    """

    def __init__(
        self,
        *,
        store: SqliteOutbox,
        identity: Identity,
        link: CloudLink,
        watch: ClockWatch,
        zone: ZoneInfo,
        policy_valid_for: timedelta,
    ) -> None:
        """Nothing is sent until `sync` or `send_waiting` is called."""
        self._store = store
        self._identity = identity
        self._link = link
        self._watch = watch
        self._zone = zone
        self._policy_valid_for = policy_valid_for
        self._intervals_max = INTERVALS_PER_BATCH_MAX
        self._confirmed: datetime | None = None

    async def pair(self, claim_code: str) -> None:
        """Bind this gateway to the household of a claim code, and pin the co-op's keys.

        Raises:
            PairingRefused: The code does not fit, or what came back makes no sense.
            CloudUnreachable: No answer.
        """
        request = PairRequest(
            claim_code=claim_code,
            public_key=public_key_to_text(self._identity.public_key),
            made_at=self._watch.now(),
            software=software_name(),
        )
        asked_s = self._watch.clock.since_boot_s()
        try:
            answer = await self._link.pair(request)
            self._compare_clocks(answer.now, asked_s)
            read_checkpoint(
                answer.checkpoint,
                origin=answer.log_origin,
                public_key=public_key_from_text(answer.log_key),
            )
        except CloudRefused as fault:
            # The co-op's own words say what to do.
            raise PairingRefused(problem=fault.problem, remedy="") from fault
        except WireError as fault:
            raise PairingRefused(problem=str(fault)) from fault
        self._identity.pin(answer)
        await to_thread(self._keep_pairing, answer.checkpoint, answer.offers)

    async def sync(self) -> SyncAnswer:
        """Exchange consents, and demand a proof that the co-op's log only grew.

        Raises:
            NotPaired: There is no household yet.
            CloudUnreachable: No answer.
            CloudRefused: The server does not know this gateway, or knows it no more.
        """
        pinned = self._identity.pinned
        if pinned is None:
            raise NotPaired
        request = await to_thread(self._sync_request, pinned.household)
        asked_s = self._watch.clock.since_boot_s()
        try:
            answer = await self._link.sync(request)
        except CloudRefused as fault:
            if fault.status == HTTPStatus.CONFLICT and request.counter < COUNTED_ON_MAX:
                # A state from an old copy counts from where it stood; the next try is further on.
                await to_thread(self._store.skip_numbers, "sync_counter", request.counter)
                await to_thread(
                    self._store.note_once, self._watch.now(), "identity", HEARD_FROM_ANOTHER
                )
            if fault.status in TURNED_AWAY:
                await to_thread(self._note_turned_away, fault)
            raise
        self._compare_clocks(answer.now, asked_s)
        await to_thread(self._take_answer, request, answer, pinned.household)
        return answer

    async def send_waiting(self, *, turned: Callable[[], None] = lambda: None) -> Sent:
        """Send all that waits and may be sent now, oldest first.

        Args:
            turned: Called before each batch, so that a month of them is not taken for a hang.

        Raises:
            CloudUnreachable: No answer; everything stays as it is.
            CloudRefused: The server does not know this gateway, or knows it no more.
        """
        sent = Sent()
        while True:
            turned()
            purposes = await to_thread(self.purposes_now)
            if not purposes:
                return sent
            batch = await to_thread(self._next_batch, purposes)
            if batch is None:
                return sent
            if await self._send(batch):
                sent = Sent(batches=sent.batches + 1, intervals=sent.intervals + batch.intervals)

    async def rotate(self) -> None:
        """Change to a new key, which the old one vouches for.

        Raises:
            NotPaired: There is no household yet.
            StateFault: Own consent events still wait to be acknowledged; sync first.
            CloudUnreachable: No answer.
            CloudRefused: The server does not accept it.
        """
        if self._identity.pinned is None:
            raise NotPaired
        events, receipts = await to_thread(self._store.unacknowledged)
        if events or receipts:
            raise StateFault(
                path=str(self._store.path),
                problem="consent changes signed by the old key have not arrived yet",
                remedy="let the gateway sync first",
            )
        key = identity_module.new_key(self._identity.state_dir)
        old_id = self._identity.key_id
        request = RotateRequest(
            gateway=old_id,
            new_public_key=public_key_to_text(public_bytes(key)),
            proof=signature_of(key, DOMAIN_ROTATE, old_id.encode()),
            made_at=self._watch.now(),
        )
        await self._link.rotate(request)
        self._identity.adopt(key)
        (self._identity.state_dir / identity_module.NEXT_KEY_FILE).unlink(missing_ok=True)
        said = f"key {old_id} was replaced by {key_id_of(public_bytes(key))}"
        await to_thread(self._after_rotation, said)

    @property
    def clock_offset_s(self) -> float | None:
        """How far the clock was from the co-op's when they last spoke [s]; None before."""
        return self._watch.offset_s

    def conditions(self) -> Conditions:
        """What decides about sending, beside the grants."""
        return Conditions(
            now=self._watch.now(),
            clock_synchronised=self._watch.is_synchronised(),
            paused=self._store.fact("paused") is not None,
            policy_confirmed_at=self._confirmed_at(),
            policy_valid_for=self._policy_valid_for,
        )

    def purposes_now(self) -> list[Purpose]:
        """Purposes of which anything may be sent now."""
        if self._identity.pinned is None:
            return []
        if any(self._store.fact(alarm) is not None for alarm in ("fork", "turned_away")):
            return []
        conditions = self.conditions()
        return [purpose for purpose in Purpose if hold(purpose, conditions) is None]

    def _compare_clocks(self, told: datetime, asked_s: float) -> None:
        took_s = self._watch.clock.since_boot_s() - asked_s
        if not self._watch.compare(told, took_s=took_s):
            log.warning("clock differs from the co-op's offset_s=%.0f", self._watch.offset_s)

    def _confirmed_at(self) -> datetime | None:
        if self._confirmed is not None:
            return self._confirmed
        kept = self._store.fact("policy_confirmed_at")
        return datetime.fromisoformat(kept.decode()) if kept else None

    def _confirm(self, now: datetime) -> None:
        """Note that the consents were confirmed; on disk once an hour, to spare the card."""
        kept = self._store.fact("policy_confirmed_at")
        if kept is None or abs(now - datetime.fromisoformat(kept.decode())) > CONFIRMATION_KEPT:
            self._store.set_facts(policy_confirmed_at=now.isoformat().encode())
        self._confirmed = now

    def _note_turned_away(self, fault: CloudRefused) -> None:
        """Write down that the co-op takes nothing from this key, unless another took over."""
        asked_with = self._identity.key_id
        self._identity.reload()
        if self._identity.key_id != asked_with:
            return
        if self._store.fact("turned_away") is None:
            said = f"the co-op takes nothing from this gateway: {fault.problem}"
            self._store.note(self._watch.now(), "identity", said)
        self._store.set_facts(turned_away=fault.problem.encode())

    def _keep_pairing(self, checkpoint: str, offers: tuple[ConsentOffer, ...]) -> None:
        self._store.set_facts(
            checkpoint=checkpoint.encode(),
            offers=msgspec.json.encode(offers),
            fork=None,
            turned_away=None,
        )

    def _after_rotation(self, said: str) -> None:
        """Seal what waits anew under the new key, because a batch names its sender."""
        self._store.unpack_all()
        self._store.note(self._watch.now(), "identity", said)

    def _sync_request(self, household: str) -> SyncRequest:
        book, _ = self._store.book(household)
        events, receipts = self._store.unacknowledged()
        # What the co-op has not acknowledged may have crossed with a change of its own, which it
        # only sends if it is newer than what we say we know.
        known = {grant.consent_id: grant.version for grant in book.grants.values()}
        for message in events:
            event = decode_event(message.payload.encode())
            known[event.consent_id] = min(known[event.consent_id], event.version - 1)
        return SyncRequest(
            gateway=self._identity.key_id,
            sent_at=self._watch.now(),
            counter=self._store.next_number("sync_counter"),
            known=tuple(
                KnownConsent(consent_id=consent_id, version=version)
                for consent_id, version in known.items()
            ),
            events=tuple(events[:EVENTS_PER_SYNC_MAX]),
            receipts=tuple(receipts[:EVENTS_PER_SYNC_MAX]),
            checkpoint_size=self._checkpoint_size(),
            waiting=self._store.waiting(),
            software=software_name(),
        )

    def _take_answer(self, request: SyncRequest, answer: SyncAnswer, household: str) -> None:
        self._store.acknowledge(answer.accepted, request.receipts)
        for refused in answer.refused:
            log.warning("the co-op did not take a consent change made here: %s", refused.reason)
        book, _ = self._store.book(household)
        for message in answer.events:
            book = self._take_event(book, message)
        problem = self._check_log(answer)
        self._store.set_facts(offers=msgspec.json.encode(answer.offers), turned_away=None)
        if problem is None:
            self._store.set_facts(checkpoint=answer.checkpoint.encode())
            self._confirm(self._watch.now())
        else:
            self._store.set_facts(fork=problem.encode())
        if problem is not None:
            log.error("the co-op's log contradicts itself; sending stops: %s", problem)
            self._store.note_once(self._watch.now(), "fork", problem)

    def _take_event(self, book: ConsentBook, message: SignedMessage) -> ConsentBook:
        try:
            return self._apply(book, message)
        except BadConsentEvent as fault:
            return self._rebased(book, message, fault)
        except (BadSignature, MalformedMessage) as fault:
            self._refuse(fault)
            return book

    def _apply(self, book: ConsentBook, message: SignedMessage) -> ConsentBook:
        return self._store.take_event(
            book,
            message,
            keyring=self._identity.keyring,
            now=self._watch.now(),
            sign=self._identity.sign,
        )

    def _rebased(
        self, book: ConsentBook, message: SignedMessage, fault: BadConsentEvent
    ) -> ConsentBook:
        """Let a narrowing from the web go first where it crossed with a change made here.

        What was narrowed or withdrawn here is made again on top of it; what was widened here is
        not, and has to be given again.
        """
        try:
            event = decode_event(message.payload.encode())
            payload, _ = self._identity.keyring.open_event(message)
        except WireError as other:
            self._refuse(other)
            return book
        own_events, _ = self._store.unacknowledged()
        crossed = [
            decode_event(own.payload.encode())
            for own in own_events
            if decode_event(own.payload.encode()).consent_id == event.consent_id
            and decode_event(own.payload.encode()).version >= event.version
        ]
        if not crossed or not payload:
            self._refuse(fault)
            return book
        book, _ = self._store.yield_to_coop(book.household, event.consent_id, event.version)
        try:
            book = self._apply(book, message)
        except WireError as other:
            self._refuse(other)
        if any(own.event in (EventType.WITHDRAWN, EventType.EXPIRED) for own in crossed):
            grant = book.grants.get(event.consent_id)
            if grant is not None and not grant.is_dead:
                change = Change(
                    event=EventType.WITHDRAWN, at=self._watch.now(), actor="member at home"
                )
                again = encode_event(book.next_event(event.consent_id, change))
                book = self._apply(book, self._identity.sign(DOMAIN_CONSENT, again))
        else:
            said = f"your change to {event.consent_id} crossed with one from the web; check it"
            self._store.note(self._watch.now(), "consent", said)
        return book

    def _refuse(self, fault: Exception) -> None:
        log.warning("a consent event from the co-op was refused: %s", fault)
        self._store.note_once(self._watch.now(), "refused_event", str(fault))

    def _check_log(self, answer: SyncAnswer) -> str | None:
        """Check that the log only grew; the problem, or None."""
        pinned = self._identity.pinned
        if pinned is None:
            return None
        key = public_key_from_text(pinned.log_key)
        try:
            new = read_checkpoint(answer.checkpoint, origin=pinned.log_origin, public_key=key)
            kept = self._store.fact("checkpoint")
            if kept is not None:
                old = read_checkpoint(kept.decode(), origin=pinned.log_origin, public_key=key)
                proof = [bytes.fromhex(item) for item in answer.consistency]
                check_consistency(old=old, new=new, proof=proof)
        except BadLogProof as fault:
            return str(fault)
        return None

    def _checkpoint_size(self) -> int:
        kept = self._store.fact("checkpoint")
        pinned = self._identity.pinned
        if kept is None or pinned is None:
            return 0
        key = public_key_from_text(pinned.log_key)
        return read_checkpoint(kept.decode(), origin=pinned.log_origin, public_key=key).size

    def _next_batch(self, purposes: Collection[Purpose]) -> SealedBatch | None:
        batch = self._store.next_sealed(purposes)
        if batch is None and self._store.seal(
            key_id=self._identity.key_id,
            now=self._watch.now(),
            purposes=purposes,
            intervals_max=self._intervals_max,
        ):
            batch = self._store.next_sealed(purposes)
        return batch

    async def _send(self, batch: SealedBatch) -> bool:
        """Send one batch; whether it was taken."""
        now = self._watch.now()
        try:
            answer = await self._link.send(batch.payload)
        except CloudRefused as fault:
            if fault.status in TURNED_AWAY:
                await to_thread(self._note_turned_away, fault)
                raise
            await to_thread(self._set_aside, batch, fault)
            return False
        try:
            await to_thread(self._settle, batch, answer, now)
        except MalformedMessage as fault:
            # Nothing was deleted; the same bytes are sent again, after a pause.
            raise CloudUnreachable(
                url=PATH_BATCHES, problem=f"batch {batch.seq} was not acknowledged ({fault})"
            ) from fault
        return True

    def _settle(self, batch: SealedBatch, answer: BatchAnswer, now: datetime) -> None:
        if answer.seq != batch.seq:
            raise MalformedMessage(
                kind="BatchAnswer", problem=f"it acknowledges batch {answer.seq}"
            )
        day = now.astimezone(self._zone).date().isoformat()
        self._store.settle(answer, now=now, day=day)

    def _set_aside(self, batch: SealedBatch, fault: CloudRefused) -> None:
        if fault.status == HTTPStatus.CONFLICT and batch.seq < COUNTED_ON_MAX:
            log.warning("batch %d is known with other contents; it gets a new number", batch.seq)
            self._store.renumber(batch.seq, now=self._watch.now())
            return
        if fault.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and batch.intervals > 1:
            self._intervals_max = max(1, min(self._intervals_max, batch.intervals) // 2)
            self._store.unpack(batch.seq)
            return
        log.error("batch %d was refused: %s", batch.seq, fault)
        self._store.refuse_whole(batch.seq, reason=f"http_{fault.status}", now=self._watch.now())
