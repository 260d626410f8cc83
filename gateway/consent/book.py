"""The book of consents: what the household has agreed to, from signed events, never rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Grant,
    Terms,
    apply_event,
    decode_event,
    event_hash,
)
from gateway.wire.errors import BadConsentEvent, BadSignature
from gateway.wire.reading import Resolution, StreamKey
from gateway.wire.signing import DOMAIN_CONSENT, SignedMessage, open_message


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """Whose signatures count, by key id.

    Args:
        home: Raw public keys of the home: the gateway's own, earlier own ones, pinned passkeys.
        coop: Raw public keys of the co-op, pinned at pairing. They may only narrow.
    """

    home: Mapping[str, bytes]
    coop: Mapping[str, bytes]

    def open_event(self, message: SignedMessage) -> tuple[bytes, Authority]:
        """Check the signature of a consent event.

        Returns:
            The payload as signed, and whose key it was.

        Raises:
            BadSignature: An unknown key, or the signature does not fit.
        """
        for keys, authority in ((self.home, Authority.HOME), (self.coop, Authority.COOP)):
            if message.key in keys:
                return open_message(message, DOMAIN_CONSENT, keys[message.key]), authority
        raise BadSignature(domain=DOMAIN_CONSENT, key_id=message.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a person did to a consent.

    Args:
        event: What happened.
        at: When, aware UTC.
        actor: Who, in words.
    """

    event: EventType
    at: datetime
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentBook:
    """All grants of one household, dead ones included.

    Args:
        household: The household's pseudonym; events that name another are refused.
        grants: The newest state of each consent, by consent id.
    """

    household: str
    grants: Mapping[str, Grant] = field(default_factory=dict)

    def with_event(self, payload: bytes, authority: Authority) -> ConsentBook:
        """Add one event whose signature has been checked.

        An event that is already the newest one changes nothing. An older version is a roll-back.

        Raises:
            MalformedMessage: The payload is no consent event.
            BadConsentEvent: It names another household, rolls back, breaks the chain or widens
                without a key of the home.
        """
        event = decode_event(payload)
        if event.household != self.household:
            raise BadConsentEvent(
                consent_id=event.consent_id,
                problem=f"it names household {event.household!r}, this one is {self.household!r}",
            )
        known = self.grants.get(event.consent_id)
        if known is not None and event_hash(payload) == known.head:
            return self
        if known is not None and event.version <= known.version:
            raise BadConsentEvent(
                consent_id=event.consent_id,
                problem=f"version {event.version} would roll back version {known.version}",
            )
        grant = apply_event(known, payload, authority)
        return replace(self, grants={**self.grants, grant.consent_id: grant})

    def live(self) -> Iterator[Grant]:
        """Grants that are neither withdrawn nor expired, by consent id."""
        return (self.grants[name] for name in sorted(self.grants) if not self.grants[name].is_dead)

    def streams(self) -> dict[StreamKey, Grant]:
        """The grant under which each stream leaves.

        Where two consents allow the same stream, the finer one counts, because the household
        agreed to it; of two equal ones the first by name.
        """
        chosen: dict[StreamKey, Grant] = {}
        for grant in self.live():
            for meter in grant.terms.meters:
                for quantity in grant.terms.quantities:
                    key = StreamKey(meter=meter, quantity=quantity, purpose=grant.terms.purpose)
                    held = chosen.get(key)
                    if held is None or grant.terms.resolution.is_finer_than(held.terms.resolution):
                        chosen[key] = grant
        return chosen

    def finest(self) -> Resolution | None:
        """The finest step at which anything may leave, or None if nothing may."""
        steps = [grant.terms.resolution for grant in self.live()]
        return max(steps, key=lambda step: step.fineness) if steps else None

    def next_event(
        self, consent_id: str, change: Change, *, terms: Terms | None = None
    ) -> ConsentEvent:
        """Write the event that would follow for a consent, ready to be signed.

        Raises:
            BadConsentEvent: A withdrawal of something that was never given.
        """
        known = self.grants.get(consent_id)
        if known is None and change.event is not EventType.GIVEN:
            raise BadConsentEvent(consent_id=consent_id, problem="there is no such consent here")
        return ConsentEvent(
            consent_id=consent_id,
            version=1 if known is None else known.version + 1,
            prev="" if known is None else known.head,
            household=self.household,
            event=change.event,
            at=change.at,
            actor=change.actor,
            terms=terms,
        )
