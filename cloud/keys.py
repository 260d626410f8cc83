"""The co-op's own signing keys: made on first start, kept in files only the server may read."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.errors import BadSetting

KEY_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class CoopKeys:
    """Both keys of the co-op.

    Args:
        coop: Signs consent events made in the cloud; gateways pin it and let it narrow only.
        log: Signs checkpoints of the transparency log.
    """

    coop: Ed25519PrivateKey
    log: Ed25519PrivateKey


def load_or_make_keys(data_dir: Path) -> CoopKeys:
    """Read both keys from `data_dir/keys`, making those that are missing.

    Raises:
        BadSetting: A key file is damaged, or others may read it.
    """
    folder = data_dir / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return CoopKeys(coop=_load_or_make(folder / "coop.key"), log=_load_or_make(folder / "log.key"))


def _load_or_make(file: Path) -> Ed25519PrivateKey:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_FILE_MODE)
    except FileExistsError:
        return _load(file)
    key = Ed25519PrivateKey.generate()
    with os.fdopen(descriptor, "wb") as out:
        out.write(base64.b64encode(key.private_bytes_raw()) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    return key


def _load(file: Path) -> Ed25519PrivateKey:
    if file.stat().st_mode & 0o077:
        raise BadSetting(f"{file}: others may read this key; run: chmod 600 {file}")
    try:
        raw = base64.b64decode(file.read_bytes().strip(), validate=True)
        return Ed25519PrivateKey.from_private_bytes(raw)
    except (ValueError, binascii.Error) as fault:
        raise BadSetting(
            f"{file}: this is not a key of 32 bytes in base64; restore it from a backup"
        ) from fault
