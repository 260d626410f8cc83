"""What a household does to its consents, from the command line or the local page.

Widening asks for the local secret; narrowing, withdrawing and pausing never do.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec

from gateway.consent.book import Change, ConsentBook
from gateway.errors import ConsentNotPossible, NoAlarm, NotPaired
from gateway.identity import Identity
from gateway.outbox.sqlite import SqliteOutbox
from gateway.wire.consent import EventType, Terms, encode_event, is_within
from gateway.wire.reading import Quantity, Resolution
from gateway.wire.session import ConsentOffer
from gateway.wire.signing import DOMAIN_CONSENT

# Made at import; see wire.codec for why.
_OFFERS = msgspec.json.Decoder(tuple[ConsentOffer, ...])


def offers(store: SqliteOutbox) -> tuple[ConsentOffer, ...]:
    """What the co-op asks for, as last heard."""
    stored = store.fact("offers")
    return () if stored is None else _OFFERS.decode(stored)


def current_book(store: SqliteOutbox, identity: Identity) -> ConsentBook:
    """The book of consents on disk.

    Raises:
        NotPaired: There is no household yet.
    """
    if identity.pinned is None:
        raise NotPaired
    return store.book(identity.pinned.household)[0]


def give(
    store: SqliteOutbox,
    identity: Identity,
    *,
    offer_id: str,
    secret: str,
    meters: Collection[str],
    now: datetime,
    quantities: Collection[Quantity] | None = None,
    resolution: Resolution | None = None,
) -> ConsentBook:
    """Say yes to an offer, in whole or to less than it asks for.

    Args:
        store: The gateway's state.
        identity: Key of the home.
        offer_id: Which offer.
        secret: The local secret.
        meters: Which of the household's meters.
        now: When, aware UTC.
        quantities: Fewer quantities than asked for.
        resolution: A coarser step than asked for.

    Raises:
        WrongSecret: The secret does not fit.
        NotPaired: There is no household yet.
        ConsentNotPossible: No such offer, or more is given than was asked for.
    """
    book = current_book(store, identity)
    offer = next((offer for offer in offers(store) if offer.offer_id == offer_id), None)
    if offer is None:
        known = ", ".join(offer.offer_id for offer in offers(store)) or "none"
        raise ConsentNotPossible(
            consent_id=offer_id,
            problem="the co-op does not ask for this",
            remedy=f"it asks for: {known}",
        )
    asked = msgspec.structs.replace(offer.terms, meters=tuple(meters))
    terms = _chosen(offer_id, asked, meters=meters, quantities=quantities, resolution=resolution)
    identity.check_secret(secret)
    known_grant = book.grants.get(offer_id)
    event = EventType.GIVEN if known_grant is None else EventType.RENEWED
    return _change(store, identity, book, offer_id, event, terms=terms, now=now)


def narrow(
    store: SqliteOutbox,
    identity: Identity,
    *,
    consent_id: str,
    now: datetime,
    meters: Collection[str] | None = None,
    quantities: Collection[Quantity] | None = None,
    resolution: Resolution | None = None,
) -> ConsentBook:
    """Let less out under a consent.

    Raises:
        NotPaired: There is no household yet.
        ConsentNotPossible: There is no such consent, it would let more out, or nothing changes.
    """
    book = current_book(store, identity)
    grant = book.grants.get(consent_id)
    if grant is None or grant.is_dead:
        raise _unknown(book, consent_id)
    terms = _chosen(
        consent_id, grant.terms, meters=meters, quantities=quantities, resolution=resolution
    )
    if terms == grant.terms:
        raise ConsentNotPossible(
            consent_id=consent_id,
            problem="nothing would change",
            remedy="name fewer meters or quantities, or a coarser resolution",
        )
    return _change(store, identity, book, consent_id, EventType.NARROWED, terms=terms, now=now)


def withdraw(
    store: SqliteOutbox, identity: Identity, *, consent_id: str, now: datetime
) -> ConsentBook:
    """End a consent; what was not sent is erased. One that ran out can be ended too.

    Raises:
        NotPaired: There is no household yet.
        ConsentNotPossible: There is no such consent.
    """
    book = current_book(store, identity)
    grant = book.grants.get(consent_id)
    if grant is None or grant.is_withdrawn:
        raise _unknown(book, consent_id)
    return _change(store, identity, book, consent_id, EventType.WITHDRAWN, terms=None, now=now)


def accept_log(store: SqliteOutbox, identity: Identity, *, secret: str, now: datetime) -> str:
    """Believe the co-op's log anew after an alarm; the next sync begins with what it shows then.

    The household does so when it knows why the log contradicted itself, such as a co-op that had to
    go back to a backup.

    Returns:
        What the alarm was.

    Raises:
        NoAlarm: There is none.
        WrongSecret: The secret does not fit.
    """
    fork = store.fact("fork")
    if fork is None:
        raise NoAlarm
    identity.check_secret(secret)
    store.set_facts(fork=None, checkpoint=None)
    store.note(now, "fork", f"the household accepted the co-op's log anew, after: {fork.decode()}")
    return fork.decode()


def pause(store: SqliteOutbox, now: datetime) -> None:
    """Send nothing until further notice; readings wait at home."""
    store.set_fact("paused", now.isoformat().encode())


def resume(store: SqliteOutbox, now: datetime, *, erase: bool) -> int:
    """Send again; what waited is sent, or erased if the household says so.

    Returns:
        How many intervals were erased.
    """
    erased = store.erase_waiting(now) if erase else 0
    store.set_fact("paused", None)
    return erased


def _change(
    store: SqliteOutbox,
    identity: Identity,
    book: ConsentBook,
    consent_id: str,
    event: EventType,
    *,
    terms: Terms | None,
    now: datetime,
) -> ConsentBook:
    change = Change(event=event, at=now, actor="member at home")
    payload = encode_event(book.next_event(consent_id, change, terms=terms))
    return store.take_event(
        book,
        identity.sign(DOMAIN_CONSENT, payload),
        keyring=identity.keyring,
        now=now,
        sign=identity.sign,
    )


def _chosen(
    consent_id: str,
    asked: Terms,
    *,
    meters: Collection[str] | None,
    quantities: Collection[Quantity] | None,
    resolution: Resolution | None,
) -> Terms:
    terms = msgspec.structs.replace(
        asked,
        meters=asked.meters if meters is None else tuple(meters),
        quantities=asked.quantities if quantities is None else tuple(quantities),
        resolution=asked.resolution if resolution is None else resolution,
    )
    if not terms.meters or not terms.quantities:
        raise ConsentNotPossible(
            consent_id=consent_id,
            problem="no meter or no quantity is left",
            remedy="name one, or withdraw the consent",
        )
    if not is_within(terms, asked):
        raise ConsentNotPossible(
            consent_id=consent_id,
            problem="this would let more out than was asked for",
            remedy="name fewer meters or quantities, or a coarser resolution",
        )
    return terms


def _unknown(book: ConsentBook, consent_id: str) -> ConsentNotPossible:
    live = ", ".join(grant.consent_id for grant in book.live()) or "none"
    return ConsentNotPossible(
        consent_id=consent_id, problem="there is no such consent", remedy=f"in force: {live}"
    )
