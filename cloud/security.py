"""What every request passes: size limit, request id, security headers, and a log line.

Pages may load nothing but our own files, in no frame, with no inline script: the policy below
goes with every answer, errors included. Logs name method, path pattern and status, never a person,
an address or a query.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import logging
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud.errors import BodyTooLarge, ForgeryRefused
from cloud.metrics import METHODS, OTHER, count_request
from cloud.problem import answer_unforeseen
from gateway.wire.session import PATH_BATCHES

BODY_BYTES_MAX = 1024 * 1024 + 64 * 1024
"""Largest request body [bytes]: a compressed batch at its limit, and room for a form."""

LARGER_BODIES = (
    ("/api/v1/projects/files", 4 * 1024 * 1024),
    ("/projects/", 8 * 1024 * 1024 + 64 * 1024),
)
"""Beginnings of paths that take more: weather files, photos and invoices. What is behind them reads
a body only after it knows who sends it."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "manifest-src 'self'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Frame-Options": "DENY",
}
STRICT_TRANSPORT = "max-age=31536000; includeSubDomains"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = logging.getLogger("commonwatt.access")


class RequestGuard:
    """ASGI middleware around the whole application.

    Args:
        app: What it guards.
        is_https: Whether people reach it over TLS.
        doors: By method and path, what answers in place of the application, past its routing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        is_https: bool,
        doors: Mapping[tuple[str, str], ASGIApp] | None = None,
    ) -> None:
        self._app = app
        self._doors = dict(doors or {})
        headers = SECURITY_HEADERS | {"Cache-Control": "no-store"}
        if is_https:
            headers["Strict-Transport-Security"] = STRICT_TRANSPORT
        self._headers = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            # Answered like GET, but for the body.
            scope = {**scope, "method": "GET"}
        request_id = f"{self._run_id}{next(self._numbers):08x}"
        scope.setdefault("state", {})["request_id"] = request_id
        started_s = time.monotonic()
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._with_ours(message, request_id)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            answer = self._doors.get((method, scope["path"]), self._app)
            await answer(scope, _bounded(scope, receive), send_guarded)
        except Exception as fault:
            if status:
                raise
            await answer_unforeseen(Request(scope), fault)(scope, receive, send_guarded)
        finally:
            _account(scope, method, status, time.monotonic() - started_s, request_id)

    def _with_ours(self, message: Message, request_id: str) -> list[tuple[bytes, bytes]]:
        """Headers of an answer, and those of ours that it does not set itself."""
        given = list(message.get("headers", ()))
        names = {name for name, _ in given}
        given += [header for header in self._headers if header[0] not in names]
        given.append((b"x-request-id", request_id.encode()))
        return given


def _account(scope: Scope, method: str, status: int, duration_s: float, request_id: str) -> None:
    # The pattern of the path, never the path: ids and tokens are in it.
    path = getattr(scope.get("route"), "path", None) or scope.get("commonwatt.route", "-")
    count_request(method, path, status, duration_s)
    # Batches come far more often than all else; those that were taken are only counted.
    if path == PATH_BATCHES and status == 200:
        return
    log.info(
        "request method=%s path=%s status=%d duration_ms=%.1f id=%s",
        method if method in METHODS else OTHER,
        path,
        status,
        duration_s * 1000,
        request_id,
    )


def _bounded(scope: Scope, receive: Receive) -> Receive:
    size_max = next(
        (size for start, size in LARGER_BODIES if scope["path"].startswith(start)), BODY_BYTES_MAX
    )
    announced = Headers(scope=scope).get("content-length", "0")
    too_much = announced.isdecimal() and int(announced) > size_max
    taken = 0

    async def receive_bounded() -> Message:
        nonlocal taken
        if too_much:
            raise BodyTooLarge(size_max=size_max)
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > size_max:
            raise BodyTooLarge(size_max=size_max)
        return message

    return receive_bounded


def hash_secret(secret: str) -> str:
    """Hash of a random secret as it is stored, hex.

    A plain SHA-256 is enough for secrets of 50 random bits and more that live for minutes, or of
    128 and more; passwords chosen by people would need a slow hash, and we have none.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def csrf_token_of(session_token: str) -> str:
    """The token forms carry: bound to the session, and useless without its cookie."""
    return hmac.new(session_token.encode(), b"csrf", hashlib.sha256).hexdigest()


def check_same_site(headers: Mapping[str, str], base_url: str) -> None:
    """Refuse a state-changing request that a browser sent from another site.

    Args:
        headers: Request headers, names in lower case.
        base_url: Address people use.

    Raises:
        ForgeryRefused: `Sec-Fetch-Site` or `Origin` name another site.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise ForgeryRefused(f"the request came from another site (Sec-Fetch-Site: {site[:20]})")
    origin = headers.get("origin")
    if origin is None:
        return
    ours = urlsplit(base_url)
    own = {f"{ours.scheme}://{ours.netloc}", f"{ours.scheme}://{headers.get('host', '')}"}
    if origin not in own:
        raise ForgeryRefused("the request came from another site (Origin)")


def check_csrf_token(session_token: str, sent: str | None) -> None:
    """Refuse a state-changing request without the token of its session.

    Raises:
        ForgeryRefused: The token is missing or another one.
    """
    if sent is None or not hmac.compare_digest(
        sent.encode("utf-8", "replace"), csrf_token_of(session_token).encode()
    ):
        raise ForgeryRefused("the form's token is missing or belongs to another session")
