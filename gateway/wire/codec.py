"""Records to bytes and back: JSON that people can read, compressed, with a bound on everything."""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from typing import TypeVar, cast

import msgspec

from gateway.wire.batch import INTERVALS_MAX, Batch, BatchAnswer, GapRecord
from gateway.wire.errors import MalformedMessage, MessageTooLarge
from gateway.wire.record import WireRecord
from gateway.wire.session import (
    PairAnswer,
    PairRequest,
    RotateRequest,
    SyncAnswer,
    SyncRequest,
    WithdrawalReceipt,
)

PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
"""Limit of a message before compression [bytes]."""

COMPRESSED_BYTES_MAX = 1024 * 1024
"""Limit of a message as sent [bytes]."""

CONTENT_ENCODING = "gzip"

_Record = TypeVar("_Record", bound=WireRecord)

# Made at import, one at a time: msgspec works a record's fields out when it first meets it, and two
# threads doing that for the same record at once can crash the process.
_DECODERS: dict[type, msgspec.json.Decoder[WireRecord]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Batch,
        BatchAnswer,
        GapRecord,
        PairAnswer,
        PairRequest,
        RotateRequest,
        SyncAnswer,
        SyncRequest,
        WithdrawalReceipt,
    )
}


def encode(record: WireRecord) -> bytes:
    """Write a record as the JSON that is signed, stored and shown."""
    return msgspec.json.encode(record)


def decode(payload: bytes, kind: type[_Record]) -> _Record:
    """Read a record.

    Args:
        payload: JSON bytes.
        kind: Class of the record.

    Raises:
        MessageTooLarge: More than `PAYLOAD_BYTES_MAX`.
        MalformedMessage: It does not say what the contract says it must; the path is named.
    """
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MessageTooLarge(kind=kind.__name__, size=len(payload), size_max=PAYLOAD_BYTES_MAX)
    try:
        decoder = _DECODERS.get(kind) or msgspec.json.Decoder(kind)
        return cast("_Record", decoder.decode(payload))
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise MalformedMessage(kind=kind.__name__, problem=str(fault)) from fault


def decode_batch(payload: bytes) -> Batch:
    """Read a batch and check what types alone cannot say.

    Raises:
        MessageTooLarge: More bytes or intervals than the contract takes.
        MalformedMessage: Lengths, edges, letters or times are not as they must be.
    """
    batch = decode(payload, Batch)
    intervals = sum(len(block.wh) for part in batch.parts for block in part.blocks)
    if intervals > INTERVALS_MAX:
        raise MessageTooLarge(
            kind="Batch", size=intervals, size_max=INTERVALS_MAX, unit="intervals"
        )
    for part in batch.parts:
        try:
            for block in part.blocks:
                if not part.is_even(block):
                    deque(part.readings_of(block), maxlen=0)
        except (ValueError, OverflowError) as fault:
            raise MalformedMessage(kind="Batch", problem=f"{part.stream}: {fault}") from fault
    return batch


def compress(payload: bytes) -> bytes:
    """Gzip, without a time in the header, so that equal input gives equal output."""
    packer = zlib.compressobj(level=6, wbits=31)
    return packer.compress(payload) + packer.flush()


def decompress(body: bytes) -> bytes:
    """Gunzip, and stop where a bomb would go on.

    Raises:
        MessageTooLarge: The body or what it unpacks to passes its limit.
        MalformedMessage: It is not one whole gzip stream.
    """
    if len(body) > COMPRESSED_BYTES_MAX:
        raise MessageTooLarge(kind="body", size=len(body), size_max=COMPRESSED_BYTES_MAX)
    unpacker = zlib.decompressobj(wbits=31)
    try:
        payload = unpacker.decompress(body, PAYLOAD_BYTES_MAX + 1)
    except zlib.error as fault:
        raise MalformedMessage(kind="body", problem="not gzip") from fault
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MessageTooLarge(kind="body", size=len(payload), size_max=PAYLOAD_BYTES_MAX)
    if not unpacker.eof or unpacker.unused_data:
        raise MalformedMessage(kind="body", problem="cut short, or followed by something else")
    return payload


def payload_hash(payload: bytes) -> str:
    """SHA-256 of a payload, hex: the name of a batch in answers and receipts."""
    return hashlib.sha256(payload).hexdigest()
