"""Consent: events that are only ever added, and what they add up to.

Denied by default. A grant names purpose, quantities, meters, resolution, recipients, release
level, validity, retention and the hash of the exact text shown. Anyone may narrow; only a key
of the home may widen. Both sides fold the same events with the same code, so the cloud cannot
hold another opinion of a consent than the gateway does.

Source: the record form follows ISO/IEC TS 27560 as mapped by W3C DPV (see `PURPOSE_DPV`).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from gateway.wire.errors import BadConsentEvent, MalformedMessage
from gateway.wire.reading import Purpose, Quantity, Resolution, StreamKey
from gateway.wire.record import AwareTime, HexHash, ShortText, WireRecord

ConsentId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}$")]


class Release(enum.StrEnum):
    """How far results made from a stream may go, narrow to wide."""

    OWN_ONLY = "own_only"
    NOISED = "noised"
    GROUP = "group"

    @property
    def width(self) -> int:
        """0 for own use only up to 2 for exact sums of a group."""
        return list(Release).index(self)


class EventType(enum.StrEnum):
    """What happened to a consent."""

    GIVEN = "given"
    RENEWED = "renewed"
    NARROWED = "narrowed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class Authority(enum.StrEnum):
    """Whose key signed an event, as the reader of the event knows it."""

    HOME = "home"
    COOP = "coop"


class Withheld(enum.StrEnum):
    """Why a reading does not leave, or is not taken in."""

    NO_GRANT = "no_grant"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    METER_NOT_GRANTED = "meter_not_granted"
    QUANTITY_NOT_GRANTED = "quantity_not_granted"
    PURPOSE_NOT_GRANTED = "purpose_not_granted"
    FINER_THAN_GRANTED = "finer_than_granted"
    PARTIAL_INTERVAL = "partial_interval"
    CLOCK_NOT_SYNCHRONISED = "clock_not_synchronised"
    POLICY_NOT_CONFIRMED = "policy_not_confirmed"
    PAUSED = "paused"


class Notice(WireRecord, frozen=True, kw_only=True):
    """The text the household was shown, by version and hash.

    Args:
        notice_id: Which text.
        version: Its version, such as `1.0.0`.
        language: BCP 47 tag.
        sha256: Hash of the exact text shown, hex.
    """

    notice_id: ConsentId
    version: ShortText
    language: ShortText
    sha256: HexHash


class Terms(WireRecord, frozen=True, kw_only=True):
    """What a household agrees to for one purpose.

    Args:
        purpose: Why.
        meters: Which meters, by the household's names.
        quantities: Which quantities.
        resolution: The finest step that may leave.
        recipients: Who may see results, such as `coop` or `supplier:nordwind`.
        release: How far results may go.
        group_min: Least number of homes in any released sum.
        valid_from: Aware time, included; no interval that starts before it leaves.
        valid_to: Aware time, excluded; no interval that ends after it leaves.
        retention_days: How long the cloud may keep the stream [days].
        notice: The text shown.
    """

    purpose: Purpose
    meters: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=32)]
    quantities: Annotated[tuple[Quantity, ...], msgspec.Meta(min_length=1, max_length=8)]
    resolution: Resolution
    recipients: Annotated[tuple[ShortText, ...], msgspec.Meta(min_length=1, max_length=16)]
    release: Release
    group_min: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    valid_from: AwareTime
    valid_to: AwareTime
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=36_525)]
    notice: Notice


class ConsentEvent(WireRecord, frozen=True, kw_only=True):
    """One change of one consent. Only ever added.

    Args:
        consent_id: Which consent.
        version: 1 for the first event, then one more each time.
        prev: SHA-256 of the payload of the event before, hex; empty for the first.
        household: The household's pseudonym.
        event: What happened.
        at: When, aware.
        actor: Who, in words: `member at home`, `member on the web`, `co-op`.
        terms: The terms from now on; absent when withdrawn or expired.
    """

    schema: str = "coop-consent/1"
    consent_id: ConsentId
    version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    prev: HexHash
    household: ShortText
    event: EventType
    at: AwareTime
    actor: ShortText
    terms: Terms | None = None


class Grant(WireRecord, frozen=True, kw_only=True):
    """What the events of one consent add up to.

    Args:
        consent_id: Which consent.
        version: Version of the newest event.
        household: The household's pseudonym.
        state: Type of the newest event; `withdrawn` and `expired` grant nothing.
        since: When the newest event happened.
        terms: The terms in force, or the last ones if nothing is granted any more.
        head: SHA-256 of the newest event's payload, hex.
    """

    consent_id: str
    version: int
    household: str
    state: EventType
    since: datetime
    terms: Terms
    head: str

    @property
    def is_dead(self) -> bool:
        """Whether it lets nothing new leave any more."""
        return self.state in (EventType.WITHDRAWN, EventType.EXPIRED)

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was taken back, so that not even what it let in before may stay."""
        return self.state is EventType.WITHDRAWN

    @property
    def reference(self) -> str:
        """`consent@version`, as batches cite it."""
        return f"{self.consent_id}@{self.version}"


_EVENTS = msgspec.json.Decoder(ConsentEvent)
"""Made at import; see `codec` for why."""


def encode_event(event: ConsentEvent) -> bytes:
    """Write an event as the JSON that is signed."""
    return msgspec.json.encode(event)


def decode_event(payload: bytes) -> ConsentEvent:
    """Read an event.

    Raises:
        MalformedMessage: It is not one.
    """
    try:
        return _EVENTS.decode(payload)
    except msgspec.MsgspecError as fault:
        raise MalformedMessage(kind="consent event", problem=str(fault)) from fault


def event_hash(payload: bytes) -> str:
    """Hash that the next event cites as `prev`."""
    return hashlib.sha256(payload).hexdigest()


def is_within(new: Terms, old: Terms) -> bool:
    """Whether the new terms give away nothing that the old ones did not."""
    return (
        new.purpose == old.purpose
        and set(new.meters) <= set(old.meters)
        and set(new.quantities) <= set(old.quantities)
        and not new.resolution.is_finer_than(old.resolution)
        and set(new.recipients) <= set(old.recipients)
        and new.release.width <= old.release.width
        and new.group_min >= old.group_min
        and new.valid_from >= old.valid_from
        and new.valid_to <= old.valid_to
        and new.retention_days <= old.retention_days
    )


def apply_event(grant: Grant | None, payload: bytes, authority: Authority) -> Grant:
    """Add one event, whose signature has been checked, to what is known of its consent.

    Args:
        grant: What the earlier events add up to, or None before the first.
        payload: The event as signed.
        authority: Whose key signed it.

    Raises:
        MalformedMessage: The payload is no consent event.
        BadConsentEvent: It skips or repeats a version, cites another past, changes the household
            or the purpose, expires before its end, or widens without a key of the home.
    """
    event = decode_event(payload)
    _check_chain(grant, event)
    terms = _terms_after(grant, event, authority)
    return Grant(
        consent_id=event.consent_id,
        version=event.version,
        household=event.household,
        state=event.event,
        since=event.at,
        terms=terms,
        head=event_hash(payload),
    )


def fold(payloads: Iterable[tuple[bytes, Authority]]) -> dict[str, Grant]:
    """Add up checked events, in order, to the grants they leave, by consent id.

    Raises:
        MalformedMessage: A payload is no consent event.
        BadConsentEvent: An event does not follow from those before it.
    """
    grants: dict[str, Grant] = {}
    for payload, authority in payloads:
        grant = apply_event(grants.get(decode_event(payload).consent_id), payload, authority)
        grants[grant.consent_id] = grant
    return grants


def why_withheld(
    grant: Grant | None,
    *,
    stream: StreamKey,
    resolution: Resolution,
    start: datetime,
    end: datetime,
) -> Withheld | None:
    """Say why an interval may not pass under a grant, or None if it may.

    A grant that is on record as expired still covers the time it was given for: an interval may be
    late. The gateway asks before anything is written, the cloud asks again at its door.

    Args:
        grant: The grant that is cited, if there is one.
        stream: Meter, quantity and purpose of the interval.
        resolution: The step at which it would pass.
        start: Start of the interval, aware.
        end: End of the interval, aware.
    """
    if grant is None:
        return Withheld.NO_GRANT
    terms = grant.terms
    tests = (
        (grant.is_withdrawn, Withheld.WITHDRAWN),
        (stream.purpose != terms.purpose, Withheld.PURPOSE_NOT_GRANTED),
        (stream.meter not in terms.meters, Withheld.METER_NOT_GRANTED),
        (stream.quantity not in terms.quantities, Withheld.QUANTITY_NOT_GRANTED),
        (resolution.is_finer_than(terms.resolution), Withheld.FINER_THAN_GRANTED),
        (start < terms.valid_from, Withheld.NOT_YET_VALID),
        (end > terms.valid_to, Withheld.EXPIRED),
    )
    return next((reason for failed, reason in tests if failed), None)


def _check_chain(grant: Grant | None, event: ConsentEvent) -> None:
    expected_version = 1 if grant is None else grant.version + 1
    expected_prev = "" if grant is None else grant.head
    if event.version != expected_version:
        raise BadConsentEvent(
            consent_id=event.consent_id,
            problem=f"version {event.version} does not follow; {expected_version} would",
        )
    if event.prev != expected_prev:
        raise BadConsentEvent(
            consent_id=event.consent_id, problem="it cites another past than the one known here"
        )
    if grant is not None and event.household != grant.household:
        raise BadConsentEvent(consent_id=event.consent_id, problem="it names another household")


def _terms_after(grant: Grant | None, event: ConsentEvent, authority: Authority) -> Terms:
    if event.event in (EventType.WITHDRAWN, EventType.EXPIRED):
        if grant is None or event.terms is not None:
            raise BadConsentEvent(
                consent_id=event.consent_id,
                problem="a withdrawal needs an earlier grant and carries no terms",
            )
        if event.event is EventType.EXPIRED and (grant.is_dead or event.at < grant.terms.valid_to):
            raise BadConsentEvent(
                consent_id=event.consent_id,
                problem=f"it says expired, but the consent is over already or lasts until "
                f"{grant.terms.valid_to.isoformat()}",
            )
        return grant.terms
    if event.terms is None:
        raise BadConsentEvent(consent_id=event.consent_id, problem="the terms are missing")
    if event.terms.valid_from >= event.terms.valid_to:
        raise BadConsentEvent(consent_id=event.consent_id, problem="it ends before it begins")
    if grant is not None and event.terms.purpose != grant.terms.purpose:
        raise BadConsentEvent(
            consent_id=event.consent_id,
            problem="the purpose changed; a new purpose needs a new consent",
        )
    narrows = grant is not None and not grant.is_dead and is_within(event.terms, grant.terms)
    if event.event is EventType.NARROWED and not narrows:
        raise BadConsentEvent(
            consent_id=event.consent_id, problem="it says narrowed, but gives more than before"
        )
    if authority is not Authority.HOME and event.event is not EventType.NARROWED:
        raise BadConsentEvent(
            consent_id=event.consent_id,
            problem="only a key of the home may give or renew; the co-op may narrow or withdraw",
        )
    return event.terms
