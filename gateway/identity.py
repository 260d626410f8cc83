"""Who this gateway is: a key made at home, a secret for the household, and what it pinned.

The private key never leaves the state directory. The local secret is shown once, when it is
made; only a slow hash of it is kept, so the file alone does not widen a consent.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.consent.book import Keyring
from gateway.errors import StateFault, WrongSecret
from gateway.wire.session import PairAnswer
from gateway.wire.signing import (
    SignedMessage,
    key_id_of,
    public_bytes,
    public_key_from_text,
    public_key_to_text,
    sign_message,
    signature_of,
)

KEY_FILE = "gateway.key"
NEXT_KEY_FILE = "gateway.key.next"
HASH_FILE = "local_secret"
PINNED_FILE = "pinned.json"
_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_LETTERS_LONG = 12
_TRIES_BEFORE_WAIT = 5


class Pinned(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed at pairing and is believed from then on.

    Args:
        household: The household's pseudonym.
        coop_name: For the local page.
        coop_key: Key whose events may narrow, base64.
        log_key: Key that signs the transparency log, base64.
        log_origin: The log's name.
        earlier_keys: This gateway's keys before a rotation, base64; their events still count.
    """

    household: str
    coop_name: str
    coop_key: str
    log_key: str
    log_origin: str
    earlier_keys: tuple[str, ...] = ()


@dataclass(slots=True)
class Identity:
    """The gateway's own key and what it pinned."""

    state_dir: Path
    key: Ed25519PrivateKey
    pinned: Pinned | None
    _failures: int = field(default=0)

    @property
    def public_key(self) -> bytes:
        """Raw public key, 32 bytes."""
        return public_bytes(self.key)

    @property
    def key_id(self) -> str:
        """Short name of the key."""
        return key_id_of(self.public_key)

    @property
    def keyring(self) -> Keyring:
        """Whose signatures under consent events count."""
        if self.pinned is None:
            return Keyring(home={}, coop={})
        own = [self.public_key]
        own += [public_key_from_text(text) for text in self.pinned.earlier_keys]
        coop = public_key_from_text(self.pinned.coop_key)
        return Keyring(home={key_id_of(key): key for key in own}, coop={key_id_of(coop): coop})

    def sign(self, domain: str, payload: bytes) -> SignedMessage:
        """Sign JSON bytes for one domain."""
        return sign_message(self.key, domain, payload)

    def signature(self, domain: str, payload: bytes) -> str:
        """Sign bytes for one domain; base64."""
        return signature_of(self.key, domain, payload)

    def pin(self, answer: PairAnswer) -> None:
        """Keep what the co-op said at pairing.

        Raises:
            MalformedMessage: A key in it is none.
            StateFault: It cannot be written.
        """
        public_key_from_text(answer.coop_key)
        public_key_from_text(answer.log_key)
        self.pinned = Pinned(
            household=answer.household,
            coop_name=answer.coop_name,
            coop_key=answer.coop_key,
            log_key=answer.log_key,
            log_origin=answer.log_origin,
        )
        write_private(self.state_dir / PINNED_FILE, msgspec.json.encode(self.pinned))

    def reload(self) -> None:
        """Take on what another process, such as `coop-gateway pair`, changed on disk."""
        self.pinned = read_pinned(self.state_dir)
        self.key = load_key(self.state_dir / KEY_FILE)

    def adopt(self, key: Ed25519PrivateKey) -> None:
        """Change to a new key that the co-op accepted; events of the old one still count."""
        if self.pinned is not None:
            self.pinned = msgspec.structs.replace(
                self.pinned,
                earlier_keys=(*self.pinned.earlier_keys, public_key_to_text(self.public_key)),
            )
            write_private(self.state_dir / PINNED_FILE, msgspec.json.encode(self.pinned))
        write_private(self.state_dir / KEY_FILE, _pem(key))
        self.key = key

    def check_secret(self, given: str) -> None:
        """Check the household's local secret; slow on purpose.

        Raises:
            WrongSecret: It does not fit.
            StateFault: There is none.
        """
        try:
            stored = (self.state_dir / HASH_FILE).read_bytes()
        except OSError as fault:
            raise StateFault(
                path=str(self.state_dir / HASH_FILE),
                problem="there is no local secret",
                remedy="make one with `coop-gateway new-secret --config FILE`",
            ) from fault
        salt, expected = stored[:16], stored[16:]
        if not hmac.compare_digest(_slow_hash(given, salt), expected):
            self._failures += 1
            raise WrongSecret
        self._failures = 0

    @property
    def must_wait(self) -> bool:
        """Whether so many wrong secrets were given that the next try has to wait."""
        return self._failures >= _TRIES_BEFORE_WAIT


def open_identity(state_dir: Path, *, shows_secret: bool = True) -> tuple[Identity, str | None]:
    """Load the identity, or make it on first run.

    Args:
        state_dir: Directory of the gateway's state.
        shows_secret: Whether the caller will show a new local secret; if not, none is made.

    Returns:
        The identity, and the local secret if it was made just now: show it, it is not kept.

    Raises:
        StateFault: A file cannot be read or written, or holds something else.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise _unusable(state_dir, fault) from fault
    key_path = state_dir / KEY_FILE
    if not key_path.exists():
        write_private(key_path, _pem(Ed25519PrivateKey.generate()))
    shown: str | None = None
    if shows_secret and not (state_dir / HASH_FILE).exists():
        shown = renew_secret(state_dir)
    return Identity(
        state_dir=state_dir, key=load_key(key_path), pinned=read_pinned(state_dir)
    ), shown


def renew_secret(state_dir: Path) -> str:
    """Make a new local secret, keep its hash, and return it to be shown once."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_LETTERS_LONG))
    shown = "-".join(letters[at : at + 4] for at in range(0, _LETTERS_LONG, 4))
    salt = secrets.token_bytes(16)
    write_private(state_dir / HASH_FILE, salt + _slow_hash(shown, salt))
    return shown


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key.

    Raises:
        StateFault: It cannot be read, is readable by others, or is no Ed25519 key.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise StateFault(
                path=str(path),
                problem="others may read this private key",
                remedy=f"run `chmod 600 {path}`, and `coop-gateway rotate` if others had access",
            )
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as fault:
        raise _unusable(path, fault) from fault
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise StateFault(
            path=str(path),
            problem="is no private key",
            remedy="restore it from a backup, or remove it and pair again",
        ) from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise StateFault(
            path=str(path), problem="is no Ed25519 key", remedy="remove it and pair again"
        )
    return key


def new_key(state_dir: Path) -> Ed25519PrivateKey:
    """Make the key that is to take over, or load the one an earlier try made."""
    path = state_dir / NEXT_KEY_FILE
    if not path.exists():
        write_private(path, _pem(Ed25519PrivateKey.generate()))
    return load_key(path)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, so that a power cut leaves the old or the new.

    Raises:
        StateFault: It cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as fault:
        raise _unusable(path, fault) from fault


def read_pinned(state_dir: Path) -> Pinned | None:
    """What was pinned at pairing; None before it.

    Raises:
        StateFault: The file cannot be read.
    """
    path = state_dir / PINNED_FILE
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pinned)
    except (OSError, msgspec.MsgspecError) as fault:
        raise StateFault(
            path=str(path), problem="cannot be read", remedy="remove it and pair again"
        ) from fault


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _slow_hash(secret: str, salt: bytes) -> bytes:
    plain = "".join(secret.lower().split()).replace("-", "")
    return hashlib.scrypt(plain.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)


def _unusable(path: Path, fault: OSError) -> StateFault:
    return StateFault(
        path=str(path),
        problem=f"cannot be used ({fault.strerror})",
        remedy="check that state_dir exists and belongs to this user",
    )
