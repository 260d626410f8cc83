"""How a record of the contract behaves: frozen, by keyword, unknown fields refused."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""A moment with its offset; written in UTC with a Z."""

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
HexHash = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?$")]
"""SHA-256 in hex, or empty where there is nothing before."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class WireRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records that cross the boundary."""
