"""Reading what a gateway sends: two headers beside the signed bytes, gzip or plain."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import Response

from cloud.gateways.usecases import SignedRequest
from gateway.wire.codec import CONTENT_ENCODING, decompress, encode
from gateway.wire.errors import BadSignature, MalformedMessage
from gateway.wire.record import WireRecord
from gateway.wire.signing import DOMAIN_PAIR, HEADER_KEY, HEADER_SIGNATURE

HEADER_CHARS_MAX = 128
_SENT = {
    HEADER_KEY: "the id of the gateway's key, 32 hex digits",
    HEADER_SIGNATURE: "the Ed25519 signature over the unpacked body, base64",
}


async def read_signed(request: Request, *, domain: str) -> SignedRequest:
    """Read a signed request and unpack it.

    Raises:
        BadSignature: A header is missing or far too long. A request to pair needs no key id.
        MalformedMessage: Neither gzip nor plain, or cut short.
        MessageTooLarge: It unpacks to more than the contract takes.
    """
    key_id = request.headers.get(HEADER_KEY, "")
    signature = request.headers.get(HEADER_SIGNATURE, "")
    for name, text in ((HEADER_KEY, key_id), (HEADER_SIGNATURE, signature)):
        if len(text) > HEADER_CHARS_MAX or not (
            text or (name == HEADER_KEY and domain == DOMAIN_PAIR)
        ):
            raise BadSignature(domain=domain, key_id=key_id[:32], problem=_why_bad(name, text))
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity")
    if encoding == CONTENT_ENCODING:
        payload = decompress(body)
    elif encoding == "identity":
        payload = body
    else:
        raise MalformedMessage(kind="body", problem=f"send it plain or as {CONTENT_ENCODING}")
    return SignedRequest(payload=payload, key_id=key_id, signature=signature)


def _why_bad(name: str, text: str) -> str:
    if text:
        return f"the header {name} is longer than {HEADER_CHARS_MAX} characters; send {_SENT[name]}"
    return f"the header {name} is missing; send {_SENT[name]}"


def wire_response(record: WireRecord, status_code: int = 200) -> Response:
    """Answer with a record of the contract."""
    return Response(encode(record), status_code=status_code, media_type="application/json")
