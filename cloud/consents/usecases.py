"""Keeping consent events as they were signed, narrowing from the web, and what follows from both."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from cloud.consents import repository
from cloud.consents.offers import (
    OFFERS_MAX,
    TEMPLATES,
    OfferTemplate,
    given_beyond,
    notice_hash,
    offer_of,
)
from cloud.consents.repository import StoredEvent, StoredOffer
from cloud.consents.standing import Standing, stand
from cloud.database import Database
from cloud.errors import BadInput, NotFound, StateConflict
from cloud.members import repository as members
from cloud.readings.ports import ReadingStore
from cloud.transparency.usecases import commit_to, record
from gateway.wire.consent import (
    Authority,
    ConsentEvent,
    EventType,
    Grant,
    Terms,
    apply_event,
    decode_event,
    encode_event,
)
from gateway.wire.errors import BadConsentEvent
from gateway.wire.session import ConsentOffer, WithdrawalReceipt
from gateway.wire.signing import DOMAIN_CONSENT, SignedMessage, open_message, sign_message

EVENTS_MAX = 5_000
"""Most consent events of one home."""

LATE_ARRIVALS = timedelta(minutes=2)
"""A batch checked just before a withdrawal is on disk by then; the erasure runs once more."""

EXPIRY_NOTED_AFTER = timedelta(days=7)
"""A renewal made at home while the line was dead may still be on its way until then."""

ALL_PURPOSES = "*"
"""In an erasure: everything of the home, because the home itself is erased."""

log = logging.getLogger("commonwatt.consents")


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """What a member makes narrower; None leaves as it is.

    Args:
        changes: New terms by field name of `wire.consent.Terms`.
    """

    changes: dict[str, Any]


def standing_of(connection: Connection, household: str) -> Standing:
    """All that a home agreed to, every version."""
    return stand(
        (event.payload, event.authority) for event in repository.events_of(connection, household)
    )


def grants_of(connection: Connection, household: str) -> dict[str, Grant]:
    """What a home's consents add up to now, by consent id."""
    return standing_of(connection, household).newest


def keep_home_event(
    connection: Connection,
    message: SignedMessage,
    *,
    household: str,
    public_key: bytes,
    now: datetime,
) -> StoredEvent:
    """Put an event made at home on record, once its signature and its place in the chain are found good.

    The same event again is answered as the first time.

    Raises:
        BadSignature: Not signed by this gateway.
        MalformedMessage: No consent event.
        BadConsentEvent: Another household's, it does not follow from what is on record, or it
            gives more than the text it cites asks for.
    """
    payload = open_message(message, DOMAIN_CONSENT, public_key)
    event = decode_event(payload)
    if event.household != household:
        raise BadConsentEvent(consent_id=event.consent_id, problem="it names another household")
    on_record = repository.events_of(connection, household, event.consent_id)
    for known in on_record:
        if known.version == event.version and known.payload == payload:
            return known
    if event.terms is not None and event.event is not EventType.NARROWED:
        _require_asked_for(connection, event.consent_id, event.terms, now)
    return _append(connection, on_record, message, household, Authority.HOME, now)


def withdraw_consent(
    connection: Connection,
    *,
    household: str,
    consent_id: str,
    key: Ed25519PrivateKey,
    now: datetime,
    actor: str = "member on the web",
) -> StoredEvent:
    """Withdraw a consent from the web, and order its streams to be erased.

    One that ran out can be withdrawn too, because what was sent under it is still kept.

    Raises:
        NotFound: The home never gave it.
        StateConflict: It is withdrawn already.
    """
    on_record, grant = _on_record(connection, household, consent_id)
    if grant.is_withdrawn:
        raise _over(consent_id)
    event = ConsentEvent(
        consent_id=consent_id,
        version=grant.version + 1,
        prev=grant.head,
        household=household,
        event=EventType.WITHDRAWN,
        at=now,
        actor=actor,
    )
    message = sign_message(key, DOMAIN_CONSENT, encode_event(event))
    return _append(connection, on_record, message, household, Authority.COOP, now)


def note_expiries(database: Database, key: Ed25519PrivateKey, now: datetime) -> int:
    """Put the end of every consent that ran out on record, signed by the co-op.

    Nothing passes after its end in any case, because both sides look at the dates. The event makes
    it plain in the record, in the log and in the gateway's book.

    Returns:
        How many ran out.
    """
    with database.reading() as connection:
        homes = [home.household for home in members.all_households(connection)]
    noted = 0
    for household in homes:
        with database.reading() as connection:
            over = _ran_out(connection, household, now)
        if over:
            with database.transaction() as connection:
                noted += sum(
                    _note_expiry(connection, household, grant, key, now)
                    for grant in _ran_out(connection, household, now)
                )
    return noted


def narrow_consent(
    connection: Connection,
    *,
    household: str,
    consent_id: str,
    narrowing: Narrowing,
    key: Ed25519PrivateKey,
    now: datetime,
    actor: str = "member on the web",
) -> StoredEvent:
    """Make a consent give less, from the web. More can only be given at home.

    Raises:
        NotFound: The home never gave it.
        StateConflict: It is withdrawn or expired already.
        BadInput: Nothing changes.
        BadConsentEvent: It would give more than before.
    """
    on_record, grant = _on_record(connection, household, consent_id)
    if grant.is_dead:
        raise _over(consent_id)
    terms = msgspec.structs.replace(grant.terms, **narrowing.changes)
    if terms == grant.terms:
        raise BadInput("nothing would change; say what shall be narrower")
    event = ConsentEvent(
        consent_id=consent_id,
        version=grant.version + 1,
        prev=grant.head,
        household=household,
        event=EventType.NARROWED,
        at=now,
        actor=actor,
        terms=terms,
    )
    message = sign_message(key, DOMAIN_CONSENT, encode_event(event))
    return _append(connection, on_record, message, household, Authority.COOP, now)


def keep_receipt(
    connection: Connection,
    receipt: WithdrawalReceipt,
    message: SignedMessage,
    *,
    household: str,
    now: datetime,
) -> None:
    """Keep what a gateway says it did when a consent died, and log that it did."""
    repository.insert_receipt(
        connection,
        household=household,
        consent_id=receipt.consent_id,
        version=receipt.version,
        message=message,
        received_at=now,
    )


def events_newer_than(
    connection: Connection, household: str, known: dict[str, int]
) -> list[SignedMessage]:
    """Events of a home that a gateway does not hold yet, oldest first."""
    return [
        event.message
        for event in repository.events_of(connection, household)
        if event.version > known.get(event.consent_id, 0)
    ]


def publish_offers(
    connection: Connection, templates: Iterable[OfferTemplate], *, now: datetime
) -> None:
    """Put offers on the table and their exact texts into the log.

    Raises:
        BadInput: More than `OFFERS_MAX` at once.
    """
    wanted = list(templates)
    if len(wanted) > OFFERS_MAX:
        raise BadInput(f"at most {OFFERS_MAX} offers fit on the page; give fewer")
    for place, template in enumerate(wanted):
        index = record(
            connection,
            kind="notice.published",
            facts={
                "offer": template.offer_id,
                "version": template.notice_version,
                "language": template.language,
                "sha256": notice_hash(template),
            },
            at=now,
        )
        repository.put_offer(
            connection,
            StoredOffer(
                offer_id=template.offer_id,
                place=place,
                template=msgspec.json.encode(template).decode(),
                log_index=index,
            ),
            published_at=now,
        )


def offers_today(connection: Connection, now: datetime) -> tuple[ConsentOffer, ...]:
    """What the co-op asks for, dated today."""
    return tuple(
        offer_of(TEMPLATES.decode(stored.template), now)
        for stored in repository.all_offers(connection)
    )


def erase_what_was_withdrawn(database: Database, store: ReadingStore, now: datetime) -> int:
    """Erase streams whose purpose a home withdrew, unless another consent allows that purpose.

    Each erasure runs at once and again after `LATE_ARRIVALS`, so that a batch which was let in at
    the very moment of the withdrawal goes as well.

    Returns:
        Intervals erased.
    """
    with database.reading() as connection:
        due = [
            (item, standing_of(connection, item.household).live_purposes(now))
            for item in repository.erasures_due(connection)
        ]
    erased = 0
    for item, live in due:
        if item.purpose == ALL_PURPOSES:
            erased += store.erase(item.household).intervals
        elif item.purpose not in {purpose.value for purpose in live}:
            for stream in store.streams(item.household):
                if stream.purpose.value == item.purpose:
                    erased += store.erase(item.household, stream=stream).intervals
        if now - item.asked_at >= LATE_ARRIVALS:
            with database.transaction() as connection:
                repository.delete_erasure(connection, item.erasure_no)
                # No commitment to the home: of one that is erased nothing shall be kept.
                record(connection, kind="erasure.done", facts={"purpose": item.purpose}, at=now)
    return erased


def _require_asked_for(
    connection: Connection, consent_id: str, terms: Terms, now: datetime
) -> None:
    """Refuse a yes to more than the household was told: what it read is what it agreed to."""
    published = repository.templates_of_notice(connection, terms.notice.sha256)
    beyond = [given_beyond(terms, TEMPLATES.decode(template), now) for template in published]
    if not beyond:
        raise BadConsentEvent(
            consent_id=consent_id, problem="it cites a text that was never published here"
        )
    if all(beyond):
        raise BadConsentEvent(
            consent_id=consent_id,
            problem=f"it gives more than the text it cites asks for: {', '.join(beyond[0])}",
        )


def _ran_out(connection: Connection, household: str, now: datetime) -> list[Grant]:
    return [
        grant
        for grant in grants_of(connection, household).values()
        if not grant.is_dead and grant.terms.valid_to + EXPIRY_NOTED_AFTER <= now
    ]


def _note_expiry(
    connection: Connection,
    household: str,
    grant: Grant,
    key: Ed25519PrivateKey,
    now: datetime,
) -> bool:
    event = ConsentEvent(
        consent_id=grant.consent_id,
        version=grant.version + 1,
        prev=grant.head,
        household=household,
        event=EventType.EXPIRED,
        at=now,
        actor="co-op",
    )
    message = sign_message(key, DOMAIN_CONSENT, encode_event(event))
    on_record = repository.events_of(connection, household, grant.consent_id)
    try:
        _append(connection, on_record, message, household, Authority.COOP, now)
    except (NotFound, StateConflict) as fault:
        log.warning("the end of a consent was not put on record: %s", fault)
        return False
    return True


def _on_record(
    connection: Connection, household: str, consent_id: str
) -> tuple[list[StoredEvent], Grant]:
    on_record = repository.events_of(connection, household, consent_id)
    if not on_record:
        raise NotFound(f"consent {consent_id!r}")
    grant = _fold(on_record)
    if grant is None:
        raise NotFound(f"consent {consent_id!r}")
    return on_record, grant


def _over(consent_id: str) -> StateConflict:
    return StateConflict(f"consent {consent_id!r} is over already; a new one can be given at home")


def _fold(on_record: list[StoredEvent]) -> Grant | None:
    grant: Grant | None = None
    for event in on_record:
        grant = apply_event(grant, event.payload, event.authority)
    return grant


def _append(
    connection: Connection,
    on_record: list[StoredEvent],
    message: SignedMessage,
    household: str,
    authority: Authority,
    now: datetime,
) -> StoredEvent:
    home = members.household_row(connection, household)
    if home is None or home.erased_at is not None:
        raise NotFound(f"household {household}")
    payload = message.payload.encode()
    grant = apply_event(_fold(on_record), payload, authority)
    if home.consent_events >= EVENTS_MAX:
        raise StateConflict(
            f"a home may have {EVENTS_MAX} consent events; ask the co-op's operator"
        )
    commitment = commit_to(connection, subject=household, value=message.payload)
    index = record(
        connection,
        kind="consent.event",
        facts={
            "event": grant.state.value,
            "purpose": grant.terms.purpose.value,
            "commitment": commitment,
        },
        at=now,
    )
    event = StoredEvent(
        consent_id=grant.consent_id,
        version=grant.version,
        message=message,
        authority=authority,
        received_at=now,
        log_index=index,
        commitment=commitment,
    )
    repository.insert_event(connection, household=household, event=event)
    members.count_consent_event(connection, household)
    if grant.is_withdrawn:
        # What a home agreed to until its end is kept for as long as it agreed to.
        repository.insert_erasure(
            connection, household=household, purpose=grant.terms.purpose.value, asked_at=now
        )
    return event
