"""Claim codes: short enough to type at a kitchen table, too many to guess in 15 minutes. Pure."""

from __future__ import annotations

import secrets
from datetime import timedelta

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's 32 signs: no I, L, O or U."""

LENGTH = 12
LIFETIME = timedelta(minutes=15)
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1"})


def make_code() -> str:
    """A new code of 60 random bits, in groups of four."""
    signs = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(signs[place : place + 4] for place in range(0, LENGTH, 4))


def normal_form(typed: str) -> str:
    """What a typed code means: case, spaces, dashes and misread letters do not count."""
    kept = "".join(sign for sign in typed.upper() if sign not in "- \t")
    return kept.translate(_MISREAD)
