"""Binding gateways to homes, and the regular sync that carries consent both ways."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cloud.consents import usecases as consents
from cloud.errors import (
    BadClaimCode,
    CounterNotRaised,
    GatewayRevoked,
    NotFound,
    StateConflict,
    UnknownGateway,
)
from cloud.gateways import claim_code, repository
from cloud.gateways.repository import Gateway
from cloud.members import repository as members
from cloud.security import hash_secret
from cloud.transparency.usecases import commit_to, record
from gateway.wire.codec import decode
from gateway.wire.consent import decode_event
from gateway.wire.errors import BadConsentEvent, BadSignature, MalformedMessage, WireError
from gateway.wire.session import (
    ConsentOffer,
    KnownConsent,
    PairRequest,
    RefusedConsent,
    RotateRequest,
    SyncRequest,
    WithdrawalReceipt,
)
from gateway.wire.signing import (
    DOMAIN_PAIR,
    DOMAIN_RECEIPT,
    DOMAIN_ROTATE,
    DOMAIN_SYNC,
    SignedMessage,
    check_signature,
    key_id_of,
    open_message,
    public_key_from_text,
)

REASON_CHARS_MAX = 200

log = logging.getLogger("commonwatt.gateways")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A request of a gateway as it arrived.

    Args:
        payload: The signed bytes.
        key_id: Which key the header names; empty when it names none.
        signature: From the header, base64.
    """

    payload: bytes
    key_id: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvents:
    """What became of the events a gateway sent.

    Args:
        accepted: Those on record now.
        refused: Those that are not, because they are bad or crossed with one made here.
    """

    accepted: list[KnownConsent]
    refused: list[RefusedConsent]

    def shared(self, claimed: tuple[KnownConsent, ...]) -> dict[str, int]:
        """Newest version of each consent that gateway and cloud hold in common.

        A gateway counts its own unconfirmed events among those it knows. Where one of them was
        refused, the version of that number here is another one, and has to be sent down.
        """
        known = {item.consent_id: item.version for item in claimed}
        for item in self.accepted:
            known[item.consent_id] = max(item.version, known.get(item.consent_id, 0))
        for refused in self.refused:
            before = known.get(refused.consent_id, 0)
            known[refused.consent_id] = min(refused.version - 1, before)
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a sync brought, and what goes back.

    Args:
        gateway: Who synced, as known before.
        accepted: Home-made events that are on record now.
        refused: Home-made events that are not.
        events: Events the gateway does not hold yet.
        offers: What the co-op asks for.
        checkpoint_size: Size of the log the gateway verified last.
    """

    gateway: Gateway
    accepted: tuple[KnownConsent, ...]
    refused: tuple[RefusedConsent, ...]
    events: tuple[SignedMessage, ...]
    offers: tuple[ConsentOffer, ...]
    checkpoint_size: int


def make_claim(connection: Connection, *, household: str, now: datetime) -> str:
    """Make a claim code for a home; an older open one stops working.

    Raises:
        NotFound: There is no such home.
    """
    home = members.household_row(connection, household)
    if home is None or home.erased_at is not None:
        raise NotFound(f"household {household}")
    code = claim_code.make_code()
    repository.delete_claims_of(connection, household)
    repository.insert_claim(
        connection,
        code_hash=hash_secret(claim_code.normal_form(code)),
        household=household,
        made_at=now,
        expires_at=now + claim_code.LIFETIME,
    )
    return code


def pair_gateway(connection: Connection, request: SignedRequest, now: datetime) -> Gateway:
    """Bind a new key to the household of its claim code.

    The same key with the same code again, after an answer that was lost, is answered as before.

    Raises:
        MalformedMessage: Not a pair request, or the header names another key.
        BadSignature: The sender does not hold the key.
        BadClaimCode: Wrong, used or too old.
        StateConflict: The key is bound already.
    """
    wanted = decode(request.payload, PairRequest)
    public_key = public_key_from_text(wanted.public_key)
    key_id = key_id_of(public_key)
    if request.key_id not in ("", key_id):
        raise MalformedMessage(kind="PairRequest", problem="the header names another key")
    check_signature(public_key, DOMAIN_PAIR, request.payload, request.signature)
    claim = repository.find_claim(
        connection, hash_secret(claim_code.normal_form(wanted.claim_code)), now
    )
    if claim is None or claim.used_by not in (None, key_id):
        raise BadClaimCode
    household = claim.household
    known = repository.gateway_row(connection, key_id)
    if known is not None:
        if claim.used_by == key_id and known.revoked_at is None:
            return known
        raise StateConflict(
            "this key was used before; erase the gateway with `coop-gateway purge`, so that it makes a "
            "new one, and pair it again"
        )
    repository.mark_claim_used(connection, claim.code_hash, key_id)
    gateway = _new_gateway(public_key, household, wanted.software, now)
    repository.insert_gateway(connection, gateway)
    record(
        connection,
        kind="gateway.paired",
        facts={"gateway": commit_to(connection, subject=household, value=key_id)},
        at=now,
    )
    return gateway


def trusted_gateway(connection: Connection, key_id: str) -> Gateway:
    """Find a gateway whose key counts.

    Raises:
        UnknownGateway: No such key.
        GatewayRevoked: It counts no more.
    """
    gateway = repository.gateway_row(connection, key_id)
    if gateway is None:
        raise UnknownGateway(key_id=key_id)
    if gateway.revoked_at is not None:
        raise GatewayRevoked(key_id=key_id)
    return gateway


def sync_gateway(connection: Connection, request: SignedRequest, now: datetime) -> Synced:
    """Take home-made consent events in, and say what is new here.

    An event that cannot be taken never stops the others or the sync: it is named in `refused`
    with the reason, and the gateway finds the events it does not know in `events`.

    Raises:
        MalformedMessage: Not a sync request.
        UnknownGateway: No such key.
        GatewayRevoked: The key counts no more.
        BadSignature: Not signed by this key.
        CounterNotRaised: Seen before.
    """
    gateway = trusted_gateway(connection, request.key_id)
    check_signature(gateway.public_key, DOMAIN_SYNC, request.payload, request.signature)
    said = decode(request.payload, SyncRequest)
    if said.gateway != gateway.gateway:
        raise MalformedMessage(kind="SyncRequest", problem="it names another gateway than it signs")
    if said.counter <= gateway.counter_last:
        raise CounterNotRaised(counter=said.counter, counter_last=gateway.counter_last)
    repository.note_sync(
        connection,
        gateway.gateway,
        counter=said.counter,
        seen_at=now,
        software=said.software,
        waiting=said.waiting,
        checkpoint_size=said.checkpoint_size,
    )
    kept = _keep_events(connection, gateway, said.events, now)
    _keep_receipts(connection, gateway, said.receipts, now)
    return Synced(
        gateway=gateway,
        accepted=tuple(kept.accepted),
        refused=tuple(kept.refused),
        events=tuple(
            consents.events_newer_than(connection, gateway.household, kept.shared(said.known))
        ),
        offers=consents.offers_today(connection, now),
        checkpoint_size=said.checkpoint_size,
    )


def rotate_key(connection: Connection, request: SignedRequest, now: datetime) -> Gateway:
    """Let a new key take over from the old one; the same request again changes nothing more.

    Raises:
        UnknownGateway: No such key.
        GatewayRevoked: The old key counts no more, and did not vouch for this new one.
        MalformedMessage: Not a rotate request.
        BadSignature: Either key did not sign.
        StateConflict: The new key is bound already.
    """
    old = repository.gateway_row(connection, request.key_id)
    if old is None:
        raise UnknownGateway(key_id=request.key_id)
    check_signature(old.public_key, DOMAIN_ROTATE, request.payload, request.signature)
    said = decode(request.payload, RotateRequest)
    if said.gateway != old.gateway:
        raise MalformedMessage(kind="RotateRequest", problem="it names another gateway")
    public_key = public_key_from_text(said.new_public_key)
    check_signature(public_key, DOMAIN_ROTATE, old.gateway.encode(), said.proof)
    new_id = key_id_of(public_key)
    known = repository.gateway_row(connection, new_id)
    if known is not None and old.replaced_by == new_id:
        return known
    if old.revoked_at is not None:
        raise GatewayRevoked(key_id=old.gateway)
    if known is not None:
        raise StateConflict("the new key is bound already; make another one")
    new = _new_gateway(public_key, old.household, old.software, now)
    repository.insert_gateway(connection, new)
    repository.mark_revoked(connection, old.gateway, now=now, replaced_by=new_id)
    record(
        connection,
        kind="key.rotated",
        facts={
            "old": commit_to(connection, subject=old.household, value=old.gateway),
            "new": commit_to(connection, subject=old.household, value=new_id),
        },
        at=now,
    )
    return new


def revoke_gateway(connection: Connection, key_id: str, *, now: datetime) -> None:
    """Let a lost gateway's key count no more.

    Raises:
        NotFound: There is no such gateway.
        StateConflict: It was revoked before.
    """
    gateway = repository.gateway_row(connection, key_id)
    if gateway is None:
        raise NotFound(f"gateway {key_id}")
    if gateway.revoked_at is not None:
        raise StateConflict("this gateway was revoked before")
    repository.mark_revoked(connection, key_id, now=now)
    record(
        connection,
        kind="gateway.revoked",
        facts={"gateway": commit_to(connection, subject=gateway.household, value=key_id)},
        at=now,
    )


def _new_gateway(public_key: bytes, household: str, software: str, now: datetime) -> Gateway:
    return Gateway(
        gateway=key_id_of(public_key),
        public_key=public_key,
        household=household,
        paired_at=now,
        revoked_at=None,
        replaced_by=None,
        counter_last=0,
        seen_at=None,
        software=software,
        waiting=0,
        checkpoint_size=0,
    )


def _keep_events(
    connection: Connection, gateway: Gateway, events: tuple[SignedMessage, ...], now: datetime
) -> KeptEvents:
    kept = KeptEvents(accepted=[], refused=[])
    for message in events:
        try:
            event = decode_event(message.payload.encode())
        except MalformedMessage as fault:
            log.warning("consent event refused gateway=%s cause=%s", gateway.gateway, fault)
            continue
        named = KnownConsent(consent_id=event.consent_id, version=event.version)
        try:
            consents.keep_home_event(
                connection,
                message,
                household=gateway.household,
                public_key=gateway.public_key,
                now=now,
            )
        except (BadConsentEvent, BadSignature, StateConflict) as fault:
            log.warning("consent event refused gateway=%s cause=%s", gateway.gateway, fault)
            kept.refused.append(
                RefusedConsent(
                    consent_id=event.consent_id,
                    version=event.version,
                    reason=str(fault)[:REASON_CHARS_MAX],
                )
            )
            continue
        kept.accepted.append(named)
    return kept


def _keep_receipts(
    connection: Connection, gateway: Gateway, receipts: tuple[SignedMessage, ...], now: datetime
) -> None:
    for message in receipts:
        try:
            payload = open_message(message, DOMAIN_RECEIPT, gateway.public_key)
            receipt = decode(payload, WithdrawalReceipt)
        except WireError as fault:
            log.warning("receipt refused gateway=%s cause=%s", gateway.gateway, fault)
            continue
        consents.keep_receipt(connection, receipt, message, household=gateway.household, now=now)
