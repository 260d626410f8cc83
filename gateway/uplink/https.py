"""The way to the co-op over HTTPS: signed bodies out, bounded answers in."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import msgspec

from gateway.errors import CloudRefused, CloudUnreachable
from gateway.uplink.lean_httpx import httpx
from gateway.wire import codec
from gateway.wire.batch import BatchAnswer
from gateway.wire.errors import WireError
from gateway.wire.record import WireRecord
from gateway.wire.session import (
    PATH_BATCHES,
    PATH_PAIR,
    PATH_ROTATE,
    PATH_SYNC,
    PairAnswer,
    PairRequest,
    RotateRequest,
    SyncAnswer,
    SyncRequest,
)
from gateway.wire.signing import (
    DOMAIN_BATCH,
    DOMAIN_PAIR,
    DOMAIN_ROTATE,
    DOMAIN_SYNC,
    HEADER_KEY,
    HEADER_SIGNATURE,
)

ANSWER_BYTES_MAX = codec.PAYLOAD_BYTES_MAX
WHOLE_ANSWER_FACTOR = 10
"""A whole exchange may take this many times as long as each step of it may."""
_PROBLEM_CHARS_MAX = 300
_SAYS_NO = frozenset({400, 401, 403, 409, 413, 422})
"""Answers that mean no for good. All others, 404 of a captive portal too, mean try again later."""
_MUST_BE_JSON = frozenset({400, 409, 422})
"""Of these, the ones that set readings aside: a proxy's own page of them must not."""

_Answer = TypeVar("_Answer", bound=WireRecord)
Signature = Callable[[str, bytes], str]


def software_name() -> str:
    """Name and version of this software."""
    try:
        return f"commonwatt-gateway/{version('commonwatt')}"
    except PackageNotFoundError:
        return "commonwatt-gateway/0"


class _Problem(msgspec.Struct):
    """What counts for a person in an answer of RFC 9457."""

    detail: str = ""


class HttpsLink:
    """The co-op's server, by its address.

    Args:
        url: Base address.
        key_id: Says which key signs.
        sign: Signs bytes for a domain, base64.
        timeout_s: How long one answer may take [s].
        ca_file: Certificate authority to trust instead of the system's.
    """

    def __init__(
        self,
        *,
        url: str,
        key_id: Callable[[], str],
        sign: Signature,
        timeout_s: float = 30.0,
        ca_file: str | None = None,
    ) -> None:
        """Make the client; nothing is connected yet."""
        self._url = url.rstrip("/")
        self._key_id = key_id
        self._sign = sign
        self._timeout_s = timeout_s
        verify: ssl.SSLContext | bool = False
        if self._url.startswith("https"):
            # The system's own authorities, which the system keeps up to date.
            verify = ssl.create_default_context(cafile=ca_file)
            verify.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            verify=verify,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),
            headers={"user-agent": software_name(), "accept": "application/json"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def pair(self, request: PairRequest) -> PairAnswer:
        """Ask to be bound to a household."""
        return await self._ask(PATH_PAIR, DOMAIN_PAIR, codec.encode(request), PairAnswer)

    async def sync(self, request: SyncRequest) -> SyncAnswer:
        """Exchange consents and a proof of the log."""
        return await self._ask(PATH_SYNC, DOMAIN_SYNC, codec.encode(request), SyncAnswer)

    async def send(self, payload: bytes) -> BatchAnswer:
        """Send a sealed batch, as these exact bytes."""
        return await self._ask(PATH_BATCHES, DOMAIN_BATCH, payload, BatchAnswer)

    async def rotate(self, request: RotateRequest) -> None:
        """Tell that a new key takes over."""
        await self._post(PATH_ROTATE, DOMAIN_ROTATE, codec.encode(request))

    async def _ask(self, path: str, domain: str, payload: bytes, kind: type[_Answer]) -> _Answer:
        answer = await self._post(path, domain, payload)
        try:
            return codec.decode(answer, kind)
        except WireError as fault:
            raise CloudUnreachable(url=self._url + path, problem=str(fault)) from fault

    async def _post(self, path: str, domain: str, payload: bytes) -> bytes:
        url = self._url + path
        headers = {
            HEADER_KEY: self._key_id(),
            HEADER_SIGNATURE: self._sign(domain, payload),
            "content-type": "application/json",
            "content-encoding": codec.CONTENT_ENCODING,
        }
        try:
            # A server that answers a byte a minute would otherwise hold the line for ever.
            async with (
                asyncio.timeout(WHOLE_ANSWER_FACTOR * self._timeout_s),
                self._client.stream(
                    "POST", url, content=codec.compress(payload), headers=headers
                ) as response,
            ):
                answer = await _bounded(response, url)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as fault:
            raise CloudUnreachable(url=url, problem=_why_silent(fault)) from fault
        if response.is_success:
            return answer
        problem = _problem(response, answer)
        if response.status_code in _SAYS_NO and _is_the_coops(response):
            raise CloudRefused(url=url, status=response.status_code, problem=problem)
        raise CloudUnreachable(
            url=url,
            problem=f"HTTP {response.status_code}",
            retry_after_s=_retry_after_s(response),
        )


def _is_the_coops(response: httpx.Response) -> bool:
    """Whether a refusal is the co-op's server's rather than that of something in between."""
    if response.status_code not in _MUST_BE_JSON:
        return True
    return "json" in response.headers.get("content-type", "")


def _why_silent(fault: BaseException) -> str:
    """Why there was no answer; a certificate that is not accepted is named as such."""
    cause: BaseException | None = fault
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not accepted ({cause.verify_message}); "
                "check cloud.ca_file and the clock"
            )
        cause = cause.__cause__ or cause.__context__
    return f"no answer ({type(fault).__name__})"


async def _bounded(response: httpx.Response, url: str) -> bytes:
    collected = bytearray()
    async for chunk in response.aiter_bytes():
        collected += chunk
        if len(collected) > ANSWER_BYTES_MAX:
            raise CloudUnreachable(url=url, problem="the answer is far too long")
    return bytes(collected)


def _problem(response: httpx.Response, answer: bytes) -> str:
    """One short printable line of what the server says is wrong: the detail, if it gives one."""
    text = answer[: 4 * _PROBLEM_CHARS_MAX].decode("utf-8", "replace")
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        with contextlib.suppress(msgspec.DecodeError):
            text = msgspec.json.decode(answer, type=_Problem).detail or text
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return plain[:_PROBLEM_CHARS_MAX] or response.reason_phrase


def _retry_after_s(response: httpx.Response) -> float | None:
    told = response.headers.get("retry-after", "")
    return float(told) if told.isdecimal() and len(told) < 6 else None
