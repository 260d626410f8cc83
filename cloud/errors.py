"""What can go wrong in the cloud.

CloudError
├── BadSetting             a setting or a file it names cannot be used
├── DatabaseFault          the database cannot be used as it is
│   └── DatabaseBusy       another writer holds the database for too long
├── BadInput               what was sent cannot be taken; fields say which part
│   ├── BadReadingsQuery   a question to the store of readings that has no meaning
│   └── BadReadingsFile    a file to import does not say what its form says it must
├── NotSignedIn            no person is known for this request
├── BadSignInLink          the link is used, too old, or was asked for by another browser
├── NotAllowed             the person is known, and may not
├── ForgeryRefused         a form was sent from another site, or without its token
├── NotFound               there is no such thing, or it is not this person's
├── StateConflict          the thing is there, but not in a state that allows this
│   ├── KeyReused          an idempotency key came back with another request
│   ├── CounterNotRaised   a signed request was seen before
│   ├── BatchNumberReused  a gateway sent another batch under a number already taken
│   └── ReleaseRefused     a release would break the privacy floor; `reasons` say how
├── UnknownGateway         no gateway with this key is bound to a household
├── GatewayRevoked         it was, and is no longer
├── BadClaimCode           the code is wrong, used or too old
├── BodyTooLarge           the request passes the size taken here
├── TooManyRequests        a rate limit; `retry_after_s` says when to come back
├── StoreUnavailable       readings cannot be made durable now; send them again later
│   ├── StoreBusy          more batches wait than the queue takes
│   └── StoreClosed        the store was closed
├── StoreLocked            another process writes to this store of readings
└── StoreDamaged           files on disk are not what the manifest says

Which HTTP status each has is decided in `cloud.problem`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass


class CloudError(Exception):
    """Base of all faults of the cloud."""


class BadSetting(CloudError):
    """A setting, or a file it names, cannot be used."""


class DatabaseFault(CloudError):
    """The database cannot be used as it is."""


class DatabaseBusy(DatabaseFault):
    """Another writer holds the database for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFault:
    """One thing that is wrong in what was sent.

    Args:
        pointer: Where, as a JSON pointer or the name of a parameter.
        problem: What is wrong.
    """

    pointer: str
    problem: str


class BadInput(CloudError):
    """What was sent cannot be taken."""

    def __init__(self, problem: str, *, faults: tuple[FieldFault, ...] = ()) -> None:
        self.faults = faults
        super().__init__(problem)


class NotSignedIn(CloudError):
    """No person is known for this request."""

    def __init__(self) -> None:
        super().__init__("not signed in, or no longer; ask for a new sign-in link")


class BadSignInLink(CloudError):
    """The link is used, too old, or was asked for by another browser."""

    def __init__(self) -> None:
        super().__init__(
            "this link was used, is older than 15 minutes, or was asked for in another browser; "
            "ask for a new one here"
        )


class NotAllowed(CloudError):
    """The person is known, and may not."""

    def __init__(self, problem: str = "your roles do not allow this") -> None:
        super().__init__(problem)


class ForgeryRefused(CloudError):
    """A form was sent from another site, or without its token."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; load the page anew and send it from there")


class NotFound(CloudError):
    """There is no such thing, or it is not this person's: both look the same from outside."""

    def __init__(self, thing: str) -> None:
        self.thing = thing
        super().__init__(f"there is no such {thing}")


class StateConflict(CloudError):
    """The thing is there, but not in a state that allows this."""


class KeyReused(StateConflict):
    """An idempotency key came back with another request."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another request; use a new one")


class CounterNotRaised(StateConflict):
    """A signed request was seen before."""

    def __init__(self, *, counter: int, counter_last: int) -> None:
        self.counter = counter
        self.counter_last = counter_last
        super().__init__(
            f"counter {counter} was passed already; use one higher than {counter_last}"
        )


class BatchNumberReused(StateConflict):
    """A gateway sent another batch under a number already taken."""

    def __init__(self, *, gateway: str, seq: int) -> None:
        self.gateway = gateway
        self.seq = seq
        super().__init__(f"batch {seq} of gateway {gateway} is on record with other contents")


class UnknownGateway(CloudError):
    """No gateway with this key is bound to a household."""

    def __init__(self, *, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"gateway {key_id[:32]!r} is not known here; pair it first")


class GatewayRevoked(CloudError):
    """The gateway's key no longer counts."""

    def __init__(self, *, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(
            f"gateway {key_id} was revoked; erase it with `coop-gateway purge`, which ends its key, "
            "and pair it with a new claim code"
        )


class BadClaimCode(CloudError):
    """The code is wrong, used or too old."""

    def __init__(self) -> None:
        super().__init__(
            "the claim code is wrong, used, or older than 15 minutes; make a new one on your page, "
            "under Your gateway"
        )


class BodyTooLarge(CloudError):
    """The request passes the size taken here."""

    def __init__(self, *, size_max: int) -> None:
        self.size_max = size_max
        super().__init__(f"the request is larger than {size_max} bytes; send less")


class TooManyRequests(CloudError):
    """A rate limit is passed."""

    def __init__(self, *, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"too many requests; come back in {retry_after_s} s")


class StoreUnavailable(CloudError):
    """Readings cannot be made durable now."""

    def __init__(self, problem: str = "the store takes no readings now") -> None:
        super().__init__(f"{problem}; nothing was stored, send it again later")


class StoreBusy(StoreUnavailable):
    """More batches wait than the queue takes."""

    def __init__(self, *, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} batches wait to be written")


class StoreClosed(StoreUnavailable):
    """The store was closed."""

    def __init__(self) -> None:
        super().__init__("the store of readings is closed")


class StoreLocked(CloudError):
    """Another process writes to this store of readings."""

    def __init__(self, *, folder: str) -> None:
        self.folder = folder
        super().__init__(f"{folder}: another process writes to this store; stop it first")


class StoreDamaged(CloudError):
    """Files on disk are not what the manifest says."""

    def __init__(self, *, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}; restore this store from its backup")


class BadReadingsQuery(BadInput):
    """A question to the store of readings that has no meaning."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"readings cannot be looked up: {problem}")


class BadReadingsFile(BadInput):
    """A file to import does not say what its form says it must."""

    def __init__(self, *, path: str, place: str, problem: str) -> None:
        self.path = path
        self.place = place
        self.problem = problem
        super().__init__(f"{path}, {place}: {problem}" if place else f"{path}: {problem}")


class ReleaseRefused(StateConflict):
    """A release would break the privacy floor."""

    def __init__(self, *, reasons: tuple[str, ...]) -> None:
        self.reasons = reasons
        super().__init__(f"not released: {'; '.join(reasons)}")
