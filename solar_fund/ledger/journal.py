"""What the journal is made of: requests, their canonical bytes, records and the hash chain.

A *request* says what someone wants; a *record* is a request the ledger accepted, numbered and
chained. The hash of a record is SHA-256 over the previous hash and the record's body, so a changed
byte anywhere breaks the chain at that record.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from solar_fund.errors import EntryInvalid, EntryUnbalanced
from solar_fund.money import AMOUNT_MINOR_MAX, Money, exponent_of

GENESIS_HASH = hashlib.sha256(b"commonwatt solar fund ledger v1").hexdigest()
"""The hash that stands before the first record."""

LEGS_MAX = 20_000
TEXT_LENGTH_MAX = 500
KEY_LENGTH_MAX = 255

_TIME_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_HASH_TEXT = re.compile(r"[0-9a-f]{64}")

Body = dict[str, Any]

_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One side of an entry.

    Attributes:
        account: Name of an open account.
        amount_minor: Debit if positive, credit if negative [minor units].
        currency: Code of ISO 4217.
        evidence: Hash of the document this very amount rests on, SHA-256 in hexadecimal.
    """

    account: str
    amount_minor: int
    currency: str
    evidence: str | None = None

    def __post_init__(self) -> None:
        if type(self.amount_minor) is not int or self.amount_minor == 0:
            raise EntryInvalid(f"the leg on {self.account!r} needs a whole amount other than zero")
        if abs(self.amount_minor) > AMOUNT_MINOR_MAX:
            raise EntryInvalid(f"the leg on {self.account!r} exceeds {AMOUNT_MINOR_MAX} units")
        exponent_of(self.currency)
        if self.evidence is not None:
            check_hash(self.evidence)

    def as_list(self) -> list[str | int]:
        """The leg as it stands in a record's body."""
        plain: list[str | int] = [self.account, self.currency, self.amount_minor]
        return plain if self.evidence is None else [*plain, self.evidence]

    @classmethod
    def from_list(cls, plain: Sequence[Any]) -> "Leg":
        """Read a leg back from a record's body."""
        return cls(
            account=plain[0],
            currency=plain[1],
            amount_minor=plain[2],
            evidence=plain[3] if len(plain) > 3 else None,
        )


def debit(account: str, money: Money, evidence: str | None = None) -> Leg:
    """A leg that debits an account."""
    return Leg(
        account=account,
        amount_minor=money.amount_minor,
        currency=money.currency,
        evidence=evidence,
    )


def credit(account: str, money: Money, evidence: str | None = None) -> Leg:
    """A leg that credits an account."""
    return debit(account, -money, evidence)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDraft:
    """An entry somebody wants to post.

    Attributes:
        idempotency_key: A retry repeats it; two different drafts never share it.
        legs: Debits and credits that sum to zero in each currency, shape (n_legs,).
        memo: What a person should read in the statement.
        effective_at: When it counts, aware UTC; None means when it is recorded.
        evidence: Hashes of documents behind the whole entry (M&V report, invoice).
        authorised_by: Id of the vote or board decision that allows it.
    """

    idempotency_key: str
    legs: tuple[Leg, ...]
    memo: str
    effective_at: datetime | None = None
    evidence: tuple[str, ...] = ()
    authorised_by: str | None = None

    def __post_init__(self) -> None:
        check_key(self.idempotency_key)
        check_text(self.memo, "memo")
        if self.authorised_by is not None:
            check_text(self.authorised_by, "authorised_by")
        for digest in self.evidence:
            check_hash(digest)
        check_balanced(self.legs)

    def request(self, kind: str) -> Body:
        """The draft as the request of a record of this kind."""
        return {
            "kind": kind,
            "key": self.idempotency_key,
            "legs": [leg.as_list() for leg in self.legs],
            "memo": self.memo,
            "effective_at": None if self.effective_at is None else time_text(self.effective_at),
            "evidence": list(self.evidence),
            "authorised_by": self.authorised_by,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecord:
    """A request the ledger accepted.

    Attributes:
        seq: Its number in the journal, from 1 without gaps.
        kind: open, entry, reserve, post, void, expire, reverse, close or assert.
        recorded_at: When the ledger took it, aware UTC, never before the record in front of it.
        effective_at: When it counts, aware UTC.
        request: What was asked for.
        legs: The debits and credits it applied, or reserved; empty for kinds that move nothing.
        body: The exact text that was hashed.
        hash: SHA-256 in hexadecimal over the previous hash and the body.
        replayed: Whether this is the stored answer to a repeated idempotency key.
    """

    seq: int
    kind: str
    recorded_at: datetime
    effective_at: datetime
    request: Mapping[str, Any]
    legs: tuple[Leg, ...]
    body: str
    hash: str
    replayed: bool = False


def check_balanced(legs: Sequence[Leg]) -> None:
    """Refuse legs that do not form an entry.

    Raises:
        EntryInvalid: Fewer than two legs, or more than `LEGS_MAX`.
        EntryUnbalanced: A currency's legs do not sum to zero.
    """
    if not 2 <= len(legs) <= LEGS_MAX:
        raise EntryInvalid(f"an entry has 2 to {LEGS_MAX} legs, this one has {len(legs)}")
    sums: dict[str, int] = {}
    for leg in legs:
        sums[leg.currency] = sums.get(leg.currency, 0) + leg.amount_minor
    for currency, excess_minor in sums.items():
        if excess_minor:
            raise EntryUnbalanced(currency, excess_minor)


def check_hash(digest: str) -> None:
    """Refuse evidence that is not a SHA-256 in hexadecimal."""
    if not _HASH_TEXT.fullmatch(digest):
        raise EntryInvalid(f"evidence {digest[:70]!r} is no SHA-256; give 64 lower-case hex digits")


def check_key(key: str) -> None:
    """Refuse an idempotency key that is empty, long or not printable."""
    if not 0 < len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise EntryInvalid(
            f"idempotency key {key[:40]!r} must have 1 to {KEY_LENGTH_MAX} printable characters"
        )


def check_text(text: str, name: str) -> None:
    """Refuse free text that is long or holds control characters."""
    if len(text) > TEXT_LENGTH_MAX or not (text == "" or text.isprintable()):
        raise EntryInvalid(
            f"{name} must be one line of at most {TEXT_LENGTH_MAX} printable characters"
        )


def time_text(moment: datetime) -> str:
    """Aware time as fixed-width UTC text with microseconds, so that text order is time order.

    Raises:
        EntryInvalid: The time carries no zone.
    """
    if moment.tzinfo is None:
        raise EntryInvalid(f"time {moment.isoformat()} has no zone; give an aware UTC time")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def time_of(text: str) -> datetime:
    """Read a time written by `time_text`.

    Raises:
        EntryInvalid: The text has another form.
    """
    if not _TIME_TEXT.fullmatch(text):
        raise EntryInvalid(f"time {text[:40]!r} is not written as 2026-10-01T12:00:00.000000Z")
    return datetime.fromisoformat(text)


def canonical_text(body: Mapping[str, Any]) -> str:
    """One text per body: sorted keys, no spaces, UTF-8 letters as they are.

    Bodies hold texts, whole numbers, booleans, nulls, lists and objects, never floats, so that
    this agrees with the JSON canonicalisation scheme.

    Source: RFC 8785 for these types.
    """
    return _ENCODER.encode(body).decode()


def request_digest(request: Mapping[str, Any]) -> str:
    """SHA-256 of a request in hexadecimal; tells a retry from a misuse of its key."""
    return hashlib.sha256(canonical_text(request).encode()).hexdigest()


def record_body(
    seq: int, recorded_at: str, request: Mapping[str, Any], applied: Sequence[Leg] | None
) -> str:
    """The text of a record that is stored and hashed.

    Args:
        seq: Number of the record.
        recorded_at: Text of `time_text`.
        request: What was asked for.
        applied: Legs that the ledger worked out (for post and reverse); None when the request
            itself lists all legs or there are none.
    """
    body: Body = {"recorded_at": recorded_at, "request": request, "seq": seq}
    if applied is not None:
        body["applied"] = [leg.as_list() for leg in applied]
    return canonical_text(body)


def chain_hash(previous_hash: str, body: str) -> str:
    """Hash of a record: SHA-256 over the previous hash (32 bytes) and the body in UTF-8."""
    return hashlib.sha256(bytes.fromhex(previous_hash) + body.encode()).hexdigest()


def record_from_body(body: str, digest: str) -> JournalRecord:
    """Read a stored record back."""
    fields = json.loads(body)
    request = fields["request"]
    recorded_at = time_of(fields["recorded_at"])
    effective_text = request.get("effective_at")
    legs = fields.get("applied") or request.get("legs") or ()
    return JournalRecord(
        seq=fields["seq"],
        kind=request["kind"],
        recorded_at=recorded_at,
        effective_at=recorded_at if effective_text is None else time_of(effective_text),
        request=request,
        legs=tuple(Leg.from_list(plain) for plain in legs),
        body=body,
        hash=digest,
    )
