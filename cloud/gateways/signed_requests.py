"""Reading what a gateway sends: two headers beside the signed bytes, gzip or plain."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from cloud.gateways.usecases import SignedRequest
from gateway.wire.codec import CONTENT_ENCODING, decompress, encode
from gateway.wire.errors import BadSignature, MalformedMessage
from gateway.wire.record import WireRecord
from gateway.wire.signing import HEADER_KEY, HEADER_SIGNATURE

HEADER_CHARS_MAX = 128


async def read_signed(request: Request, *, domain: str) -> SignedRequest:
    """Read a signed request and unpack it.

    Raises:
        BadSignature: The signature header is missing or far too long.
        MalformedMessage: Neither gzip nor plain, or cut short.
        MessageTooLarge: It unpacks to more than the contract takes.
    """
    key_id = request.headers.get(HEADER_KEY, "")
    signature = request.headers.get(HEADER_SIGNATURE, "")
    if not signature or len(signature) > HEADER_CHARS_MAX or len(key_id) > HEADER_CHARS_MAX:
        raise BadSignature(domain=domain, key_id=key_id[:32])
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == CONTENT_ENCODING:
        payload = decompress(body)
    elif encoding == "identity":
        payload = body
    else:
        raise MalformedMessage(kind="body", problem=f"send it plain or as {CONTENT_ENCODING}")
    return SignedRequest(payload=payload, key_id=key_id, signature=signature)


def wire_response(record: WireRecord, status_code: int = 200) -> Response:
    """Answer with a record of the contract."""
    return Response(encode(record), status_code=status_code, media_type="application/json")
