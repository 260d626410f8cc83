"""Ed25519 signatures over bytes as sent, with the purpose of the signature in what is signed.

A signature made for one kind of message can never be replayed as another kind: the domain goes
in front of the bytes. Nothing is ever encoded anew before it is checked.

Source: RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.wire.errors import BadSignature, MalformedMessage
from gateway.wire.record import WireRecord

DOMAIN_BATCH = "batch/1"
DOMAIN_CONSENT = "consent/1"
DOMAIN_PAIR = "pair/1"
DOMAIN_RECEIPT = "receipt/1"
DOMAIN_SYNC = "sync/1"
DOMAIN_ROTATE = "rotate/1"

HEADER_KEY = "Commonwatt-Key"
HEADER_SIGNATURE = "Commonwatt-Signature"

KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
"""First 16 bytes of SHA-256 over the raw public key, in hex: short to show, hard to collide."""


class SignedMessage(WireRecord, frozen=True, kw_only=True):
    """Bytes that were signed, readable as they are, with key and signature beside them.

    Args:
        payload: The signed JSON, as text.
        key: Which key signed it.
        sig: Ed25519 signature, base64.
    """

    payload: Annotated[str, msgspec.Meta(max_length=65_536)]
    key: KeyId
    sig: Annotated[str, msgspec.Meta(max_length=128)]


def key_id_of(public_key: bytes) -> str:
    """Name a public key by its hash (32 hex digits)."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The 32 raw bytes of the public half."""
    return key.public_key().public_bytes_raw()


def signature_of(key: Ed25519PrivateKey, domain: str, payload: bytes) -> str:
    """Sign bytes for one domain; returns base64."""
    return base64.b64encode(key.sign(_bound(domain, payload))).decode()


def check_signature(public_key: bytes, domain: str, payload: bytes, signature: str) -> None:
    """Check a signature over bytes as received.

    Args:
        public_key: 32 raw bytes.
        domain: One of the `DOMAIN_` constants.
        payload: The bytes as received.
        signature: Base64.

    Raises:
        BadSignature: It does not fit.
    """
    try:
        raw = base64.b64decode(signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public_key).verify(raw, _bound(domain, payload))
    except (InvalidSignature, ValueError, binascii.Error) as fault:
        raise BadSignature(domain=domain, key_id=key_id_of(public_key)) from fault


def sign_message(key: Ed25519PrivateKey, domain: str, payload: bytes) -> SignedMessage:
    """Wrap JSON bytes with key id and signature."""
    return SignedMessage(
        payload=payload.decode(),
        key=key_id_of(public_bytes(key)),
        sig=signature_of(key, domain, payload),
    )


def open_message(message: SignedMessage, domain: str, public_key: bytes) -> bytes:
    """Return the payload of a message signed by exactly this key.

    Raises:
        BadSignature: Another key signed it, or the signature does not fit.
    """
    if message.key != key_id_of(public_key):
        raise BadSignature(domain=domain, key_id=message.key)
    payload = message.payload.encode()
    check_signature(public_key, domain, payload, message.sig)
    return payload


def public_key_from_text(text: str) -> bytes:
    """Read a public key from base64.

    Raises:
        MalformedMessage: It is not the base64 of 32 bytes that are a key.
    """
    try:
        raw = base64.b64decode(text, validate=True)
        Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error) as fault:
        raise MalformedMessage(
            kind="public key", problem="not the base64 of 32 key bytes"
        ) from fault
    return raw


def public_key_to_text(raw: bytes) -> str:
    """Write a public key as base64."""
    return base64.b64encode(raw).decode()


def _bound(domain: str, payload: bytes) -> bytes:
    return b"commonwatt/" + domain.encode() + b"\x00" + payload
