"""Pairing and sync: what gateway and cloud say to each other beside readings.

Pairing binds a key made in the home to a household by a one-time claim code. Each sync carries
home-made consent events up, and narrowing events, the offers on the table and a proof of the
transparency log down. All requests are signed by the gateway (`DOMAIN_PAIR`, `DOMAIN_SYNC`);
every consent event in an answer is signed on its own by the co-op's key pinned at pairing.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from gateway.wire.batch import GapRecord
from gateway.wire.consent import ConsentId, Terms
from gateway.wire.record import AwareTime, Count, HexHash, ShortText, WireRecord
from gateway.wire.signing import KeyId, SignedMessage

PATH_PAIR = "/api/v1/gateways/pair"
PATH_SYNC = "/api/v1/gateways/sync"
PATH_ROTATE = "/api/v1/gateways/rotate"
PATH_BATCHES = "/api/v1/batches"

KeyText = Annotated[str, msgspec.Meta(min_length=44, max_length=44)]
"""A raw 32-byte public key in base64."""


class ConsentOffer(WireRecord, frozen=True, kw_only=True):
    """Something the co-op asks for, with the exact text to show.

    Args:
        offer_id: Becomes the consent id when the household says yes.
        title: A short name for the page.
        notice_text: The exact text shown; its SHA-256 is in `terms.notice`.
        terms: What would be granted.
    """

    offer_id: ConsentId
    title: ShortText
    notice_text: Annotated[str, msgspec.Meta(min_length=1, max_length=8_000)]
    terms: Terms


class PairRequest(WireRecord, frozen=True, kw_only=True):
    """A gateway asks to be bound to a household. Signed by the new key: proof of possession.

    Args:
        claim_code: As shown to the member in the co-op's portal.
        public_key: The gateway's key.
        made_at: The gateway's clock.
        software: Name and version.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    claim_code: ShortText
    public_key: KeyText
    made_at: AwareTime
    software: ShortText


class PairAnswer(WireRecord, frozen=True, kw_only=True):
    """What a gateway pins at pairing.

    Args:
        household: The household's pseudonym; consent events must name it.
        coop_name: For the local page.
        coop_key: Key whose signature may narrow.
        log_key: Key that signs checkpoints of the transparency log.
        log_origin: The log's name.
        checkpoint: Signed note of the log's newest checkpoint.
        now: The cloud's clock.
        offers: What the co-op asks for.
    """

    household: ShortText
    coop_name: ShortText
    coop_key: KeyText
    log_key: KeyText
    log_origin: ShortText
    checkpoint: str
    now: AwareTime
    offers: tuple[ConsentOffer, ...]


class KnownConsent(WireRecord, frozen=True, kw_only=True):
    """The newest version of a consent that the gateway holds."""

    consent_id: ConsentId
    version: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class RefusedConsent(WireRecord, frozen=True, kw_only=True):
    """A home-made event that the cloud did not put on record.

    Args:
        consent_id: Which consent.
        version: Which version.
        reason: Why, in words.
    """

    consent_id: ConsentId
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    reason: ShortText


class WithdrawalReceipt(WireRecord, frozen=True, kw_only=True):
    """What a gateway did when a consent died. Signed (`DOMAIN_RECEIPT`).

    Args:
        consent_id: Which consent.
        version: Version of the event that killed it.
        erased: Unsent intervals that were erased.
        at: When.
        gaps: The streams that ended, for the cloud's records.
    """

    consent_id: ConsentId
    version: Annotated[int, msgspec.Meta(ge=1)]
    erased: Count
    at: AwareTime
    gaps: tuple[GapRecord, ...] = ()


class SyncRequest(WireRecord, frozen=True, kw_only=True):
    """A gateway's regular question. Signed; the counter must rise.

    Args:
        gateway: Key id of the sender.
        sent_at: The gateway's clock.
        counter: Higher than in any request before.
        known: Newest versions of the consents it holds.
        events: Consent events made at home that the cloud has not acknowledged yet.
        receipts: Signed `WithdrawalReceipt`s not acknowledged yet.
        checkpoint_size: Size of the log at the last checkpoint it verified.
        waiting: Intervals in the outbox.
        software: Name and version.
    """

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    gateway: KeyId
    sent_at: AwareTime
    counter: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    known: Annotated[tuple[KnownConsent, ...], msgspec.Meta(max_length=256)]
    events: Annotated[tuple[SignedMessage, ...], msgspec.Meta(max_length=256)] = ()
    receipts: Annotated[tuple[SignedMessage, ...], msgspec.Meta(max_length=256)] = ()
    checkpoint_size: Count = 0
    waiting: Count = 0
    software: ShortText


class SyncAnswer(WireRecord, frozen=True, kw_only=True, omit_defaults=True):
    """The cloud's answer.

    Args:
        now: The cloud's clock.
        accepted: Versions of home-made events now on record, so that they need not be sent again.
        events: Events newer than `known`, oldest first, each signed by the co-op or by the home.
        checkpoint: Signed note of the log's newest checkpoint.
        consistency: Proof from `checkpoint_size` to the new size: hex hashes, RFC 6962.
        offers: What the co-op asks for.
        refused: Home-made events that are not on record, each with its reason; absent if none.
    """

    now: AwareTime
    accepted: tuple[KnownConsent, ...]
    events: tuple[SignedMessage, ...]
    checkpoint: str
    consistency: tuple[HexHash, ...]
    offers: tuple[ConsentOffer, ...]
    refused: Annotated[tuple[RefusedConsent, ...], msgspec.Meta(max_length=256)] = ()


class RotateRequest(WireRecord, frozen=True, kw_only=True):
    """A new key takes over. Signed by the old key (`DOMAIN_ROTATE`).

    Args:
        gateway: Key id of the old key.
        new_public_key: The key that takes over.
        proof: Signature of the new key over the old key id, base64 (`DOMAIN_ROTATE`).
        made_at: The gateway's clock.
    """

    gateway: KeyId
    new_public_key: KeyText
    proof: str
    made_at: AwareTime
