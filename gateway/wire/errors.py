"""What can be wrong with something that crosses the boundary.

WireError
├── MalformedMessage      the bytes do not say what the contract says they must
├── MessageTooLarge       a limit of the contract is passed
├── BadSignature          the signature does not fit key, domain and bytes
├── BadConsentEvent       a consent event breaks the chain or claims what its signer may not
└── BadLogProof           the transparency log contradicts what was seen before
"""

from __future__ import annotations


class WireError(Exception):
    """Base of all faults at the boundary."""


class MalformedMessage(WireError):
    """The bytes do not say what the contract says they must."""

    def __init__(self, *, kind: str, problem: str) -> None:
        self.kind = kind
        self.problem = problem
        super().__init__(f"{kind}: {problem}")


class MessageTooLarge(WireError):
    """A limit of the contract is passed."""

    def __init__(self, *, kind: str, size: int, size_max: int, unit: str = "bytes") -> None:
        self.kind = kind
        self.size = size
        self.size_max = size_max
        super().__init__(f"{kind}: {size} {unit}, but at most {size_max} are taken; send less")


class BadSignature(WireError):
    """The signature does not fit key, domain and bytes, or does not say whose it is."""

    def __init__(self, *, domain: str, key_id: str, problem: str = "") -> None:
        self.domain = domain
        self.key_id = key_id
        super().__init__(f"{domain}: {problem or f'the signature does not fit key {key_id}'}")


class BadConsentEvent(WireError):
    """A consent event breaks the chain, or claims what its signer may not."""

    def __init__(self, *, consent_id: str, problem: str) -> None:
        self.consent_id = consent_id
        self.problem = problem
        super().__init__(f"consent {consent_id}: {problem}")


class BadLogProof(WireError):
    """The transparency log contradicts what was seen before."""

    def __init__(self, *, problem: str) -> None:
        self.problem = problem
        super().__init__(f"transparency log: {problem}")
